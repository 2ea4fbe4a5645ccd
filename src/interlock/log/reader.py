"""Journals, read by another process while their owners write them.

Takes no lock and writes nothing. A last line that is not complete yet is waited for. What lies before `after` is
skipped by its seals, not read; the chain is checked from the start of the segment in which reading begins, or from
where the same reader stopped before: following a stream does not read it again and again.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from interlock.errors import LocalError
from interlock.log.check import LogCorrupt, check_stream
from interlock.log.lookup import record_at
from interlock.log.record import Stored
from interlock.log.segments import (
    Position,
    SegmentReader,
    last_line,
    position_after,
    position_before,
    read_seal,
    seal_numbers,
    segment_numbers,
    segment_path,
)

_POLL_S = 0.05


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a reader stopped."""

    number: int
    """Of the segment."""
    offset_bytes: int
    inode: int
    """Of its file: one that was written anew (redaction.py) has its lines elsewhere."""
    position: Position


class Tail:
    """The records of one journal after a seq, a batch at a time, across its segments. Blocking.

    Raises: LocalError `not_found` (from `poll`): records after `after` were dropped.
    """

    def __init__(self, directory: Path, stream: str, after: int, resume: Place | None = None) -> None:
        """
        Args:
            resume: where an earlier reader of this stream stopped; used if it is not beyond `after`.
        """
        self._directory = directory
        self._stream = stream
        self._after = after
        self._number = 0
        self._lock = threading.Lock()  # protects the open file: a cancelled read closes it while its thread still reads
        self._reader: SegmentReader | None = None
        self._resume = resume if resume and resume.position.seq <= after else None

    @property
    def place(self) -> Place | None:
        """Where reading stopped; None: nothing was opened."""
        reader = self._reader
        if reader is None:
            return self._resume
        position = Position(seq=reader.seq, chain=reader.chain)
        return Place(number=self._number, offset_bytes=reader.offset_bytes, inode=reader.inode, position=position)

    def close(self) -> None:
        """Waits for a `poll` on another thread to end."""
        with self._lock:
            if self._reader:
                self._reader.close()

    def poll(self, until: int | None = None) -> list[Stored]:
        """The next records, none after seq `until`; none if there are none yet. Raises: LogCorrupt."""
        with self._lock:
            return self._poll(until)

    def _poll(self, until: int | None) -> list[Stored]:
        while True:
            if self._reader is None and not self._open():
                return []
            assert self._reader is not None
            # Looked for before reading: once a successor stands, nothing is written to this segment any more.
            successor = segment_path(self._directory, self._number + 1).exists()
            if batch := self._reader.poll(until):
                if fresh := [stored for stored in batch if stored.seq > self._after]:
                    return fresh
            elif successor:
                self._advance()
            else:
                return []

    def _open(self) -> bool:
        """Choose the segment in which the record after `after` stands or will stand."""
        if self._resume and self._open_at(self._resume):
            return True
        segments, seals = segment_numbers(self._directory), seal_numbers(self._directory)
        if not segments:
            return False
        number = segments[0]
        for n in seals:
            seal = read_seal(self._directory, n, self._stream)
            if seal is None or seal.last_seq > self._after:
                break
            number = max(number, n + 1)
        start = position_before(self._directory, number, self._stream)
        if start.seq > self._after:
            raise LocalError(
                f"{self._stream}: records up to seq {start.seq} were dropped; read after {start.seq} or later",
                code="not_found",
                field="after",
            )
        path = segment_path(self._directory, number)
        if not path.exists():  # the newest segment is sealed, and the next one not begun
            return False
        self._number, self._reader = number, SegmentReader(path, self._stream, start)
        return True

    def _open_at(self, place: Place) -> bool:
        """Go on where a reader stopped, unless that segment was dropped or written anew since."""
        path = segment_path(self._directory, place.number)
        try:
            self._reader = SegmentReader(path, self._stream, place.position, place.offset_bytes)
        except FileNotFoundError:
            return False
        if self._reader.inode != place.inode:
            self._reader.close()
            self._reader = None
            return False
        self._number = place.number
        return True

    def _advance(self) -> None:
        assert self._reader is not None
        done = self._reader
        if done.rest_bytes():
            raise LogCorrupt(self._stream, done.seq + 1, "the segment ends within a line, but another follows it")
        self._number += 1
        start = Position(seq=done.seq, chain=done.chain)
        self._reader = SegmentReader(segment_path(self._directory, self._number), self._stream, start)
        done.close()


