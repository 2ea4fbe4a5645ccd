"""Check digits that several kinds of number share. Pure; digits are ASCII bytes.

Sources: ISO/IEC 7812-1 annex B (Luhn); ISO/IEC 7064 (MOD 11,10 and MOD 97-10); J. Verhoeff, Error Detecting Decimal
Codes, 1969; GS1 General Specifications (EAN-13).
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

_PLAIN = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def luhn(digits: bytes) -> bool:
    """Every second digit from the right doubled, its own digits added: the sum ends in 0."""
    return (sum(digits[-1::-2].translate(_PLAIN)) + sum(digits[-2::-2].translate(_DOUBLED))) % 10 == 0


def weighted(digits: bytes, weights: Iterable[int]) -> int:
    """The sum of digit × weight, as far as there are weights."""
    return sum(weight * (digit - 48) for weight, digit in zip(weights, digits, strict=False))


def mod_11_10(digits: bytes) -> bool:
    """ISO/IEC 7064, hybrid system MOD 11,10."""
    state = 10
    for digit in digits[:-1]:
        state = ((state + digit - 48) % 10 or 10) * 2 % 11
    return (state + digits[-1] - 48) % 10 == 1


def ean_13(digits: bytes) -> bool:
    """Weights 1 and 3 in turn: the sum ends in 0."""
    return weighted(digits, (1, 3) * 6 + (1,)) % 10 == 0


def _dihedral(a: int, b: int) -> int:
    """The product in the symmetries of a pentagon: 0 to 4 turn it, 5 to 9 turn it over."""
    turned = (a + b if a < 5 else a - b) % 5
    return turned + 5 * ((a < 5) != (b < 5))


def _permutations() -> Sequence[Sequence[int]]:
    powers = [list(range(10))]
    for _ in range(7):
        powers.append([(1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit] for digit in powers[-1]])
    return powers


_PERMUTED = _permutations()


def verhoeff(digits: bytes) -> bool:
    """The product of all digits, each permuted by its place from the right, is 0."""
    product = 0
    for place, digit in enumerate(reversed(digits)):
        product = _dihedral(product, _PERMUTED[place % 8][digit - 48])
    return product == 0


def is_date(month: int, day: int) -> bool:
    """Whether some year has this day. Years are not looked at: two digits of one do not say the century."""
    return 1 <= month <= 12 and 1 <= day <= _MONTH_DAYS[month - 1]


def is_birthday(digits: bytes, *, day_first: bool = False, days: int = 0) -> bool:
    """Whether six digits are year, month, day (or the reverse); a day may be `days` more (people without residence)."""
    month, day = int(digits[2:4]), int(digits[0:2] if day_first else digits[4:6])
    return is_date(month, day) or (days > 0 and is_date(month, day - days))


def is_varied(digits: bytes) -> bool:
    """Whether not all digits are the same: most checksums hold for 000000000, some for 111111111."""
    return any(one != other for one, other in pairwise(digits))
