"""Which reader a file needs: by its name, or as it is told."""

from typing import Literal

from interlock.errors import LocalError
from interlock.importing.csvrows import Csv
from interlock.importing.lines import STDIN, Lines
from interlock.importing.ndjson import Ndjson
from interlock.importing.parquet import Parquet
from interlock.importing.rows import Needed, Source

Format = Literal["csv", "ndjson", "parquet"]
_ENDINGS: dict[str, Format] = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}


def open_source(path: str, needed: Needed, *, format: Format | None = None, delimiter: str = ",") -> Source:
    """Open a file and read its head.

    Args:
        path: `-` is standard input, which needs a format. What is gzip is seen in its first bytes.
    Raises: OSError. LocalError: its format is not known, or its head is not as that format's.
    """
    kind = format or format_of(path)
    if kind == "parquet":
        return Parquet(path, needed)
    lines = Lines(path)
    try:
        return Csv(lines, delimiter) if kind == "csv" else Ndjson(lines)
    except BaseException:
        lines.close()
        raise


def format_of(path: str) -> Format:
    """By the ending, `.gz` left aside. Raises: LocalError: it says nothing."""
    if path == STDIN:
        raise LocalError("standard input has no name that tells its format: say --format-in", field="--format-in")
    name = path.lower().removesuffix(".gz")
    for ending, kind in _ENDINGS.items():
        if name.endswith(ending):
            return kind
    there = ", ".join(_ENDINGS)
    raise LocalError(f"{path} ends in none of {there} (or these and .gz): say --format-in", field="--format-in")
