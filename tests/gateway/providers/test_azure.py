"""Paths judged by the OpenAI SDK, tokens by azure-identity with the managed identity of an App Service.

A client secret or workload identity cannot be pointed at this machine: both want https and ask Microsoft which
authorities exist. They are azure-identity's own code behind the same call.
"""

import sys
from collections.abc import Callable, Iterator
from urllib.parse import unquote

import msgspec
import openai
import pytest
from tests.gateway.answers import CHAT, RESPONSES
from tests.gateway.providers.accounts import azure_token, managed_identity
from tests.gateway.providers.endpoint import Endpoint, endpoint

from interlock.clock import SystemClock
from interlock.errors import LocalError, TransientError
from interlock.gateway.providers import azure
from interlock.gateway.providers.azure import API_KEY_HEADER, azure_auth, azure_path
from interlock.testing.clock import ManualClock

Run = Callable[..., object]
HOUR = 3600 * 1_000_000_000


@pytest.fixture
def server() -> Iterator[Endpoint]:
    with endpoint(None) as made:
        yield made


def test_dated_paths_are_the_sdk_s(server: Endpoint) -> None:
    with openai.AzureOpenAI(azure_endpoint=server.url, api_version="2024-10-21", api_key="k", max_retries=0) as client:
        server.answer = msgspec.json.decode(CHAT)
        client.chat.completions.create(model="my gpt", messages=[{"role": "user", "content": "hi"}])
        server.answer = {"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
        client.embeddings.create(model="my gpt", input="hi", encoding_format="float")
    assert [asked.target for asked in server.asked] == [
        azure_path("chat", "my gpt", "2024-10-21"),
        azure_path("embeddings", "my gpt", "2024-10-21"),
    ]
    assert server.asked[0].headers[API_KEY_HEADER] == "k"


def test_v1_paths_are_the_sdk_s(server: Endpoint) -> None:
    with openai.OpenAI(base_url=f"{server.url}/openai/v1/", api_key="k", max_retries=0) as client:
        server.answer = msgspec.json.decode(CHAT)
        client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "hi"}])
        server.answer = msgspec.json.decode(RESPONSES)
        client.responses.create(model="gpt", input="hi")
        client.responses.create(model="gpt", input="hi", extra_query={"api-version": "preview"})
    assert [asked.target for asked in server.asked] == [
        azure_path("chat", "gpt"),
        azure_path("responses", "gpt"),
        azure_path("responses", "gpt", "preview"),
    ]
    assert azure_path("responses", "gpt", "2024-10-21") == "/openai/v1/responses"


@pytest.mark.parametrize("version", ["latest", "2024-10-21 HTTP/1.1", "2024-10-21-preview\r\n", "&x"])
def test_a_version_that_is_none(version: str) -> None:
    with pytest.raises(LocalError) as raised:
        azure_path("chat", "gpt", version)
    assert raised.value.field == "api_version"


@pytest.fixture
def identity(server: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    managed_identity(monkeypatch, server.url)
    return server


def test_a_managed_identity(run: Run, identity: Endpoint) -> None:
    clock = ManualClock(SystemClock.now_ns())
    auth = azure_auth(clock)

    async def main() -> None:
        identity.asked.clear()
        identity.answer = azure_token("secret-1")
        assert auth.ready("/", b"") is None
        assert await auth.fetch("/", b"") == b"authorization: Bearer secret-1\r\n"
        assert auth.ready("/", b"") == b"authorization: Bearer secret-1\r\n"
        assert "resource=https://cognitiveservices.azure.com" in unquote(identity.asked[0].target)
        assert identity.asked[0].headers["x-identity-header"] == "nonce"
        clock.advance(HOUR)
        assert auth.ready("/", b"") is None

    run(main)


def test_no_identity(run: Run, identity: Endpoint) -> None:
    auth = azure_auth(ManualClock(SystemClock.now_ns()))

    async def main() -> None:
        identity.status, identity.answer = 400, {"statusCode": 400, "message": "No managed identity."}
        with pytest.raises(TransientError) as raised:
            await auth.fetch("/", b"")
        assert raised.value.message.startswith("credential_missing: Azure: ")
        assert raised.value.code == "upstream_auth"

    run(main)


def test_nobody_answers(run: Run, identity: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure, "EXCHANGE_S", 0.1)
    identity.gate.clear()
    auth = azure_auth(ManualClock(SystemClock.now_ns()))

    async def main() -> None:
        with pytest.raises(TransientError):
            await auth.fetch("/", b"")

    run(main)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(LocalError) as raised:
        azure_auth(ManualClock())
    assert raised.value.message == "credential_missing: install interlock[azure]"
