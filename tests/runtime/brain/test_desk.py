"""Facts and plans: what is written when the log has moved on, and when the lease is gone."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.runtime.brain.rig import SECOND, SESSION, created

from interlock.errors import LogUnavailable, UnknownOutcome
from interlock.runtime.brain.desk import APPEND_TRIES, Desk, LeaseLost
from interlock.runtime.sessions.event import Asked, Cancelled, Event, Note, Said, Woken
from interlock.runtime.sessions.memory import MemoryStore
from interlock.runtime.sessions.ports import Fenced, Lease, Moved, Standing, Wrote
from interlock.runtime.sessions.state import State, after, fold
from interlock.testing.clock import ManualClock

LEASE_S = 30.0
FACT = Note(text="it happened")
PLAN = Asked(step=1, key="k")


class Broken(MemoryStore):
    """Fails as it is told, one failure an append."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.failures: list[str] = []

    async def append(
        self,
        session: str,
        events: Sequence[Event],
        standing: Standing,
        *,
        expect: int,
        lease: Lease | None = None,
        at_ns: int | None = None,
    ) -> Wrote | Moved | Fenced:
        failure = self.failures.pop(0) if self.failures else ""
        if failure == "refused":
            raise LogUnavailable("no")
        if failure == "lost":
            raise UnknownOutcome("no")
        wrote = await super().append(session, events, standing, expect=expect, lease=lease, at_ns=at_ns)
        if failure == "lost after effect":
            raise UnknownOutcome("no")
        return wrote


