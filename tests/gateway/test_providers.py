"""Every provider through the real gateway: the official SDKs ask, an upstream with recorded shapes answers.

What a client is shown, what is recorded, what the upstream got. Whole and streamed must say the same.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT, DONE, EVENTS
from tests.gateway.providers.turn import ARGUMENTS, SECRET, TEXT, THOUGHT
from tests.gateway.recorded_providers import PROVIDERS, Provider, placed
from tests.gateway.rig import PATHS, Answer, Rig, Script, Upstream, policy, read_answer, rig, streamed, whole
from tests.gateway.sdks import ASKED, BY, ENDS, Shown, ask

from interlock.credentials import Credential
from interlock.gateway.policy import Policy
from interlock.ledger import Opened, Settled

Run = Callable[..., object]
Test = Callable[[Rig, Upstream], Awaitable[None]]
CLIENTS = ("chat", "responses", "messages")

each_provider = pytest.mark.parametrize("name", PROVIDERS)
each_client = pytest.mark.parametrize("client", CLIENTS)


def only(provider: Provider, port: int, **changes: Any) -> Policy:
    """A policy whose one deployment is the provider's."""
    made = policy([port])
    given: dict[str, Any] = {"credential": Credential(env="PROVIDER_KEY"), **changes}
    return msgspec.structs.replace(made, deployments={"d0": placed(made.deployments["d0"], provider, port, **given)})


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER_KEY", SECRET)


def play(run: Run, tmp_path: Path, test: Test, provider: Provider, script: Script, **changes: Any) -> None:
    """`test` with a gateway before one deployment, which plays `script`."""

    async def main() -> None:
        upstream = Upstream(script)
        try:
            made = only(provider, await upstream.start(), **changes)
            async with asyncio.timeout(30), rig(tmp_path / "data", made) as on:
                await test(on, upstream)
        finally:
            await upstream.stop()

    run(main, blocking_s=2.0)


@each_provider
@each_client
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_turn(run: Run, tmp_path: Path, name: str, client: str, stream: bool) -> None:
    provider = PROVIDERS[name]

    async def test(on: Rig, upstream: Upstream) -> None:
        shown = await BY[client](on, stream)
        kinds = provider.kinds
        expected = Shown(
            THOUGHT if provider.thinks else "",
            TEXT,
            [("look", ARGUMENTS)],
            ENDS[client],
            kinds["input"],
            kinds["cache_read"],
            kinds["output"],
        )
        assert shown == expected
        [settled] = await on.settled(1)
        assert (settled.usage, settled.source, settled.outcome) == (kinds, "reported", "completed")
        arrived(on, upstream, provider, stream)

    play(run, tmp_path, test, provider, provider.answers(stream))


def arrived(on: Rig, upstream: Upstream, provider: Provider, stream: bool) -> None:
    """The upstream got the request as it wants it, with the gateway's key, and with nobody else's."""
    [seen] = upstream.seen
    assert seen.path == provider.path.format(method=provider.methods[stream])
    name, value = provider.header
    assert seen.headers[name] == value
    others = {"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"} - {name}
    assert not others & seen.headers.keys()
    assert seen.headers["host"] == f"127.0.0.1:{on.gateway.policy.deployments['d0'].base_url.rsplit(':')[-1]}"
    assert on.secret.lower() not in f"{seen.headers} {seen.body.decode().lower()}"
    assert provider.hear(seen.json) == ASKED


@each_provider
def test_what_a_client_says_of_itself_goes_nowhere(run: Run, tmp_path: Path, name: str) -> None:
    provider = PROVIDERS[name]

    async def test(on: Rig, upstream: Upstream) -> None:
        others = [f"{header}: mine" for header in ("api-key", "x-goog-api-key", "cookie", "openai-organization")]
        headers = [f"x-api-key: {on.secret}", *(line for line in others if not line.startswith(provider.header[0]))]
        answer = await on.call(PATHS["messages"], body("messages"), *headers, key="")
        assert answer.status == 200
        arrived(on, upstream, provider, False)
        assert "mine" not in upstream.seen[0].headers.values()

    play(run, tmp_path, test, provider, provider.answers(False))


