"""Many small streams in one SQLite file, written by several processes at once.

A record that was answered for is on the disk: WAL with `synchronous=FULL` syncs at each commit. This is for identity,
config and the like, not for the metering path (the journal is five times cheaper there). It erases and deletes nothing.

    records(stream, seq, id, head, payload, chain)    head and payload: JSON text ('': erased payload); chain: hex
"""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from interlock.errors import InterlockError, LogUnavailable, UnknownOutcome
from interlock.log.check import LogCorrupt, check_count, check_record, check_stream, restore
from interlock.log.decide import decide_append
from interlock.log.ports import Log
from interlock.log.record import Appended, Conflict, Record, Stored, chain_start

FORMAT = 1
"""`PRAGMA user_version` of the file."""

BATCH = 500
"""Records read in one go: about a megabyte of ordinary ones."""

_POLL_S = 0.1
_BUSY_S = 5.0  # how long a writer waits for another's commit, each of which takes a sync
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    stream TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL,
    head TEXT NOT NULL, payload TEXT NOT NULL, chain TEXT NOT NULL,
    UNIQUE (stream, seq), UNIQUE (stream, id)
)"""
# A changed byte may no longer be UTF-8, or the value no longer text: read as bytes, whatever it is.
_SELECT = """
SELECT seq, CAST(head AS BLOB), CAST(payload AS BLOB), CAST(chain AS BLOB), CAST(id AS BLOB)
FROM records WHERE stream = ? AND seq >= ? ORDER BY seq LIMIT ?"""
Row = tuple[int, bytes, bytes, bytes, bytes]


class SqliteLog(Log):
    """One file; one connection a process, used by one thread at a time. Calls of the port run in a thread.

    A cancelled append may have happened: ask again with the same ids. After a fork the child opens its own connection.
    Raises: LogUnavailable: the file cannot be opened. InterlockError `log_corrupt`: it is not such a file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # protects the connection: its transaction state belongs to one call at a time
        self._pid = os.getpid()
        with _mapped(path):
            self._connection = _open(path)

    def close(self) -> None:
        """Close the connection. Readers and followers still running fail with LogUnavailable."""
        with self._lock:
            self._connection.close()

    async def append(self, stream: str, records: Sequence[Record], *, expect: int | None = None) -> Appended | Conflict:
        check_stream(stream)
        check_count(len(records))
        for record in records:
            check_record(record)
        return await asyncio.to_thread(self._append, stream, records, expect)

    async def head(self, stream: str) -> int:
        check_stream(stream)
        return await asyncio.to_thread(self._head, stream)

    async def read(self, stream: str, *, after: int = 0) -> AsyncIterator[Stored]:
        head = await self.head(stream)
        while after < head:
            batch = await asyncio.to_thread(self.read_after, stream, after, limit=min(BATCH, head - after))
            if not batch:
                raise LogCorrupt(stream, after + 1, "the record is missing")
            for stored in batch:
                yield stored
            after = batch[-1].seq

    async def follow(self, stream: str, *, after: int) -> AsyncIterator[Stored]:
        check_stream(stream)
        while True:
            batch = await asyncio.to_thread(self.read_after, stream, after, limit=BATCH)
            for stored in batch:
                yield stored
                after = stored.seq
            if not batch:
                await asyncio.sleep(_POLL_S)

    async def streams(self) -> list[str]:
        return await asyncio.to_thread(self._names)

    def read_after(self, stream: str, seq: int, *, limit: int | None = None) -> list[Stored]:
        """Records after `seq`, at most `limit` (None: all), read on the calling thread.

        For a caller that must have caught up before its next step. Raises: as `read`.
        """
        with self._use() as db:
            return _rows(db, stream, seq, limit)

    def tips(self) -> dict[str, tuple[int, bytes]]:
        """The last seq of every stream and the chain value there, all of one moment. On the calling thread.

        What it tells is on the disk: SQLite shows a commit to others after it was synced. Raises: LogCorrupt.
        """
        found: dict[str, tuple[int, bytes]] = {}
        name = ""
        with self._use() as db:
            db.execute("BEGIN")
            try:
                while row := db.execute("SELECT min(stream) FROM records WHERE stream > ?", (name,)).fetchone():
                    if row[0] is None:
                        return found
                    name = row[0]
                    found[name] = _last(db, name)
            finally:
                db.rollback()
        return found

    def _append(self, stream: str, records: Sequence[Record], expect: int | None) -> Appended | Conflict:
        with self._use() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                answer = self._write(db, stream, records, expect)
            except BaseException:
                db.rollback()
                raise
            _commit(db)
            return answer

    def _write(
        self, db: sqlite3.Connection, stream: str, records: Sequence[Record], expect: int | None
    ) -> Appended | Conflict:
        head, chain = _last(db, stream)
        stands = {record.id: found for record in records if (found := _standing(db, stream, record.id))}
        decided = decide_append(stream, head, chain, records, stands, expect)
        if isinstance(decided, Conflict):
            return decided
        db.executemany(
            "INSERT INTO records (stream, seq, id, head, payload, chain) VALUES (?, ?, ?, ?, ?, ?)",
            (
                (stream, new.seq, new.record.id, head_bytes.decode(), new.record.payload.decode(), new.chain.hex())
                for new, head_bytes in decided.new
            ),
        )
        return decided.answer

    def _head(self, stream: str) -> int:
        with self._use() as db:
            return _last(db, stream)[0]

    def _names(self) -> list[str]:
        with self._use() as db:
            return [name for (name,) in db.execute("SELECT DISTINCT stream FROM records ORDER BY stream")]

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _mapped(self._path):
            if self._pid != os.getpid():  # SQLite forbids carrying a connection across a fork
                self._connection, self._pid = _open(self._path), os.getpid()
            yield self._connection


