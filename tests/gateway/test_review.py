"""Faults found by attacking the gateway from outside, over real sockets: each stood red before it was mended."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT, DONE, EVENTS, ask, chat_delta
from tests.gateway.http.test_client import until
from tests.gateway.rig import (
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

from interlock.errors import LogUnavailable
from interlock.gateway import Limits, Timeouts
from interlock.ledger import Opened, Settled

Run = Callable[..., Any]


def play(run: Run, tmp_path: Path, test: Any, *upstreams: Upstream, **options: Any) -> None:
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


# answers of an upstream


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize("cut", [1, 5, 17, 60, len(_answer(CHAT))])
def test_bytes_after_an_answer_never_become_part_of_an_answer(run: Run, tmp_path: Path, cut: int) -> None:
    """A second answer nobody asked for, in the same read: not appended to the first, not given to the next request."""
    forged = _answer(CHAT.replace(b'"hi"', b'"no"'))

    async def test(on: Rig) -> None:
        for _ in range(2):
            answer = await on.call(PATHS["chat"], ask("chat"))
            assert (answer.status, answer.body) == (200, CHAT)
        assert [s.outcome for s in await on.settled(2)] == ["completed"] * 2

    first = Upstream(raw(_answer(CHAT) + forged[:cut], then_close=False), whole(CHAT))
    play(run, tmp_path, test, first)
    assert len(first.connections) == 2


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + _answer(CHAT), 200, ""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 502, "upstream_invalid"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", 502, "upstream_invalid"),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n", 502, "upstream_invalid"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://x/\r\ncontent-length: 2\r\n\r\n{}", 502, "upstream_invalid"),
        (_answer(CHAT).replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n", 1), 502, "upstream_invalid"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nretry-after: 1\r\n x: y\r\n"
            + b"content-length: %d\r\n\r\n%b" % (len(CHAT), CHAT),
            502,
            "upstream_invalid",
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            + chunk(CHAT)
            + b"0\r\nretry-after: 9\r\nx-ratelimit-evil: 1\r\n\r\n",
            200,
            "",
        ),
    ],
)
def test_unusual_answers(run: Run, tmp_path: Path, sent: bytes, status: int, code: str) -> None:
    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, answer.json.get("error", {}).get("code", "")) == (status, code)
        assert not {"x", "retry-after", "x-ratelimit-evil"} & answer.headers.keys()
        [settled] = await on.settled(1)
        assert settled.outcome in (("completed",) if status == 200 else ("failed", "truncated"))

    play(run, tmp_path, test, Upstream(raw(sent)))


def test_a_pretty_printed_answer_is_settled(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, answer.body) == (200, pretty)
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.source) == ("completed", "reported")

    pretty = msgspec.json.format(CHAT, indent=4).replace(b"    ", b"\t")
    play(run, tmp_path, test, Upstream(whole(pretty)))


# clients


def test_a_client_that_does_not_read_its_last_answer_is_let_go(run: Run, tmp_path: Path) -> None:
    big = CHAT[:-1] + b',"x":"' + b"x" * 30_000_000 + b'"}'

    async def test(on: Rig) -> None:
        _, writer = await on.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat")), "connection: close"))
        await on.settled(1)
        await until(lambda: not on.gateway.connections, 4)
        writer.transport.abort()

    play(run, tmp_path, test, Upstream(whole(big)), limits=Limits(keep_alive_s=0.3))


def test_a_stream_behind_an_answer_nobody_reads_is_not_buffered_without_end(run: Run, tmp_path: Path) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Any) -> None:
        nonlocal sent
        writer.write(SSE_HEAD)
        for _ in range(2000):
            writer.write(chunk(chat_delta("x" * 60_000)))
            sent += 60_000
            await writer.drain()

    big = CHAT[:-1] + b',"x":"' + b"x" * 20_000_000 + b'"}'

    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport
        bodies = [msgspec.json.encode(ask("chat")), msgspec.json.encode(ask("chat", stream=True))]
        writer.write(b"".join(on.request(PATHS["chat"], body) for body in bodies))
        await on.settled(1)
        before = -1
        while sent != before:  # until it has stopped
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 60_000_000
        writer.transport.resume_reading()  # type: ignore[attr-defined] # a socket's transport
        assert (await read_answer(reader)).body == big
        assert (await reader.readuntil(b"\r\n")) == b"HTTP/1.1 200 OK\r\n"
        writer.transport.abort()
        await on.settled(2)

    play(run, tmp_path, test, Upstream(whole(big), flood))


def test_a_pipeline_goes_on_when_the_client_reads_again(run: Run, tmp_path: Path) -> None:
    big = CHAT[:-1] + b',"x":"' + b"x" * 20_000_000 + b'"}'

    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport
        request = on.request(PATHS["chat"], msgspec.json.encode(ask("chat")))
        writer.write(request)
        await on.settled(1)
        writer.write(request * 9)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.resume_reading()  # type: ignore[attr-defined] # a socket's transport
        answers = [await read_answer(reader) for _ in range(10)]
        assert [len(a.body) for a in answers] == [len(big)] + [len(CHAT)] * 9
        writer.close()

    play(run, tmp_path, test, Upstream(whole(big), whole(CHAT)), limits=Limits(pipelined=3))


def test_100_continue_does_not_stand_in_the_middle_of_an_answer(run: Run, tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Any) -> None:
        writer.write(SSE_HEAD + chunk(EVENTS["chat"][0]))
        await go_on.wait()
        writer.write(b"".join(chunk(e) for e in EVENTS["chat"][1:]) + b"0\r\n\r\n")

    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat", stream=True))))
        got = await reader.readuntil(EVENTS["chat"][0])
        body = msgspec.json.encode(ask("chat"))
        request = on.request(PATHS["chat"], body, "expect: 100-continue")
        writer.write(request[: -len(body)])
        await asyncio.sleep(0.1)
        go_on.set()
        got += await reader.readuntil(b"0\r\n\r\n")
        assert b"100 Continue" not in got
        writer.write(body)
        answer = await reader.readuntil(CHAT)
        assert b"HTTP/1.1 200 OK" in answer
        writer.close()

    play(run, tmp_path, test, Upstream(slow, whole(CHAT)))


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_held_are_bounded_from_their_announcement_to_their_answer(
    run: Run, tmp_path: Path, chunked: bool
) -> None:
    body = msgspec.json.encode({**ask("chat"), "user": "x" * 60_000})

    async def test(on: Rig) -> None:
        _, running = await on.connect()
        running.write(on.request(PATHS["chat"], body))  # never answered, so held
        await until(lambda: len(upstream.seen) == 1)
        assert on.gateway.held_bytes >= len(body)
        reader, writer = await on.connect()
        request = on.request(PATHS["chat"], body)
        if chunked:
            head = request[: -len(body)].replace(b"content-length: %d" % len(body), b"transfer-encoding: chunked")
            request = head + chunk(body)
            writer.write(request[:-40_000])
            await until(lambda: on.gateway.held_bytes > len(body))
            request = request[-40_000:]
        writer.write(request)
        answer = await read_answer(reader)
        assert (answer.status, answer.json["error"]["code"]) == (503, "busy")
        writer.close()
        running.close()
        await on.settled(1)
        await until(lambda: not on.gateway.connections)
        assert on.gateway.held_bytes == 0

    upstream = Upstream(silent)
    play(run, tmp_path, test, upstream, limits=Limits(held_bytes=100_000))


def test_what_is_held_is_given_back_after_each_answer(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))) * 7)
        for _ in range(7):
            assert (await read_answer(reader)).status == 200
        assert on.gateway.held_bytes == 0
        writer.close()

    play(run, tmp_path, test, Upstream(whole(CHAT)), limits=Limits(pipelined=2))


# the log, the policy and time


@pytest.mark.parametrize("path", ["/readyz", "/v1/models"])
def test_a_config_stream_that_cannot_be_read_is_an_answer(run: Run, tmp_path: Path, path: str) -> None:
    def broken() -> None:
        raise LogUnavailable("the log cannot be read")

    async def test(on: Rig) -> None:
        on.gateway.catch_up = broken
        answer = await on.call(path, b"", method="GET")
        assert (answer.status, answer.json["error"]["code"]) == (503, "log_unavailable")

    play(run, tmp_path, test, Upstream(whole(CHAT)))


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_journal_that_takes_nothing_more_leaves_nothing_open(run: Run, tmp_path: Path, attempt: int) -> None:
    async def test(on: Rig) -> None:
        stage = on.gateway.journal.stage

        def full(id: str, *args: Any, **options: Any) -> None:
            if id.endswith(f"/{attempt}/opened"):
                raise LogUnavailable("too much is staged for one write")
            stage(id, *args, **options)

        on.gateway.journal.stage = full  # type: ignore[method-assign] # the fault
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, answer.json["error"]["code"]) == (503, "log_unavailable")
        assert not on.gateway.exchanges
        assert on.gateway.metering.low_water() == on.gateway.journal.seq + 1

    first, second = Upstream(whole(b"{}", "500 Internal Server Error")), Upstream(whole(CHAT))
    play(run, tmp_path, test, first, second)
    assert (len(first.seen), len(second.seen)) == (attempt - 1, 0)


@pytest.mark.parametrize("when", ["opened", "settled"])
def test_a_deadline_between_two_writes_of_the_journal_changes_nothing(run: Run, tmp_path: Path, when: str) -> None:
    async def test(on: Rig) -> None:
        stage = on.gateway.journal.stage

        def expiring(id: str, *args: Any, **options: Any) -> None:
            stage(id, *args, **options)
            if id.endswith(when):
                for exchange in on.gateway.exchanges:
                    exchange.deadlines.total_s = exchange.deadlines.due_s = on.gateway.loop.time() - 1
                on.gateway.sweep()

        on.gateway.journal.stage = expiring  # type: ignore[method-assign] # a sweep may come in any tick
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert answer.status == (504 if when == "opened" else 200)
        await until(lambda: not on.gateway.exchanges)
        opened, settled = await on.records()
        assert opened.attempt == settled.attempt == 1  # type: ignore[union-attr] # nothing was refused

    play(run, tmp_path, test, Upstream(whole(CHAT) if when == "settled" else silent))


def test_hang_ups_at_every_tick_settle_each_attempt_once(run: Run, tmp_path: Path) -> None:
    """The client goes away after 0, 1, 2 … turns of the loop: whatever was opened is settled, once."""

    async def test(on: Rig) -> None:
        request = on.request(PATHS["chat"], msgspec.json.encode(ask("chat", stream=True)))
        for ticks in range(60):
            _, writer = await on.connect()
            writer.write(request)
            for _ in range(ticks):
                await asyncio.sleep(0)
            writer.transport.abort()
        await until(lambda: not on.gateway.exchanges and not on.gateway.connections)
        records = await on.records()
        opened = sorted(f"{r.request_id}/{r.attempt}" for r in records if isinstance(r, Opened))
        settled = sorted(f"{r.request_id}/{r.attempt}" for r in records if isinstance(r, Settled))
        assert opened == settled
        assert len(set(opened)) == len(opened)
        assert on.gateway.held_bytes == 0
        pools = list(on.gateway._pools.values())
        for pool in pools:
            pool.close()
        await until(lambda: all(pool._open == 0 for pool in pools))

    play(run, tmp_path, test, Upstream(streamed(*EVENTS["chat"])))


def test_a_policy_that_moves_on_under_running_calls(run: Run, tmp_path: Path) -> None:
    """The deployment is removed and its pool closed: the call goes on, and the connection is closed after it."""
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Any) -> None:
        writer.write(SSE_HEAD + chunk(EVENTS["chat"][0]))
        await go_on.wait()
        writer.write(b"".join(chunk(e) for e in EVENTS["chat"][1:]) + b"0\r\n\r\n")

    async def test(on: Rig) -> None:
        [pool] = on.gateway._pools.values()
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat", stream=True))))
        await reader.readuntil(EVENTS["chat"][0])
        on.gateway.adopt(policy([1], timeouts=Timeouts(connect_s=1)))
        assert pool not in on.gateway._pools.values()
        go_on.set()
        assert (await reader.readuntil(b"0\r\n\r\n")).count(DONE) == 1
        assert [s.outcome for s in await on.settled(1)] == ["completed"]
        await until(lambda: pool._open == 0)
        writer.close()

    play(run, tmp_path, test, Upstream(slow))
