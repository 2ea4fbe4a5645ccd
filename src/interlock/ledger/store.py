"""The SQLite file under the ledger's view: its tables, its transactions, its canonical dump.

It does not interpret records. The file is a view and holds nothing of its own: one of another version, or one that
is no database, is deleted without asking. What goes wrong while it is used is `view_unavailable`, since the log, which
is the truth, is not affected.

`records` is a copy of what the usage streams and `adjustments` hold; `entries` has one row an attempt, made from its
records only, and one an adjustment of its own (`state` adjusting, dated by the period that it refers to). In both
`amount_nanousd` is what counts, `metered_nanousd` what was metered, `booked_at_ns` when a bill changed it, if one did;
`policies` keeps the prices of each policy version; `positions` says how far each stream was folded, and is written in
the transaction of what was folded. `cost` is the sum of all amounts, as text since it may be past int64. `waiting`:
attempts settled whose opening has not been seen. `unread`: records this version cannot read.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from interlock.errors import TransientError

VERSION = 7
"""Of the tables and of what is put in them: raise it when either changes, and every view is made anew."""

BUSY_S = 10.0
"""How long to wait for another process that is writing the view."""

_TABLES = {  # name: the columns that order its dump
    "positions": "stream",
    "policies": "version",
    "records": "stream, seq",
    "entries": "request_id, attempt",
    "cost": "scope",
    "waiting": "request_id, attempt",
    "unread": "stream, seq",
}

_SCHEMA = """
CREATE TABLE positions (stream TEXT PRIMARY KEY, seq INTEGER, chain TEXT) WITHOUT ROWID;
CREATE TABLE policies (version TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID;
CREATE TABLE records (
  request_id TEXT, attempt INTEGER, stream TEXT, seq INTEGER,
  id TEXT, type TEXT, at_ns INTEGER, schema INTEGER, payload BLOB
);
CREATE INDEX records_attempt ON records (request_id, attempt, stream, seq);
CREATE TABLE entries (
  request_id TEXT, attempt INTEGER, at_ns INTEGER, state TEXT,
  tenant TEXT, principal TEXT, key_id TEXT, session TEXT, mode TEXT,
  tier TEXT, deployment TEXT, provider TEXT, model TEXT, policy TEXT,
  outcome TEXT, source TEXT, usage BLOB, avoided BLOB, inconsistent INTEGER,
  input INTEGER, cache_read INTEGER, cache_write INTEGER, output INTEGER, reasoning INTEGER,
  amount_nanousd INTEGER, unpriced TEXT, duplicates INTEGER, conflicts INTEGER,
  team TEXT, task TEXT, tool TEXT, settled_at_ns INTEGER,
  upstream_model TEXT, metered_nanousd INTEGER, booked_at_ns INTEGER,
  PRIMARY KEY (request_id, attempt)
) WITHOUT ROWID;
CREATE INDEX entries_time ON entries (at_ns);
CREATE INDEX entries_tenant ON entries (tenant, at_ns);
CREATE INDEX entries_session ON entries (session, at_ns) WHERE session GLOB 'ses_*';
CREATE INDEX entries_open ON entries (tenant, at_ns) WHERE state = 'open';
CREATE INDEX entries_settled ON entries (settled_at_ns) WHERE settled_at_ns > 0;
CREATE INDEX entries_booked ON entries (booked_at_ns) WHERE booked_at_ns IS NOT NULL;
CREATE INDEX entries_policy_unknown ON entries (policy) WHERE unpriced = 'policy_unknown';
CREATE TABLE cost (scope TEXT PRIMARY KEY, nanousd TEXT) WITHOUT ROWID;
CREATE TABLE waiting (request_id TEXT, attempt INTEGER, PRIMARY KEY (request_id, attempt)) WITHOUT ROWID;
CREATE TABLE unread (stream TEXT, seq INTEGER, id TEXT, type TEXT, PRIMARY KEY (stream, seq)) WITHOUT ROWID;
"""


class Store:
    """One view file. `write` is for one caller at a time and waits; any number may `read` beside it, in any thread."""

    def __init__(self, path: Path) -> None:
        """Open the view, or make an empty one, also in place of one of another version. Several processes may at once.

        Raises: TransientError `view_unavailable`.
        """
        self._path = path
        self._lock = threading.Lock()  # protects _db: a fold runs in a thread, and a cancelled one may still run
        with _mapped(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path.parent):
                if not _current(path):
                    _delete(path)
                self._db = _connect(path)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes beside; rolled back if the block raises."""
        with _mapped(self._path), self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A snapshot on a connection of its own."""
        with (
            _mapped(self._path),
            closing(sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)) as db,
        ):
            db.execute("PRAGMA query_only = 1")
            db.execute("BEGIN")
            yield db

    def clear(self) -> None:
        """Empty every table, in one transaction."""
        with self.write() as db:
            for table in _TABLES:
                db.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the table above

    def rows(self) -> Iterator[bytes]:
        """All that the view holds, canonically: a JSON array a row, tables and rows in a fixed order; of one moment."""
        with self.read() as db:
            for table, order in _TABLES.items():
                for row in db.execute(f"SELECT * FROM {table} ORDER BY {order}"):  # noqa: S608 - names from above
                    plain = [
                        value.decode(errors="backslashreplace") if isinstance(value, bytes) else value for value in row
                    ]
                    yield msgspec.json.encode([table, *plain])

    def close(self) -> None:
        """Wait for a transaction under way, then close."""
        with self._lock:
            self._db.close()


def copy_view(source: Path, target: Path) -> None:
    """A copy of one moment, positions and all, of a view that may be in use; none if there is none.

    Raises: sqlite3.Error: it cannot be read.
    """
    if not source.is_file():
        return
    # Without a -wal file nobody has it open, and `immutable` then leaves no files of SQLite's behind.
    option = "mode=ro" if source.with_name(source.name + "-wal").exists() else "immutable=1"
    place = f"{source.absolute().as_uri()}?{option}"
    with closing(sqlite3.connect(place, uri=True)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def delete_view(path: Path) -> None:
    """With what SQLite keeps beside it. Raises: OSError."""
    _delete(path)


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise TransientError(
            f"the ledger's view {str(path)!r} cannot be used: {error}; the log is not affected, and deleting the view "
            "makes it anew",
            code="view_unavailable",
        ) from error


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Nobody else opens a view in there, nor deletes one of another version: SQLite finds what stands beside a file by
    its name, so who looks into one while it is deleted takes what belongs to the next for its own."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _connect(path: Path) -> sqlite3.Connection:
    """A connection to a view of this version, made if it is not there."""
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA page_size = 8192")  # before anything is in it; folding costs a fifth less than with 4096
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut may undo the last folds, positions and all
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("PRAGMA wal_autocheckpoint = 2000")  # 16 MB: a page written several times is copied back once
        db.execute("BEGIN IMMEDIATE")
        if _version(db) != VERSION:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
        db.execute("CREATE TEMP TABLE touched (request_id TEXT, attempt INTEGER, PRIMARY KEY (request_id, attempt))")
    except BaseException:
        db.close()
        raise
    return db


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _current(path: Path) -> bool:
    """Whether there is nothing yet, or a view of this version."""
    if not path.exists():
        return True
    with closing(sqlite3.connect(path, timeout=BUSY_S)) as db:
        try:
            empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
            return empty or _version(db) == VERSION
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # not a database
            return False


def _delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
