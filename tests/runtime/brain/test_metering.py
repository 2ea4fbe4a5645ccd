"""Programs' model calls against the budget: the log says what the ledger says, each attempt once, whatever happens."""

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.runtime.brain.books import AMOUNT, TOKENS, Books
from tests.runtime.brain.rig import SECOND, SESSION, Bench, Script, begun

from interlock.errors import LogUnavailable
from interlock.runtime.brain.action import PROGRAM_POINTS, Point
from interlock.runtime.brain.desk import Desk
from interlock.runtime.brain.metering import PAUSES_S, Meter
from interlock.runtime.hands.egress import Admission
from interlock.runtime.sessions.agent import Budget
from interlock.runtime.sessions.event import Called, Metered, Raised, Said
from interlock.runtime.sessions.memory import MemoryStore
from interlock.runtime.sessions.state import State, fold
from interlock.testing.loops import run_on

Run = Callable[..., Any]
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


class Killed(BaseException):
    """The process died."""


class World:
    """A session whose program is running, and its books."""

    def __init__(self, directory: Path) -> None:
        self.books = Books(directory)
        self.bench = Bench(directory, Script())
        self.slept: list[float] = []
        self.asleep: Callable[[], None] = lambda: None
        """What happens while somebody waits."""
        object.__setattr__(self.bench.parts, "attempts", self.books.attempts)
        object.__setattr__(self.bench.parts, "sleep", self._sleep)

    async def begin(self, **budget: Any) -> Meter:
        await self.bench.begin(program=("p",), budget=Budget(**budget))
        return await self.meter()

    async def meter(self) -> Meter:
        """Of another brain."""
        parts = self.bench.parts
        self.bench.clock.advance(60 * SECOND)
        lease = await parts.store.take(SESSION, parts.owner, ttl_s=parts.lease_s)
        assert lease is not None
        desk = Desk(parts.store, SESSION, lease, parts.clock, lease_s=parts.lease_s, at=parts.at, sleep=parts.sleep)
        await desk.open()
        return Meter(parts, SESSION, desk)

    async def state(self) -> State:
        """As the log says."""
        return fold(await self.bench.store.events(SESSION))

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.asleep()
        await asyncio.sleep(0)


@asynccontextmanager
async def world(directory: Path) -> AsyncIterator[World]:
    made = World(directory)
    try:
        yield made
    finally:
        made.books.close()


def error_of(admission: Admission) -> Any:
    return msgspec.json.decode(admission.body)["error"]


