"""Both sides under the same keys: what the bill says and what was metered, by bucket, model and kind. Pure.

A bill may tell quantities finely and money coarsely (tokens by model, dollars by day), so each measure has its own
granularity; our figures are added up to it. It judges nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from interlock.ledger import REQUESTS
from interlock.reconciling.books import USAGE_KINDS, Books, Bucket, Buckets, Sum
from interlock.reconciling.names import Names
from interlock.reconciling.statement import Category, Line, Statement
from interlock.units import NANO

Key = tuple[Bucket, str, str]
"""Bucket, model and kind, both as the bill has them; empty: all."""

COARSER = {
    "cache_write_5m": "cache_write",
    "cache_write_1h": "cache_write",
    "cache_write": "input",
    "cache_read": "input",
    "audio_input": "input",
    "reasoning": "output",
    "audio_output": "output",
}
"""What a kind is part of, for a bill that does not tell it apart."""

CURRENCY = "USD"
PLACES_SHOWN = 3


@dataclass(slots=True)
class Theirs:
    """What the bill says under one key."""

    category: Category = "usage"
    quantity: Fraction | None = None
    nanousd: Fraction | None = None
    rows: int = 0
    priced: int = 0
    places: list[str] = field(default_factory=list)
    alike: "Theirs | None" = None
    """Of rows that are alike to one before."""
    same: "Theirs | None" = None
    """Of rows that are the same as one before, by their id."""

    def add(self, line: Line) -> None:
        """Take a line in."""
        if line.repeat == "same":
            self.same = self.same or Theirs(category=self.category)
            self.same.add_figures(line)
        elif line.repeat == "alike":
            self.alike = self.alike or Theirs(category=self.category)
            self.alike.add_figures(line)
        else:
            self.add_figures(line)

    def add_figures(self, line: Line) -> None:
        """The same, whether it repeats or not."""
        if line.quantity is not None:
            self.quantity = (self.quantity or Fraction(0)) + Fraction(line.quantity)
        if line.amount is not None:
            self.nanousd = (self.nanousd or Fraction(0)) + nano(line.amount)
        self.rows += line.rows
        self.priced += line.priced
        self.places += line.places[: PLACES_SHOWN - len(self.places)]

    def with_repeats(self) -> "Theirs":
        """As if rows that are alike were two."""
        again = self.alike
        if again is None:
            return self
        return Theirs(
            category=self.category,
            quantity=_sum(self.quantity, again.quantity),
            nanousd=_sum(self.nanousd, again.nanousd),
            rows=self.rows + again.rows,
            priced=self.priced + again.priced,
            places=self.places + again.places[: PLACES_SHOWN - len(self.places)],
        )


class Measure:
    """How finely the bill tells one measure."""

    def __init__(self, lines: Collection[Line], kinds: Collection[str], *, whole: bool) -> None:
        """
        Args:
            lines: of usage, in our currency, that have the measure.
            kinds: what the bill tells apart.
            whole: whether what it tells of no kind counts too (money), or is not compared (quantities).
        """
        self.told = bool(lines)
        self._kinds = set(kinds) if any(line.kind for line in lines) else set()
        self._whole = whole
        self._named = any(line.model for line in lines)
        by_kind: dict[str, bool] = {}
        for line in lines:
            by_kind[line.kind] = by_kind.get(line.kind, False) or bool(line.model)
        self._by_kind = by_kind

    def key(self, bucket: Bucket, model: str, kind: str) -> Key | None:
        """Where a figure of ours stands; None: the bill says nothing of such."""
        told = kind
        while told and told not in self._kinds:
            told = COARSER.get(told, "")
        if not told:
            if not self._whole:
                return None
            told = kind if self._kinds else ""
        return (bucket, model if self._by_kind.get(told, self._named) else "", told)


class Sides:
    """Both sides of one statement."""

    def __init__(self, statement: Statement, lines: Collection[Line], buckets: Buckets, books: Books) -> None:
        """`lines`: those of the window, in our currency."""
        self.buckets = buckets
        self.books = books
        usage = [line for line in lines if line.category == "usage"]
        counted = [line for line in usage if line.quantity is not None]
        priced = [line for line in usage if line.amount is not None]
        apart = {line.kind for line in counted} - {""}
        if not any(line.amount is None for line in counted):
            apart |= set(statement.kinds) - {""}
        self.quantities = Measure(counted, apart, whole=False)
        self.amounts = Measure(priced, set(statement.kinds) - {"", REQUESTS}, whole=True)
        self.has_money = bool(priced)
        models = {line.model for line in usage if line.model}
        self.names = Names(models, statement.models, books.calls.items())
        self.theirs_quantities: dict[Key, Theirs] = {}
        self.theirs_amounts: dict[Key, Theirs] = {}
        for line in lines:
            self._take(line)
        self.ours_quantities, self.ours_amounts = self.ours()

    def ours(self) -> tuple[dict[Key, Sum], dict[Key, Sum]]:
        """Our side as the books stand now, by the keys of either measure."""
        quantities: dict[Key, Sum] = {}
        amounts: dict[Key, Sum] = {}
        for (bucket, name, kind), found in self.books.sums.items():
            if kind not in USAGE_KINDS:
                amounts.setdefault((bucket, "", kind), Sum()).add(found)
                continue
            model = self.names.theirs(name)
            if self.quantities.told and (key := self.quantities.key(bucket, model, kind)):
                quantities.setdefault(key, Sum()).add(found)
            if self.amounts.told and kind != REQUESTS and (key := self.amounts.key(bucket, model, kind)):
                amounts.setdefault(key, Sum()).add(found)
        return quantities, amounts

    def every_key(self) -> list[Key]:
        """Every key of either side, in order."""
        every: set[Key] = {*self.theirs_quantities, *self.theirs_amounts, *self.ours_quantities, *self.ours_amounts}
        return sorted(every)

    def _take(self, line: Line) -> None:
        if line.category != "usage":
            kind = line.kind if line.category == "other" and line.kind else line.category
            key: Key = ((line.starts_ns, line.ends_ns), "", kind)
            self.theirs_amounts.setdefault(key, Theirs(category=line.category)).add(line)
            return
        key = (self.buckets.of(line.starts_ns), line.model, line.kind)
        if line.quantity is not None:
            self.theirs_quantities.setdefault(key, Theirs()).add(line)
        if line.amount is not None:
            self.theirs_amounts.setdefault(key, Theirs()).add(line)


def joined(counted: Theirs, priced: Theirs) -> Theirs:
    """Quantities of one and amounts of the other, of the same key."""

    def part(a: Theirs | None, b: Theirs | None) -> Theirs | None:
        return joined(a, b) if a is not None and b is not None else a or b

    return Theirs(
        category=priced.category,
        quantity=counted.quantity,
        nanousd=priced.nanousd,
        rows=counted.rows,
        priced=priced.priced,
        places=priced.places,
        alike=part(counted.alike, priced.alike),
        same=part(counted.same, priced.same),
    )


def nano(amount: Decimal) -> Fraction:
    """Nano-units of an amount, exactly."""
    return Fraction(amount) * NANO


def by_model(found: Mapping[Key, Sum] | Mapping[Key, Theirs]) -> set[tuple[Bucket, str]]:
    """Buckets and models that there is something of; with an empty model: of any."""
    return {(bucket, model) for bucket, name, _ in found for model in (name, "")}


def periods(lines: Iterable[Line]) -> list[Bucket]:
    """The periods of usage."""
    return [(line.starts_ns, line.ends_ns) for line in lines if line.category == "usage"]


def _sum(a: Fraction | None, b: Fraction | None) -> Fraction | None:
    return b if a is None else a if b is None else a + b
