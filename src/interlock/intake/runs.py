"""A run: the keys of counted events, sorted, in one file that is written once and searched by whole batches.

    header    4096 bytes: JSON, padded with spaces: {"format":1,"count":…,"words":…}
    high, low, content (high and low), seq    arrays of `count` uint64, little-endian
    filter    `words` uint64: a Bloom filter in which all four bits of a key stand in one word

A batch costs a few array operations, whatever the size of the run: nearly all keys that are not there end at the
filter, one read each; the others are found by bisection. Pages are the kernel's, not this process's. A run holds no
decision, and is a view: it can be made again from the log.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from interlock.errors import TransientError

FORMAT = 1
KEYS_A_WORD = 4
"""At most, on average: of 64 bits a quarter is set, so one absent key in 250 gets past the filter."""
CHUNK = 1 << 20
"""Keys merged at a time: some 200 MB of arrays at most."""

_HEADER_BYTES = 4096
_COLUMNS = 5
Words = npt.NDArray[np.uint64]


class Header(msgspec.Struct, frozen=True):
    """What the file begins with."""

    format: int
    count: int
    words: int


class Columns(msgspec.Struct, frozen=True):
    """Keys with what is known of each; arrays of one length."""

    high: Words
    low: Words
    content_high: Words
    content_low: Words
    seq: Words

    def arrays(self) -> tuple[Words, ...]:
        """In the order of the file."""
        return (self.high, self.low, self.content_high, self.content_low, self.seq)

    def taken(self, order: npt.NDArray[np.intp] | slice) -> "Columns":
        """Those at these places."""
        return Columns(*(array[order] for array in self.arrays()))


def columns_of(keys: Sequence[bytes], contents: Sequence[bytes], seqs: Sequence[int]) -> Columns:
    """Keys and contents of 16 bytes each, in any order."""
    key = np.frombuffer(b"".join(keys), dtype=">u8").reshape(-1, 2).astype(np.uint64)
    content = np.frombuffer(b"".join(contents), dtype=">u8").reshape(-1, 2).astype(np.uint64)
    seq = np.fromiter(seqs, dtype=np.uint64, count=len(keys))
    return Columns(key[:, 0].copy(), key[:, 1].copy(), content[:, 0].copy(), content[:, 1].copy(), seq)


class Run:
    """One file, mapped."""

    def __init__(self, path: Path) -> None:
        """Raises: TransientError `view_unavailable`: it is not a whole run. OSError."""
        self.path = path
        try:
            with path.open("rb") as file:
                head = file.read(_HEADER_BYTES)
        except FileNotFoundError as error:
            raise _broken(path, "it is missing") from error
        try:
            header = msgspec.json.decode(head.rstrip(b" "), type=Header)
        except msgspec.DecodeError as error:
            raise _broken(path, "its header cannot be read") from error
        size = _HEADER_BYTES + 8 * (_COLUMNS * header.count + header.words)
        if header.format != FORMAT or header.count < 1 or header.words < 1 or path.stat().st_size != size:
            raise _broken(path, f"it is not a whole run of format {FORMAT}")
        self.count = header.count
        words: Any = np.memmap(path, dtype="<u8", mode="r", offset=_HEADER_BYTES)
        parts = [words[i * header.count : (i + 1) * header.count] for i in range(_COLUMNS)]
        self.columns = Columns(*parts)
        self._filter: Words = words[_COLUMNS * header.count :]

    def find(self, high: Words, low: Words) -> tuple[npt.NDArray[np.intp], Columns]:
        """(places in the batch of those that are here, what is known of them)."""
        word, bits = _bloom(high, low, len(self._filter))
        maybe = np.flatnonzero((self._filter[word] & bits) == bits)
        at = np.searchsorted(self.columns.high, high[maybe])
        found_in, found_at = [maybe[:0]], [at[:0]]
        while len(maybe):  # keys with the same high half stand side by side: once, as a rule
            inside = at < self.count
            maybe, at = maybe[inside], at[inside]
            same = self.columns.high[at] == high[maybe]
            maybe, at = maybe[same], at[same]
            hit = self.columns.low[at] == low[maybe]
            found_in.append(maybe[hit])
            found_at.append(at[hit])
            maybe, at = maybe[~hit], at[~hit] + 1
        return np.concatenate(found_in), self.columns.taken(np.concatenate(found_at))

    def between(self, start: int, end: int) -> Columns:
        """The keys whose high half is at least `start` and below `end`, as memory of their own."""
        bounds = np.array([start, min(end, (1 << 64) - 1)], dtype=np.uint64)
        first, last = np.searchsorted(self.columns.high, bounds)
        if end >= 1 << 64:
            last = self.count
        return Columns(*(np.array(array) for array in self.columns.taken(slice(int(first), int(last))).arrays()))


def write_run(path: Path, parts: Iterator[Columns], count: int) -> None:
    """Write `count` keys, each part sorted by (high, low) and the parts in order. The file is on the disk on return.

    Raises: OSError: there is no room, or the disk failed; nothing is left of it.
    """
    words = 1 << max((count - 1) // KEYS_A_WORD, 1).bit_length()
    header = msgspec.json.encode(Header(FORMAT, count, words)).ljust(_HEADER_BYTES)
    beside = path.with_suffix(".new")
    try:
        with beside.open("wb") as file:
            # Room first, and written, not mapped: a page of a file that finds none would end the process.
            os.posix_fallocate(file.fileno(), 0, _HEADER_BYTES + 8 * (_COLUMNS * count + words))
            file.write(header)
            file.flush()
            _write_parts(file.fileno(), parts, count, words)
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _write_parts(fd: int, parts: Iterator[Columns], count: int, words: int) -> None:
    """All after the header. Keys come in order, and the filter's words go by their high bits: so they do, too."""
    filled, last, carried = 0, 0, np.uint64(0)  # the last word so far, which the next part may share
    for part in parts:
        size = len(part.high)
        if not size:
            continue
        for index, array in enumerate(part.arrays()):
            _write_at(fd, index * count + filled, array)
        word, bits = _bloom(part.high, part.low, words)
        first = int(word[0])
        bloom = np.zeros(int(word[-1]) - first + 1, dtype=np.uint64)
        np.bitwise_or.at(bloom, word - np.uint64(first), bits)
        if filled and first == last:
            bloom[0] |= carried
        _write_at(fd, _COLUMNS * count + first, bloom)
        filled, last, carried = filled + size, int(word[-1]), bloom[-1]
    assert filled == count, (filled, count)


