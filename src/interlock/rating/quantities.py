"""From metered to billed quantity: sums over time, conversion, allowances; and prices of one quantity. Pure."""

from datetime import datetime, timedelta
from fractions import Fraction

from interlock.errors import LocalError
from interlock.rating.blocks import package
from interlock.rating.exact import text_of
from interlock.rating.plan import (
    ONE,
    ZERO,
    Charge,
    Conversion,
    Flat,
    Graduated,
    Package,
    PerUnit,
    QuantityPrice,
    Volume,
)
from interlock.rating.steps import Work
from interlock.rating.tiers import graduated, volume
from interlock.rating.usage import Event, Usage


def price_quantity(
    price: QuantityPrice, quantity: Fraction, work: Work, share: Fraction = ONE, level: Fraction | None = None
) -> Fraction:
    """What one quantity costs; `share` is the part of the period that a flat fee is due for, `level` picks the tier of
    a volume price instead of the quantity.
    """
    match price:
        case Flat():
            return work.do("flat fee", "amount * share", amount=price.amount, share=share)
        case PerUnit():
            return work.do("price of units", "units * unit", units=quantity, unit=price.unit)
        case Graduated():
            return graduated(price, quantity, work)
        case Volume():
            return volume(price, quantity, work, level)
        case Package():
            return package(price, quantity, work)


def convert(conversion: Conversion, quantity: Fraction, work: Work) -> Fraction:
    """Metered units to billed ones."""
    rule = "quantity * multiply_by / divide_by"
    if conversion.round is not None:
        rule = f'round({rule}, {conversion.places}, "{conversion.round}")'
    return work.do(
        "conversion", rule, quantity=quantity, multiply_by=conversion.multiply_by, divide_by=conversion.divide_by
    )


def share_of_period(usage: Usage) -> Fraction:
    """The part of the period that is billed."""
    return ONE if usage.days is None else Fraction(usage.days.billed, usage.days.period)


def metered(charge: Charge, usage: Usage, work: Work) -> Fraction:
    """The one quantity of a usage: given, summed, or weighed over the period.

    Raises: LocalError: `invalid_request`: a negative one where the charge refuses it; a weighted sum without a period.
    """
    if charge.aggregate == "weighted_sum":
        found = _weighed(usage, work)
    elif usage.quantity is not None:
        found = usage.quantity
    else:
        found = sum((bucket.quantity for bucket in usage.buckets), ZERO)
        found += sum((event.value for event in usage.events), ZERO)
        if usage.meters:
            found += work.sum("all meters", list(usage.meters.values()))
    return not_negative(charge, found, "quantity")


def not_negative(charge: Charge, quantity: Fraction, field: str) -> Fraction:
    """The quantity, or what the charge makes of a negative one. Raises: LocalError: it refuses it."""
    if quantity >= 0 or charge.negative_quantity == "rate":
        return quantity
    if charge.negative_quantity == "zero":
        return ZERO
    raise LocalError(
        f"charge {charge.id}: the {field} is negative ({text_of(quantity)}): correct it, "
        'or say negative_quantity = "rate" or "zero"',
        field=field,
    )


def level_of(usage: Usage) -> Fraction:
    """Where the level stands when the period ends."""
    return usage.opening + sum((event.value for event in usage.events), ZERO)


def _weighed(usage: Usage, work: Work) -> Fraction:
    told = [event.prorated for event in usage.events if event.prorated is not None]
    if told and len(told) == len(usage.events):
        return work.sum("level over the period", [usage.opening, *told] if usage.opening else told)
    begin, end = period_of(usage)
    level, since, parts = usage.opening, begin, []
    changes = sorted((moment(event, begin, end), event.value) for event in usage.events if event.prorated is None)
    for at, value in [*changes, (end, ZERO)]:
        if lasted := seconds(since, at):
            name = f"level until {at.isoformat()}"
            parts.append(work.do(name, "level * seconds", level=level, seconds=lasted))
        level, since = level + value, at
    area = work.sum("level over time", parts)
    mean = work.do("level over the period", "level_seconds / seconds", level_seconds=area, seconds=seconds(begin, end))
    return work.sum("with changes that tell their part", [mean, *told]) if told else mean


def period_of(usage: Usage) -> tuple[datetime, datetime]:
    """Raises: LocalError: `begin` and `end` are not given, or not in order."""
    if usage.begin is None or usage.end is None or not usage.begin < usage.end:
        raise LocalError("the charge needs the period: begin, and end after it", field="begin")
    return usage.begin, usage.end


def moment(event: Event, begin: datetime, end: datetime) -> datetime:
    """When a change was. Raises: LocalError: it does not say, or it is not within the period."""
    if event.at is None or not begin <= event.at < end:
        raise LocalError("each change needs a time (at) within the period, end exclusive", field="events")
    return event.at


def seconds(begin: datetime, end: datetime) -> Fraction:
    """Exactly, to the microsecond."""
    return Fraction((end - begin) // timedelta(microseconds=1), 1_000_000)
