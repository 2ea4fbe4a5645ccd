"""The cache of a worker, and several of them over one shelf."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.caching.entries import SECOND_NS
from tests.caching.listening import Calling, Listening
from tests.caching.shelves import MemoryShelf, Run

from interlock.caching import Cache, Directives, Flight, Question, Settings, Shelf, Told
from interlock.caching.ports import LEASE_MS, Claim
from interlock.testing.clock import ManualClock

KEY = b"k" * 32
QUESTION = Question(KEY, "acme", 60, Directives(), True)
JSON = b"content-type: application/json\r\n"
GOOD = Told(request_id="req_1", deployment="d0", good=True, usage={"input": 3}, finish_reason="stop")


class Worker:
    """A cache, and the calls that it has sent."""

    def __init__(self, clock: ManualClock, shelf: Shelf | None = None, **settings: Any) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.flights: list[Flight] = []
        self.cache = Cache(clock, self._spawn)
        self.cache.adopt(Settings(**settings), shelf)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def lead(self, flight: Flight) -> None:
        flight.tell = lambda: GOOD
        flight.take(Calling())
        self.flights.append(flight)

    def ask(self, question: Question = QUESTION) -> Listening:
        """As the gateway does."""
        listener = Listening()
        entry = self.cache.find(question)
        if entry is not None:
            listener.heard, listener.ended = entry.body, "hit"
        elif (flight := self.cache.joinable(question)) is not None:
            flight.join(listener)
        else:
            self.cache.send(question, listener, self.lead)
        return listener


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def answer(flight: Flight, body: bytes = b"{}") -> None:
    flight.respond(200, JSON, body)


def test_equal_calls_in_flight_make_one_call_and_later_ones_are_hits(run: Run) -> None:
    async def main() -> None:
        worker = Worker(ManualClock())
        listeners = [worker.ask() for _ in range(1000)]
        [flight] = worker.flights
        answer(flight)
        assert {(one.ended, one.heard) for one in listeners} == {("whole", b"{}")}
        assert worker.ask().ended == "hit"
        assert worker.cache.flights == {}

    run(main)


def test_an_answer_is_given_until_its_time_is_over_and_is_then_gone(run: Run) -> None:
    async def main() -> None:
        clock = ManualClock()
        worker = Worker(clock)
        worker.ask()
        answer(worker.flights[0])
        clock.advance(53 * SECOND_NS)
        assert worker.ask().ended == "hit"
        assert worker.ask(Question(KEY, "acme", 30, Directives(), True)).ended == "", "lives as long as is set now"
        clock.advance(14 * SECOND_NS)
        worker.cache.sweep()
        assert len(worker.cache.memory) == 0

    run(main)


BAD = {
    "not good": (Told(request_id="req_1", error="upstream_error"), 200),
    "not 200": (GOOD, 503),
    "kept before": (Told(request_id="req_1", good=True, cached_at_ns=5), 200),
}


@pytest.mark.parametrize("why", BAD)
def test_what_is_not_good_is_not_kept(run: Run, why: str) -> None:
    told, status = BAD[why]

    async def main() -> None:
        shelf = MemoryShelf()
        worker = Worker(ManualClock(), shelf)
        for _ in range(2):
            listener = worker.ask()
            await until(lambda: worker.flights)
            flight = worker.flights.pop()
            flight.tell = lambda: told
            flight.respond(status, JSON, b"{}")
            assert listener.ended == "whole"
            await until(lambda: not worker.tasks)
        assert (shelf.kept, shelf.leads, len(worker.cache.memory)) == ({}, {}, 0)

    run(main)


def test_a_client_may_ask_for_an_answer_of_its_own_which_is_then_kept(run: Run) -> None:
    async def main() -> None:
        shelf = MemoryShelf()
        worker = Worker(ManualClock(), shelf)
        own = Question(KEY, "acme", 60, Directives(no_cache=True), True)
        worker.ask()
        await until(lambda: worker.flights)
        worker.ask(own)
        assert len(worker.flights) == 2, "not joined, and no shelf is asked"
        answer(worker.flights[0], b"old")
        assert worker.ask().heard == b"old"
        worker.ask(own)
        answer(worker.flights[2], b"new")
        assert worker.ask().heard == b"new"
        await until(lambda: not worker.tasks)
        assert b"new" in shelf.kept["acme", KEY][0]

    run(main)


def test_two_workers_make_one_call(run: Run) -> None:
    async def main() -> None:
        clock, shelf = ManualClock(), MemoryShelf()
        one, two = Worker(clock, shelf), Worker(clock, shelf)
        listeners = [worker.ask() for worker in (one, two) for _ in range(500)]
        await until(lambda: one.flights or two.flights)
        await asyncio.sleep(0.05)
        [flight] = one.flights + two.flights
        answer(flight, b"the one")
        await until(lambda: all(listener.ended for listener in listeners))
        assert {listener.heard for listener in listeners} == {b"the one"}
        assert len(one.flights + two.flights) == 1
        assert one.ask().ended == two.ask().ended == "hit"
        told = {listener.told.cached_at_ns for listener in listeners if listener.told}
        assert told == {0, clock.now_ns()}, "half of them heard it of the shelf"

    run(main)


def test_a_call_that_failed_is_made_by_the_next_worker(run: Run) -> None:
    async def main() -> None:
        shelf, clock = MemoryShelf(), ManualClock()
        one, two = Worker(clock, shelf), Worker(clock, shelf)
        one.ask()
        await until(lambda: one.flights)
        listener = two.ask()
        await asyncio.sleep(0.03)
        one.flights[0].tell = lambda: Told(request_id="req_1", error="upstream_error")
        one.flights[0].respond(502, JSON, b"{}")
        await until(lambda: two.flights)
        answer(two.flights[0])
        assert listener.ended == "whole"

    run(main)


def test_a_worker_that_died_is_not_waited_for(run: Run) -> None:
    async def main() -> None:
        shelf = MemoryShelf()
        await shelf.claim("acme", KEY, b"of the dead")
        worker = Worker(ManualClock(), shelf)
        worker.ask()
        await until(lambda: shelf.claims > 3)
        assert not worker.flights
        shelf.now_ms += LEASE_MS
        await until(lambda: worker.flights)

    run(main)


def test_a_lead_is_renewed_while_the_call_runs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.caching.cache.LEASE_MS", 60)

    async def main() -> None:
        shelf = MemoryShelf()
        worker = Worker(ManualClock(), shelf)
        worker.ask()
        await until(lambda: worker.flights)
        for _ in range(3):
            shelf.now_ms += LEASE_MS - 10
            await until(lambda: shelf.leads["acme", KEY][1] == shelf.now_ms + LEASE_MS)
        answer(worker.flights[0])
        await until(lambda: not worker.tasks)
        assert not shelf.leads

    run(main)


def test_waiting_for_another_worker_is_bounded(run: Run) -> None:
    async def main() -> None:
        shelf, clock = MemoryShelf(), ManualClock()
        await shelf.claim("acme", KEY, b"of the slow")
        worker = Worker(clock, shelf, wait_ms=1000)
        worker.ask()
        await until(lambda: shelf.claims > 3)
        assert not worker.flights
        clock.advance(1 * SECOND_NS)
        await until(lambda: worker.flights)
        answer(worker.flights[0])
        await until(lambda: not worker.tasks)
        assert ("acme", KEY) in shelf.kept and shelf.leads["acme", KEY][0] == b"of the slow"

    run(main)


def test_a_shelf_that_is_away_costs_nothing_but_hits(run: Run) -> None:
    async def main() -> None:
        shelf = MemoryShelf()
        shelf.away = True
        worker = Worker(ManualClock(), shelf)
        listeners = [worker.ask() for _ in range(10)]
        await until(lambda: worker.flights)
        answer(worker.flights[0])
        assert {listener.ended for listener in listeners} == {"whole"}
        assert worker.ask().ended == "hit"

    run(main)


def test_a_shelf_with_a_defect_costs_nothing_but_hits(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryShelf):
        async def claim(self, tenant: str, key: bytes, token: bytes) -> bytes | Claim:
            raise ZeroDivisionError

    async def main() -> None:
        worker = Worker(ManualClock(), Broken())
        listener = worker.ask()
        await until(lambda: worker.flights)
        answer(worker.flights[0])
        assert listener.ended == "whole" and worker.ask().ended == "hit"
        await until(lambda: not worker.tasks)

    run(main)
    assert "ZeroDivisionError" in caplog.text


def test_what_may_not_leave_the_worker_does_not(run: Run) -> None:
    async def main() -> None:
        shelf = MemoryShelf()
        worker = Worker(ManualClock(), shelf)
        inside = Question(KEY, "acme", 60, Directives(), False)
        worker.ask(inside)
        answer(worker.flights[0])
        assert worker.ask(inside).ended == "hit"
        await asyncio.sleep(0.01)
        assert (shelf.claims, shelf.kept, worker.tasks) == (0, {}, set())

    run(main)


@pytest.mark.parametrize("spoiled", ["of another", "noise", "too old"])
def test_what_the_shelf_mixes_up_or_spoils_is_not_given(run: Run, spoiled: str) -> None:
    async def main() -> None:
        shelf, clock = MemoryShelf(), ManualClock()
        first = Worker(clock, shelf)
        first.ask(Question(b"o" * 32, "acme", 60, Directives(), True))
        await until(lambda: first.flights)
        answer(first.flights[0], b"another's")
        await until(lambda: not first.tasks)
        data, until_ms = shelf.kept["acme", b"o" * 32]
        question = QUESTION
        if spoiled == "too old":
            question = Question(b"o" * 32, "acme", 60, Directives(max_age_s=5), True)
            clock.advance(6 * SECOND_NS)
        shelf.kept["acme", question.key] = data if spoiled != "noise" else b"\xc1" + data, until_ms
        second = Worker(clock, shelf)
        listener = second.ask(question)
        await until(lambda: second.flights)
        answer(second.flights[0], b"its own")
        assert listener.heard == b"its own"
        await until(lambda: not second.tasks)
        assert b"its own" in shelf.kept["acme", question.key][0]

    run(main)


def test_who_leaves_while_the_shelf_is_asked_leaves_no_call_and_no_lead(run: Run) -> None:
    async def main() -> None:
        shelf = MemoryShelf()
        worker = Worker(ManualClock(), shelf)
        seat = worker.cache.send(QUESTION, Listening(), worker.lead)
        seat.cancel()
        assert worker.cache.flights == {}
        await until(lambda: not worker.tasks)
        assert (worker.flights, shelf.leads, shelf.claims) == ([], {}, 1)

    run(main)


def test_a_new_call_is_sent_where_the_one_in_flight_is_too_large_to_join(run: Run) -> None:
    async def main() -> None:
        worker = Worker(ManualClock(), entry_bytes=10)
        worker.ask()
        first = worker.flights[0]
        first.start(200, JSON)
        first.send(b"x" * 11)
        worker.ask()
        second = worker.flights[1]
        first.end()
        assert worker.cache.joinable(QUESTION) is second
        answer(second)
        assert worker.ask().ended == "hit"

    run(main)


def test_answers_on_their_way_take_the_room_of_those_kept(run: Run) -> None:
    async def main() -> None:
        worker = Worker(ManualClock(), memory_bytes=10_000, entry_bytes=10_000)
        worker.ask()
        answer(worker.flights[0], bytes(8_000))
        assert worker.ask().ended == "hit"
        other = Question(b"o" * 32, "acme", 60, Directives(), True)
        worker.ask(other)
        worker.flights[1].start(200, JSON)
        worker.flights[1].send(bytes(5_000))
        assert len(worker.cache.memory) == 0
        worker.flights[1].send(bytes(3_000))
        assert worker.flights[1].joinable
        worker.flights[1].end()
        assert worker.cache.memory.bytes > 8_000
        worker.cache.adopt(Settings(memory_bytes=0), None)
        assert len(worker.cache.memory) == 0

    run(main)


def test_a_shelf_that_is_replaced_is_closed(run: Run) -> None:
    async def main() -> None:
        old, new = MemoryShelf(), MemoryShelf()
        worker = Worker(ManualClock(), old)
        worker.cache.adopt(Settings(), old)
        await asyncio.sleep(0.01)
        assert not old.closed
        worker.cache.adopt(Settings(), new)
        await until(lambda: not worker.tasks)
        assert old.closed and not new.closed

    run(main)


def test_age_is_of_the_answer(run: Run) -> None:
    async def main() -> None:
        clock = ManualClock()
        worker = Worker(clock)
        worker.ask()
        clock.advance(10 * SECOND_NS)
        answer(worker.flights[0])
        entry = worker.cache.find(QUESTION)
        assert entry is not None and entry.made_at_ns == clock.now_ns()
        assert (entry.usage, entry.request_id, entry.deployment) == ({"input": 3}, "req_1", "d0")

    run(main)
