"""Rounds, comments and deadlines: what happens between the attempts, and while nobody says anything."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT, DONE, EVENTS, RESPONSES, ask, chat_delta, data
from tests.gateway.rig import (
    FORMATS,
    PATHS,
    SSE_HEAD,
    Rig,
    Script,
    Seen,
    Upstream,
    chunk,
    policy,
    rig,
    silent,
    streamed,
    whole,
)
from tests.gateway.test_faults import ERROR, FAST, ROLE, code_of, held

from interlock.gateway import Retries, Timeouts
from interlock.gateway.deadlines import Deadlines
from interlock.gateway.exchange import HELD_BYTES_MAX

Run = Callable[..., Any]
COMMENT = b": keep-alive\n\n"
LONG = Retries(rounds=1, backoff_s=0.0, wait_s_max=10)


def play(run: Run, tmp_path: Path, test: Any, *upstreams: Upstream, **options: Any) -> None:
    async def main() -> None:
        ports = [await upstream.start() for upstream in upstreams]
        try:
            async with (
                asyncio.timeout(20),
                rig(tmp_path / "data", policy(ports, **{"timeouts": FAST, **options})) as on,
            ):
                await test(on)
                async with asyncio.timeout(2):
                    while on.gateway.exchanges:
                        await asyncio.sleep(0.01)
        finally:
            for upstream in upstreams:
                await upstream.stop()

    run(main, blocking_s=1.0)


def late(script: Script, seconds: float) -> Script:
    """The same, after a while."""

    async def waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        await asyncio.sleep(seconds)
        await script(reader, writer, seen)

    return waiting


def pinging(event: bytes, every_s: float = 0.02) -> Script:
    """A stream that says `event` for ever."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(SSE_HEAD)
        while not writer.is_closing():
            writer.write(chunk(event))
            await asyncio.sleep(every_s)
        raise ConnectionError

    return script


# rounds


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_while_a_round_is_waited_for(run: Run, tmp_path: Path, stream: bool) -> None:
    async def test(on: Rig) -> None:
        _, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat", stream=stream))))
        await on.settled(1)
        [waiting] = on.gateway.exchanges
        assert waiting.deadlines.waits_for_round
        writer.close()
        while on.gateway.exchanges:
            await asyncio.sleep(0.005)
        assert on.gateway.requests["chat", "cancelled"] >= 1
        assert len(first.seen) == 1
        first.seen.clear()

    first = Upstream(whole(ERROR, "429 Slow", "retry-after: 3\r\n"))
    play(run, tmp_path, test, first, retries=LONG)


@pytest.mark.parametrize("order", [0, 1])
def test_the_shortest_wait_that_was_asked_for(run: Run, tmp_path: Path, order: int) -> None:
    """One asked for an hour, one for nothing: the second is worth a round, whoever came first."""
    hour, none = whole(ERROR, "503 Busy", "retry-after: 3600\r\n"), whole(ERROR, "500 Oops")

    async def test(on: Rig) -> None:
        upstreams[order].scripts, upstreams[1 - order].scripts = [hour], [none, whole(CHAT)]
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 200

    upstreams = [Upstream(silent), Upstream(silent)]
    play(run, tmp_path, test, *upstreams, retries=LONG)


