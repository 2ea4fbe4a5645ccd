"""An invoice before anybody has agreed to it: what periods come to now, less what stands on earlier invoices. Pure.

For the invoice's own period and for every earlier one that was billed, the whole period is priced again, and each line
is the difference to the sum of what was booked under the same key. So any number of invoices over a period come to what
one would have, late usage is a line of the next invoice, and a voided invoice is simply not among what was booked.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from interlock.billing.pricing import Plans, Priced
from interlock.billing.value import Discount, Header, Line, LineTax, PeriodSum, Tax
from interlock.errors import LocalError
from interlock.rating import Step, text_of
from interlock.units import INT64_MAX, NANO

LINES_MAX = 10_000
LINE_BYTES_MAX = 800_000
"""As JSON: a record holds a mebibyte."""


class Draft(NamedTuple):
    """An invoice that could be: the head and its lines."""

    header: Header
    lines: tuple[Line, ...]


class Booked(NamedTuple):
    """What stands of one period on invoices that were not voided."""

    lines: dict[str, Line]
    """By key, summed."""
    sums: PeriodSum


def book(period: str, invoices: Iterable[tuple[Sequence[Line], Sequence[PeriodSum]]]) -> Booked:
    """The sum of what these invoices say of a period."""
    lines: dict[str, Line] = {}
    sums = PeriodSum(period=period)
    for of_one, sums_of_one in invoices:
        for line in of_one:
            if line.period == period:
                before = lines.get(line.key)
                lines[line.key] = line if before is None else _combined(before, line, 1)
        for one in sums_of_one:
            if one.period == period:
                sums = _sums(sums, one, 1)
    return Booked(lines, sums)


def difference(now: Priced, booked: Booked, plans: Plans, *, own: bool) -> tuple[list[Line], PeriodSum]:
    """What is to be charged for a period now, and what its discounts and taxes change by.

    Args:
        own: the invoice's own period: lines that come to nothing are shown too, if nothing is booked under their key.
    """
    found: list[Line] = []
    kept = False
    standing = {line.key: line for line in now.lines}
    for key in [*standing, *(key for key in booked.lines if key not in standing)]:
        line, before = standing.get(key), booked.lines.get(key)
        if before is None:
            assert line is not None
            change = line
        elif line is None:  # a group that is there no more: its events were taken back
            change = replace(_combined(before, before, -2), steps=(), evidence=())
        else:
            change = _combined(line, before, -1)
            steps = (*line.steps, _less(line.exact, before.exact, change.exact))
            change = replace(change, steps=steps, evidence=line.evidence)
            if Fraction(change.exact) < 0 and _takes_nothing_back(change, plans):
                change, kept = replace(change, exact="0", amount=0, discount=0, net=0, taxes=()), True
        if (own and before is None) or _is_something(change):
            found.append(replace(change, correction=not own))
    sums = _sums(now.sums, booked.sums, -1)
    if kept:  # a charge kept what the period comes to no more: so do its taxes
        sums = replace(sums, taxes=_of_lines(sums.taxes, found))
    return found, sums


def make_header(header: Mapping[str, Any], lines: Sequence[Line], periods: Sequence[PeriodSum]) -> Draft:
    """A draft of what was found; `header` holds all that is not reckoned here.

    Raises: LocalError: too many lines, or amounts too large.
    """
    if len(lines) > LINES_MAX:
        what = f"{len(lines)} lines are more than {LINES_MAX}: group the plan's charges by less"
        raise LocalError(what, field="lines")
    counted = tuple(replace(line, n=n) for n, line in enumerate(lines, 1))
    digest = sha256()
    for line in counted:
        text = msgspec.json.encode(line)
        if len(text) > LINE_BYTES_MAX:
            what = f"line {line.n} ({line.charge}) is larger than {LINE_BYTES_MAX} bytes: group by less"
            raise LocalError(what, field="lines")
        digest.update(text + b"\n")
    discount_exact = sum((Fraction(one.exact) for of in periods for one in of.discounts), Fraction(0))
    exact = sum((Fraction(line.exact) for line in counted), Fraction(0)) - discount_exact
    subtotal, discount = sum(line.amount for line in counted), sum(line.discount for line in counted)
    net, tax = sum(line.net for line in counted), sum(one.amount for line in counted for one in line.taxes)
    if abs(subtotal) > INT64_MAX or abs(net + tax) > INT64_MAX:
        raise LocalError(f"an invoice's total is at most {INT64_MAX // NANO}", field="total")
    made = Header(
        **header,
        lines=len(counted),
        lines_sha256=digest.hexdigest(),
        periods=tuple(periods),
        subtotal=subtotal,
        discount=discount,
        net=net,
        tax=tax,
        total=net + tax,
        residue=text_of(exact - Fraction(subtotal - discount, NANO)),
    )
    return Draft(made, counted)


def taxes_of(header: Header) -> list[Tax]:
    """An invoice's taxes over all its periods, each rate once."""
    found: dict[tuple[str, str], Tax] = {}
    for of_period in header.periods:
        for one in of_period.taxes:
            _add_tax(found, one, 1)
    return list(found.values())


