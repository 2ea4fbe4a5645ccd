"""Lines of JSON: CloudEvents, which go as they are, or plain objects, which are rows."""

from collections.abc import Iterator, Sequence
from itertools import chain

from interlock.errors import LocalError
from interlock.importing.lines import LINE_BYTES_MAX, Line, Lines
from interlock.importing.rows import Bad, Ready, Row
from interlock.strictjson import loads


class Ndjson:
    """A `Source`. Its columns are those of its first row; later ones may have others."""

    text_cells = False
    unit = "line"

    def __init__(self, lines: Lines) -> None:
        """Reads up to the first line that is not blank. Raises: as `Lines`."""
        self.name = lines.name
        self._lines = lines
        self._read = (read(line) for line in lines if not (line.whole and line.text.isspace()))
        self._first = next(self._read, None)
        self.columns: Sequence[str] | None = list(self._first.cells) if isinstance(self._first, Row) else None

    def rows(self) -> Iterator[Row | Ready | Bad]:
        return self._read if self._first is None else chain([self._first], self._read)

    def share(self) -> float | None:
        return self._lines.share()

    def close(self) -> None:
        self._lines.close()


def read(line: Line) -> Row | Ready | Bad:
    """What one line is."""
    text = line.text.strip(b" \t\r\n")
    if not line.whole:
        message = f"the line is longer than {LINE_BYTES_MAX} bytes"
        return Bad(line.number, "body_too_large", message, "line", _shown(text))
    try:
        document = loads(text, what="line", exact=True)
    except LocalError as error:
        return Bad(line.number, error.code, error.message, "line", _shown(text))
    if type(document) is not dict:
        return Bad(line.number, "invalid_request", "the line is not a JSON object", "line", _shown(text))
    return Ready(line.number, text) if "specversion" in document else Row(line.number, document)


def _shown(text: bytes) -> str:
    return text[:LINE_BYTES_MAX].decode("utf-8", "backslashreplace")
