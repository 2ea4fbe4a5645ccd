"""Prices in tiers: graduated, volume, graduated percentages, and graduated by change of a level. Pure."""

from collections.abc import Sequence
from fractions import Fraction

from interlock.errors import LocalError
from interlock.rating.exact import text_of
from interlock.rating.plan import ZERO, Graduated, GraduatedPercentage, GraduatedProrated, PastLast, Tier, Volume
from interlock.rating.steps import Work


def graduated(price: Graduated, quantity: Fraction, work: Work) -> Fraction:
    """Each unit at the price of its tier; a tier's flat fee once the quantity passes the tier before."""
    refuse_past_last([tier.up_to for tier in price.tiers], quantity, price.past_last)
    parts = []
    below = ZERO
    for index, tier in enumerate(price.tiers):
        if index and quantity <= below:
            break
        units = _within(quantity, below, None if index + 1 == len(price.tiers) else tier.up_to)
        flat = ZERO if not index and quantity <= 0 and not price.first_flat_at_zero else tier.flat
        parts.append(
            work.do(_named(index, below, tier.up_to), "units * unit + flat", units=units, unit=tier.unit, flat=flat)
        )
        below = tier.up_to if tier.up_to is not None else below
    return work.sum("all tiers", parts)


def volume(price: Volume, quantity: Fraction, work: Work, level: Fraction | None = None) -> Fraction:
    """All units at the price of the one tier that holds the quantity, or that holds the level where one is given.

    Source of the level: getlago/lago-api, volume_service.rb, for units that are prorated.
    """
    held = quantity if level is None else level
    refuse_past_last([tier.up_to for tier in price.tiers], held, price.past_last)
    below = ZERO
    last = len(price.tiers) - 1
    for index, tier in enumerate(price.tiers):
        if index == last or tier.up_to is None or held <= tier.up_to:
            flat = ZERO if not index and held <= 0 and not price.first_flat_at_zero else tier.flat
            name = _named(index, below, tier.up_to)
            return work.do(name, "units * unit + flat", units=quantity, unit=tier.unit, flat=flat)
        below = tier.up_to
    raise AssertionError("a tier set is never empty: the reader refuses it")


def graduated_percentage(price: GraduatedPercentage, amount: Fraction, work: Work) -> Fraction:
    """Each part of an amount at the rate of its tier."""
    refuse_past_last([tier.up_to for tier in price.tiers], amount, price.past_last)
    parts = []
    below = ZERO
    for index, tier in enumerate(price.tiers):
        if index and amount <= below:
            break
        part = _within(amount, below, None if index + 1 == len(price.tiers) else tier.up_to)
        flat = ZERO if not index and amount <= 0 and not price.first_flat_at_zero else tier.flat
        rule = "amount * rate_percent / 100 + flat"
        name = _named(index, below, tier.up_to)
        parts.append(work.do(name, rule, amount=part, rate_percent=tier.rate_percent, flat=flat))
        below = tier.up_to if tier.up_to is not None else below
    return work.sum("all tiers", parts)


def graduated_prorated(price: GraduatedProrated, changes: Sequence[tuple[Fraction, Fraction]], work: Work) -> Fraction:
    """Changes of a level, each as (units, the part of them that counts in the period), in order.

    A change is spread over the tiers that it moves through; a removal leaves the tiers that it came from. Flat fees
    are due for every tier that the level reached. A level that ends below zero costs nothing.
    Source: getlago/lago-api, prorated_graduated_service.rb: that additions which count for nothing do not move the
    level, nor removals of what was never there.
    """
    level = highest = ZERO
    counted: list[list[Fraction]] = [[] for _ in price.tiers]
    for number, (units, prorated) in enumerate(changes, 1):
        if not units or (not prorated and (units > 0 or level + units < 0)):
            continue
        refuse_past_last([tier.up_to for tier in price.tiers], level + units, price.past_last)
        for index, moved in _spread(price.tiers, level, level + units):
            name = f"change {number}, in tier {index + 1}"
            rule = "moved * prorated / units"
            counted[index].append(work.do(name, rule, moved=moved, prorated=prorated, units=units))
        level += units
        highest = max(highest, level)
    if level < 0:
        return work.do("the level ends below zero", "0 * level", level=level)
    parts, flats, below = [], [], ZERO
    for index, (tier, moves) in enumerate(zip(price.tiers, counted, strict=True)):
        if index and highest <= below:
            break
        name = _named(index, below, tier.up_to)
        units = work.sum(f"{name}: units for their time", moves)
        parts.append(work.do(name, "units * unit", units=units, unit=tier.unit))
        flats.append(tier.flat)
        below = tier.up_to if tier.up_to is not None else below
    return work.do(
        "with flat fees", "max(units, 0) + flats", units=work.sum("all tiers", parts), flats=sum(flats, ZERO)
    )


def refuse_past_last(bounds: Sequence[Fraction | None], quantity: Fraction, past_last: PastLast) -> None:
    """Raises: LocalError: the tiers end before the quantity, and the price does not say that the last one goes on."""
    if past_last == "refuse" and bounds[-1] is not None and quantity > bounds[-1]:
        raise LocalError(
            f"the tiers end at {text_of(bounds[-1])} and the quantity is {text_of(quantity)}: "
            'leave out up_to of the last tier, or say past_last = "last_tier"',
            field="past_last",
        )


def _within(quantity: Fraction, below: Fraction, up_to: Fraction | None) -> Fraction:
    """How much of a quantity lies in (below, up_to]; of a negative one all lies in the first tier."""
    return (quantity if up_to is None else min(quantity, up_to)) - below


def _spread(tiers: Sequence[Tier], start: Fraction, end: Fraction) -> list[tuple[int, Fraction]]:
    """Signed units that a move of the level makes in each tier; below zero is the first tier."""
    low, high = min(start, end), max(start, end)
    sign = 1 if end >= start else -1
    found = []
    below: Fraction | None = None
    for index, tier in enumerate(tiers):
        top = None if index + 1 == len(tiers) else tier.up_to
        bottom = low if below is None else max(low, below)
        reach = high if top is None else min(high, top)
        if reach > bottom:
            found.append((index, sign * (reach - bottom)))
        below = top
    return found


def _named(index: int, below: Fraction, up_to: Fraction | None) -> str:
    reach = f"over {text_of(below)}" if up_to is None else f"up to {text_of(up_to)}"
    return f"tier {index + 1} ({reach})"
