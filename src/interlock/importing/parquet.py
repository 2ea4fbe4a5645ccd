"""Rows of a Parquet file, by DuckDB: streamed, one thread, little memory, nothing fetched from anywhere.

Whole numbers, DECIMAL and DOUBLE come as the numbers they are. Times come as text, because that alone keeps
nanoseconds, and says whether there is a zone.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.errors import LocalError
from interlock.importing.lines import STDIN
from interlock.importing.rows import Needed, Row

if TYPE_CHECKING:
    import duckdb

ROWS = 1000
"""Taken from DuckDB at a time."""
_CONFIG: dict[str, Any] = {
    "threads": 1,
    "memory_limit": "512MB",
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_PLAIN = re.compile(
    r"(TINY|SMALL|BIG|HUGE|UTINY|USMALL|UBIG|UHUGE|U)?(INT|INTEGER)|DECIMAL\(\d+,\d+\)|DOUBLE|FLOAT|BOOLEAN|VARCHAR|JSON"
    r"|ENUM\(.*\)"
)
_AS_TEXT = re.compile(r"UUID|DATE|TIME|TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP(_NS)? WITH TIME ZONE")
_NESTED = re.compile(r"STRUCT\(.*\)|MAP\(.*\)|.*\[\d*\]", re.DOTALL)
_NOT_NESTED = re.compile(r"\b(BLOB|BIT|INTERVAL|WITH TIME ZONE|UNION|VARIANT|GEOMETRY|BIGNUM)\b")


class Parquet:
    """A `Source`."""

    text_cells = False
    unit = "row"

    def __init__(self, path: str, needed: Needed) -> None:
        """`needed`: only these columns are read. Raises: OSError. LocalError: it is no Parquet file, or cut short."""
        if path == STDIN:
            raise LocalError("a Parquet file cannot be read from standard input: its directory is at its end")
        import duckdb  # takes as long to import as all of the command line

        self.name = path
        self._file = Path(path).open("rb")  # noqa: SIM115 - closed by `close`
        self._db = duckdb.connect(config=_CONFIG)
        self._db.execute("SET TimeZone = 'UTC'")
        self._done = 0
        # By descriptor: a name may hold what DuckDB takes for a pattern, and another file may take it meanwhile.
        place = f"/proc/self/fd/{self._file.fileno()}"
        try:
            if os.fstat(self._file.fileno()).st_size == 0:
                raise LocalError(f"{path} is empty: it is no Parquet file")
            described = self._ask("DESCRIBE SELECT * FROM read_parquet(?, hive_partitioning = false)", place).fetchall()
            types = {str(row[0]): str(row[1]) for row in described}
            self.columns: Sequence[str] = list(types)
            [(self._rows,)] = self._ask("SELECT num_rows FROM parquet_file_metadata(?)", place).fetchall()
            self._wanted, data = needed(self.columns)
            strange = next((column for column in data if column in types and not _is_read(types[column])), None)
            if strange is not None:
                what = f"column {strange!r} is {types[strange]}, which no event can hold: choose others with --data"
                raise LocalError(f"{path}: {what}", field=strange)
            selected = ", ".join(_selected(column, types[column]) for column in self._wanted) or "1"
            self._query = f"SELECT {selected} FROM read_parquet(?, hive_partitioning = false)"  # noqa: S608 - quoted
            self._place = place
        except BaseException:
            self.close()
            raise

    def rows(self) -> Iterator[Row]:
        result = self._ask(self._query, self._place)
        while True:
            try:
                rows = result.fetchmany(ROWS)
            except (self._errors(), ValueError, OverflowError) as error:  # also a value that Python has no room for
                raise self._damaged(error) from error
            for cells in rows:
                self._done += 1
                yield Row(self._done, dict(zip(self._wanted, cells, strict=False)))
            if not rows:
                return

    def share(self) -> float | None:
        return self._done / self._rows if self._rows else None

    def close(self) -> None:
        self._db.close()
        self._file.close()

    def _ask(self, query: str, place: str) -> "duckdb.DuckDBPyConnection":
        try:
            return self._db.execute(query, [place])
        except self._errors() as error:
            raise self._damaged(error) from error

    def _errors(self) -> type[Exception]:
        import duckdb

        return duckdb.Error

    def _damaged(self, error: Exception) -> LocalError:
        why = re.sub(r"['\"]?/proc/self/fd/\d+['\"]?", "the file", str(error)).splitlines()[0]
        after = f" after row {self._done}" if self._done else ""
        return LocalError(f"{self.name} cannot be read{after}: {why} (cut short, damaged, or no Parquet file?)")


def _is_read(type: str) -> bool:
    """Whether JSON has something for a column of this type."""
    if _NESTED.fullmatch(type):
        return not _NOT_NESTED.search(type)
    return bool(_PLAIN.fullmatch(type) or _AS_TEXT.fullmatch(type))


def _selected(column: str, type: str) -> str:
    """The column as it is asked for: what Python has nothing exact for comes as text."""
    name = '"' + column.replace('"', '""') + '"'
    exact = bool(_PLAIN.fullmatch(type)) or (bool(_NESTED.fullmatch(type)) and _is_read(type))
    return name if exact else f"CAST({name} AS VARCHAR)"
