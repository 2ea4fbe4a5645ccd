"""One record of a journal by its seq, found without reading what stands before it.

Seals say which segment it is in; within the segment its line is looked for by halves, for a line's head says its seq.
The record is checked as any reader checks it, against the chain value of the line before; all before that is not read,
so whether the whole chain holds is for `interlock verify` to say.
"""

import os
from bisect import bisect_left
from contextlib import closing
from pathlib import Path

import msgspec

from interlock.log.check import LogCorrupt, check_stream, decode_head, restore
from interlock.log.lines import LINE_BYTES_MAX, PREFIX_BYTES, parse
from interlock.log.record import Stored
from interlock.log.segments import (
    Position,
    last_line,
    position_after,
    position_before,
    read_seal,
    redacted_in,
    seal_numbers,
    segment_path,
)

_NEAR_BYTES = 64 * 1024
"""From so near on, lines are read one after another."""
_HEAD_BYTES = 8192
_CHUNK_BYTES = 64 * 1024


def record_at(root: Path, stream: str, seq: int) -> Stored | None:
    """The record; an erased one with `payload == b""`. Blocking: some ten reads.

    Args:
        root: of all journals, as `JournalReader`'s.
    Returns: None: it is not there: its segment was dropped, or nothing was written there yet.
    Raises: LogCorrupt: it, or what leads to it, was changed. OSError.
    """
    check_stream(stream)
    directory = root / stream
    found = _segment_of(directory, stream, seq) if seq > 0 else None
    if found is None:
        return None
    number, start = found
    with closing(_Segment(segment_path(directory, number), stream, seq)) as segment:
        if seq == start.seq + 1:
            offset, previous = 0, start.chain
        else:
            offset = segment.near(seq - 1)
            while segment.seq_of(offset) < seq - 1:
                offset += len(segment.line(offset))
            before = segment.line(offset)
            offset, previous = offset + len(before), segment.parsed(before)[0]
        chain, head, payload = segment.parsed(segment.line(offset))
        return restore(stream, seq, previous, head, payload, chain, segment.redacted)


def _segment_of(directory: Path, stream: str, seq: int) -> tuple[int, Position] | None:
    """The number of the segment that holds the record, and where it begins; None: none does."""
    seals = seal_numbers(directory)
    place = bisect_left(seals, seq, key=lambda number: _last_seq(directory, number, stream))
    if place < len(seals):
        number = seals[place]
        there = segment_path(directory, number).exists()
        return (number, position_before(directory, number, stream)) if there else None
    number = seals[-1] + 1 if seals else 1
    start = position_before(directory, number, stream)
    while segment_path(directory, number).exists():  # one that is complete may wait for its seal
        line, _, _ = last_line(segment_path(directory, number), stream)
        end = position_after(directory, number, line, stream) if line else start
        if seq <= end.seq:
            return number, start
        number, start = number + 1, end
    return None


def _last_seq(directory: Path, number: int, stream: str) -> int:
    seal = read_seal(directory, number, stream)
    if seal is None:
        raise LogCorrupt(stream, 0, f"the seal of segment {number} is missing")
    return seal.last_seq


class _Segment:
    """A segment file, read at any place. `seq`: which record is looked for; errors name it."""

    def __init__(self, path: Path, stream: str, seq: int) -> None:
        self._stream = stream
        self._seq = seq
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.redacted = redacted_in(path, stream)

    def close(self) -> None:
        os.close(self._fd)

    def near(self, seq: int) -> int:
        """The offset of a line with at most this seq, the line with it not far behind."""
        low, high = 0, os.fstat(self._fd).st_size  # the line begins at `low` or after, and before `high`
        while high - low > _NEAR_BYTES:
            middle = (low + high) // 2
            start = self._after_newline(middle)
            if start < high and self.seq_of(start) <= seq:
                low = start
            else:
                high = middle + 1
        return low

    def seq_of(self, offset: int) -> int:
        """Of the line that begins there. Raises: LogCorrupt."""
        head = os.pread(self._fd, _HEAD_BYTES, offset)[PREFIX_BYTES + 1 :].partition(b"\t")[0]
        try:
            return decode_head(head).seq
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LogCorrupt(self._stream, self._seq, f"a line on the way to it cannot be read: {error}") from error

    def line(self, offset: int) -> bytes:
        """The line that begins there."""
        return os.pread(self._fd, self._after_newline(offset) - offset, offset)

    def parsed(self, line: bytes) -> tuple[bytes, bytes, bytes]:
        """As `lines.parse`. Raises: LogCorrupt."""
        try:
            return parse(line)
        except ValueError as error:
            raise LogCorrupt(self._stream, self._seq, str(error)) from error

    def _after_newline(self, offset: int) -> int:
        """Where the line ends that holds this byte: after its newline, or at the end of the file."""
        start = offset
        while chunk := os.pread(self._fd, _CHUNK_BYTES, offset):
            at = chunk.find(b"\n")
            if at >= 0:
                return offset + at + 1
            offset += len(chunk)
            if offset - start > LINE_BYTES_MAX:
                raise LogCorrupt(self._stream, self._seq, "no line of a journal is this long")
        return offset
