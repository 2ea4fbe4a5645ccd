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


class Entries:
    """Rows that are not written down yet."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name, _ in EVENTS.columns}
        self.bytes = 0
        """Of the events' JSON."""

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
        times = [time_us(event.time) if event.time else movement.default_us for event in named]
        placed = [movement.place(closings, time) for time in times]
        new: Mapping[str, Sequence[Any]] = {
            "tenant": [who.tenant] * count,
            "day": [at_us // DAY_US for at_us, _ in placed],
            "counts_at": [at_us for at_us, _ in placed],
            "corrects": [corrects for _, corrects in placed],
            "n": [movement.sign] * count,
            "type": [event.type for event in named],
            "subject": [event.subject for event in named],
            "source": [event.source for event in named],
            "id": [event.id for event in named],
            "event": [bytes(event).decode() for event in raw],
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
