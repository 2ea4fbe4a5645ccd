"""One period priced: what was counted becomes lines, by the plans that were in force. Pure.

It always prices the whole period until now, as if nothing of it had been billed: what an invoice charges is the
difference to what stands on earlier ones (drafting.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from interlock.billing.counting import Counted, Detail, Found
from interlock.billing.value import Discount, Line, LineTax, PeriodSum, Segment, Tax
from interlock.billing.windowing import WINDOWS_MAX, buckets, grid, too_many_windows
from interlock.errors import LocalError
from interlock.ledger.billable import check as check_question
from interlock.rating import (
    Booked,
    Charge,
    Days,
    Event,
    Plan,
    Rated,
    Source,
    Total,
    Usage,
    rate,
    split,
    text_of,
    to_nano,
    total,
)
from interlock.rating import Bucket as RatedBucket
from interlock.rating import Line as TotalLine
from interlock.rating.plan import Dynamic, GraduatedProrated, Percentage

PLACES_MAX = 9
NANO = 1_000_000_000
GROUP_CHARS_MAX = 256
PARTS_MAX = 20_000
"""What of a period is priced by itself: twice the lines of an invoice, since most of an earlier period is no news."""
STEPS_MAX = 500_000
"""Of all lines of a period: each is held in memory, some 600 bytes, and goes to the log."""

Plans = Mapping[tuple[str, int], Plan]
Counts = Mapping[tuple[str, str], Sequence[Found]]
"""By segment key and charge id: of each of the charge's sources, which stands in the evidence (`named`)."""


class Priced(NamedTuple):
    """A period, as if it were billed for the first time."""

    lines: list[Line]
    sums: PeriodSum
    parameters: dict[str, dict[str, Any]]


def check_billable(plan: Plan, places: int) -> None:
    """Whether invoices can be made of a plan. Raises: LocalError: the field that cannot."""
    if places > PLACES_MAX:
        raise LocalError(f"an invoice has at most {PLACES_MAX} places", field="places")
    if plan.rounding.level not in ("line", "invoice"):
        raise LocalError("what is to be paid has to be rounded: line or invoice", field="rounding.level")
    order = {stage: place for place, stage in enumerate(plan.order)}
    taxed = order.get("taxes", len(order))
    if order.get("credits", len(order)) < taxed:
        what = "a prepaid balance pays an invoice, taxes and all: put credits after taxes"
        raise LocalError(what, field="order")
    if plan.discounts and order.get("discounts", -1) > taxed:
        raise LocalError("a discount after taxes is no line's: put discounts before taxes", field="order")
    for place, charge in enumerate(plan.charges):
        model = charge.price.__struct_config__.tag
        field = f"charges[{place}]"
        if not charge.counts and model != "flat":
            raise LocalError("say what it counts: source = { meter = … } or { usage = … }", field=f"{field}.source")
        for name, source in charge.counts.items():
            if source.usage:
                _check_usage(plan, charge, source, field, f"sources.{name}" if name else "source")
        if model == "windowed" and not charge.windows:
            what = 'say which windows: windows = { size = "hour", rules = […], otherwise = "CLASS" }'
            raise LocalError(what, field=f"{field}.windows")
        if getattr(charge.price, "meters", None) and not charge.sources:
            what = "say what each of its meters counts: sources = { NAME = { meter = … } }"
            raise LocalError(what, field=f"{field}.sources")
        if charge.bucketed and charge.aggregate != "sum":
            what = "a level is weighed over the whole period: leave aggregate out, or bucketed"
            raise LocalError(what, field=f"{field}.aggregate")
        if charge.negative_delta == "zero" and plan.discounts:
            what = "an invoice's discount cannot be shared with a charge that takes nothing back"
            raise LocalError(what, field=f"{field}.negative_delta")


def _check_usage(plan: Plan, charge: Charge, source: Source, field: str, at: str) -> None:
    """Raises: LocalError: no such measure or dimension; a cost in USD would be taken for another currency."""
    try:
        check_question(source.usage, source.by, source.where)
    except LocalError as error:
        raise LocalError(error.message, field=f"{field}.{at}.{error.field}") from error
    exchanged = isinstance(charge.price, Dynamic) and charge.price.multiplier != 1
    if source.usage == "cost" and plan.currency != "USD" and not exchanged:
        what = (
            f"cost is told in USD: a plan in {plan.currency} prices it as dynamic, the multiplier its rate of exchange"
        )
        raise LocalError(what, field=f"{field}.price")


