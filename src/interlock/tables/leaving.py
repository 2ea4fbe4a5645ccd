"""Rows that leave: set apart in files that are marked, and copied to an archive, which is a place of the same form.

An archive's manifest names each file once and says, by table, which days of which records have come; so a move that
breaks off goes on with the same files, and tables that were filled again from the log do not send rows twice.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from interlock.errors import LocalError, TransientError
from interlock.tables.manifest import NAME, File, Horizon, Manifest, decode, encode, horizon_key
from interlock.tables.place import Place
from interlock.tables.plan import wanted
from interlock.tables.state import State
from interlock.tables.table import Table

if TYPE_CHECKING:
    from interlock.tables.parquet import Writer


class Archive(NamedTuple):
    """Where rows go."""

    place: str
    """As that of tables."""
    options: Mapping[str, str]
    cache: Path | None
    """Of a store, another than the tables'."""


class Ahead(LocalError):
    """The archive has rows that the tables hold too: they were filled again without knowing that these had left."""

    def __init__(self, horizon: Horizon) -> None:
        super().__init__(
            f"the archive has the rows before {horizon.before} of records up to {horizon.seq}, which the tables were "
            "filled with again; name an empty place",
            field="to_place",
        )
        self.horizon = horizon


def check_apart(place: str, archive: str) -> None:
    """Raises: LocalError: one is in the other, whose opening would take its files for its own."""
    one, other = (_parts(address) for address in (place, archive))
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        raise LocalError("an archive cannot be where the tables stand, nor in it or around it", field="to_place")


def _parts(address: str) -> tuple[str, ...]:
    if address.startswith("s3://"):
        return ("s3:", *(part for part in address.removeprefix("s3://").split("/") if part))
    return Path(address).resolve().parts


class Parting:
    """Rows before a day (of a tenant) come to be alone in marked files."""

    def __init__(self, state: State, writer: "Writer", table: Table, before: date, tenant: str | None) -> None:
        self._state, self._writer = state, writer
        self._table, self._before, self._tenant = table, before, tenant
        self._without: set[str] = set()
        """Names of files in which there are none."""

    def step(self, reached: Callable[[str], None]) -> bool:
        """Mark all whole files at once, then one other file a step. Whether it did anything, so may be called again."""
        last = _day_before(self._before)
        files = [
            file
            for file in wanted(self._state.manifest.files, self._table.name, self._tenant, None, last)
            if not file.leaving and file.name not in self._without
        ]
        whole = [file for file in files if _is_whole(file, last, self._tenant)]
        if whole:
            with self._state.change(reached) as change:
                change.adopt(leaving=whole)
        return bool(whole) or any(self._split(file, reached) for file in files)

    def _split(self, file: File, reached: Callable[[str], None]) -> bool:
        """One file in two; whether it holds any such rows."""
        paths = self._state.place.fetch([file])
        if not self._writer.holds(self._table, paths, self._before, self._tenant):
            self._without.add(file.name)
            return False
        self._writer.load(self._table, paths, merge=False)
        try:
            old, others = self._writer.split(self._table, self._before, self._tenant)
        finally:
            self._writer.drop()
        seqs = file.first_seq, file.last_seq
        with self._state.change(reached) as change:
            change.keep(old, self._table.name, seqs, file.part, file.tenant, leaving=True)
            if others:
                change.keep(others, self._table.name, seqs, file.part, file.tenant)
            change.adopt(gone=[file])
        return True


def apart(manifest: Manifest, table: str, before: date, tenant: str | None) -> list[File]:
    """The marked files that hold nothing else than such rows."""
    last = _day_before(before)
    files = wanted(manifest.files, table, tenant, None, last)
    return [file for file in files if file.leaving and _is_whole(file, last, tenant)]


def _day_before(day: date) -> str:
    """ISO 8601; days begin with 1970."""
    return (max(day, date(1970, 1, 1)) - timedelta(days=1)).isoformat()


def _is_whole(file: File, last: str, tenant: str | None) -> bool:
    """Whether it holds nothing else than rows up to that day (of that tenant)."""
    return file.last_day <= last and (tenant is None or file.first_tenant == file.last_tenant)


def send(
    place: Place,
    manifest: Manifest,
    table: Table,
    leaving: Sequence[File],
    horizon: Horizon,
    other: Place,
    reached: Callable[[str], None],
) -> Iterator[None]:
    """Copy them, one file a step, and name them in the archive's manifest. Raises: as `Tables.leave`."""
    archived = _archived(other, manifest, table)
    there = {file.name for file in archived.files}
    new = [(file, name) for file in leaving if (name := _name_there(file.name, manifest, archived)) not in there]
    for file, name in new:
        _copy(place, file, name, other)
        reached("archived")
        yield
    files = archived.files + tuple(replace(file, name=name, leaving=False) for file, name in new)
    horizons = {**archived.horizons, horizon_key(table.name): horizon}
    other.write(NAME, encode(replace(archived, files=files, horizons=horizons)))
    reached("archive_adopted")


def _archived(other: Place, manifest: Manifest, table: Table) -> Manifest:
    """The manifest of an archive, this table in it."""
    found = other.read(NAME)
    archived = Manifest(history=manifest.history, columns={}, archive=True) if found is None else decode(found)
    columns = list(table.columns)
    if not archived.archive or archived.columns.get(table.name, columns) != columns:
        raise LocalError("no archive of these columns stands there; name an empty place", field="to_place")
    key = horizon_key(table.name)
    has, left = archived.horizons.get(key), manifest.horizons.get(key)
    if has and has.seq > manifest.seq:
        raise LocalError(
            f"the archive is of another log, up to record {has.seq}; name an empty place", field="to_place"
        )
    behind = left is None or (has is not None and (has.seq > left.seq or has.before > left.before))
    if has and behind and archived.history != manifest.history:
        raise Ahead(has)
    return replace(archived, columns={**archived.columns, table.name: columns})


def _name_there(name: str, manifest: Manifest, archived: Manifest) -> str:
    """Tables that are filled again count their files from 1 again."""
    if manifest.history == archived.history:
        return name
    return f"{name.removesuffix('.parquet')}-{manifest.history[-12:]}.parquet"


def _copy(place: Place, file: File, name: str, other: Place) -> None:
    made = other.scratch / "archived.parquet"
    try:
        shutil.copyfile(place.fetch([file])[0], made)
    except OSError as error:
        raise TransientError(f"{file.name}: {error.strerror}", code="view_unavailable") from error
    other.keep(name, made)
