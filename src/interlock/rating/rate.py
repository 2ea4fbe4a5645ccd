"""A charge rated: the amount of a period's usage less what is booked of it. Pure.

A run does not price what is new: it prices all of the period and books the difference. So however often it runs, and
however late usage comes, the runs together come to what one run would have.
"""

from dataclasses import dataclass
from fractions import Fraction

from msgspec.structs import replace

from interlock.errors import LocalError
from interlock.rating.amounts import dynamic, percentage
from interlock.rating.blocks import blocks
from interlock.rating.exact import is_unwieldy, to_nano
from interlock.rating.plan import (
    ZERO,
    Charge,
    Discount,
    Dynamic,
    Flat,
    GraduatedBlocks,
    GraduatedPercentage,
    GraduatedProrated,
    Percentage,
    Volume,
    VolumeBlocks,
    Windowed,
)
from interlock.rating.quantities import (
    convert,
    level_of,
    metered,
    moment,
    not_negative,
    period_of,
    price_quantity,
    seconds,
    share_of_period,
)
from interlock.rating.reading import record_of
from interlock.rating.steps import Work
from interlock.rating.tiers import graduated_percentage, graduated_prorated
from interlock.rating.usage import NOTHING, Booked, Rated, Usage
from interlock.rating.usagereading import check_usage
from interlock.rating.windows import windowed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Priced:
    """What a usage comes to before discounts and bounds."""

    quantity: Fraction
    gross: Fraction


def rate(charge: Charge, usage: Usage, booked: Booked | None = None) -> Rated:
    """What this run books for a charge.

    Args:
        usage: of the period until now, or with `covers = "run"` a plain quantity since the last run.
        booked: what earlier runs of the period booked; `amount` may be the sum of their `amount_nano` over 1e9, and
            then the nano amounts of many runs are exactly that of one. None: what the usage says of it.
    Raises: LocalError: `invalid_request`: the usage is not what the price needs, negative where the charge refuses
        it, or past the last tier; `field` names it.
    """
    check_usage(usage)
    booked = booked or usage.booked or NOTHING
    work = Work()
    before = _before(charge, usage, booked, work)
    was_booked = booked.amount
    if was_booked is None:
        was_booked = _net_before(charge, before, usage, work) if booked.quantity else ZERO
    if usage.covers == "run":
        now = _price(charge, _with_booked(charge, usage, booked), work)
    else:
        now = _price(charge, usage, work)
    net = _discounted(charge, now.gross, work)
    if usage.covers == "run" and booked.amount and not booked.quantity:  # nobody says of what: this run is on top
        net += booked.amount - _net_before(charge, before, usage, work)
    gross = now.gross - before.gross
    capped = _capped(charge, net, usage, work)
    topped = _topped(charge, capped, usage, work)
    due = work.do("not yet booked", "period - booked", period=topped, booked=was_booked)
    amount = due
    if charge.interim == "wait" and not usage.last_of_period:
        amount = work.do("left to the last run of the period", "0 * due", due=due)
    elif charge.negative_delta == "zero" and due < 0:
        amount = work.do("nothing is taken back", "max(due, 0)", due=due)
    true_up = topped - capped
    return Rated(
        charge=charge.id,
        model=str(type(charge.price).__struct_config__.tag),
        quantity=now.quantity - before.quantity,
        gross=gross,
        discount=gross + true_up - due,
        true_up=true_up,
        withheld=due - amount,
        amount=amount,
        amount_nano=to_nano(amount),
        period_amount=was_booked + amount,
        period_quantity=now.quantity,
        steps=work.taken(),
        parameters=record_of(charge),
        taxes=charge.taxes,
        description=charge.description,
    )


def _net_before(charge: Charge, before: _Priced, usage: Usage, work: Work) -> Fraction:
    return _capped(charge, _discounted(charge, before.gross, work, "before: "), usage, work)


