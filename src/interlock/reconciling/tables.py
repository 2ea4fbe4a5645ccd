"""Files of exports: bounded, gzip or not, JSON pages, CSV and Parquet as rows of columns.

It knows no provider. A number in a CSV file stays text; in Parquet a DECIMAL comes exact, a DOUBLE as the shortest
decimal that names it, which is what was written.
"""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from interlock import strictjson
from interlock.errors import LocalError
from interlock.importing.lines import Lines
from interlock.reconciling.statement import File

JSON_BYTES_MAX = 64 << 20
"""Of one file of pages, uncompressed: more than a year by the hour."""
TABLE_BYTES_MAX = 2 << 30
"""Of one table's text, uncompressed: it is streamed. A cost and usage report of a large account."""
ROWS_MAX = 20_000_000
COLUMNS_MAX = 2_000
_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"


class Row(NamedTuple):
    """One row of a table."""

    place: str
    cells: dict[str, Any]
    """By column; text, or of Parquet a number, None."""


def describe(path: Path) -> File:
    """Its name, hash and size. Raises: OSError."""
    digest, size = sha256(), 0
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            digest.update(part)
            size += len(part)
    return File(name=path.name[:200], sha256=digest.hexdigest(), size=size)


def kind_of(path: Path) -> str:
    """`json`, `parquet` or `table`, by what the file begins with. Raises: OSError. LocalError: it is empty."""
    with path.open("rb") as file:
        start = file.read(4096)
        if start[:4] == _PARQUET:
            return "parquet"
        if start[:2] == _GZIP:
            file.seek(0)
            start = _unzipped(path, file, 4096, whole=False)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise LocalError(f"{path.name} is empty", field="file")
    return "json" if text[:1] in b"[{" else "table"


def documents(path: Path) -> list[tuple[str, Any]]:
    """The JSON documents of a file with their places: one, or one a line. Numbers that are not whole are `Decimal`.

    Raises: OSError. LocalError: not JSON, too large, or damaged.
    """
    data = _whole(path)
    try:
        return [("", strictjson.loads(data, what=path.name, exact=True))]
    except LocalError as error:
        lines = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
        if error.code != "invalid_json" or len(lines) < 2 or not lines[1][1].lstrip().startswith(b"{"):
            raise
        return [
            (f"line {number} ", strictjson.loads(line, what=f"{path.name} line {number}", exact=True))
            for number, line in lines
        ]


def table(path: Path, wanted: Callable[[str], bool]) -> tuple[Sequence[str], Iterator[Row]]:
    """A CSV (also with tabs or semicolons) or Parquet file: its columns and its rows, once.

    Args:
        wanted: which columns are read at all, where the format can leave the others.
    Raises (also while rows are taken): OSError. LocalError: the row and column that are wrong are named.
    """
    if kind_of(path) == "parquet":
        return _parquet(path, wanted)
    rows = _cells(path)
    header = next(rows, None)
    if header is None:
        raise LocalError(f"{path.name} is empty", field="file")
    columns = [name.strip() for name in header[1]]
    if len(columns) > COLUMNS_MAX:
        raise LocalError(f"{path.name}: the first row has more than {COLUMNS_MAX} columns", field="file")
    double = next((name for name in columns if columns.count(name) > 1), None)
    if double is not None:
        raise LocalError(f"{path.name}: the first row names column {double[:100]!r} twice", field="file")
    return columns, _rows(path, columns, rows)


def _rows(path: Path, columns: Sequence[str], rows: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    for number, (line, cells) in enumerate(rows, 1):
        if number > ROWS_MAX:
            raise LocalError(f"{path.name} has more than {ROWS_MAX} rows: take a shorter time", field="file")
        if len(cells) != len(columns):
            raise LocalError(
                f"{path.name} line {line}: it has {len(cells)} cells, and the first row names {len(columns)}",
                field=f"line {line}",
            )
        yield Row(f"line {line}", dict(zip(columns, cells, strict=True)))


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows of cells with the line each begins on, empty ones left out."""
    lines = Lines(str(path))
    try:
        texts = _texts(path, lines)
        first = next(texts, "")
        delimiter = max(",\t;", key=first.count)

        def every() -> Iterator[str]:
            yield first
            yield from texts

        reader, begins = csv.reader(every(), delimiter=delimiter, strict=True), 1
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise LocalError(f"{path.name} line {begins}: {error}", field=f"line {begins}") from error
            if cells:
                yield begins, cells
            begins = reader.line_num + 1
    finally:
        lines.close()


def _texts(path: Path, lines: Lines) -> Iterator[str]:
    size = 0
    for line in lines:
        size += len(line.text)
        if not line.whole or size > TABLE_BYTES_MAX:
            what = "is too long" if not line.whole else f"comes after {TABLE_BYTES_MAX} bytes, more than is read"
            raise LocalError(f"{path.name} line {line.number} {what}", field="file")
        try:
            yield line.text.decode()
        except UnicodeDecodeError as error:
            raise LocalError(f"{path.name} line {line.number} is not UTF-8: {error}", field="file") from error


def _parquet(path: Path, wanted: Callable[[str], bool]) -> tuple[Sequence[str], Iterator[Row]]:
    from interlock.importing.parquet import Parquet

    file = Parquet(str(path), lambda columns: ([name for name in columns if wanted(name)], []))

    def rows() -> Iterator[Row]:
        try:
            for row in file.rows():
                if row.place > ROWS_MAX:
                    raise LocalError(f"{path.name} has more than {ROWS_MAX} rows: take a shorter time", field="file")
                yield Row(f"row {row.place}", row.cells)
        finally:
            file.close()

    return file.columns, rows()


def _whole(path: Path) -> bytes:
    with path.open("rb") as file:
        if file.read(2) == _GZIP:
            file.seek(0)
            return _unzipped(path, file, JSON_BYTES_MAX, whole=True)
        file.seek(0)
        data = file.read(JSON_BYTES_MAX + 1)
    if len(data) > JSON_BYTES_MAX:
        raise _too_large(path)
    return data


def _unzipped(path: Path, file: BinaryIO, most: int, *, whole: bool) -> bytes:
    """At most `most` bytes of the content. Raises: LocalError: damaged, or (`whole`) there are more."""
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as text:
            data = text.read(most + whole)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LocalError(f"{path.name}: the compressed file is damaged or cut short: {error}", field="file") from error
    if whole and len(data) > most:
        raise _too_large(path)
    return data


def _too_large(path: Path) -> LocalError:
    return LocalError(f"{path.name} holds more than {JSON_BYTES_MAX} bytes: take a shorter time", field="file")
