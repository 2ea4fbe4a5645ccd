"""The fold: what the events' stream adds and takes back, to rollup rows, which only ever add up.

A row is what the events of one minute, one subject and one combination of groups come to by one version of a meter. An
event taken back is the same row with its numbers negative. What cannot be added up (the largest, the latest, how many
different ones) keeps the value itself as part of the row, with how often it is there; so taking back is exact too.
It does not know files, threads or questions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any

from interlock.errors import LocalError
from interlock.intake.placing import Closings
from interlock.meters.definition import Version
from interlock.meters.measure import Lens, Reader
from interlock.meters.movements import Movement, time_text
from interlock.meters.rows import Key, Rows

MINUTE_US = 60_000_000
_TIMES_MAX = 100_000
_MINUTE_CHARS = len("2026-11-28T10:00")


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
        self.rows = {version.key: Rows(version) for of_tenant in by_tenant.values() for version in of_tenant}
        """By the version's key."""
        self._minutes = _Minutes()

    @property
    def size(self) -> int:
        """Rows held."""
        return sum(map(len, self.rows.values()))

    def take(self) -> dict[str, Rows]:
        """All rows, for whoever stores them; there are none then."""
        rows = self.rows
        self.rows = {key: Rows(held.version) for key, held in rows.items()}
        return rows

    def apply(self, movement: Movement, closings: Closings) -> None:
        """Add events, or take them back."""
        reader = self._readers.get(movement.who.tenant)
        if reader is None:
            return
        events = reader.events(movement.events)
        _give_times(events, movement)
        if reader.ordered:
            for ordinal, event in enumerate(events, movement.first_ordinal):
                event._ordinal = ordinal
        for type_, some in _by_type(events).items():
            lenses = reader.lenses.get(type_, ())
            if not lenses:
                continue
            for corrects, alike in self._placed(some, movement, closings).items():
                for lens in lenses:
                    self._measure(lens, alike, corrects, movement, reader)

    def _placed(self, events: Sequence[Any], movement: Movement, closings: Closings) -> Mapping[str, Sequence[Any]]:
        """By the closed period that they belong to, if any, each with the minute where it counts."""
        if movement.sign > 0 and movement.who.tenant not in closings:
            return {"": events}  # at its own time
        by_period: dict[str, list[Any]] = {}
        for event in events:
            placed_us, corrects = movement.place(closings, self._time_us(event))
            event._minute = time_text(placed_us)[:_MINUTE_CHARS]
            by_period.setdefault(corrects, []).append(event)
        return by_period

    def _measure(self, lens: Lens, events: Sequence[Any], corrects: str, movement: Movement, reader: Reader) -> None:
        rows = self.rows[lens.version.key]
        try:
            measured = lens.read(events, movement.who, reader.raws)
        except LocalError:
            if len(events) > 1:  # one of them: each for itself
                for event in events:
                    self._measure(lens, [event], corrects, movement, reader)
                return
            [key] = self._keys(events, corrects, [[None]] * (len(rows.names) - 3))
            rows.add_unreadable(key, movement.sign)
            return
        events, columns = measured.events, list[Sequence[Any]](measured.groups)
        match lens.version.meter.aggregation:
            case "unique_count":
                columns.append(measured.items)
            case "min" | "max":
                columns.append(measured.quantities)
            case "latest":
                ordinals = [event._ordinal for event in events]
                columns += [measured.quantities, list(map(self._time_us, events)), ordinals]
        rows.add(self._keys(events, corrects, columns), measured.quantities, movement.sign)

    def _keys(self, events: Sequence[Any], corrects: str, columns: Iterable[Sequence[Any]]) -> Iterator[Key]:
        """As `Rows.names`. `columns`: what follows the subject."""
        texts = [event._minute or event.time[:_MINUTE_CHARS] for event in events]
        subjects = [event.subject for event in events]
        return zip(map(self._minutes.__getitem__, texts), repeat(corrects), subjects, *columns)

    def _time_us(self, event: Any) -> int:
        """Of a time as events are stored with: `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`."""
        text = event.time
        fraction = int(text[20:-1].ljust(6, "0")) if len(text) > 20 else 0
        return self._minutes[text[:_MINUTE_CHARS]] * MINUTE_US + int(text[17:19]) * 1_000_000 + fraction


def _give_times(events: Sequence[Any], movement: Movement) -> None:
    """To those that name none."""
    default = time_text(movement.default_us)
    for event in events:
        if not event.time:
            event.time = default


def _by_type(events: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
    types = {event.type for event in events}
    if len(types) == 1:  # as a rule
        return {types.pop(): events}
    by_type: dict[str, list[Any]] = {}
    for event in events:
        by_type.setdefault(event.type, []).append(event)
    return by_type
