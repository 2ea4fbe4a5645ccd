"""Where the journals of a directory end on the disk: read, synced, and read again.

A usage journal is synced once a second at most, and a power failure may take what was not. What a checkpoint attests
must outlive that, so each segment is synced here before its end is told, and the end must still stand afterwards: the
owner of a disk that fails takes back what it could not sync. It takes no lock and writes nothing.
"""

import os
from contextlib import closing
from pathlib import Path

from interlock.errors import LocalError, LogUnavailable
from interlock.log.reader import Tail, journal_directories
from interlock.log.segments import (
    Position,
    last_line,
    position_after,
    position_before,
    seal_numbers,
    segment_numbers,
    segment_path,
    sync_directory,
)

Mark = tuple[int, int]
"""Number and size of a journal's newest segment: while it is the same, nothing was appended."""


class Ends:
    """The journals under `root`, but for those left out. For one thread at a time."""

    def __init__(self, root: Path, leave_out: str) -> None:
        self._root = root
        self._leave_out = leave_out
        self._known: dict[str, tuple[Mark, Position]] = {}

    def on_disk(self) -> dict[str, Position]:
        """The last record of each journal that holds one. What did not move since the last time costs a `stat`.

        Raises: LogUnavailable, OSError: it cannot be read or synced now. LogCorrupt: a last record is damaged.
        """
        found = {}
        for directory in journal_directories(self._root):
            stream = directory.relative_to(self._root).as_posix()
            if stream == self._leave_out:
                continue
            mark = _mark(directory)
            known = self._known.get(stream)
            if known is None or known[0] != mark:
                known = (mark, _synced_end(directory, stream, known[0][0] if known else 1))
                self._known[stream] = known
            if known[1].seq:
                found[stream] = known[1]
        return found

    def chain_at(self, stream: str, seq: int) -> bytes | None:
        """The chain value after a record; None: there is no such record, or it was dropped. Raises: LogCorrupt."""
        with closing(Tail(self._root / stream, stream, seq - 1)) as tail:
            try:
                found = tail.poll(seq)
            except LocalError:  # not_found
                return None
        return found[0].chain if found else None


def _mark(directory: Path) -> Mark:
    numbers = segment_numbers(directory)
    return (numbers[-1], segment_path(directory, numbers[-1]).stat().st_size) if numbers else (0, 0)


def _synced_end(directory: Path, stream: str, synced_from: int) -> Position:
    """Sync the segments from `synced_from` on (those before were synced when whole), and say where they end."""
    numbers = segment_numbers(directory)
    for number in numbers[:-1]:
        if number >= synced_from:
            _sync(segment_path(directory, number))
    sync_directory(directory)
    if not numbers:
        return _last(directory, stream, numbers)[0]
    newest = os.open(segment_path(directory, numbers[-1]), os.O_RDONLY | os.O_CLOEXEC)
    try:
        position, place = _last(directory, stream, numbers)
        os.fdatasync(newest)
        if place is not None and place[0] == numbers[-1]:
            _, offset, line = place
            if os.pread(newest, len(line), offset) != line:
                raise LogUnavailable(f"the end of {stream} was taken back while it was synced")
    finally:
        os.close(newest)
    return position


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def _last(directory: Path, stream: str, numbers: list[int]) -> tuple[Position, tuple[int, int, bytes] | None]:
    """The last record, and its segment, offset and line; none of these if segments are empty: a seal says it then."""
    for number in reversed(numbers):
        line, end, _ = last_line(segment_path(directory, number), stream)
        if line:
            return position_after(directory, number, line, stream), (number, end - len(line), line)
    if numbers:
        return position_before(directory, numbers[0], stream), None
    return position_before(directory, seal_numbers(directory)[-1] + 1, stream), None  # every segment was dropped
