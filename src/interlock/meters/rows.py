"""Rollup rows, which only ever add up: what they are told apart by, and those of one version held in memory.

Numbers stand by column, so that adding an event touches two lists and writing rows down builds none for each. What is
added is the fold's to say (rollups.py). It does not know events or files.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from interlock.meters.definition import GROUPS_MAX, Version
from interlock.meters.measure import PICO, PLACES
from interlock.meters.windows import MINUTE_MAX

DAY_MINUTES = 24 * 60

COLUMNS: tuple[tuple[str, str], ...] = (
    ("tenant", "VARCHAR"),
    ("day", "DATE"),
    ("meter", "VARCHAR"),
    ("version", "INTEGER"),
    ("minute", "BIGINT"),
    ("corrects", "VARCHAR"),
    ("subject", "VARCHAR"),
    *((f"g{place}", "VARCHAR") for place in range(1, GROUPS_MAX + 1)),
    ("item", "VARCHAR"),
    ("value", f"DECIMAL(38,{PLACES})"),
    ("at_us", "BIGINT"),
    ("ordinal", "BIGINT"),
    ("n", "BIGINT"),
    ("total", f"DECIMAL(38,{PLACES})"),
    ("unreadable", "BIGINT"),
)
"""minute: since 1970, UTC, where it counts. corrects: the closed period that it belongs to, else empty. g1…: in the
order of the definition. item: of unique_count. value: of min, max and latest. at_us, ordinal: of latest, its own time
and its place in the order of counting. n: events. total: their sum. unreadable: events of that type that the meter
could not read."""

ADDED = ("n", "total", "unreadable")
KEYS = tuple(name for name, _ in COLUMNS if name not in ADDED)

APART = {"unique_count": ("item",), "min": ("value",), "max": ("value",), "latest": ("value", "at_us", "ordinal")}
"""By aggregation, what cannot be added up: rows are told apart by it."""

Key = tuple[Any, ...]
"""What one version's rows are told apart by: `Rows.names`, with `value` in PICO."""


class Held(NamedTuple):
    """Rows as they stood at one moment; lists of one length."""

    version: Version
    names: Sequence[str]
    keys: Sequence[Key]
    n: Sequence[int]
    total: Sequence[int]
    unreadable: Sequence[int]


class Rows(dict[Key, int]):
    """One version's, in the order in which they came: of each key the place of its numbers."""

    def __init__(self, version: Version) -> None:
        super().__init__()
        meter = version.meter
        groups = [f"g{place}" for place in range(1, len(meter.group_by) + 1)]
        self.version = version
        self.names = ("minute", "corrects", "subject", *groups, *APART.get(meter.aggregation, ()))
        self.n: list[int] = []
        self.total: list[int] = []
        """In PICO."""
        self._unreadable: dict[int, int] = {}
        """By place; few have any."""

    def add(self, keys: Iterable[Key], quantities: Iterable[int], sign: int) -> None:
        """Events that were read, one by one. `sign`: plus or minus one, or 0: they only have a row."""
        n, total, find = self.n, self.total, self.get
        if sign < 0:
            quantities = [-quantity for quantity in quantities]
        for key, quantity in zip(keys, quantities, strict=True):
            place = find(key)
            if place is None:
                self[key] = len(n)
                n.append(sign)
                total.append(quantity)
            else:
                n[place] += sign
                total[place] += quantity

    def add_unreadable(self, key: Key, sign: int) -> None:
        """One that could not be."""
        self.add([key], [0], 0)
        place = self[key]
        self._unreadable[place] = self._unreadable.get(place, 0) + sign

    def since(self, minute: int) -> "Rows":
        """Those of that minute and later."""
        rows = Rows(self.version)
        for key, place in self.items():
            if key[0] >= minute:
                rows[key] = here = len(rows.n)
                rows.n.append(self.n[place])
                rows.total.append(self.total[place])
                if count := self._unreadable.get(place):
                    rows._unreadable[here] = count
        return rows

    def held(self, since: int = 0, until: int | None = None) -> Held:
        """Those of these minutes that say anything, for a reader that the fold goes on beside."""
        unreadable = [0] * len(self)
        for place, count in self._unreadable.items():
            unreadable[place] = count
        columns: tuple[Sequence[Any], ...] = (list(self), self.n, self.total, unreadable)
        if since or until is not None or 0 in self.n:
            end = MINUTE_MAX if until is None else until
            some = [row for row in zip(*columns, strict=True) if since <= row[0][0] < end and any(row[1:])]
            columns = tuple(zip(*some, strict=True)) if some else ((), (), (), ())
        return Held(self.version, self.names, *map(list, columns))


def columns_of(*held: Held) -> dict[str, list[Any]]:
    """All those rows as COLUMNS: decimals as text, days since 1970."""
    columns: dict[str, list[Any]] = {name: [] for name, _ in COLUMNS}
    for rows in held:
        for name, cells in _cells(rows).items():
            columns[name].extend(cells)
    return columns


def _cells(held: Held) -> dict[str, Iterable[Any]]:
    count, version = len(held.keys), held.version
    cells: dict[str, Iterable[Any]] = {name: repeat(None, count) for name in KEYS}
    cells |= zip(held.names, zip(*held.keys, strict=True) if count else repeat(()), strict=False)
    cells["tenant"] = repeat(version.tenant, count)
    cells["meter"] = repeat(version.meter.slug, count)
    cells["version"] = repeat(version.version, count)
    cells["day"] = [key[0] // DAY_MINUTES for key in held.keys]
    if "value" in held.names:
        cells["value"] = [None if value is None else decimal_text(value) for value in cells["value"]]
    cells["n"], cells["unreadable"] = held.n, held.unreadable
    cells["total"] = _decimals(held.total)
    return cells


def _decimals(picos: Sequence[int]) -> Iterator[str]:
    """As `decimal_text`, which most need not be called for."""
    for pico in picos:
        whole, rest = divmod(pico, PICO)
        yield decimal_text(pico) if rest else str(whole)


def decimal_text(pico: int) -> str:
    """An exact decimal without needless zeros.

    >>> decimal_text(1_500_000_000_000), decimal_text(-2 * PICO)
    ('1.5', '-2')
    """
    if not pico % PICO:
        return str(pico // PICO)
    whole, rest = divmod(abs(pico), PICO)
    sign = "-" if pico < 0 else ""
    return f"{sign}{whole}.{rest:0{PLACES}d}".rstrip("0")
