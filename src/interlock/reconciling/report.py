"""What a comparison found: rows, totals, what would be booked. Values, and how they look in API JSON. Pure.

Amounts are exact: theirs may be finer than a nano-USD, so it is a fraction here and a decimal text in JSON.
"""

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Literal

import msgspec

from interlock.identity import UNATTRIBUTED
from interlock.instants import rfc3339
from interlock.ledger import Adjusted
from interlock.reconciling.figures import decimal_text
from interlock.units import NANO

Status = Literal["matched", "differs", "ours_only", "theirs_only"]

Class = Literal[
    "rounding", "lost", "estimated", "price", "cached_split", "shifted", "duplicate", "currency",
    "credit", "refund", "tax", "fee", "other",
    "quantity", "amount", "unpriced", "not_billed", "not_metered",
]  # fmt: skip
"""Why a row is not the same on both sides.

Explained: rounding (within their places); lost, estimated (calls of ours whose figures nobody saw; theirs are true);
price (theirs per unit is not the one on record); cached_split (the same input in all, told apart otherwise); shifted
(calls that one side counts in the next bucket); duplicate (a row that stands twice in the export; left out); currency
(not USD: not compared); credit, refund, tax, fee, other (no usage of a model). Unexplained: quantity, amount; unpriced
(we have no price); not_billed (theirs has nothing of that model then); not_metered (ours has not)."""

