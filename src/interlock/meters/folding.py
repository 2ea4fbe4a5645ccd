"""What one thread folds: versions that are equally far, and what the log says that is not written down yet."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from interlock.intake.placing import Closing, Closings
from interlock.intake.records import STREAM
from interlock.log import Stored
from interlock.log.reader import Tail
from interlock.meters.definition import Version
from interlock.meters.entries import DAY_US, EVENTS, PERIODS, Entries
from interlock.meters.horizons import NOTHING, Left
from interlock.meters.movements import closed, movements
from interlock.meters.rollups import Fold
from interlock.meters.rows import COLUMNS, DAY_MINUTES, KEYS, Rows, columns_of
from interlock.tables import Table

ROLLUPS = Table(
    name="rollups",
    columns=COLUMNS,
    order=("meter", "version", "minute"),
    merge=f"SELECT {', '.join(KEYS)}, sum(n) AS n, sum(total) AS total, sum(unreadable) AS unreadable FROM rows "
    f"GROUP BY {', '.join(KEYS)} HAVING sum(n) <> 0 OR sum(total) <> 0 OR sum(unreadable) <> 0",
)
TABLES = (ROLLUPS, EVENTS, PERIODS)


class Sealed(NamedTuple):
    """What is on its way into the tables."""

    number: int
    rollups: dict[str, Rows]
    entries: Entries


class Group:
    """Versions that are folded equally far, and the rows of them that are not written down yet."""

    def __init__(
        self, versions: Iterable[Version], directory: Path, seq: int, chain: str = "", left: Left = NOTHING
    ) -> None:
        """`left`: what is not to be filled in again."""
        self._left = left
        self.versions = {version.key: version for version in versions}
        self.fold = Fold(self.versions.values())
        self.seq, self.chain = seq, chain
        self._tail = Tail(directory, STREAM, seq)

    def poll(self, until: int | None = None) -> list[Stored]:
        """The next records. Raises: LogCorrupt; LocalError `not_found`: they were dropped."""
        return self._tail.poll(until)

    def apply(self, stored: Stored, closings: Closings, entries: Entries | None = None) -> None:
        """Fold the next record, and if asked for add its events."""
        for movement in movements(stored):
            self.fold.apply(movement, closings)
            if entries is not None:
                entries.add(movement, closings)
        self.seq, self.chain = stored.seq, stored.chain.hex()
        if self.seq in self._left.ends:
            self.leave_out(entries)

    def leave_out(self, entries: Entries | None) -> None:
        """Let go of rows that have left the tables; to be called before any are written down, and where less of what
        follows has left than of what was read."""
        if self.seq > self._left.last:
            return
        for key, rows in self.fold.rows.items():
            if day := self._left.before(ROLLUPS.name, self.versions[key].tenant, self.seq):
                self.fold.rows[key] = rows.since(day * DAY_MINUTES)
        if entries is not None:
            entries.leave_out(lambda tenant: self._left.before(EVENTS.name, tenant, self.seq))

    def change(self, added: Mapping[str, Version], rows: Mapping[str, Rows], gone: Collection[str]) -> None:
        """Let versions that are folded as far join, and others leave."""
        held = self.fold.rows | dict(rows)
        self.versions = {key: one for key, one in (self.versions | dict(added)).items() if key not in gone}
        self.fold = Fold(self.versions.values())
        self.fold.rows.update((key, held[key]) for key in self.versions if key in held)

    def close(self) -> None:
        """Give the file back."""
        self._tail.close()


class Periods:
    """What every fold of the stream must know of closed periods, and which of them are not written down yet."""

    def __init__(self, written: Iterable[tuple[str, Closing]]) -> None:
        self.closings = Closings()
        for tenant, closing in written:
            self.closings.add(tenant, closing)
        self.new: list[tuple[str, Closing]] = []

    def apply(self, stored: Stored) -> None:
        """Of the next record."""
        if found := closed(stored):
            self.closings.add(*found)
            self.new.append(found)

    def columns(self) -> dict[str, list[Any]]:
        """Those that are not written down, as PERIODS."""
        return {
            "tenant": [tenant for tenant, _ in self.new],
            "day": [closing.until_us // DAY_US for _, closing in self.new],
            "period": [closing.period for _, closing in self.new],
            "since_us": [closing.since_us for _, closing in self.new],
            "until_us": [closing.until_us for _, closing in self.new],
            "seq": [closing.seq for _, closing in self.new],
        }


def rollup_columns(rows: Mapping[str, Rows]) -> dict[str, list[Any]]:
    """All rows that say anything, as COLUMNS."""
    return columns_of(*(held.held() for held in rows.values()))
