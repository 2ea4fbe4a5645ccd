"""From rated charges to an invoice's total: lines rounded, discounts, commitment, credits, taxes in the plan's order.

Pure. What is rounded off stands beside what was rounded: every `exact` is its `amount` and its `residue`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import msgspec

from interlock.errors import LocalError
from interlock.rating.exact import round_to
from interlock.rating.plan import ZERO, Plan, Stage
from interlock.rating.rate import apply_discount
from interlock.rating.reading import record_of
from interlock.rating.rounding import Rounder, places_of
from interlock.rating.steps import Step, Work
from interlock.rating.taxing import TaxLine, tax_lines
from interlock.rating.usage import Days, Rated

COMMITMENT = "commitment"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line; exact == amount + residue."""

    charge: str
    description: str
    kind: Literal["charge", "commitment"]
    quantity: Fraction
    exact: Fraction
    amount: Fraction
    """At the currency's places (unless the plan rounds nothing)."""
    residue: Fraction
    discount: Fraction = ZERO
    """Its share of the invoice's discounts that apply before taxes, >= 0."""
    credit: Fraction = ZERO
    """Its share of credits that are taken before taxes, >= 0."""
    tax: Fraction = ZERO
    """Its own tax, or its share of the invoice's."""
    net: Fraction = ZERO
    """amount - discount - credit, and without the tax that it holds if prices are inclusive."""


class Reduction(msgspec.Struct, frozen=True, kw_only=True):
    """A discount that was applied; exact == amount + residue."""

    name: str
    exact: Fraction
    amount: Fraction
    residue: Fraction


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """What an invoice says."""

    currency: str
    places: int
    lines: tuple[Line, ...]
    subtotal: Fraction
    """The sum of the lines' amounts."""
    discounts: tuple[Reduction, ...]
    taxes: tuple[TaxLine, ...]
    net: Fraction
    """The sum of the lines' net."""
    tax: Fraction
    after_tax: Fraction
    """Discounts that the plan's order has after taxes, >= 0; no line bears them."""
    rounding: Fraction
    """What rounding the total itself added: 0 unless the plan rounds there and nowhere else."""
    total: Fraction
    """net + tax - after_tax + rounding."""
    credited: Fraction
    """Taken by prepaid credit, wherever the order has it: from the lines, or from the total."""
    already_billed: Fraction
    due: Fraction
    """What is left to pay: the total less credits that apply after taxes, less what was billed already."""
    residue: Fraction
    """What the roundings took, together: the exacts of lines, less those of discounts, with those of taxes that are
    added, sum to net + tax + credits before taxes + residue."""
    steps: tuple[Step, ...]
    parameters: dict[str, Any]


def total(
    plan: Plan,
    rated: Sequence[Rated],
    *,
    credits: Fraction = ZERO,
    already_billed: Fraction = ZERO,
    days: Days | None = None,
    last_of_period: bool = True,
) -> Total:
    """An invoice over rated charges.

    Args:
        credits: prepaid credit that may be taken, >= 0; no more than is owed is, after taxes less what is billed.
        already_billed: what progressive invoices of the period billed, >= 0; `due` may fall below zero by it.
        days: of the period that are billed: the plan's commitment shrinks with them.
        last_of_period: whether the commitment is topped up.
    Raises: LocalError: `invalid_request`: a negative credit or billed amount; credits given and no place in the order.
    """
    for name, value in (("credits", credits), ("already_billed", already_billed)):
        if value < 0:
            raise LocalError(f"{name} is negative", field=name)
    if credits and "credits" not in plan.order:
        raise LocalError("credits are given, and the plan's order has no place for them", field="order")
    bill = _Bill(plan, Rounder.of(plan), rated, credits, already_billed, days, last_of_period)
    stages: dict[Stage, Callable[[], None]] = {
        "discounts": bill.apply_discounts,
        "commitment": bill.apply_commitment,
        "credits": bill.apply_credits,
        "taxes": bill.apply_taxes,
    }
    for stage in plan.order:
        stages[stage]()
    return bill.total()


@dataclass(slots=True)
class _Row:
    """A line as it grows."""

    charge: str
    description: str
    kind: Literal["charge", "commitment"]
    quantity: Fraction
    exact: Fraction
    amount: Fraction
    taxes: tuple[str, ...] | None = None
    discount: Fraction = ZERO
    credit: Fraction = ZERO
    tax: Fraction = ZERO
    after: Fraction = ZERO
    """Its share of discounts and credits that apply after taxes: they leave its net alone."""

    @property
    def left(self) -> Fraction:
        return self.amount - self.discount - self.credit