EXPLAINED: frozenset[Class] = frozenset(
    {
        *("rounding", "lost", "estimated", "price", "cached_split", "shifted", "duplicate", "currency"),
        *("credit", "refund", "tax", "fee", "other"),
    }
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One bucket, model and kind on both sides. Quantities are None where the export counts none there."""

    starts_ns: int
    ends_ns: int
    model: str
    kind: str
    status: Status
    classes: tuple[Class, ...]
    """Empty: equal to the last digit."""
    ours_quantity: int | None
    theirs_quantity: Fraction | None
    ours_nanousd: int | None
    """As booked; None where the export has no money there."""
    theirs_nanousd: Fraction | None
    currency: str
    detail: str
    places: tuple[str, ...]
    """Where it stands in the export (the first of them)."""

    @property
    def difference_nanousd(self) -> Fraction | None:
        """Theirs less ours."""
        if self.ours_nanousd is None or self.theirs_nanousd is None:
            return None
        return self.theirs_nanousd - self.ours_nanousd

    @property
    def difference_quantity(self) -> Fraction | None:
        """Theirs less ours."""
        if self.ours_quantity is None or self.theirs_quantity is None:
            return None
        return self.theirs_quantity - self.ours_quantity

    @property
    def explained(self) -> bool:
        """Whether all that differs has a reason."""
        return all(one in EXPLAINED for one in self.classes)


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Of all rows in USD that have money. ours + explained + unexplained = theirs, exactly."""

    rows: int
    matched: int
    ours_nanousd: int | None
    """None: the export has no money."""
    theirs_nanousd: Fraction | None
    explained_nanousd: Fraction
    unexplained_nanousd: Fraction
    classes: dict[str, int]
    """How many rows have each."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be booked, so that the books say what the bill says."""

    changes: tuple[Adjusted, ...]
    attempts_nanousd: int
    """What attempts that are resolved come to more (or less) than before."""

    @property
    def attempts(self) -> int:
        """Lost and estimated ones that get true figures."""
        return sum(not change.tenant for change in self.changes)

    @property
    def nanousd(self) -> int:
        """In all."""
        return self.attempts_nanousd + sum(change.amount_nanousd or 0 for change in self.changes if change.tenant)

    @property
    def unnamed_nanousd(self) -> int:
        """Of it, what tenants' entries come to that name no team, principal or session; not those of UNATTRIBUTED."""
        tenants = (one for one in self.changes if one.tenant not in ("", UNATTRIBUTED))
        return sum(one.amount_nanousd or 0 for one in tenants if not (one.team or one.principal or one.session))

    def tenants(self) -> dict[str, int]:
        """By tenant, what entries of their own come to."""
        sums: Counter[str] = Counter()
        for change in self.changes:
            if change.tenant:
                sums[change.tenant] += change.amount_nanousd or 0
        return dict(sorted(sums.items()))


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison."""

    statement: str
    """Its id: `sha256:` and the files' hash."""
    providers: tuple[str, ...]
    since_ns: int
    until_ns: int
    rows: tuple[Row, ...]
    plan: Plan
    open: int
    """Calls of ours in that time that are not settled yet."""
    notes: tuple[str, ...]

    @property
    def matched(self) -> bool:
        """Whether all rows are."""
        return all(row.status == "matched" for row in self.rows)


def totals(rows: Iterable[Row]) -> Totals:
    """See `Totals`."""
    every = list(rows)
    money = [row for row in every if row.difference_nanousd is not None and "currency" not in row.classes]
    explained = sum((row.difference_nanousd or Fraction(0) for row in money if row.explained), Fraction(0))
    rest = sum((row.difference_nanousd or Fraction(0) for row in money if not row.explained), Fraction(0))
    return Totals(
        rows=len(every),
        matched=sum(row.status == "matched" for row in every),
        ours_nanousd=sum(row.ours_nanousd or 0 for row in money) if money else None,
        theirs_nanousd=sum((row.theirs_nanousd or Fraction(0) for row in money), Fraction(0)) if money else None,
        explained_nanousd=explained,
        unexplained_nanousd=rest,
        classes=dict(sorted(Counter(one for row in every for one in row.classes).items())),
    )


def to_api(report: Report) -> dict[str, Any]:
    """As API JSON: times in RFC 3339, amounts and quantities of theirs as exact decimal texts."""
    summed, plan = totals(report.rows), report.plan
    return {
        "statement": report.statement,
        "providers": report.providers,
        "since": rfc3339(report.since_ns),
        "until": rfc3339(report.until_ns),
        "matched": report.matched,
        "open": report.open,
        "notes": report.notes,
        "totals": {
            "rows": summed.rows,
            "matched": summed.matched,
            "ours_nanousd": None if summed.ours_nanousd is None else str(summed.ours_nanousd),
            "theirs_nanousd": _text(summed.theirs_nanousd),
            "explained_nanousd": _text(summed.explained_nanousd),
            "unexplained_nanousd": _text(summed.unexplained_nanousd),
            "classes": summed.classes,
        },
        "rows": [_row(row) for row in report.rows],
        "plan": {
            "attempts": plan.attempts,
            "entries": len(plan.changes) - plan.attempts,
            "attempts_nanousd": str(plan.attempts_nanousd),
            "nanousd": str(plan.nanousd),
            "unnamed_nanousd": str(plan.unnamed_nanousd),
            "tenants": {tenant: str(nanousd) for tenant, nanousd in plan.tenants().items()},
        },
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "starts": rfc3339(row.starts_ns),
        "ends": rfc3339(row.ends_ns),
        "model": row.model,
        "kind": row.kind,
        "status": row.status,
        "classes": row.classes,
        "explained": row.explained,
        "ours_quantity": None if row.ours_quantity is None else str(row.ours_quantity),
        "theirs_quantity": _text(row.theirs_quantity),
        "difference_quantity": _text(row.difference_quantity),
        "ours_nanousd": None if row.ours_nanousd is None else str(row.ours_nanousd),
        "theirs_nanousd": _text(row.theirs_nanousd),
        "difference_nanousd": _text(row.difference_nanousd),
        "currency": row.currency,
        "detail": row.detail,
        "places": row.places,
    }


def _text(number: Fraction | None) -> str | None:
    return None if number is None else decimal_text(number)


def exact_usd(nanousd: Fraction) -> str:
    """Dollars, every digit.

    >>> exact_usd(Fraction(-1_500_000_000)), exact_usd(Fraction(1, 2))
    ('-1.50', '0.0000000005')
    """
    text = decimal_text(nanousd / NANO)
    whole, point, part = text.partition(".")
    return f"{whole}.{part.ljust(2, '0')}" if point else f"{whole}.00"
