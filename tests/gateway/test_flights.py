"""Equal calls at once: one call upstream, everybody answered; clients that leave, that are slow, calls that fail."""

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT, EVENTS, WHOLE, chat_delta
from tests.gateway.rig import FORMATS, PATHS, Answer, Rig, Upstream, read_answer, silent, streamed, whole
from tests.gateway.shared import Gate, Run, by_request, encoded, halting, held, key_of, play, records_of, until, zero

from interlock.caching import Settings as CacheSettings
from interlock.gateway import Timeouts
from interlock.gateway.exchange import Exchange
from interlock.ledger import Opened, Refused, Settled

MANY = 1000


async def asked(on: Rig, count: int, *, format: str = "chat", stream: bool = False) -> list[asyncio.Task[Answer]]:
    """So many equal calls, each on a connection of its own, all of which the gateway has read."""
    before = len(on.gateway.connections)
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(on.call(PATHS[format], zero(format, stream=stream))) for _ in range(count)]
    await until(lambda: seats(on) + before >= count)
    return tasks


def seats(on: Rig) -> int:
    return sum(len(flight.seats) for flight in on.gateway.cache.flights.values())


@pytest.mark.parametrize("stream", [False, True])
def test_a_thousand_equal_calls_at_once_are_one(run: Run, tmp_path: Path, stream: bool) -> None:
    gate = Gate()
    upstream = Upstream(halting(EVENTS["chat"][:1], EVENTS["chat"][1:], gate) if stream else held(whole(CHAT), gate))

    async def test(on: Rig) -> None:
        tasks = await asked(on, MANY, stream=stream)
        gate.open()
        answers = [await task for task in tasks]
        assert {(answer.status, answer.complete) for answer in answers} == {(200, True)}
        assert len({answer.body for answer in answers}) == 1
        results = sorted(answer.headers["x-interlock-cache"] for answer in answers)
        assert results == ["miss"] + ["shared"] * (MANY - 1)
        assert len(upstream.seen) == 1
        records = by_request(await on.records())
        assert set(map(len, records.values())) == {2} and len(records) == MANY
        [made] = [pair[0] for pair in records.values() if not pair[0].answer_of]
        assert {pair[0].answer_of for pair in records.values()} == {"", made.request_id}
        assert [pair[1].source for pair in records.values()].count("cached") == MANY - 1
        assert on.gateway.requests == {("chat", "ok"): MANY}

    play(run, tmp_path, test, upstream)


@pytest.mark.parametrize("format", FORMATS)
def test_who_comes_late_hears_the_same_from_the_beginning(run: Run, tmp_path: Path, format: str) -> None:
    gate = Gate()
    events = EVENTS[format]
    upstream = Upstream(halting(events[:3], events[3:], gate))

    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS[format], encoded(zero(format, stream=True))))
        first = await reader.readuntil(events[1].strip())
        late = await asked(on, 2, format=format, stream=True)
        gate.open()
        bodies = {(await task).body for task in late}
        await reader.readuntil(b"0\r\n\r\n")
        assert b"x-interlock-cache: miss" in first
        expected = [e for e in events if b'"choices": []' not in e and b'"choices":[]' not in e]
        assert bodies == {b"".join(expected)}
        writer.close()

    play(run, tmp_path, test, upstream)


def test_the_call_goes_on_when_its_own_client_hangs_up(run: Run, tmp_path: Path) -> None:
    gate = Gate()
    upstream = Upstream(halting([chat_delta("h")], EVENTS["chat"][1:], gate))

    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], encoded(zero("chat", stream=True))))
        await reader.readuntil(b"\r\n\r\n")
        [other] = await asked(on, 1, stream=True)
        writer.close()
        await until(lambda: seats(on) == 1)
        gate.open()
        answer = await other
        assert answer.complete and b"[DONE]" in answer.body
        opened = (await records_of(on, answer.headers["x-interlock-request-id"], 2))[0]
        settled = (await records_of(on, opened.answer_of, 2))[1]
        assert (settled.outcome, settled.source) == ("completed", "reported")
        assert (await on.call(PATHS["chat"], zero("chat", stream=True))).headers["x-interlock-cache"] == "hit"

    play(run, tmp_path, test, upstream)