def detail_of(charge: Charge, zone: str, segment: Segment) -> Detail:
    """What has to be counted of a charge besides sums."""
    windows = grid(charge.windows, zone, segment.since_ns, segment.until_ns) if charge.windows else None
    return Detail(values=wants_values(charge), grid=windows)


def named(found: Found, meter: str) -> Found:
    """The same, its evidence saying which of a charge's sources it is; a single one has no name."""
    if not meter:
        return found
    counted = tuple(replace(one, evidence=replace(one.evidence, meter=meter)) for one in found.counted)
    return replace(found, counted=counted)


def wants_values(charge: Charge) -> bool:
    """Whether the charge is priced event by event."""
    price = charge.price
    if isinstance(price, Percentage):
        bounded = price.per_event_min is not None or price.per_event_max is not None
        return bounded or bool(price.free_events or (price.free_amount and price.fixed_per_event))
    return charge.aggregate == "weighted_sum" or isinstance(price, GraduatedProrated)


def price_period(
    period: str, zone: str, segments: Sequence[Segment], plans: Plans, counts: Counts, now_ns: int
) -> Priced:
    """Raises: LocalError: a plan cannot price what was counted (a quantity past its last tier, say)."""
    lines: list[Line] = []
    discounts: list[Discount] = []
    taxes: list[Tax] = []
    parameters: dict[str, dict[str, Any]] = {}
    parts = steps = windows = 0
    for segment in segments:
        plan = plans[segment.plan, segment.version]
        asked = [
            (charge, counted)
            for charge in plan.charges
            for counted in _parts(charge, counts.get((segment.key, charge.id), ()))
        ]
        ended, days = now_ns >= segment.until_ns, Days(billed=segment.days, period=segment.of_days)
        parts += len(asked)
        if parts > PARTS_MAX:
            raise LocalError(
                f"{period} has more than {PARTS_MAX} lines: group the plan's charges by less", field="lines"
            )
        rated = []
        for charge, counted in asked:
            used = _usage(segment, charge, counted, days, zone, now_ns)
            windows += len(used.buckets) if charge.windows else 0
            if windows > WINDOWS_MAX:
                raise too_many_windows()
            rated.append(rate(charge, used, Booked()))
            steps += len(rated[-1].steps)
            if steps > STEPS_MAX:
                what = f"{period} takes more than {STEPS_MAX:,} steps to price: fewer tiers, or group by less"
                raise LocalError(what, field=f"{charge.id}.price")
        found = total(plan, rated, days=days, last_of_period=ended)
        made = [
            _line(period, segment, charge, counted, one, line)
            for (charge, counted), one, line in zip(asked, rated, found.lines, strict=False)
        ]
        made += [_commitment(period, segment, line) for line in found.lines[len(asked) :]]
        lines += _taxed(plan, made, found)
        discounts += [
            Discount(name=one.name, exact=text_of(one.exact), amount=to_nano(one.amount)) for one in found.discounts
        ]
        taxes += [
            Tax(name=one.name, percent=text_of(one.percent), base=text_of(one.base), amount=to_nano(one.amount))
            for one in found.taxes
        ]
        parameters[f"{plan.name}/{plan.version}"] = _plain(found.parameters)
    return Priced(lines, PeriodSum(period=period, discounts=tuple(discounts), taxes=tuple(taxes)), parameters)


def _parts(charge: Charge, found: Sequence[Found]) -> list[tuple[Counted, ...]]:
    """What becomes a line each: every group, of all sources; or all groups together where each is a bucket."""
    counted = tuple(one for of in found for one in of.counted)
    if charge.bucketed or not any(source.by for source in charge.counts.values()):
        return [counted]
    return _by_group(counted)


def _by_group(counted: Iterable[Counted]) -> list[tuple[Counted, ...]]:
    """What the sources counted of each group together, in the order of the groups' values."""
    of_group = sorted(counted, key=_values)
    return [tuple(of) for _, of in groupby(of_group, key=_values)]


def _values(one: Counted) -> tuple[str, ...]:
    return tuple(one.group.values())


