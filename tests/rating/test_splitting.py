"""Parts that sum to the whole, whoever gets the last unit."""

from collections.abc import Sequence
from fractions import Fraction

import pytest
from tests.rating.properties import split_loses_nothing

from interlock.errors import LocalError
from interlock.rating import TieBreak, round_to, split

ONE = Fraction(1)


def each_rounded(amount: Fraction, weights: Sequence[Fraction], places: int) -> list[Fraction]:
    """Wrong: every share rounded alone."""
    return [round_to(amount * weight / sum(weights), places) for weight in weights]


def rest_to_the_last(amount: Fraction, weights: Sequence[Fraction], places: int) -> list[Fraction]:
    """Wrong: what the others leave."""
    parts = each_rounded(amount, weights, places)
    return [*parts[:-1], amount - sum(parts[:-1])]


def by_floor(amount: Fraction, weights: Sequence[Fraction], places: int) -> list[Fraction]:
    """Wrong for negative amounts: the parts of a reversal are not those that it reverses."""
    if amount >= 0:
        return split(amount, weights, places)
    whole = Fraction(-1, 10**places) * len(weights)
    return [part + Fraction(-1, 10**places) for part in split(amount - whole, weights, places)]


def ties_to_the_last(amount: Fraction, weights: Sequence[Fraction], places: int) -> list[Fraction]:
    """Wrong: another tie-break than was asked for."""
    return split(amount, weights, places, "last")


def test_a_split_loses_nothing() -> None:
    split_loses_nothing(split)


@pytest.mark.parametrize("wrong", [each_rounded, rest_to_the_last, by_floor, ties_to_the_last])
def test_a_wrong_split_is_caught(wrong: object) -> None:
    with pytest.raises(AssertionError):
        split_loses_nothing(wrong)  # type: ignore[arg-type]  # one of the wrong ones above


@pytest.mark.parametrize(
    ("tie_break", "expected"),
    [("first", "1 1 0"), ("last", "0 1 1"), ("key", "0 1 1")],
)
def test_ties(tie_break: TieBreak, expected: str) -> None:
    parts = split(Fraction(2), [ONE] * 3, 0, tie_break, keys=("c", "a", "b"))
    assert " ".join(map(str, parts)) == expected


def test_ties_by_weight() -> None:
    given = [Fraction(1), Fraction(3), Fraction(1), Fraction(3)]  # of 4: 0.5, 1.5, 0.5, 1.5
    assert split(Fraction(4), given, 0, "largest") == [0, 2, 0, 2]
    assert split(Fraction(4), given, 0, "smallest") == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("amount", "given", "field"),
    [("1.001", [ONE], "amount"), ("1", [-ONE, 2 * ONE], "weights"), ("1", [0 * ONE], "weights"), ("1", [], "weights")],
)
def test_refused(amount: str, given: list[Fraction], field: str) -> None:
    with pytest.raises(LocalError) as caught:
        split(Fraction(amount), given, 2)
    assert caught.value.field == field
    with pytest.raises(LocalError, match="keys"):
        split(ONE, [ONE], 2, "key")
    assert split(Fraction(0), [], 2) == []
