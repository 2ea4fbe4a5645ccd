"""Prove a data directory: every record of every stream, from the files alone.

Reads a stopped or a running directory, takes no lock and writes nothing. It finds a record that was changed, removed or
reordered, and names it; that the newest records of a stream were cut off, or all written anew, it finds only against
what somebody attests (interlock.proof). Erased payloads verify: the chain covers their hashes. So do redacted ones, if
the stream itself says what stands there (redaction.py).
"""

import hashlib
import heapq
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

import msgspec

from interlock.log.check import LogCorrupt
from interlock.log.reader import Tail, journal_directories
from interlock.log.record import Stored, chain_start
from interlock.log.redaction import REDACTED, Redaction
from interlock.log.segments import (
    Position,
    RedactedSeal,
    Seal,
    SegmentReader,
    read_seal,
    seal_numbers,
    segment_numbers,
    segment_path,
)
from interlock.log.sqlite import Row, restore_rows

Progress = Callable[[str, int], None]
"""Called now and then with a stream and the records verified in it so far."""

_PROGRESS_EVERY = 10_000
# As bytes: a changed one may no longer be UTF-8.
_SELECT = """
SELECT CAST(stream AS BLOB), seq, CAST(head AS BLOB), CAST(payload AS BLOB), CAST(chain AS BLOB), CAST(id AS BLOB)
FROM records ORDER BY stream, seq"""
# What the sessions' own index says of a stream (interlock.runtime.sessions.tables): it is written with the records.
_SESSIONS = "SELECT head, CAST(chain AS BLOB) FROM sessions WHERE stream = ?"


class Attested(msgspec.Struct, frozen=True, kw_only=True):
    """That a stream held a record with this chain value."""

    seq: int
    chain: bytes
    by: str
    """Who says so, as people read it."""


Attestations = Callable[[str], Iterator[Attested]]
"""By stream, in order of `seq`."""


def _nobody(stream: str) -> Iterator[Attested]:
    return iter(())


class Problem(msgspec.Struct, frozen=True):
    """What is wrong, and where."""

    stream: str
    seq: int
    what: str


class StreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in one stream. Verification of a stream ends at its first problem."""

    stream: str
    records: int
    """How many hold."""
    first: int
    """The lowest seq verified; above 1: what stood before was dropped, and the chain is checked from its seal on."""
    head: int
    """The last seq that holds."""
    chain_hex: str
    """The chain value there."""
    erased: int
    """Records whose payload was erased."""
    redacted: int = 0
    """Records whose payload was put in another's place, as the stream says."""
    torn_bytes: int
    """Of an unfinished last line: being written now, or cut at the next start."""
    attested: int
    """The last seq that somebody attests, and that is so; 0: none."""
    problems: list[Problem]


def verify(
    data_dir: Path, *, progress: Progress | None = None, attested: Attestations = _nobody
) -> Iterator[StreamReport]:
    """One report a stream: those of DIR/log.sqlite and DIR/sessions.sqlite, then those under DIR/journal.

    Blocking; each when it is done.
    """
    yield from _verify_sqlite(data_dir / "log.sqlite", progress, attested)
    yield from _verify_sqlite(data_dir / "sessions.sqlite", progress, attested, index=_SESSIONS)
    root = data_dir / "journal"
    for directory in journal_directories(root):
        stream = directory.relative_to(root).as_posix()
        yield _Walk(stream, progress, attested(stream)).journal(directory)


