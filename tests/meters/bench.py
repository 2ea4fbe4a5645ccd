"""What tests of meters share: a ledger, a catalog and meters on a directory, and events and questions by chance."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from tests.e2e.server import until
from tests.intake.events import Ledger, event

from interlock.clock import SystemClock
from interlock.errors import TransientError
from interlock.intake import Event, Origin
from interlock.log.sqlite import SqliteLog
from interlock.meters import Meter, Meters, Query, Registry, Version

ORIGIN = Origin(tenant="acme", principal="meter", key_id="key_1", application="chat")
SIZES = (None, "minute", "hour", "day", "month")
VALUES = ("1", "2", "0.1", "0.000000000001", "999999999999999", "0", "-3", "1e2", "7.50")


class Bench:
    """A ledger, a catalog, and meters that come and go."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ledger = Ledger(root)
        self.log = SqliteLog(root / "log.sqlite")
        self.registry = Registry(self.log, SystemClock())
        self.sent: list[dict[str, Any]] = []
        self.open()

    def open(self) -> None:
        self.meters = Meters(self.root / "journal", self.root / "tables", SystemClock())
        self.meters.adopt(asyncio.run(self.registry.refresh()))
        self.meters.start()

    def define(self, **meter: Any) -> Version:
        version, _ = asyncio.run(self.registry.define("acme", Meter(**meter)))
        self.meters.adopt(self.registry.catalog)
        return version

    def send(self, events: Sequence[dict[str, Any]]) -> None:
        made = [event(**one, origin=ORIGIN) for one in events]
        assert all(isinstance(one, Event) for one in made)
        assert {one.result for one in self.ledger.commit(*made, origin=ORIGIN)} <= {"counted"}
        self.sent += events

    def ask(self, version: Version, query: Query) -> list[tuple[Any, ...]]:
        def once() -> Any:
            try:
                return self.asked_once(version, query)
            except TransientError:
                return None

        rows: list[tuple[Any, ...]] = until(lambda: ((found := once()) is not None) and [found], "it is folded")[0]
        return rows

    def asked_once(self, version: Version, query: Query) -> list[tuple[Any, ...]]:
        """Raises: TransientError: the version is not folded, or the question is too large."""

        async def asked() -> Any:
            slug, number = version.meter.slug, version.version
            return await self.meters.ask("acme", slug, number, query, self.ledger.journal.seq)

        rows = asyncio.run(asked()).found.rows
        return [(row.window_start, row.window_end, *row.by.values(), Decimal(row.value)) for row in rows]

    def close(self) -> None:
        self.meters.close()
        self.log.close()
        self.ledger.close()


def some(chance: Random, count: int, first: int) -> list[dict[str, Any]]:
    days = [f"2026-0{chance.randrange(1, 4)}-{chance.randrange(1, 29):02}" for _ in range(count)]
    clocks = [f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}" for _ in range(count)]
    times = [f"{day}T{at}{chance.choice(['', '.5', '.123456'])}Z" for day, at in zip(days, clocks, strict=True)]
    return [
        {
            "id": f"e{first + n}",
            "time": times[n],
            "subject": chance.choice([None, "c1", "c2", "c3"]),
            "type": chance.choice(["call", "call", "other"]),
            "data": {
                name: value
                for name, value in (
                    ("q", chance.choice([chance.choice(VALUES), chance.randrange(50)])),
                    ("model", chance.choice([None, "m1", "m2", 5, True])),
                    ("deep", {"kind": chance.choice(["x", "y"])}),
                )
                if value is not None
            },
        }
        for n in range(count)
    ]


def question(chance: Random) -> Query:
    def minute() -> int:
        return int(datetime(2026, chance.randrange(1, 5), chance.randrange(1, 28), tzinfo=UTC).timestamp()) // 60

    since, until_ = sorted([minute(), minute() + 60])
    names = ["subject", "model", "kind"]
    size: Any = chance.choice(SIZES)
    if size == "minute":  # of all time they would be too many
        until_ = min(until_, since + 30_000)
    return Query(
        since=since if chance.random() < 0.5 or size == "minute" else None,
        until=until_ if chance.random() < 0.5 or size == "minute" else None,
        size=size,
        by=tuple(chance.sample(names, chance.randrange(3))),
        where={"subject": ("c1", "c2")} if chance.random() < 0.3 else {},
    )
