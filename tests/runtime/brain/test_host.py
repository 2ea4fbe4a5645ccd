"""The host: who is woken, how many at once, what one's trouble does to others, and how it ends."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.runtime.brain.rig import SECOND, SESSION, Bench, Made, Script, call, created

from interlock.runtime.brain.host import Host
from interlock.runtime.brain.tools.ports import Done, Use
from interlock.runtime.sessions.event import Ended, Event, Finished, Said, Started
from interlock.runtime.sessions.state import State, after

Run = Callable[..., Any]


async def more(bench: Bench, *sessions: str) -> None:
    """Further sessions."""
    for session in sessions:
        state = State()
        events: list[Event] = [created(tools=("look",)), Said(text="x")]
        after(state, events, bench.clock.now_ns())
        assert await bench.store.create(session, "t", "p", events, state.standing())


async def idle(bench: Bench) -> None:
    async with asyncio.timeout(20):
        while any(row.standing.status != "idle" or row.owner for row in await bench.store.rows()):
            await bench.store.stirred(wait_s=0.05)


def test_sessions_are_worked_on_at_once_up_to_a_bound(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        most, now = 0, 0

        async def looks(arguments: dict[str, Any], use: Use) -> Done:
            nonlocal most, now
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.01)
            now -= 1
            return Done(content=b"x")

        class Calls(Script):
            async def ask(self, request: Any, tell: Any) -> Any:
                self._replies = [[call("c1", "look")]] if request.step == 1 else []
                return await super().ask(request, tell)

        bench = Bench(tmp_path, Calls(), Made("look", looks))
        await more(bench, *(f"ses_{number}" for number in range(12)))
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(Host(bench.parts, parallel=4, poll_s=0.05).run(stop))
            await idle(bench)
            await more(bench, "ses_late")
            await idle(bench)
            stop.set()
        assert 2 <= most <= 4
        for row in await bench.store.rows():
            events = [seen.event for seen in await bench.store.events(row.session)]
            assert isinstance(events[-1], Ended) and events[-1].reason == "done"

    run(main)


def test_one_sessions_trouble_is_not_anothers_and_is_tried_later(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        tries = []

        class Fails(Script):
            async def ask(self, request: Any, tell: Any) -> Any:
                if request.session == SESSION:
                    tries.append(bench.clock.monotonic_ns())
                    if len(tries) < 3:
                        raise ValueError("a defect")
                return await super().ask(request, tell)

        bench = Bench(tmp_path, Fails(), Made("look", lambda a, u: None))  # type: ignore[arg-type, return-value]  # never called
        await bench.begin()
        await more(bench, "ses_other")
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(Host(bench.parts, poll_s=0.02).run(stop))
            async with asyncio.timeout(20):
                while len(await bench.of(Ended)) == 0:
                    bench.clock.advance(5 * SECOND)
                    await asyncio.sleep(0.01)
            await idle(bench)
            stop.set()
        assert len(tries) == 3
        assert tries[1] - tries[0] >= 2 * SECOND and tries[2] - tries[1] >= 4 * SECOND

    run(main)


def test_a_process_that_ends_finishes_what_it_can(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        begun, going_on = asyncio.Event(), asyncio.Event()

        async def looks(arguments: dict[str, Any], use: Use) -> Done:
            begun.set()
            await going_on.wait()
            return Done(content=b"x")

        bench = Bench(tmp_path, Script([call("c1", "look")]), Made("look", looks))
        await bench.begin()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(Host(bench.parts, poll_s=0.05).run(stop))
            await begun.wait()
            stop.set()
            await asyncio.sleep(0.02)
            going_on.set()
        assert len(await bench.of(Finished)) == 1 and await bench.store.due() == [SESSION]

    run(main)


def test_what_does_not_end_is_cut_off(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def hangs(arguments: dict[str, Any], use: Use) -> Done:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

        bench = Bench(tmp_path, Script([call("c1", "look")]), Made("look", hangs))
        await bench.begin()
        stop = asyncio.Event()
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(Host(bench.parts, poll_s=0.05, grace_s=0.05).run(stop))
            await begun.wait()
            stop.set()
        assert len(await bench.of(Started)) == 1 and not await bench.of(Finished)

    run(main)