def _write_at(fd: int, place: int, array: Words) -> None:
    data = memoryview(np.ascontiguousarray(array, dtype="<u8").tobytes())
    at = _HEADER_BYTES + 8 * place
    while data:
        written = os.pwrite(fd, data, at)
        data, at = data[written:], at + written


def merged(runs: Sequence[Run]) -> Iterator[Columns]:
    """All keys of the runs in order, some `CHUNK` at a time."""
    chunks = -(-sum(run.count for run in runs) // CHUNK)
    step = -(-(1 << 64) // chunks)
    for number in range(chunks):
        parts = [run.between(number * step, (number + 1) * step) for run in runs]
        yield ordered(Columns(*(np.concatenate(arrays) for arrays in zip(*(p.arrays() for p in parts), strict=True))))


def ordered(columns: Columns) -> Columns:
    """By (high, low)."""
    return columns.taken(np.lexsort((columns.low, columns.high)))


def _bloom(high: Words, low: Words, words: int) -> tuple[Words, Words]:
    """The filter's word for each key, and its four bits there. `words`: a power of two."""
    one, six = np.uint64(1), np.uint64(63)
    bits = one << (low & six)
    for shift in (6, 12, 18):
        bits |= one << ((low >> np.uint64(shift)) & six)
    return high >> np.uint64(65 - words.bit_length()), bits


def _broken(path: Path, why: str) -> TransientError:
    return TransientError(f"{path.name}: {why}; delete the index, and it is made again", code="view_unavailable")
