"""Sessions in one SQLite file, written by several processes at once. `tables` knows what stands in it.

`sync`: what an append that has returned survives. "process": a kill of any process, at any instruction (WAL, NORMAL).
"power": the machine's end as well (FULL: a sync a commit). Appends that wait at the same moment, of whatever sessions,
are one transaction. A commit without a sync takes some 30 µs and is made in the event loop, where a thread would cost
more than it saves; one with a sync, and one of many events, is made by a thread. So is the copying of the WAL.
"""

import asyncio
import contextlib
import functools
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from interlock.clock import Clock
from interlock.errors import LogUnavailable
from interlock.log import LogCorrupt
from interlock.runtime.sessions import tables
from interlock.runtime.sessions.bell import Bell
from interlock.runtime.sessions.codec import check_session, encoded, restore, stream_of
from interlock.runtime.sessions.event import Event, Seen
from interlock.runtime.sessions.ports import Fenced, Lease, Moved, Row, Standing, Store, Wrote
from interlock.runtime.sessions.tables import Append, Create, Evict, Hold, Operation, Sync, Take
from interlock.runtime.sessions.writing import Busy, Waiting, Writer, commit, mapped

GROUP_MAX = 512
"""Operations in one transaction."""
INLINE_BYTES_MAX = 256 * 1024
"""Of a transaction that is made in the event loop: about 2 ms."""
READ_EVENTS = 1000
"""Read and checked without letting others on the loop in: about 5 ms."""
WAL_BYTES = 4 << 20
"""About so much is written before the WAL is copied into the file."""
BUSY_S = 5.0
"""How long a writer waits for others."""

_EVENT_BYTES = 512  # head, chain and their share of a page, about
_T = TypeVar("_T")


