"""The doorbell: who watches is woken soon, seldom, and at no cost while nobody rings."""

import asyncio
import time
from pathlib import Path

import pytest

from interlock.runtime.sessions import bell as module
from interlock.runtime.sessions.bell import Bell
from interlock.testing.loops import run


def test_a_ring_wakes_every_watcher(tmp_path: Path) -> None:
    async def main() -> None:
        mine, theirs = Bell(tmp_path / "bell"), Bell(tmp_path / "bell")
        loop = asyncio.get_running_loop()
        heard: list[asyncio.Future[None]] = [loop.create_future() for _ in range(2)]
        ends = [mine.watch(lambda f=one: f.done() or f.set_result(None)) for one in heard]  # type: ignore[misc]  # lambda
        begun = loop.time()
        theirs.ring()
        async with asyncio.timeout(5):
            await asyncio.wait(heard)
        assert loop.time() - begun < 0.5
        for end in ends:
            end()
        mine.close()
        theirs.close()

    run(main)


def test_rings_without_pause_are_heard_at_a_bounded_rate(tmp_path: Path) -> None:
    async def main() -> None:
        bell, heard = Bell(tmp_path / "bell"), 0

        def hear() -> None:
            nonlocal heard
            heard += 1

        end, loop = bell.watch(hear), asyncio.get_running_loop()
        begun = loop.time()
        while loop.time() - begun < 0.2:
            for _ in range(100):
                bell.ring()
            await asyncio.sleep(0)
        assert 1 <= heard <= (loop.time() - begun) / module.QUIET_S + 1
        before = heard
        bell.ring()
        await asyncio.sleep(0.1)
        assert heard > before, "the last one too"
        end()
        bell.ring()
        await asyncio.sleep(0.02)
        bell.close()

    run(main)


def test_watching_costs_nothing_while_nobody_rings(tmp_path: Path) -> None:
    async def main() -> None:
        bell = Bell(tmp_path / "bell")
        ends = [bell.watch(lambda: None) for _ in range(20)]
        used = time.process_time()
        await asyncio.sleep(0.3)
        assert time.process_time() - used < 0.03
        for end in ends:
            end()
        bell.close()

    asyncio.run(main())


def test_without_a_watch_of_the_kernel_it_looks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoWatch:
        @staticmethod
        def inotify_init1(flags: int) -> int:
            return -1

    monkeypatch.setattr(module, "_libc", NoWatch)

    async def main() -> None:
        bell, heard = Bell(tmp_path / "bell"), asyncio.Event()
        end = bell.watch(heard.set)
        async with asyncio.timeout(5):
            await heard.wait()
        end()
        bell.close()
        bell.ring()  # it cannot, and says nothing

    run(main)
