"""The file `sessions.sqlite`: its tables, and what one transaction does in them. Blocking; knows no event loop.

sessions(n, stream, …, head, chain, status, …, owner, epoch, expires_at_ns)    a row a session: the index, the lease
events(place, at_ns, type, payload, sha256, chain)                    place = n << 32 | seq: one tree, in log order
records(stream, seq, head, payload, chain, id)            a view, as log.sqlite has it: for people and `verify`
"""

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from interlock.errors import InterlockError, LocalError
from interlock.log import LogCorrupt
from interlock.log.record import chain_start
from interlock.runtime.sessions.codec import SEQ_MAX, Encoded, Stored, chained, head_of, stream_of, unknown
from interlock.runtime.sessions.ports import Fenced, Lease, Moved, Row, Standing, Wrote

FORMAT = 1
"""`PRAGMA user_version` of the file."""
Sync = Literal["process", "power"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    n INTEGER PRIMARY KEY, stream TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, principal TEXT NOT NULL,
    created_at_ns INTEGER NOT NULL, changed_at_ns INTEGER NOT NULL, head INTEGER NOT NULL, chain BLOB NOT NULL,
    status TEXT NOT NULL, wake_at_ns INTEGER, title TEXT NOT NULL, detail TEXT NOT NULL,
    owner TEXT NOT NULL DEFAULT '', epoch INTEGER NOT NULL DEFAULT 0, expires_at_ns INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS sessions_tenant ON sessions (tenant, n);
CREATE INDEX IF NOT EXISTS sessions_due ON sessions (status, wake_at_ns) WHERE status <> 'idle';
CREATE TABLE IF NOT EXISTS events (
    place INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, type TEXT NOT NULL, payload TEXT NOT NULL,
    sha256 TEXT NOT NULL, chain BLOB NOT NULL
);
CREATE VIEW IF NOT EXISTS records (stream, seq, head, payload, chain, id) AS
SELECT s.stream, e.place & 4294967295,
    printf('{"seq":%d,"id":"%d","type":"%s","at_ns":"%d","schema":1,"payload_sha256":"%s"}',
           e.place & 4294967295, e.place & 4294967295, e.type, e.at_ns, e.sha256),
    e.payload, lower(hex(e.chain)), CAST(e.place & 4294967295 AS TEXT)
FROM sessions s CROSS JOIN events e ON e.place BETWEEN s.n << 32 AND s.n << 32 | 4294967295;
"""
_ROW = """SELECT stream, tenant, principal, status, wake_at_ns, title, detail, head, created_at_ns, changed_at_ns,
    CASE WHEN expires_at_ns > ? THEN owner ELSE '' END FROM sessions """
# As bytes: a changed one may no longer be UTF-8.
_EVENTS = """SELECT place & 4294967295, at_ns, CAST(type AS BLOB), CAST(payload AS BLOB), CAST(sha256 AS TEXT), chain
    FROM events WHERE place BETWEEN ? AND ? ORDER BY place LIMIT ?"""
# What an index leaves out has to be said again, or it is not used.
DUE = """SELECT stream FROM sessions WHERE status = 'runnable' AND status <> 'idle' AND expires_at_ns <= ?
    UNION ALL SELECT stream FROM sessions
    WHERE status = 'waiting' AND status <> 'idle' AND wake_at_ns <= ? AND expires_at_ns <= ? LIMIT ?"""
_PLACES = 1 << 32
_RESTART_MS = 20
_WAL_BYTES_KEPT = 64 << 20


@dataclass(slots=True, kw_only=True)
class Create:
    """A new session. Gives bool."""

    session: str
    tenant: str
    principal: str
    entries: Sequence[Encoded]
    standing: Standing
    at_ns: Sequence[int]

    def run(self, db: sqlite3.Connection, now_ns: int) -> bool:
        """Within a transaction."""
        stream, s = stream_of(self.session), self.standing
        if db.execute("SELECT 1 FROM sessions WHERE stream = ?", (stream,)).fetchone():
            return False
        values = (stream, self.tenant, self.principal, now_ns, now_ns, b"", s.status, s.wake_at_ns, s.title, s.detail)
        n = db.execute(
            "INSERT INTO sessions (stream, tenant, principal, created_at_ns, changed_at_ns, head, chain,"
            " status, wake_at_ns, title, detail) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)",
            values,
        ).lastrowid
        assert n is not None, "an insert has a row id"
        times = self.at_ns or [now_ns] * len(self.entries)
        chain = _insert(db, n, 0, chain_start(stream), self.entries, times)
        db.execute("UPDATE sessions SET head = ?, chain = ? WHERE n = ?", (len(self.entries), chain, n))
        return True


@dataclass(slots=True, kw_only=True)
class Append:
    """More events. Gives Wrote, Moved or Fenced."""

    session: str
    entries: Sequence[Encoded]
    standing: Standing
    expect: int
    lease: Lease | None
    at_ns: int | None
    stirs: bool = False
    """Whether `due` may say something else now; known after it ran."""

    def run(self, db: sqlite3.Connection, now_ns: int) -> Wrote | Moved | Fenced:
        """Within a transaction."""
        n, head, chain, owner, epoch, *stood = db.execute(
            "SELECT n, head, chain, owner, epoch, status, wake_at_ns, title, detail FROM sessions WHERE stream = ?",
            (stream_of(self.session),),
        ).fetchone() or _unknown(self.session)
        if self.lease is not None and (self.lease.epoch != epoch or self.lease.owner != owner):
            return Fenced(epoch)
        if head != self.expect:
            return Moved(head)
        count, s = len(self.entries), self.standing
        if head + count > SEQ_MAX:
            raise LocalError(f"a log has at most {SEQ_MAX} events", field="events")
        try:
            chain = _insert(db, n, head, chain, self.entries, [now_ns if self.at_ns is None else self.at_ns] * count)
        except sqlite3.IntegrityError as error:
            raise LogCorrupt(
                stream_of(self.session), head + 1, "an event stands behind the head of the index"
            ) from error
        standing = [s.status, s.wake_at_ns, s.title, s.detail]
        if standing == stood:
            db.execute(
                "UPDATE sessions SET head = ?, chain = ?, changed_at_ns = ? WHERE n = ?",
                (head + count, chain, now_ns, n),
            )
        else:
            self.stirs = True
            db.execute(
                "UPDATE sessions SET head = ?, chain = ?, changed_at_ns = ?, status = ?, wake_at_ns = ?, title = ?,"
                " detail = ? WHERE n = ?",
                (head + count, chain, now_ns, *standing, n),
            )
        return Wrote(head + count)


@dataclass(slots=True, kw_only=True)
class Take:
    """A lease. Gives Lease or None."""

    session: str
    owner: str
    ttl_ns: int

    def run(self, db: sqlite3.Connection, now_ns: int) -> Lease | None:
        """Within a transaction."""
        n, owner, epoch, expires_at_ns = _lease(db, self.session)
        if owner not in ("", self.owner) and expires_at_ns > now_ns:
            return None
        lease = Lease(session=self.session, owner=self.owner, epoch=epoch + 1, expires_at_ns=now_ns + self.ttl_ns)
        values = (lease.owner, lease.epoch, lease.expires_at_ns, n)
        db.execute("UPDATE sessions SET owner = ?, epoch = ?, expires_at_ns = ? WHERE n = ?", values)
        return lease


@dataclass(slots=True, kw_only=True)
class Hold:
    """A lease is held for longer, or (`ttl_ns` None) given back. Gives Lease or None: it was taken by another."""

    lease: Lease
    ttl_ns: int | None

    def run(self, db: sqlite3.Connection, now_ns: int) -> Lease | None:
        """Within a transaction."""
        n, owner, epoch, _ = _lease(db, self.lease.session)
        if (owner, epoch) != (self.lease.owner, self.lease.epoch):
            return None
        if self.ttl_ns is None:
            db.execute("UPDATE sessions SET owner = '', expires_at_ns = 0 WHERE n = ?", (n,))
            return self.lease
        expires_at_ns = now_ns + self.ttl_ns
        db.execute("UPDATE sessions SET expires_at_ns = ? WHERE n = ?", (expires_at_ns, n))
        return Lease(session=self.lease.session, owner=owner, epoch=epoch, expires_at_ns=expires_at_ns)


@dataclass(slots=True, kw_only=True)
class Evict:
    """Every lease ends. Gives how many there were."""

    session: str = ""
    """Of none."""

    def run(self, db: sqlite3.Connection, now_ns: int) -> int:
        """Within a transaction."""
        return db.execute("UPDATE sessions SET owner = '', expires_at_ns = 0 WHERE owner != ''").rowcount


Operation = Create | Append | Take | Hold | Evict


def stored(
    db: sqlite3.Connection, session: str, after: int, limit: int, bytes_max: int | None
) -> tuple[bytes | None, list[Stored], int, bytes, bool]:
    """Of one moment: the chain value at `after`, events behind it, the log's head and the chain value there; and
    whether as many events or bytes are among them as may be."""
    db.execute("BEGIN")
    try:
        n, head, chain = db.execute(
            "SELECT n, head, chain FROM sessions WHERE stream = ?", (stream_of(session),)
        ).fetchone() or _unknown(session)
        first = n * _PLACES + min(after, SEQ_MAX)
        anchor = db.execute("SELECT chain FROM events WHERE place = ?", (first,)).fetchone() if after else None
        rows, size = list[Stored](), 0
        for found in db.execute(_EVENTS, (first + 1, n * _PLACES + SEQ_MAX, limit)) if after < SEQ_MAX else ():
            rows.append(Stored(*found))
            size += len(rows[-1].payload)
            if bytes_max is not None and size >= bytes_max:
                break
        full = len(rows) >= limit or (bytes_max is not None and size >= bytes_max)
    finally:
        db.rollback()
    return anchor[0] if anchor else None, rows, head, chain, full


def head(db: sqlite3.Connection, session: str) -> int:
    """A log's last seq. Raises: LocalError: no such session."""
    row = db.execute("SELECT head FROM sessions WHERE stream = ?", (stream_of(session),)).fetchone()
    return int((row or _unknown(session))[0])


def due(db: sqlite3.Connection, now_ns: int, limit: int) -> list[str]:
    """Sessions that want a brain and have none."""
    return [_session(row[0]) for row in db.execute(DUE, (now_ns, now_ns, now_ns, limit))]


def row(db: sqlite3.Connection, session: str, now_ns: int) -> Row | None:
    """The index's row of one."""
    found = db.execute(f"{_ROW} WHERE stream = ?", (now_ns, stream_of(session))).fetchone()
    return _as_row(found) if found else None


def rows(db: sqlite3.Connection, tenant: str | None, before: str, limit: int, now_ns: int) -> list[Row]:
    """The index's rows, newest first."""
    below = SEQ_MAX
    if before:
        stands = db.execute("SELECT n FROM sessions WHERE stream = ?", (stream_of(before),)).fetchone()
        below = (stands or _unknown(before))[0]
    if tenant is None:
        sql, values = f"{_ROW} WHERE n < ? ORDER BY n DESC LIMIT ?", (now_ns, below, limit)
        return [_as_row(found) for found in db.execute(sql, values)]
    sql = f"{_ROW} WHERE tenant = ? AND n < ? ORDER BY n DESC LIMIT ?"
    return [_as_row(found) for found in db.execute(sql, (now_ns, tenant, below, limit))]


def open_file(path: Path, sync: Sync, *, busy_s: float) -> sqlite3.Connection:
    """A connection. WAL is not copied into the file by commits: that is `checkpoint`'s.

    Raises: InterlockError: the file is of a newer version. sqlite3.Error.
    """
    db = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, path, sync)
        db.execute(f"PRAGMA busy_timeout = {round(busy_s * 1000)}")
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path, sync: Sync) -> None:
    db.execute("PRAGMA busy_timeout = 5000")
    for attempt in range(250, -1, -1):  # the switch to WAL does not wait for another process that opens the file
        try:
            db.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or not attempt:
                raise
            time.sleep(0.02)
    db.execute(f"PRAGMA synchronous = {'FULL' if sync == 'power' else 'NORMAL'}")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > FORMAT:
        raise InterlockError(f"{path.name}: format {version} is newer than {FORMAT}", code="log_corrupt")
    if version < FORMAT:
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";\n"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute("COMMIT")


