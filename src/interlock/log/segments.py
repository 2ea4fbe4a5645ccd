"""The files of one journal: numbered segments, and a seal beside each one that is complete.

    NNNNNNNN.seg     lines (interlock.log.lines); the highest number is the one being written
    NNNNNNNN.seal    JSON: what the segment holds and how it hangs in the chain; it outlives a dropped segment
    NNNNNNNN.new     a segment that is being written in another's place (redaction.py)
    lock             held with flock by the owner
    reserve          preallocated room (interlock.log.reserve)

A reader here only reads; sealing and dropping are the owner's. Nothing here knows about event loops.
"""

import hashlib
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec

from interlock.log.check import LogCorrupt, Redacted, decode_head, restore
from interlock.log.lines import LINE_BYTES_MAX, chain_of, overruns, parse
from interlock.log.record import Stored, chain_start

OPENED = "journal.opened"
"""Type of the record that each owner writes first."""

_TAIL = 32 * 1024  # holds the last line of nearly every segment; it is looked for at each poll
_CHUNK_MIN = 4096
_CHUNK = 256 * 1024  # some 300 ordinary records: a few milliseconds of work between two looks at the event loop


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """What a complete segment holds."""

    stream: str
    first_seq: int
    last_seq: int
    chain_before: str
    """Hex: the chain value before `first_seq`, so that the segment can be verified when all before it are gone."""
    chain: str
    """Hex: the chain value after `last_seq`."""
    sha256: str
    """Hex, of the file."""
    bytes: int
    low_water: int
    """The lowest seq that recovery still needed when this was sealed."""
    epoch: int
    """The highest epoch of an owner so far."""
    check: str = ""
    """Hex SHA-256 of this seal with `check` empty."""


class RedactedSeal(Seal, frozen=True, kw_only=True):
    """Of a segment some of whose payloads were put in place of others (redaction.py)."""

    redacted: dict[str, str]
    """By seq, hex SHA-256 of the payload that stands there."""
    was_sha256: str
    """Hex, of the file before: until it is renamed, the old one is there beside this seal."""


class Opened(msgspec.Struct, frozen=True):
    """Payload of `journal.opened`."""

    epoch: int
    pid: int


def segment_path(directory: Path, number: int) -> Path:
    """Of segment `number`, counted from 1."""
    return directory / f"{number:08d}.seg"


def seal_path(directory: Path, number: int) -> Path:
    """Of the seal of segment `number`."""
    return directory / f"{number:08d}.seal"


def segment_numbers(directory: Path) -> list[int]:
    """Of the segments that are there, ascending."""
    return _numbers(directory, ".seg")


def seal_numbers(directory: Path) -> list[int]:
    """Of the seals that are there, ascending; those without a segment belong to dropped ones."""
    return _numbers(directory, ".seal")


