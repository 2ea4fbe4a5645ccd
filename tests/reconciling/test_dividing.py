"""Among whom an amount is divided: exactly, bounded, and the same in one run as in many."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least

from interlock.reconciling import dividing
from interlock.reconciling.dividing import NOBODY, WHOSE_MAX, Group, Share, Whose, bounded, changed, divided, most_of
from interlock.units import spread

names = st.sampled_from(("", "a", "b", "c"))
groups = st.builds(Group, st.sampled_from(("acme", "bolt", "core")), st.just("d"), st.just("p"))
shares = st.tuples(groups, st.builds(Whose, names, names, st.sampled_from(("", "s", "t", "u", "v"))))
weights = st.dictionaries(shares, st.integers(0, 50), min_size=1, max_size=40)
amounts = st.integers(-200, 200)
mosts = st.integers(1, 5)


def exact(amount: int, given_: dict[Share, int], most: int) -> None:
    parts = divided(amount, given_, most)
    assert sum(parts.values()) == amount
    tenants: Counter[Group] = Counter()
    for (group, _), weight in sorted(given_.items()):
        tenants[group] += weight
    found: Counter[Group] = Counter()
    for (group, _), part in parts.items():
        found[group] += part
    assert [found[one] for one in tenants] == spread(amount, list(tenants.values())), "as if nobody was named"


def few(given_: dict[Share, int], most: int) -> None:
    inside = {whose: weight for (_, whose), weight in given_.items()}
    kept = bounded(inside, most)
    assert sum(kept.values()) == sum(inside.values()) and len(kept) <= 2 * most + 1
    if len(inside) <= most:
        assert kept == inside
    by_principal: Counter[tuple[str, str]] = Counter()
    for whose, weight in inside.items():
        by_principal[whose.team, whose.principal] += weight
    if len(by_principal) <= most:
        told: Counter[tuple[str, str]] = Counter()
        for whose, weight in kept.items():
            told[whose.team, whose.principal] += weight
        assert told == by_principal, "teams and principals lose nothing to sessions"


def in_many_runs(given_: dict[Share, int], steps: list[int], old: dict[Share, int], most: int) -> None:
    """Bills are restated: what is booked in the end is what the last of them alone would have booked."""
    held: Counter[Share] = Counter(old)
    for total in steps:
        change = total - sum(held.values())
        parts = changed(change, given_, held, most)
        assert sum(parts.values()) == change and all(parts.values())
        assert not change or parts, "and nothing is booked where nothing changed"
        held.update(parts)
        if change:
            alone = divided(total, given_, most)
            assert {one: part for one, part in held.items() if part} == {one: n for one, n in alone.items() if n}


@given(amounts, weights, mosts)
def test_parts_sum_to_the_amount(amount: int, given_: dict[Share, int], most: int) -> None:
    exact(amount, given_, most)


@given(weights, mosts)
def test_names_are_few(given_: dict[Share, int], most: int) -> None:
    few(given_, most)


runs = st.tuples(
    weights, st.lists(amounts, min_size=1, max_size=4), st.dictionaries(shares, amounts, max_size=3), mosts
)


@settings(max_examples=at_least(200))
@given(runs)
def test_many_runs_are_one(run: Any) -> None:
    in_many_runs(*run)


def test_what_was_booked_to_nobody_goes_to_those_it_is_of() -> None:
    """Entries from before names were kept: a restated bill takes all of it back from where it stands."""
    acme = Group("acme", "d", "p")
    used = {(acme, Whose("t", "ada", "s")): 30, (acme, Whose("t", "bob")): 10}
    held = {(acme, NOBODY): 8}
    assert changed(-8, used, held, 9) == {(acme, NOBODY): -8}
    assert changed(0, used, held, 9) == {}
    assert changed(4, used, held, 9) == {
        (acme, NOBODY): -8,
        (acme, Whose("t", "ada", "s")): 9,
        (acme, Whose("t", "bob")): 3,
    }


def test_how_many_are_named() -> None:
    assert [most_of(rows) for rows in (0, 1, 2_000, 20_000, 10**6)] == [WHOSE_MAX, WHOSE_MAX, 100, 10, 1]


# planted


def _forgets_the_rest(real: Callable[..., dict[Whose, int]]) -> object:
    return lambda inside, most: dict(sorted(real(inside, most).items())[:most])


def _in_one_step(real: Callable[..., Any]) -> object:
    """Groups are forgotten: all are divided among at once."""

    def wrong(amount: int, given_: dict[Share, int], most: int) -> dict[Share, int]:
        return dict(zip(sorted(given_), spread(amount, [given_[one] for one in sorted(given_)]), strict=True))

    return wrong


def _without_what_stands(real: Callable[..., Any]) -> object:
    """A difference is divided by itself, whoever has what was booked before."""
    return lambda amount, given_, held, most: {k: v for k, v in divided(amount, given_, most).items() if v}


def _sessions_take_all(real: Callable[..., Any]) -> object:
    def wrong(inside: dict[Whose, int], most: int) -> dict[Whose, int]:
        order = sorted(inside, key=lambda one: (-inside[one], one))
        kept = {one: inside[one] for one in order[:most]}
        kept[NOBODY] = kept.get(NOBODY, 0) + sum(inside[one] for one in order[most:])
        return kept

    return wrong


@pytest.mark.parametrize(
    ("name", "wrong", "strategy", "check"),
    [
        ("bounded", _forgets_the_rest, st.tuples(weights, mosts), "few"),
        ("divided", _in_one_step, st.tuples(amounts, weights, mosts), "exact"),
        ("bounded", _sessions_take_all, st.tuples(weights, mosts), "few"),
        ("changed", _without_what_stands, runs, "in_many_runs"),
    ],
    ids=["loses names", "forgets groups", "teams lose to sessions", "forgets what stands"],
)
def test_wrong_divisions_are_found(
    name: str, wrong: Any, strategy: Any, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = wrong(getattr(dividing, name))
    monkeypatch.setattr(dividing, name, planted)
    monkeypatch.setitem(globals(), name, planted)
    failed = False

    @settings(max_examples=100, database=None, derandomize=True)
    @given(strategy)
    def look(example: Any) -> None:
        nonlocal failed
        try:
            failed or globals()[check](*example)
        except (AssertionError, ValueError):
            failed = True

    look()
    assert failed