def checkpoint(db: sqlite3.Connection, busy_s: float) -> None:
    """Copy the WAL into the file while others write, then what they wrote meanwhile with nobody writing, so that the
    WAL begins anew. Whoever reads for long (a verification) must not stop writers: then the next time does it."""
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    db.execute(f"PRAGMA busy_timeout = {_RESTART_MS}")
    try:
        db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    finally:
        db.execute(f"PRAGMA busy_timeout = {round(busy_s * 1000)}")


def _insert(
    db: sqlite3.Connection, n: int, seq: int, chain: bytes, entries: Sequence[Encoded], at_ns: Sequence[int]
) -> bytes:
    values = []
    place = n * _PLACES + seq
    for (kind, payload, digest), at in zip(entries, at_ns, strict=True):
        seq, place = seq + 1, place + 1
        chain = chained(chain, head_of(seq, kind, at, digest))
        values.append((place, at, kind, payload.decode(), digest, chain))
    db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", values)
    return chain


def _lease(db: sqlite3.Connection, session: str) -> Any:
    sql = "SELECT n, owner, epoch, expires_at_ns FROM sessions WHERE stream = ?"
    return db.execute(sql, (stream_of(session),)).fetchone() or _unknown(session)


def _unknown(session: str) -> Any:
    raise unknown(session)


def _session(stream: str) -> str:
    return stream.partition("/")[2]


def _as_row(found: Any) -> Row:
    stream, tenant, principal, status, wake_at_ns, title, detail, head, created_at_ns, changed_at_ns, owner = found
    return Row(
        session=_session(stream),
        tenant=tenant,
        principal=principal,
        standing=Standing(status=status, wake_at_ns=wake_at_ns, title=title, detail=detail),
        head=head,
        created_at_ns=created_at_ns,
        changed_at_ns=changed_at_ns,
        owner=owner,
    )