class JournalReader:
    """All journals under a directory: the journal of stream `usage/0` is its subdirectory `usage/0`.

    The reading half of the port `Log`; `scan` is the same for a caller without an event loop.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._places: dict[str, Place] = {}
        """By stream, where `read` stopped last: hints only, so that a caller that comes back reads what is new."""

    async def read(self, stream: str, *, after: int = 0) -> AsyncIterator[Stored]:
        """As `Log.read`. Raises also: LocalError `not_found`: some of those records were dropped."""
        head = await self.head(stream)
        with closing(Tail(self._root / stream, stream, after, self._places.get(stream))) as tail:
            async for stored in _records(tail, stream, after, until=head):
                yield stored
            if place := tail.place:
                self._places[stream] = place

    async def follow(self, stream: str, *, after: int) -> AsyncIterator[Stored]:
        """As `Log.follow`; the stream's directory may not exist yet. Raises: as `read`."""
        check_stream(stream)
        async for stored in read_directory(self._root / stream, stream, after, until=None):
            yield stored

    async def head(self, stream: str) -> int:
        """As `Log.head`."""
        check_stream(stream)
        return await asyncio.to_thread(last_seq, self._root / stream, stream)

    async def streams(self) -> list[str]:
        """As `Log.streams`."""
        return await asyncio.to_thread(journal_names, self._root)

    def scan(self, stream: str, *, after: int = 0) -> Iterator[Stored]:
        """As `read`, on the calling thread; it also yields what is appended while it runs, and then ends."""
        check_stream(stream)
        with closing(Tail(self._root / stream, stream, after)) as tail:
            while batch := tail.poll():
                yield from batch

    def record_at(self, stream: str, seq: int) -> Stored | None:
        """One record, without reading those before it: as `lookup.record_at`."""
        return record_at(self._root, stream, seq)

    def first(self, stream: str) -> int:
        """The lowest seq that is still there (or will be next): what stood before it was dropped."""
        check_stream(stream)
        directory = self._root / stream
        segments = segment_numbers(directory)
        return position_before(directory, segments[0], stream).seq + 1 if segments else 1

    def low_water(self, stream: str) -> int:
        """Where recovery has to begin: the low water of the newest seal, at least `first`."""
        first = self.first(stream)
        seals = seal_numbers(self._root / stream)
        seal = read_seal(self._root / stream, seals[-1], stream) if seals else None
        return max(first, seal.low_water) if seal else first


async def read_directory(directory: Path, stream: str, after: int, *, until: int | None) -> AsyncIterator[Stored]:
    """Records of one journal after `after`, up to seq `until` (None: for ever)."""
    with closing(Tail(directory, stream, after)) as tail:
        async for stored in _records(tail, stream, after, until):
            yield stored


async def _records(tail: Tail, stream: str, after: int, until: int | None) -> AsyncIterator[Stored]:
    while until is None or after < until:
        batch = await asyncio.to_thread(tail.poll, until)
        for stored in batch:
            yield stored
        if batch:
            after = batch[-1].seq
        elif until is not None:
            raise LogCorrupt(stream, after + 1, "the record is missing")
        else:
            await asyncio.sleep(_POLL_S)


def journal_directories(root: Path) -> list[Path]:
    """Where journals are under `root`, sorted."""
    return sorted({path.parent for suffix in ("seg", "seal") for path in root.rglob(f"*.{suffix}")})


def journal_names(root: Path) -> list[str]:
    """The streams that have a journal with a record in it under `root`, sorted."""
    names = (directory.relative_to(root).as_posix() for directory in journal_directories(root))
    return sorted(name for name in names if last_seq(root / name, name))


def last_seq(directory: Path, stream: str) -> int:
    """The seq of a journal's last whole record; 0 if it has none. Raises: LogCorrupt: that record is damaged."""
    for number in reversed(segment_numbers(directory)):
        line, _, _ = last_line(segment_path(directory, number), stream)
        if line:
            return position_after(directory, number, line, stream).seq
    seals = seal_numbers(directory)
    seal = read_seal(directory, seals[-1], stream) if seals else None
    return seal.last_seq if seal else 0


def drop_sealed(directory: Path, stream: str, *, before_seq: int) -> list[int]:
    """Delete the sealed segments all of whose records lie before `before_seq`; their seals stay and say what is gone.

    The caller vouches that every fold has passed them. Returns: the numbers of the dropped segments.
    """
    dropped = []
    for number in segment_numbers(directory):
        seal = read_seal(directory, number, stream)
        if seal is None or seal.last_seq >= before_seq:
            break
        segment_path(directory, number).unlink()
        dropped.append(number)
    return dropped
