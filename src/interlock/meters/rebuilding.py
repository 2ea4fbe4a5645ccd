"""The tables as a whole: those that stand, read beside their owner, and the same made again from the log.

Both as rows of text in one order, in which equal tables are equal whatever their files look like.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from interlock.clock import SystemClock
from interlock.errors import TransientError
from interlock.intake.records import STREAM
from interlock.log.check import LogCorrupt
from interlock.log.sqlite import SqliteLog
from interlock.meters.catalog import STREAM as METERS
from interlock.meters.definition import Version
from interlock.meters.entries import EVENTS, PERIODS, Entries
from interlock.meters.folding import ROLLUPS, TABLES, Group, Periods, rollup_columns
from interlock.meters.horizons import Left
from interlock.meters.service import ROWS_MAX, WRITTEN
from interlock.meters.settings import Store
from interlock.tables import Horizon, Table, Tables
from interlock.tables.manifest import NAME, Manifest, decode
from interlock.tables.objects import Objects

Progress = Callable[[str, int], None]
_FETCHED = 10_000


class Standing(NamedTuple):
    """Tables at one moment. Their files stay for a grace, though their owner goes on."""

    place: Path
    manifest: Manifest

    @property
    def versions(self) -> list[str]:
        """Keys of the versions that are folded as far as all else."""
        notes = self.manifest.notes
        return sorted(key for key, seq in notes.items() if key != WRITTEN and seq == self.manifest.seq)

    def rows(self) -> Iterator[bytes]:
        """All rows: of each table in turn, a JSON list each, in order."""
        import duckdb

        try:
            yield from self._rows()
        except duckdb.Error as error:
            raise TransientError(f"the tables cannot be read: {error}", code="view_unavailable") from error

    def _rows(self) -> Iterator[bytes]:
        import duckdb

        with closing(duckdb.connect(config={"memory_limit": "512MB"})) as connection:
            for table in TABLES:
                names = [file.name for file in self.manifest.files if file.table == table.name]
                if not names:
                    continue
                paths = [str(self.place / name) for name in names]
                found = connection.execute(_dump(table), [paths, *([self.versions] if table is ROLLUPS else [])])
                while some := found.fetchmany(_FETCHED):
                    for (row,) in some:
                        yield f"{table.name} {row}".encode()


def standing(place: Path) -> Standing | None:
    """Those in a directory; None: none. Raises: Damaged. OSError."""
    path = place / NAME
    return Standing(place, decode(path.read_bytes())) if path.exists() else None


def standing_in(store: Store, default: Path, scratch: Path) -> Standing | None:
    """Those where the configuration says, of a store copied to `scratch`. Raises: as `standing`. InterlockError."""
    if not store.remote:
        return standing(Path(store.place) if store.place else default)
    with closing(Objects(store.place, store.options(), scratch / "copies", clock=SystemClock())) as objects:
        found = objects.read(NAME)
        if found is None:
            return None
        manifest = decode(found)
        objects.fetch(manifest.files)
        return Standing(scratch / "copies" / "files", manifest)


def forget(store: Store, default: Path) -> None:
    """Throw them away; nobody has them open. Raises: InterlockError. OSError."""
    if not store.remote:
        place = Path(store.place) if store.place else default
        for path in (place, default):
            if (path / NAME).exists():
                shutil.rmtree(path)
        return
    cache = default.with_name("copies")
    Tables(store.place, TABLES, options=store.options(), cache=cache, anew=True).close()


def make_again(
    journals: Path,
    log: Path,
    place: Path,
    versions: list[str],
    seq: int,
    progress: Progress,
    horizons: Mapping[str, Horizon] = MappingProxyType({}),
) -> Standing:
    """Fold the log up to record `seq` into tables at `place`, for those versions, without the rows that have left.

    Raises: InterlockError.
    """
    tables = Tables(place, TABLES, clock=SystemClock())
    try:
        tables.clear(horizons)
        group = Group(_defined(log, versions), journals / STREAM, 0, left=Left(horizons))
        periods, entries = Periods(()), Entries()
        try:
            while group.seq < seq:
                batch = group.poll(seq)
                if not batch:
                    raise LogCorrupt(STREAM, group.seq + 1, "the record is missing")
                for stored in batch:
                    periods.apply(stored)
                    group.apply(stored, periods.closings, entries)
                    if len(entries) + group.fold.size >= ROWS_MAX:
                        entries = _write(tables, group, periods, entries)
                progress(STREAM, group.seq)
            _write(tables, group, periods, entries)
        finally:
            group.close()
    finally:
        tables.close()
    found = standing(place)
    assert found is not None
    return found


def _write(tables: Tables, group: Group, periods: Periods, entries: Entries) -> Entries:
    if tables.through[0] < group.seq:
        group.leave_out(entries)
        rows: Mapping[str, dict[str, list[object]]] = {
            ROLLUPS.name: rollup_columns(group.fold.take()),
            EVENTS.name: entries.columns,
            PERIODS.name: periods.columns(),
        }
        tables.commit(rows, group.seq, group.chain, dict.fromkeys(group.versions, group.seq))
        periods.new.clear()
    return Entries()


def _defined(log: Path, versions: list[str]) -> list[Version]:
    """Of all that were ever defined, retired ones too."""
    with closing(SqliteLog(log)) as opened:
        records = [stored.record for stored in opened.read_after(METERS, 0)]
    defined = [msgspec.json.decode(one.payload, type=Version) for one in records if one.type == "meter.defined"]
    return [version for version in defined if version.key in versions]


def _dump(table: Table) -> str:
    columns = ", ".join(f'"{name}"' for name, _ in table.columns)
    source = f"SELECT {columns} FROM read_parquet(?, hive_partitioning = false)"
    if table is ROLLUPS:
        source += " WHERE list_contains(?, tenant || '/' || meter || '/' || version)"
        source = f"SELECT {columns} FROM (WITH rows AS ({source}) {table.merge})"
    cells = ", ".join(f'"{name}"::VARCHAR' for name, _ in table.columns)
    return f"SELECT to_json([{cells}])::VARCHAR FROM ({source}) ORDER BY {columns}"
