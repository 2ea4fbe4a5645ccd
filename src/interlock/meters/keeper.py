"""How long rows stay: what the policy wants of the tables is done to them, in steps, on the thread that fills them.

A look is due after a start, when the UTC day is another, and when the policy is. What left stays away: a clock that is
put back, or a policy that is made longer, moves no horizon back. A row that comes late for a day that left stands in
the tables until the next look, in no answer, and then leaves as the day's others did.
"""

import asyncio
import logging
from collections.abc import Generator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from interlock.clock import Clock
from interlock.errors import InterlockError, LocalError, TransientError
from interlock.intake.records import STREAM as EVENTS_STREAM
from interlock.log.reader import JournalReader
from interlock.log.sqlite import SqliteLog
from interlock.meters.entries import EVENTS
from interlock.meters.folding import ROLLUPS, TABLES
from interlock.meters.horizons import STREAM, Applied, History, Left
from interlock.meters.settings import Rule, Settings, Store
from interlock.tables import Ahead, Archive, Damaged, Horizon, Tables, horizon_key, open_tables

AGAIN_S = 60.0
"""After a look that failed."""

_log = logging.getLogger(__name__)


class Wish(NamedTuple):
    """What the policy wants of a table, or of one tenant's rows of it."""

    table: str
    tenant: str
    """Empty: of all."""
    keep_days: int
    then: Literal["archive", "drop"]

    @property
    def key(self) -> str:
        """Whose rows."""
        return horizon_key(self.table, self.tenant)


