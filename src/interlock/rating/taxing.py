"""Taxes of lines: exclusive or inclusive, one on top of another or side by side, rounded by line or by invoice. Pure.

It knows lines as amounts to be taxed and which taxes apply to each; what they are is total.py's matter.
"""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from interlock.rating.plan import ZERO, Tax, Taxes
from interlock.rating.rounding import Rounder
from interlock.rating.steps import Work


class TaxLine(msgspec.Struct, frozen=True, kw_only=True):
    """One tax; exact == amount + residue."""

    name: str
    percent: Fraction
    base: Fraction
    """What it is on: without the tax."""
    exact: Fraction
    amount: Fraction
    residue: Fraction


class Taxed(msgspec.Struct, frozen=True, kw_only=True):
    """What taxes come to: by tax, and by line."""

    taxes: tuple[TaxLine, ...]
    shares: tuple[Fraction, ...]
    """Of each line, all its taxes together."""


def tax_lines(
    taxes: Taxes, amounts: Sequence[Fraction], applies: Sequence[tuple[str, ...] | None], rounder: Rounder, work: Work
) -> Taxed:
    """The taxes of lines.

    Args:
        amounts: of the lines, as they are taxed: with the tax if prices are inclusive.
        applies: of each line, the names of its taxes; None: all.
    """
    shares = [ZERO] * len(amounts)
    found: list[TaxLine] = []
    for group, rates in _groups(taxes, applies):
        if not rates:
            continue
        bases = [[index] for index in group] if taxes.level == "line" else [group]
        parts = [_taxed(taxes, rates, [amounts[index] for index in indices], rounder, work) for indices in bases]
        for indices, part in zip(bases, parts, strict=True):
            due = sum((one.amount for one in part), ZERO)
            for index, share in zip(indices, rounder.spread(due, [amounts[i] for i in indices]), strict=True):
                shares[index] += share
        found += [one for part in parts for one in part]
    return Taxed(taxes=tuple(_merged(tax, found) for tax in taxes.rates), shares=tuple(shares))


def _groups(taxes: Taxes, applies: Sequence[tuple[str, ...] | None]) -> list[tuple[list[int], list[Tax]]]:
    """Lines that bear the same taxes together."""
    groups: dict[tuple[str, ...] | None, list[int]] = {}
    for index, names in enumerate(applies):
        groups.setdefault(None if names is None else tuple(sorted(names)), []).append(index)
    return [
        (indices, [tax for tax in taxes.rates if names is None or tax.name in names])
        for names, indices in groups.items()
    ]


def _taxed(
    taxes: Taxes, rates: Sequence[Tax], amounts: Sequence[Fraction], rounder: Rounder, work: Work
) -> list[TaxLine]:
    """The taxes on one base: the sum of the amounts."""
    base = sum(amounts, ZERO)
    if taxes.inclusive:
        return _inclusive(taxes, rates, base, rounder, work)
    found = []
    for tax in rates:
        exact = work.do(f"tax {tax.name}", "base * percent / 100", base=base, percent=tax.percent)
        amount = rounder.step(f"tax {tax.name}, rounded", exact, work)
        found.append(
            TaxLine(name=tax.name, percent=tax.percent, base=base, exact=exact, amount=amount, residue=exact - amount)
        )
        if taxes.compound:
            base += amount
    return found


def _inclusive(taxes: Taxes, rates: Sequence[Tax], gross: Fraction, rounder: Rounder, work: Work) -> list[TaxLine]:
    """The taxes that an amount holds: one of net and tax is rounded, the other is what is left."""
    net = work.do("without taxes", "gross / factor", gross=gross, factor=_factor(taxes, rates))
    exacts, bases, base = [], [], net
    for tax in rates:
        bases.append(base)
        exacts.append(base * tax.percent / 100)
        if taxes.compound:
            base += exacts[-1]
    if taxes.round_first == "net":
        rounded = rounder.step("net, rounded", net, work)
        due = work.do("taxes: what is left", "gross - net", gross=gross, net=rounded)
    else:
        due = rounder.step("taxes, rounded", work.do("taxes held", "gross - net", gross=gross, net=net), work)
    amounts = rounder.apportion(exacts, due)
    return [
        TaxLine(name=tax.name, percent=tax.percent, base=base, exact=exact, amount=amount, residue=exact - amount)
        for tax, base, exact, amount in zip(rates, bases, exacts, amounts, strict=True)
    ]


def _factor(taxes: Taxes, rates: Sequence[Tax]) -> Fraction:
    """Gross over net."""
    factor = Fraction(1)
    for tax in rates:
        factor = factor * (100 + tax.percent) / 100 if taxes.compound else factor + tax.percent / 100
    return factor


def _merged(tax: Tax, lines: Sequence[TaxLine]) -> TaxLine:
    """One tax over all lines."""
    of = [line for line in lines if line.name == tax.name]
    return TaxLine(
        name=tax.name,
        percent=tax.percent,
        base=sum((line.base for line in of), ZERO),
        exact=sum((line.exact for line in of), ZERO),
        amount=sum((line.amount for line in of), ZERO),
        residue=sum((line.residue for line in of), ZERO),
    )