def test_a_drain_waits_for_a_round(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        first.scripts = [whole(ERROR, "429 Slow", "retry-after-ms: 300\r\n"), whole(CHAT)]
        async with asyncio.TaskGroup() as group:
            call = group.create_task(on.call(PATHS["chat"], ask("chat")))
            await on.settled(1)
            on.gateway.drain()
            assert not on.gateway.drained
        assert call.result().status == 200
        assert call.result().headers["connection"] == "close"

    first = Upstream(silent)
    play(run, tmp_path, test, first, retries=LONG)


def test_comments_while_a_round_is_waited_for(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        first.scripts = [whole(ERROR, "429 Slow", "retry-after-ms: 300\r\n"), streamed(*EVENTS["chat"])]
        answer = await on.call(PATHS["chat"], ask("chat", stream=True))
        assert answer.complete and answer.body.count(COMMENT) >= 2 and answer.body.endswith(DONE)

    first = Upstream(silent)
    play(run, tmp_path, test, first, retries=LONG, timeouts=msgspec.structs.replace(FAST, keep_alive_s=0.06))


# comments


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "late_answer", [whole(CHAT), whole(RESPONSES), whole(ERROR, "400 Bad"), whole(ERROR, "401 No")]
)
def test_nothing_but_a_stream_may_follow_a_comment(run: Run, tmp_path: Path, format: str, late_answer: Script) -> None:
    """A whole answer, or an error's, where a stream was asked for: no second status line within the first answer."""

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[format], ask(format, stream=True))
        assert (answer.status, answer.complete) == (200, True)
        assert answer.body.startswith(COMMENT)
        assert b"HTTP/1.1" not in answer.body
        last = answer.body.rstrip().rpartition(b"data: ")[2]
        found = msgspec.json.decode(last)
        assert found.get("error") or found["response"]["error"]

    quick = msgspec.structs.replace(FAST, keep_alive_s=0.05, first_byte_s=5, first_token_s=5)
    play(run, tmp_path, test, Upstream(late(late_answer, 0.2)), timeouts=quick)


