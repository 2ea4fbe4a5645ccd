"""What the owner of a journal does to its files before it writes: finish what a crash cut short.

Bounded: it reads the end of the newest segment, not the history. So a changed record further back is not noticed here;
that is the readers' and `verify`'s work. It is for the holder of the lock only.
"""

import hashlib
import mmap
import os
from pathlib import Path

import msgspec

from interlock.log.check import LogCorrupt, decode_head
from interlock.log.lines import overruns, parse
from interlock.log.segments import (
    OPENED,
    Opened,
    Position,
    Seal,
    damage_in,
    last_line,
    position_after,
    position_before,
    read_seal,
    seal_numbers,
    seal_path,
    segment_numbers,
    segment_path,
    write_seal,
)


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """Where the next record goes."""

    number: int
    """Of the segment to write; its file may not exist yet."""
    size_bytes: int
    position: Position
    epoch: int
    """Of the last owner; 0 if there was none."""
    cut_bytes: int
    """Length of the torn last line that was removed."""


def recover(directory: Path, stream: str, *, durable: bool) -> Recovered:
    """Seal what was complete, cut a torn last line, and say where to go on.

    Torn is what follows the last newline: a record's line holds none, so a line that ends in one was written in full.
    Raises: LogCorrupt: the last whole line is not what was written; nobody may continue this chain.
    """
    seal_complete(directory, stream, durable=durable)
    seals, segments = seal_numbers(directory), segment_numbers(directory)
    sealed = read_seal(directory, seals[-1], stream) if seals else None
    number = max(seals[-1] + 1 if seals else 1, segments[-1] if segments else 1)
    start = position_before(directory, number, stream)
    path, epoch = segment_path(directory, number), sealed.epoch if sealed else 0
    if not path.exists():
        return Recovered(number=number, size_bytes=0, position=start, epoch=epoch, cut_bytes=0)
    line, size, rest = last_line(path, stream)
    if overruns(rest):
        raise damage_in(directory, number, stream)
    position = position_after(directory, number, line, stream) if line else start
    if rest:
        os.truncate(path, size)
    epoch = max(epoch, _last_epoch(path))
    return Recovered(number=number, size_bytes=size, position=position, epoch=epoch, cut_bytes=len(rest))


def seal_complete(directory: Path, stream: str, *, durable: bool, low_water: int | None = None) -> None:
    """Seal every segment that has a successor and no seal. Repeating it is harmless.

    `low_water` None (after a crash: nobody knows): that of the seal before it, which can only be too low.
    """
    for number in segment_numbers(directory)[:-1]:
        if not seal_path(directory, number).exists():
            write_seal(directory, number, _seal_of(directory, number, stream, low_water), durable=durable)


def _seal_of(directory: Path, number: int, stream: str, low_water: int | None) -> Seal:
    path, start = segment_path(directory, number), position_before(directory, number, stream)
    before = read_seal(directory, number - 1, stream)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    line, size, rest = last_line(path, stream)
    if rest:
        raise LogCorrupt(stream, start.seq, f"segment {number} ends within a line, but another follows it")
    end = position_after(directory, number, line, stream)
    return Seal(
        stream=stream,
        first_seq=start.seq + 1,
        last_seq=end.seq,
        chain_before=start.chain.hex(),
        chain=end.chain.hex(),
        sha256=digest,
        bytes=size,
        low_water=low_water if low_water is not None else before.low_water if before else 1,
        epoch=max(before.epoch if before else 0, _last_epoch(path)),
    )


def _last_epoch(path: Path) -> int:
    """The epoch of the last `journal.opened` in a segment, 0 if it holds none. A search in C, not a reading."""
    if not path.stat().st_size:
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        at = len(text)
        while (at := text.rfind(b'"type":"%b"' % OPENED.encode(), 0, at)) >= 0:
            line = text[text.rfind(b"\n", 0, at) + 1 : text.find(b"\n", at) + 1]
            if (epoch := _epoch_of(line)) is not None:
                return epoch
    return 0


def _epoch_of(line: bytes) -> int | None:
    try:
        _, head, payload = parse(line)
        return msgspec.json.decode(payload, type=Opened).epoch if decode_head(head).type == OPENED else None
    except (ValueError, msgspec.DecodeError):  # the words stood in another record's payload, or in a damaged line
        return None