def test_when_all_have_hung_up_the_call_ends_and_each_is_settled(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        writers = []
        for _ in range(3):
            reader, writer = await on.connect()
            writer.write(on.request(PATHS["chat"], encoded(zero("chat", stream=True))))
            await reader.readuntil(b"data:")
            writers.append(writer)
        for writer in writers:
            writer.close()
        async with asyncio.timeout(2):
            await upstream.closed.wait()
        settled = await on.settled(3)
        assert {one.outcome for one in settled} == {"cancelled"}
        assert sorted(one.source for one in settled) == ["estimated", "none", "none"]
        assert {tuple(one.usage) for one in settled if one.source == "none"} == {()}
        assert not on.gateway.cache.flights
        await until(lambda: on.gateway.requests == {("chat", "cancelled"): 3})

    upstream = Upstream(streamed(chat_delta("h"), hold=asyncio.Event()))
    play(run, tmp_path, test, upstream)


@pytest.mark.parametrize("words", [0, 1])
def test_the_guests_of_a_call_that_fails_get_its_error_and_the_next_call_is_made(
    run: Run, tmp_path: Path, words: int
) -> None:
    gate = Gate()
    failing = halting([chat_delta("h")] * words, [], gate, end=False)
    upstream = Upstream(failing, whole(CHAT))

    async def test(on: Rig) -> None:
        tasks = await asked(on, 5, stream=True)
        if words:
            await until(lambda: on.gateway.metering.attempts or seats(on) == 5)
        gate.open()
        answers = [await task for task in tasks]
        assert len({(answer.status, answer.body) for answer in answers}) == 1
        assert answers[0].status == (200 if words else 502)
        assert b"upstream_closed" in answers[0].body
        assert len(upstream.seen) == 1
        records = by_request(await on.records())
        ends = sorted((type(pair[-1]).__name__, pair[-1].error) for pair in records.values() if len(pair) == 2)
        if words:
            assert ends == [("Settled", "upstream_closed")] * 5
            sources = sorted(pair[-1].source for pair in records.values())
            assert sources == ["estimated"] + ["none"] * 4
        else:
            assert ends == [("Settled", "upstream_closed")]
            refused = [pair[0] for pair in records.values() if isinstance(pair[0], Refused)]
            assert [one.code for one in refused] == ["upstream_closed"] * 4
        assert sum(on.gateway.requests.values()) == 5
        assert len(on.gateway.metering._open_seqs) == 0

    play(run, tmp_path, test, upstream)


def test_a_call_that_nobody_can_say_is_refused_to_all(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        body = zero("messages", top_k=5)
        answers = [await on.call(PATHS["messages"], body) for _ in range(2)]
        assert [(answer.status, answer.headers["x-interlock-request-id"] != "") for answer in answers] == [
            (400, True)
        ] * 2
        assert not on.gateway.cache.flights and not on.gateway.exchanges
        assert {type(record) for record in await on.records()} == {Refused}

    play(run, tmp_path, test, Upstream(whole(CHAT)), formats=[("chat",)])


def test_a_defect_in_making_the_call_is_told_to_its_client(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(exchange: Exchange, **options: object) -> None:
        raise ZeroDivisionError

    async def test(on: Rig) -> None:
        monkeypatch.setattr(Exchange, "next", broken)
        answer = await on.call(PATHS["chat"], zero("chat"))
        assert (answer.status, answer.json["error"]["code"]) == (500, "internal")
        assert not on.gateway.cache.flights and not on.gateway.exchanges
        monkeypatch.undo()
        assert (await on.call(PATHS["chat"], zero("chat"))).status == 200

    play(run, tmp_path, test, Upstream(whole(CHAT)))
    assert "ZeroDivisionError" in caplog.text


def test_a_slow_client_keeps_nobody_waiting_and_gets_all_of_it(run: Run, tmp_path: Path) -> None:
    events = [chat_delta("x" * 10_000)] * 1000 + EVENTS["chat"][2:]
    gate = Gate()
    upstream = Upstream(halting([chat_delta("h")], events, gate))

    async def test(on: Rig) -> None:
        slow_reader, slow_writer = await on.connect()
        slow_writer.write(on.request(PATHS["chat"], encoded(zero("chat", stream=True))))
        await until(lambda: upstream.seen)
        [other] = await asked(on, 1, stream=True)
        gate.open()
        fast = await other
        assert fast.complete and len(fast.body) > 10_000_000
        assert on.gateway.requests == {("chat", "ok"): 2}, "the call is over, and its own client has not read it"
        slow = await read_answer(slow_reader)
        assert slow.complete and slow.body == fast.body
        slow_writer.close()

    play(run, tmp_path, test, upstream, cache=CacheSettings(entry_bytes=1 << 24))


def test_a_client_that_is_far_behind_in_a_huge_answer_is_broken_off(run: Run, tmp_path: Path) -> None:
    events = [chat_delta("x" * 100_000)] * 200 + EVENTS["chat"][2:]
    gate = Gate()
    upstream = Upstream(halting([chat_delta("h")], events, gate))

    async def test(on: Rig) -> None:
        [fast] = await asked(on, 1, stream=True)
        slow_reader, slow_writer = await on.connect()
        slow_writer.write(on.request(PATHS["chat"], encoded(zero("chat", stream=True))))
        await until(lambda: on.gateway.cache.answers["chat", "shared"])
        gate.open()
        assert (await fast).complete
        settled = await on.settled(2)
        assert sorted((one.outcome, one.source) for one in settled) == [
            ("cancelled", "none"),
            ("completed", "reported"),
        ]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            while await slow_reader.readexactly(1 << 16):
                pass
        assert len(on.gateway.cache.memory) == 0
        slow_writer.close()

    play(run, tmp_path, test, upstream, cache=CacheSettings(entry_bytes=1 << 16))


def test_a_guest_is_cancelled_while_it_waits_for_a_whole_answer(run: Run, tmp_path: Path) -> None:
    gate = Gate()
    upstream = Upstream(held(whole(CHAT), gate))

    async def test(on: Rig) -> None:
        [first] = await asked(on, 1)
        _, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], encoded(zero("chat"))))
        await until(lambda: seats(on) == 2)
        writer.close()
        await until(lambda: seats(on) == 1)
        gate.open()
        assert (await first).status == 200
        assert [type(record) for record in await on.records()] == [Opened, Settled]

    play(run, tmp_path, test, upstream)


