"""Percentages against a walk over the events, and what must be known for an allowance."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import strategies as st
from tests.rating.properties import decimals, holds, plan_with, shown

from interlock.errors import LocalError
from interlock.rating import Charge, Event, Usage, rate


def charge(**keys: Any) -> Charge:
    price = {"model": "percentage", "rate_percent": "2.5", **keys}
    return plan_with([{"id": "c", "price": price}]).charges[0]


def of(values: list[Fraction]) -> Usage:
    return Usage(events=tuple(Event(value=value) for value in values))


Bounds = tuple[Fraction, Fraction] | None


def walked(values: list[Fraction], events: int, limit: Fraction | None, bounds: Bounds) -> Fraction:
    """One event after the other: what is left of both allowances, then its fee."""
    total, left_events, left_amount, free = Fraction(0), events, limit, bool(events or limit)
    for value in values:
        given = Fraction(0)
        if free:
            given = value if left_amount is None else min(value, left_amount)
            if given == value:
                left_events -= 1
                left_amount = None if left_amount is None else left_amount - value
                free = (not events or left_events > 0) and (left_amount is None or left_amount > 0)
                continue
            free = False
        fee = (value - given) * Fraction("2.5") / 100 + Fraction("0.3")
        total += fee if bounds is None else min(max(fee, bounds[0]), bounds[1])
    return total


def test_percentages_are_the_walk() -> None:
    def body(drawn: tuple[list[Fraction], int, Fraction | None, bool]) -> None:
        values, events, limit, bounded = drawn
        keys: dict[str, Any] = {"fixed_per_event": "0.3", "free_events": events}
        keys |= {"free_amount": str(limit)} if limit is not None else {}
        keys |= {"per_event_min": "0.5", "per_event_max": "1.5"} if bounded else {}
        bounds = (Fraction("0.5"), Fraction("1.5")) if bounded else None
        assert rate(charge(**keys), of(values)).amount == walked(values, events, limit, bounds)

    amounts = st.lists(decimals(2, 9000, 1), max_size=7)
    limits = st.sampled_from([None, Fraction(10), Fraction(50), Fraction(1000)])
    holds(st.tuples(amounts, st.integers(0, 4), limits, st.booleans()), body, 200)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"free_events": 2}, "first 2 events are free"),
        ({"free_amount": "10", "fixed_per_event": "1"}, "within free_amount is free"),
        ({"per_event_min": "1"}, "amount of every event"),
    ],
)
def test_events_that_are_not_known(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(LocalError, match=said) as caught:
        rate(charge(**keys), Usage(quantity=Fraction(100), event_count=5))
    assert caught.value.field == "events"


def test_sums_suffice_where_no_event_decides() -> None:
    usage = Usage(quantity=Fraction(100), event_count=5)
    assert shown(rate(charge(), usage).amount, rate(charge(free_amount="40"), usage).amount) == "2.5 1.5"
    assert shown(rate(charge(fixed_per_event="1"), usage).amount, rate(charge(free_events=5), usage).amount) == "7.5 0"
    assert rate(charge(fixed_per_event="1"), Usage()).amount == 0


def test_dynamic_amounts() -> None:
    price = {"model": "dynamic", "divide_by": "1000000000", "markup_percent": "15", "multiplier": "2"}
    one = plan_with([{"id": "c", "price": price}]).charges[0]
    assert rate(one, Usage(quantity=Fraction(1_000_000_001))).amount == Fraction("2.3000000023")
