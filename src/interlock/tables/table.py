"""What a table is. Pure: it knows types and names, not what the rows mean nor where they stand."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from interlock.errors import LocalError

Columns = Mapping[str, Sequence[object]]
"""One table's rows by column, all of one length."""

DAY_MAX = 2_932_896
"""9999-12-31, as days since 1970: beyond, ISO 8601 does not sort as text."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"})
_PLAIN = _INTEGERS | {"VARCHAR", "BOOLEAN", "DOUBLE", "DATE", "TIMESTAMP"}
_DECIMAL = re.compile(r"DECIMAL\(([1-9]|[12]\d|3[0-8]),(\d|[12]\d|3[0-8])\)")


class Table(NamedTuple):
    """An append-only table, divided by tenant and day."""

    name: str
    """1 to 63 of a-z 0-9 _, a letter first; also the name of its directory."""
    columns: tuple[tuple[str, str], ...]
    """(name, DuckDB's type), with ("tenant", "VARCHAR") and ("day", "DATE") among them. Types: VARCHAR, BOOLEAN,
    integers to 64 bits, DOUBLE, DECIMAL(p,s), DATE, TIMESTAMP. Not HUGEINT: in Parquet it becomes a DOUBLE."""
    order: tuple[str, ...] = ()
    """Columns that a file is sorted by, after tenant and day."""
    merge: str = ""
    """How rows of several files become fewer, in SQL: `SELECT … FROM rows GROUP BY …`, the same columns by name.
    Applied again and again, to any of the table's rows at a time. Empty: rows are kept as they are."""


class Change(NamedTuple):
    """What becomes of certain rows of one tenant, in SQL."""

    where: str
    """Which: about the columns as they stand. No row that it made may be one of them."""
    columns: Mapping[str, str]
    """By each that changes, what it becomes."""
    functions: Mapping[str, Callable[[str], str]] = {}
    """Of one text to another, by the name that they have in `columns`."""


def literal(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


def check_table(table: Table) -> None:
    """Raises: LocalError: it cannot be kept; the field is named."""
    names = [name for name, _ in table.columns]
    bad = [name for name in (table.name, *names) if not _NAME.fullmatch(name)]
    if bad:
        raise LocalError(f"{bad[0]!r} is no name of a table or column: 1 to 63 of a-z 0-9 _", field="name")
    if len(set(names)) != len(names):
        raise LocalError(f"table {table.name}: a column is named twice", field="columns")
    if not {("tenant", "VARCHAR"), ("day", "DATE")} <= set(table.columns):
        raise LocalError(f"table {table.name}: tenant VARCHAR and day DATE must be among the columns", field="columns")
    for name, type in table.columns:
        if type not in _PLAIN and not _DECIMAL.fullmatch(type):
            raise LocalError(f"table {table.name}: {name} has a type that is not kept: {type[:40]}", field="columns")
    if not set(table.order) <= set(names):
        raise LocalError(f"table {table.name}: sorted by a column that it has not", field="order")


def count_rows(table: Table, columns: Columns) -> int:
    """How many rows those are. Raises: LocalError: not the table's columns, not of one length, or in no partition."""
    wanted = {name for name, _ in table.columns}
    if columns.keys() != wanted:
        named = ", ".join(sorted(columns.keys() ^ wanted))
        raise LocalError(f"table {table.name}: missing or unknown columns: {named[:200]}", field=table.name)
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise LocalError(f"table {table.name}: columns of different lengths", field=table.name)
    for name in ("tenant", "day"):
        if None in columns[name]:
            raise LocalError(f"table {table.name}: a row without {name}", field=name)
    rows = lengths.pop()
    if not all(type(value) is int and 0 <= value <= DAY_MAX for value in columns["day"]):
        raise LocalError(f"table {table.name}: days are whole days since 1970, up to the year 9999", field="day")
    return rows


def is_integer(type: str) -> bool:
    """Whether numpy holds it as 64 bits or fewer."""
    return type in _INTEGERS or type in ("DATE", "TIMESTAMP")


def quoted(name: str) -> str:
    """A column in SQL."""
    return f'"{name}"'


def typed(table: Table) -> str:
    """The columns as a list of SQL expressions that read the forms a commit takes."""
    return ", ".join(f"{_read(name, type)} AS {quoted(name)}" for name, type in table.columns)


def cast(table: Table) -> str:
    """The columns as a list of SQL expressions, each of its declared type."""
    return ", ".join(f"{quoted(name)}::{type} AS {quoted(name)}" for name, type in table.columns)


def sorted_by(table: Table) -> str:
    """What a file's rows are in order of."""
    return ", ".join(quoted(name) for name in dict.fromkeys(("tenant", "day", *table.order)))


def _read(name: str, type: str) -> str:
    column = quoted(name)
    if type == "DATE":
        return f"(DATE '1970-01-01' + {column}::INTEGER)::DATE"
    if type == "TIMESTAMP":
        return f"make_timestamp({column}::BIGINT)"
    return column if type == "VARCHAR" else f"{column}::{type}"
