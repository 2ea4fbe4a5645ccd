"""Transactions of several operations, made in the calling thread (`commit`) or in one of its own (`Writer`).

A transaction holds whatever operations wait. One that cannot be done must not take the others with it: then each is
tried by itself.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.clock import Clock
from interlock.errors import InterlockError, LocalError, LogUnavailable, UnknownOutcome
from interlock.log import LogCorrupt
from interlock.runtime.sessions import tables
from interlock.runtime.sessions.codec import stream_of
from interlock.runtime.sessions.tables import Operation, Sync

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Busy(Exception):
    """Another process writes: nothing was done, try again."""


@dataclass(slots=True, eq=False)
class Waiting:
    """An operation and who waits for it."""

    operation: Operation
    future: asyncio.Future[Any]
    outcome: Any = None
    """What it gave, or the exception that it raised."""


def commit(db: sqlite3.Connection, batch: Sequence[Waiting], now_ns: int) -> None:
    """Do them all and set each `outcome`. Raises: Busy."""
    try:
        _transaction(db, batch, now_ns)
    except sqlite3.Error as error:
        if _primary(error) == sqlite3.SQLITE_BUSY:
            raise Busy from error
        _one_by_one(db, batch, now_ns, error)
    except LogCorrupt as error:
        _one_by_one(db, batch, now_ns, error)


def _one_by_one(db: sqlite3.Connection, batch: Sequence[Waiting], now_ns: int, error: Exception) -> None:
    if len(batch) == 1:
        batch[0].outcome = _mapped(error, batch[0].operation)
        return
    for waiting in batch:
        try:
            _transaction(db, [waiting], now_ns)
        except (sqlite3.Error, LogCorrupt) as own:
            waiting.outcome = _mapped(own, waiting.operation)


def _transaction(db: sqlite3.Connection, batch: Sequence[Waiting], now_ns: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        for waiting in batch:
            try:
                waiting.outcome = waiting.operation.run(db, now_ns)
            except LocalError as error:  # raised before anything of it was written
                waiting.outcome = error
    except BaseException:
        _roll_back(db)
        raise
    try:
        db.execute("COMMIT")
    except sqlite3.Error as error:
        _roll_back(db)
        if _primary(error) != sqlite3.SQLITE_IOERR or error.sqlite_errorcode == sqlite3.SQLITE_IOERR_WRITE:
            raise  # the frame that makes the others count was not written
        for waiting in batch:  # what was written may be in the file after all
            waiting.outcome = UnknownOutcome(f"the commit failed: {error}")


def _roll_back(db: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):
        db.rollback()


def _primary(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _mapped(error: Exception, operation: Operation) -> Exception:
    if not isinstance(error, sqlite3.Error):
        return error
    session = operation.lease.session if isinstance(operation, tables.Hold) else operation.session
    return mapped(error, session)


def mapped(error: sqlite3.Error, session: str = "", seq: int = 0) -> InterlockError:
    """SQLite's error as ours. A damaged file is not unavailable: waiting does not mend it."""
    if _primary(error) in _DAMAGED or isinstance(error, sqlite3.InterfaceError):
        return LogCorrupt(stream_of(session), seq, f"the file is damaged: {error}")
    return LogUnavailable(f"the sessions' file: {error}")


@dataclass(slots=True, frozen=True)
class _Job:
    run: Callable[[sqlite3.Connection], None]
    fail: Callable[[Exception], None]


class Writer:
    """A thread with a connection of its own, both made when they are first needed."""

    def __init__(self, path: Path, sync: Sync, clock: Clock, busy_s: float) -> None:
        self._path, self._sync, self._clock, self._busy_s = path, sync, clock, busy_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def write(self, batch: Sequence[Waiting], done: Callable[[], None]) -> None:
        """Commit, then call `done` in the loop that runs now."""
        loop = asyncio.get_running_loop()

        def job(db: sqlite3.Connection) -> None:
            try:
                commit(db, batch, self._clock.now_ns())
            except Busy:
                self._give_up(batch, LogUnavailable(f"others have written for {self._busy_s:.0f} s"))
            except BaseException as error:  # whoever waits is told, and the thread lives
                self._give_up(batch, error)
            _tell(loop, done)

        def fail(error: Exception) -> None:
            self._give_up(batch, error)
            _tell(loop, done)

        self._put(job, fail)

    def checkpoint(self, done: Callable[[], None]) -> None:
        """Copy the WAL into the file, then call `done` in the loop that runs now."""
        loop = asyncio.get_running_loop()

        def job(db: sqlite3.Connection) -> None:
            with contextlib.suppress(sqlite3.Error):  # the disk is full, or others are at it: the WAL keeps it
                tables.checkpoint(db, self._busy_s)
            _tell(loop, done)

        self._put(job, lambda error: _tell(loop, done))

    def close(self) -> None:
        """Wait until everything is done. Blocking."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()

    def _put(self, job: Callable[[sqlite3.Connection], None], fail: Callable[[Exception], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sessions-writer", daemon=True)
            self._thread.start()
        self._jobs.put(_Job(job, fail))

    def _run(self) -> None:
        db = None
        while (job := self._jobs.get()) is not None:
            if db is None:
                try:
                    db = tables.open_file(self._path, self._sync, busy_s=self._busy_s)
                except sqlite3.Error as error:
                    job.fail(mapped(error))
                    continue
            job.run(db)
        if db is not None:
            db.close()

    @staticmethod
    def _give_up(batch: Sequence[Waiting], error: BaseException) -> None:
        for waiting in batch:
            waiting.outcome = error


def _tell(loop: asyncio.AbstractEventLoop, done: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
        loop.call_soon_threadsafe(done)
