"""The views of the log, as `interlock rebuild` knows them: how each is read as it stands, made again, and thrown away.

What is compared is a dump: rows of bytes in one order, in which two views of the same records are equal whatever their
files look like. Identity's directory and the policy are folded in memory by each process and have no file, so they are
not here. A new view of the log is a new line in `VIEWS`.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from interlock.datadir import DataDir
from interlock.errors import TransientError
from interlock.intake import STREAM
from interlock.intake.eraser import running
from interlock.intake.records import closings_of, known_of
from interlock.ledger import Ledger, Readable, copy_view, delete_view
from interlock.log import Stored
from interlock.log.reader import JournalReader
from interlock.log.sqlite import SqliteLog
from interlock.log.verify import Progress
from interlock.meters.settings import Store

if TYPE_CHECKING:  # numpy and DuckDB take longer to import than the rest
    from interlock.intake.index import Manifest
    from interlock.intake.runs import Run
    from interlock.meters.rebuilding import Standing as Tables
    from interlock.tables import Horizon

_PROGRESS_EVERY = 1000


class Dump(msgspec.Struct, frozen=True, kw_only=True):
    """A view at one position."""

    position: Mapping[str, int]
    """By stream, the last record that is in it."""
    rows: Iterator[bytes]
    show: Callable[[bytes], str]
    """A row as people read it."""


class View(NamedTuple):
    """One view. The directories given are for its own use, and removed afterwards."""

    name: str
    standing: Callable[[DataDir, Path], AbstractContextManager[Dump | None]]
    """As it stands, its owner running or not; None: there is none."""
    rebuilt: Callable[[DataDir, Path, Mapping[str, int], Progress], AbstractContextManager[Dump]]
    """Made from the log alone, up to a position."""
    drop: Callable[[DataDir], None]
    """Throw it away; nobody has it open."""


class _Until:
    """A log as it was at a position."""

    def __init__(self, log: Readable, position: Mapping[str, int], progress: Progress) -> None:
        self._log = log
        self._position = position
        self._progress = progress

    async def head(self, stream: str) -> int:
        return self._position.get(stream, 0)

    async def read(self, stream: str, *, after: int = 0) -> AsyncIterator[Stored]:
        if after < self._position.get(stream, 0):
            async for stored in self._log.read(stream, after=after):
                yield stored
                if stored.seq % _PROGRESS_EVERY == 0:
                    self._progress(stream, stored.seq)
                if stored.seq == self._position[stream]:
                    return

    async def streams(self) -> list[str]:
        return sorted(self._position)


@contextmanager
def _standing_ledger(places: DataDir, scratch: Path) -> Iterator[Dump | None]:
    if not places.ledger.is_file():
        yield None
        return
    path = scratch / "standing.sqlite"
    copy_view(places.ledger, path)
    with closing(Ledger(path)) as ledger:
        yield _dump_of(ledger)


@contextmanager
def _rebuilt_ledger(places: DataDir, scratch: Path, position: Mapping[str, int], progress: Progress) -> Iterator[Dump]:
    with closing(Ledger(scratch / "rebuilt.sqlite")) as ledger, closing(SqliteLog(places.log)) as log:
        journals = _Until(JournalReader(places.journal), position, progress)
        asyncio.run(ledger.catch_up(journals, _Until(log, position, progress)))
        yield _dump_of(ledger)


def _dump_of(ledger: Ledger) -> Dump:
    return Dump(position=ledger.positions(), rows=ledger.rows(), show=lambda row: row.decode(errors="replace"))


@contextmanager
def _standing_index(places: DataDir, scratch: Path) -> Iterator[Dump | None]:
    from interlock.intake.index import standing

    if not places.events_index.is_dir():
        yield None
        return
    yield _dump_of_index(*standing(places.events_index))


@contextmanager
def _rebuilt_index(places: DataDir, scratch: Path, position: Mapping[str, int], progress: Progress) -> Iterator[Dump]:
    from interlock.intake.index import Index, standing

    index, end, seq, chain = Index(scratch / "index"), position.get(STREAM, 0), 0, b""
    with closing(index):
        for stored in JournalReader(places.journal).scan(STREAM) if end else ():
            seq, chain = stored.seq, stored.chain
            index.add(known_of(stored), seq, chain, closings_of(stored))
            if seq % _PROGRESS_EVERY == 0:
                progress(STREAM, seq)
            if seq == end:
                break
        index.settle(seq, chain)
    yield _dump_of_index(*standing(scratch / "index"))


def _dump_of_index(manifest: "Manifest", runs: "Sequence[Run]") -> Dump:
    from interlock.intake.index import rows_of

    def rows() -> Iterator[bytes]:
        if manifest.through_seq:
            yield f"through record {manifest.through_seq}, chain value {manifest.chain}".encode()
        for closed in manifest.closings:
            yield b"closed " + msgspec.json.encode(closed)
        yield from rows_of(runs)

    return Dump(position={STREAM: manifest.through_seq}, rows=rows(), show=_show_key)


def _show_key(row: bytes) -> str:
    if len(row) != 40:
        return row.decode()
    return f"key {row[:16].hex()} content {row[16:32].hex()} record {int.from_bytes(row[32:], 'big')}"


def _drop_index(places: DataDir) -> None:
    if places.events_index.exists():
        shutil.rmtree(places.events_index)


class _Tables:
    """The tables, where the configuration says that they stand."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @contextmanager
    def standing(self, places: DataDir, scratch: Path) -> Iterator[Dump | None]:
        found = self._standing(places, scratch)
        yield None if found is None else _dump_of_tables(found, found.manifest.horizons)

    @contextmanager
    def rebuilt(
        self, places: DataDir, scratch: Path, position: Mapping[str, int], progress: Progress
    ) -> Iterator[Dump]:
        """What the log says without the rows that it says have left the tables that stand."""
        from interlock.meters.horizons import STREAM as RETENTION
        from interlock.meters.horizons import History
        from interlock.meters.rebuilding import make_again

        if erasing := running(places.erasures):
            what = f"erasure {erasing[0]} is not done yet: what the log makes is on its way; retry when it is"
            raise TransientError(what, code="busy")
        stands = self._standing(places, scratch / "again")
        versions, claimed = (stands.versions, stands.manifest.horizons) if stands else ([], {})
        history = History()
        with closing(SqliteLog(places.log)) as log:
            history.apply(log.read_after(RETENTION, 0))
        known = {key: one for key, one in claimed.items() if history.says(key, one)}
        end = position.get(STREAM, 0)
        made = make_again(places.journal, places.log, scratch / "tables", versions, end, progress, known)
        yield _dump_of_tables(made, known)

    def drop(self, places: DataDir) -> None:
        from interlock.meters.rebuilding import forget

        forget(self._store, places.tables)

    def _standing(self, places: DataDir, scratch: Path) -> "Tables | None":
        from interlock.meters.rebuilding import standing_in

        return standing_in(self._store, places.tables, scratch)


def _dump_of_tables(found: "Tables", horizons: "Mapping[str, Horizon]") -> Dump:
    """A line for each horizon, then the rows."""
    seq = found.manifest.seq
    lines = [f"left {key} before {one.before} of records up to {one.seq}" for key, one in sorted(horizons.items())]
    rows = chain((line.encode() for line in lines), found.rows())
    return Dump(position={STREAM: seq}, rows=rows, show=lambda row: row.decode())


def views(store: Store = Store()) -> Sequence[View]:  # noqa: B008 - it is frozen
    """All of them. `store`: where the tables stand; unless it says so, in the data directory."""
    tables = _Tables(store)
    return (
        View("ledger", _standing_ledger, _rebuilt_ledger, lambda places: delete_view(places.ledger)),
        View("events", _standing_index, _rebuilt_index, _drop_index),
        View("tables", tables.standing, tables.rebuilt, tables.drop),
    )


VIEWS = views()
"""Of a data directory by itself."""
