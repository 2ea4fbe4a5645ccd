"""Journals, read by another process while their owners write them.

Takes no lock and writes nothing. A last line that is not complete yet is waited for. What lies before `after` is
skipped by its seals, not read; the chain is checked from the start of the segment in which reading begins.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

from interlock.errors import LocalError
from interlock.log.check import LogCorrupt, check_stream
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


class Tail:
    """The records of one journal after a seq, a batch at a time, across its segments. Blocking.

    Raises: LocalError `not_found` (from `poll`): records after `after` were dropped.
    """

    def __init__(self, directory: Path, stream: str, after: int) -> None:
        self._directory = directory
        self._stream = stream
        self._after = after
        self._number = 0
        self._lock = threading.Lock()  # protects the open file: a cancelled read closes it while its thread still reads
        self._reader: SegmentReader | None = None

    def close(self) -> None:
        """Waits for a `poll` on another thread to end."""
        with self._lock:
            if self._reader:
                self._reader.close()

    def poll(self) -> list[Stored]:
        """The next records; none if there are none yet. Raises: LogCorrupt."""
        with self._lock:
            return self._poll()

    def _poll(self) -> list[Stored]:
        while True:
            if self._reader is None and not self._open():
                return []
            assert self._reader is not None
            # Looked for before reading: once a successor stands, nothing is written to this segment any more.
            successor = segment_path(self._directory, self._number + 1).exists()
            if batch := self._reader.poll():
                if fresh := [stored for stored in batch if stored.seq > self._after]:
                    return fresh
            elif successor:
                self._advance()
            else:
                return []

    def _open(self) -> bool:
        """Choose the segment in which the record after `after` stands or will stand."""
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

    async def read(self, stream: str, *, after: int = 0) -> AsyncIterator[Stored]:
        """As `Log.read`. Raises also: LocalError `not_found`: some of those records were dropped."""
        head = await self.head(stream)
        async for stored in read_directory(self._root / stream, stream, after, until=head):
            yield stored

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
        while until is None or after < until:
            batch = await asyncio.to_thread(tail.poll)
            for stored in batch:
                if until is not None and stored.seq > until:
                    return
                yield stored
                after = stored.seq
            if not batch:
                if until is not None:
                    raise LogCorrupt(stream, after + 1, "the record is missing")
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