def _numbers(directory: Path, suffix: str) -> list[int]:
    try:
        names = [path.name for path in directory.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    stems = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
    return sorted(int(stem) for stem in stems if len(stem) == 8 and stem.isascii() and stem.isdigit())


def read_seal(directory: Path, number: int, stream: str) -> Seal | None:
    """The seal; None if the segment is not sealed.

    Raises: LogCorrupt: it is not, byte for byte, a seal of this stream.
    """
    try:
        text = seal_path(directory, number).read_bytes()
    except FileNotFoundError:
        return None
    try:
        seal = msgspec.json.decode(text, type=RedactedSeal if b'"redacted":' in text else Seal)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LogCorrupt(stream, 0, f"the seal of segment {number} cannot be read: {error}") from error
    if seal.stream != stream or text != _encode(seal):
        raise LogCorrupt(stream, 0, f"the seal of segment {number} was changed")
    return seal


def write_seal(directory: Path, number: int, seal: Seal, *, durable: bool) -> None:
    """Write it whole or not at all; synced if `durable`."""
    final = seal_path(directory, number)
    temporary = final.with_suffix(".seal-new")
    with temporary.open("wb") as file:
        file.write(_encode(seal))
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(final)
    if durable:
        sync_directory(directory)


def _encode(seal: Seal) -> bytes:
    bare = msgspec.structs.replace(seal, check="")
    check = hashlib.sha256(msgspec.json.encode(bare)).hexdigest()
    return msgspec.json.encode(msgspec.structs.replace(bare, check=check)) + b"\n"


def sync_directory(directory: Path) -> None:
    """Make renames and new names in it survive a power loss."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a segment begins: the last seq before it, and the chain value there."""

    seq: int
    chain: bytes


def position_before(directory: Path, number: int, stream: str) -> Position:
    """Where segment `number` begins, from the seal before it or from its own.

    Raises: LogCorrupt: neither is there, and it is not the first.
    """
    if number == 1:
        return Position(seq=0, chain=chain_start(stream))
    if before := read_seal(directory, number - 1, stream):
        return Position(seq=before.last_seq, chain=bytes.fromhex(before.chain))
    if own := read_seal(directory, number, stream):
        return Position(seq=own.first_seq - 1, chain=bytes.fromhex(own.chain_before))
    raise LogCorrupt(stream, 0, f"the seal before segment {number} is missing")


class SegmentReader:
    """Checked records of one segment file, which may still be growing.

    It remembers where the last whole line ended, never the part of a line after it: the owner of a full disk takes
    such a part back and writes another in its place.
    """

    def __init__(self, path: Path, stream: str, start: Position, offset_bytes: int = 0) -> None:
        """
        Args:
            start: what stands before the line at `offset_bytes`.
        """
        self._stream = stream
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._redacted = redacted_in(path, stream)
        self.inode = os.fstat(self._fd).st_ino
        self.seq = start.seq
        self.chain = start.chain
        self.offset_bytes = offset_bytes
        self._chunk = bytearray(_CHUNK_MIN)
        """One for all reads, as large as they need: memory that is asked for anew costs more than what is read."""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def rest_bytes(self) -> int:
        """Bytes after the last whole line read."""
        return os.fstat(self._fd).st_size - self.offset_bytes

    def poll(self, until: int | None = None) -> list[Stored]:
        """The next whole lines, about 256 KiB of them, none after seq `until`; none if there is no whole one yet.

        Raises: LogCorrupt.
        """
        filled, end = self._read()
        if not end and overruns(bytes(self._chunk[:filled])):
            raise LogCorrupt(self._stream, self.seq + 1, "the line does not end where it says")
        if not filled and self.rest_bytes() < 0:
            raise LogCorrupt(self._stream, self.seq, "the file was cut before this record's end")
        records: list[Stored] = []
        start = 0
        while start < end and self.seq != until:
            next_start = self._chunk.index(b"\n", start) + 1
            try:
                records.append(self._take(start, next_start))
            except LogCorrupt:
                if not records:
                    raise
                break  # what holds is handed out first; the next poll begins with the damage
            start = next_start
        return records

    def _read(self) -> tuple[int, int]:
        """How much of the chunk is filled, and where its last whole line ends; 0: there is none. Raises: LogCorrupt."""
        while True:
            filled = os.preadv(self._fd, [self._chunk], self.offset_bytes)
            end = self._chunk.rfind(b"\n", 0, filled) + 1
            if filled < len(self._chunk) or (end and filled >= _CHUNK):
                return filled, end
            if filled > LINE_BYTES_MAX:
                raise LogCorrupt(self._stream, self.seq + 1, "no line of a journal is this long")
            self._chunk = bytearray(2 * filled)

    def _take(self, start: int, end: int) -> Stored:
        try:
            chain, head, payload = parse(self._chunk, start, end)
        except ValueError as error:
            raise LogCorrupt(self._stream, self.seq + 1, str(error)) from error
        stored = restore(self._stream, self.seq + 1, self.chain, head, payload, chain, self._redacted)
        self.seq, self.chain = stored.seq, chain
        self.offset_bytes += end - start
        return stored


def redacted_in(path: Path, stream: str) -> Redacted:
    """What a segment's seal says of its payloads. The seal is read when that is asked, and again when it has changed.

    Raises, when it is called: LogCorrupt: the seal was changed.
    """
    said: Mapping[str, str] = {}
    seen = 0

    def digest_of(seq: int) -> str | None:
        nonlocal said, seen
        sealed = path.with_suffix(".seal")
        try:
            changed = sealed.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if changed != seen:
            seal = read_seal(path.parent, int(path.stem), stream)
            said, seen = seal.redacted if isinstance(seal, RedactedSeal) else {}, changed
        return said.get(str(seq))

    return digest_of


def last_line(path: Path, stream: str) -> tuple[bytes, int, bytes]:
    """The last whole line (empty if there is none), the offset at which it ends, and what follows it.

    Raises: LogCorrupt: more bytes follow it than any line has.
    """
    for looked_at in (_TAIL, 2 * LINE_BYTES_MAX):
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - looked_at))
            tail = file.read(looked_at)
        end = tail.rfind(b"\n") + 1
        begin = tail.rfind(b"\n", 0, max(0, end - 1)) + 1
        if begin or len(tail) == size:
            break
    if len(tail) - end > LINE_BYTES_MAX:
        raise LogCorrupt(stream, 0, f"the end of {path.name} is longer than any line")
    return tail[begin:end], size - (len(tail) - end), tail[end:]


def position_after(directory: Path, number: int, line: bytes, stream: str) -> Position:
    """Where the record after `line`, the last one of segment `number`, would go.

    Raises: LogCorrupt: the line is damaged.
    """
    try:
        _, head, _ = parse(line)
        return Position(seq=decode_head(head).seq, chain=chain_of(line))
    except (ValueError, msgspec.DecodeError) as error:
        raise damage_in(directory, number, stream) from error


def damage_in(directory: Path, number: int, stream: str) -> LogCorrupt:
    """The error that names the damaged record of a segment: it is read from its start."""
    start = position_before(directory, number, stream)
    with closing(SegmentReader(segment_path(directory, number), stream, start)) as reader:
        try:
            while reader.poll():
                pass
        except LogCorrupt as error:
            return error
        return LogCorrupt(stream, reader.seq + 1, "the end of the segment cannot be read")
