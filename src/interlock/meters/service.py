"""The meters of one process: one thread that folds the log into rollups, and questions from any other.

What was counted before a question is in its answer: it waits until the fold has passed it. A new version of a meter is
folded from the first event on beside the others, and until it has caught up the version before it answers. Rollups are
written down now and then; a start reads the log from there.
"""

import asyncio
import logging
import threading
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from msgspec.structs import replace

from interlock.clock import Clock
from interlock.errors import InterlockError, TransientError
from interlock.intake import Event, Origin, Refused
from interlock.intake.records import STREAM
from interlock.log import Stored
from interlock.log.reader import JournalReader
from interlock.log.sqlite import SqliteLog
from interlock.meters.answer import Answer, Listed, State, check_there, day_of
from interlock.meters.asking import Asking
from interlock.meters.catalog import Catalog
from interlock.meters.definition import Version
from interlock.meters.door import Doors
from interlock.meters.entries import DAY_US, EVENTS, PERIODS, Entries
from interlock.meters.erasing import Names, changes, ending
from interlock.meters.finding import Wanted
from interlock.meters.finding import check as check_wanted
from interlock.meters.folding import ROLLUPS, Group, Periods, Sealed, rollup_columns
from interlock.meters.horizons import first_day
from interlock.meters.keeper import Keeper, Wish
from interlock.meters.kept import Due, Kept, due_in, kept
from interlock.meters.merging import Merging
from interlock.meters.query import Engine, Query, Rollups, check
from interlock.meters.rows import DAY_MINUTES, columns_of
from interlock.meters.settings import Settings, is_where
from interlock.tables import Damaged, Tables
from interlock.tables.manifest import File

POLL_S = 0.1
"""How often the log is looked at when nobody asks."""
ROWS_MAX = 50_000
"""Held in memory (some 25 MB); then they are written down. A question reads those of its meter one by one."""
HELD_MAX = 10 * ROWS_MAX
"""While they cannot be written."""
WRITE_S = 60.0
"""How long a row is held at most."""
WAIT_S = 10.0
"""How long a question waits for the fold."""
AGAIN_S = 2.0
WRITTEN = "written"
"""The note that counts the writings; a version's key has slashes."""

_log = logging.getLogger(__name__)


