"""Decimals as they were written, and every rounding mode against Python's decimal, on ties above all."""

import decimal
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rating.properties import rounds_right

from interlock.rating import MODES, exact, fixed, round_to, text_of, to_nano
from interlock.rating.plan import Mode

NAMES: dict[Mode, str] = {
    "half_away_from_zero": decimal.ROUND_HALF_UP,
    "half_up": decimal.ROUND_HALF_UP,
    "half_even": decimal.ROUND_HALF_EVEN,
    "half_down": decimal.ROUND_HALF_DOWN,
    "up": decimal.ROUND_UP,
    "down": decimal.ROUND_DOWN,
    "ceiling": decimal.ROUND_CEILING,
    "floor": decimal.ROUND_FLOOR,
}


def by_decimal(value: Fraction, places: int, mode: Mode) -> Fraction:
    with decimal.localcontext(prec=60):
        whole = Decimal(value.numerator) / Decimal(value.denominator)
        assert Fraction(whole) == value
        return Fraction(whole.quantize(Decimal(1).scaleb(-places), rounding=NAMES[mode]))


def always(mode: Mode) -> object:
    return lambda value, places, _: round_to(value, places, mode)


def by_float(value: Fraction, places: int, mode: Mode) -> Fraction:
    """What a float makes of it."""
    return Fraction(str(round(float(value), places))) if mode == "half_even" else round_to(value, places, mode)


def up_to_infinity(value: Fraction, places: int, mode: Mode) -> Fraction:
    """Ties towards +infinity, which some take for half up."""
    scaled = value * 10**places + Fraction(1, 2)
    return Fraction(math.floor(scaled), 10**places) if mode == "half_up" else round_to(value, places, mode)


def test_every_mode_is_decimals() -> None:
    assert set(NAMES) == set(MODES)
    rounds_right(round_to, by_decimal, MODES)


@pytest.mark.parametrize("wrong", [*map(always, MODES), by_float, up_to_infinity])
def test_a_wrong_rounding_is_caught(wrong: object) -> None:
    with pytest.raises(AssertionError):
        rounds_right(wrong, by_decimal, MODES)  # type: ignore[arg-type]  # one of the wrong ones above


@settings(max_examples=100, database=None, deadline=None, derandomize=True)
@given(st.integers(-(10**20), 10**20), st.integers(0, 12))
def test_text_is_exact(units: int, places: int) -> None:
    value = Fraction(units, 10**places)
    assert exact(text_of(value)) == value == Fraction(fixed(value, places))
    assert "/" in text_of(value + Fraction(1, 3))
    assert Fraction(text_of(value + Fraction(1, 3))) == value + Fraction(1, 3)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        " 1",
        "1 ",
        "1e3",
        "NaN",
        "Infinity",
        "-inf",
        "0x10",
        "1_000",
        "1,5",
        ".5",
        "5.",
        "--1",
        "١",
        "1" * 31,
        "0." + "1" * 31,
        True,
        None,
        1.5,
        10**30,
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("1e999999999"),
        [],
        {},
    ],
)
def test_what_is_no_decimal_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"found|expected"):
        exact(bad)


def test_nano_units_are_half_even() -> None:
    halves = [Fraction(n, 2 * 10**9) for n in (1, 3, 5, -1, -3)]
    assert [to_nano(half) for half in halves] == [0, 2, 2, 0, -2]
