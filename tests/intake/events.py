"""What tests of the intake share: events as a sender writes them, and a ledger of its own on a directory."""

from pathlib import Path
from typing import Any

import msgspec

from interlock.clock import Clock
from interlock.intake import (
    STREAM,
    Committer,
    Correction,
    Event,
    Job,
    Origin,
    Outcome,
    Refused,
    read_correction,
    read_json,
)
from interlock.intake.closing import Answer, close_period
from interlock.intake.correct import correct
from interlock.intake.index import Index
from interlock.log import Stored
from interlock.log.journal import Journal
from interlock.log.reader import JournalReader
from interlock.testing.clock import ManualClock

NOW_S = 1_795_860_000.0
ORIGIN = Origin(tenant="acme", principal="meter", key_id="key_1")


def document(id: str = "e1", **changes: Any) -> dict[str, Any]:
    """A good event; `None` takes an attribute out."""
    made = {
        "specversion": "1.0",
        "id": id,
        "source": "app/eu",
        "type": "tokens",
        "subject": "customer-1",
        "time": "2026-11-28T10:00:00Z",
        "data": {"tokens": 7},
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def read(event: dict[str, Any] | bytes, origin: Origin = ORIGIN) -> Event | Refused:
    return read_json(event if isinstance(event, bytes) else msgspec.json.encode(event), origin, NOW_S)


def event(id: str = "e1", origin: Origin = ORIGIN, **changes: Any) -> Event:
    found = read(document(id, **changes), origin)
    assert isinstance(found, Event), found
    return found


def correction(original: Event, replacement: Event | None = None, reason: str = "wrong", **changes: Any) -> Correction:
    """Of an event that `event` made."""
    asked: dict[str, Any] = {"source": original.source, "id": original.id, "reason": reason, **changes}
    if replacement:
        asked["replacement"] = msgspec.json.decode(replacement.canonical)
    found = read_correction(msgspec.json.encode(asked), ORIGIN, NOW_S)
    assert isinstance(found, Correction), found
    return found


class Ledger:
    """A committer on a directory; `crash` leaves it as a killed process would."""

    def __init__(
        self,
        root: Path,
        *,
        held_max: int = 1 << 18,
        committer: type[Committer] = Committer,
        clock: Clock | None = None,
        index: Path | None = None,
    ) -> None:
        self.root = root
        self.clock: Any = clock or ManualClock(int(NOW_S * 1e9))  # a test that advances it has that one
        self.points: list[str] = []
        self.stop_at = ""
        self.journal = Journal.open(root / "journal" / STREAM, STREAM, clock=self.clock, sync="never")
        self.index = Index(index or root / "index", held_max=held_max)
        reader = JournalReader(root / "journal")
        self.committer = committer(self.journal, self.index, reader, self.clock, self._reached)
        self.committer.catch_up()

    def _reached(self, point: str) -> None:
        if point == self.stop_at:
            raise Crash(point)

    def commit(self, *events: Event | Refused, origin: Origin = ORIGIN) -> list[Outcome]:
        [outcomes] = self.committer.commit([Job(origin, events)])
        return outcomes

    def correct(self, *items: Correction | Refused, origin: Origin = ORIGIN) -> list[Outcome]:
        return correct(self.committer, origin, items)

    def close_period(self, period: str, zone: str = "UTC", origin: Origin = ORIGIN) -> Answer:
        return close_period(self.committer, origin, period, zone)

    def results(self, *events: Event | Refused) -> list[str]:
        return [outcome.result for outcome in self.commit(*events)]

    def close(self) -> None:
        self.index.close()
        self.journal.close()

    def crash(self) -> None:
        """What was staged is lost, what was written stands, what was in memory is gone."""
        self.journal._pending.clear()
        self.close()


class Crash(Exception):
    """The process dies here."""


def stored(root: Path) -> list[Stored]:
    """All records of the events' stream, owners' own left out."""
    return [s for s in JournalReader(root / "journal").scan(STREAM) if s.record.type.startswith(("events.", "period."))]


def counted(root: Path) -> list[dict[str, Any]]:
    """Every event that the log says was counted, in order."""
    found: list[dict[str, Any]] = []
    for one in stored(root):
        if one.record.type == "events.counted":
            found += msgspec.json.decode(one.record.payload)["events"]
    return found
