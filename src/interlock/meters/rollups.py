"""The fold: what the events' stream adds and takes back, to rollup rows, which only ever add up.

A row is what the events of one minute, one subject and one combination of groups come to by one version of a meter. An
event taken back is the same row with its numbers negative. What cannot be added up (the largest, the latest, how many
different ones) keeps the value itself as part of the row, with how often it is there; so taking back is exact too.
It does not know files, threads or questions.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any

from interlock.errors import LocalError
from interlock.intake.placing import Closings
from interlock.meters.definition import GROUPS_MAX, Version
from interlock.meters.measure import PICO, PLACES, Lens, Reader
from interlock.meters.movements import Movement, time_text
from interlock.meters.windows import MINUTE_MAX

MINUTE_US = 60_000_000
DAY_MINUTES = 24 * 60
_TIMES_MAX = 100_000

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


Key = tuple[int, str, str | None, tuple[str | None, ...], str | None, int | None, int | None, int | None]
"""What one version's rows are told apart by: minute, corrects, subject, groups, item, value in PICO, at_us, ordinal."""

Rows = dict[Key, list[int]]
"""n, total in PICO, unreadable."""


class _Minutes(dict[str, int]):
    """`YYYY-MM-DDTHH:MM` to minutes since 1970."""

    def __missing__(self, text: str) -> int:
        if len(self) >= _TIMES_MAX:
            self.clear()
        minute = self[text] = int(datetime.fromisoformat(text + "Z").timestamp()) // 60
        return minute


class Fold:
    """Rows of the versions it was made for, from the movements it was given. Give it each once, in order."""

    def __init__(self, versions: Iterable[Version]) -> None:
        by_tenant: dict[str, list[Version]] = {}
        for version in versions:
            by_tenant.setdefault(version.tenant, []).append(version)
        self._readers = {tenant: Reader(of_tenant) for tenant, of_tenant in by_tenant.items()}
        self.rows: dict[str, Rows] = {version.key: {} for of_tenant in by_tenant.values() for version in of_tenant}
        """By the version's key. Emptied by whoever stores them."""
        self._minutes = _Minutes()

    @property
    def size(self) -> int:
        """Rows held."""
        return sum(map(len, self.rows.values()))

    def apply(self, movement: Movement, closings: Closings) -> None:
        """Add events, or take them back."""
        reader = self._readers.get(movement.who.tenant)
        if reader is None:
            return
        plain = movement.sign > 0 and movement.who.tenant not in closings
        default = time_text(movement.default_us)
        alike: dict[tuple[str, str], list[Any]] = {}
        for place, event in enumerate(reader.events(movement.events)):
            if event.type in reader.lenses:
                event.time, corrects = event.time or default, ""
                event._minute, event._ordinal = event.time[:16], movement.ordinal(place)
                if not plain:
                    placed_us, corrects = movement.place(closings, self._time_us(event))
                    event._minute = time_text(placed_us)[:16]
                alike.setdefault((event.type, corrects), []).append(event)
        for (type_, corrects), events in alike.items():
            for lens in reader.lenses[type_]:
                self._measure(lens, events, corrects, movement, reader)

    def _measure(self, lens: Lens, events: Sequence[Any], corrects: str, movement: Movement, reader: Reader) -> None:
        sign = movement.sign
        try:
            measured = lens.read(events, movement.who, reader.raws)
        except LocalError:
            if len(events) > 1:  # one of them: each for itself
                for event in events:
                    self._measure(lens, [event], corrects, movement, reader)
                return
            keys = self._keys(events, corrects, [()], [None], [None], [None], repeat(None))
            _add(self.rows[lens.version.key], keys, 0, [0], sign)
            return
        events, groups, quantities, items = measured
        aggregation = lens.version.meter.aggregation
        values: Iterable[int | None] = quantities if aggregation in ("min", "max", "latest") else repeat(None)
        times: Iterable[int | None] = repeat(None)
        ordinals: Iterable[int | None] = repeat(None)
        if aggregation == "latest":
            times, ordinals = map(self._time_us, events), [event._ordinal for event in events]
        keys = self._keys(events, corrects, groups, items, values, times, ordinals)
        _add(self.rows[lens.version.key], keys, sign, quantities, 0)

    def _keys(
        self,
        events: Sequence[Any],
        corrects: str,
        groups: Iterable[tuple[str | None, ...]],
        items: Iterable[str | None],
        values: Iterable[int | None],
        times: Iterable[int | None],
        ordinals: Iterable[int | None],
    ) -> Iterator[Key]:
        minutes = map(self._minutes.__getitem__, [event._minute for event in events])
        subjects = [event.subject for event in events]
        return zip(minutes, repeat(corrects), subjects, groups, items, values, times, ordinals)

    def _time_us(self, event: Any) -> int:
        """Of a time as events are stored with: `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`."""
        text = event.time
        fraction = int(text[20:-1].ljust(6, "0")) if len(text) > 20 else 0
        return self._minutes[text[:16]] * MINUTE_US + int(text[17:19]) * 1_000_000 + fraction


def _add(rows: Rows, keys: Iterable[Key], n: int, quantities: Iterable[int], unreadable: int) -> None:
    """`n`: plus or minus one, or 0 of an event that could not be read."""
    get = rows.get
    for key, quantity in zip(keys, quantities, strict=True):
        row = get(key)
        if row is None:
            rows[key] = [n, n * quantity, unreadable]
        else:
            row[0] += n
            row[1] += n * quantity
            row[2] += unreadable


def copied(rows: Rows, since: int = 0, until: int | None = None) -> list[tuple[Key, int, int, int]]:
    """The rows of those minutes as they stand now, for a reader that the fold goes on beside."""
    if not since and until is None:
        return [(key, *row) for key, row in rows.items()]  # type: ignore[misc]  # three numbers
    end = MINUTE_MAX if until is None else until
    return [(key, *row) for key, row in rows.items() if since <= key[0] < end]  # type: ignore[misc]  # the same


def columns_of(version: str, rows: Sequence[tuple[Key, int, int, int]]) -> dict[str, list[Any]]:
    """One version's rows as COLUMNS: decimals as text, days since 1970."""
    tenant, meter, number = version.split("/")
    keys, ns, totals, unreadable = zip(*rows, strict=True) if rows else ((), (), (), ())
    minutes, corrects, subjects, groups, items, values, times, ordinals = zip(*keys, strict=True) if keys else [()] * 8
    of_groups = dict(enumerate(zip(*[row + (None,) * (GROUPS_MAX - len(row)) for row in groups], strict=True), 1))
    cells: dict[str, Iterable[Any]] = {
        "tenant": repeat(tenant, len(keys)),
        "day": [minute // DAY_MINUTES for minute in minutes],
        "meter": repeat(meter, len(keys)),
        "version": repeat(int(number), len(keys)),
        "minute": minutes,
        "corrects": corrects,
        "subject": subjects,
        **{f"g{place}": of_groups.get(place, ()) for place in range(1, GROUPS_MAX + 1)},
        "item": items,
        "value": [None if value is None else decimal_text(value) for value in values],
        "at_us": times,
        "ordinal": ordinals,
        "n": ns,
        "total": map(decimal_text, totals),
        "unreadable": unreadable,
    }
    return {name: list(column) for name, column in cells.items()}


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
