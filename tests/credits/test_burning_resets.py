"""Resets as grants burn: against an engine that burns call by call, which wrong ones do not agree with."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.credits.test_burning import START, amounts, grants, moments, usages
from tests.examples import at_least

from interlock.credits import burning
from interlock.credits.burning import Anew, Grant, ResetAt, State, Usage, ranked, run
from interlock.credits.schedule import Every, next_ns

END = 60


class Slow(NamedTuple):
    """What both engines say."""

    balances: dict[str, int]
    periods: dict[str, int]
    overage: int
    granted: int
    forfeited: int
    forgiven: int
    by_resets: int


def slow(every: Sequence[Grant], used: Sequence[Usage], resets: Sequence[ResetAt]) -> Slow:
    balances: dict[str, int] = {}
    periods: dict[str, int] = {}
    owed = granted = forfeited = forgiven = by_resets = 0

    def burn(amount: int) -> None:
        nonlocal owed
        owed += amount
        for one in ranked(every):
            part = min(balances.get(one.id, 0), max(owed, 0))
            if part:
                balances[one.id] -= part
                owed -= part

    for now in range(END + 1):
        turned = set()
        reset = next((one for one in resets if one.at_ns == now), None)
        for one in every:
            if one.id in balances and (one.ends_ns == now or comes_again(one, now)):
                turned.add(one.id)
                was = balances.pop(one.id)
                kept = 0 if one.ends_ns == now else min(one.rollover_max, max(was, one.rollover_min))
                forfeited += was - kept
                if one.ends_ns > now:
                    balances[one.id] = one.amount + kept
                    granted += one.amount
                    periods[one.id] += 1
                    if reset and (reset.of is None or one.id in reset.of):
                        by_resets += was - kept
        if reset is not None:
            for one in every:
                if one.id in balances and one.id not in turned and (reset.of is None or one.id in reset.of):
                    was = balances[one.id]
                    balances[one.id] = min(one.rollover_max, max(was, one.rollover_min))
                    forfeited += was - balances[one.id]
                    by_resets += was - balances[one.id]
                    periods[one.id] += 1
            if not reset.keep_overage:
                forgiven += owed
                owed = 0
            burn(0)
        for one in every:
            if one.effective_at_ns == now < one.ends_ns:
                balances[one.id] = one.amount
                granted += one.amount
                periods[one.id] = 0
        burn(0)
        for call in used:
            if call.at_ns == now < END:
                burn(call.amount)
    return Slow(balances, periods, owed, granted, forfeited, forgiven, by_resets)


def comes_again(one: Grant, now: int) -> bool:
    if one.recurrence is None:
        return False
    anchor = one.recurrence.anchor_ns
    for anew in one.recurrence.anew:
        if anew.from_ns == now:
            return True
        if anew.from_ns < now:
            anchor = anew.anchor_ns
    return (now - anchor) % one.recurrence.every.length_ns == 0


def fast(every: Sequence[Grant], used: Sequence[Usage], resets: Sequence[ResetAt], cuts: Sequence[int] = ()) -> Slow:
    state: State = START
    for cut in [*sorted(cuts), END]:
        state = run(every, state, used, cut, resets=resets)
    balances = {**dict(state.balances)}
    by_resets = sum(one.forfeited for one in state.ends if one.reset)
    assert state.granted - state.forfeited + state.forgiven - state.used == state.balance
    assert sum(one.forfeited for one in state.ends) == state.forfeited
    assert sum(one.forgiven for one in state.drops) == state.forgiven
    assert state.overage <= 0 or not any(balances.values()), "nobody owes while there is something left"
    periods = dict(state.periods)
    return Slow(balances, periods, state.overage, state.granted, state.forfeited, state.forgiven, by_resets)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Grant], list[Usage], list[ResetAt], list[int]]:
    """Grants, calls, resets; some of these set the anchors anew, at the moment or at one before."""
    every = draw(grants())
    resets = []
    for at in sorted(draw(st.sets(st.integers(1, END), max_size=3))):
        of = draw(st.none() | st.sets(st.sampled_from([f"g{n}" for n in range(5)])).map(frozenset))
        resets.append(ResetAt(id=f"r{at}", at_ns=at, of=of, keep_overage=draw(st.booleans())))
        if draw(st.booleans()):
            anchor = at - draw(st.integers(0, 1))
            every = [_anew(one, at, anchor) if of is None or one.id in of else one for one in every]
    calls = st.lists(st.builds(Usage, st.integers(0, END), amounts), max_size=12)
    return every, draw(calls), resets, draw(st.lists(moments, max_size=2))


def _anew(one: Grant, at: int, anchor: int) -> Grant:
    if one.recurrence is None or not one.active(at - 1):
        return one
    return replace(one, recurrence=replace(one.recurrence, anew=(*one.recurrence.anew, Anew(at, anchor))))


def agrees(every: list[Grant], used: list[Usage], resets: list[ResetAt], cuts: list[int]) -> None:
    assert fast(every, used, resets) == slow(every, used, resets)
    assert fast(every, used, resets, cuts) == fast(every, used, resets), "one run equals many"


@settings(max_examples=at_least(150))
@given(worlds())
def test_resets_are_what_a_slow_engine_says(world: Any) -> None:
    agrees(*world)


@given(grants(), usages, st.booleans(), st.sets(st.integers(0, END), max_size=3))
def test_a_reset_loses_nothing_also_of_corrections(
    every: list[Grant], used: list[Usage], keep: bool, at: set[int]
) -> None:
    fast(every, used, [ResetAt(id=f"r{one}", at_ns=one, keep_overage=keep) for one in at])


def test_a_grant_that_comes_again_at_the_reset_is_not_reset() -> None:
    daily = Grant(id="d", amount=10, recurrence=burning.Recurrence(Every(length_ns=20), 0), rollover_max=4)
    state = run([daily], State(at_ns=-1), [Usage(1, 3)], 20, resets=[ResetAt(id="r", at_ns=20)])
    assert state.balances == {"d": 14} and [one.reset for one in state.ends] == ["r"]


def test_what_an_account_has_coming_is_not_dropped() -> None:
    """Usage of a closed grant was corrected: 3 too much were forfeited, and a reset does not take them."""
    gone = Grant(id="g", amount=10, expires_at_ns=20)
    later = Grant(id="h", amount=10, effective_at_ns=30)
    resets = [ResetAt(id="r", at_ns=25)]
    state = run([gone, later], State(at_ns=-1), [Usage(1, 2)], 40, resets=resets, settled={("g", 0): 11})
    assert (state.forgiven, state.balance) == (3, 10), "3 too much forfeited by what is known now: owed, and dropped"
    state = run([gone, later], State(at_ns=-1), [Usage(1, 2)], 40, resets=resets, settled={("g", 0): 5})
    assert (state.forgiven, state.balance) == (0, 13)


def test_what_was_forgiven_stands() -> None:
    """A call that turns up afterwards is owed in the new period."""
    resets = [ResetAt(id="r", at_ns=10, forgiven=5)]
    state = run([], State(at_ns=-1), [Usage(1, 7)], 20, resets=resets)
    assert (state.forgiven, state.overage) == (5, 2)


class _NoMinimum(burning._Burning):
    def _end(self, grant: Grant, at_ns: int, rolled: int | None, reset: str) -> int:
        return super()._end(replace(grant, rollover_min=0) if reset else grant, at_ns, rolled, reset)


class _GivesAgain(burning._Burning):
    """A reset sets balances to the amount."""

    def _reset(self, reset: ResetAt, live: Any) -> None:
        super()._reset(reset, live)
        for id in live:
            self._set(id, self._balances[id] + self._grants[id].amount)
            self._granted += self._grants[id].amount


class _KeepsAllOverage(burning._Burning):
    def _reset(self, reset: ResetAt, live: Any) -> None:
        super()._reset(replace(reset, keep_overage=True), live)


class _DropsAllOverage(burning._Burning):
    def _reset(self, reset: ResetAt, live: Any) -> None:
        super()._reset(replace(reset, keep_overage=False), live)


class _OfAll(burning._Burning):
    def _reset(self, reset: ResetAt, live: Any) -> None:
        super()._reset(replace(reset, of=None), live)


class _Twice(burning._Burning):
    """What comes again at that moment is reset, too."""

    def _reset(self, reset: ResetAt, live: Any) -> None:
        super()._reset(reset, set(self._balances))


class _LosesWhatItTook(burning._Burning):
    """Nothing is booked of what a reset takes."""

    def _reset(self, reset: ResetAt, live: Any) -> None:
        before = self._forfeited
        super()._reset(reset, live)
        self._forfeited = before


class _RollsOne(burning._Burning):
    def _reset(self, reset: ResetAt, live: Any) -> None:
        super()._reset(reset, sorted(live)[:1])


def _forgets_anchors(self: burning.Recurrence, since_ns: int) -> int:
    return next_ns(self.every, self.anchor_ns, since_ns)


MUTANTS: dict[str, tuple[object, str, object]] = {
    one.__name__: (burning, "_Burning", one)
    for one in (
        _NoMinimum,
        _GivesAgain,
        _KeepsAllOverage,
        _DropsAllOverage,
        _OfAll,
        _Twice,
        _LosesWhatItTook,
        _RollsOne,
    )
}
MUTANTS["forgets anchors"] = (burning.Recurrence, "after", _forgets_anchors)


def test_wrong_engines_are_found() -> None:
    alive = dict(MUTANTS)

    @settings(max_examples=250, database=None, derandomize=True)
    @given(worlds())
    def look(world: Any) -> None:
        says = slow(*world[:3]) if alive else None
        for name, (where, what, wrong) in list(alive.items()):
            with pytest.MonkeyPatch.context() as planted:
                planted.setattr(where, what, wrong)
                try:
                    assert fast(*world[:3]) == says
                except AssertionError:
                    del alive[name]

    look()
    assert not alive
