"""A bench whose meters keep rows by a policy, on a day that a test says."""

import asyncio
import shutil
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
from tests.e2e.server import until
from tests.meters.bench import Bench

from interlock.clock import Clock, SystemClock
from interlock.meters import Meters, Settings
from interlock.meters.horizons import STREAM, History
from interlock.meters.rebuilding import make_again, standing
from interlock.tables import manifest


class Calendar(Clock):
    """A day that a test says; time within it stands still."""

    def __init__(self, today: date) -> None:
        self.today = today

    def now_ns(self) -> int:
        return int(datetime(self.today.year, self.today.month, self.today.day, 12, tzinfo=UTC).timestamp()) * 10**9

    def monotonic_ns(self) -> int:
        return SystemClock().monotonic_ns()


class Kept(Bench):
    """A bench whose meters keep rows by a policy."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.calendar = Calendar(date(2026, 3, 29))
        self.settings = settings
        self.archive = root / "archive"
        super().__init__(root)

    def open(self) -> None:
        self.meters = Meters(self.root / "journal", self.root / "views" / "tables", self.calendar, self.log)
        self.meters.adopt(asyncio.run(self.registry.refresh()))
        self.meters.configure(self.settings)
        self.meters.start()

    def configure(self, settings: Settings) -> None:
        self.settings = settings
        self.meters.configure(settings)

    def looked(self) -> None:
        """Wait until all is written down and a look that began after that has come to its end."""
        keeper = self.meters.keeper
        for _ in range(2):  # the first may find that the tables have to be made again
            until(self.written, "all is written")
            keeper._done = None
            until(lambda: keeper._done is not None or keeper.problem, "it has looked")
            assert not keeper.problem
        assert self.written()

    def written(self) -> bool:
        """Whether all is in files."""
        tables = self.meters._tables
        return tables is not None and tables.through[0] >= self.ledger.journal.seq

    def ended(self) -> bool:
        """Whether a look has come to an end, or the thread."""
        return not self.meters._thread.is_alive() or self.meters.keeper._done is not None

    def rows(self, archive: bool = False) -> Counter[str]:
        """Ids of the events in the tables, or in the archive, each with how often it is there."""
        return Counter(id for (id,) in self._found("events", "id", archive))

    def counted(self, archive: bool = False) -> int:
        """The same of the events in rollups, in all."""
        return sum(n for (n,) in self._found("rollups", "n", archive))

    def _found(self, table: str, column: str, archive: bool) -> list[Any]:
        place = self.archive if archive else self.root / "views" / "tables"
        if not (place / manifest.NAME).exists():
            return []
        found = manifest.decode((place / manifest.NAME).read_bytes())
        paths = [str(place / file.name) for file in found.files if file.table == table]
        query = f"SELECT {column} FROM read_parquet(?, hive_partitioning = false)"
        return duckdb.execute(query, [paths]).fetchall() if paths else []

    def check_made_again(self, scratch: Path) -> None:
        """What stands is what the log says."""
        stands = standing(self.root / "views" / "tables")
        assert stands is not None
        shutil.rmtree(scratch, ignore_errors=True)
        horizons, history = stands.manifest.horizons, History()
        history.apply(self.log.read_after(STREAM, 0))
        assert horizons == history.horizons
        made = make_again(self.root / "journal", self.root / "log.sqlite", scratch, stands.versions,
                          stands.manifest.seq, lambda stream, count: None, horizons)  # fmt: skip
        assert Counter(made.rows()) == Counter(stands.rows())