def discounts_of(header: Header) -> list[Discount]:
    """An invoice's discounts over all its periods, each name once."""
    found: dict[str, Discount] = {}
    for of_period in header.periods:
        for one in of_period.discounts:
            _add_discount(found, one, 1)
    return list(found.values())


def _less(now: str, invoiced: str, left: str) -> Step:
    return Step(
        name="less what earlier invoices charge",
        input={"now": now, "invoiced": invoiced},
        rule="now - invoiced",
        output=left,
    )


def _is_something(line: Line) -> bool:
    return bool(
        line.amount or line.net or line.discount or line.taxes or {line.quantity, line.billed, line.exact} - {"0"}
    )


def _takes_nothing_back(line: Line, plans: Plans) -> bool:
    plan = plans.get((line.plan, line.version))
    charges = plan.charges if plan else ()
    return any(charge.id == line.charge and charge.negative_delta == "zero" for charge in charges)


def _combined(line: Line, other: Line, sign: int) -> Line:
    """`line` and `sign` times the other's figures."""
    return replace(
        line,
        quantity=_sum(line.quantity, other.quantity, sign),
        billed=_sum(line.billed, other.billed, sign),
        exact=_sum(line.exact, other.exact, sign),
        amount=line.amount + sign * other.amount,
        discount=line.discount + sign * other.discount,
        net=line.net + sign * other.net,
        taxes=shares(line.taxes, other.taxes, sign),
    )


def shares(some: Iterable[LineTax], others: Iterable[LineTax], sign: int) -> tuple[LineTax, ...]:
    """Shares of taxes added (`sign` 1) or taken away (-1), by name; those that come to nothing are left out."""
    found: dict[str, int] = {}
    for factor, of in ((1, some), (sign, others)):
        for one in of:
            found[one.name] = found.get(one.name, 0) + factor * one.amount
    return tuple(LineTax(name=name, amount=amount) for name, amount in found.items() if amount)


def _sum(one: str, other: str, sign: int) -> str:
    return text_of(Fraction(one) + sign * Fraction(other))


def _sums(some: PeriodSum, others: PeriodSum, sign: int) -> PeriodSum:
    discounts: dict[str, Discount] = {}
    taxes: dict[tuple[str, str], Tax] = {}
    for factor, of in ((1, some), (sign, others)):
        for one in of.discounts:
            _add_discount(discounts, one, factor)
        for tax in of.taxes:
            _add_tax(taxes, tax, factor)
    return PeriodSum(
        period=some.period,
        discounts=tuple(one for one in discounts.values() if one.amount or one.exact != "0"),
        taxes=tuple(one for one in taxes.values() if one.amount or one.base != "0"),
    )


def _add_discount(found: dict[str, Discount], one: Discount, factor: int) -> None:
    before = found.get(one.name, Discount(name=one.name, exact="0", amount=0))
    exact, amount = _sum(before.exact, one.exact, factor), before.amount + factor * one.amount
    found[one.name] = Discount(name=one.name, exact=exact, amount=amount)


def _add_tax(found: dict[tuple[str, str], Tax], one: Tax, factor: int) -> None:
    key = (one.name, one.percent)
    before = found.get(key, Tax(name=one.name, percent=one.percent, base="0", amount=0))
    base, amount = _sum(before.base, one.base, factor), before.amount + factor * one.amount
    found[key] = Tax(name=one.name, percent=one.percent, base=base, amount=amount)


def _of_lines(taxes: Iterable[Tax], lines: Iterable[Line]) -> tuple[Tax, ...]:
    """The taxes at what the lines' shares come to."""
    every = [one for line in lines for one in line.taxes]
    amounts = {tax.name: sum(one.amount for one in every if one.name == tax.name) for tax in taxes}
    return tuple(replace(tax, amount=amounts[tax.name]) for tax in taxes)
