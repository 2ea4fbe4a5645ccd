"""Rows to Parquet files and Parquet files to fewer, by DuckDB. For the control process: it loads DuckDB and numpy.

Files are sorted by tenant, day and the table's order, in row groups small enough that a question for one tenant reads
one or two of a file. One thread's.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np

from interlock.errors import InterlockError, LocalError, TransientError
from interlock.tables.plan import PART_ROWS_MIN, Output, divide
from interlock.tables.table import Change, Columns, Table, cast, is_integer, literal, quoted, sorted_by, typed

ROW_GROUP_ROWS = 1 << 14
MEMORY_MB = 256
"""Of a merge; beyond, it goes to files in the scratch directory."""

_FORM = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS}"


class Made(NamedTuple):
    """A file in the scratch directory, and what it holds."""

    path: Path
    rows: int
    first_tenant: str
    last_tenant: str
    first_day: str
    last_day: str


class Writer:
    """Of one place."""

    def __init__(self, scratch: Path) -> None:
        """`scratch`: where files are made, and what does not fit into memory stands."""
        self._scratch = scratch
        self._numbers = count(1)
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": 1,
            "memory_limit": f"{MEMORY_MB}MB",
            "temp_directory": str(scratch / "spilled"),
            "pandas_analyze_sample": 0,  # columns of objects are text, always
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        self._connection = duckdb.connect(":memory:", config=config)

    def close(self) -> None:
        """Give memory back."""
        self._connection.close()

    def write(self, table: Table, columns: Columns) -> Made:
        """One file of these rows; `columns` as `Tables.commit`, checked, at least one row.

        Raises: LocalError: a value is not of its column's type. TransientError `view_unavailable`: no room.
        """
        types = dict(table.columns)
        alike = {name: _alike(types[name], values) for name, values in columns.items()}
        alike["day"] = ""  # one column has to say how many rows there are
        arrays = {
            name: _array(name, types[name], values[:1] if alike[name] else values) for name, values in columns.items()
        }
        self._connection.register("rows_in", {name: array for name, array in arrays.items() if not alike[name]})
        try:
            with _failures(table):
                cells = ", ".join(f"{alike[name] or quoted(name)} AS {quoted(name)}" for name in columns)
                return self._copy(table, f"SELECT {typed(table)} FROM (SELECT {cells} FROM rows_in)")
        finally:
            self._connection.unregister("rows_in")

    def load(self, table: Table, paths: Sequence[str], *, merge: bool) -> None:
        """Take these files' rows, merged if the table says how, until `drop`."""
        names = ", ".join(quoted(name) for name, _ in table.columns)
        with _failures(table):
            self._ask(f"CREATE OR REPLACE TEMP VIEW rows AS SELECT {names} FROM {_files(paths)}")
            query = table.merge if merge and table.merge else "SELECT * FROM rows"
            self._ask(f"CREATE OR REPLACE TEMP TABLE merged AS SELECT {cast(table)} FROM ({query})")

    def drop(self) -> None:
        """What was loaded."""
        self._ask("DROP TABLE IF EXISTS merged")

    def outputs(self, table: Table, part: str, tenant: str) -> list[Output]:
        """What the rows that are loaded are to be written to."""
        with _failures(table):
            days = self._ask("SELECT day::VARCHAR, count(*) FROM merged GROUP BY day")
            large: dict[str, list[str]] = {}
            query = "SELECT day::VARCHAR, tenant FROM merged GROUP BY day, tenant HAVING count(*) >= ? ORDER BY ALL"
            for day, name in [] if tenant else self._ask(query, [PART_ROWS_MIN]):
                large.setdefault(day, []).append(name)
        return divide(part, tenant, dict(days), large)

    def write_output(self, table: Table, output: Output) -> Made | None:
        """One file of the rows that are loaded; None: there are none for it."""
        days = ", ".join(f"DATE '{day}'" for day in output.days)
        where, names = f"day IN ({days})", [output.tenant] if output.tenant else list(output.without)
        if names:
            where += f" AND tenant {'' if output.tenant else 'NOT '}IN ({', '.join(map(literal, names))})"
        return self._copy_where(table, where)

    def holds(self, table: Table, paths: Sequence[str], before: date, tenant: str | None) -> bool:
        """Whether there are rows of days before that one (of that tenant) in those files."""
        with _failures(table):
            query = f"SELECT 1 FROM {_files(paths)} WHERE {_before(before, tenant)} LIMIT 1"
            return bool(self._ask(query))

    def split(self, table: Table, before: date, tenant: str | None) -> tuple[Made, Made | None]:
        """Files of such rows among those that are loaded (there are some), and of the others; None: there are none."""
        old = _before(before, tenant)
        made = self._copy_where(table, old)
        assert made is not None
        return made, self._copy_where(table, f"NOT ({old})")

    def rewrite(self, table: Table, path: str, tenant: str, change: Change) -> tuple[int, Made | None]:
        """(how many rows of a file a change is about, the file with them changed). None: there are none."""
        where = f"tenant = {literal(tenant)} AND ({change.where})"
        rows = self._count(table, where, _files([path]))
        if not rows:
            return 0, None
        for name, function in change.functions.items():
            self._connection.create_function(name, function, ["VARCHAR"], "VARCHAR")
        try:
            with _failures(table):
                columns = ", ".join(
                    f"CASE WHEN {where} THEN {change.columns[name]} ELSE {quoted(name)} END AS {quoted(name)}"
                    if name in change.columns
                    else quoted(name)
                    for name, _ in table.columns
                )
                return rows, self._copy(table, f"SELECT {cast(table)} FROM (SELECT {columns} FROM {_files([path])})")
        finally:
            for name in change.functions:
                self._connection.remove_function(name)

    def _count(self, table: Table, where: str, source: str = "merged") -> int:
        with _failures(table):
            [(rows,)] = self._ask(f"SELECT count(*) FROM {source} WHERE {where}")
        return int(rows)

    def _copy_where(self, table: Table, where: str) -> Made | None:
        if not self._count(table, where):
            return None
        with _failures(table):
            return self._copy(table, f"SELECT * FROM merged WHERE {where}")

    def _copy(self, table: Table, query: str) -> Made:
        path = self._scratch / f"{next(self._numbers)}.parquet"
        try:
            self._ask(f"COPY ({query} ORDER BY {sorted_by(table)}) TO {literal(str(path))} ({_FORM})")
            [found] = self._ask(
                "SELECT count(*), min(tenant), max(tenant), min(day)::VARCHAR, max(day)::VARCHAR "
                f"FROM {_files([str(path)])}"
            )
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Made(path, *found)

    def _ask(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All of an answer: a statement is not over before."""
        return self._connection.execute(query, list(values)).fetchall()


@contextmanager
def _failures(table: Table) -> Iterator[None]:
    """DuckDB's errors as ours."""
    try:
        yield
    except (duckdb.IOException, duckdb.OutOfMemoryException, MemoryError) as error:
        raise TransientError(f"table {table.name}: {str(error)[:300]}", code="view_unavailable") from error
    except (duckdb.DataError, duckdb.InvalidInputException) as error:  # a value, or a sum, that its type does not hold
        raise LocalError(f"table {table.name}: {str(error)[:300]}", field=table.name) from error
    except duckdb.Error as error:
        raise InterlockError(f"table {table.name}: {str(error)[:300]}", code="internal") from error


def _array(name: str, type: str, values: Sequence[object]) -> Any:
    """Integers as such; everything else, and integers with None among them, as text that is cast in SQL."""
    if is_integer(type):
        made = np.asarray(values)
        if made.dtype.kind in "iu":
            return made
        if any(value is not None and value.__class__ is not int for value in values):
            raise LocalError(f"{name}: values must be integers", field=name)
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def _alike(type: str, values: Sequence[object]) -> str:
    """The one value that a column has, in SQL; empty: it has several, or one that is no plain text, integer or None.

    Most columns of some tables have one, and reading them costs more than all else.
    """
    first = values[0]
    if first is not values[-1] or values.count(first) < len(values):  # alike are mostly the same object
        return ""
    if first is None:
        return f"NULL::{'BIGINT' if is_integer(type) else 'VARCHAR'}"  # as an array of them is read
    if isinstance(first, str):
        return literal(first) if first.isprintable() else ""
    return str(first) if first.__class__ is int and is_integer(type) else ""


def _files(paths: Sequence[str]) -> str:
    return f"read_parquet([{', '.join(map(literal, paths))}], hive_partitioning = false)"


def _before(day: date, tenant: str | None) -> str:
    return f"day < DATE '{day.isoformat()}'" + ("" if tenant is None else f" AND tenant = {literal(tenant)}")