# errors


def error_of(client: str, answer: Answer) -> dict[str, Any]:
    """Of an error answer, whose envelope is the client's own."""
    said = answer.json
    assert (said.get("type") == "error") is (client == "messages")
    assert said["request_id"] == answer.headers["x-interlock-request-id"]
    error = said["error"]
    assert isinstance(error, dict)
    return error


def body(client: str, **more: Any) -> dict[str, Any]:
    return ask(client, model="auto", **more)


def passes(provider: Provider, client: str) -> bool:
    """The client's format is the one that the upstream is spoken to in."""
    return client in provider.settings["formats"]


@each_provider
@each_client
def test_a_refused_credential_is_the_gateway_s_own_trouble(run: Run, tmp_path: Path, name: str, client: str) -> None:
    provider = PROVIDERS[name]

    async def test(on: Rig, upstream: Upstream) -> None:
        answer = await on.call(PATHS[client], body(client))
        assert (answer.status, error_of(client, answer)["code"]) == (502, "upstream_auth")
        assert SECRET.encode() not in answer.body
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.http_status, settled.usage) == ("failed", 403, {})

    play(run, tmp_path, test, provider, whole(provider.refused[403], "403 Forbidden"))


@each_provider
@each_client
@pytest.mark.parametrize(("status", "line"), [(429, "429 Too Many Requests"), (400, "400 Bad Request")])
def test_an_error_keeps_its_words_its_status_and_its_delay(
    run: Run, tmp_path: Path, name: str, client: str, status: int, line: str
) -> None:
    provider = PROVIDERS[name]
    said = msgspec.json.decode(provider.refused[status])
    words = said.get("message") or said["error"]["message"]

    async def test(on: Rig, upstream: Upstream) -> None:
        answer = await on.call(PATHS[client], body(client))
        assert (answer.status, answer.headers["retry-after"]) == (status, "7")
        if passes(provider, client) and provider.settings["provider"] == "azure":  # a pass-through in every byte
            assert answer.body == provider.refused[status]
            return
        error = error_of(client, answer)
        assert error["message"] == words
        assert error["type"] == ("rate_limit_error" if status == 429 else "invalid_request_error")

    play(run, tmp_path, test, provider, whole(provider.refused[status], line, "retry-after: 7\r\n"))


async def hears(on: Rig, client: str, go: asyncio.Event) -> Answer:
    """A streamed answer, whose rest may come (`go`) once the client has heard its first words."""
    reader, writer = await on.connect()
    writer.write(on.request(PATHS[client], msgspec.json.encode(body(client, stream=True))))
    heard, so_far = asyncio.StreamReader(), b""
    while piece := await asyncio.wait_for(reader.read(65536), 10):
        heard.feed_data(piece)
        so_far += piece
        if b"Let me " in so_far:
            go.set()
        if so_far.endswith(b"\r\n0\r\n\r\n"):
            break
    heard.feed_eof()
    writer.close()
    return await read_answer(heard)


def assert_broken(client: str, answer: Answer) -> dict[str, Any]:
    """The stream began to say the text, and ended with the format's own error event. The error."""
    assert (answer.status, answer.complete) == (200, True)
    assert b"Let me " in answer.body
    assert b"message_stop" not in answer.body and b"[DONE]" not in answer.body
    assert b"response.completed" not in answer.body
    last = msgspec.json.decode(answer.body.rstrip().rpartition(b"data: ")[2])
    if client == "messages":
        assert last["type"] == "error"
    if client == "responses" and last["type"] == "response.failed":
        assert last["response"]["status"] == "failed"
        last = last["response"]
    error = last.get("error", last)
    assert isinstance(error, dict)
    return error


