"""Which paths and keys follow from a deployment."""

import pytest
from tests.gateway.recorded_providers import PROVIDERS, placed
from tests.gateway.rig import policy

from interlock.errors import LocalError
from interlock.gateway.providers import logins_of, speech_of
from interlock.testing.clock import ManualClock

DEPLOYMENT = policy([1]).deployments["d0"]


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("before", ["", "/proxy", "/proxy/"])
def test_a_proxy_s_path_stands_before_the_provider_s(name: str, before: str) -> None:
    provider = PROVIDERS[name]
    host = {"azure": "https://h{}/openai/v1", "gemini": "https://h{}/v1beta/", "vertex": "https://h{}/v1"}
    for pattern in ("https://h{}", host.get(provider.settings["provider"], "https://h{}")):
        url = pattern.format(before.rstrip("/") if pattern != "https://h{}" else before)
        speech = speech_of(placed(DEPLOYMENT, provider, 1, base_url=url))
        for stream in (False, True):
            path = speech.path(provider.settings["formats"][0], stream)
            assert path == before.rstrip("/") + provider.path.format(method=provider.methods[stream])


def test_others_have_their_path_in_the_address() -> None:
    assert speech_of(DEPLOYMENT).path("messages", True) == "/v1/messages"
    assert speech_of(DEPLOYMENT).dialect is None


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_key_is_a_line(name: str) -> None:
    provider = PROVIDERS[name]
    [first, second] = logins_of(placed(DEPLOYMENT, provider, 1), ["Ab", "c"], ManualClock())
    header, _ = provider.header
    bearer = "Bearer " if header == "authorization" else ""
    assert (first, second) == (f"{header}: {bearer}Ab\r\n".encode(), f"{header}: {bearer}c\r\n".encode())


def test_where_no_key_is_needed_nobody_is_asked() -> None:
    assert logins_of(DEPLOYMENT, [], ManualClock()) == []


def test_an_api_version_that_is_none() -> None:
    with pytest.raises(LocalError):
        speech_of(placed(DEPLOYMENT, PROVIDERS["azure, dated"], 1, api_version="latest"))