def restore_rows(stream: str, after: int, rows: Iterator[Row], *, start: bytes | None = None) -> Iterator[Stored]:
    """Checked records from rows in order of seq. If `after` > 0 the first row is that of `after`: the chain's anchor.

    Raises: LogCorrupt.
    """
    seq, chain = after, start or chain_start(stream)
    if after:
        anchor = next(rows, None)
        if anchor is None:
            return
        if anchor[0] != after:
            raise LogCorrupt(stream, after, "the record is missing")
        chain = _chain_bytes(stream, after, anchor[3])
    for found, head, payload, chain_hex, id in rows:
        seq += 1
        if found != seq:
            raise LogCorrupt(stream, seq, f"the record is missing; seq {found} follows")
        stored = restore(stream, seq, chain, head, payload, _chain_bytes(stream, seq, chain_hex))
        if stored.record.id.encode() != id:
            raise LogCorrupt(stream, seq, "the id column does not match the head")
        chain = stored.chain
        yield stored


def _chain_bytes(stream: str, seq: int, text: bytes) -> bytes:
    try:
        chain = bytes.fromhex(text.decode())
    except ValueError as error:
        raise LogCorrupt(stream, seq, "the chain value cannot be read") from error
    if chain.hex().encode() != text:
        raise LogCorrupt(stream, seq, "the chain value is not as it was written")
    return chain


def _last(db: sqlite3.Connection, stream: str) -> tuple[int, bytes]:
    sql = "SELECT seq, CAST(chain AS BLOB) FROM records WHERE stream = ? ORDER BY seq DESC LIMIT 1"
    row = db.execute(sql, (stream,)).fetchone()
    return (row[0], _chain_bytes(stream, row[0], row[1])) if row else (0, chain_start(stream))


def _rows(db: sqlite3.Connection, stream: str, after: int, limit: int | None) -> list[Stored]:
    wanted = -1 if limit is None else limit + (after > 0)
    return list(restore_rows(stream, after, iter(db.execute(_SELECT, (stream, after, wanted)).fetchall())))


def _standing(db: sqlite3.Connection, stream: str, id: str) -> tuple[int, Record] | None:
    row = db.execute("SELECT seq FROM records WHERE stream = ? AND id = ?", (stream, id)).fetchone()
    return (row[0], _rows(db, stream, row[0] - 1, 1)[0].record) if row else None


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        _use_wal(db)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > FORMAT:
            raise InterlockError(f"{path.name}: format {version} is newer than {FORMAT}", code="log_corrupt")
        db.execute(_SCHEMA)
        db.execute(f"PRAGMA user_version = {FORMAT}")
        db.commit()
    except BaseException:
        db.close()
        raise
    return db


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to WAL. The switch itself does not wait for another process that opens the file at the same moment."""
    pause_s = 0.02
    for attempt in range(round(_BUSY_S / pause_s), -1, -1):
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or not attempt:
                raise
            time.sleep(pause_s)
        else:
            return


def _commit(db: sqlite3.Connection) -> None:
    try:
        db.commit()
    except sqlite3.OperationalError as error:
        db.rollback()
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR:  # the frames may be in the file after all
            raise UnknownOutcome(f"the log's commit failed: {error}") from error
        raise


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    """SQLite's errors as ours. A damaged file is not unavailable: waiting does not mend it."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise InterlockError(f"{path.name}: {error}", code="log_corrupt") from error
        raise LogUnavailable(f"{path.name}: {error}") from error
