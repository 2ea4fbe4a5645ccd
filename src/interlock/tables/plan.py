"""Which files a question needs, which are merged next, and into what. Pure.

A file is for a *part*: any days, a month, a day, a day of one tenant. Rows go down to the narrowest part that has
enough of them in one merge; the rest stays together one part higher, so that a backfill of a thousand tenants and a
thousand days makes dozens of files and not a million. Inside a part, files of like size are merged (each row is
written again once for each power of `FAN_IN`), up to a size at which a file is left alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple
from urllib.parse import quote

from interlock.tables.manifest import File

FAN_IN = 8
"""Files of like size in a part that is still being filled, before they are merged."""
QUIET_FAN_IN = 3
"""The same in a day or month before the newest: few rows come there, and it is asked often."""
PART_ROWS_MIN = 1 << 16
"""Below this many rows in one merge, a part gets no file of its own: some 4 MB."""
STEP_ROWS_MAX = 1 << 20
"""Rows of one merge; it bounds its memory and its time."""
FULL_ROWS = STEP_ROWS_MAX // 2
"""A file of this many is not merged again: no second one fits with it."""
SMALL_ROWS = 1 << 13
"""Files below this are of one size."""
_TENANT_CHARS_MAX = 200


class Output(NamedTuple):
    """A file to be written: these rows of a merge, in the order of a table."""

    part: str
    tenant: str
    """Its rows alone; empty: of all but `without`."""
    days: tuple[str, ...]
    without: tuple[str, ...]


def wanted(
    files: Iterable[File], table: str, tenant: str | None, first_day: str | None, last_day: str | None
) -> list[File]:
    """Those that can hold such rows; days are ISO 8601 and inclusive, None stands for all."""
    return [
        file
        for file in files
        if file.table == table
        and (tenant is None or file.first_tenant <= tenant <= file.last_tenant)
        and (first_day is None or file.last_day >= first_day)
        and (last_day is None or file.first_day <= last_day)
    ]


def choose(files: Iterable[File]) -> list[File]:
    """The files of the next merge, all of one part; empty: nothing is to be done."""
    newest: dict[str, str] = {}
    alike: dict[tuple[int, str, str, str], list[File]] = {}
    for file in files:
        newest[file.table] = max(newest.get(file.table, ""), file.last_day)
        if file.rows < FULL_ROWS and not file.leaving:
            alike.setdefault((_size(file.rows), file.table, file.part, file.tenant), []).append(file)
    for (_, table, part, _), group in sorted(alike.items()):
        group.sort(key=lambda file: file.first_seq)
        taken = list(_fitting(group))
        quiet = part and part < newest[table][: len(part)]
        enough = len(group) >= (QUIET_FAN_IN if quiet else FAN_IN) or sum(file.rows for file in taken) >= FULL_ROWS
        if enough and len(taken) > 1:
            return taken
    return []


def _size(rows: int) -> int:
    """Its class: each begins at `FAN_IN` times the rows of the one before."""
    size = 0
    while rows >= SMALL_ROWS:
        rows, size = rows // FAN_IN, size + 1
    return size


def _fitting(group: Sequence[File]) -> Iterator[File]:
    rows = 0
    for file in group[:FAN_IN]:
        rows += file.rows
        if rows > STEP_ROWS_MAX:
            return
        yield file


def divide(part: str, tenant: str, days: Mapping[str, int], large: Mapping[str, Sequence[str]]) -> list[Output]:
    """What the rows of a merge of `part` (and `tenant`) are written to: each row into one output.

    Args:
        days: rows by day. large: by day, the tenants that have `PART_ROWS_MIN` rows of it or more.
    """
    if tenant:
        return [Output(part, tenant, tuple(sorted(days)), ())]
    outputs: list[Output] = []
    scattered: list[str] = []
    months = [(month, list(of)) for month, of in groupby(sorted(days), key=lambda day: day[:7])]
    thin = sum(n for n in (sum(days[day] for day in of) for _, of in months) if n < PART_ROWS_MIN)
    for month, of in months:
        rows = sum(days[day] for day in of)
        if not part and rows < PART_ROWS_MIN and thin < FULL_ROWS:
            scattered += of
            continue
        own = [day for day in of if len(part) == len("2026-11-01") or days[day] >= PART_ROWS_MIN]
        if rows - sum(days[day] for day in own) >= FULL_ROWS:
            own = of
        for day in own:
            outputs += _day(day, [name for name in large.get(day, ()) if _has_directory(name)])
        if rest := tuple(day for day in of if day not in own):
            outputs.append(Output(month, "", rest, ()))
    if scattered:
        outputs.append(Output("", "", tuple(scattered), ()))
    return outputs


def _day(day: str, large: Sequence[str]) -> Iterator[Output]:
    for tenant in large:
        yield Output(day, tenant, (day,), ())
    yield Output(day, "", (day,), tuple(large))


def path_of(table: str, part: str, tenant: str, first_seq: int, last_seq: int, number: int) -> str:
    """`events/tenant=acme/day=2026-11-01/1-900.7.parquet`, the layout of Hive; of several tenants `events/shared/…`."""
    owner = f"tenant={quote(tenant, safe='')}" if tenant else "shared"
    days = {0: "", 7: f"month={part}/", 10: f"day={part}/"}[len(part)]
    return f"{table}/{owner}/{days}{first_seq}-{last_seq}.{number}.parquet"


def _has_directory(tenant: str) -> bool:
    return 0 < len(quote(tenant, safe="")) <= _TENANT_CHARS_MAX and tenant.isprintable()
