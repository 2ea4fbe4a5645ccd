"""The end of a journal's newest segment: lines go on, or nothing does.

After a failed write the file is cut back to the last whole line, so the lines that fitted stand and the others never
happened. What stood is not taken back: a reader may have seen it. Policy (when, what first) is the journal's.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from interlock.log.lines import Entry, chain_of, encode_lines
from interlock.log.recovery import Recovered
from interlock.log.segments import segment_path, sync_directory


class Appender:
    """Writes lines at `seq` + 1 and continues the chain. Raises OSError as it comes."""

    def __init__(self, directory: Path, recovered: Recovered, *, sync_each: bool, durable: bool) -> None:
        self._directory = directory
        self._sync_each = sync_each
        self._durable = durable
        self.number = recovered.number
        self.size_bytes = recovered.size_bytes
        self.written_bytes = 0
        """Of lines that stand, since this was made; over all segments."""
        self.seq = recovered.position.seq
        self.chain = recovered.position.chain
        self._torn = False  # bytes of a failed write stand after size_bytes: they go before anything else is written
        self.fd = self._open(self.number)

    def write(self, entries: Sequence[Entry]) -> tuple[int, OSError | None]:
        """One `write()`. Returns: how many of them stand, and why not all."""
        lines = encode_lines(entries, self.seq, self.chain)
        data = b"".join(lines)
        try:
            self.mend()
            written = os.write(self.fd, data)
            if written == len(data):
                if self._sync_each:
                    os.fdatasync(self.fd)
                self._stand(lines)
                return len(lines), None
        except OSError as error:
            self._cut()
            return 0, error
        whole = lines[: _whole(lines, written)]
        try:
            if self._sync_each and whole:
                os.fdatasync(self.fd)
        except OSError as error:
            self._cut()
            return 0, error
        self._stand(whole)
        self._cut()
        return len(whole), OSError(f"{written} of {len(data)} bytes could be written")

    def mend(self) -> None:
        """Remove what a failed write left behind, if it is still there."""
        if self._torn:
            os.ftruncate(self.fd, self.size_bytes)
            self._torn = False

    def next_segment(self) -> int:
        """Go on in a new file. Returns: the old one's descriptor, which is the caller's to close."""
        fd, old = self._open(self.number + 1), self.fd
        self.fd, self.number, self.size_bytes = fd, self.number + 1, 0
        return old

    def _stand(self, lines: list[bytes]) -> None:
        if lines:
            self.seq += len(lines)
            size = sum(map(len, lines))
            self.size_bytes += size
            self.written_bytes += size
            self.chain = chain_of(lines[-1])

    def _cut(self) -> None:
        self._torn = True
        try:
            self.mend()
        except OSError:
            return  # tried again before the next write, and by the next owner: it holds no newline, so it is no record

    def _open(self, number: int) -> int:
        path = segment_path(self._directory, number)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if self._durable:
                sync_directory(self._directory)
        except OSError:
            if os.fstat(fd).st_size == 0:
                path.unlink()  # where a successor stands, readers take it that the segment before it is complete
            os.close(fd)
            raise
        return fd


def _whole(lines: list[bytes], written: int) -> int:
    """How many of the lines fit in `written` bytes."""
    count = 0
    for line in lines:
        written -= len(line)
        if written < 0:
            break
        count += 1
    return count
