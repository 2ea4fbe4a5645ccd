"""What a provider says it charged: the values that every reader makes of its export, and the comparison reads. Pure.

A charge is one figure of one kind of one row; a statement holds them added up to lines, each for one period, model,
kind, currency and category. Nothing is converted but units (cents to dollars, thousands of tokens to tokens).
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from interlock.errors import LocalError
from interlock.instants import rfc3339
from interlock.reconciling.figures import PLACES_MAX, exact, places, plus
from interlock.units import INT64_MAX

FILES_MAX = 400
LINES_MAX = 50_000
"""Of one statement: a month by the hour of some ten models."""
PLACES_SHOWN = 3
NAME_MAX = 200
"""Characters of a model's or kind's name."""
TEXT_MAX = 1_000
"""Characters of any other text of a statement."""
NAMES_MAX = 1_000
"""Providers, and kinds that a statement tells apart."""

Category = Literal["usage", "credit", "refund", "tax", "fee", "other"]
"""usage: for what was used. other: for a product that is not metered here (storage, sandboxes, training)."""

Repeat = Literal["", "alike", "same"]
"""Whether a row stood in the export before. same: its id says that it is the same. alike: every cell of it does, which
two rows of a bill may."""

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one row of an export."""

    place: str
    """Where it stands, as a person finds it: `row 7`, `data[3].results[0]`."""
    starts_ns: int
    ends_ns: int
    """Exclusive."""
    model: str = ""
    """As the provider names it; empty: the export does not say."""
    kind: str = ""
    """A kind of usage, exclusive of all others; empty: the export does not say."""
    quantity: Decimal | None = None
    """Tokens, calls; None: the row counts none."""
    amount: Decimal | None = None
    """In the currency's main unit; None: the row has no money."""
    currency: str = "USD"
    category: Category = "usage"
    repeat: Repeat = ""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Charges that agree in all but their figures, added up."""

    starts_ns: int
    ends_ns: int
    model: str
    kind: str
    currency: str
    category: Category
    repeat: Repeat
    rows: int
    priced: int
    """Of these, how many have an amount: each was rounded by itself."""
    quantity: Decimal | None
    amount: Decimal | None
    places: tuple[str, ...]
    """Where the first of them stand."""


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a statement."""

    name: str
    sha256: str
    size: int


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What one or several exports say, together."""

    format: str
    """Whose shape: openai, anthropic, aws, focus, csv."""
    providers: tuple[str, ...]
    """Whose usage it is, as the configuration names them."""
    files: tuple[File, ...]
    lines: tuple[Line, ...]
    kinds: tuple[str, ...]
    """What the export tells apart, whether or not it was used."""
    amount_places: int
    """To how many places it rounds amounts, at least."""
    models: dict[str, str] = {}
    """Given by hand: our name for a model to theirs."""
    notes: tuple[str, ...] = ()
    """What a reader left out or found strange."""

    @property
    def sha256(self) -> str:
        """Of the files together: their hashes, sorted."""
        from hashlib import sha256

        return sha256("\n".join(sorted(file.sha256 for file in self.files)).encode()).hexdigest()


def checked(statement: Statement) -> Statement:
    """A statement that came from outside. Raises: LocalError: it is not one that a reader makes."""
    if len(statement.lines) > LINES_MAX or not 1 <= len(statement.files) <= FILES_MAX or not statement.providers:
        raise LocalError(
            f"a statement has 1 to {FILES_MAX} files, at most {LINES_MAX} lines and says whose usage it is",
            field="statement",
        )
    _check_head(statement)
    if not 0 <= statement.amount_places <= PLACES_MAX:
        raise LocalError(f"amount_places is 0 to {PLACES_MAX}", field="statement.amount_places")
    for number, line in enumerate(statement.lines):
        place = f"statement.lines[{number}]"
        _check(line, place)
        if not 0 <= line.priced <= line.rows or line.rows < 1:
            raise LocalError(f"{place}: a line is of one row at least, and priced is of these", field=place)
        if line.quantity is not None:
            exact(str(line.quantity), f"{place}.quantity")
        if line.amount is not None:
            exact(str(line.amount), f"{place}.amount", negative=True)
    return statement


def _check_head(statement: Statement) -> None:
    """Raises: LocalError: longer texts, or more names, than a reader makes."""
    files = statement.files
    named: dict[str, Iterable[str]] = {
        "format": (statement.format,),
        "providers": statement.providers,
        "files": (text for file in files for text in (file.name, file.sha256)),
        "kinds": statement.kinds,
        "models": (name for pair in statement.models.items() for name in pair),
        "notes": statement.notes,
        "lines": (place for line in statement.lines for place in line.places),
    }
    for field, texts in named.items():
        if any(len(text) > TEXT_MAX for text in texts):
            raise LocalError(f"statement.{field}: longer than {TEXT_MAX} characters", field=f"statement.{field}")
    for field, count in (("providers", len(statement.providers)), ("kinds", len(statement.kinds))):
        if count > NAMES_MAX:
            raise LocalError(f"statement.{field}: at most {NAMES_MAX} names", field=f"statement.{field}")
    if any(file.size < 0 for file in files):
        raise LocalError("statement.files: a size is not below 0", field="statement.files")


def add_up(charges: Iterable[Charge]) -> tuple[Line, ...]:
    """The charges as lines, in order. Raises: LocalError: more than LINES_MAX, or a charge that is senseless."""
    sums: dict[tuple[int, int, str, str, str, Category, Repeat], list[Charge]] = {}
    totals: dict[tuple[int, int, str, str, str, Category, Repeat], tuple[Decimal | None, Decimal | None, int, int]] = {}
    for charge in charges:
        _check(charge, charge.place)
        key = (
            *(charge.starts_ns, charge.ends_ns, charge.model, charge.kind),
            *(charge.currency, charge.category, charge.repeat),
        )
        first = sums.setdefault(key, [])
        if len(first) < PLACES_SHOWN:
            first.append(charge)
        quantity, amount, rows, priced = totals.get(key, (None, None, 0, 0))
        priced += charge.amount is not None
        totals[key] = (_sum(quantity, charge.quantity), _sum(amount, charge.amount), rows + 1, priced)
        if len(totals) > LINES_MAX:
            raise LocalError(f"the export has more than {LINES_MAX} lines: take a shorter time", field="file")
    return tuple(
        Line(
            starts_ns=key[0],
            ends_ns=key[1],
            model=key[2],
            kind=key[3],
            currency=key[4],
            category=key[5],
            repeat=key[6],
            rows=totals[key][2],
            priced=totals[key][3],
            quantity=totals[key][0],
            amount=totals[key][1],
            places=tuple(charge.place for charge in sums[key]),
        )
        for key in sorted(totals)
    )


def finest(numbers: Iterable[Decimal | None], least: int) -> int:
    """The most places that any of them is written with, at least `least`."""
    return max([least, *(places(number) for number in numbers if number is not None)])


def within(lines: Sequence[Line], since_ns: int | None, until_ns: int | None) -> tuple[tuple[Line, ...], int]:
    """The lines whose periods lie wholly in [since, until), and how many do not."""
    kept = tuple(
        line
        for line in lines
        if (since_ns is None or line.starts_ns >= since_ns) and (until_ns is None or line.ends_ns <= until_ns)
    )
    return kept, len(lines) - len(kept)


def _sum(a: Decimal | None, b: Decimal | None) -> Decimal | None:
    return b if a is None else a if b is None else plus(a, b)


def _check(one: Charge | Line, place: str) -> None:
    if not 0 <= one.starts_ns < one.ends_ns <= INT64_MAX:
        start = rfc3339(min(max(one.starts_ns, 0), INT64_MAX))
        raise LocalError(f"{place}: its period begins at {start} and does not end after that", field=place)
    for what, text in (("model", one.model), ("kind", one.kind), ("currency", one.currency)):
        if len(text) > NAME_MAX or not text.isprintable():
            raise LocalError(f"{place}: the {what} {text[:40]!r} is no name", field=place)