class _Walk:
    """One stream's verification: counts what holds until something does not."""

    def __init__(self, stream: str, progress: Progress | None, attested: Iterator[Attested]) -> None:
        self._stream = stream
        self._progress = progress
        self._attestations = attested
        self._next = next(attested, None)
        self._attested = 0
        self._records = self._erased = self._torn_bytes = 0
        self._redacted: dict[int, str] = {}
        """By seq, hex SHA-256 of a payload that is another than its head says."""
        self._told: dict[int, str] = {}
        """The same, as records of the stream tell."""
        self._at = Position(seq=0, chain=chain_start(stream))
        self._first = 1

    def rows(self, rows: Iterator[Row]) -> StreamReport:
        """Of SQLite."""
        try:
            for stored in restore_rows(self._stream, 0, rows):
                self._count(stored)
        except LogCorrupt as error:
            return self._report(Problem(error.stream, error.seq, error.what))
        return self._report(*self._cut_off())

    def journal(self, directory: Path) -> StreamReport:
        """Of a journal's segments and seals."""
        try:
            for number in sorted({*segment_numbers(directory), *seal_numbers(directory)}):
                self._segment(directory, number)
            if any(self._untold()):
                self._read_on(directory)
        except LogCorrupt as error:
            return self._report(Problem(error.stream, error.seq or self._at.seq + 1, error.what))
        return self._report(*self._untold(), *self._cut_off())

    def _segment(self, directory: Path, number: int) -> None:
        seal = read_seal(directory, number, self._stream)
        if seal and (seal.first_seq != self._at.seq + 1 or seal.chain_before != self._at.chain.hex()):
            raise self._corrupt(f"the seal of segment {number} does not continue the one before it")
        try:
            reader = SegmentReader(segment_path(directory, number), self._stream, self._at)
        except FileNotFoundError:
            self._dropped(number, seal)
            return
        with closing(reader):
            while batch := reader.poll():
                for stored in batch:
                    self._count(stored)
            self._torn_bytes = reader.rest_bytes()
        if seal:
            self._check_seal(segment_path(directory, number), number, seal)
        elif self._torn_bytes and segment_path(directory, number + 1).exists():
            raise self._corrupt(f"segment {number} ends within a line, but another follows it")

    def _dropped(self, number: int, seal: Seal | None) -> None:
        """Retention takes the oldest segments and leaves their seals."""
        if seal is None or self._records:
            raise self._corrupt(f"segment {number} is missing")
        self._at = Position(seq=seal.last_seq, chain=bytes.fromhex(seal.chain))
        self._first = seal.last_seq + 1
        self._compare()

    def _check_seal(self, path: Path, number: int, seal: Seal) -> None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if seal.last_seq != self._at.seq or seal.chain != self._at.chain.hex():
            raise self._corrupt(f"segment {number} does not end where its seal says (seq {seal.last_seq})")
        if seal.sha256 != digest or seal.bytes != path.stat().st_size:
            newer = read_seal(path.parent, number, self._stream)  # perhaps a redaction came between
            if not isinstance(newer, RedactedSeal) or digest not in (newer.sha256, newer.was_sha256):
                raise self._corrupt(f"segment {number} is not the file that was sealed")

    def _count(self, stored: Stored) -> None:
        self._at = Position(seq=stored.seq, chain=stored.chain)
        if self._next is not None and self._next.seq <= stored.seq:
            self._compare()
        self._records += 1
        self._erased += not stored.record.payload
        if stored.payload_sha256 and stored.record.payload:
            self._redacted[stored.seq] = hashlib.sha256(stored.record.payload).hexdigest()
        if stored.record.type == REDACTED and stored.record.payload:
            self._told.update(self._redaction(stored).records)
        if self._progress and self._records % _PROGRESS_EVERY == 0:
            self._progress(self._stream, self._records)

    def _compare(self) -> None:
        """What is attested up to here; what was within dropped segments cannot be looked at any more."""
        while self._next is not None and self._next.seq <= self._at.seq:
            if self._next.seq == self._at.seq:
                if self._next.chain != self._at.chain:
                    what = f"{self._next.by} attests another record here: the stream was written anew"
                    raise LogCorrupt(self._stream, self._at.seq, what)
                self._attested = self._at.seq
            self._next = next(self._attestations, None)

    def _cut_off(self) -> Iterator[Problem]:
        """Whether more is attested than there is."""
        furthest = self._next
        for furthest in self._attestations:  # noqa: B007 - the last one is wanted
            pass
        if furthest is not None:
            what = f"the stream ends at {self._at.seq}, and {furthest.by} attests {furthest.seq}: records were cut off"
            yield Problem(self._stream, self._at.seq + 1, what)

    def _redaction(self, stored: Stored) -> Redaction:
        try:
            return msgspec.json.decode(stored.record.payload, type=Redaction)
        except msgspec.DecodeError as error:
            raise LogCorrupt(self._stream, stored.seq, f"it does not say what was redacted: {error}") from error

    def _read_on(self, directory: Path) -> None:
        """What was told since this began, while the owner goes on."""
        with closing(Tail(directory, self._stream, self._at.seq)) as tail:
            while batch := tail.poll():
                for stored in batch:
                    if stored.record.type == REDACTED and stored.record.payload:
                        self._told.update(self._redaction(stored).records)

    def _untold(self) -> Iterator[Problem]:
        """The first payload that was put in another's place, and no record says so."""
        for seq, digest in self._redacted.items():
            if self._told.get(seq) != digest:
                yield Problem(self._stream, seq, "its payload was changed, and no record of the stream says why")
                return

    def _corrupt(self, what: str) -> LogCorrupt:
        return LogCorrupt(self._stream, self._at.seq + 1, what)

    def _report(self, *problems: Problem) -> StreamReport:
        if self._progress:
            self._progress(self._stream, self._records)
        return StreamReport(
            stream=self._stream,
            records=self._records,
            first=self._first,
            head=self._at.seq,
            chain_hex=self._at.chain.hex(),
            erased=self._erased,
            redacted=len(self._redacted),
            torn_bytes=self._torn_bytes,
            attested=self._attested,
            problems=list(problems),
        )


def _verify_sqlite(
    path: Path, progress: Progress | None, attested: Attestations, *, index: str = ""
) -> Iterator[StreamReport]:
    """`index`: asks for the seq and chain value of a stream's last record, by its name."""
    if not path.exists():
        return
    try:
        with closing(_open_read_only(path)) as db:
            db.execute("BEGIN")  # one snapshot for all streams
            for stream, rows in groupby(db.execute(_SELECT), key=lambda row: bytes(row[0])):
                name = stream.decode(errors="backslashreplace")
                said = attested(name)
                if index:
                    last = (Attested(seq=row[0], chain=row[1], by="the index") for row in db.execute(index, (name,)))
                    said = heapq.merge(said, last, key=lambda one: one.seq)
                yield _Walk(name, progress, said).rows(row[1:] for row in rows)
            found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            yield _unreadable(path, found)
    except sqlite3.DatabaseError as error:
        yield _unreadable(path, str(error))


def _unreadable(path: Path, what: str) -> StreamReport:
    """The file itself is damaged: no stream can be named."""
    return nothing_of(path.name, Problem(path.name, 0, f"the file is damaged: {what}"))


def nothing_of(stream: str, problem: Problem) -> StreamReport:
    """The report on what cannot be read at all."""
    return StreamReport(
        stream=stream, records=0, first=1, head=0, chain_hex="", erased=0, torn_bytes=0, attested=0, problems=[problem]
    )


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Without a -wal file nobody has it open, and `immutable` then leaves no files of SQLite's behind."""
    option = "mode=ro" if path.with_name(path.name + "-wal").exists() else "immutable=1"
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?{option}", uri=True, isolation_level=None)
