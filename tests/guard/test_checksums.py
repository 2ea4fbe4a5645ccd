"""Check digits that several kinds share, against python-stdnum; days against the calendar."""

import calendar

from hypothesis import given
from hypothesis import strategies as st
from stdnum import ean
from stdnum import luhn as other_luhn
from stdnum import verhoeff as other_verhoeff
from stdnum.iso7064 import mod_11_10 as other_mod_11_10

from interlock.guard.checksums import ean_13, is_birthday, is_date, is_varied, luhn, mod_11_10, verhoeff

NUMBERS = st.text("0123456789", min_size=2, max_size=24)


@given(NUMBERS)
def test_each_digit_at_the_end(number: str) -> None:
    """Whatever stands before it, the others' check digit is taken and no other is."""
    for ours, theirs in ((luhn, other_luhn), (verhoeff, other_verhoeff), (mod_11_10, other_mod_11_10)):
        right = theirs.calc_check_digit(number)
        assert [digit for digit in "0123456789" if ours(f"{number}{digit}".encode())] == [right]


@given(st.text("0123456789", min_size=12, max_size=12))
def test_articles(number: str) -> None:
    assert [digit for digit in "0123456789" if ean_13(f"{number}{digit}".encode())] == [ean.calc_check_digit(number)]


def test_every_day_of_a_leap_year() -> None:
    days = {(month, day) for month in range(1, 13) for day in range(1, calendar.monthrange(2000, month)[1] + 1)}
    assert {(month, day) for month in range(-1, 100) for day in range(-1, 100) if is_date(month, day)} == days


def test_birthdays() -> None:
    assert is_birthday(b"991231") and is_birthday(b"311299", day_first=True) and is_birthday(b"991291", days=60)
    assert not (is_birthday(b"311299") or is_birthday(b"991231", day_first=True) or is_birthday(b"991291"))


def test_varied() -> None:
    assert is_varied(b"0001") and not is_varied(b"0000")
