"""Rotation: a key at rest is never picked, all others have their turn, and one client cannot close the deployment."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from interlock.gateway.failure import Keys
from interlock.gateway.failure.keys import LIMITED_S, REFUSED_S


@given(st.integers(1, 16), st.integers(1, 40))
def test_each_has_its_turn(count: int, calls: int) -> None:
    keys = Keys(count)
    assert [keys.pick(0.0) for _ in range(calls)] == [call % count for call in range(calls)]


def test_a_limited_key_rests_as_long_as_told_and_others_take_over() -> None:
    keys = Keys(2)
    keys.limited(0, 100.0, 30.0)
    assert [keys.pick(100.0), keys.pick(129.9)] == [1, 1]
    assert {keys.pick(130.0), keys.pick(130.0)} == {0, 1}


def test_a_shorter_rest_does_not_end_a_longer_one() -> None:
    keys = Keys(1)
    keys.limited(0, 0.0, 30.0)
    keys.limited(0, 1.0, 2.0)
    assert keys.pick(20.0) is None
    assert keys.soonest(20.0) == 30.0


def test_a_429_without_a_time_rests_shortly() -> None:
    keys = Keys(1)
    keys.limited(0, 5.0)
    assert keys.pick(5.0) is None
    assert keys.soonest(5.0) == 5.0 + LIMITED_S
    assert keys.pick(5.0 + LIMITED_S) == 0


def test_a_refused_key_rests_long_and_is_reported() -> None:
    keys = Keys(3)
    assert keys.report(0.0) == ""
    keys.refused(1, 0.0)
    assert [keys.pick(1.0) for _ in range(4)] == [0, 2, 0, 2]
    assert keys.report(1.0) == "credential 2 of 3 refused upstream"
    keys.refused(0, 2.0)
    assert keys.report(3.0) == "credential 1, 2 of 3 refused upstream"
    assert keys.report(REFUSED_S + 2.0) == ""
    keys.refused(1, 400.0)
    keys.worked(1)
    assert keys.report(400.0) == ""


def test_where_all_are_refused_the_first_refused_is_tried() -> None:
    keys = Keys(2)
    keys.refused(1, 0.0)
    keys.refused(0, 1.0)
    assert [keys.pick(2.0), keys.pick(2.0)] == [1, 1]
    assert keys.soonest(2.0) == 2.0
    keys.limited(1, 2.0, 10.0)
    assert keys.pick(3.0) == 0


def test_a_call_takes_no_key_twice() -> None:
    keys = Keys(3)
    for index in range(3):
        keys.refused(index, 0.0)
    assert keys.pick(1.0, {0, 1}) == 2
    assert keys.pick(1.0, {0, 1, 2}) is None


class Rotation(RuleBasedStateMachine):
    """Against a record of every rest that was asked for."""

    @initialize(count=st.integers(1, 4))
    def begin(self, count: int) -> None:
        self.keys, self.count, self.now_s = Keys(count), count, 0.0
        self.limited: list[tuple[int, float]] = []
        self.refused: dict[int, float] = {}

    @rule(step=st.sampled_from([0.0, 0.5, 1.0, 60.0, 299.0, 300.0]))
    def time_passes(self, step: float) -> None:
        self.now_s += step

    @rule(index=st.integers(0, 3), after_s=st.none() | st.sampled_from([0.0, 1.0, 60.0, 400.0]))
    def limit(self, index: int, after_s: float | None) -> None:
        index %= self.count
        self.keys.limited(index, self.now_s, after_s)
        self.limited.append((index, self.now_s + (LIMITED_S if after_s is None else after_s)))

    @rule(index=st.integers(0, 3))
    def refuse(self, index: int) -> None:
        index %= self.count
        self.keys.refused(index, self.now_s)
        self.refused[index] = self.now_s + REFUSED_S

    @rule(index=st.integers(0, 3))
    def work(self, index: int) -> None:
        self.keys.worked(index % self.count)
        self.refused.pop(index % self.count, None)

    @invariant()
    def picks_well(self) -> None:
        resting = {index for index, until_s in self.limited if until_s > self.now_s}
        bad = {index for index, until_s in self.refused.items() if until_s > self.now_s}
        everyone = set(range(self.count))
        may = everyone - resting - (bad if bad != everyone else set())
        picked = [self.keys.pick(self.now_s) for _ in range(self.count)]
        if not may:
            assert set(picked) == {None}
            assert self.keys.soonest(self.now_s) > self.now_s
        elif bad == everyone:
            assert set(picked) <= may
            assert self.keys.soonest(self.now_s) == self.now_s
        else:
            assert set(picked) == may, "everyone who may has a turn"
            assert self.keys.soonest(self.now_s) == self.now_s

    @rule()
    def wait_until_soonest(self) -> None:
        soonest_s = self.keys.soonest(self.now_s)
        between_s = (self.now_s + soonest_s) / 2
        if self.now_s < between_s < soonest_s:
            assert self.keys.pick(between_s) is None
        self.now_s = soonest_s


TestRotation = Rotation.TestCase
