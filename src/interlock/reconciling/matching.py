"""A bill held against what was metered: row by row, with the reason where they differ. Pure.

Theirs is compared at its own granularity and rounding. A row whose figures agree after rounding is matched, with the
residue shown; every other has a class. Nothing is invented: the rows' differences sum to the totals' difference.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from interlock.instants import rfc3339
from interlock.ledger import PARENTS, REQUESTS, Metered
from interlock.reconciling.books import Books, Bucket, Buckets, Sum
from interlock.reconciling.figures import half_even
from interlock.reconciling.report import Class, Row, Status, exact_usd
from interlock.reconciling.shifting import shifted
from interlock.reconciling.sides import CURRENCY, Key, Sides, Theirs, by_model, joined, nano, periods
from interlock.reconciling.statement import Line, Statement
from interlock.units import TOKENS_PER_PRICE

_INPUT = ("input", *(kind for kind, parent in PARENTS.items() if parent == "input"))
_Inside = Mapping[tuple[Bucket, str], Iterable[Class]]
"""By bucket and model (empty: any) why quantities differ there, each once."""
_NOTHING = Sum()
_NONE = Theirs()


class _Cell(NamedTuple):
    """One key on both sides."""

    key: Key
    ours: Sum
    theirs: Theirs
    quantity: bool
    """Whether the bill counts quantities there."""
    money: bool


class _Judged(NamedTuple):
    """The same, and why it differs."""

    cell: _Cell
    classes: tuple[Class, ...]
    unit: Fraction | None
    """Theirs, nano-USD a token, if both are told."""


class Comparison:
    """The rows of one statement."""

    def __init__(
        self, statement: Statement, lines: tuple[Line, ...], entries: Iterable[Metered], since_ns: int, until_ns: int
    ) -> None:
        """
        Args:
            lines: those of the statement that are in the window.
            entries: of the window, of the statement's providers.
        Raises: LocalError: periods overlap.
        """
        self.statement = statement
        self.since_ns, self.until_ns = since_ns, until_ns
        ours = tuple(line for line in lines if line.currency == CURRENCY)
        self._foreign = tuple(line for line in lines if line.currency != CURRENCY)
        buckets = Buckets(periods(ours))
        books = Books(buckets)
        for entry in entries:
            books.add(entry)
        self.sides = Sides(statement, ours, buckets, books)
        self._ulp = Fraction(10) ** (9 - statement.amount_places)
        self._there = by_model(self.sides.ours_quantities) | by_model(self.sides.ours_amounts)
        self._billed = by_model(self.sides.theirs_quantities) | by_model(self.sides.theirs_amounts)
        self._units = self._unit_prices()
        self._unsure = self._nobody_saw()
        self.duplicates: list[Row] = []
        self.judged = self._judge()
        self.rows = self._tell()

    # what is compared

    def _judge(self) -> list[_Judged]:
        cells = [cell for key in self.sides.every_key() if (cell := self._cell(key)) is not None]
        counted: dict[Key, Class] = {}
        differences: dict[Key, Fraction] = {}
        for cell in cells:
            if cell.quantity and not _same_quantity(cell.ours, cell.theirs):
                counted[cell.key] = self._why_quantity(cell.key, cell.ours, cell.theirs)
                differences[cell.key] = (cell.theirs.quantity or Fraction(0)) - cell.ours.quantity
        late = {(bucket, self.sides.names.theirs(name)) for bucket, name in self.sides.books.late}
        counted |= dict.fromkeys(shifted(differences, counted, late), "shifted")
        inside: dict[tuple[Bucket, str], dict[Class, None]] = {}
        for (bucket, model, _), why in sorted(counted.items()):
            for name in {model, ""}:
                inside.setdefault((bucket, name), {})[why] = None
        return [self._judged(cell, counted, inside) for cell in cells]

    def _cell(self, key: Key) -> _Cell | None:
        """Both sides of a key; None: nothing is there."""
        sides = self.sides
        ours = sides.ours_quantities.get(key, sides.ours_amounts.get(key, _NOTHING))
        theirs = self._theirs(key, ours)
        if not (ours.quantity or ours.nanousd or ours.unpriced or theirs.quantity or theirs.nanousd):
            return None
        quantity = key in sides.theirs_quantities or key in sides.ours_quantities
        return _Cell(key, ours, theirs, quantity, key in sides.theirs_amounts or key in sides.ours_amounts)

    def _judged(self, cell: _Cell, counted: Mapping[Key, Class], inside: _Inside) -> _Judged:
        key, ours, theirs = cell.key, cell.ours, cell.theirs
        classes: tuple[Class, ...] = (counted[key],) if key in counted else ()
        if cell.money and not self._same_amount(ours, theirs):
            classes = tuple(dict.fromkeys((*classes, *self._why_amount(cell, classes, inside))))
        elif cell.money and not classes and theirs.nanousd is not None and theirs.nanousd != ours.nanousd:
            classes = ("rounding",)
        told = cell.quantity and theirs.quantity and theirs.nanousd is not None
        return _Judged(cell, classes, theirs.nanousd / theirs.quantity if told else None)  # type: ignore[operator]  # told says that both are there

    def _theirs(self, key: Key, ours: Sum) -> Theirs:
        """Their figures of a key. Rows that are alike are two, unless both sides agree only if they are one."""
        found = self._told(key)
        if found.same is not None:
            self.duplicates.append(self._duplicate(key, found.same, "by its id, the same row"))
        if found.alike is None:
            return found
        whole = found.with_repeats()
        if not self._agree(ours, whole) and self._agree(ours, found):
            self.duplicates.append(self._duplicate(key, found.alike, "a row like it in every cell"))
            return found
        return whole

    def _told(self, key: Key) -> Theirs:
        counted, priced = self.sides.theirs_quantities.get(key), self.sides.theirs_amounts.get(key)
        if counted is None or priced is None:
            return priced or counted or _NONE
        return joined(counted, priced)

    def _agree(self, ours: Sum, theirs: Theirs) -> bool:
        quantity = theirs.quantity is None or _same_quantity(ours, theirs)
        return quantity and (theirs.nanousd is None or self._same_amount(ours, theirs))

    def _same_amount(self, ours: Sum, theirs: Theirs) -> bool:
        """To the nano, or exactly and then rounded as they do: each of their rows once."""
        billed = theirs.nanousd or Fraction(0)
        if half_even(billed) == ours.nanousd and not ours.unpriced:
            return True
        if ours.unpriced:
            return half_even(billed) == ours.nanousd and billed != 0
        exact = Fraction(ours.numerator, TOKENS_PER_PRICE)
        # Each of their rows is rounded by itself, and each row of a bill that we booked to the nano.
        within = max(theirs.priced, 1) * self._ulp / 2 + Fraction(len(ours.adjustments), 2)
        return abs(billed - exact) <= within and theirs.priced > 0

    # why

    def _why_quantity(self, key: Key, ours: Sum, theirs: Theirs) -> Class:
        bucket, model, kind = key
        billed = theirs.quantity or Fraction(0)
        unsure = self.unsure(bucket, model)
        if unsure and self._may_be_lost(key, ours, billed, len(unsure)):
            return "lost" if any(entry.outcome == "lost" for entry in unsure) else "estimated"
        if (bucket, model) not in self._there:
            return "not_metered"
        if (bucket, model) not in self._billed:
            return "not_billed"
        if kind in _INPUT and self._split_otherwise(bucket, model):
            return "cached_split"
        return "quantity"

    def _may_be_lost(self, key: Key, ours: Sum, billed: Fraction, unsure: int) -> bool:
        """Whether calls whose figures nobody saw can be the reason: the rest is not more than was billed, and there
        are no calls in the bill that are not ours."""
        bucket, model, kind = key
        if kind == REQUESTS:
            return 0 < ours.quantity - billed <= unsure
        requests = (bucket, model, REQUESTS)
        told = self.sides.theirs_quantities.get(requests)
        called = self.sides.ours_quantities.get(requests, _NOTHING).quantity
        if told is not None and told.quantity is not None and told.quantity > called:
            return False
        return billed >= ours.quantity - ours.unsure

    def _split_otherwise(self, bucket: Bucket, model: str) -> bool:
        """Whether the input is the same in all."""
        ours = sum(self.sides.ours_quantities.get((bucket, model, kind), _NOTHING).quantity for kind in _INPUT)
        cells = (self.sides.theirs_quantities.get((bucket, model, kind), _NONE) for kind in _INPUT)
        return ours == sum((cell.quantity or Fraction(0) for cell in cells), Fraction(0))

    def _why_amount(self, cell: _Cell, quantity: tuple[Class, ...], inside: _Inside) -> tuple[Class, ...]:
        """`quantity`: why the quantity of the same key differs, if it does."""
        (bucket, model, kind), ours, theirs = cell.key, cell.ours, cell.theirs
        if theirs.category != "usage":
            return (theirs.category,)
        if theirs is _NONE and kind in ("tax", "credit", "refund", "fee"):
            return (kind,)  # type: ignore[return-value]  # one of Class
        if ours.unpriced:
            return ("unpriced",)
        unit, billed = self.unit_price(model, kind, ours), theirs.nanousd or Fraction(0)
        if cell.quantity and theirs.quantity and unit is not None:
            same = abs(billed - theirs.quantity * unit) <= max(theirs.priced, 1) * self._ulp / 2
            return quantity or ("amount",) if same else (*quantity, "price")
        if quantity:
            return quantity
        if (bucket, model) not in self._there:
            return ("not_metered",)
        if (bucket, model) not in self._billed:
            return ("not_billed",)
        if found := inside.get((bucket, model)):
            return tuple(found)
        if unsure := self.unsure(bucket, model):
            return ("lost" if any(entry.outcome == "lost" for entry in unsure) else "estimated",)
        return ("amount",)

    def unsure(self, bucket: Bucket, model: str) -> Sequence[Metered]:
        """Calls of that bucket and model (empty: any) whose figures nobody saw."""
        return self._unsure.get((bucket, model), ())

    def _nobody_saw(self) -> dict[tuple[Bucket, str], list[Metered]]:
        """The same of every bucket and model."""
        found: dict[tuple[Bucket, str], list[Metered]] = {}
        for (bucket, name), entries in self.sides.books.unsure.items():
            for model in {self.sides.names.theirs(name), ""}:
                found.setdefault((bucket, model), []).extend(entries)
        return found

    def unit_price(self, model: str, kind: str, ours: Sum | None) -> Fraction | None:
        """On record, nano-USD a token: of these figures, else of all buckets together; None: there is none."""
        if ours and ours.metered:
            return Fraction(ours.metered_numerator, ours.metered * TOKENS_PER_PRICE)
        return self._units.get((model, kind))

    def _unit_prices(self) -> dict[tuple[str, str], Fraction]:
        """Ours on record, nano-USD a token, of all buckets together: for keys where we have none."""
        sums: dict[tuple[str, str], tuple[int, int]] = {}
        for (_, model, kind), found in self.sides.ours_amounts.items():
            quantity, numerator = sums.get((model, kind), (0, 0))
            sums[model, kind] = (quantity + found.metered, numerator + found.metered_numerator)
        return {
            key: Fraction(numerator, quantity * TOKENS_PER_PRICE)
            for key, (quantity, numerator) in sums.items()
            if quantity
        }

    # how it is told

    def _tell(self) -> tuple[Row, ...]:
        changed = _changes(self.judged)
        rows = [self._row(one, changed.get(one.cell.key)) for one in self.judged]
        rows += self.duplicates
        rows += [_foreign(line) for line in self._foreign if line.amount or line.quantity]
        return tuple(sorted(rows, key=lambda row: (row.starts_ns, row.ends_ns, row.model, row.kind, row.classes)))

    def _row(self, one: _Judged, since_ns: int | None) -> Row:
        ((starts_ns, ends_ns), model, kind), ours, theirs, quantity, money = one.cell
        return Row(
            starts_ns=starts_ns,
            ends_ns=ends_ns,
            model=model,
            kind=kind,
            status=self._status(one),
            classes=one.classes,
            ours_quantity=ours.quantity if quantity else None,
            theirs_quantity=(theirs.quantity or Fraction(0)) if quantity else None,
            ours_nanousd=ours.nanousd if money else None,
            theirs_nanousd=(theirs.nanousd or Fraction(0)) if money else None,
            currency=CURRENCY,
            detail=self._detail(one, since_ns),
            places=tuple(theirs.places),
        )

    def _status(self, one: _Judged) -> Status:
        if one.classes in ((), ("rounding",)):
            return "matched"
        bucket, model, kind = one.cell.key
        place, theirs = (bucket, model), one.cell.theirs
        if place not in self._billed or (kind in ("tax", "credit", "refund", "fee") and theirs is _NONE):
            return "ours_only"
        return "differs" if place in self._there and theirs.category == "usage" else "theirs_only"

    def _detail(self, one: _Judged, since_ns: int | None) -> str:
        told = []
        bucket, model, kind = one.cell.key
        if {"lost", "estimated"} & set(one.classes):
            unsure = self.unsure(bucket, model)
            lost = sum(entry.outcome == "lost" for entry in unsure)
            told.append(f"{lost} lost and {len(unsure) - lost} estimated of ours")
        if "price" in one.classes and one.unit is not None:
            mine = self._units.get((model, kind))
            on_record = "none" if mine is None else f"${_per_million(mine)}"
            since = f" from {rfc3339(since_ns)[:10]} on" if since_ns is not None else ""
            told.append(f"${_per_million(one.unit)} a million{since}, {on_record} on record")
        if "unpriced" in one.classes:
            told.append(f"{one.cell.ours.unpriced} of our calls have no price")
        return "; ".join(told)

    def _duplicate(self, key: Key, repeat: Theirs, what: str) -> Row:
        (starts_ns, ends_ns), model, kind = key
        return Row(
            starts_ns=starts_ns,
            ends_ns=ends_ns,
            model=model,
            kind=kind,
            status="theirs_only",
            classes=("duplicate",),
            ours_quantity=None if repeat.quantity is None else 0,
            theirs_quantity=repeat.quantity,
            ours_nanousd=None if repeat.nanousd is None else 0,
            theirs_nanousd=repeat.nanousd,
            currency=CURRENCY,
            detail=f"{what} stands in the export before: left out",
            places=tuple(repeat.places),
        )


def _foreign(line: Line) -> Row:
    return Row(
        starts_ns=line.starts_ns,
        ends_ns=line.ends_ns,
        model=line.model,
        kind=line.kind or ("" if line.category == "usage" else line.category),
        status="theirs_only",
        classes=("currency",),
        ours_quantity=None,
        theirs_quantity=None if line.quantity is None else Fraction(line.quantity),
        ours_nanousd=None,
        theirs_nanousd=None if line.amount is None else nano(line.amount),
        currency=line.currency,
        detail=f"{line.currency} is not compared with USD",
        places=line.places,
    )


def _same_quantity(ours: Sum, theirs: Theirs) -> bool:
    """Equal; where theirs is no whole number (units of a thousand, rounded): to half a token a row."""
    billed = theirs.quantity or Fraction(0)
    if billed.denominator == 1:
        return billed == ours.quantity
    return abs(billed - ours.quantity) <= Fraction(theirs.rows, 2)


def _changes(judged: list[_Judged]) -> dict[Key, int]:
    """Since when the unit price of each key whose price differs holds: the start of its run of like prices."""
    found: dict[Key, int] = {}
    runs: dict[tuple[str, str], tuple[str, int]] = {}
    for one in judged:
        if one.unit is None:
            continue
        bucket, model, kind = one.cell.key
        price = _per_million(one.unit)
        if runs.get((model, kind), ("", 0))[0] != price:
            runs[model, kind] = (price, bucket[0])
        if "price" in one.classes:
            found[one.cell.key] = runs[model, kind][1]
    return found


def _per_million(unit: Fraction) -> str:
    """Dollars a million, to the tenth of a cent of a cent."""
    return exact_usd(Fraction(round(unit * 1_000_000 / 100_000) * 100_000))
