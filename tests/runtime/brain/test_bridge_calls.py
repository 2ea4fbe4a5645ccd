"""A program's model calls that are on their way as its run ends."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.runtime.brain.books import TOKENS, Books
from tests.runtime.brain.rig import SESSION
from tests.runtime.brain.test_bridge import bench_of, go

from interlock.clock import Clock
from interlock.runtime.sessions.event import Called, Ended, Event, Failed, Metered, Note
from interlock.runtime.sessions.memory import MemoryStore
from interlock.runtime.sessions.ports import Fenced, Moved, Standing, Wrote
from interlock.runtime.sessions.state import fold

Run = Callable[..., Any]


class Slow(MemoryStore):
    """Takes its time to write a call down."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.writing, self.goes_on = asyncio.Event(), asyncio.Event()

    async def append(
        self, session: str, events: Sequence[Event], standing: Standing, **how: Any
    ) -> Wrote | Moved | Fenced:
        if any(isinstance(event, Called) for event in events):
            self.writing.set()
            await self.goes_on.wait()
        return await super().append(session, events, standing, **how)


def test_a_call_that_is_being_let_through_as_the_program_ends_takes_nothing_from_the_log(
    run: Run, tmp_path: Path
) -> None:
    async def main() -> None:
        books = Books(tmp_path)
        bench = bench_of(tmp_path, books)
        bench.store = store = Slow(bench.clock)
        object.__setattr__(bench.parts, "store", store)
        silent = "echo begun; while [ ! -e go ]; do sleep 0.05; done; exit 3"
        await bench.begin(program=("sh", "-c", silent), hands="process")
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            running = group.create_task(bench.brain.run(SESSION))
            await bench.until(Note)
            calling = group.create_task(bench.parts.rack.admit(SESSION, "POST", "/v1/messages"))
            await store.writing.wait()
            await go(bench)
            while not (await bench.parts.rack.admit(SESSION, "GET", "/v1/models")).why_not:
                await asyncio.sleep(0.01)
            store.goes_on.set()
            books.call("1")
            (await calling).over()
        assert running.result() == "rest"
        kinds = [type(event) for event in await bench.events()]
        assert kinds[-3:] == [Metered, Failed, Ended] and kinds.count(Called) == 1, kinds
        assert fold(await bench.store.events(SESSION)).tokens == TOKENS
        await bench.parts.rack.close()
        books.close()

    run(main, blocking_s=1.0)