class Keeper:
    """One data directory's. All but `settings` and `wishes` is for the thread that fills the tables."""

    def __init__(self, default: Path, log: SqliteLog | None, journals: JournalReader, clock: Clock) -> None:
        """`default`: where the tables stand if nothing else is said. `log`: None keeps all rows for ever."""
        self.settings: Settings | None = None if log else Settings()
        """None: not known yet."""
        self.history = History()
        self.problem = ""
        """Why the last look broke off."""
        self.looked_at_ns = 0
        """When the last look came to its end."""
        self.rows: dict[str, int] = {}
        """By table and what became of them, those that left since the start."""
        self._default = default
        self._log = log
        self._journals = journals
        self._clock = clock
        self._done: tuple[date, Settings] | None = None
        self._again_ns = 0
        self._steps: Generator[None, None, None] | None = None

    @property
    def left(self) -> Left:
        """What has left."""
        return Left(self.history.horizons)

    @property
    def busy(self) -> bool:
        """Whether a look is under way."""
        return self._steps is not None

    def open(self) -> Tables:
        """The tables, where the configuration says, knowing what left. Raises: InterlockError."""
        self._again_ns, self._done = 0, None
        settings = self.settings
        if settings is None:
            what = "the configuration has mistakes, so where the tables stand is not known"
            raise TransientError(what, code="not_ready")
        if self._log:
            self.history.apply(self._log.read_after(STREAM, self.history.seq))
        store = settings.tables
        tables = open_tables(
            settings.place(self._default),
            TABLES,
            options=store.options(),
            cache=self._default.with_name("copies"),
            cache_bytes_max=store.cache_bytes,
            clock=self._clock,
        )
        try:
            known, claimed = self.history.horizons, tables.horizons
            unknown = not all(self.history.says(key, one) for key, one in claimed.items())
            if unknown or (tables.through[0] == 0 and claimed != known):
                tables.clear(known)
        except BaseException:
            tables.close()
            raise
        return tables

    def close(self) -> None:
        """Give up a look that is under way."""
        steps, self._steps = self._steps, None
        if steps:
            steps.close()

    def clear(self, tables: Tables) -> None:
        """Let them be filled again, without what left."""
        tables.clear(self.history.horizons)

    def step(self, tables: Tables) -> bool:
        """The next step of a look, if one is due; whether there was anything to do. Raises: Damaged."""
        try:
            if self._steps is None:
                if not self._is_due():
                    return False
                self._steps = self._look(tables)
            next(self._steps)
        except StopIteration:
            self._steps, self.problem = None, ""
        except (InterlockError, OSError) as error:
            self._steps = None
            self._again_ns = self._clock.monotonic_ns() + int(AGAIN_S * 1e9)
            if isinstance(error, Damaged):
                raise
            self.problem = f"rows cannot leave the tables: {error}"
            _log.warning("%s", self.problem)
        return True

    def settle(self, tables: Tables) -> None:
        """Bring a move to an archive that is under way to its end: its files must not change before.

        Raises: TransientError: it cannot be now.
        """
        if self.busy or tables.moving:
            self._again_ns, self._done, self.problem = 0, None, ""
            while self.step(tables):
                if self.problem:
                    raise TransientError(self.problem, code="view_unavailable")

    def wishes(self) -> list[Wish]:
        """In the order in which they are done: what is to be dropped must not reach an archive before."""
        settings = self.settings or Settings()
        rules: Sequence[tuple[str, Rule]] = ((EVENTS.name, settings.events), (ROLLUPS.name, settings.rollups))
        own = [Wish(table, tenant, days, "drop") for table, rule in rules for tenant, days in rule.tenants.items()]
        return own + [Wish(table, "", rule.keep_days, rule.then) for table, rule in rules if rule.keep_days is not None]

    def before(self, wish: Wish) -> date:
        """The day before which rows are to leave, or have."""
        wanted = self._today() - timedelta(days=wish.keep_days)
        left = self.history.last.get(wish.key)
        return max(wanted, date.fromisoformat(left.before)) if left else wanted

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.now_ns() // 10**9, UTC).date()

    def _is_due(self) -> bool:
        settings = self.settings
        if self._log is None or settings is None or self._clock.monotonic_ns() < self._again_ns:
            return False
        return self._done is None or self._done[0] != self._today() or self._done[1] != settings

    def _look(self, tables: Tables) -> Generator[None, None, None]:
        settings, today = self.settings, self._today()
        assert settings is not None
        for key, applied in self.history.last.items():
            if tables.horizons.get(key) != applied.horizon:  # a process died between the record and this
                tables.finish(applied.table, applied.horizon, applied.tenant or None)
                yield
        for wish in self.wishes():
            try:
                rows = yield from self._leave(tables, wish, settings.archive)
            except Ahead as error:
                self._take_over(wish, error.horizon, settings.archive)
                raise Damaged("manifest.json", "the tables were filled with rows that have left") from error
            if rows:
                name = f"{wish.table}/{wish.then}"
                self.rows[name] = self.rows.get(name, 0) + rows
        self.looked_at_ns, self._done = self._clock.now_ns(), (today, settings)

    def _leave(self, tables: Tables, wish: Wish, archive: Store | None) -> Generator[None, None, int]:
        to = None
        if wish.then == "archive":
            assert archive is not None, "the configuration was checked"
            to = Archive(archive.place, archive.options(), self._default.with_name("archive-copies"))
        place = archive.place if archive and to else ""
        agreed = partial(self._agreed, wish, place)
        return (yield from tables.leave(wish.table, self.before(wish), wish.tenant or None, to=to, agreed=agreed))

    def _agreed(self, wish: Wish, place: str, horizon: Horizon, rows: int) -> None:
        """Write it down. Raises: InterlockError."""
        assert self._log is not None
        applied = Applied(
            table=wish.table,
            tenant=wish.tenant,
            before=horizon.before,
            seq=horizon.seq,
            chain=horizon.chain,
            rows=rows,
            then=wish.then,
            place=place,
        )
        asyncio.run(self._log.append(STREAM, [applied.record(self._clock.now_ns())]))
        self.history.apply(self._log.read_after(STREAM, self.history.seq))

    def _take_over(self, wish: Wish, horizon: Horizon, archive: Store | None) -> None:
        """A process died after the archive had the rows, and the tables were filled with them again."""
        found = next((s.chain.hex() for s in self._journals.scan(EVENTS_STREAM, after=horizon.seq - 1)), "")
        if found != horizon.chain:
            raise LocalError("the archive is of another log; name an empty place", field="ledger.archive")
        self._agreed(wish, archive.place if archive else "", horizon, 0)
