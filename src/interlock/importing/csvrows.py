"""Rows of CSV (RFC 4180, with any one-character delimiter): the first line names the columns.

A row with cells too few or too many costs itself alone. A broken quotation ends the file: after it nobody knows where
a row begins.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from interlock.errors import LocalError
from interlock.importing.lines import LINE_BYTES_MAX, Lines
from interlock.importing.rows import Bad, Row

ROW_BYTES_MAX = 1 << 20
"""Of a row that runs over several lines."""


class Csv:
    """A `Source`."""

    text_cells = True
    unit = "line"

    def __init__(self, lines: Lines, delimiter: str = ",") -> None:
        """Reads the header. Raises: LocalError: there is none, or its names are not distinct. As `Lines`."""
        self.name = lines.name
        self._lines = lines
        self._row_bytes = 0
        self._is_utf8 = True
        self._reader = csv.reader(self._texts(), delimiter=delimiter, strict=True)
        found = self._next()
        if found is None:
            raise LocalError(f"{self.name} is empty: there is no line that names the columns")
        _, header = found
        if not self._is_utf8:
            raise LocalError(f"{self.name}:1: the names of the columns are not UTF-8")
        counts = Counter(header)
        wrong = [name for name in header if not name or counts[name] > 1]
        if wrong:
            hint = "empty" if not wrong[0] else f"{wrong[0]!r} twice"
            raise LocalError(f"{self.name}:1: every column needs a name of its own; there is {hint}")
        self.columns: Sequence[str] = header

    def rows(self) -> Iterator[Row | Bad]:
        columns, width = self.columns, len(self.columns)
        while found := self._next():
            place, cells = found
            if len(cells) != width:
                message = f"the row has {len(cells)} cells, the header {width}"
                yield Bad(place, "invalid_request", message, "row", list(map(_shown, cells)))
            elif not self._is_utf8 and (bad := _not_utf8(columns, cells)):
                shown = dict(zip_longest(columns, map(_shown, cells)))
                yield Bad(place, "invalid_request", "the cell is not UTF-8", bad, shown)
            else:
                yield Row(place, dict(zip(columns, cells, strict=True)))

    def share(self) -> float | None:
        return self._lines.share()

    def close(self) -> None:
        self._lines.close()

    def _next(self) -> tuple[int, list[str]] | None:
        """The next row that is not blank, and the line on which it begins. Raises: LocalError."""
        while True:
            first = self._reader.line_num + 1
            self._row_bytes, self._is_utf8 = 0, True
            try:
                cells = next(self._reader, None)
            except csv.Error as error:
                why = f"{error}; from here on nobody knows where a row begins"
                raise LocalError(f"{self.name}:{first}: the row cannot be read: {why}") from error
            if cells is None:
                return None
            if cells:
                return first, cells

    def _texts(self) -> Iterator[str]:
        for line in self._lines:
            self._row_bytes += len(line.text)
            if not line.whole or self._row_bytes > ROW_BYTES_MAX:
                most = LINE_BYTES_MAX if not line.whole else ROW_BYTES_MAX
                why = "is a quotation not closed?"
                raise LocalError(f"{self.name}:{line.number}: the row is longer than {most} bytes: {why}")
            try:
                yield line.text.decode()
            except UnicodeDecodeError:
                self._is_utf8 = False
                yield line.text.decode("utf-8", "surrogateescape")


def _not_utf8(columns: Sequence[str], cells: Sequence[str]) -> str:
    """The first column whose cell holds bytes that are no UTF-8."""
    for column, cell in zip(columns, cells, strict=True):
        try:
            cell.encode()
        except UnicodeEncodeError:
            return column
    return ""


def _shown(cell: str) -> str:
    return cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
