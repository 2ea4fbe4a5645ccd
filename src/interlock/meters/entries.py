"""The events as a table: a row each time that one counts, and a row that takes it back.

It is for questions about single events, and for any engine that reads Parquet. Rows are held by column. It does not
know files.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any

import msgspec

from interlock.intake.placing import Closings, time_us
from interlock.meters.measure import Event
from interlock.meters.movements import Movement
from interlock.tables import Table

ROW_BYTES = 2000
_TIMES_MAX = 10_000
_WHOLE_CHARS = len("2026-11-28T10:00:00Z")
DAY_US = 24 * 3600 * 1_000_000

EVENTS = Table(
    name="events",
    columns=(
        ("tenant", "VARCHAR"),
        ("day", "DATE"),
        ("counts_at", "TIMESTAMP"),
        ("corrects", "VARCHAR"),
        ("n", "INTEGER"),
        ("type", "VARCHAR"),
        ("subject", "VARCHAR"),
        ("source", "VARCHAR"),
        ("id", "VARCHAR"),
        ("event", "VARCHAR"),
        ("principal", "VARCHAR"),
        ("application", "VARCHAR"),
        ("installation", "VARCHAR"),
        ("key_id", "VARCHAR"),
        ("taken_at", "TIMESTAMP"),
        ("seq", "BIGINT"),
    ),
    order=("counts_at", "seq"),
)
"""day, counts_at: where it counts, UTC. corrects: the closed period that it belongs to, else empty. n: 1, or -1 where
it is taken back. event: the CloudEvent as it is stored. taken_at, seq: when the log took it, and in which record."""

PERIODS = Table(
    name="periods",
    columns=(
        ("tenant", "VARCHAR"),
        ("day", "DATE"),
        ("period", "VARCHAR"),
        ("since_us", "BIGINT"),
        ("until_us", "BIGINT"),
        ("seq", "BIGINT"),
    ),
    order=("seq",),
)
"""Closed periods, where they stand in the log; Unix microseconds. day: of their end."""

_events = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Named(Event, gc=False):
    id: str = ""


_names = msgspec.json.Decoder(list[_Named]).decode


class _WholeSeconds(dict[str, int]):
    """A time without a fraction to Unix microseconds; events that come together have many alike."""

    def __missing__(self, text: str) -> int:
        if len(self) >= _TIMES_MAX:
            self.clear()
        found = self[text] = time_us(text)
        return found


class Entries:
    """Rows that are not written down yet."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name, _ in EVENTS.columns}
        self.bytes = 0
        """Of the events' JSON."""
        self._whole_us = _WholeSeconds()

    def __len__(self) -> int:
        return len(self.columns["n"])

    @property
    def weight(self) -> int:
        """In rows; so many bytes of events weigh as much as one."""
        return max(len(self), self.bytes // ROW_BYTES)

    def add(self, movement: Movement, closings: Closings) -> None:
        """A row for each of its events."""
        raw, named, who = _events(movement.events), _names(movement.events), movement.who
        count = len(named)
        whole_us, default_us = self._whole_us, movement.default_us
        times = [
            whole_us[text] if len(text) == _WHOLE_CHARS else time_us(text) if text else default_us
            for text in [event.time for event in named]
        ]
        periods = [""] * count
        if movement.sign < 0 or who.tenant in closings:
            placed = [movement.place(closings, time) for time in times]
            times, periods = [at_us for at_us, _ in placed], [period for _, period in placed]
        new: Mapping[str, Sequence[Any]] = {
            "tenant": [who.tenant] * count,
            "day": [at_us // DAY_US for at_us in times],
            "counts_at": times,
            "corrects": periods,
            "n": [movement.sign] * count,
            "type": [event.type for event in named],
            "subject": [event.subject for event in named],
            "source": [event.source for event in named],
            "id": [event.id for event in named],
            "event": [str(event, "utf-8") for event in raw],
            "principal": [who.principal] * count,
            "application": [who.application] * count,
            "installation": [who.installation] * count,
            "key_id": [who.key_id] * count,
            "taken_at": [movement.at_us] * count,
            "seq": [movement.seq] * count,
        }
        for name, cells in new.items():
            self.columns[name].extend(cells)
        self.bytes += len(movement.events)

    def leave_out(self, before: Callable[[str], int]) -> None:
        """Let go of the rows of days before a tenant's. `bytes` stays: it is for rows that are held anyway."""
        pairs = zip(self.columns["tenant"], self.columns["day"], strict=True)
        staying = [day >= before(tenant) for tenant, day in pairs]
        if not all(staying):
            self.columns = {name: list(compress(cells, staying)) for name, cells in self.columns.items()}
