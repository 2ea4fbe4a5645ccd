"""An amount split so that the parts sum to it: largest remainder. Pure.

Each part is its exact share rounded towards zero; the units that are left go, one each, to the parts that lost most.
A negative amount splits as its opposite does, so that a reversal of parts restores every one of them.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from interlock.errors import LocalError
from interlock.rating.exact import text_of
from interlock.rating.plan import ZERO

TieBreak = Literal["first", "last", "largest", "smallest", "key"]
"""Which of two parts that lost the same gets a unit first: by position, by weight (then position), or by key."""
TIE_BREAKS: tuple[TieBreak, ...] = ("first", "last", "largest", "smallest", "key")


def split(
    amount: Fraction,
    weights: Sequence[Fraction],
    places: int,
    tie_break: TieBreak = "first",
    *,
    keys: Sequence[str] = (),
) -> list[Fraction]:
    """Parts of an amount in proportion to weights, each at so many places; they sum to it.

    Args:
        amount: a multiple of 10**-places, of either sign.
        weights: >= 0, at least one above.
        keys: of the tie-break `key`: one a weight, the smallest first.
    Raises: LocalError: the amount is finer than the places; a negative weight, or none above zero.
    >>> [str(part) for part in split(Fraction(5), [Fraction(1)] * 3, 0)]
    ['2', '2', '1']
    """
    if any(weight < 0 for weight in weights):
        raise LocalError("a weight is negative; each is 0 or more", field="weights")
    whole = sum(weights, ZERO)
    if not whole:
        if amount or weights:
            raise LocalError("all weights are 0: at least one is above", field="weights")
        return []
    return apportion([amount * weight / whole for weight in weights], amount, places, tie_break, weights, keys)


def apportion(
    shares: Sequence[Fraction],
    target: Fraction,
    places: int,
    tie_break: TieBreak = "first",
    weights: Sequence[Fraction] = (),
    keys: Sequence[str] = (),
) -> list[Fraction]:
    """Shares at so many places that sum to `target`, which is their sum rounded in whatever way.

    Raises: LocalError: the target is finer than the places; there are not as many keys as shares.
    """
    scale = 10**places
    if (target * scale).denominator != 1:
        raise LocalError(f"{text_of(target)} has more than {places} places: round it first", field="amount")
    if tie_break == "key" and len(keys) != len(shares):
        raise LocalError(f"{len(shares)} parts need as many keys; found {len(keys)}", field="keys")
    sign = -1 if target < 0 else 1
    scaled = [sign * share * scale for share in shares]
    units = [share.numerator // share.denominator for share in scaled]
    left = int(sign * target * scale) - sum(units)
    assert 0 <= left <= len(shares), "the target is the sum of the shares, rounded"
    weights = weights or [abs(share) for share in shares]

    def rank(index: int) -> tuple[Fraction, Fraction | str | int, int]:
        tie: Fraction | str | int = {"largest": -weights[index], "smallest": weights[index]}.get(tie_break, 0)
        if tie_break == "key":
            tie = keys[index]
        return units[index] - scaled[index], tie, -index if tie_break == "last" else index

    for index in sorted(range(len(shares)), key=rank)[:left]:
        units[index] += 1
    return [Fraction(sign * unit, scale) for unit in units]