def _before(charge: Charge, usage: Usage, booked: Booked, work: Work) -> _Priced:
    """What was booked comes to, before discounts and bounds; nothing where no run was before."""
    again = _plain(charge) and not usage.meters  # what was booked can be priced again
    told = booked.quantity or booked.billed_quantity
    if told and booked.amount is None and not (again and booked.quantity):
        raise LocalError(f"charge {charge.id}: say what amount is booked", field="booked.amount")
    if not again:
        return _Priced(quantity=booked.billed_quantity, gross=booked.amount or ZERO)
    if booked.quantity or (usage.covers == "run" and booked.amount is not None):
        return _price(charge, Usage(quantity=booked.quantity, days=usage.days), work)
    return _Priced(quantity=ZERO, gross=booked.amount or ZERO)


def _plain(charge: Charge) -> bool:
    """Whether one quantity tells all that the price needs, so that what is booked can be priced again."""
    needs_more = isinstance(charge.price, Percentage | GraduatedProrated | Windowed)
    return not (needs_more or charge.bucketed or charge.aggregate != "sum")


def _with_booked(charge: Charge, usage: Usage, booked: Booked) -> Usage:
    if usage.quantity is None or usage.events or usage.buckets or usage.meters or not _plain(charge):
        raise LocalError('covers = "run" goes with a price of one plain quantity, and that quantity', field="covers")
    return Usage(quantity=booked.quantity + usage.quantity, days=usage.days)


def _price(charge: Charge, usage: Usage, work: Work) -> _Priced:
    if isinstance(charge.price, GraduatedProrated):
        priced = _prorated(charge.price, usage, work)
    elif isinstance(charge.price, Windowed):
        counted = [replace(one, quantity=not_negative(charge, one.quantity, "buckets")) for one in usage.buckets]
        total = sum((one.quantity for one in counted), ZERO)
        priced = _Priced(quantity=total, gross=windowed(charge.price, counted, work))
    elif charge.bucketed:
        priced = _bucketed(charge, usage, work)
    elif isinstance(charge.price, GraduatedBlocks | VolumeBlocks) and charge.price.meters:
        meters = {name: _billed(charge, quantity, ZERO, work) for name, quantity in usage.meters.items()}
        gross = blocks(charge.price, sum(meters.values(), ZERO), meters, work)
        priced = _Priced(quantity=sum(meters.values(), ZERO), gross=gross)
    else:
        quantity = _billed(charge, metered(charge, usage, work), _free_units(charge, usage, work), work)
        priced = _Priced(quantity=quantity, gross=_price_one(charge, quantity, usage, work))
    if "price" in charge.prorate and not isinstance(charge.price, Flat):
        priced = _Priced(quantity=priced.quantity, gross=_shrunk(charge, priced.gross, "price", usage, work))
    if is_unwieldy(priced.gross):
        # of changes prorated by unlike numbers: a thousand such lines would have a denominator of a million digits
        gross = work.do("to 40 places", 'round(amount, 40, "half_even")', amount=priced.gross)
        priced = _Priced(quantity=priced.quantity, gross=gross)
    if charge.round is None:
        return priced
    rule = f'round(amount, {charge.round.places}, "{charge.round.mode}")'
    return _Priced(quantity=priced.quantity, gross=work.do("rounded", rule, amount=priced.gross))


def _billed(charge: Charge, quantity: Fraction, free: Fraction, work: Work) -> Fraction:
    """Converted, and less what is free."""
    quantity = not_negative(charge, quantity, "quantity")
    if charge.convert is not None:
        quantity = convert(charge.convert, quantity, work)
    if not free:
        return quantity
    return work.do("free units", "max(quantity - free_units, 0)", quantity=quantity, free_units=free)


def _free_units(charge: Charge, usage: Usage, work: Work) -> Fraction:
    return _shrunk(charge, charge.free_units, "free_units", usage, work)


