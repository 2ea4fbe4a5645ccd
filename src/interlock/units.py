"""Money: integers of nano-USD (1e-9 USD). Prices: nano-USD per million tokens. One place that rounds.

An entry multiplies first and divides once, half to even, in `amount_nanousd`. Python's integers do not overflow;
`INT64_MAX` bounds what a record or an SQLite column may hold.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation

NANO = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000
INT64_MAX = (1 << 63) - 1


def divide_half_even(numerator: int, denominator: int) -> int:
    """The quotient rounded to the nearest integer, ties to the even one.

    >>> [divide_half_even(n, 2) for n in (1, 3, 5, -1, -3)]
    [0, 2, 2, 0, -2]
    """
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return quotient + (twice > denominator or (twice == denominator and quotient & 1))


def spread(amount: int, weights: Sequence[int]) -> list[int]:
    """Parts of `amount` in proportion to weights, by largest remainder: they sum to it, whatever its sign.

    What the exact parts' floors leave goes to the largest remainders; of equal ones to the first. Where the weights sum
    to 0 the parts are as equal as can be.
    Raises: ValueError: there are none.
    >>> spread(10, [1, 1, 1]), spread(-10, [1, 1, 1]), spread(5, [0, 0]), spread(10, [3, -1])
    ([4, 3, 3], [-4, -3, -3], [3, 2], [15, -5])
    """
    if not weights:
        raise ValueError("nothing to spread over")
    total = sum(weights)
    if not total:
        weights, total = [1] * len(weights), len(weights)
    if total < 0:
        weights, total = [-weight for weight in weights], -total
    size = abs(amount)
    divided = [divmod(size * weight, total) for weight in weights]
    parts = [part for part, _ in divided]
    by_remainder = sorted(range(len(parts)), key=lambda i: (-divided[i][1], i))
    for i in by_remainder[: size - sum(parts)]:
        parts[i] += 1
    return [-part for part in parts] if amount < 0 else parts


def amount_nanousd(items: Iterable[tuple[int, int]]) -> int:
    """What (quantity, price_nanousd_per_mtok) pairs cost together: summed exactly, divided once.

    >>> amount_nanousd([(10, 3_000_000_000), (5, 15_000_000_000)])
    105000
    """
    return divide_half_even(sum(quantity * price for quantity, price in items), TOKENS_PER_PRICE)


def price_from_usd(usd_per_mtok: Decimal | str | int) -> int:
    """USD per million tokens as nano-USD per million tokens.

    Raises: ValueError: not a finite decimal >= 0, finer than a nano-USD, or past int64.
    >>> price_from_usd("0.075")
    75000000
    """
    try:
        scaled = Decimal(usd_per_mtok) * NANO
    except InvalidOperation as error:
        raise ValueError(f"{usd_per_mtok!r} is not a decimal number") from error
    if not scaled.is_finite() or scaled < 0 or scaled > INT64_MAX:
        raise ValueError(f"{usd_per_mtok!r} is not between 0 and {INT64_MAX // NANO}")
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{usd_per_mtok!r} is finer than a nano-USD")
    return int(scaled)


def usd(nanousd: int) -> str:
    """Exact decimal dollars, at least two places, no trailing zeros past them.

    >>> usd(105_000), usd(-1_500_000_000), usd(0)
    ('0.000105', '-1.50', '0.00')
    """
    sign, whole, part = "-" if nanousd < 0 else "", abs(nanousd) // NANO, abs(nanousd) % NANO
    return f"{sign}{whole}.{f'{part:09d}'.rstrip('0').ljust(2, '0')}"
