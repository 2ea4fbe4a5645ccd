"""One import: files to rows to events to the server, and what became of each row. It prints nothing."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import msgspec

from interlock.client import BATCH_BYTES_MAX, BATCH_MAX, Item
from interlock.errors import LocalError
from interlock.importing.lines import STDIN
from interlock.importing.mapping import Mapping
from interlock.importing.rowids import RowIds
from interlock.importing.rows import Bad, Ready, Row, Source
from interlock.importing.sending import Batch

NAMED = 10
"""Rows that the answer names, of those that were not counted."""
RESULTS = ("counted", "duplicate", "conflict", "refused")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was not counted."""

    file: str
    line: int | msgspec.UnsetType = msgspec.UNSET
    row: int | msgspec.UnsetType = msgspec.UNSET
    """One of the two, as the file's `Source.unit` is."""
    result: str
    """`refused` or `conflict`."""
    code: str
    message: str
    field: str
    read: Any = msgspec.UNSET
    """Of a row that could not be sent: what could be read of it."""
    event: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """Of one that was: what was sent."""


class FileTally(msgspec.Struct, kw_only=True):
    """What is known of one file."""

    file: str
    unit: str
    rows: int = 0
    """Read."""
    results: Counter[str] = msgspec.field(default_factory=Counter)
    share: float | None = 0.0
    """As `Source.share`."""
    problem: str = ""
    """Why it was not read to its end."""


Open = Callable[[str], Source]


class Import:
    """Its tallies may be read from another thread at any time."""

    def __init__(self, paths: Sequence[str], open: Open, mapping: Mapping, rejects: IO[bytes] | None = None) -> None:
        """Look at every file's head.

        Args:
            open: one file. What is no plain file is opened once, any other a second time when its turn comes.
            rejects: a line of JSON (`Problem`) goes there for each row that is not counted.
        Raises: OSError. LocalError: a file is not what it should be, or the mapping does not fit its columns.
        """
        self._paths = paths
        self._open = open
        self._opened: dict[int, Source] = {}
        self._mapping = mapping
        self._rejects = rejects
        self._lock = threading.Lock()  # protects what answers change: `files`' results, `named`, the file of rejects
        self.files: list[FileTally] = []
        self.named: list[Problem] = []
        """The first rows that were not counted."""
        for number, path in enumerate(paths):
            source = open(path)
            self.files.append(FileTally(file=source.name, unit=source.unit))
            try:
                if source.columns is not None:
                    mapping.check(source.columns, source.name)
            except LocalError:
                source.close()
                raise
            if path != STDIN and Path(path).is_file():
                source.close()
            else:
                self._opened[number] = source

    def batches(self, size: int = BATCH_MAX) -> Iterator[Batch]:
        """All events, in batches of one file. A file that is damaged ends early, and its tally says so."""
        for number, path in enumerate(self._paths):
            tally = self.files[number]
            try:
                source = self._opened.pop(number, None) or self._open(path)
                try:
                    yield from self._of(number, source, size)
                finally:
                    source.close()
            except LocalError as error:
                tally.problem = error.message
            except OSError as error:
                tally.problem = f"{tally.file} cannot be read: {error.strerror or error}"
            tally.share = 1.0

    def _of(self, number: int, source: Source, size: int) -> Iterator[Batch]:
        """The batches of one file; those before the damage, if it is damaged."""
        tally = self.files[number]
        batch, held = Batch(number, [], []), 0
        damage: LocalError | OSError | None = None
        with closing(RowIds()) as ids:
            rows = source.rows()
            while True:
                try:
                    found = next(rows, None)
                except (LocalError, OSError) as error:
                    found, damage = None, error
                if found is None:
                    break
                tally.rows += 1
                ready = self._ready(tally, found, source, ids)
                if ready is None:
                    continue
                if batch.events and (len(batch.events) >= size or held + len(ready.text) > BATCH_BYTES_MAX):
                    tally.share = source.share()
                    yield batch
                    batch, held = Batch(number, [], []), 0
                batch.places.append(ready.place)
                batch.events.append(ready.text)
                held += len(ready.text)
        if batch.events:
            yield batch
        if damage:
            raise damage

    def answered(self, batch: Batch, items: Sequence[Item]) -> None:
        """Take the server's answers to a batch."""
        tally = self.files[batch.file]
        with self._lock:
            tally.results.update(item.result for item in items)
            for place, event, item in zip(batch.places, batch.events, items, strict=True):
                if item.result in ("conflict", "refused"):
                    sent = msgspec.Raw(event)
                    self._aside(tally, place, item.result, item.code, item.message, item.field, event=sent)

    @property
    def total(self) -> Counter[str]:
        """By result, and `rows`: of all files."""
        with self._lock:
            found = Counter[str]({"rows": sum(one.rows for one in self.files)})
            for one in self.files:
                found.update(one.results)
            return found

    @property
    def share(self) -> float | None:
        """How much of all was read, 0 to 1, as if the files were equally long; None: nobody knows."""
        shares = [one.share for one in self.files]
        known = [share for share in shares if share is not None]
        return sum(known) / len(known) if len(known) == len(shares) else None

    @property
    def is_good(self) -> bool:
        """Whether every row was counted, now or before."""
        total = self.total
        return not total["refused"] and not total["conflict"] and not any(one.problem for one in self.files)

    def _ready(self, tally: FileTally, found: Row | Ready | Bad, source: Source, ids: RowIds) -> Ready | None:
        if isinstance(found, Row):
            try:
                return Ready(found.place, self._mapping.event(found, ids.next, text_cells=source.text_cells))
            except LocalError as error:
                found = Bad(found.place, error.code, error.message, error.field or "", found.cells)
        if isinstance(found, Ready):
            return found
        with self._lock:
            tally.results["refused"] += 1
            self._aside(tally, found.place, "refused", found.code, found.message, found.field, read=found.row)
        return None

    def _aside(
        self,
        tally: FileTally,
        place: int,
        result: str,
        code: str,
        message: str,
        field: str,
        *,
        read: Any = msgspec.UNSET,
        event: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET,
    ) -> None:
        problem = Problem(
            file=tally.file,
            line=place if tally.unit == "line" else msgspec.UNSET,
            row=place if tally.unit == "row" else msgspec.UNSET,
            result=result,
            code=code,
            message=message,
            field=field,
            read=read,
            event=event,
        )
        if len(self.named) < NAMED:
            self.named.append(problem)
        if self._rejects:
            self._rejects.write(_line(problem))


_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode


def _line(problem: Problem) -> bytes:
    """The problem as one line; what JSON has nothing for stands as text."""
    try:
        return _encode(problem) + b"\n"
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return _encode(msgspec.structs.replace(problem, read=ascii(problem.read))) + b"\n"