class SqliteStore(Store):
    """One file, for one event loop of one process; a child opens its own.

    Raises: LogUnavailable: the file cannot be opened. LogCorrupt: it is not such a file.
    """

    def __init__(self, path: Path, clock: Clock, *, sync: Sync = "process") -> None:
        self._clock, self._sync = clock, sync
        try:
            self._db = tables.open_file(path, sync, busy_s=0)
        except sqlite3.Error as error:
            raise mapped(error) from error
        self._bell = Bell(path.with_name(path.name + "-bell"))
        self._writer = Writer(path, sync, clock, BUSY_S)
        self._queue: list[Waiting] = []
        self._busy = self._checkpointing = self._closed = False
        self._ended: asyncio.Future[None] | None = None
        self._waited_s = 0.0
        self._wal_bytes = 0
        self._changed: dict[str, list[tuple[int, asyncio.Future[None]]]] = {}
        self._stirred: set[asyncio.Future[None]] = set()
        self._version = 0
        self._unwatch: Callable[[], None] | None = None

    async def create(
        self,
        session: str,
        tenant: str,
        principal: str,
        events: Sequence[Event],
        standing: Standing,
        *,
        at_ns: Sequence[int] = (),
    ) -> bool:
        check_session(session)
        operation = Create(
            session=session,
            tenant=tenant,
            principal=principal,
            entries=encoded(events),
            standing=standing,
            at_ns=at_ns,
        )
        return cast("bool", await self._do(operation))

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
        operation = Append(
            session=session, entries=encoded(events), standing=standing, expect=expect, lease=lease, at_ns=at_ns
        )
        return cast("Wrote | Moved | Fenced", await self._do(operation))

    async def take(self, session: str, owner: str, *, ttl_s: float) -> Lease | None:
        return cast("Lease | None", await self._do(Take(session=session, owner=owner, ttl_ns=int(ttl_s * 1e9))))

    async def renew(self, lease: Lease, *, ttl_s: float) -> Lease | None:
        return cast("Lease | None", await self._do(Hold(lease=lease, ttl_ns=int(ttl_s * 1e9))))

    async def release(self, lease: Lease) -> None:
        await self._do(Hold(lease=lease, ttl_ns=None))

    async def evict(self) -> int:
        return cast("int", await self._do(Evict()))

    async def events(
        self, session: str, *, after: int = 0, limit: int = 1000, bytes_max: int | None = None
    ) -> list[Seen]:
        found: list[Seen] = []
        while True:
            most = min(limit - len(found), READ_EVENTS)
            read = functools.partial(_events, session=session, after=after, limit=most, bytes_max=bytes_max)
            batch, whole = await self._read(read, session, after + 1)
            found += batch
            if whole or len(found) >= limit or bytes_max is not None:
                return found
            after = batch[-1].seq
            await asyncio.sleep(0)

    async def due(self, *, limit: int = 100) -> list[str]:
        return await self._read(lambda db: tables.due(db, self._clock.now_ns(), limit))

    async def rows(self, tenant: str | None = None, *, before: str = "", limit: int = 100) -> list[Row]:
        return await self._read(lambda db: tables.rows(db, tenant, before, limit, self._clock.now_ns()))

    async def row(self, session: str) -> Row | None:
        return await self._read(lambda db: tables.row(db, session, self._clock.now_ns()), session)

    async def changed(self, session: str, *, after: int, wait_s: float) -> bool:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (after, future)
        self._changed.setdefault(session, []).append(entry)
        try:
            with self._watching():
                if await self._read(lambda db: tables.head(db, session), session) > after:
                    return True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await future
                        return True
                return await self._read(lambda db: tables.head(db, session), session) > after
        finally:
            self._changed[session].remove(entry)
            if not self._changed[session]:
                del self._changed[session]

    async def stirred(self, *, wait_s: float) -> bool:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stirred.add(future)
        try:
            with self._watching(), contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await future
                    return True
            return False
        finally:
            self._stirred.discard(future)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._busy:
            self._ended = asyncio.get_running_loop().create_future()
            await self._ended
        await asyncio.to_thread(self._writer.close)
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        self._db.close()
        self._bell.close()

    # Writing: what waits is written by one transaction at a time, in the order in which it came.

    async def _do(self, operation: Operation) -> Any:
        if self._closed:
            raise LogUnavailable("the sessions' file is closed")
        loop = asyncio.get_running_loop()
        waiting = Waiting(operation, loop.create_future())
        self._queue.append(waiting)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._flush)
        return await waiting.future

    def _flush(self) -> None:
        batch = [waiting for waiting in self._queue[:GROUP_MAX] if not waiting.future.cancelled()]
        written = sum(_bytes(waiting.operation) for waiting in batch)
        if self._sync == "power" or written > INLINE_BYTES_MAX:
            del self._queue[:GROUP_MAX]
            self._writer.write(batch, lambda: self._written(batch, written))
            return
        try:
            if batch:
                commit(self._db, batch, self._clock.now_ns())
        except Busy:
            self._wait_for_others(batch)
            return
        except Exception as error:  # a defect: nobody waits for ever
            for waiting in batch:
                waiting.outcome = error
        del self._queue[:GROUP_MAX]
        self._written(batch, written)

    def _wait_for_others(self, batch: list[Waiting]) -> None:
        """SQLite's own waiting would hold up the loop."""
        if self._waited_s < BUSY_S:
            pause_s = random.uniform(0.5, 1.5) * min(0.0002 + self._waited_s / 10, 0.01)  # noqa: S311 - a pause, no secret
            self._waited_s += pause_s
            asyncio.get_running_loop().call_later(pause_s, self._flush)
            return
        for waiting in batch:
            waiting.outcome = LogUnavailable(f"others have written for {BUSY_S:.0f} s")
        del self._queue[:GROUP_MAX]
        self._written(batch, 0)

    def _written(self, batch: list[Waiting], written: int) -> None:
        self._waited_s = 0.0
        rings = False
        for waiting in batch:
            rings |= self._announce(waiting)
            if waiting.future.cancelled():
                continue
            if isinstance(waiting.outcome, BaseException):
                waiting.future.set_exception(waiting.outcome)
            else:
                waiting.future.set_result(waiting.outcome)
        if rings:
            self._bell.ring()
        self._wal_bytes += written
        if self._wal_bytes > WAL_BYTES and not self._checkpointing:
            self._wal_bytes, self._checkpointing = 0, True
            self._writer.checkpoint(self._checkpointed)
        asyncio.get_running_loop().call_soon(self._go_on)  # behind those who were answered: they go on together

    def _go_on(self) -> None:
        if self._queue:
            self._flush()
        else:
            self._busy = False
            if self._ended is not None:
                self._ended.set_result(None)

    def _checkpointed(self) -> None:
        self._checkpointing = False

    def _announce(self, waiting: Waiting) -> bool:
        """Wake those of this process who wait for it; whether others are to be told."""
        operation, outcome = waiting.operation, waiting.outcome
        if isinstance(operation, Append) and isinstance(outcome, Wrote):
            if operation.entries:
                self._wake(operation.session, outcome.head)
            stirs = operation.stirs or not operation.entries
        elif isinstance(operation, Create) and outcome is True:
            stirs = True
        else:
            gave_back = isinstance(operation, Hold) and operation.ttl_ns is None and isinstance(outcome, Lease)
            stirs = gave_back or isinstance(operation, Evict)
            if not stirs:
                return False
        if stirs:
            self._stir()
        return True

    # Waiting: for this process's own writes, and by the bell for those of others.

    def _wake(self, session: str, head: int) -> None:
        for after, future in self._changed.get(session, ()):
            if head > after and not future.done():
                future.set_result(None)

    def _stir(self) -> None:
        for future in self._stirred:
            if not future.done():
                future.set_result(None)

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        if self._unwatch is None:
            self._version = self._data_version()
            self._unwatch = self._bell.watch(self._heard)
        yield  # it stays until the store is closed: the kernel takes some 17 ms to end a watch, and the loop waits

    def _data_version(self) -> int:
        """Another after a commit of any other connection. 0: it cannot be read now."""
        try:
            return int(self._db.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:
            return 0

    def _heard(self) -> None:
        version = self._data_version()
        if version == self._version:
            return
        self._version = version
        self._stir()
        with contextlib.suppress(sqlite3.Error):
            for session in self._changed:
                self._wake(session, tables.head(self._db, session))

    async def _read(self, read: Callable[[sqlite3.Connection], _T], session: str = "", seq: int = 0) -> _T:
        """In the loop: a read waits for no writer, but for a moment when another process opens or mends the file."""
        waited_s, pause_s = 0.0, 0.001
        while True:
            if self._closed:
                raise LogUnavailable("the sessions' file is closed")
            try:
                return read(self._db)
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or waited_s > BUSY_S:
                    raise mapped(error, session, seq) from error
            await asyncio.sleep(pause_s)
            waited_s, pause_s = waited_s + pause_s, min(pause_s * 2, 0.1)


def _bytes(operation: Operation) -> int:
    """What it adds to the WAL, about."""
    entries = operation.entries if isinstance(operation, Append | Create) else ()
    return 2 * 4096 + sum(len(entry.payload) + _EVENT_BYTES for entry in entries)


def _events(
    db: sqlite3.Connection, session: str, after: int, limit: int, bytes_max: int | None
) -> tuple[list[Seen], bool]:
    """Events behind `after`, and whether these are all."""
    anchor, rows, head, end, full = tables.stored(db, session, after, limit, bytes_max)
    if after >= head:
        if rows:
            raise LogCorrupt(stream_of(session), head + 1, "an event stands behind the head of the index")
        return [], True
    if after and anchor is None:
        raise LogCorrupt(stream_of(session), after, "the record is missing")
    found, chain = restore(session, after, anchor, rows)
    last = found[-1].seq if found else after
    if last > head:
        raise LogCorrupt(stream_of(session), head + 1, "an event stands behind the head of the index")
    if last < head and not full:
        raise LogCorrupt(stream_of(session), last + 1, "the record is missing")
    if last == head and chain != end:
        raise LogCorrupt(stream_of(session), head, "the index has another chain value for it")
    return found, last == head
