"""What the tests of tables share: two tables, random rows for them, and a plain model of what they must hold."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from interlock.tables import Table, Tables, plan

EVENTS = Table(
    "events",
    (
        ("tenant", "VARCHAR"),
        ("day", "DATE"),
        ("at", "TIMESTAMP"),
        ("note", "VARCHAR"),
        ("amount", "DECIMAL(38,12)"),
        ("n", "BIGINT"),
        ("huge", "DECIMAL(38,0)"),
        ("ok", "BOOLEAN"),
    ),
    ("at",),
)
SUMS = Table(
    "sums",
    (("tenant", "VARCHAR"), ("day", "DATE"), ("amount", "DECIMAL(38,12)"), ("n", "BIGINT")),
    (),
    "SELECT tenant, day, sum(amount) AS amount, sum(n) AS n FROM rows GROUP BY tenant, day",
)
TABLES = (EVENTS, SUMS)
TENANTS = ("acme", "a/b c", "it's", "été=1%2F", "..", "new\nline", "7", "", "x" * 300)
FIRST_DAY = (date(2026, 10, 28) - date(1970, 1, 1)).days
_NOTES = ("", "a\x00b", "漢", "'; --", None, "NULL", "1")


class Row(NamedTuple):
    """One event."""

    tenant: str
    day: int
    at: int
    note: str | None
    amount: str | None
    n: int | None
    huge: str | None
    ok: bool | None


def random_rows(chance: random.Random, count: int, *, tenants: Sequence[str] = TENANTS, days: int = 9) -> list[Row]:
    """Around the turn of a month."""
    return [
        Row(
            chance.choice(tenants),
            FIRST_DAY + chance.randrange(days),
            chance.randrange(1 << 50),
            chance.choice(_NOTES),
            chance.choice((None, f"{chance.randrange(10**9)}.{chance.randrange(10**12):012}", "-0.000000000001")),
            chance.choice((None, -(1 << 63), (1 << 63) - 1, chance.randrange(100))),
            chance.choice((None, str(1 << 126), str(-chance.randrange(1 << 90)))),
            chance.choice((None, True, False)),
        )
        for _ in range(count)
    ]


def commit(tables: Tables, rows: Sequence[Row], seq: int) -> None:
    """To both tables; record `seq` has the chain value `cSEQ`."""
    events = {name: [getattr(row, name) for row in rows] for name, _ in EVENTS.columns}
    sums: dict[str, list[object]] = {name: [] for name, _ in SUMS.columns}
    for row in rows:
        for name, value in zip(sums, (row.tenant, row.day, row.amount or "0", 1), strict=True):
            sums[name].append(value)
    tables.commit({"events": events, "sums": sums} if rows else {}, seq, f"c{seq}")


def expected_events(rows: Iterable[Row]) -> Counter[tuple[object, ...]]:
    """As `stored_events` gives them."""
    return Counter(
        (
            row.tenant,
            str(day_of(row.day)),
            row.at,
            row.note,
            None if row.amount is None else Decimal(row.amount),
            row.n,
            None if row.huge is None else Decimal(row.huge),
            row.ok,
        )
        for row in rows
    )


def expected_sums(rows: Iterable[Row]) -> dict[tuple[str, str], tuple[Decimal, int]]:
    """As `stored_sums` gives them."""
    found: dict[tuple[str, str], tuple[Decimal, int]] = {}
    for row in rows:
        key = row.tenant, str(day_of(row.day))
        amount, n = found.get(key, (Decimal(), 0))
        found[key] = amount + Decimal(row.amount or "0"), n + 1
    return found


def stored_events(
    tables: Tables, tenant: str | None = None, first: date | None = None, last: date | None = None
) -> Counter[tuple[object, ...]]:
    """Every row that these files hold."""
    columns = 'tenant, day::VARCHAR, epoch_us("at"), note, amount, n, huge, ok'
    return Counter(ask(f"SELECT {columns} FROM {{}}", tables.files("events", tenant, first, last)))


def stored_sums(tables: Tables) -> dict[tuple[str, str], tuple[Decimal, int]]:
    """By tenant and day."""
    query = "SELECT tenant, day::VARCHAR, sum(amount), sum(n) FROM {} GROUP BY 1, 2"
    return {(tenant, day): (amount, int(n)) for tenant, day, amount, n in ask(query, tables.files("sums"))}


def archive_of(place: Path) -> Counter[tuple[object, ...]]:
    """Every event in an archive."""
    archive = Tables(place, [EVENTS])
    try:
        return stored_events(archive)
    finally:
        archive.close()


def ask(query: str, files: Sequence[str]) -> list[tuple[Any, ...]]:
    """What DuckDB answers, on a connection of its own; `{}` stands for the files' rows."""
    if not files:
        return []
    with duckdb.connect(config={"threads": 1}) as connection:
        return connection.execute(query.format("read_parquet(?, hive_partitioning = false)"), [list(files)]).fetchall()


def day_of(days: int) -> date:
    """From days since 1970."""
    return date(1970, 1, 1) + timedelta(days=days)


def small_parts(patch: pytest.MonkeyPatch, bounds: Mapping[str, int] | None = None) -> None:
    """Let everything that happens to millions of rows happen to hundreds."""
    bounds = {"PART_ROWS_MIN": 20, "SMALL_ROWS": 10, "STEP_ROWS_MAX": 400, "FULL_ROWS": 200, **(bounds or {})}
    for name, value in bounds.items():
        patch.setattr(plan, name, value)
    patch.setattr("interlock.tables.parquet.PART_ROWS_MIN", bounds["PART_ROWS_MIN"])


def check_layout(tables: Tables) -> None:
    """Raises: AssertionError: a file holds rows that its name does not promise, or the manifest says it wrongly."""
    for file in tables._state.manifest.files:
        query = "SELECT min(tenant), max(tenant), min(day)::VARCHAR, max(day)::VARCHAR, count(*) FROM {}"
        found = ask(query, tables._place.fetch([file]))
        assert found == [(file.first_tenant, file.last_tenant, file.first_day, file.last_day, file.rows)]
        assert file.first_day[: len(file.part)] == file.last_day[: len(file.part)] == file.part
        assert not file.tenant or file.first_tenant == file.last_tenant == file.tenant