def test_a_whole_answer_to_a_stream_s_request_passes_while_nothing_was_said(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat", stream=True))
        assert (answer.status, answer.body) == (200, CHAT)

    play(run, tmp_path, test, Upstream(whole(CHAT)))


def test_a_client_of_http_1_0_gets_comments_too(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        request = on.request(PATHS["chat"], msgspec.json.encode(ask("chat", stream=True)))
        answer = await on.send(request.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        assert "transfer-encoding" not in answer.headers
        assert answer.body.startswith(COMMENT)
        assert answer.body.replace(COMMENT, b"").startswith(b"data: ")
        assert answer.body.endswith(DONE)

    quick = msgspec.structs.replace(FAST, keep_alive_s=0.05, first_byte_s=5, first_token_s=5)
    play(run, tmp_path, test, Upstream(late(streamed(*EVENTS["chat"]), 0.2)), timeouts=quick)


@pytest.mark.parametrize("keep_alive_s", [0.0, 0.05])
@pytest.mark.parametrize("event", [b": ping\n\n", ROLE, b'event: ping\ndata: {"type":"ping"}\n\n'])
def test_pings_are_no_word(run: Run, tmp_path: Path, event: bytes, keep_alive_s: float) -> None:
    """A stream that lives and says nothing fails at `first_token_s`, and another candidate answers."""

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat", stream=True))
        assert answer.body.endswith(DONE) and b"ping" not in answer.body.replace(COMMENT, b"")
        assert [s.error for s in await on.settled(2)] == ["upstream_timeout", ""]

    timeouts = msgspec.structs.replace(FAST, keep_alive_s=keep_alive_s)
    play(run, tmp_path, test, Upstream(pinging(event)), Upstream(streamed(*EVENTS["chat"])), timeouts=timeouts)


def test_what_is_held_is_bounded(run: Run, tmp_path: Path) -> None:
    """Pings without end are let through once they are many, though no word has come."""
    ping = b": " + b"x" * 65_536 + b"\n\n"

    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat", stream=True))))
        async with asyncio.timeout(5):
            await reader.readexactly(HELD_BYTES_MAX)
        writer.close()
        await on.settled(1)

    slow = Timeouts(connect_s=5, first_byte_s=60, first_token_s=60, idle_s=60, total_s=90, keep_alive_s=0)
    play(run, tmp_path, test, Upstream(held(*[ping] * 6)), timeouts=slow)


# an error event first


@pytest.mark.parametrize("more", ["words", "silence", "flood"])
def test_an_error_event_before_any_word_is_the_end(run: Run, tmp_path: Path, more: str) -> None:
    """What follows it is neither held nor waited for: the next candidate is asked at once."""
    error = data({"error": {"message": "busy", "type": "server_error"}})
    rest = {"words": streamed(error, *EVENTS["chat"]), "silence": held(error), "flood": pinging(error + ROLE, 0.0)}

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat", stream=True))
        assert (answer.status, answer.headers["x-interlock-deployment"]) == (200, "d1")
        assert b"busy" not in answer.body
        assert [s.outcome for s in await on.settled(2)] == ["failed", "completed"]

    slow = Timeouts(connect_s=5, first_byte_s=60, first_token_s=60, idle_s=60, total_s=90, keep_alive_s=0)
    play(run, tmp_path, test, Upstream(rest[more]), Upstream(streamed(*EVENTS["chat"])), timeouts=slow)


def test_an_error_event_with_nobody_left_passes_as_it_came(run: Run, tmp_path: Path) -> None:
    error = data({"error": {"message": "busy", "type": "server_error"}})

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat", stream=True))
        assert (answer.status, answer.complete, answer.body) == (200, True, ROLE + error)

    play(run, tmp_path, test, Upstream(streamed(ROLE, error)))


# deadlines


def test_a_client_that_reads_slowly_is_not_its_upstream_s_fault(run: Run, tmp_path: Path) -> None:
    """It stops reading for longer than `idle_s`, and has its whole answer in the end."""
    big = chat_delta("x" * 60_000)

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(SSE_HEAD)
        for _ in range(400):
            writer.write(chunk(big))
            await writer.drain()
        await streamed(*EVENTS["chat"])(reader, _Headless(writer), seen)  # type: ignore[arg-type]  # what it uses is there

    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat", stream=True))))
        await reader.readexactly(1000)
        [exchange] = on.gateway.exchanges
        while not exchange.deadlines.paused:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.8)  # more than `idle_s`, and a few sweeps
        assert on.gateway.exchanges
        tail = b""
        while not tail.endswith(DONE + b"\r\n0\r\n\r\n"):
            tail = (tail + await reader.read(65_536))[-100:]
        writer.close()
        [settled] = await on.settled(1)
        assert settled.outcome == "completed"

    play(run, tmp_path, test, Upstream(flood))


class _Headless:
    """A writer for a script that begins with a head which was sent."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.drain = writer.drain
        self.close = writer.close

    def write(self, data: bytes) -> None:
        if data != SSE_HEAD:
            self._writer.write(data)


def deadlines(**changes: float) -> Deadlines:
    given = {"connect_s": 1.0, "first_byte_s": 20.0, "first_token_s": 30.0, "idle_s": 5.0, "total_s": 100.0}
    return Deadlines(Timeouts(**{**given, "keep_alive_s": 0.0, **changes}), 0.0, stream=True)


def test_what_came_of_one_attempt_says_nothing_of_the_next() -> None:
    due = deadlines()
    due.sent(0.0)
    due.heard(1.0)
    due.came(2.0)
    due.sent(3.0)
    assert not due.passed(8.0), "idle_s is over, but the new attempt has first_byte_s"
    assert due.due_s == 3.0 + 1.0 + 20.0


def test_what_came_before_a_round_does_not_end_it() -> None:
    due = deadlines()
    due.sent(0.0)
    due.came(1.0)
    due.wait_for_round(50.0)
    assert not due.passed(49.0)
    assert due.due_s == 50.0
    due.begin_round()
    assert not due.waits_for_round


def test_a_pause_outlasts_what_still_comes() -> None:
    due = deadlines(keep_alive_s=2.0)
    due.sent(0.0)
    due.spoke()
    due.came(1.0)
    due.pause()
    due.came(1.5)
    due.heard(1.6)
    assert not due.passed(90.0)
    due.resume(90.0)
    assert due.due_s == 92.0 and due.overdue(96.0, answering=True) == "idle_s"


def test_which_deadline_has_passed() -> None:
    due = deadlines()
    due.sent(0.0)
    assert due.overdue(20.0, answering=False) == ""
    assert due.overdue(21.0, answering=False) == "first_byte_s"
    due.heard(28.0)
    assert due.overdue(31.0, answering=True) == "first_token_s"
    due.spoke()
    assert due.overdue(33.0, answering=True) == "idle_s"
    assert due.overdue(100.0, answering=True) == "total_s"


def test_the_total_ends_even_what_moves(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat", stream=True))
        assert answer.complete and code_of(answer) == "upstream_timeout"

    timeouts = msgspec.structs.replace(FAST, total_s=0.6)
    play(run, tmp_path, test, Upstream(pinging(chat_delta("x"))), timeouts=timeouts)
