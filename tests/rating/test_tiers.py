"""Tiers against an oracle that integrates the price unit by unit; monotone, continuous; and what zero usage costs."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.rating.properties import Rate, graduated_is_monotone_and_continuous, holds, plan_with, quantities, tiers

from interlock.errors import LocalError
from interlock.rating import Booked, Charge, Rated, Usage, rate
from interlock.rating.plan import Graduated, Volume


def charge(model: str, listed: list[dict[str, Any]], **more: Any) -> Charge:
    return plan_with([{"id": "c", "price": {"model": model, "tiers": listed, **more}}]).charges[0]


def amount(one: Charge, quantity: str | Fraction) -> Fraction:
    return rate(one, Usage(quantity=Fraction(quantity))).amount


def as_volume(one: Charge, usage: Usage, booked: Booked) -> Rated:
    """Wrong: all units at the tier of the last."""
    assert isinstance(one.price, Graduated)
    return rate(replace(one, price=Volume(tiers=one.price.tiers)), usage, booked)


def bound_belongs_above(one: Charge, usage: Usage, booked: Booked) -> Rated:
    """Wrong: a tier begins one unit early, for whatever it has in full."""
    assert isinstance(one.price, Graduated)
    moved = [
        replace(tier, up_to=None if tier.up_to is None else tier.up_to - Fraction(1, 2)) for tier in one.price.tiers
    ]
    return rate(replace(one, price=Graduated(tiers=tuple(moved))), usage, booked)


def graduated_is_the_integral(rate: Rate) -> None:
    """By hundredths of a unit, each at its tier's price; flat fees of the tiers that are reached."""

    def body(drawn: tuple[list[dict[str, Any]], int]) -> None:
        listed, hundredths = drawn
        bounds = [Fraction(tier.get("up_to", 10**9)) for tier in listed]
        places = [next(i for i, bound in enumerate(bounds) if Fraction(n + 1, 100) <= bound) for n in range(hundredths)]
        expected = sum((Fraction(listed[place]["unit"]) / 100 for place in places), Fraction(0))
        expected += sum(Fraction(listed[place]["flat"]) for place in {0, *places})
        one = charge("graduated", listed)
        assert rate(one, Usage(quantity=Fraction(hundredths, 100)), Booked()).amount == expected

    drawn = st.tuples(tiers(), st.one_of(st.integers(0, 80).map(lambda n: 100 * n), st.integers(0, 3000)))
    holds(drawn, body, 40)


def test_graduated() -> None:
    graduated_is_the_integral(rate)
    graduated_is_monotone_and_continuous(rate)


def test_wrong_tiers_are_caught() -> None:
    with pytest.raises(AssertionError):
        graduated_is_the_integral(as_volume)
    with pytest.raises(AssertionError):
        graduated_is_the_integral(bound_belongs_above)
    with pytest.raises(AssertionError):
        graduated_is_monotone_and_continuous(as_volume)


def test_volume_is_one_price_for_all() -> None:
    def body(drawn: tuple[list[dict[str, Any]], Fraction]) -> None:
        listed, quantity = drawn
        tier = next(tier for tier in listed if "up_to" not in tier or quantity <= Fraction(tier["up_to"]))
        expected = quantity * Fraction(tier["unit"]) + Fraction(tier["flat"])
        assert amount(charge("volume", listed), quantity) == expected

    holds(st.tuples(tiers(), quantities), body)


FLAT = [{"up_to": "5", "unit": "1", "flat": "100"}, {"unit": "2", "flat": "7"}]


@pytest.mark.parametrize("model", ["graduated", "volume"])
def test_the_first_flat_fee_at_zero_usage(model: str) -> None:
    assert amount(charge(model, FLAT), "0") == 100
    assert amount(charge(model, FLAT, first_flat_at_zero=False), "0") == 0
    assert amount(charge(model, FLAT, first_flat_at_zero=False), "0.001") == Fraction("100.001")


@pytest.mark.parametrize("model", ["graduated", "volume"])
def test_past_the_last_tier(model: str) -> None:
    ended = [{"up_to": "5", "unit": "1"}]
    with pytest.raises(LocalError, match="tiers end at 5") as caught:
        amount(charge(model, ended), "5.5")
    assert caught.value.field == "past_last"
    assert amount(charge(model, ended, past_last="last_tier"), "5.5") == Fraction("5.5")