@pytest.mark.parametrize("when", ["opened", "given"])
def test_a_client_that_is_gone_before_its_hit_is_written_down_gets_nothing(run: Run, tmp_path: Path, when: str) -> None:
    async def test(on: Rig) -> None:
        await on.call(PATHS["chat"], zero("chat"))
        write = getattr(on.gateway.metering, when)

        def cancel() -> None:
            for connection in on.gateway.connections:
                if connection._running is not None:
                    connection._running.cancel()

        def written(*args: Any, **options: Any) -> None:
            asyncio.get_running_loop().call_soon(cancel)  # before what is staged is written, at the tick's end
            write(*args, **options)

        setattr(on.gateway.metering, when, written)
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], encoded(zero("chat"))))
        settled = (await on.settled(2))[1]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)
        writer.close()
        expected = ("cancelled", "none", {}) if when == "opened" else ("completed", "cached", {"cache_hit": 1})
        assert (settled.outcome, settled.source, settled.usage) == expected

    play(run, tmp_path, test, Upstream(whole(CHAT)))


@pytest.mark.parametrize("how", ["whole", "streamed", "error", "silent"])
def test_nothing_is_left_of_shared_calls(run: Run, tmp_path: Path, how: str) -> None:
    scripts = {
        "whole": whole(WHOLE["chat"]),
        "streamed": streamed(*EVENTS["chat"]),
        "error": whole(b"{}", "500 Oops"),
        "silent": silent,
    }
    fast = Timeouts(connect_s=1, first_byte_s=0.1, first_token_s=0.1, idle_s=0.1, total_s=5)

    async def test(on: Rig) -> None:
        seen: list[weakref.ref[object]] = []

        class Watched(dict[bytes, object]):
            def __setitem__(self, key: bytes, flight: object) -> None:
                seen.append(weakref.ref(flight))
                super().__setitem__(key, flight)

        on.gateway.cache.flights = Watched()  # type: ignore[assignment]  # of flights
        async with asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(on.call(PATHS["chat"], zero("chat", stream=how == "streamed")))
        await until(lambda: seen and not any(flight() for flight in seen), 2)

    gc.disable()
    try:
        play(run, tmp_path, test, Upstream(scripts[how]), timeouts=fast)
    finally:
        gc.enable()


def test_a_guest_is_told_under_the_policy_that_it_came_under(run: Run, tmp_path: Path) -> None:
    gate = Gate()
    upstream = Upstream(halting([], EVENTS["chat"], gate))

    async def test(on: Rig) -> None:
        tasks = await asked(on, 3, stream=True)
        await until(lambda: upstream.seen)
        old = on.gateway.policy
        gone = {"other": msgspec.structs.replace(old.deployments["d0"], name="other")}
        tiers = {name: msgspec.structs.replace(tier, deployments=("other",)) for name, tier in old.tiers.items()}
        on.gateway.adopt(msgspec.structs.replace(old, version="new", deployments=gone, tiers=tiers))
        gate.open()
        assert {(await task).headers["x-interlock-deployment"] for task in tasks} == {"d0"}
        assert [one.outcome for one in await on.settled(3)] == ["completed"] * 3

    play(run, tmp_path, test, upstream)


def test_tenants_fly_apart(run: Run, tmp_path: Path) -> None:
    gate = Gate()
    upstream = Upstream(held(whole(CHAT), gate))

    async def test(on: Rig) -> None:
        other = await key_of(on, "other")
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(on.call(PATHS["chat"], zero("chat"), key=key)) for key in (None, other) * 10]
        await until(lambda: seats(on) == 20)
        gate.open()
        for task in tasks:
            assert (await task).status == 200
        assert len(upstream.seen) == 2

    play(run, tmp_path, test, upstream)
