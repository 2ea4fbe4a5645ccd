"""Exact numbers: decimals from outside to fractions, fractions to text, and the one place that rounds amounts."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import get_args

from interlock.errors import LocalError
from interlock.rating.plan import Mode
from interlock.units import NANO, divide_half_even

DIGITS_MAX = 30
"""Before the point, and after it: beyond any price, quantity or currency, and far from costing time."""
_DECIMAL = re.compile(r"[+-]?(\d{1,30})(\.\d{1,30})?")
TEXT_BITS_MAX = 13_000
"""About 4,000 digits: Python itself refuses to write an integer of more than 4,300."""
PLAIN_DENOMINATOR_MAX = 10**12
MODES: tuple[Mode, ...] = get_args(Mode)


def exact(value: object) -> Fraction:
    """A decimal as it was written: a string, an integer or a `Decimal`; never a float.

    Raises: ValueError: it is none, not finite, or longer than DIGITS_MAX digits before or after the point.
    >>> exact("0.075"), exact(3), exact(Decimal("1E-7"))
    (Fraction(3, 40), Fraction(3, 1), Fraction(1, 10000000))
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f'found {type(value).__name__}; expected a decimal such as "0.25"')
    if isinstance(value, int):
        if abs(value) >= 10**DIGITS_MAX:
            raise ValueError(f"found a number of more than {DIGITS_MAX} digits")
        return Fraction(value)
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > DIGITS_MAX or -int(value.as_tuple().exponent) > DIGITS_MAX:
            raise ValueError(f"expected a finite decimal of at most {DIGITS_MAX} digits before and after the point")
        return Fraction(value)
    if not value.isascii() or not _DECIMAL.fullmatch(value):
        shown = value if len(value) <= 40 else value[:40] + "…"
        raise ValueError(
            f"found {shown!r}; expected a plain decimal of at most {DIGITS_MAX} digits before and after the point"
        )
    return Fraction(value)


def text_of(value: Fraction) -> str:
    """A decimal where there is one, else `n/d`.

    Raises: LocalError: more digits than a text should have; only sums over very many unlike denominators do.
    >>> text_of(Fraction(5, 4)), text_of(Fraction(-1, 3)), text_of(Fraction(20))
    ('1.25', '-1/3', '20')
    """
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > TEXT_BITS_MAX:
        raise LocalError(
            "an exact amount has more than 4,000 digits: round the charges (charge.round)", field="charges"
        )
    rest = value.denominator
    if rest == 1:
        return str(value.numerator)
    places = twos = 0
    while rest % 5 == 0:
        rest //= 5
        places += 1
    while rest % 2 == 0:
        rest //= 2
        twos += 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    return fixed(value, max(places, twos))


def is_unwieldy(value: Fraction) -> bool:
    """Whether a number is no decimal and has a large denominator, which would grow when it is added to others."""
    decimal = 10 ** (2 * DIGITS_MAX) % value.denominator == 0
    return value.denominator > PLAIN_DENOMINATOR_MAX and not decimal


def fixed(value: Fraction, places: int) -> str:
    """The decimal with exactly so many places, which must hold it.

    >>> fixed(Fraction(5, 2), 2)
    '2.50'
    """
    scaled = value * 10**places
    assert scaled.denominator == 1, f"{value} has more than {places} places"
    digits = str(abs(scaled.numerator)).rjust(places + 1, "0")
    sign = "-" if scaled < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


def round_to(value: Fraction, places: int, mode: Mode = "half_away_from_zero") -> Fraction:
    """The nearest multiple of 10**-places, by `mode`.

    >>> [str(round_to(Fraction(-5, 2), 0, mode)) for mode in ("half_away_from_zero", "half_even", "half_down", "up")]
    ['-3', '-2', '-2', '-3']
    """
    scale = 10**places
    below, rest = divmod(value.numerator * scale, value.denominator)
    if not rest:
        return Fraction(below, scale)
    twice = 2 * rest - value.denominator  # < 0: nearer to below; 0: a tie
    positive = value > 0
    match mode:
        case "half_away_from_zero" | "half_up":
            raised = twice > 0 or (twice == 0 and positive)
        case "half_even":
            raised = twice > 0 or (twice == 0 and below % 2 == 1)
        case "half_down":
            raised = twice > 0 or (twice == 0 and not positive)
        case "up":
            raised = positive
        case "down":
            raised = not positive
        case "ceiling":
            raised = True
        case "floor":
            raised = False
    return Fraction(below + raised, scale)


def to_nano(value: Fraction) -> int:
    """Nano-units (1e-9), half to even: what a ledger's entry holds.

    >>> to_nano(Fraction("0.0000000025"))
    2
    """
    return divide_half_even(value.numerator * NANO, value.denominator)
