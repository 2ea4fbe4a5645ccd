"""The sessions' file: what a changed byte, a full disk, a busy writer and a wrong file lead to."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from interlock.errors import InterlockError, LogUnavailable
from interlock.log import LogCorrupt
from interlock.log.record import chain_next, chain_start
from interlock.log.verify import verify
from interlock.runtime.sessions import sqlite, tables
from interlock.runtime.sessions.ports import Standing, Wrote
from interlock.runtime.sessions.sqlite import SqliteStore
from interlock.runtime.sessions.tables import Sync
from interlock.testing.clock import ManualClock
from interlock.testing.loops import run
from interlock.testing.sessions_contract import begin, said, step

RUNNABLE = Standing(status="runnable")


def on(path: Path, test: Callable[[SqliteStore], Awaitable[None]], sync: Sync = "process") -> None:
    """With a store on asyncio's loop in debug mode."""

    async def main() -> None:
        store = SqliteStore(path, ManualClock(), sync=sync)
        try:
            async with asyncio.timeout(30):
                await test(store)
        finally:
            await store.close()

    asyncio.run(main())


def written(path: Path, sessions: int = 1) -> None:
    """A file in which each session has ten events."""

    async def write(store: SqliteStore) -> None:
        for n in range(sessions):
            await begin(store, f"ses_{n}")
            await store.append(f"ses_{n}", [said(str(m)) for m in range(9)], RUNNABLE, expect=1)

    on(path, write)


