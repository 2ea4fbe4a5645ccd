"""Prices of amounts: a percentage of them with its allowances, and amounts that came with the events. Pure."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from interlock.errors import LocalError
from interlock.rating.plan import ZERO, Dynamic, Percentage
from interlock.rating.steps import Work


def dynamic(price: Dynamic, amount: Fraction, work: Work) -> Fraction:
    """Amounts as they came, with a multiplier and a markup."""
    rule = "amount * multiplier * (100 + markup_percent) / 100 / divide_by"
    return work.do(
        "amount",
        rule,
        amount=amount,
        multiplier=price.multiplier,
        markup_percent=price.markup_percent,
        divide_by=price.divide_by,
    )


def percentage(price: Percentage, amount: Fraction, count: int, events: Sequence[Fraction], work: Work) -> Fraction:
    """A share of an amount and a fee for each of `count` events; `events` are theirs in order, as far as known.

    Free is what the earlier of two allowances covers: so many events, or so much of the amount. The event that passes
    the amount is free in part, and pays its fee. With a least or greatest fee each event is priced alone.
    Source: getlago/lago-api, percentage_service.rb.
    Raises: LocalError: an allowance in events, or a fee's bounds, and the events are not known.
    """
    if not amount and not count:
        return work.do("nothing was used", "amount", amount=ZERO)
    if price.per_event_min is not None or price.per_event_max is not None:
        return _each(price, amount, count, events, work)
    free, free_count = _free(price, amount, count, events)
    share = work.do(
        "share of the amount",
        "(amount - free_amount) * rate_percent / 100",
        amount=amount,
        free_amount=free,
        rate_percent=price.rate_percent,
    )
    if not price.fixed_per_event or not amount:
        return share
    fees = work.do(
        "fee of each event",
        "(events - free_events) * fixed_per_event",
        events=Fraction(count),
        free_events=Fraction(free_count),
        fixed_per_event=price.fixed_per_event,
    )
    return work.do("share and fees", "share + fees", share=share, fees=fees)


def _free(price: Percentage, amount: Fraction, count: int, events: Sequence[Fraction]) -> tuple[Fraction, int]:
    """How much of the amount is free, and how many events."""
    limit = price.free_amount if price.free_amount else None
    if not price.free_events and limit is None:
        return ZERO, 0
    by_count = amount
    if price.free_events and price.free_events < count:
        if len(events) < price.free_events:
            raise LocalError(
                f"the first {price.free_events} events are free: give their amounts (events)", field="events"
            )
        by_count = sum(events[: price.free_events], ZERO)
    free_count = price.free_events if price.free_events else count
    free = min(amount, by_count if limit is None else min(by_count, limit))
    if limit is not None:
        if price.fixed_per_event and len(events) < min(count, free_count):
            raise LocalError("the fee of events within free_amount is free: give the events' amounts", field="events")
        within, total = 0, ZERO
        for value in events:
            total += value
            if total > limit:
                break
            within += 1
        free_count = min(free_count, within)
    return free, min(free_count, count)


def _each(price: Percentage, amount: Fraction, count: int, events: Sequence[Fraction], work: Work) -> Fraction:
    if len(events) != count or sum(events, ZERO) != amount:
        raise LocalError("a fee of each event has bounds: give the amount of every event (events)", field="events")
    rule = "(amount - free) * rate_percent / 100 + fixed_per_event"
    bounds = {"least": price.per_event_min, "most": price.per_event_max}
    named = {key: value for key, value in bounds.items() if value is not None}
    if "least" in named:
        rule = f"max({rule}, least)"
    if "most" in named:
        rule = f"min({rule}, most)"
    parts = []
    for index, (value, free) in enumerate(zip(events, _allowed(price, events), strict=True), 1):
        if free is None:
            continue
        given = {"amount": value, "free": free, "rate_percent": price.rate_percent}
        given["fixed_per_event"] = price.fixed_per_event
        parts.append(work.do(f"event {index}", rule, **given, **named))
    return work.sum("all events", parts)


def _allowed(price: Percentage, events: Sequence[Fraction]) -> Iterator[Fraction | None]:
    """How much of each event's amount is free; None: all of it, and its fee."""
    left_events = price.free_events or len(events)
    left_amount = price.free_amount or None
    open_ = bool(price.free_events or left_amount)
    for value in events:
        if not open_:
            yield ZERO
        elif left_amount is not None and value > left_amount:
            open_ = False
            yield left_amount
        else:
            yield None
            left_events -= 1
            left_amount = None if left_amount is None else left_amount - value
            open_ = left_events > 0 and (left_amount is None or left_amount > 0)