def _bucketed(charge: Charge, usage: Usage, work: Work) -> _Priced:
    """Each bucket alone; free units are used up in the order of the buckets."""
    free = _free_units(charge, usage, work)
    days = None if charge.windows else usage.days  # of the days billed there are the windows, each of them whole
    quantities, parts = [], []
    for bucket in usage.buckets:
        whole = _billed(charge, bucket.quantity, ZERO, work)
        given = min(free, whole) if free else ZERO
        free -= given
        if given:
            name = f"bucket {bucket.name}: free units"
            whole = work.do(name, "quantity - free_units", quantity=whole, free_units=given)
        quantities.append(whole)
        parts.append(_price_one(charge, whole, Usage(quantity=whole, days=days), work))
    return _Priced(quantity=sum(quantities, ZERO), gross=work.sum("all buckets", parts))


def _price_one(charge: Charge, quantity: Fraction, usage: Usage, work: Work) -> Fraction:
    match charge.price:
        case Percentage():
            values = [event.value for event in usage.events]
            count = usage.event_count if usage.event_count is not None else len(values)
            return percentage(charge.price, quantity, count, values, work)
        case GraduatedPercentage():
            return graduated_percentage(charge.price, quantity, work)
        case Dynamic():
            return dynamic(charge.price, quantity, work)
        case GraduatedBlocks() | VolumeBlocks():
            return blocks(charge.price, quantity, {}, work)
        case GraduatedProrated() | Windowed():
            raise AssertionError("priced before: they need changes and windows")
        case Flat() if "flat" in charge.prorate or "price" in charge.prorate:
            return price_quantity(charge.price, quantity, work, share_of_period(usage))
        case Volume(tier_by="level"):
            return price_quantity(charge.price, quantity, work, level=level_of(usage))
        case _:
            return price_quantity(charge.price, quantity, work)


def _prorated(price: GraduatedProrated, usage: Usage, work: Work) -> _Priced:
    changes = [(usage.opening, usage.opening)] if usage.opening else []
    timed = [event for event in usage.events if event.prorated is None]
    whole = period_of(usage) if timed else None
    for event in usage.events:
        if event.prorated is not None:
            changes.append((event.value, event.prorated))
        elif whole is not None:
            part = seconds(moment(event, *whole), whole[1]) / seconds(*whole)
            changes.append((event.value, event.value * part))
    level = sum((units for units, _ in changes), ZERO)
    return _Priced(quantity=max(level, ZERO), gross=graduated_prorated(price, changes, work))


def _discounted(charge: Charge, amount: Fraction, work: Work, prefix: str = "") -> Fraction:
    for discount in charge.discounts:
        amount = apply_discount(discount, amount, f"{prefix}discount {discount.name}", work)
    return amount


def apply_discount(discount: Discount, amount: Fraction, name: str, work: Work) -> Fraction:
    """What a discount leaves of an amount: never less than nothing, and nothing of what is negative."""
    if amount <= 0:
        return amount
    if discount.percent is not None:
        return work.do(name, "amount - amount * percent / 100", amount=amount, percent=discount.percent)
    return work.do(name, "max(amount - off, 0)", amount=amount, off=discount.amount or ZERO)


def _capped(charge: Charge, amount: Fraction, usage: Usage, work: Work) -> Fraction:
    if charge.maximum is None:
        return amount
    most = _shrunk(charge, charge.maximum, "maximum", usage, work)
    return work.do("at most the maximum", "min(amount, maximum)", amount=amount, maximum=most)


def _topped(charge: Charge, amount: Fraction, usage: Usage, work: Work) -> Fraction:
    if charge.minimum is None or not usage.last_of_period:
        return amount
    least = _shrunk(charge, charge.minimum, "minimum", usage, work)
    return work.do("at least the minimum", "max(amount, minimum)", amount=amount, minimum=least)


def _shrunk(charge: Charge, amount: Fraction, what: str, usage: Usage, work: Work) -> Fraction:
    """A bound or allowance for the part of the period that is billed."""
    if usage.days is None or what not in charge.prorate or not amount:
        return amount
    days = {"billed": Fraction(usage.days.billed), "period": Fraction(usage.days.period)}
    return work.do(f"{what} for the days billed", "whole * billed / period", whole=amount, **days)
