"""A charge in many runs: together they come to what one run would have; and what each parameter does."""

from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace
from tests.rating.properties import many_runs_are_one, plan_with, shown

from interlock.errors import LocalError
from interlock.rating import Booked, Bucket, Charge, Days, Event, Rated, Usage, rate, round_to, to_nano


def priced_alone(charge: Charge, usage: Usage, booked: Booked) -> Rated:
    """Wrong: each run prices only what is new."""
    new = (usage.quantity or Fraction(0)) - booked.quantity
    return rate(charge, replace(usage, quantity=max(new, Fraction(0))))


def rounded_each_time(charge: Charge, usage: Usage, booked: Booked) -> Rated:
    """Wrong: what each run books is rounded to cents, and nothing says by how much."""
    rated = rate(charge, usage, booked)
    return replace(rated, amount_nano=to_nano(round_to(rated.amount, 2)))


def minimum_every_time(charge: Charge, usage: Usage, booked: Booked) -> Rated:
    """Wrong: the minimum is topped up in every run, as if each were the last."""
    rated = rate(charge, replace(usage, last_of_period=True), booked)
    return replace(rated, amount=rated.amount + rated.true_up)


def never_taken_back(charge: Charge, usage: Usage, booked: Booked) -> Rated:
    """Wrong unless it is asked for: a difference below zero is dropped."""
    return rate(replace(charge, negative_delta="zero"), usage, booked)


def test_many_runs_are_one() -> None:
    many_runs_are_one(rate)


@pytest.mark.parametrize("wrong", [priced_alone, rounded_each_time, minimum_every_time, never_taken_back])
def test_a_wrong_run_is_caught(wrong: Any) -> None:
    with pytest.raises(AssertionError):
        many_runs_are_one(wrong)


def charge(model: str, price: dict[str, Any], **more: Any) -> Charge:
    return plan_with([{"id": "c", "price": {"model": model, **price}, **more}]).charges[0]


def amount(one: Charge, usage: Usage, booked: Booked | None = None) -> str:
    return str(rate(one, usage, booked or Booked()).amount)


VOLUME = {"tiers": [{"up_to": "15", "unit": "10"}, {"unit": "5"}]}
UNIT = {"unit": "10"}


def q(quantity: int | str, **more: Any) -> Usage:
    return Usage(quantity=Fraction(quantity), **more)


def test_a_difference_below_zero() -> None:
    before = Booked(amount=Fraction(150), quantity=Fraction(15))
    assert amount(charge("volume", VOLUME), q(16), before) == "-70"
    rated = rate(charge("volume", VOLUME, negative_delta="zero"), q(16), before)
    assert shown(rated.amount, rated.withheld, rated.period_amount) == "0 -70 150"


def test_an_interim_run_may_wait() -> None:
    waiting = charge("per_unit", UNIT, interim="wait")
    assert amount(waiting, q(3, last_of_period=False)) == "0"
    assert amount(waiting, q(3), Booked(amount=Fraction(0), quantity=Fraction(3))) == "30"


def test_a_minimum_waits_for_the_last_run_and_a_maximum_does_not() -> None:
    bounded = charge("per_unit", UNIT, minimum="100", maximum="200")
    assert amount(bounded, q(3, last_of_period=False)) == "30"
    assert amount(bounded, q(3)) == "100"
    assert amount(bounded, q(30, last_of_period=False)) == "200"


def test_bounds_and_fees_for_the_days_billed() -> None:
    days = Days(billed=10, period=30)
    assert amount(charge("flat", {"amount": "90"}), Usage(days=days)) == "30"
    assert amount(charge("flat", {"amount": "90"}, prorate=[]), Usage(days=days)) == "90"
    assert amount(charge("per_unit", UNIT, minimum="90"), q(1, days=days)) == "30"
    assert amount(charge("per_unit", UNIT, minimum="90", prorate=[]), q(1, days=days)) == "90"
    assert amount(charge("per_unit", UNIT, maximum="90", prorate=["maximum"]), q(9, days=days)) == "30"
    assert amount(charge("per_unit", UNIT, free_units="9", prorate=["free_units"]), q(9, days=days)) == "60"
    assert amount(charge("per_unit", UNIT, prorate=["price"]), q(9, days=days)) == "30"


def test_negative_quantities() -> None:
    with pytest.raises(LocalError, match="negative") as caught:
        rate(charge("per_unit", UNIT), q(-1))
    assert caught.value.field == "quantity"
    assert amount(charge("per_unit", UNIT, negative_quantity="rate"), q(-1)) == "-10"
    assert amount(charge("per_unit", UNIT, negative_quantity="zero"), q(-1)) == "0"
    with pytest.raises(LocalError, match="negative"):
        rate(charge("per_unit", UNIT, bucketed=True), Usage(buckets=(Bucket(quantity=Fraction(-1)),)))


