"""Files of one format to a statement."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from interlock.errors import LocalError
from interlock.reconciling import tables
from interlock.reconciling.exports import anthropic, aws, columns, focus, openai
from interlock.reconciling.exports.pages import Pages
from interlock.reconciling.moments import Width
from interlock.reconciling.statement import FILES_MAX, Charge, File, Statement, add_up, finest

FORMATS = ("openai", "anthropic", "aws", "focus", "csv")
PROVIDERS: Mapping[str, tuple[str, ...]] = {"openai": ("openai",), "anthropic": ("anthropic",), "aws": ("bedrock",)}
"""Whose usage a format is of, if nothing else is said."""
NOTES_MAX = 20
CHARGES_MAX = 2_000_000


class _Rows(Protocol):
    def charges(self, place: str, cells: Mapping[str, Any]) -> Iterator[Charge]: ...


def read(
    format: str,
    paths: Sequence[Path],
    *,
    providers: Sequence[str] = (),
    named: Sequence[tuple[str, str]] = (),
    width: Width = "day",
    amount_places: int | None = None,
    models: Mapping[str, str] | None = None,
) -> Statement:
    """What the files say together.

    Args:
        format: one of FORMATS.
        providers: as the configuration names them (default: the format's own).
        named: of `csv`: field and column.
        width: of `csv`: the bucket of rows without an end.
        amount_places: to how many places amounts are rounded (default: as the finest is written).
        models: our names for models to theirs.
    Raises: OSError. LocalError: file, row and column are named.
    """
    whose = tuple(providers) or PROVIDERS.get(format, ())
    if not whose:
        raise LocalError(f"whose usage is it? --of PROVIDER, as the configuration names it ({format} does not say)")
    if not 1 <= len(paths) <= FILES_MAX:
        raise LocalError(f"give 1 to {FILES_MAX} files", field="file")
    reader = _Reader(format, named, width)
    files: list[File] = []
    charges: list[Charge] = []
    for path in paths:
        file = tables.describe(path)
        if any(file.sha256 == other.sha256 for other in files):
            reader.notes.append(f"{file.name} is the same file as another, and left out")
            continue
        files.append(file)
        for charge in reader.charges(path):
            charges.append(_placed(charge, path, len(paths)))
            if len(charges) > CHARGES_MAX:
                raise LocalError(f"more than {CHARGES_MAX} figures: take a shorter time", field="file")
    notes = [*reader.notes, *reader.last_notes()]
    least = amount_places if amount_places is not None else reader.places
    found = [charge.amount for charge in charges if charge.amount is not None]
    return Statement(
        format=format,
        providers=whose,
        files=tuple(files),
        lines=add_up(_counted_once(charges)),
        kinds=tuple(sorted(reader.kinds | {charge.kind for charge in charges if charge.category == "usage"})),
        amount_places=least if amount_places is not None else finest(found, least),
        models=dict(models or {}),
        notes=tuple(notes[:NOTES_MAX]),
    )


class _Reader:
    """The reader of a format, over all files."""

    def __init__(self, format: str, named: Sequence[tuple[str, str]], width: Width) -> None:
        if format not in FORMATS:
            raise LocalError(f"{format!r} is not one of {', '.join(FORMATS)}", field="--provider")
        if named and format != "csv":
            raise LocalError("--columns goes with --provider csv", field="--columns")
        self.format = format
        self.notes: list[str] = []
        self.kinds: set[str] = set()
        self._left_out: dict[str, int] = {}
        self._table: aws.Rows | focus.Rows | columns.Rows | None = None
        self._columns: dict[str, str] = {}
        if format == "aws":
            self._table, self.kinds, self.places = aws.Rows(), set(aws.KINDS), aws.PLACES
        elif format == "focus":
            self._table, self.kinds, self.places = focus.Rows(), set(focus.KINDS), focus.PLACES
        elif format == "csv":
            self._columns = columns.mapping(named)
            self._table, self.places = columns.Rows(self._columns, width), columns.PLACES
            self.kinds = self._columns.keys() & set(columns.QUANTITIES)
        else:
            self.places = openai.PLACES if format == "openai" else anthropic.PLACES

    def charges(self, path: Path) -> Iterator[Charge]:
        """Of one file."""
        if self._table is not None:
            yield from self._rows(path, self._table)
        elif self.format == "openai" and tables.kind_of(path) != "json":
            yield from self._dashboard(path)
        else:
            module = openai if self.format == "openai" else anthropic
            pages = Pages(tables.documents(path), module.STARTS)
            for result in pages.results():
                yield from self._noted(module.charges(result, self._left_out))
            self.notes += pages.notes

    def last_notes(self) -> list[str]:
        """What is known when all files were read."""
        notes = [f"left out, as they are not metered here: {count} of {name}" for name, count in self._left_out.items()]
        if isinstance(self._table, aws.Rows | focus.Rows):
            notes += self._table.notes()
        return notes

    def _noted(self, charges: Iterable[Charge]) -> Iterator[Charge]:
        """With the kinds that a report tells apart, used or not."""
        for charge in charges:
            if charge.amount is not None and charge.kind and charge.category == "usage":
                self.kinds |= set(openai.COST_KINDS if self.format == "openai" else anthropic.KINDS)
            elif charge.quantity is not None:
                self.kinds.add(charge.kind)
            yield charge

    def _rows(self, path: Path, rows: _Rows) -> Iterator[Charge]:
        normal: Callable[[str], str] = aws.column if self.format == "aws" else str
        needed = {"aws": aws.NEEDED, "focus": focus.NEEDED}.get(self.format, tuple(self._columns.values()))
        wanted = {"aws": aws.wanted, "focus": focus.wanted}.get(self.format, lambda name: True)
        names, every = tables.table(path, wanted)
        missing = [name for name in needed if name not in {normal(one) for one in names}]
        if missing:
            known = ", ".join(name[:40] for name in list(names)[:12])
            raise LocalError(f"{path.name} has no column {missing[0]!r}; it has {known}", field="file")
        for row in every:
            yield from rows.charges(row.place, row.cells)

    def _dashboard(self, path: Path) -> Iterator[Charge]:
        names, every = tables.table(path, lambda name: True)
        if not {openai.USAGE_COLUMN, openai.COST_COLUMN} & set(names):
            raise LocalError(f"{path.name} has neither {openai.USAGE_COLUMN} nor {openai.COST_COLUMN}", field="file")
        seen: set[tuple[str, ...]] = set()
        for row in every:
            key = tuple(map(str, row.cells.values()))
            result = openai.row(row.cells, row.place, "alike" if key in seen else "")
            seen.add(key)
            yield from self._noted(openai.charges(result, self._left_out))


def _placed(charge: Charge, path: Path, files: int) -> Charge:
    return msgspec.structs.replace(charge, place=f"{path.name} {charge.place}"[:300]) if files > 1 else charge


def _counted_once(charges: Sequence[Charge]) -> Iterator[Charge]:
    """Where a report of usage says how much was used, what a report of costs says of that is not added to it."""
    counted = any(one.quantity is not None and one.amount is None and one.category == "usage" for one in charges)
    for charge in charges:
        if counted and charge.amount is not None and charge.quantity is not None:
            charge = msgspec.structs.replace(charge, quantity=None)
        yield charge