@each_provider
@each_client
def test_an_error_in_a_stream_is_the_client_s_own_error_event(run: Run, tmp_path: Path, name: str, client: str) -> None:
    provider, go = PROVIDERS[name], asyncio.Event()

    async def test(on: Rig, upstream: Upstream) -> None:
        error = assert_broken(client, await hears(on, client, go))
        words = ("Too many tokens.", "Overloaded", "The model is overloaded.", "The server had an error.")
        assert error["message"] in words
        [settled] = await on.settled(1)
        assert settled.outcome == ("failed" if passes(provider, client) else "truncated")
        assert settled.error == "upstream_error"

    script = provider.streamed(provider.events[: provider.spoken], go=go, then=provider.broken)
    play(run, tmp_path, test, provider, script)


@each_provider
@each_client
@pytest.mark.parametrize("within", [False, True], ids=["between events", "within one"])
def test_a_stream_that_is_cut_is_never_passed_off_as_whole(
    run: Run, tmp_path: Path, name: str, client: str, within: bool
) -> None:
    provider, go = PROVIDERS[name], asyncio.Event()

    async def test(on: Rig, upstream: Upstream) -> None:
        assert_broken(client, await hears(on, client, go))
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.error) == ("truncated", "upstream_closed")
        assert settled.usage["output"] > 0

    cut = provider.events[provider.spoken][:20] if within and provider.settings["provider"] != "azure" else b""
    script = provider.streamed(provider.events[: provider.spoken], go=go, then=cut)
    play(run, tmp_path, test, provider, script)


@pytest.mark.parametrize("name", ["converse", "claude on bedrock"])
def test_a_frame_that_is_damaged(run: Run, tmp_path: Path, name: str) -> None:
    """What stood before it arrives, though it came in the same bytes."""
    provider = PROVIDERS[name]
    damaged = bytearray(provider.events[provider.spoken])
    damaged[-1] ^= 1

    async def test(on: Rig, upstream: Upstream) -> None:
        answer = await on.call(PATHS["messages"], body("messages", stream=True))
        assert assert_broken("messages", answer)["code"] == "upstream_invalid"
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.error) == ("truncated", "upstream_invalid")

    joined = b"".join([*provider.events[: provider.spoken], damaged])
    play(run, tmp_path, test, provider, provider.streamed([joined]))


# what is left out, and what cannot be said

HINTS: dict[tuple[str, str], tuple[dict[str, Any], set[str]]] = {
    ("converse", "messages"): (
        {"metadata": {"user_id": "u"}, "service_tier": "standard_only"},
        {"metadata", "service_tier"},
    ),
    ("gemini", "messages"): (
        {"metadata": {"user_id": "u"}, "service_tier": "standard_only"},
        {"metadata.user_id", "service_tier"},
    ),
    ("gemini", "chat"): ({"seed": 1}, {"seed"}),
    ("claude on vertex", "responses"): ({"store": False, "truncation": "auto"}, {"truncation"}),
    ("azure, v1", "messages"): ({"service_tier": "standard_only"}, {"service_tier"}),
    ("azure, responses", "chat"): ({"seed": 1}, {"seed"}),
}


@pytest.mark.parametrize(("name", "client"), HINTS)
@pytest.mark.parametrize("stream", [False, True])
def test_hints_that_are_left_out_are_listed(run: Run, tmp_path: Path, name: str, client: str, stream: bool) -> None:
    provider, (more, dropped) = PROVIDERS[name], HINTS[name, client]

    async def test(on: Rig, upstream: Upstream) -> None:
        answer = await on.call(PATHS[client], body(client, stream=stream, **more))
        assert answer.status == 200
        listed = set(answer.headers["x-interlock-dropped"].split(", "))
        assert listed >= dropped
        [opened] = [record for record in await on.records() if isinstance(record, Opened)]
        splices = msgspec.json.decode(opened.decision)["splices"]
        assert {f"dropped:{path}" for path in listed} <= set(splices)

    play(run, tmp_path, test, provider, provider.answers(stream))


_IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a"}}
_SEEN = {"messages": [{"role": "user", "content": [_IMAGE]}]}
REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("converse", "messages", _SEEN, "messages[0].content[0].source.type"),
    ("converse", "messages", {"novelty": 1}, "novelty"),
    ("converse", "chat", {"logprobs": True}, "logprobs"),
    ("gemini", "messages", _SEEN, "messages[0].content[0]"),
    ("gemini on vertex", "messages", {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
     "tool_choice.disable_parallel_tool_use"),
    ("claude on bedrock", "chat", {"n": 2}, "n"),
    ("claude on vertex", "responses", {"background": True}, "background"),
    ("azure, dated", "messages", {"top_k": 4}, "top_k"),
    ("azure, responses", "chat", {"stop": ["END"]}, "stop"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "client", "more", "field"), REFUSED)
def test_what_cannot_be_said_is_refused_and_nothing_is_sent(
    run: Run, tmp_path: Path, name: str, client: str, more: dict[str, Any], field: str
) -> None:
    provider = PROVIDERS[name]

    async def test(on: Rig, upstream: Upstream) -> None:
        answer = await on.call(PATHS[client], body(client, **more))
        error = error_of(client, answer)
        assert (answer.status, error["param"]) == (400, field)
        assert field in error["message"]
        assert upstream.seen == []
        assert not [record for record in await on.records() if isinstance(record, Opened | Settled)]

    play(run, tmp_path, test, provider, provider.answers(False))


def test_an_answer_that_costs_though_it_is_none_is_metered(run: Run, tmp_path: Path) -> None:
    """Converse says of some answers that they were malformed in the model's own mouth: paid for all the same."""
    provider = PROVIDERS["converse"]
    said = {**msgspec.json.decode(provider.answer), "stopReason": "malformed_tool_use"}

    async def test(on: Rig, upstream: Upstream) -> None:
        answer = await on.call(PATHS["messages"], body("messages"))
        assert answer.status == 502
        [settled] = await on.settled(1)
        assert (settled.usage, settled.source) == (provider.kinds, "reported")

    play(run, tmp_path, test, provider, whole(msgspec.json.encode(said)))


# the next candidate


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@each_client
def test_a_bedrock_deployment_is_followed_by_one_of_openai_s(
    run: Run, tmp_path: Path, client: str, stream: bool
) -> None:
    provider = PROVIDERS["converse"]

    async def main() -> None:
        throttled = provider.streamed([provider.broken]) if stream else whole(provider.refused[429], "429 Slow")
        first = Upstream(throttled)
        second = Upstream(streamed(*EVENTS["chat"]) if stream else whole(CHAT))
        ports = [await first.start(), await second.start()]
        made = policy(ports, formats=[("messages",), ("chat",)])
        given = placed(made.deployments["d0"], provider, ports[0], credential=Credential(env="PROVIDER_KEY"))
        made = msgspec.structs.replace(made, deployments={**made.deployments, "d0": given})
        try:
            async with asyncio.timeout(30), rig(tmp_path / "data", made) as on:
                answer = await on.call(PATHS[client], body(client, stream=stream))
                assert (answer.status, answer.headers["x-interlock-deployment"]) == (200, "d1")
                settled = await on.settled(2)
                assert [s.outcome for s in settled] == ["failed" if not stream else settled[0].outcome, "completed"]
                assert settled[0].outcome in ("failed", "truncated")
                assert SECRET not in str(second.seen[0].headers)
                assert b"Too many" not in answer.body
                assert provider.hear(first.seen[0].json) == ASKED
                if stream:
                    assert client != "chat" or answer.body.endswith(DONE)
        finally:
            await first.stop()
            await second.stop()

    run(main, blocking_s=2.0)
