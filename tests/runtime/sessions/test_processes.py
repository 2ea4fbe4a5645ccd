"""Sessions in SQLite with several processes at once: kills at any moment, stopped owners, races, doorbells."""

import asyncio
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.log.verify import verify
from interlock.runtime.sessions import sqlite as adapter
from interlock.runtime.sessions.event import Event
from interlock.runtime.sessions.ports import Fenced, Moved, Row, Standing, Wrote
from interlock.runtime.sessions.sqlite import SqliteStore
from interlock.runtime.sessions.tables import Sync
from interlock.testing.loops import run
from interlock.testing.sessions_contract import begin, said, step

CHILD = Path(__file__).with_name("child.py")
KILLS = 50
RUNNABLE = Standing(status="runnable")


def child(
    path: Path, session: str, owner: str, steps: int = 10**9, sync: Sync = "process"
) -> "subprocess.Popen[bytes]":
    """A brain that writes; its own session's events are those of `steps_of`."""
    arguments: list[str | Path] = [sys.executable, CHILD, path, session, owner, str(steps), sync]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


def lines(process: "subprocess.Popen[bytes]", count: int) -> list[str]:
    """The next lines that it prints."""
    assert process.stdout
    return [process.stdout.readline().decode().strip() for _ in range(count)]


def steps_of(head: int) -> list[Event]:
    """What stands behind the first event when a child has got so far."""
    return [event for number in range(1, head // 2 + 1) for event in step(number)]


async def with_store(path: Path, use: Callable[[SqliteStore], Awaitable[object]]) -> None:
    """Open it, and close it whatever happens."""
    store = SqliteStore(path, SystemClock())
    try:
        async with asyncio.timeout(30):
            await use(store)
    finally:
        await store.close()


async def _row(store: SqliteStore, session: str = "ses_1") -> Row:
    found = await store.row(session)
    assert found is not None
    return found


@pytest.mark.parametrize("sync", ["process", "power"])
def test_what_was_acknowledged_survives_every_kill(tmp_path: Path, sync: Sync) -> None:
    path, chance = tmp_path / "sessions.sqlite", random.Random(1)
    asyncio.run(with_store(path, begin))
    acknowledged = 1
    for _ in range(KILLS if sync == "process" else KILLS // 5):
        with child(path, "ses_1", "brain", sync=sync) as process:
            lines(process, chance.randint(1, 40))
            select.select([], [], [], chance.uniform(0, 0.002))
            process.kill()
            assert process.stdout
            printed = process.stdout.read().split(b"\n")
        acknowledged = max([acknowledged, *(int(line) for line in printed[:-1])])

        async def check(store: SqliteStore, acknowledged: int = acknowledged) -> None:
            events = await store.events("ses_1", limit=10**6)
            head = (await _row(store)).head
            assert len(events) == head >= acknowledged
            assert [seen.event for seen in events[1:]] == steps_of(head)

        asyncio.run(with_store(path, check))
    assert acknowledged > KILLS // 5
    assert [report.problems for report in verify(tmp_path)] == [[]]


def test_a_torn_wal_leaves_a_whole_beginning(tmp_path: Path) -> None:
    path, chance = tmp_path / "sessions.sqlite", random.Random(2)
    asyncio.run(with_store(path, begin))
    with child(path, "ses_1", "brain") as process:
        lines(process, 150)
        process.kill()
    wal = path.with_name(path.name + "-wal").read_bytes()
    heads = []
    for turn in range(20):
        torn = tmp_path / f"torn{turn}" / "sessions.sqlite"
        torn.parent.mkdir()
        shutil.copy(path, torn)
        cut = chance.randrange(len(wal) // 2, len(wal))
        rest = wal[:cut] if turn % 2 else wal[:cut] + bytes([wal[cut] ^ 0xFF]) + wal[cut + 1 :]
        torn.with_name(torn.name + "-wal").write_bytes(rest)

        async def check(store: SqliteStore) -> None:
            head = (await _row(store)).head
            assert [seen.event for seen in await store.events("ses_1", after=1, limit=10**6)] == steps_of(head)
            assert isinstance(await store.append("ses_1", [said()], RUNNABLE, expect=head), Wrote)
            heads.append(head)

        asyncio.run(with_store(torn, check))
        assert [report.problems for report in verify(torn.parent)] == [[]]
    assert len(set(heads)) > 5, "they were torn at different places"


def _stop_between_commits(process: "subprocess.Popen[bytes]", path: Path) -> None:
    """Within one it keeps everybody out until it goes on or is killed (docs/sessions.md): that is not tested here."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
        while True:
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
                lines(process, 1)
            else:
                db.execute("ROLLBACK")
                return


def test_an_owner_that_was_stopped_writes_nothing_when_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    asyncio.run(with_store(path, begin))
    for turn in range(5):
        with child(path, "ses_1", f"old{turn}") as process:
            lines(process, 5 + turn)
            _stop_between_commits(process, path)

            async def take_over(store: SqliteStore, turn: int = turn) -> None:
                while (lease := await store.take("ses_1", f"new{turn}", ttl_s=30)) is None:
                    await asyncio.sleep(0.02)
                head = (await _row(store)).head
                process.send_signal(signal.SIGCONT)
                for number in range(head // 2 + 1, head // 2 + 50):
                    answer = await store.append("ses_1", step(number), RUNNABLE, expect=head, lease=lease)
                    assert isinstance(answer, Wrote)
                    head = answer.head
                await store.release(lease)

            asyncio.run(with_store(path, take_over))
            assert process.stdout
            printed = process.stdout.read().decode().split()
            assert printed[-1] == "fenced"
            assert process.wait() == 0

    async def check(store: SqliteStore) -> None:
        head = (await _row(store)).head
        assert [seen.event for seen in await store.events("ses_1", after=1, limit=10**6)] == steps_of(head)

    asyncio.run(with_store(path, check))


def test_processes_that_write_at_once_do_not_lose_or_mix_anything(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"

    async def begin_all(store: SqliteStore) -> None:
        for n in range(4):
            await begin(store, f"ses_{n}")

    asyncio.run(with_store(path, begin_all))
    children = [child(path, f"ses_{n}", f"brain{n}", 300, "power" if n == 3 else "process") for n in range(4)]
    for process in children:
        heads = process.communicate(timeout=60)[0].split()
        assert (process.returncode, len(heads), heads[-1]) == (0, 300, b"600")

    async def check(store: SqliteStore) -> None:
        for n in range(4):
            assert [seen.event for seen in await store.events(f"ses_{n}", after=1)] == steps_of(600)

    asyncio.run(with_store(path, check))
    assert [report.problems for report in verify(tmp_path)] == [[]] * 4


def test_of_two_processes_one_holds_the_session(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    asyncio.run(with_store(path, begin))
    children = [child(path, "ses_1", f"brain{n}", 50) for n in range(4)]
    printed = [process.communicate(timeout=60)[0].decode().split() for process in children]
    assert [process.returncode for process in children] == [0] * 4
    ended = {words[-1] for words in printed if words}  # who comes when all is done has nothing to do
    assert "100" in ended and ended <= {"held", "100", "fenced"}

    async def check(store: SqliteStore) -> None:
        assert [seen.event for seen in await store.events("ses_1", after=1)] == steps_of(100)

    asyncio.run(with_store(path, check))


def test_who_waits_is_woken_by_another_process(tmp_path: Path) -> None:
    """Two stores on one file are two processes to SQLite and to the bell."""

    async def main() -> None:
        path = tmp_path / "sessions.sqlite"
        path.unlink(missing_ok=True)

        async def both(mine: SqliteStore) -> None:
            async def use(theirs: SqliteStore) -> None:
                await begin(mine)
                for n in range(1, 20):
                    async with asyncio.TaskGroup() as group:
                        watch = group.create_task(mine.changed("ses_1", after=n, wait_s=20))
                        look = group.create_task(mine.stirred(wait_s=20))
                        await asyncio.sleep(0.001 * (n % 3))
                        began = asyncio.get_running_loop().time()
                        standing = Standing(status="runnable", detail=str(n))
                        assert await theirs.append("ses_1", [said()], standing, expect=n) == Wrote(n + 1)
                    assert watch.result() and look.result()
                    assert asyncio.get_running_loop().time() - began < 0.5, "not by looking each second"
                    assert mine._unwatch is not None, "one watch, kept: to end it takes the kernel some 17 ms"

            await with_store(path, use)

        await with_store(path, both)

    run(main)


def test_who_waits_sees_what_a_process_that_died_before_it_rang_has_written(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"

    async def main() -> None:
        async def both(mine: SqliteStore) -> None:
            async def use(theirs: SqliteStore) -> None:
                await begin(mine)
                theirs._bell.ring = lambda: None  # type: ignore[method-assign]  # as if it had died
                async with asyncio.TaskGroup() as group:
                    watch = group.create_task(mine.changed("ses_1", after=1, wait_s=20))
                    await asyncio.sleep(0.01)
                    await theirs.append("ses_1", [said()], RUNNABLE, expect=1)
                assert watch.result()

            await with_store(path, use)

        await with_store(path, both)

    asyncio.run(main())


def test_an_append_on_what_another_process_has_moved_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"

    async def main() -> None:
        async def both(mine: SqliteStore) -> None:
            async def use(theirs: SqliteStore) -> None:
                await begin(mine)
                lease = await mine.take("ses_1", "a", ttl_s=0)
                taken = await theirs.take("ses_1", "b", ttl_s=30)
                assert lease is not None and taken is not None
                assert await theirs.append("ses_1", step(1), RUNNABLE, expect=1, lease=taken) == Wrote(2)
                assert await mine.append("ses_1", [said()], RUNNABLE, expect=1) == Moved(2)
                assert await mine.append("ses_1", step(1), RUNNABLE, expect=2, lease=lease) == Fenced(2)
                assert await mine.take("ses_1", "a", ttl_s=1) is None

            await with_store(path, use)

        await with_store(path, both)

    asyncio.run(main())


def test_the_wal_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "WAL_BYTES", 256 * 1024)
    path = tmp_path / "sessions.sqlite"
    wal = path.with_name(path.name + "-wal")

    async def use(store: SqliteStore) -> None:
        await begin(store)
        head, largest = 1, 0
        for n in range(1, 3001):
            answer = await store.append("ses_1", step(n), RUNNABLE, expect=head)
            assert isinstance(answer, Wrote)
            head, largest = answer.head, max(largest, wal.stat().st_size)
            while store._checkpointing:  # by a thread, which may have to wait for a core
                await asyncio.sleep(0.001)
        assert largest < 8 << 20, "some thirty times what is written at once"

    asyncio.run(with_store(path, use))