class Rig:
    """A desk on a session."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Broken(self.clock)
        self.points: list[str] = []
        self.slept: list[float] = []
        self.asleep: Callable[[], None] = lambda: None
        """What happens while it waits to try an append again."""

    async def begin(self) -> Desk:
        state = State()
        events: list[Event] = [created(), Said(text="x")]
        after(state, events, self.clock.now_ns())
        assert await self.store.create(SESSION, "t", "p", events, state.standing())
        return await self.desk("one")

    async def desk(self, owner: str) -> Desk:
        lease = await self.store.take(SESSION, owner, ttl_s=LEASE_S)
        assert lease is not None
        desk = Desk(self.store, SESSION, lease, self.clock, lease_s=LEASE_S, at=self.points.append, sleep=self._sleep)
        await desk.open()
        return desk

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.asleep()

    async def say(self, event: Event) -> None:
        state = fold(await self.store.events(SESSION))
        after(state, [event], self.clock.now_ns())
        wrote = await self.store.append(SESSION, [event], state.standing(), expect=state.seq - 1)
        assert isinstance(wrote, Wrote)

    async def log(self) -> list[Event]:
        return [seen.event for seen in await self.store.events(SESSION)][2:]


def test_what_is_staged_goes_out_in_one_append(run: Callable[..., Any]) -> None:
    async def main() -> None:
        rig = Rig()
        desk = await rig.begin()
        desk.fact(FACT)
        desk.plan(PLAN)
        assert desk.state.asked == PLAN and await rig.log() == []
        assert await desk.flush("model.asked") and await desk.flush("model.asked")
        assert await rig.log() == [Woken(owner="one", epoch=1), FACT, PLAN]
        assert rig.points == ["model.asked.before", "model.asked.after"]
        row = await rig.store.row(SESSION)
        assert row is not None and row.standing == desk.state.standing() and desk.head == 5

    run(main)


@pytest.mark.parametrize("moved", [False, True])
def test_what_happens_while_an_append_is_under_way_is_written_by_the_next(run: Callable[..., Any], moved: bool) -> None:
    async def main() -> None:
        rig = Rig()
        desk = await rig.begin()
        if moved:
            await rig.say(Cancelled(by="ann"))
        rig.store.failures = ["refused"]
        rig.asleep = lambda: desk.fact(Note(text="meanwhile"))
        await desk.record("tool.noted", FACT)
        assert await desk.flush("turn.settled")
        said: list[Event] = [Cancelled(by="ann")] if moved else []
        assert await rig.log() == [*said, Woken(owner="one", epoch=1), FACT, Note(text="meanwhile")]
        assert desk.notes == [FACT, Note(text="meanwhile")] and desk.state.seq == desk.head

    run(main)


def test_a_plan_is_thrown_away_when_the_log_has_moved_on_and_a_fact_is_not(run: Callable[..., Any]) -> None:
    async def main() -> None:
        rig = Rig()
        desk = await rig.begin()
        desk.fact(FACT)
        desk.plan(PLAN)
        await rig.say(Cancelled(by="ann"))
        assert not await desk.flush("model.asked")
        assert desk.state.asked is None and desk.state.cancelled is not None
        assert await desk.flush("turn.settled")
        assert await rig.log() == [Cancelled(by="ann"), Woken(owner="one", epoch=1), FACT]
        assert desk.notes == [FACT] and desk.folds == 1

    run(main)


def test_what_is_recorded_is_written_wherever_the_log_stands(run: Callable[..., Any]) -> None:
    async def main() -> None:
        rig = Rig()
        desk = await rig.begin()
        await rig.say(Said(text="y"))
        await desk.record("tool.noted", FACT)
        assert (await rig.log())[-1] == FACT

    run(main)


def test_what_is_decided_is_decided_anew_until_it_is_written(run: Callable[..., Any]) -> None:
    async def main() -> None:
        rig = Rig()
        desk = await rig.begin()
        spoken = [Said(text="one"), Said(text="two")]
        append = rig.store.append

        async def interrupted(session: str, events: Any, standing: Any, **named: Any) -> Any:
            if named.get("lease") and spoken:  # somebody is faster, twice
                await rig.say(spoken.pop())
            return await append(session, events, standing, **named)

        rig.store.append = interrupted  # type: ignore[method-assign]  # the store is real, its writer is overtaken
        seen: list[int] = []

        def plan(state: State) -> Event | None:
            seen.append(len(state.transcript))
            return PLAN if len(seen) < 4 else None

        await rig.say(Said(text="zero"))
        assert await desk.decide("program.called", plan) == PLAN
        assert seen == [2, 3, 4] and (await rig.log())[-2:] == [Woken(owner="one", epoch=1), PLAN]
        await rig.say(Said(text="three"))
        assert len((await desk.latest()).transcript) == 5
        assert await desk.decide("program.called", plan) is None
        assert (await rig.log())[-1] == Said(text="three")

    run(main)


@pytest.mark.parametrize("failure", ["refused", "lost", "lost after effect"])
def test_a_store_that_fails_is_tried_again_and_nothing_stands_twice(run: Callable[..., Any], failure: str) -> None:
    async def main() -> None:
        rig = Rig()
        desk = await rig.begin()
        rig.store.failures = [failure] * (APPEND_TRIES - 1)
        await desk.record("tool.finished", FACT)
        assert await rig.log() == [Woken(owner="one", epoch=1), FACT]
        assert bool(rig.slept) is (failure != "lost after effect")
        await desk.record("tool.finished", PLAN)
        assert (await rig.log())[-1] == PLAN

    run(main)


def test_a_store_that_goes_on_failing_is_given_up(run: Callable[..., Any]) -> None:
    async def main() -> None:
        rig = Rig()
        desk = await rig.begin()
        rig.store.failures = ["refused"] * APPEND_TRIES
        with pytest.raises(LogUnavailable):
            await desk.record("tool.finished", FACT)
        assert await rig.log() == []

    run(main)


def test_who_has_lost_the_lease_writes_nothing(run: Callable[..., Any]) -> None:
    async def main() -> None:
        rig = Rig()
        desk = await rig.begin()
        rig.store._sessions[SESSION].expires_at_ns = 0  # as another machine sees it whose clock is ahead
        other = await rig.desk("two")
        desk.fact(FACT)
        with pytest.raises(LeaseLost):
            await desk.flush("tool.finished")
        assert await rig.log() == []
        await other.record("tool.finished", FACT)
        assert await rig.log() == [Woken(owner="two", epoch=2), FACT]

    run(main)


def test_nothing_begins_under_a_lease_that_is_nearly_over(run: Callable[..., Any]) -> None:
    async def main() -> None:
        rig = Rig()
        desk = await rig.begin()
        rig.clock.advance(int(LEASE_S - 4) * SECOND)
        desk.plan(PLAN)
        assert await desk.flush("model.asked")
        assert desk.lease.expires_at_ns == rig.clock.now_ns() + int(LEASE_S) * SECOND, "renewed first"
        rig.clock.advance(int(LEASE_S + 4) * SECOND)
        other = await rig.desk("two")
        desk.plan(PLAN)
        with pytest.raises(LeaseLost):
            await desk.flush("model.asked")
        assert other.lease.epoch == 2

    run(main)


def test_results_of_calls_that_run_at_once_do_not_mix(run: Callable[..., Any]) -> None:
    async def main() -> None:
        rig = Rig()
        desk = await rig.begin()
        notes = [Note(text=str(number)) for number in range(20)]
        async with asyncio.TaskGroup() as group:
            for note in notes:
                group.create_task(desk.record("tool.noted", note))
        assert (await rig.log())[1:] == notes
        assert fold(await rig.store.events(SESSION)).seq == desk.state.seq

    run(main)


def test_finish_and_start_are_one_transaction(run: Callable[..., Any]) -> None:
    async def main() -> None:
        rig = Rig()
        desk = await rig.begin()
        desk.plan(PLAN)
        assert await desk.flush("model.asked")
        before = len(rig.points)
        desk.fact(Note(text="a result"))
        desk.plan(Asked(step=2, key="k2"))
        assert await desk.flush("model.asked")
        assert len(rig.points) == before + 2

    run(main)