@dataclass(slots=True)
class _Bill:
    """One invoice as the stages of the plan's order go over it."""

    plan: Plan
    rounder: Rounder
    rated: Sequence[Rated]
    credits: Fraction
    already_billed: Fraction
    days: Days | None
    last_of_period: bool
    rows: list[_Row] = field(init=False)
    work: Work = field(default_factory=Work)
    taxed: bool = False
    taxes: tuple[TaxLine, ...] = ()
    discounts: list[Reduction] = field(default_factory=list)
    after_tax: Fraction = ZERO
    credited: Fraction = ZERO
    credited_after: Fraction = ZERO

    def __post_init__(self) -> None:
        exacts = [one.amount for one in self.rated]
        if self.plan.rounding.level == "invoice":
            whole = self.work.sum("all lines", exacts)
            amounts = self.rounder.apportion(exacts, self.rounder.step("all lines, rounded", whole, self.work))
        else:
            amounts = [self.rounder.step(f"line {one.charge}, rounded", one.amount, self.work) for one in self.rated]
        self.work.sum("subtotal", amounts)
        self.rows = [
            _Row(one.charge, one.description, "charge", one.quantity, one.amount, amount, one.taxes)
            for one, amount in zip(self.rated, amounts, strict=True)
        ]

    def apply_discounts(self) -> None:
        """One after the other, each on what is left."""
        for discount in self.plan.discounts:
            rows = [row for row in self.rows if not discount.charges or row.charge in discount.charges]
            base = sum((self._owed(row) for row in rows), ZERO)
            left = apply_discount(discount, base, f"discount {discount.name}", self.work)
            exact = base - left
            amount = min(self.rounder.step(f"discount {discount.name}, rounded", exact, self.work), max(base, ZERO))
            self.discounts.append(Reduction(name=discount.name, exact=exact, amount=amount, residue=exact - amount))
            self.after_tax += amount if self.taxed else ZERO
            for row, share in zip(rows, self._spread(amount, rows), strict=True):
                if self.taxed:
                    row.after += share
                else:
                    row.discount += share

    def apply_commitment(self) -> None:
        """A line that tops the period up to what is committed."""
        commitment = self.plan.commitment
        if commitment is None or not self.last_of_period:
            return
        counted = [row for row in self.rows if not commitment.charges or row.charge in commitment.charges]
        ids = {row.charge for row in counted}
        before = sum((one.period_amount - one.amount for one in self.rated if one.charge in ids), ZERO)
        days = self.days if commitment.prorate else None
        exact = self.work.do(
            "commitment: true-up",
            "max(minimum * billed / period - lines - booked_before, 0)",
            minimum=commitment.minimum,
            billed=Fraction(days.billed if days else 1),
            period=Fraction(days.period if days else 1),
            lines=sum((row.left for row in counted), ZERO),
            booked_before=before,
        )
        amount = self.rounder.step("commitment, rounded", exact, self.work)
        if exact:
            self.rows.append(_Row(COMMITMENT, "Minimum commitment", "commitment", Fraction(1), exact, amount))

    def apply_credits(self) -> None:
        """As much as there is, and as is owed."""
        if not self.credits:
            return
        whole = self.taxed or not self.plan.taxes.rates  # before taxes nobody knows what of it is billed already
        owed = sum((self._owed(row) for row in self.rows), ZERO)
        payable = self.taxed and self.plan.rounding.level == "total"  # it is taken from the total, which is rounded
        places = self.rounder.places
        owed = round_to(owed, places, self.rounder.mode) if payable else owed
        owed = max(owed - (self.already_billed if whole else ZERO), ZERO)
        available = round_to(self.credits, places, "down") if self.rounder.rounds or payable else self.credits
        taken = self.work.do("credits taken", "min(owed, credits)", owed=owed, credits=available)
        self.credited = taken
        self.credited_after = taken if self.taxed else ZERO
        for row, share in zip(self.rows, self._spread(taken, self.rows), strict=True):
            if self.taxed:
                row.after += share
            else:
                row.credit += share

    def apply_taxes(self) -> None:
        """On what is left of each line."""
        left = [row.left for row in self.rows]
        found = tax_lines(self.plan.taxes, left, [row.taxes for row in self.rows], self.rounder, self.work)
        for row, share in zip(self.rows, found.shares, strict=True):
            row.tax = share
        self.taxes, self.taxed = found.taxes, True

    def total(self) -> Total:
        """The lines as they are, and the sums."""
        lines = tuple(self._line(row) for row in self.rows)
        net, tax = sum((line.net for line in lines), ZERO), sum((line.tax for line in lines), ZERO)
        whole = self.work.do(
            "total", "net + tax - discounts_after_tax", net=net, tax=tax, discounts_after_tax=self.after_tax
        )
        paid = whole
        if self.plan.rounding.level == "total":
            rule = f'round(total, {self.rounder.places}, "{self.rounder.mode}")'
            paid = self.work.do("total, rounded", rule, total=whole)
        due = self.work.do(
            "due",
            "total - credits - already_billed",
            total=paid,
            credits=self.credited_after,
            already_billed=self.already_billed,
        )
        residue = (
            whole
            - paid
            + sum((line.residue for line in lines), ZERO)
            - sum((one.residue for one in self.discounts), ZERO)
        )
        if not self.plan.taxes.inclusive:
            residue += sum((one.residue for one in self.taxes), ZERO)
        return Total(
            currency=self.plan.currency,
            places=places_of(self.plan),
            lines=lines,
            subtotal=sum((line.amount for line in lines), ZERO),
            discounts=tuple(self.discounts),
            taxes=self.taxes,
            net=net,
            tax=tax,
            after_tax=self.after_tax,
            rounding=paid - whole,
            total=paid,
            credited=self.credited,
            already_billed=self.already_billed,
            due=due,
            residue=residue,
            steps=self.work.taken(),
            parameters={key: value for key, value in record_of(self.plan).items() if key != "charges"},
        )

    def _owed(self, row: _Row) -> Fraction:
        """What is still to pay of a line."""
        return row.left - row.after + (ZERO if self.plan.taxes.inclusive else row.tax)

    def _spread(self, amount: Fraction, rows: Sequence[_Row]) -> list[Fraction]:
        """Over what is owed of lines; none of it to what is negative."""
        return self.rounder.spread(amount, [max(self._owed(row), ZERO) for row in rows])

    def _line(self, row: _Row) -> Line:
        return Line(
            charge=row.charge,
            description=row.description,
            kind=row.kind,
            quantity=row.quantity,
            exact=row.exact,
            amount=row.amount,
            residue=row.exact - row.amount,
            discount=row.discount,
            credit=row.credit,
            tax=row.tax,
            net=row.left - (row.tax if self.plan.taxes.inclusive else ZERO),
        )
