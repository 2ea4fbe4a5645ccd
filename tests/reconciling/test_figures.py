"""Numbers as they are written, and what is none."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import LocalError
from interlock.reconciling.figures import PLACES_MAX, count, decimal_text, exact, half_even

DECIMALS = st.builds(
    lambda digits, places: Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -places)),
    st.integers(-(10**17), 10**17),
    st.integers(0, PLACES_MAX),
)


@given(DECIMALS, st.integers(0, 20))
def test_a_number_is_what_is_written(number: Decimal, zeros: int) -> None:
    plain = f"{number:f}"
    assert exact(plain + "0" * zeros if "." in plain else plain, "x", negative=True) == number
    assert exact(f"{number:E}", "x", negative=True) == number
    assert decimal_text(Fraction(number)) == f"{number:f}".rstrip("0").rstrip(".") if "." in plain else True


@pytest.mark.parametrize("text", ["", ".", "-", "1e", "e5", "1.2.3", "0x10", "١", "1_000", "++1", "nan", "1e1000000"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(LocalError):
        exact(text, "row 7 cost", negative=True)


def test_zeros_may_have_any_exponent() -> None:
    assert exact("0E-6176", "x") == exact("-0.0", "x") == 0


def test_counts_are_whole() -> None:
    assert count("59200.0", "x") == count("5.92e4", "x") == 59_200
    with pytest.raises(LocalError, match="not a whole number"):
        count("0.5", "x")
    with pytest.raises(LocalError, match="negative"):
        count("-1", "x")


def test_half_even() -> None:
    assert [half_even(Fraction(n, 2)) for n in (1, 3, 5, -1, -3)] == [0, 2, 2, 0, -2]
