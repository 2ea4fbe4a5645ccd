"""Numbers of a provider's export, read exactly: decimals from their text, never through a float. Pure.

Money and quantities stay `Decimal` as they were written; sums and quotients are made of `Fraction`s, so nothing is
rounded on the way. What no bill holds (NaN, a thousand digits, 1e999999999) is refused with its place.
"""

import re
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from typing import Any

from interlock.errors import LocalError

TEXT_MAX = 8_192
"""Characters: one provider writes 6,176 places of zeros."""
DIGITS_MAX = 40
"""Significant ones: more than 128-bit decimals have."""
PLACES_MAX = 40
WHOLE_MAX = 18
"""Digits before the point: a bill of a quintillion is none."""

_NUMBER = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,6}))?", re.ASCII)
_EXACT = Context(prec=200, traps=[Inexact])


def exact(value: Any, place: str, *, negative: bool = False) -> Decimal:
    """A number as it is written: text, or what JSON or Parquet gave.

    Args:
        place: where it stands, for the message.
        negative: whether it may be below zero.
    Raises: LocalError: it is no such number.
    """
    text = _text(value, place)
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise _wrong(place, text, "is not a number: write digits, a point and digits")
    fraction = (match[3] or "").rstrip("0")
    digits = ((match[2] or "") + fraction).lstrip("0")
    if not digits:
        return Decimal(0)
    shift = int(match[4] or 0) - len(fraction)
    kept = digits.rstrip("0")
    shift += len(digits) - len(kept)
    if len(kept) > DIGITS_MAX or -shift > PLACES_MAX or len(kept) + shift > WHOLE_MAX:
        raise _wrong(place, text, f"has more than {WHOLE_MAX} digits before the point or {PLACES_MAX} after it")
    if match[1] == "-" and not negative:
        raise _wrong(place, text, "is negative, which it cannot be")
    return Decimal((match[1] == "-", tuple(map(int, kept)), shift))


def count(value: Any, place: str) -> Decimal:
    """A whole number, not negative; `59200.0` is one. Raises: LocalError."""
    number = exact(value, place)
    if number != number.to_integral_value(context=_EXACT):
        raise _wrong(place, _text(value, place), "is not a whole number")
    return number


def times(number: Decimal, factor: Decimal | int) -> Decimal:
    """The product, exact."""
    return _EXACT.multiply(number, Decimal(factor))


def plus(a: Decimal, b: Decimal) -> Decimal:
    """The sum, exact."""
    return _EXACT.add(a, b)


def places(number: Decimal) -> int:
    """Digits after the point.

    >>> places(Decimal("1.250")), places(Decimal("3E+2"))
    (3, 0)
    """
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return max(-exponent, 0)


def half_even(number: Fraction) -> int:
    """The nearest integer, ties to the even one."""
    return round(number)


def decimal_text(number: Fraction) -> str:
    """The whole decimal expansion of a number that has one (its denominator holds twos and fives only).

    >>> decimal_text(Fraction(-5, 4)), decimal_text(Fraction(3))
    ('-1.25', '3')
    """
    digits, rest = 0, number.denominator
    while rest % 10 == 0:
        rest, digits = rest // 10, digits + 1
    while rest % 2 == 0 or rest % 5 == 0:
        rest, digits = rest // (2 if rest % 2 == 0 else 5), digits + 1
    if rest != 1:
        raise ValueError(f"{number} has no finite decimal expansion")
    whole = abs(number.numerator) * 10**digits // number.denominator
    sign = "-" if number < 0 else ""
    if not digits:
        return f"{sign}{whole}"
    text = f"{whole:0{digits + 1}d}"
    return f"{sign}{text[:-digits]}.{text[-digits:]}".rstrip("0").rstrip(".")


def _text(value: Any, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise _wrong(place, str(value)[:40], "is not a number")
    if isinstance(value, int) and value.bit_length() > 256:
        raise _wrong(place, "…", f"has more than {WHOLE_MAX} digits before the point")
    text = value.strip() if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)
    if len(text) > TEXT_MAX:
        raise _wrong(place, text, f"is longer than {TEXT_MAX} characters")
    return text


def _wrong(place: str, text: str, what: str) -> LocalError:
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    return LocalError(f"{place}: {shown!r} {what}", field=place)
