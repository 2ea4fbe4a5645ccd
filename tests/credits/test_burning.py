"""How grants burn: worked cases, and properties that wrong engines fail."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.credits.cases import wrong
from tests.examples import at_least

from interlock.credits import burning
from interlock.credits.burning import (
    NEVER_NS,
    Grant,
    Recurrence,
    ResetAt,
    State,
    Taken,
    Usage,
    begin,
    boundaries,
    collect,
    ranked,
    reopened,
    run,
)
from interlock.credits.schedule import Every
from interlock.errors import LocalError

HOUR = 10
"""Moments are small integers here."""


def recurring(length: int, anchor: int) -> Recurrence:
    return Recurrence(Every(length_ns=length), anchor)


# worked cases

CASES_FILE = Path(__file__).parents[1] / "data" / "credits" / "cases.json"


@pytest.mark.parametrize("case", msgspec.json.decode(CASES_FILE.read_bytes()), ids=lambda case: case["id"])
def test_worked_cases(case: dict[str, Any]) -> None:
    assert not wrong(case)


def test_a_wrong_figure_is_seen() -> None:
    case = msgspec.json.decode(CASES_FILE.read_bytes())[0]
    case["expected"]["taken"][0]["A"] = "5.000000001"
    assert wrong(case)
    assert wrong({**case, "expected": {"nobody": "1"}})


# properties

amounts = st.integers(0, 60)
moments = st.integers(0, 40)


@st.composite
def grants(draw: st.DrawFn) -> list[Grant]:
    found = []
    for number in range(draw(st.integers(0, 5))):
        effective = draw(moments)
        found.append(
            Grant(
                id=f"g{number}",
                amount=draw(amounts),
                priority=draw(st.integers(0, 2)),
                effective_at_ns=effective,
                expires_at_ns=draw(st.one_of(st.just(NEVER_NS), st.integers(effective, 50))),
                voided_at_ns=draw(st.one_of(st.just(NEVER_NS), moments)),
                created=draw(st.integers(0, 3)),
                recurrence=draw(st.none() | st.builds(recurring, st.integers(1, 15), st.integers(0, 20))),
                rollover_max=draw(st.sampled_from((0, 0, 5, 30))),
                rollover_min=draw(st.sampled_from((0, 0, 3))),
            )
        )
    return found


usages = st.lists(st.builds(Usage, moments, st.integers(-5, 40)), max_size=12)
settled = st.dictionaries(
    st.tuples(st.sampled_from([f"g{n}" for n in range(5)]), st.integers(0, 3)), st.integers(0, 30), max_size=4
)
START = State(at_ns=-1)
Run = Callable[..., State]


def conserves(engine: Run, given_: list[Grant], used: list[Usage], decided: dict[tuple[str, int], int]) -> None:
    state = engine(given_, START, used, 60, settled=decided)
    assert state.used == sum(one.amount for one in used)
    assert state.granted - state.forfeited + state.forgiven - state.used == state.balance
    assert all(balance >= 0 for balance in state.balances.values()), "never below zero"
    assert state.overage <= 0 or not any(state.balances.values()), "nobody owes while there is something left"


def one_is_many(engine: Run, given_: list[Grant], used: list[Usage], cuts: list[int]) -> None:
    state = START
    for cut in [*sorted(cuts), 60]:
        state = engine(given_, state, used, cut)
    assert state == engine(given_, START, used, 60)


def sums_do(engine: Run, given_: list[Grant], used: list[Usage]) -> None:
    """Usage between two boundaries may come as one sum."""
    bounds = boundaries(given_, START, 60)
    summed = [Usage(a, sum(one.amount for one in used if a <= one.at_ns < b)) for a, b in pairwise(bounds)]
    assert engine(given_, START, summed, 60) == engine(given_, START, used, 60)


def burns_in_order(engine: Run, given_: list[Grant], amount: int) -> None:
    """Without time, what is first in order is empty before the next is touched."""
    still = [
        Grant(id=one.id, amount=one.amount, priority=one.priority, expires_at_ns=100 + n % 3, created=one.created)
        for n, one in enumerate(given_)
    ]
    state = engine(still, begin(still, 0), [Usage(0, amount)], 10)
    left = amount
    for one in sorted(still, key=lambda one: (one.priority, one.expires_at_ns, one.created, one.id)):
        part = min(left, one.amount)
        assert state.balances[one.id] == one.amount - part
        left -= part
    assert state.overage == left


@settings(max_examples=at_least(300))
@given(grants(), usages, settled)
def test_nothing_is_lost(given_: list[Grant], used: list[Usage], decided: dict[tuple[str, int], int]) -> None:
    conserves(run, given_, used, decided)


@settings(max_examples=at_least(200))
@given(grants(), usages, st.lists(st.integers(0, 60), max_size=3))
def test_one_run_equals_many(given_: list[Grant], used: list[Usage], cuts: list[int]) -> None:
    one_is_many(run, given_, [one for one in used if one.amount >= 0], cuts)


@settings(max_examples=at_least(200))
@given(grants(), usages)
def test_between_changes_a_sum_is_enough(given_: list[Grant], used: list[Usage]) -> None:
    sums_do(run, given_, used)


@given(grants(), amounts)
def test_order(given_: list[Grant], amount: int) -> None:
    burns_in_order(run, given_, amount)


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(0, 20), max_size=5), st.integers(0, 80), st.data())
def test_what_is_collected_can_be_given_back(balances: dict[str, int], amount: int, data: st.DataObject) -> None:
    before, order = dict(balances), list(balances)
    taken, short = collect(balances, order, amount)
    assert sum(one.amount for one in taken) == amount - short <= sum(before.values())
    for one in reopened(taken, amount - short):
        balances[one.grant] += one.amount
    assert balances == before, "a reversal restores every balance"
    part = data.draw(st.integers(0, amount))
    back = reopened(taken, part)
    assert sum(one.amount for one in back) == min(part, amount - short)
    assert [one.grant for one in back] == [one.grant for one in reversed(taken)][: len(back)]


def test_the_order_is_the_written_one() -> None:
    every = [
        Grant(id="z", amount=1),
        Grant(id="b", amount=1, created=1),
        Grant(id="a", amount=1, created=1),
        Grant(id="soon", amount=1, expires_at_ns=5, created=9),
        Grant(id="first", amount=1, priority=0, expires_at_ns=1, created=10),
        Grant(id="last", amount=1, priority=1, expires_at_ns=1),
    ]
    assert [one.id for one in ranked(every)] == ["first", "soon", "z", "a", "b", "last"]


def test_a_decided_end_stands_and_the_difference_is_carried() -> None:
    """5 were forfeited when 5 were left; usage that turns up later is owed, usage taken back is credit."""
    grant = Grant(id="g", amount=10, expires_at_ns=20)
    later = Grant(id="h", amount=10, effective_at_ns=30)
    for used, left in ((5, 10), (8, 7), (3, 12)):
        state = run([grant, later], START, [Usage(1, used)], 40, settled={("g", 0): 5})
        assert state.forfeited == 5 and state.balance == left


def test_what_cannot_be_is_refused() -> None:
    grant = Grant(id="g", amount=1)
    state = begin([grant], 5)
    with pytest.raises(LocalError):
        run([grant], state, [], 10, resets=[ResetAt(id="a", at_ns=7), ResetAt(id="b", at_ns=7)])
    for grants_ in ([], [grant, grant]):
        with pytest.raises(LocalError):
            run(grants_, state, [], 10)
    with pytest.raises(LocalError):
        begin([grant], 5, {"h": 1})


def test_a_hundred_thousand_grants_burn_the_one_that_expires_first() -> None:
    many = [Grant(id=f"g{n}", amount=100, priority=1, expires_at_ns=30 - (n == 777)) for n in range(100_000)]
    state = run(many, begin(many, 0), [Usage(1, 99)], 10)
    assert state.balances["g777"] == 1 and state.balance == 100 * 100_000 - 99


# planted mutants: each is an engine that somebody might have written, and a property that it fails


class _NeverEnds(burning._Burning):
    """Forgets to take the balance away at the end."""

    def _end(self, grant: Grant, at_ns: int, rolled: int | None, reset: str) -> int:
        balance = self._balances[grant.id]
        rolled = super()._end(grant, at_ns, rolled, reset)
        self._balances[grant.id] = balance
        return rolled


class _Overdraws(burning._Burning):
    """Takes the overage of a stretch from the last grant."""

    def burn(self, amount: int) -> None:
        super().burn(amount)
        if self._overage > 0 and self._balances:
            self._balances[next(iter(self._balances))] -= self._overage
            self._overage = 0


class _ForgetsOverage(burning._Burning):
    """Begins each stretch without what is owed."""

    def burn(self, amount: int) -> None:
        self._overage = 0
        super().burn(amount)


class _NewestFirst(burning._Burning):
    """Burns the other way round."""

    def burn(self, amount: int) -> None:
        self._live.reverse()
        super().burn(amount)
        self._live.sort(key=self._ranks.__getitem__)


class _AddsUp(burning._Burning):
    """A recurrence adds to the balance but counts nothing of it as rolled over."""

    def _grant(self, grant: Grant, rolled: int) -> None:
        super()._grant(grant, rolled + self._balances.get(grant.id, 0) + (1 if rolled else 0))


class _IgnoresDecisions(burning._Burning):
    """Books what was decided, and does not carry the difference."""

    def _end(self, grant: Grant, at_ns: int, rolled: int | None, reset: str) -> int:
        owed = self._overage
        rolled = super()._end(grant, at_ns, rolled, reset)
        self._overage = owed
        return rolled


def _fails(check: Callable[[], None]) -> bool:
    try:
        check()
    except AssertionError:
        return True
    return False


def _searched(strategy: st.SearchStrategy[Any], check: Callable[..., None]) -> bool:
    """Whether some example fails."""
    failed = False

    @settings(max_examples=100, database=None, derandomize=True)
    @given(strategy)
    def look(example: Any) -> None:
        nonlocal failed
        failed = failed or _fails(lambda: check(*example))

    look()
    return failed


@pytest.mark.parametrize(
    "mutant",
    [_NeverEnds, _Overdraws, _ForgetsOverage, _NewestFirst, _AddsUp, _IgnoresDecisions],
    ids=lambda m: m.__name__,
)
def test_wrong_engines_are_found(mutant: type[burning._Burning], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burning, "_Burning", mutant)
    found = _searched(st.tuples(grants(), usages, settled), lambda *a: conserves(run, *a))
    found = found or _searched(st.tuples(grants(), amounts), lambda *a: burns_in_order(run, *a))
    assert found


def test_a_wrong_reversal_is_found() -> None:
    """Given back in the order of collection, a part goes to the wrong grant."""
    taken = [Taken("a", 5), Taken("b", 5)]
    assert reopened(taken, 7) == [Taken("b", 5), Taken("a", 2)] != [Taken("a", 5), Taken("b", 2)]
