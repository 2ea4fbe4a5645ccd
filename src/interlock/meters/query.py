"""One question to one version of a meter: rows in files and rows in memory, added up by DuckDB. Exact.

It is given what stands; it decides neither which version answers nor whether that is all. A question that would be
answered with too many rows is refused, never cut.
"""

import threading
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from interlock.errors import LocalError, TransientError
from interlock.intake.placing import Closing
from interlock.meters.definition import Version
from interlock.meters.finding import Entry, Wanted, find
from interlock.meters.measure import PICO
from interlock.meters.rows import ADDED, APART, COLUMNS, decimal_text
from interlock.meters.windows import MINUTE_MAX, Size, windows, zone_of
from interlock.units import divide_half_even

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROWS_MAX = 100_000
VALUES_MAX = 100
"""Of a filter, or subjects."""
MEMORY = "512MB"
"""DuckDB's, for all questions together."""
OWN = ("subject", "corrects")
"""What every meter can be asked by, besides its groups."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked. Times are minutes since 1970, UTC: [since, until)."""

    since: int | None = None
    until: int | None = None
    size: Size | None = None
    """None: one window over all."""
    zone: str = "UTC"
    by: tuple[str, ...] = ()
    """Of the meter's groups and OWN."""
    where: dict[str, tuple[str, ...]] = {}
    """The same names, and the values that count."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What the meter says of one window and one combination of `by`."""

    window_start: int
    """Minutes since 1970, as `window_end`."""
    window_end: int
    value: str
    """An exact decimal; an average is rounded to twelve places, half to even."""
    by: dict[str, str | None]


class Found(NamedTuple):
    """An answer, and the events in its time that the meter could not read (they are in no row)."""

    rows: list[Row]
    unreadable: int


class Rollups(NamedTuple):
    """What stands of one version."""

    files: Sequence[str]
    hot: Mapping[str, Sequence[Any]]
    """As COLUMNS."""
    first: int = 0
    """The minute from which they are whole: what is before is left out."""