def _usage(segment: Segment, charge: Charge, counted: tuple[Counted, ...], days: Days, zone: str, now_ns: int) -> Usage:
    begin, end = (datetime.fromtimestamp(ns // NANO, UTC) for ns in (segment.since_ns, segment.until_ns))
    ended = now_ns >= segment.until_ns
    more: dict[str, Any] = {"days": days, "last_of_period": ended, "begin": begin, "end": end}
    if not charge.counts:
        return Usage(quantity=Fraction(1), **more)
    if charge.windows:
        cut = grid(charge.windows, zone, segment.since_ns, segment.until_ns)
        groups = _by_group(counted) if charge.bucketed else [counted]
        names = [group_text(of[0].group) if charge.bucketed else "" for of in groups]
        used = [[pair for one in of for pair in one.windows] for of in groups]
        return Usage(buckets=tuple(buckets(charge.windows, cut, names, used, now_ns)), **more)
    if charge.bucketed:
        whole = tuple(RatedBucket(name=group_text(of[0].group), quantity=_sum(of)) for of in _by_group(counted))
        return Usage(buckets=whole, **more)
    if wants_values(charge):
        values = sorted(pair for one in counted for pair in one.values)
        events = tuple(Event(value=value, at=datetime.fromtimestamp(ns / NANO, UTC)) for ns, value in values)
        return Usage(events=events, **more)
    count = sum(one.evidence.count for one in counted)
    if charge.sources:
        meters = {name: _sum(one for one in counted if one.evidence.meter == name) for name in charge.sources}
        return Usage(meters=meters, event_count=count, **more)
    return Usage(quantity=_sum(counted), event_count=count, **more)


def _sum(counted: Iterable[Counted]) -> Fraction:
    return sum((one.quantity for one in counted), Fraction(0))


def group_text(group: Mapping[str, str]) -> str:
    """`model=a, tier=b`; of what has no name, as in tables, `-`."""
    return ", ".join(f"{name}={value or '-'}" for name, value in group.items())


def _line(
    period: str, segment: Segment, charge: Charge, counted: tuple[Counted, ...], rated: Rated, found: TotalLine
) -> Line:
    group = counted[0].group if counted and not charge.bucketed else {}
    called = charge.description or charge.id
    key = f"{segment.key}/{charge.id}"
    if group:
        key += "?" + msgspec.json.encode(dict(sorted(group.items()))).decode()
    quantity = _sum(counted) if charge.counts else Fraction(1)
    return Line(
        key=key,
        kind="usage" if charge.counts else "fixed",
        period=period,
        since_ns=segment.since_ns,
        until_ns=segment.until_ns,
        description=f"{called} ({group_text(group)})" if group else called,
        plan=segment.plan,
        version=segment.version,
        charge=charge.id,
        group=group,
        quantity=text_of(quantity),
        billed=text_of(rated.period_quantity),
        unit=charge.unit_name,
        exact=text_of(found.exact),
        amount=to_nano(found.amount),
        discount=to_nano(found.discount),
        net=to_nano(found.amount - found.discount),
        steps=rated.steps,
        evidence=tuple(one.evidence for one in counted),
    )


def _commitment(period: str, segment: Segment, found: TotalLine) -> Line:
    return Line(
        key=f"{segment.key}/commitment",
        kind="commitment",
        period=period,
        since_ns=segment.since_ns,
        until_ns=segment.until_ns,
        description=found.description or "Minimum commitment",
        plan=segment.plan,
        version=segment.version,
        exact=text_of(found.exact),
        amount=to_nano(found.amount),
        discount=to_nano(found.discount),
        net=to_nano(found.amount - found.discount),
    )


def _taxed(plan: Plan, lines: list[Line], found: Total) -> list[Line]:
    """Each line with its share of each tax; what the shares of a tax come to is that tax, exactly."""
    shares: list[list[LineTax]] = [[] for _ in lines]
    applies = {charge.id: charge.taxes for charge in plan.charges}
    for tax in found.taxes:
        if len(found.taxes) == 1:
            parts = [one.tax for one in found.lines]
        else:
            names = [applies.get(line.charge) for line in lines]
            weights = [
                abs(Fraction(line.net)) * (of is None or tax.name in of) for line, of in zip(lines, names, strict=True)
            ]
            parts = list(split(tax.amount, weights, found.places)) if any(weights) else [Fraction(0)] * len(lines)
        for mine, part in zip(shares, parts, strict=True):
            if part:
                mine.append(LineTax(name=tax.name, amount=to_nano(part)))
    made = []
    for line, mine in zip(lines, shares, strict=True):
        included = sum(one.amount for one in mine) if plan.taxes.inclusive else 0
        net = line.amount - line.discount - included
        made.append(replace(line, net=net, taxes=tuple(mine)))
    return made


def _plain(value: Any) -> Any:
    """As JSON can say it: fractions as text."""
    if isinstance(value, Fraction):
        return text_of(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value