def change(path: Path, sql: str) -> None:
    """As somebody with the file does."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(sql)
        db.commit()


CHANGES = [
    ("UPDATE events SET payload = replace(payload, '\"3\"', '\"4\"') WHERE place & 255 = 5", 5, "payload"),
    ("UPDATE events SET payload = CAST(x'ff' AS TEXT) WHERE place & 255 = 5", 5, "payload"),
    ("UPDATE events SET payload = '' WHERE place & 255 = 5", 5, "payload"),
    ("UPDATE events SET type = 'user.sent' WHERE place & 255 = 5", 5, "chain"),
    ("UPDATE events SET type = CAST(x'ff' AS TEXT) WHERE place & 255 = 5", 5, "chain"),
    ("UPDATE events SET at_ns = at_ns + 1 WHERE place & 255 = 5", 5, "chain"),
    ("UPDATE events SET at_ns = 'soon' WHERE place & 255 = 5", 5, "chain"),
    ("UPDATE events SET chain = zeroblob(32) WHERE place & 255 = 5", 5, "chain"),
    ("UPDATE events SET chain = 'text' WHERE place & 255 = 5", 5, "chain"),
    ("DELETE FROM events WHERE place & 255 = 5", 5, "missing"),
    ("DELETE FROM events WHERE place & 255 = 1", 1, "missing"),
    ("DELETE FROM events WHERE place & 255 = 10", 10, "missing"),
    ("DELETE FROM events", 1, "missing"),
    ("UPDATE events SET place = place + 1 WHERE place & 255 = 10", 10, "missing"),
    (
        "INSERT INTO events SELECT place + 1, at_ns, type, payload, sha256, chain FROM events WHERE place & 255 = 10",
        11,
        "",
    ),
    ("UPDATE sessions SET head = 9", 10, ""),
    ("UPDATE sessions SET head = 11", 11, "missing"),
    ("UPDATE sessions SET chain = zeroblob(32)", 10, "index"),
]


@pytest.mark.parametrize(("sql", "seq", "what"), CHANGES)
def test_a_change_is_found_and_named(tmp_path: Path, sql: str, seq: int, what: str) -> None:
    path = tmp_path / "sessions.sqlite"
    written(path)
    change(path, sql)

    async def read(store: SqliteStore) -> None:
        for after, limit in ((0, 1000), (0, 11), (max(seq - 2, 0), 1000)):
            with pytest.raises(LogCorrupt) as error:
                await store.events("ses_0", after=after, limit=limit)
            assert (error.value.stream, error.value.seq) == ("session/ses_0", seq)
            assert what in error.value.what
        with pytest.raises(LogCorrupt):  # page by page it is met too
            for after in range(12):
                await store.events("ses_0", after=after, limit=1)

    on(path, read)
    reports = list(verify(tmp_path))
    if reports and not reports[0].erased:  # nothing is left to verify; or an erasure, which it is not to refuse
        assert reports[0].problems, "and by `interlock verify`"


def test_an_append_behind_a_head_that_was_set_back_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    written(path, 3)
    change(path, "UPDATE sessions SET head = 5 WHERE n = 2")
    change(path, "DELETE FROM events WHERE place = 2 << 32 | 6")  # so that one of two can be inserted

    async def write(store: SqliteStore) -> None:
        async with asyncio.TaskGroup() as group:
            before = group.create_task(store.append("ses_0", [said()], RUNNABLE, expect=10))
            bad = group.create_task(_error(store.append("ses_1", [said(), said()], RUNNABLE, expect=5)))
            behind = group.create_task(store.append("ses_2", [said()], RUNNABLE, expect=10))
        assert before.result() == behind.result() == Wrote(11), "it takes nobody with it"
        error = bad.result()
        assert isinstance(error, LogCorrupt) and (error.stream, error.seq) == ("session/ses_1", 6)
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT count(*) FROM events WHERE place >> 32 = 2").fetchone() == (9,)

    on(path, write)


async def _error(call: Awaitable[object]) -> Exception:
    try:
        await call
    except InterlockError as error:
        return error
    raise AssertionError("it was done")


def test_the_file_is_read_as_other_logs_are(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    written(path, 3)
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT stream, seq, head, payload, chain, id FROM records ORDER BY stream, seq").fetchall()
    assert [(row[0], row[1]) for row in rows] == [(f"session/ses_{n}", seq) for n in range(3) for seq in range(1, 11)]
    chain = chain_start("session/ses_0")
    for _, seq, head, payload, chain_hex, id in rows[:10]:
        chain = chain_next(chain, head.encode())
        assert (chain.hex(), id) == (chain_hex, str(seq))
        assert payload.startswith("{")
    reports = list(verify(tmp_path))
    assert [(report.stream, report.head, report.attested) for report in reports] == [
        (f"session/ses_{n}", 10, 10) for n in range(3)
    ]


def test_who_is_due_is_found_by_an_index(tmp_path: Path) -> None:
    """Not by reading every session."""
    with closing(tables.open_file(tmp_path / "sessions.sqlite", "process", busy_s=1)) as db:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {tables.DUE}", (1, 1, 1, 1))]
    assert [line for line in plan if "sessions" in line] == [
        "SEARCH sessions USING INDEX sessions_due (status=?)",
        "SEARCH sessions USING INDEX sessions_due (status=? AND wake_at_ns<?)",
    ]


@pytest.mark.parametrize("content", [b"not a database, and longer than a header is " * 9, b""])
def test_another_file_is_not_taken_for_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sessions.sqlite"
    path.write_bytes(content)
    if not content:
        written(path)  # an empty one is a new one
        return
    with pytest.raises(LogCorrupt):
        SqliteStore(path, ManualClock())


def test_a_newer_file_and_one_that_cannot_be_opened_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    written(path)
    change(path, "PRAGMA user_version = 99")
    with pytest.raises(InterlockError, match="newer") as error:
        SqliteStore(path, ManualClock())
    assert error.value.code == "log_corrupt"
    with pytest.raises(LogUnavailable):
        SqliteStore(tmp_path / "none" / "sessions.sqlite", ManualClock())


def test_a_damaged_page_is_named_with_the_session(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    written(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xee" * 4096)

    async def read(store: SqliteStore) -> None:
        with pytest.raises(LogCorrupt) as error:
            await store.events("ses_0", after=3)
        assert (error.value.stream, error.value.seq) == ("session/ses_0", 4)
        with pytest.raises(LogCorrupt):
            await store.append("ses_0", [said()], RUNNABLE, expect=10)
        assert await store.row("ses_0") is not None

    on(path, read)


@contextmanager
def small_disk(mounted: Path) -> Iterator[Path]:
    """A real file system of 2 MiB. Needs the right to mount, as the tests of hands do."""
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "small", mounted], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)


@pytest.mark.parametrize("sync", ["process", "power"])
def test_a_full_disk_refuses_and_recovers(tmp_path: Path, sync: Sync) -> None:
    async def fill(store: SqliteStore) -> None:
        await begin(store)
        await begin(store, "ses_2")
        head, refusals = 1, 0
        while refusals < 20:
            try:
                answer = await store.append("ses_1", [said("x" * 20_000)], RUNNABLE, expect=head)
                assert answer == Wrote(head + 1)
                head += 1
                refusals = 0
            except LogUnavailable:
                refusals += 1
                if refusals == 1:
                    await store.due()
            row = await store.row("ses_1")
            assert row is not None and row.head == head == len(await store.events("ses_1"))
        assert head > 10
        waste.unlink()
        assert await store.append("ses_1", [said("y")], RUNNABLE, expect=head) == Wrote(head + 1)
        assert await store.append("ses_2", [said("y")], RUNNABLE, expect=1) == Wrote(2)

    with small_disk(tmp_path / "disk") as disk:
        waste = disk / "waste"
        waste.write_bytes(bytes(1 << 20))
        on(disk / "sessions.sqlite", fill, sync)
        assert [report.problems for report in verify(disk)] == [[], []]


@pytest.mark.parametrize("sync", ["process", "power"])
def test_another_writer_is_waited_for_without_holding_up_the_loop(
    tmp_path: Path, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_S", 0.5)
    path = tmp_path / "sessions.sqlite"
    path.unlink(missing_ok=True)

    async def main() -> None:
        path.unlink(missing_ok=True)
        store = SqliteStore(path, ManualClock(), sync=sync)
        await begin(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            write = asyncio.ensure_future(store.append("ses_1", [said()], RUNNABLE, expect=1))
            for _ in range(10):
                await asyncio.sleep(0.01)
                assert len(await store.events("ses_1")) == 1
            assert not write.done()
            other.execute("ROLLBACK")
            assert await write == Wrote(2)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogUnavailable):
                await store.append("ses_1", [said()], RUNNABLE, expect=2)
            other.execute("ROLLBACK")
        assert await store.append("ses_1", [said()], RUNNABLE, expect=2) == Wrote(3)
        await store.close()

    run(main)


def test_closing_writes_what_is_on_its_way(tmp_path: Path) -> None:
    async def main() -> None:
        syncs: tuple[Sync, ...] = ("process", "power")
        for sync in syncs:
            store = SqliteStore(tmp_path / "sessions.sqlite", ManualClock(), sync=sync)
            await begin(store, f"ses_{sync}")
            write = asyncio.ensure_future(store.append(f"ses_{sync}", [said()], RUNNABLE, expect=1))
            await asyncio.sleep(0)
            await store.close()
            await store.close()
            assert await write == Wrote(2)
            for call in (store.append(f"ses_{sync}", [said()], RUNNABLE, expect=2), store.events("x"), store.due()):
                assert isinstance(await _error(call), LogUnavailable)

    asyncio.run(main())


def test_power_is_synced_before_the_answer(tmp_path: Path) -> None:
    """By the system calls of a process that writes 30 steps: a sync at least for each, and none without need."""
    counts = {}
    for sync in ("process", "power"):
        path = tmp_path / sync / "sessions.sqlite"
        path.parent.mkdir()
        on(path, begin)
        trace = tmp_path / f"{sync}.trace"
        child: list[str | Path] = [sys.executable, Path(__file__).with_name("child.py"), path, "ses_1", "b", "30", sync]
        subprocess.run(
            ["strace", "-f", "-e", "trace=fdatasync,fsync", "-o", trace, *child], check=True, capture_output=True
        )
        counts[sync] = trace.read_text().count("sync(")
    assert counts["power"] >= 30
    assert counts["process"] < 15


def test_a_step_costs_two_pages_of_the_wal(tmp_path: Path) -> None:
    """The events' last leaf and the session's row: anything more (an index that is written each time) is a slip."""
    path = tmp_path / "sessions.sqlite"

    async def write(store: SqliteStore) -> None:
        await begin(store)
        await store.append("ses_1", step(1), RUNNABLE, expect=1)
        before = path.with_name(path.name + "-wal").stat().st_size
        for n in range(2, 102):
            await store.append("ses_1", step(n), RUNNABLE, expect=2 * n - 2)
        frames = (path.with_name(path.name + "-wal").stat().st_size - before) / (4096 + 24)
        assert frames / 100 < 2.5

    on(path, write)
