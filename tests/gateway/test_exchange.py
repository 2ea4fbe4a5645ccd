"""The life of a request, over real sockets, with an upstream that does whatever the test says."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT, CHAT_USAGE, DONE, EVENTS, USAGE, WHOLE, ask, chat_delta
from tests.gateway.rig import (
    FORMATS,
    PATHS,
    SSE_HEAD,
    Rig,
    Upstream,
    chunk,
    policy,
    raw,
    read_answer,
    rig,
    silent,
    streamed,
    whole,
)

from interlock.gateway import Policy, Timeouts
from interlock.ledger import Opened, Refused, Settled

Run = Callable[..., Any]


def play(run: Run, tmp_path: Path, test: Any, *upstreams: Upstream, made: Policy | None = None, **options: Any) -> None:
    """Run `test(rig)` before these upstreams, on every loop."""

    async def main() -> None:
        ports = [await upstream.start() for upstream in upstreams]
        try:
            async with rig(tmp_path / "data", policy(ports, **options)) as on:
                await test(on)
        finally:
            for upstream in upstreams:
                await upstream.stop()

    run(main, blocking_s=1.0)  # opening the logs blocks, once


@pytest.mark.parametrize("format", FORMATS)
def test_a_whole_answer_passes_and_is_settled_with_the_provider_s_figures(
    run: Run, tmp_path: Path, format: str
) -> None:
    upstream = Upstream(whole(WHOLE[format]))

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[format], ask(format), "x-interlock-mode: plan", "x-interlock-session: s1")
        assert (answer.status, answer.body) == (200, WHOLE[format])
        assert answer.headers["x-interlock-tier"] == "second"
        assert answer.headers["x-interlock-deployment"] == "d0"
        opened, settled = await on.records()
        assert isinstance(opened, Opened) and isinstance(settled, Settled)
        assert opened.request_id == settled.request_id == answer.headers["x-interlock-request-id"]
        assert (opened.tenant, opened.principal, opened.mode, opened.session) == ("acme", "agent", "plan", "s1")
        assert (settled.outcome, settled.usage, settled.source) == ("completed", USAGE, "reported")
        assert settled.upstream_peer.startswith("127.0.0.1:")
        decision = msgspec.json.decode(opened.decision)
        assert (decision["rule"], decision["winner"], decision["splices"]) == ("planning", "d0", ["model"])

    play(run, tmp_path, test, upstream)
    assert upstream.seen[0].path == PATHS[format]
    assert upstream.seen[0].json == {**ask(format), "model": "model-0"}
    assert "authorization" not in upstream.seen[0].headers


@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_passes_byte_for_byte(run: Run, tmp_path: Path, format: str) -> None:
    upstream = Upstream(streamed(*EVENTS[format]))

    async def test(on: Rig) -> None:
        body = {**ask(format, stream=True), **({"stream_options": {"include_usage": True}} if format == "chat" else {})}
        answer = await on.call(PATHS[format], body)
        assert answer.complete
        assert answer.body == b"".join(EVENTS[format])
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.usage, settled.source) == ("completed", USAGE, "reported")
        assert settled.upstream_model == "model-0"

    play(run, tmp_path, test, upstream)


def test_usage_is_asked_for_and_not_shown_to_a_client_that_did_not_ask(run: Run, tmp_path: Path) -> None:
    upstream = Upstream(streamed(*EVENTS["chat"]))

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat", stream=True))
        assert answer.body == b"".join(event for event in EVENTS["chat"] if event != CHAT_USAGE)
        [settled] = await on.settled(1)
        assert (settled.usage, settled.source) == (USAGE, "reported")

    play(run, tmp_path, test, upstream)
    assert upstream.seen[0].json["stream_options"] == {"include_usage": True}


def test_a_client_that_hangs_up_stops_the_upstream_and_is_settled(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat", stream=True))))
        await reader.readuntil(chat_delta("i").strip())
        writer.close()
        async with asyncio.timeout(1):
            await upstream.closed.wait()
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.source) == ("cancelled", "estimated")
        assert settled.usage["output"] == 2
        assert settled.rule.endswith("stream-delta-bytes/1")

    upstream = Upstream(streamed(chat_delta("h"), chat_delta("i"), hold=asyncio.Event()))
    play(run, tmp_path, test, upstream)


def test_a_client_that_hangs_up_before_the_answer_is_settled(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        _, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))))
        async with asyncio.timeout(2):
            while not upstream.seen:
                await asyncio.sleep(0.005)
        writer.close()
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.source) == ("cancelled", "estimated")
        assert settled.usage["input"] > 0

    upstream = Upstream(silent)
    play(run, tmp_path, test, upstream)


BROKEN = {
    "refused": (None, "upstream_unreachable", 502),
    "closed": (raw(), "upstream_closed", 502),
    "closed in the head": (raw(b"HTTP/1.1 200 OK\r\ncontent-"), "upstream_closed", 502),
    "closed in the body": (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"), "upstream_closed", 502),
    "not http": (raw(b"SSH-2.0-OpenSSH_9.2p1\r\n"), "upstream_invalid", 502),
    "bad chunk": (
        raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
        "upstream_invalid",
        502,
    ),
    "not json": (whole(b"<html>it works</html>"), "upstream_invalid", 502),
    "compressed": (whole(CHAT, headers="content-encoding: gzip\r\n"), "upstream_invalid", 502),
    "endless head": (raw(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000), "upstream_invalid", 502),
    "silent": (silent, "upstream_timeout", 504),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_upstream_is_answered_in_the_client_s_format_and_settled_once(
    run: Run, tmp_path: Path, name: str
) -> None:
    script, code, status = BROKEN[name]

    async def test(on: Rig) -> None:
        if script is None:
            await upstream.stop()
        answer = await on.call(PATHS["messages"], ask("messages"))
        assert (answer.status, answer.json["error"]["code"]) == (status, code)
        assert answer.json["type"] == "error"
        _, settled = await on.records()
        assert isinstance(settled, Settled)
        assert settled.error == code
        assert settled.outcome in ("failed", "truncated")
        assert settled.source == ("none" if script is None else "estimated")

    upstream = Upstream(script or silent)
    play(run, tmp_path, test, upstream, timeouts=Timeouts(connect_s=0.2, first_byte_s=0.3, idle_s=0.3, total_s=2))


@pytest.mark.parametrize("name", BROKEN)
def test_the_next_candidate_answers_and_each_attempt_is_metered(run: Run, tmp_path: Path, name: str) -> None:
    script = BROKEN[name][0]

    async def test(on: Rig) -> None:
        if script is None:
            await first.stop()
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, answer.headers["x-interlock-deployment"]) == (200, "d1")
        attempts = [(r.attempt, r.outcome) for r in await on.records() if isinstance(r, Settled)]
        assert attempts[1] == (2, "completed")
        assert len(attempts) == 2

    first, second = Upstream(script or silent), Upstream(whole(CHAT))
    play(run, tmp_path, test, first, second, timeouts=Timeouts(connect_s=0.2, first_byte_s=0.3, idle_s=0.3, total_s=5))
    assert second.seen[0].json["model"] == "model-1"


@pytest.mark.parametrize(
    "status", ["429 Too Many Requests", "500 Internal Server Error", "529 Overloaded", "404 Not Found"]
)
def test_an_error_status_leads_on_and_the_last_one_passes_as_it_came(run: Run, tmp_path: Path, status: str) -> None:
    body = b'{"error":{"message":"no","type":"x","param":null,"code":null}}'

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, answer.body, answer.headers["retry-after"]) == (int(status[:3]), body, "7")
        assert [s.error for s in await on.settled(2)] == ["upstream_error"] * 2
        assert {s.source for s in await on.settled(2)} == {"none"}

    upstreams = [Upstream(whole(body, status, "retry-after: 7\r\n")) for _ in range(2)]
    play(run, tmp_path, test, *upstreams)


def test_a_refusal_is_never_routed_around(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 400

    first, second = Upstream(whole(b'{"error":{"code":"content_filter"}}', "400 Bad Request")), Upstream(whole(CHAT))
    play(run, tmp_path, test, first, second)
    assert not second.seen


def test_the_upstream_s_401_is_not_the_client_s(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_auth")

    play(run, tmp_path, test, Upstream(whole(b'{"error":{"message":"bad key sk-123"}}', "401 Unauthorized")))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("body", [b'{"error":{"code":400,"message":"too long","type":"x"}}', b"<html>502</html>"])
def test_an_upstream_s_error_has_the_client_s_shape(run: Run, tmp_path: Path, format: str, body: bytes) -> None:
    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[format], ask(format))
        assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
        assert (answer.json.get("type") == "error") is (format == "messages")
        assert ("too long" in answer.json["error"]["message"]) is (b"too long" in body)

    play(run, tmp_path, test, Upstream(whole(body, "400 Bad Request")))


@pytest.mark.parametrize("format", FORMATS)
def test_a_truncated_stream_never_looks_complete(run: Run, tmp_path: Path, format: str) -> None:
    last = {"chat": b'data: {"error"', "responses": b"event: response.failed", "messages": b"event: error"}

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[format], ask(format, stream=True))
        assert b"".join(EVENTS[format][:2]) in answer.body
        assert last[format] in answer.body
        assert b"[DONE]" not in answer.body
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.error) == ("truncated", "upstream_closed")
        assert settled.usage["output"] >= 1

    play(run, tmp_path, test, Upstream(streamed(*EVENTS[format][: 3 if format == "messages" else 2], end=False)))


def test_a_stream_that_stalls_ends_in_an_error(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat", stream=True))
        assert b'"code":"upstream_timeout"' in answer.body
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.error) == ("truncated", "upstream_timeout")

    upstream = Upstream(streamed(chat_delta("h"), hold=asyncio.Event()))
    play(run, tmp_path, test, upstream, timeouts=Timeouts(connect_s=1, first_byte_s=2, idle_s=0.2, total_s=5))


def test_a_pooled_connection_found_closed_is_a_new_attempt(run: Run, tmp_path: Path) -> None:
    """The upstream closes after its answer without saying so; the next request meets a dead connection."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Any) -> None:
        await reader.read(0)
        raise ConnectionError

    async def test(on: Rig) -> None:
        for _ in range(2):
            assert (await on.call(PATHS["chat"], ask("chat"))).status == 200
        settled = await on.settled(3)
        assert [(s.attempt, s.outcome, s.source) for s in settled] == [
            (1, "completed", "reported"),
            (1, "failed", "none"),
            (2, "completed", "reported"),
        ]

    play(run, tmp_path, test, Upstream(whole(CHAT), closing, whole(CHAT)))