class Engine:
    """DuckDB, in memory, for many questions on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects the making of the database
        self._database: DuckDBPyConnection | None = None

    def ask(self, version: Version, query: Query, rollups: Rollups) -> Found:
        """Blocking. Raises: LocalError: what is asked for does not exist or is too much. TransientError: a file."""
        import duckdb

        check(version, query)
        cursor = self._cursor()
        try:
            source = _source(cursor, version, query, rollups)
            since, until = query.since, query.until
            if since is not None and until is not None:
                total = f"SELECT coalesce(sum(unreadable), 0)::BIGINT FROM ({source.text})"
                [(unreadable,)] = cursor.execute(total, source.values).fetchall()
            else:  # what is left is looked for first
                first, last, unreadable = cursor.execute(_extent(source), source.values).fetchall()[0]
                if first is None:
                    return Found([], 0)
                since = first if since is None else since
                until = last + 1 if until is None else until
            starts = windows(query.size, zone_of(query.zone), since, until) if query.size else [since, until]
            if query.size and query.since is not None:  # a window that is cut says where
                starts[0] = since
            if query.size and query.until is not None:
                starts[-1] = until
            return Found(_rows(cursor, version, query, source, starts), unreadable)
        except duckdb.Error as error:
            raise TransientError(f"the rollups cannot be read: {error}", code="view_unavailable") from error
        finally:
            cursor.close()

    def events(
        self, tenant: str, wanted: Wanted, files: Sequence[str], hot: Mapping[str, Sequence[Any]]
    ) -> list[Entry]:
        """As `find`. Blocking. Raises: TransientError: a file."""
        import duckdb

        cursor = self._cursor()
        try:
            return find(cursor, tenant, wanted, files, hot)
        except duckdb.Error as error:
            raise TransientError(f"the events cannot be read: {error}", code="view_unavailable") from error
        finally:
            cursor.close()

    def periods(self, files: Sequence[str]) -> list[tuple[str, Closing]]:
        """The closed periods in those files, in the order of the log. Raises: duckdb.Error."""
        if not files:
            return []
        cursor = self._cursor()
        try:
            found = cursor.execute(
                "SELECT tenant, seq, period, since_us, until_us FROM read_parquet(?, hive_partitioning = false) "
                "ORDER BY seq",
                [list(files)],
            ).fetchall()
        finally:
            cursor.close()
        return [(tenant, Closing(*closing)) for tenant, *closing in found]

    def extent(self, files: Sequence[str], before: date, tenant: str) -> tuple[int, str, str]:
        """(rows, first day, last day) of what these files have before a day (of a tenant). Raises: TransientError."""
        import duckdb

        if not files:
            return 0, "", ""
        cursor = self._cursor()
        try:
            [found] = cursor.execute(
                "SELECT count(*), coalesce(min(day)::VARCHAR, ''), coalesce(max(day)::VARCHAR, '') "
                "FROM read_parquet(?, hive_partitioning = false) WHERE day < ? AND ? IN ('', tenant)",
                [list(files), before, tenant],
            ).fetchall()
        except duckdb.Error as error:
            raise TransientError(f"the tables cannot be read: {error}", code="view_unavailable") from error
        finally:
            cursor.close()
        return found

    def close(self) -> None:
        """Give the memory back."""
        if self._database is not None:
            self._database.close()

    def _cursor(self) -> "DuckDBPyConnection":
        import duckdb

        with self._lock:
            if self._database is None:
                self._database = duckdb.connect(
                    config={
                        "memory_limit": MEMORY,
                        "temp_directory": "",  # what does not fit is refused: rows of tenants go nowhere else
                        "pandas_analyze_sample": 0,  # columns of objects are text, always
                        "autoinstall_known_extensions": False,
                        "autoload_known_extensions": False,
                    }
                )
                # A file never changes under its name, and reading 30 footers takes 80 ms.
                self._database.execute("SET GLOBAL parquet_metadata_cache = true")
            return self._database.cursor()


def check(version: Version, query: Query) -> None:
    """Raises: LocalError: a name that the meter does not have, or times that are none."""
    known = [*version.meter.group_by, *OWN]
    for field, names in (("group_by", query.by), ("filter", tuple(query.where))):
        for name in names:
            if name not in known:
                what = f"the meter {version.meter.slug} is not grouped by {name[:80]!r}; it has: {', '.join(known)}"
                raise LocalError(what, field=field)
    if len(set(query.by)) < len(query.by):
        raise LocalError("a group is named twice", field="group_by")
    for name, values in query.where.items():
        if not 0 < len(values) <= VALUES_MAX:
            raise LocalError(f"{name}: 1 to {VALUES_MAX} values", field="filter")
    since, until = query.since or 0, MINUTE_MAX if query.until is None else query.until
    if not 0 <= since < until <= MINUTE_MAX:
        raise LocalError("from has to lie before to, both between 1970 and 8990", field="from")
    zone_of(query.zone)


class _Source(NamedTuple):
    """Rows that count, as SQL."""

    text: str
    values: list[Any]
    keys: list[str]
    """What they are told apart by, of what is asked for."""


def _extent(source: _Source) -> str:
    """The first and the last minute in which anything is left, and how much is unreadable."""
    return (
        f"SELECT min(minute), max(minute), coalesce(sum(unreadable), 0)::BIGINT FROM (SELECT {', '.join(source.keys)}, "
        f"sum(unreadable) AS unreadable FROM ({source.text}) GROUP BY {', '.join(source.keys)} "
        "HAVING sum(n) <> 0 OR sum(total) <> 0 OR sum(unreadable) <> 0)"
    )


def _source(cursor: Any, version: Version, query: Query, rollups: Rollups) -> _Source:
    """Files and memory as one, cut to what is asked for."""
    from numpy import array, int64

    asked = {_column(version, name) for name in (*query.by, *query.where)}
    needed = {"minute", "n", "total", "unreadable", *asked, *APART.get(version.meter.aggregation, ())}
    names = [name for name, _ in COLUMNS if name in needed]
    casts = [f"{name}::{type_} AS {name}" for name, type_ in COLUMNS if name in names]
    integers = {name for name, type_ in COLUMNS if type_ == "BIGINT" and name not in ("at_us", "ordinal")}
    hot = {name: array(rollups.hot[name], dtype=int64 if name in integers else object) for name in names}
    cursor.register("hot", hot)
    parts, values = [f"SELECT {', '.join(casts)} FROM hot"], []
    if rollups.files:
        parts.append(
            f"SELECT {', '.join(names)} FROM read_parquet(?, hive_partitioning = false) "
            "WHERE tenant = ? AND meter = ? AND version = ?"
        )
        values += [list(rollups.files), version.tenant, version.meter.slug, version.version]
    conditions = ["minute >= ?", "minute < ?"]
    values += [max(query.since or 0, rollups.first), MINUTE_MAX if query.until is None else query.until]
    for name, wanted in query.where.items():
        conditions.append(f"list_contains(?, {_column(version, name)})")
        values.append(list(wanted))
    # The names are ours, each value is a parameter.
    text = f"SELECT * FROM ({' UNION ALL '.join(parts)}) WHERE {' AND '.join(conditions)}"
    return _Source(text, values, [name for name in names if name not in ADDED])


def _column(version: Version, name: str) -> str:
    return name if name in OWN else f"g{list(version.meter.group_by).index(name) + 1}"


_VALUES = {
    "sum": "sum(total)",
    "count": "sum(n)",
    "avg": "sum(total)",
    "unique_count": "count(*)",
    "min": "min(value)",
    "max": "max(value)",
    "latest": "arg_max(value, (at_us, ordinal))",
}


def _rows(cursor: Any, version: Version, query: Query, source: _Source, starts: Sequence[int]) -> list[Row]:
    from numpy import array, int64

    aggregation = version.meter.aggregation
    keys = [f"k{place}" for place in range(len(query.by))]
    columns = ", ".join(
        [*(f"{_column(version, name)} AS {key}" for name, key in zip(query.by, keys, strict=True)), "r.*"]
    )
    cursor.register("starts", {"start": array(starts[:-1], dtype=int64)})
    inner = f"SELECT start, {columns} FROM ({source.text}) AS r ASOF JOIN starts ON r.minute >= starts.start"
    grouped = ", ".join(["start", *keys])
    if apart := APART.get(aggregation):  # before anything is taken of it, so that what was taken back is not there
        inner = (
            f"SELECT {grouped}, {', '.join(apart)}, sum(n) AS n FROM ({inner}) "
            f"GROUP BY {grouped}, {', '.join(apart)} HAVING sum(n) > 0"
        )
    zero = "sum(n) <> 0" if apart or aggregation == "count" else "(sum(n) <> 0 OR sum(total) <> 0)"
    found = cursor.execute(
        f"SELECT {grouped}, {_VALUES[aggregation]}::VARCHAR, sum(n)::BIGINT FROM ({inner}) "
        f"GROUP BY {grouped} HAVING {zero} ORDER BY {grouped} LIMIT {ROWS_MAX + 1}",
        source.values,
    ).fetchall()
    if len(found) > ROWS_MAX:
        raise LocalError(f"more than {ROWS_MAX} rows: ask for less time, or group by less", field="group_by")
    ends = dict(pairwise(starts))
    return [
        Row(
            window_start=start,
            window_end=ends[start],
            value=_value(aggregation, value, n),
            by=dict(zip(query.by, cells, strict=True)),
        )
        for start, *cells, value, n in found
    ]


def _value(aggregation: str, value: str, n: int) -> str:
    if aggregation in ("count", "unique_count"):
        return value
    whole, _, fraction = value.partition(".")
    pico = int(whole + fraction.ljust(12, "0")) if fraction else int(whole) * PICO
    if aggregation == "avg" and n:
        pico = divide_half_even(pico, n) if n > 0 else divide_half_even(-pico, -n)
    return decimal_text(pico)