def test_a_call_that_is_over_counts_before_the_next(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            meter = await w.begin(tokens=2 * TOKENS)
            for number in (1, 2):
                admission = await meter.admit("POST", CHAT)
                assert not admission.why_not
                w.books.call(str(number))
                admission.over()
            for target, shape in ((CHAT + "?x=1", "code"), (MESSAGES, "type"), ("/v1/responses", "code")):
                refused = await meter.admit("POST", target)
                assert refused.status == 403 and "30 tokens" in refused.why_not
                assert error_of(refused)["message"] == refused.why_not and error_of(refused)[shape]
            assert error_of(await meter.admit("POST", CHAT))["code"] == "budget_exceeded"
            state = await w.state()
            assert (state.steps, state.tokens, state.amount_nanousd) == (2, 2 * TOKENS, 2 * AMOUNT)
            assert [event.step for event in await w.bench.of(Called)] == [1, 2]
            [first, _] = await w.bench.of(Metered)
            assert first == Metered(
                attempt="req_1/1", model="claude-sonnet", deployment="sonnet", outcome="completed",
                usage={"input": 10, "output": 5}, amount_nanousd=AMOUNT,
            )  # fmt: skip
            assert meter.refused_ns is not None

    run(main, blocking_s=1.0)


@pytest.mark.parametrize(
    ("budget", "why"),
    [
        ({"amount_nanousd": AMOUNT}, "0.000105 USD"),
        ({"steps": 1}, "1 steps"),
        ({"tokens": TOKENS}, "15 tokens"),
        ({"tokens": TOKENS + 1}, ""),
        ({"amount_nanousd": AMOUNT + 1}, ""),
    ],
)
def test_each_bound_holds(run: Run, tmp_path: Path, budget: Any, why: str) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            meter = await w.begin(**budget)
            admission = await meter.admit("POST", MESSAGES)
            w.books.call("1")
            admission.over()
            said = (await meter.admit("POST", MESSAGES)).why_not
            assert (why in said) if why else not said, said

    run(main, blocking_s=1.0)


def test_an_attempt_that_is_in_the_log_twice_counts_once() -> None:
    metered = Metered(attempt="r/1", model="m", deployment="d", outcome="completed", usage={"input": 3, "output": 4})
    state = begun(metered, metered)
    assert (state.tokens, state.unpriced) == (7, 1)


def test_where_money_is_bounded_a_call_without_a_price_is_the_last(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            meter = await w.begin(amount_nanousd=10**18)
            admission = await meter.admit("POST", CHAT)
            w.books.open("1", deployment="free")
            w.books.settle("1", outcome="failed", usage={})
            w.books.open("1", 2, deployment="free")
            w.books.settle("1", 2)
            admission.over()
            assert "not known" in (await meter.admit("POST", CHAT)).why_not
            assert (await w.state()).unpriced == 1, "an attempt that used nothing has no price to miss"

    run(main, blocking_s=1.0)


def test_what_is_no_model_call_passes_and_is_not_counted(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            meter = await w.begin(steps=0, tokens=0)
            for method, target in (
                ("GET", "/v1/models"), ("POST", "/v1/messages/count_tokens"), ("POST", "/mcp"), ("GET", CHAT)
            ):  # fmt: skip
                assert not (await meter.admit(method, target)).why_not
            assert (await meter.admit("POST", "/v1/embeddings")).why_not
            w.books.open("1")
            w.books.settle("1", usage={}, source="none")  # tokens were counted
            await meter.settle()
            assert not await w.bench.of(Called) and not await w.bench.of(Metered)

    run(main, blocking_s=1.0)


def test_of_many_at_once_as_many_pass_as_there_are_steps(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            meter = await w.begin(steps=7)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(meter.admit("POST", CHAT)) for _ in range(20)]
            assert sum(not task.result().why_not for task in tasks) == 7
            assert [event.step for event in await w.bench.of(Called)] == [1, 2, 3, 4, 5, 6, 7]

    run(main, blocking_s=1.0)


def test_a_call_that_hung_up_counts_once_the_gateway_has_settled_it(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            meter = await w.begin(tokens=TOKENS)
            flying = await meter.admit("POST", CHAT)
            hung = await meter.admit("POST", CHAT)  # both are in flight: neither has used anything yet
            assert not flying.why_not and not hung.why_not
            w.books.open("flying")
            w.books.open("hung")
            hung.over()
            w.asleep = lambda: w.books.settle("hung", outcome="cancelled") if len(w.slept) == 2 else None
            assert (await meter.admit("POST", CHAT)).why_not
            assert w.slept == list(PAUSES_S[:2]), "it waited for the one that was over, not for the one in flight"
            assert [event.outcome for event in await w.bench.of(Metered)] == ["cancelled"]

    run(main, blocking_s=1.0)


def test_what_nobody_settles_is_waited_for_once(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            meter = await w.begin(tokens=TOKENS)
            admission = await meter.admit("POST", CHAT)
            w.books.open("1")
            admission.over()
            again = await meter.admit("POST", CHAT)
            assert not again.why_not and w.slept == list(PAUSES_S)
            again.over()
            assert not (await meter.admit("POST", CHAT)).why_not and w.slept == list(PAUSES_S)
            w.books.settle("1", outcome="lost", source="estimated")
            again.over()
            assert (await meter.admit("POST", CHAT)).why_not, "it counts when it is settled after all"

    run(main, blocking_s=1.0)


def test_a_ledger_that_is_away_stops_calls_only_where_its_figures_are_needed(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            meter = await w.begin(tokens=TOKENS)
            w.books.away = True
            refused = await meter.admit("POST", CHAT)
            assert refused.status == 503 and error_of(refused)["code"] == "limits_unavailable"
            await meter.settled()
            assert meter.refused_ns is None, "that is no want of budget"
            await w.bench.person(Raised(by="ann", budget=Budget(steps=5)))
            assert not (await meter.admit("POST", CHAT)).why_not
            w.books.call("1")
            w.books.away = False
            await meter.settled()
            assert (await w.state()).tokens == TOKENS

    run(main, blocking_s=1.0)


def test_a_person_may_raise_it_meanwhile(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            meter = await w.begin(steps=0)
            assert (await meter.admit("POST", CHAT)).why_not and await meter.exhausted() == "0 steps"
            await w.bench.person(Raised(by="ann", budget=Budget(steps=1)))
            assert await meter.exhausted() == ""
            assert not (await meter.admit("POST", CHAT)).why_not and meter.refused_ns is None
            await w.bench.person(Said(text="and more"))
            assert (await meter.admit("POST", CHAT)).why_not

    run(main, blocking_s=1.0)


def test_a_call_that_cannot_be_written_down_is_not_sent(run: Run, tmp_path: Path) -> None:
    class Full(MemoryStore):
        async def append(self, *args: Any, **named: Any) -> Any:
            raise LogUnavailable("the disk is full")

    async def main() -> None:
        async with world(tmp_path) as w:
            meter = await w.begin(steps=9)
            store = Full(w.bench.clock)
            vars(store).update(vars(w.bench.store))
            meter._desk._store = store
            refused = await meter.admit("POST", CHAT)
            assert refused.status == 503 and error_of(refused)["code"] == "log_unavailable"
            assert isinstance(meter.broken, LogUnavailable)

    run(main, blocking_s=1.0)


@pytest.mark.parametrize(("first_s", "later_s"), [(600, 541), (1, 600)])
def test_what_comes_later_than_its_time_says_counts(run: Run, tmp_path: Path, first_s: int, later_s: int) -> None:
    """Another worker's record that is written a moment later; an attempt that was open while others came and went."""

    async def main() -> None:
        async with world(tmp_path) as w:
            meter = await w.begin()
            await meter.admit("POST", CHAT)
            if first_s < later_s:
                w.books.open("0", at_ns=first_s * SECOND)
            w.books.call("1", at_ns=max(first_s, later_s) * SECOND)
            await meter.settle()
            await meter.settle()
            if first_s < later_s:
                w.books.settle("0")
            else:
                w.books.call("2", at_ns=later_s * SECOND)
            await meter.settle()
            assert (await w.state()).tokens == 2 * TOKENS

    run(main, blocking_s=1.0)


@pytest.mark.parametrize("point", PROGRAM_POINTS)
def test_a_brain_that_dies_in_between_loses_nothing(run: Run, tmp_path: Path, point: Point) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            meter = await w.begin(tokens=TOKENS)

            def dies(at: Point) -> None:
                if at == point:
                    raise Killed

            meter._desk._at = dies
            with pytest.raises(Killed):
                admission = await meter.admit("POST", CHAT)
                w.books.call("1")
                admission.over()
                await meter.settle()
            written = point != "program.called.before"
            if point.startswith("program.called"):  # it died before it could be sent
                w.books.call("1", session="ses_2")
            meter = await w.meter()
            await meter.settled(all=True)
            state = await w.state()
            sent = not point.startswith("program.called")
            assert (state.steps, state.tokens) == (int(written), TOKENS * sent)
            assert bool((await meter.admit("POST", CHAT)).why_not) == sent

    run(main, blocking_s=1.0)


@settings(max_examples=at_least(20))
@given(seed=st.integers(0, 2**32), bound=st.integers(1, 6))
def test_the_log_says_what_the_ledger_says(seed: int, bound: int) -> None:
    """Calls that run at once, are tried again, hang up and are settled late; brains that die. The oracle adds up."""
    chance = random.Random(seed)

    async def main() -> None:
        with tempfile.TemporaryDirectory() as directory:
            async with world(Path(directory)) as w:
                await play(w)

    async def play(w: World) -> None:
        meter = await w.begin(tokens=bound * TOKENS)
        flying: dict[str, Admission] = {}
        unsettled: list[tuple[str, int]] = []
        settled = over_and_settled = refused = 0

        def settle(name: str, attempt: int) -> None:
            nonlocal settled
            unsettled.remove((name, attempt))
            w.books.settle(name, attempt)
            settled += 1

        def hurry() -> None:  # a call that is over is settled while somebody waits for it
            for name, attempt in list(unsettled):
                if name not in flying:
                    settle(name, attempt)

        w.asleep = hurry
        for number in range(30):
            what = chance.choice(("admit", "admit", "settle", "again", "over", "over", "die", "look"))
            if what == "admit":
                before = settled
                admission = await meter.admit("POST", CHAT)
                if admission.why_not:
                    refused += 1
                    assert settled >= bound
                else:
                    assert over_and_settled < bound, "what is over and settled would have stopped it"
                    assert before <= settled
                    flying[str(number)] = admission
                    w.books.open(str(number))
                    unsettled.append((str(number), 1))
            elif what == "settle" and unsettled:
                settle(*chance.choice(unsettled))
            elif what == "again" and flying:
                name = chance.choice(list(flying))
                if all(one != name for one, _ in unsettled):
                    w.books.open(name, 2 + number)
                    unsettled.append((name, 2 + number))
            elif what == "over" and flying:
                flying.pop(name := chance.choice(list(flying))).over()
                if all(one != name for one, _ in unsettled):
                    over_and_settled = settled
            elif what == "die":
                meter = await w.meter()
                flying.clear()
                await meter.settled(all=True)
                over_and_settled = settled
            elif what == "look":
                await meter.settled()
        flying.clear()
        meter = await w.meter()
        await meter.settled(all=True)
        state = await w.state()
        assert (state.tokens, len(state.metered)) == (settled * TOKENS, settled) and not unsettled
        assert state.amount_nanousd == settled * AMOUNT

    run_on("uvloop", main)
