"""Append-only tables as plain Parquet files, filled by a fold of the log, in a directory or an S3-compatible store.

A commit writes one file a table, then the manifest; a merge or a removal writes its files, then the manifest. Whatever
instant the process dies at, the manifest there is names whole files and says up to which record of the log they are
complete; what it does not name is removed at the next opening. Files that a newer manifest no longer names stay for a
grace, for the questions that were given them.

    manifest.json, lock, scratch/
    TABLE/shared/[month=…/|day=…/]FIRST-LAST.NUMBER.parquet
    TABLE/tenant=…/day=…/FIRST-LAST.NUMBER.parquet

It does not know what the rows mean, and answers no question: DuckDB does, over `files`.
"""

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from interlock.clock import Clock, SystemClock
from interlock.errors import LocalError
from interlock.tables.leaving import Archive, Parting, apart, check_apart, send
from interlock.tables.manifest import Damaged, File, Horizon, horizon_key
from interlock.tables.place import Directory, Place
from interlock.tables.plan import choose, wanted
from interlock.tables.state import State
from interlock.tables.table import Change, Columns, Table, check_table, count_rows

GRACE_S = 600.0
"""How long a question may go on with the files it was given."""
CACHE_BYTES_MAX = 4 << 30
"""Of the copies of a store's files."""

_log = logging.getLogger(__name__)


class View(NamedTuple):
    """What stands at one instant."""

    notes: Mapping[str, int]
    files: Sequence[File]
    horizons: Mapping[str, Horizon]


