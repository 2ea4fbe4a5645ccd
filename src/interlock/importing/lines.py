"""Lines of a file of text: bounded, gzip or not, from a path or from standard input."""

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from interlock.errors import LocalError

LINE_BYTES_MAX = 512 * 1024
"""What the server parses of one event at most."""
STDIN = "-"
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_BOMS_16 = (b"\xff\xfe", b"\xfe\xff")


class Line(NamedTuple):
    """A line with its end, if it has one; `whole` is False where more than `LINE_BYTES_MAX` were left out."""

    number: int
    text: bytes
    whole: bool


class Lines:
    """One file's lines, read once."""

    def __init__(self, path: str) -> None:
        """`path`: `-` is standard input. Raises: OSError. LocalError: it is no text that can be read."""
        self.name = "standard input" if path == STDIN else path
        self._opened: BinaryIO = sys.stdin.buffer if path == STDIN else Path(path).open("rb")  # noqa: SIM115 - closed by `close`
        self._size = _size(self._opened)
        # Its own buffer, so that what is read ahead can be looked at whatever the input is.
        self._file = self._opened if isinstance(self._opened, io.BufferedReader) else io.BufferedReader(self._opened)  # type: ignore[type-var]  # standard input's type says less than it is
        start = self._file.peek(2)[:2]
        self._text: BinaryIO = gzip.GzipFile(fileobj=self._file, mode="rb") if start == _GZIP else self._file  # type: ignore[assignment]  # GzipFile reads as a BinaryIO does
        self.number = 0
        """Of the line read last."""

    def __iter__(self) -> Iterator[Line]:
        while text := self._read(LINE_BYTES_MAX + 1):
            self.number += 1
            whole = len(text) <= LINE_BYTES_MAX or text.endswith(b"\n")
            if self.number == 1:
                if text.startswith(_BOMS_16):
                    raise LocalError(f"{self.name} is UTF-16: save it as UTF-8")
                text = text.removeprefix(_BOM)
            yield Line(self.number, text, whole)
            while not whole:
                rest = self._read(LINE_BYTES_MAX)
                whole = not rest or rest.endswith(b"\n")

    def share(self) -> float | None:
        """As `Source.share`: of the bytes on the disk."""
        return min(self._file.tell() / self._size, 1.0) if self._size else None

    def close(self) -> None:
        """Give it back; standard input is not ours."""
        if self._opened is not sys.stdin.buffer:
            self._opened.close()

    def _read(self, most: int) -> bytes:
        try:
            return self._text.readline(most)
        except EOFError as error:
            raise LocalError(f"{self.name}:{self.number + 1}: the compressed file was cut short here") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise LocalError(f"{self.name}:{self.number + 1}: the compressed file is damaged: {error}") from error


def _size(file: BinaryIO) -> int:
    """Bytes; 0: it is no plain file."""
    try:
        return os.fstat(file.fileno()).st_size
    except (OSError, io.UnsupportedOperation):
        return 0