class Meters:
    """One data directory's. `adopt` a catalog, `start`, then `ask`, then `close`."""

    def __init__(
        self,
        journals: Path,
        place: Path,
        clock: Clock,
        log: SqliteLog | None = None,
        names: Names = lambda erasure: None,
    ) -> None:
        """Opens nothing.

        Args:
            journals: the root of the streams' directories. place: of the tables, unless the settings say another.
            log: where what leaves is written down; nothing is done before `configure`. None: nothing leaves.
            names: of erasures that are not done.
        """
        self._directory = journals / STREAM
        self._reader = JournalReader(journals)
        self._names = names
        self._clock = clock
        self.keeper = Keeper(place, log, self._reader, clock)
        self._catalog = Catalog()
        self._adopted_seq = 0
        self._wanted: Sequence[Version] = ()
        self._doors = Doors()
        self._engine = Engine()
        self._lock = threading.Lock()  # protects the rows that are not written, and which versions hold them
        self._main: Group | None = None
        self._behind: list[Group] = []
        """Versions that the others are ahead of; nobody asks them yet."""
        self._periods = Periods(())
        self._entries = Entries()
        self._sealed = Sealed(0, {}, Entries())
        """What is being written, and the number of the writing: whoever finds that in the tables has it there."""
        self._tables: Tables | None = None
        self._damaged: Damaged | None = None
        """A file of the tables that a question found so."""
        self._written_ns = 0
        self._failed = False
        """Whether the last writing did."""
        self.problem = ""
        """Why nothing is folded; empty: it is, or will be soon."""
        self._asking = Asking()
        self._closing, self._wake = threading.Event(), threading.Event()
        self._merging = Merging(clock, self._closing.is_set)
        self._thread = threading.Thread(target=self._run, name="meters", daemon=True)

    def start(self) -> None:
        """Open the tables and read what they lack, on a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Write down what is held, then give everything back."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._asking.close()
        self._engine.close()

    def configure(self, settings: Settings) -> None:
        """Where the tables stand, and how long rows stay in them, from now on."""
        self.keeper.settings = settings
        self._wake.set()

    def adopt(self, catalog: Catalog) -> None:
        """These are the meters from now on; to be said again when the catalog has changed."""
        if catalog is not self._catalog or catalog.seq != self._adopted_seq:
            self._adopted_seq, self._catalog, self._wanted = catalog.seq, catalog, catalog.all()
            self._doors.adopt(catalog)
            self._wake.set()

    def admit(self, origin: Origin, items: Sequence[Event | Refused]) -> list[Event | Refused]:
        """A tenant's new events, those refused that one of its meters, as they stand now, cannot read."""
        return self._doors.admit(origin, items)

    @property
    def seq(self) -> int:
        """The record of the log up to which the meters are folded."""
        main = self._main
        return main.seq if main else 0

    @property
    def written(self) -> int:
        """The record up to which every version, and all else, is on the disk."""
        tables, wanted = self._tables, [version.key for version in self._wanted]
        return min([tables.through[0], *(tables.notes.get(key, 0) for key in wanted)]) if tables else 0

    def state(self, version: Version) -> State:
        """How far a version is."""
        with self._lock:
            if self._main and version.key in self._main.versions:
                return State(True, self._main.seq)
            at = [group.seq for group in self._behind if version.key in group.versions]
        return State(False, at[0] if at else 0)

    async def ask(self, tenant: str, slug: str, version: int | None, query: Query, head: int) -> Answer:
        """What the newest version that is ready says, or the one asked for, of all records up to `head`.

        Raises: LocalError: there is no such meter, or the question is wrong. TransientError `not_ready`: not folded.
        """
        versions = self._catalog.find(tenant, slug, version)
        check(versions[0], query)
        await self._passed(head)
        with self._lock:
            folded = self._main.versions if self._main else {}
            chosen = next((version for version in versions if version.key in folded), None)
        if chosen is None:
            at = self.state(versions[0]).seq
            raise TransientError(f"the meter is folded up to record {at} of {head}; retry", code="not_ready")
        return await self._asking.ask(self._answer, chosen, query)

    async def _passed(self, head: int) -> None:
        """Wait until the fold has passed `head`. Raises: TransientError `not_ready`: it does not for long."""
        deadline_ns = self._clock.monotonic_ns() + int(WAIT_S * 1e9)
        self._wake.set()
        while (main := self._main) is None or main.seq < head:
            if self._clock.monotonic_ns() > deadline_ns or self.problem:
                what = self.problem or f"events are folded up to record {self.seq} of {head}; retry"
                raise TransientError(what, code="not_ready")
            await asyncio.sleep(0.005)

    async def events(self, tenant: str, wanted: Wanted, head: int) -> Listed:
        """A tenant's events as they count, the latest first, of all records up to `head`. Raises: as `ask`."""
        check_wanted(wanted)
        await self._passed(head)
        return await self._asking.ask(self._events, tenant, wanted)

    async def kept(self, what_if: Sequence[Wish] = ()) -> list[Kept]:
        """What retention has done and would do; `what_if`: rules in place of its own. Raises: TransientError."""
        return await self._asking.ask(kept, self.keeper, what_if or self.keeper.wishes(), self._due)

    def _due(self, wish: Wish, before: date) -> Due:
        tables = self._tables
        if tables is None:
            raise TransientError(self.problem or "the tables are not open yet; retry", code="not_ready")
        return due_in(tables, self._engine, wish, before)

    def _events(self, tenant: str, wanted: Wanted) -> Listed:
        days = [None if at_us is None else day_of(at_us // DAY_US) for at_us in (wanted.since_us, wanted.until_us)]
        with self._lock:
            tables = self._tables
            if tables is None:
                raise TransientError("events cannot be read now; retry", code="not_ready")
            notes, files, horizons = tables.view(EVENTS.name, tenant, *days)
            hot = {name: list(column) for name, column in self._entries.columns.items()}
            if self._sealed.number > notes.get(WRITTEN, 0):
                for name, column in self._sealed.entries.columns.items():
                    hot[name] += column
        first = first_day(horizons, EVENTS.name, tenant)
        check_there(wanted.since_us, wanted.until_us, first * DAY_US, first)
        whole = replace(wanted, since_us=max(wanted.since_us or 0, first * DAY_US))
        return Listed(self._engine.events(tenant, whole, self._fetched(tables, files), hot), first)

    def _fetched(self, tables: Tables, files: Sequence[File]) -> list[str]:
        """Raises: TransientError: one of them is damaged; all are made again."""
        try:
            return tables.fetch(files)
        except Damaged as error:
            self._damaged = error
            self._wake.set()
            raise TransientError(f"events have to be folded again: {error.message}", code="not_ready") from error

    def _answer(self, version: Version, query: Query) -> Answer:
        days = [None if minute is None else day_of(minute // DAY_MINUTES) for minute in (query.since, query.until)]
        with self._lock:
            tables, main = self._tables, self._main
            if tables is None or main is None or version.key not in main.versions:  # it went in this very moment
                raise TransientError("the meter cannot answer now; retry", code="not_ready")
            notes, files, horizons = tables.view(ROLLUPS.name, version.tenant, *days)
            rows = [main.fold.rows[version.key]]
            if self._sealed.number > notes.get(WRITTEN, 0) and version.key in self._sealed.rollups:
                rows.append(self._sealed.rollups[version.key])
            held = [some.held(query.since or 0, query.until) for some in rows]
        first = first_day(horizons, ROLLUPS.name, version.tenant)
        check_there(query.since, query.until, first * DAY_MINUTES, first)
        rollups = Rollups(self._fetched(tables, files), columns_of(*held), first * DAY_MINUTES)
        return Answer(version, self._engine.ask(version, query, rollups), first)

    def _run(self) -> None:
        """Until it is closed; what passes is waited for, a damaged view is made again, and one elsewhere opened."""
        while not self._closing.is_set():
            try:
                self._open_and_fold()
                continue
            except (InterlockError, OSError) as error:
                self.problem = f"meters cannot be folded: {error}"
            except Exception as error:  # a defect of ours: whoever asks must hear of it
                _log.exception("the meters' fold has ended")
                self.problem = f"the meters' fold has ended: {error!r}"
            self._closing.wait(AGAIN_S)

    def _open_and_fold(self) -> None:
        tables, settings = self.keeper.open(), self.keeper.settings
        try:
            seq, chain = tables.through
            if seq and next((s.chain.hex() for s in self._reader.scan(STREAM, after=seq - 1)), "") != chain:
                _log.warning("the meters' tables are not of this log: they are made again")
                self.keeper.clear(tables)
                seq, chain = 0, ""
            with self._lock:
                self._tables = tables
                self._periods, self._entries = Periods(self._engine.periods(tables.files(PERIODS.name))), Entries()
                self._sealed = Sealed(tables.notes.get(WRITTEN, 0), {}, Entries())
                self._main, self._behind = Group((), self._directory, seq, chain, self.keeper.left), []
            self._written_ns = self._clock.monotonic_ns()
            self.problem = ""
            while not self._closing.is_set() and is_where(settings, self.keeper.settings):
                if self._damaged:
                    raise self._damaged
                if not self.keeper.busy:  # a version that comes would have rows on both sides of what leaves
                    self._take_up()
                if not (self._step() or self._step_behind() or self.keeper.step(tables) or self._merging.step(tables)):
                    self._wake.wait(POLL_S)
                    self._wake.clear()
            self._write()
        except Damaged as error:
            _log.warning("the meters' tables are made again: %s", error)
            self._damaged = None
            self.keeper.close()
            self.keeper.clear(tables)
            raise
        finally:
            self.keeper.close()
            with self._lock:
                groups = [*self._behind, *([self._main] if self._main else [])]
                self._main, self._behind, self._tables = None, [], None
            for group in groups:
                group.close()
            tables.close()

    def _take_up(self) -> None:
        """Versions that are new to this thread, each where it was left, and those that are gone."""
        assert self._main is not None and self._tables is not None
        wanted = {version.key: version for version in self._wanted}
        held = set(self._main.versions).union(*(group.versions for group in self._behind))
        if wanted.keys() == held:
            return
        notes, main = self._tables.notes, self._main
        new: dict[int, dict[str, Version]] = {}
        for key in wanted.keys() - held:
            new.setdefault(notes.get(key, 0), {})[key] = wanted[key]
        with self._lock:
            main.change(new.pop(main.seq, {}), {}, held - wanted.keys())
            for group in self._behind:
                group.change({}, {}, held - wanted.keys())
            self._behind = [group for group in self._behind if group.versions]
            self._behind += [
                Group(of.values(), self._directory, seq, "", self.keeper.left) for seq, of in sorted(new.items())
            ]

    def _step(self) -> bool:
        """Fold what the log has, and write down what is due; whether there was anything."""
        main = self._main
        assert main is not None
        batch = main.poll()
        for stored in batch:
            self._erase(stored)
            with self._lock:
                self._periods.apply(stored)
                main.apply(stored, self._periods.closings, self._entries)
            self._write_if_due()
        self._write_if_due()
        return bool(batch)

    def _step_behind(self) -> bool:
        """Some records more for the versions that are behind; whether there are any."""
        if not self._behind:
            return False
        main, group = self._main, self._behind[0]
        assert main is not None
        for stored in group.poll(main.seq) if group.seq < main.seq else []:
            self._erase(stored)
            group.apply(stored, self._periods.closings)
            self._write_if_due()
        if group.seq >= main.seq:
            with self._lock:
                main.change(group.versions, group.fold.rows, ())
                self._behind.remove(group)
            group.close()
        return True

    def _erase(self, stored: Stored) -> None:
        """Before the last record of an erasure is folded, no row holds the names any more. It can be repeated."""
        if (erasure := ending(stored, self._names)) and (tables := self._tables):
            self._write()
            self.keeper.settle(tables)
            for table, change in changes(erasure).items():
                tables.rewrite(table, erasure.tenant, change)
            self._written_ns = 0  # soon, for whoever waits until it is on the disk

    def _write_if_due(self) -> None:
        """A disk that is full costs memory for a while, not answers. Raises: TransientError: too long."""
        held = self._entries.weight + sum(group.fold.size for group in (self._main, *self._behind) if group)
        since_s = (self._clock.monotonic_ns() - self._written_ns) / 1e9
        if since_s < (AGAIN_S if self._failed else 0.0 if held >= ROWS_MAX else WRITE_S):
            return
        try:
            self._write()
            self._failed = False
        except TransientError:
            if held >= HELD_MAX:
                raise
            self._failed = True

    def _write(self) -> None:
        """Write all rows down, with how far each version is. Raises: TransientError: they are held still."""
        main, tables = self._main, self._tables
        assert main is not None and tables is not None
        self._written_ns = self._clock.monotonic_ns()
        groups = [main, *self._behind]
        notes = {key: group.seq for group in groups for key in group.versions}
        number = tables.notes.get(WRITTEN, 0) + 1
        if notes == {key: seq for key, seq in tables.notes.items() if key != WRITTEN} and tables.through[0] == main.seq:
            return
        with self._lock:
            for group in groups:
                group.leave_out(self._entries if group is main else None)
            rows = {key: held for group in groups for key, held in group.fold.take().items()}
            sealed = self._sealed = Sealed(number, rows, self._entries)
            self._entries = Entries()
        new = {
            ROLLUPS.name: rollup_columns(rows),
            EVENTS.name: sealed.entries.columns,
            PERIODS.name: self._periods.columns(),
        }
        try:
            tables.commit(new, main.seq, main.chain, {**notes, WRITTEN: number})
        except BaseException:
            with self._lock:
                for group in groups:
                    group.fold.rows = {key: rows[key] for key in group.fold.rows}
                self._entries, self._sealed = sealed.entries, Sealed(number - 1, {}, Entries())
            raise
        self._periods.new.clear()
        with self._lock:
            self._sealed = Sealed(number, {}, Entries())