def test_buckets_are_priced_alone_and_share_the_free_units() -> None:
    buckets = tuple(Bucket(name=name, quantity=Fraction(n)) for name, n in (("a", 4), ("b", 12), ("c", 3)))
    size = {"size": "10", "price": "5"}
    assert amount(charge("package", size, bucketed=True), Usage(buckets=buckets)) == "20"
    assert amount(charge("package", size), Usage(buckets=buckets)) == "10"
    rated = rate(charge("package", size, bucketed=True, free_units="6"), Usage(buckets=buckets))
    assert shown(rated.amount, rated.quantity) == "10 13"


def test_runs_of_what_is_not_one_quantity() -> None:
    """Their amount is the difference too; what was billed is told, not priced again."""
    size = charge("package", {"size": "10", "price": "5"}, bucketed=True)
    events = charge("percentage", {"rate_percent": "10", "free_events": 1, "per_event_min": "2"})
    for one, parts in ((size, "buckets"), (events, "events")):
        kind: Any = Bucket if parts == "buckets" else Event
        key = "quantity" if parts == "buckets" else "value"
        booked, amounts = Booked(), []
        for count in (1, 2, 4):
            given: dict[str, Any] = {parts: tuple(kind(**{key: Fraction(n)}) for n in (4, 12, 30, 7)[:count])}
            rated = rate(one, Usage(**given), booked)
            assert rated.amount == rated.gross - rated.discount + rated.true_up - rated.withheld
            booked = Booked(amount=rated.period_amount, billed_quantity=rated.period_quantity)
            amounts.append((str(rated.amount), str(rated.quantity)))
        once = rate(one, Usage(**given))
        assert (rated.period_amount, rated.period_quantity) == (once.amount, once.quantity)
        assert amounts == (
            [("5", "4"), ("10", "12"), ("20", "37")] if one is size else [("0", "4"), ("2", "12"), ("5", "37")]
        )
    with pytest.raises(LocalError, match="what amount is booked"):
        rate(size, Usage(buckets=()), Booked(quantity=Fraction(3)))


@pytest.mark.parametrize("one", [charge("per_unit", {"unit": "5"}), charge("percentage", {"rate_percent": "10"})])
def test_a_billed_quantity_alone_does_not_say_what_is_booked(one: Charge) -> None:
    """It is not priced again; all of the period would be booked a second time."""
    with pytest.raises(LocalError, match="what amount is booked") as refused:
        rate(one, q(9), Booked(billed_quantity=Fraction(4)))
    assert refused.value.field == "booked.amount"


def test_a_run_of_its_own_needs_a_plain_quantity() -> None:
    one = charge("dynamic", {})
    booked = Booked(amount=Fraction(7))
    assert amount(one, q(3, covers="run"), booked) == "3"
    with pytest.raises(LocalError, match="plain quantity"):
        rate(one, Usage(events=(Event(value=Fraction(1)),), covers="run"), booked)


def test_runs_under_a_maximum_and_left_to_the_last() -> None:
    """15 units are 150, of which 100 are booked, or nothing yet; 16 are 80."""
    most = charge("volume", VOLUME, maximum="100")
    assert amount(most, q(1, covers="run"), Booked(amount=Fraction(100), quantity=Fraction(15))) == "-20"
    wait = charge("volume", VOLUME, interim="wait")
    assert amount(wait, q(1, covers="run"), Booked(amount=Fraction(0), quantity=Fraction(15))) == "80"


def test_discounts_then_bounds() -> None:
    off = [{"name": "tenth", "percent": "10"}, {"name": "five", "amount": "5"}]
    assert amount(charge("per_unit", UNIT, discounts=off), q(10)) == "85"
    assert amount(charge("per_unit", UNIT, discounts=off, maximum="80", minimum="2"), q(10)) == "80"
    assert amount(charge("per_unit", UNIT, discounts=off, minimum="2"), q("0.1")) == "2"


def test_the_result_says_what_was_applied() -> None:
    rated = rate(charge("package", {"size": "10", "price": "15"}), q(9))
    assert rated.model == "package"
    assert rated.parameters["price"] == {
        "model": "package",
        "size": "10",
        "price": "15",
        "free_units": "0",
        "round": "up",
    }
    assert rated.parameters["negative_delta"] == "book"
    assert rated.amount_nano == 15 * 10**9
