"""Spreads sum to what was spread, are stable, and give nobody more than its share and one."""

from hypothesis import given
from hypothesis import strategies as st

from interlock.units import spread

WEIGHTS = st.lists(st.integers(0, 10**15), min_size=1, max_size=12)


@given(st.integers(-(10**18), 10**18), WEIGHTS)
def test_nothing_is_lost_or_invented(amount: int, weights: list[int]) -> None:
    parts = spread(amount, weights)
    assert sum(parts) == amount
    assert all(part * amount >= 0 for part in parts), "no part has the other sign"
    total = sum(weights)
    if total:
        assert all(abs(part * total - amount * weight) < total for part, weight in zip(parts, weights, strict=True))
        assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if weight == 0)
    else:
        assert max(parts) - min(parts) <= 1


@given(WEIGHTS, st.data())
def test_no_part_exceeds_its_weight(weights: list[int], data: st.DataObject) -> None:
    amount = data.draw(st.integers(0, sum(weights)))
    assert all(
        part <= weight or not any(weights) for part, weight in zip(spread(amount, weights), weights, strict=True)
    )


@given(st.integers(0, 10**12), WEIGHTS)
def test_a_reversal_is_the_same_parts(amount: int, weights: list[int]) -> None:
    assert spread(-amount, weights) == [-part for part in spread(amount, weights)]


def test_of_equal_remainders_the_first_have_it() -> None:
    assert spread(2, [1, 1, 1]) == [1, 1, 0]
    assert spread(1, [2, 5, 5]) == [0, 1, 0]