class Tables:
    """One place's. One thread commits, compacts and removes; any thread asks for files."""

    def __init__(
        self,
        place: str | Path,
        tables: Sequence[Table],
        *,
        options: Mapping[str, str] | None = None,
        cache: Path | None = None,
        cache_bytes_max: int = CACHE_BYTES_MAX,
        clock: Clock | None = None,
        grace_s: float = GRACE_S,
        anew: bool = False,
        reached: Callable[[str], None] = lambda point: None,
    ) -> None:
        """Open what is there, or begin. It touches the disk or the network, and loads DuckDB.

        Args:
            place: a directory, or `s3://bucket/prefix`. options: of a store (`objects.OPTIONS`).
            cache: of a store: a directory for copies of its files, and for files on their way.
            grace_s: how long a file that is no longer named stays. anew: forget what is there, damaged or not.
            reached: told each point that a crash may come at: `written`, `kept`, `adopted`, `archived`,
                `archive_adopted`.
        Raises: Damaged: the manifest, or a file of it that is missing. InterlockError `conflict`: another process has
            it. LocalError: a bad table, address or option. TransientError `view_unavailable`.
        """
        for table in tables:
            check_table(table)
        self._tables = {table.name: table for table in tables}
        self._where, self._options, self._reached = str(place), options or {}, reached
        self._clock = clock or SystemClock()
        self._grace_s = grace_s
        self._place = self._open(place, self._options, cache, cache_bytes_max)
        try:
            from interlock.tables.parquet import Writer  # DuckDB and numpy take longer to load than all else

            self._state = State(self._place, tables, self._clock, grace_s, anew=anew)
            self._writer = Writer(self._place.scratch)
        except BaseException:
            self._place.close()
            raise

    @property
    def through(self) -> tuple[int, str]:
        """(the record of the log up to which all rows are here, its chain value in hex); (0, ""): none."""
        manifest = self._state.manifest
        return manifest.seq, manifest.chain

    @property
    def moving(self) -> bool:
        """Whether there are files that are marked: on their way to an archive, or about to be dropped."""
        return any(file.leaving for file in self._state.manifest.files)

    @property
    def notes(self) -> Mapping[str, int]:
        """As the last commit left them."""
        return self._state.manifest.notes

    @property
    def horizons(self) -> Mapping[str, Horizon]:
        """What has left, by `horizon_key`."""
        return self._state.manifest.horizons

    def commit(self, rows: Mapping[str, Columns], seq: int, chain: str, notes: Mapping[str, int] | None = None) -> None:
        """Add rows to any number of tables, all or none: they and `through` are on the disk when this returns.

        Args:
            rows: by table, then by column: str, int, bool, float or None; DECIMAL as text (digits beyond the
                scale are rounded), DATE as days and TIMESTAMP as microseconds since 1970. A table without rows
                may be missing.
            seq, chain: the record up to which these are the log's rows; beyond `through`, or with other notes there.
            notes: the filler's own, kept with the rows; None: as they are.
        Raises: LocalError: the rows are not a table's, or `seq` goes back. TransientError `view_unavailable`: the
            disk or network failed. After either it may be called again with the same rows.
        """
        done = self._state.manifest.seq
        if seq < done or (seq == done and (notes is None or notes == self.notes)):
            raise LocalError(f"record {seq} is not after {done}", field="seq")
        counts = {name: count_rows(self._table(name), columns) for name, columns in rows.items()}
        with self._state.change(self._reached) as change:
            for name in sorted(name for name, n in counts.items() if n):
                change.keep(self._writer.write(self._tables[name], rows[name]), name, (min(done + 1, seq), seq))
            change.adopt(through=(seq, chain), notes=notes)

    def files(
        self, table: str, tenant: str | None = None, first_day: date | None = None, last_day: date | None = None
    ) -> list[str]:
        """Local paths for `read_parquet(…, hive_partitioning = false)`, good for the grace: what holds these rows, and
        others too. Days are inclusive. In no order.

        Raises: Damaged: one of them is. LocalError: no such table. TransientError `view_unavailable`.
        """
        return self.fetch(self.view(table, tenant, first_day, last_day).files)

    def view(
        self, table: str, tenant: str | None = None, first_day: date | None = None, last_day: date | None = None
    ) -> View:
        """The same files, not fetched yet, and the notes that were committed with them."""
        self._table(table)
        first, last = (day.isoformat() if day else None for day in (first_day, last_day))
        manifest = self._state.manifest
        return View(manifest.notes, wanted(manifest.files, table, tenant, first, last), manifest.horizons)

    def fetch(self, files: Sequence[File]) -> list[str]:
        """As `files`, of a view."""
        return self._place.fetch(files)

    def compact(self, stopping: Callable[[], bool] = lambda: False) -> bool:
        """One merge, of at most `plan.STEP_ROWS_MAX` rows: seconds. Whether it did anything, so may be called again.

        What is replaced stays for the grace. Asked between its files, `stopping` makes it give up without a trace.
        Raises: Damaged: a file that was to be merged is. LocalError: a sum is beyond its type. TransientError
            `view_unavailable`. Nothing was changed.
        """
        self._state.sweep()
        taken = choose(self._state.manifest.files)
        if not taken:
            return False
        table, part, tenant = self._tables[taken[0].table], taken[0].part, taken[0].tenant
        seqs = min(file.first_seq for file in taken), max(file.last_seq for file in taken)
        try:
            self._writer.load(table, self._place.fetch(taken), merge=True)
            with self._state.change(self._reached) as change:
                for output in self._writer.outputs(table, part, tenant):
                    if stopping():
                        return False
                    if made := self._writer.write_output(table, output):
                        change.keep(made, table.name, seqs, output.part, output.tenant)
                change.adopt(gone=taken)
        finally:
            self._writer.drop()
        return True

    def drop(self, table: str, before: date, tenant: str | None = None) -> int:
        """Remove every row before that day (of that tenant); how many there were.

        A removal that breaks off removed nothing, or all.
        Raises: LocalError; Damaged; TransientError `view_unavailable`.
        """
        return _whole(self.leave(table, before, tenant))

    def rewrite(self, table: str, tenant: str, change: Change) -> int:
        """Write every file anew that holds rows which a change is about; how many such rows there were.

        It can be repeated when it breaks off, if the change is not about the rows that it makes. What is replaced
        stays for the grace. Raises: as `drop`.
        """
        kept, rows = self._table(table), 0
        for file in wanted(self._state.manifest.files, table, tenant, None, None):
            found, made = self._writer.rewrite(kept, self._place.fetch([file])[0], tenant, change)
            if made:
                with self._state.change(self._reached) as new:
                    new.keep(made, table, (file.first_seq, file.last_seq), file.part, file.tenant, file.leaving)
                    new.adopt(gone=[file])
                rows += found
        return rows

    def archive(self, table: str, before: date, to_place: str | Path, *, cache: Path | None = None) -> int:
        """Move every row before that day to another place, each once, however often this breaks off; how many.

        Args:
            to_place: as `place` of these tables, with the same options. cache: of a store, another than the tables'.
        Raises: as `leave`.
        """
        return _whole(self.leave(table, before, to=Archive(str(to_place), self._options, cache)))

    def leave(
        self,
        table: str,
        before: date,
        tenant: str | None = None,
        *,
        to: Archive | None = None,
        agreed: Callable[[Horizon, int], None] = lambda horizon, rows: None,
    ) -> Generator[None, None, int]:
        """The same in steps, one for each `next`, with commits and merges between them. Returns: the rows that left.

        They are first alone in files that are marked, then (`to`) copied and named by the archive's manifest, then
        named no more by this one, which says what left in its `horizons`.

        Args:
            to: the archive: it has the same form, files and a manifest, and grows with each call. None: they are gone.
            agreed: told what leaves, and how many rows, when the archive has them and before any is gone here: what it
                raises leaves all as it is.
        Raises: Ahead: the archive has rows that these tables were filled with again. LocalError: the archive is of
            other columns or another log, or where the tables are. InterlockError `conflict`: it is in use. Damaged;
            TransientError `view_unavailable`.
        """
        kept, state = self._table(table), self._state
        if tenant is not None and not (tenant and tenant.isprintable()):
            raise LocalError("a tenant has printable characters", field="tenant")
        if to is not None:
            check_apart(self._where, to.place)
        parting = Parting(state, self._writer, kept, before, tenant)
        while parting.step(self._reached):
            yield
        leaving = apart(state.manifest, table, before, tenant)
        horizon = Horizon(before=before.isoformat(), seq=state.manifest.seq, chain=state.manifest.chain)
        if not leaving:
            return 0
        if to is not None:
            other = self._open(to.place, to.options, to.cache, CACHE_BYTES_MAX)
            try:
                yield from send(state.place, state.manifest, kept, leaving, horizon, other, self._reached)
            finally:
                other.close()
        rows = sum(file.rows for file in leaving)
        agreed(horizon, rows)
        self.finish(table, horizon, tenant)
        return rows

    def finish(self, table: str, horizon: Horizon, tenant: str | None = None) -> None:
        """The last step of `leave`, of what was agreed. Raises: TransientError `view_unavailable`."""
        leaving = apart(self._state.manifest, table, date.fromisoformat(horizon.before), tenant)
        gone = [file for file in leaving if file.last_seq <= horizon.seq]
        with self._state.change(self._reached) as change:
            change.adopt(gone=gone, horizons={horizon_key(table, tenant or ""): horizon})

    def clear(self, horizons: Mapping[str, Horizon] = MappingProxyType({})) -> None:
        """Forget everything: `through` is (0, ""), and the log's rows may be committed again, all but those that left.

        Raises: TransientError `view_unavailable`: they may or may not be forgotten; it can be repeated.
        """
        self._state.clear(horizons)

    def close(self) -> None:
        """Give everything back. What was committed stands."""
        self._writer.close()
        self._place.close()

    def _open(self, place: str | Path, options: Mapping[str, str], cache: Path | None, cache_bytes_max: int) -> Place:
        if not str(place).startswith("s3://"):
            return Directory(Path(place))
        from interlock.tables.objects import Objects

        if cache is None:
            raise LocalError("a store needs a directory for copies", field="cache")
        return Objects(
            str(place),
            options,
            cache,
            cache_bytes_max=cache_bytes_max,
            clock=self._clock,
            grace_s=self._grace_s,
        )

    def _table(self, name: str) -> Table:
        table = self._tables.get(name)
        if table is None:
            raise LocalError(f"no such table: {name[:63]!r}", field="table")
        return table


def open_tables(place: str | Path, tables: Sequence[Table], **options: object) -> Tables:
    """As `Tables`; damaged ones are begun anew: they are a view, and `through` says that the log is to be read."""
    try:
        return Tables(place, tables, **options)  # type: ignore[arg-type]  # handed on as they are
    except Damaged as error:
        _log.warning("the tables are made again: %s", error)
        return Tables(place, tables, anew=True, **options)  # type: ignore[arg-type]  # the same


def _whole(steps: Generator[None, None, int]) -> int:
    """All of them at once."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return int(done.value)