def test_connections_to_the_upstream_are_kept(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        request = on.request(PATHS["chat"], msgspec.json.encode(ask("chat")))
        writer.write(request * 5)  # pipelined
        answers = [await read_answer(reader) for _ in range(5)]
        assert [a.status for a in answers] == [200] * 5
        assert len({a.headers["x-interlock-request-id"] for a in answers}) == 5
        writer.close()
        assert len(upstream.seen) == 5
        assert len(upstream.connections) == 1

    upstream = Upstream(whole(CHAT))
    play(run, tmp_path, test, upstream)


@pytest.mark.parametrize("format", FORMATS)
def test_nobody_within_the_boundary_is_a_403_that_names_the_clause(run: Run, tmp_path: Path, format: str) -> None:
    async def main() -> None:
        port = await upstream.start()
        async with rig(tmp_path / "data", policy([port, port]), boundary="mars") as on:
            answer = await on.call(PATHS[format], ask(format))
            assert (answer.status, answer.json["error"]["code"]) == (403, "boundary_refused")
            assert "d0: boundary mars: geographies: eu outside mars" in answer.json["error"]["message"]
            assert "d1: boundary mars: geographies: us outside mars" in answer.json["error"]["message"]
            [refused] = await on.records()
            assert isinstance(refused, Refused)
            assert (refused.code, refused.tenant) == ("boundary_refused", "acme")
        await upstream.stop()

    upstream = Upstream(whole(CHAT))
    run(main, blocking_s=1.0)  # opening the logs blocks, once
    assert not upstream.seen


def test_a_key_under_a_boundary_reaches_only_what_is_inside(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        inside, outside = Upstream(whole(b"{}", "500 Internal Server Error")), Upstream(whole(CHAT))
        ports = [await inside.start(), await outside.start()]
        async with rig(tmp_path / "data", policy(ports), boundary="eu") as on:
            assert (await on.call(PATHS["chat"], ask("chat"))).status == 500
        assert inside.seen and not outside.seen
        await inside.stop()
        await outside.stop()

    run(main, blocking_s=1.0)  # opening the logs blocks, once


def test_a_revoked_key_is_not_admitted(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 200
        [listed] = await on.identity.list()
        await on.identity.revoke(listed.key.id)
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, answer.json["error"]["code"]) == (401, "key_unknown")

    play(run, tmp_path, test, Upstream(whole(CHAT)))


def test_an_answer_without_length_ends_with_its_connection(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat", stream=True))
        assert answer.body.endswith(DONE)
        [settled] = await on.settled(1)
        assert settled.outcome == "completed"

    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    play(run, tmp_path, test, Upstream(raw(head, *EVENTS["chat"])))


def test_a_slow_client_is_not_buffered_without_end(run: Run, tmp_path: Path) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Any) -> None:
        nonlocal sent
        writer.write(SSE_HEAD)
        for _ in range(2000):
            writer.write(chunk(chat_delta("x" * 60_000)))
            sent += 60_000
            await writer.drain()

    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat", stream=True))))
        await reader.readexactly(100)
        before = -1
        while sent != before:  # until it has stopped
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 60_000_000
        writer.close()
        await on.settled(1)

    play(run, tmp_path, test, Upstream(flood))
