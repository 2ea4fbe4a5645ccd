"""Circuits: by example, and as a machine of many attempts at once against an oracle that knows only the history."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from interlock.gateway.failure import Circuit
from interlock.gateway.failure.breaker import PROBE_WAIT_S, STRAY
from interlock.gateway.policy import Breaker

RULES = Breaker(failures=3, window_s=30.0, open_s=10.0, open_s_max=35.0)


def state(circuit: Circuit) -> str:
    return circuit.state  # as a word: mypy would take it for unchanged from one assertion to the next


def fail(circuit: Circuit, now_s: float, times: int = 1, why: str = "upstream_timeout") -> None:
    for _ in range(times):
        circuit.failed(circuit.begin(), now_s, why)


def opened(now_s: float = 0.0, rules: Breaker = RULES) -> Circuit:
    circuit = Circuit(rules)
    fail(circuit, now_s, rules.failures)
    assert state(circuit) == "open"
    return circuit


class TestOpening:
    def test_failures_in_a_row_open_it(self) -> None:
        circuit = Circuit(RULES)
        fail(circuit, 1.0, 2)
        assert circuit.refusal(1.0) == ""
        fail(circuit, 2.0)
        assert circuit.refusal(2.0) == "circuit open for 10 s after 3 failures (upstream_timeout)"
        assert circuit.refusal(11.5) == "circuit open for 1 s after 3 failures (upstream_timeout)"
        assert circuit.refusal(12.0) == ""

    def test_a_whole_answer_ends_the_row(self) -> None:
        circuit = Circuit(RULES)
        for now_s in range(10):
            fail(circuit, float(now_s), 2)
            assert state(circuit) == "closed"
            circuit.succeeded(circuit.begin(), float(now_s))

    def test_a_first_word_does_not(self) -> None:
        circuit = Circuit(RULES)
        for now_s in (1.0, 2.0, 3.0):
            era = circuit.begin()
            circuit.spoke(era, now_s)
            circuit.failed(era, now_s, "upstream_closed")
        assert state(circuit) == "open"

    def test_nor_does_an_end_that_tells_nothing(self) -> None:
        circuit = Circuit(RULES)
        for now_s in (1.0, 2.0, 3.0):
            circuit.ended(circuit.begin())
            fail(circuit, now_s)
        assert state(circuit) == "open"

    def test_old_failures_do_not_count(self) -> None:
        circuit = Circuit(RULES)
        fail(circuit, 0.0)
        fail(circuit, 20.0)
        fail(circuit, 30.1)
        assert state(circuit) == "closed"
        fail(circuit, 50.0)
        assert state(circuit) == "open"

    def test_one_failure_is_told_as_one(self) -> None:
        assert "after 1 failure (upstream_timeout)" in opened(rules=Breaker(failures=1)).refusal(0.0)

    @given(st.integers(0, 50))
    def test_it_can_be_off(self, times: int) -> None:
        circuit = Circuit(Breaker(failures=0))
        fail(circuit, 1.0, times)
        assert circuit.refusal(1.0) == ""


class TestTrying:
    def test_exactly_one_call_is_the_probe(self) -> None:
        circuit = opened()
        era = circuit.begin()
        assert state(circuit) == "half-open"
        assert circuit.refusal(10.0) == ("circuit half-open: one call is trying it after 3 failures (upstream_timeout)")
        assert circuit.wait_s(10.0) == circuit.wait_s(10.0, alone=True) == PROBE_WAIT_S
        circuit.succeeded(era, 11.0)
        assert (state(circuit), circuit.refusal(11.0)) == ("closed", "")

    def test_its_first_word_is_enough_and_old_failures_are_forgotten(self) -> None:
        circuit = opened()
        circuit.spoke(circuit.begin(), 11.0)
        assert state(circuit) == "closed"
        fail(circuit, 12.0, 2)
        assert state(circuit) == "closed"

    def test_an_answer_from_before_does_not_end_a_new_row(self) -> None:
        circuit = Circuit(RULES)
        early = circuit.begin()
        fail(circuit, 0.0, 3)
        circuit.succeeded(circuit.begin(), 10.0)
        fail(circuit, 11.0, 2)
        circuit.succeeded(early, 11.0)
        fail(circuit, 11.0)
        assert state(circuit) == "open"

    def test_a_failed_probe_doubles_the_time_up_to_a_bound(self) -> None:
        circuit, now_s = opened(), 0.0
        for open_s in (10.0, 20.0, 35.0, 35.0):
            assert circuit.wait_s(now_s) == open_s
            now_s += open_s
            assert circuit.wait_s(now_s) == 0.0
            fail(circuit, now_s)
        assert circuit.refusal(now_s) == "circuit open for 35 s after a failed trial (upstream_timeout)"

    def test_a_probe_that_tells_nothing_leaves_the_next_call_to_try(self) -> None:
        circuit = opened()
        circuit.ended(circuit.begin())
        assert (state(circuit), circuit.refusal(10.0)) == ("open", "")
        circuit.succeeded(circuit.begin(), 10.0)
        assert state(circuit) == "closed"

    def test_attempts_from_before_say_nothing(self) -> None:
        circuit = Circuit(RULES)
        early = circuit.begin()
        fail(circuit, 0.0, 3)
        circuit.succeeded(early, 1.0)
        circuit.spoke(early, 1.0)
        assert state(circuit) == "open"
        probe = circuit.begin()
        circuit.failed(early, 10.0, "upstream_closed")
        circuit.succeeded(early, 10.0)
        circuit.ended(early)
        assert state(circuit) == "half-open"
        circuit.succeeded(probe, 10.0)
        circuit.failed(early, 10.0, "upstream_closed")
        fail(circuit, 10.0, 2)
        assert state(circuit) == "closed"

    def test_what_is_sent_beside_a_probe_says_nothing(self) -> None:
        circuit = opened()
        probe, stray = circuit.begin(), circuit.begin()
        assert stray == STRAY
        circuit.failed(stray, 10.0, "upstream_closed")
        circuit.ended(stray)
        assert state(circuit) == "half-open"
        circuit.succeeded(probe, 10.0)
        assert state(circuit) == "closed"


class TestFlapping:
    def test_one_that_recovers_only_to_fail_is_left_alone_for_longer(self) -> None:
        circuit, now_s = opened(), 0.0
        for open_s in (10.0, 20.0, 35.0, 35.0):
            assert circuit.wait_s(now_s) == open_s
            now_s += open_s
            circuit.succeeded(circuit.begin(), now_s)
            fail(circuit, now_s + 1.0, 3)
            now_s += 1.0

    def test_again_within_the_window_is_soon(self) -> None:
        circuit = opened()
        circuit.succeeded(circuit.begin(), 10.0)
        fail(circuit, 40.0, 3)
        assert circuit.wait_s(40.0) == 20.0

    def test_one_that_was_well_for_long_begins_anew(self) -> None:
        circuit = opened()
        circuit.succeeded(circuit.begin(), 10.0)
        fail(circuit, 40.1, 3)
        assert circuit.wait_s(40.1) == 10.0

    def test_an_hour_of_failures_costs_few_calls(self) -> None:
        circuit, sent = Circuit(Breaker()), 0
        for second in range(3600):
            if not circuit.refusal(float(second)):
                sent += 1
                fail(circuit, float(second))
        assert sent < 5 + 4 + 3600 / 300


class TestCooling:
    def test_what_an_upstream_asks_for_is_kept_to(self) -> None:
        circuit = Circuit(RULES)
        circuit.cool(20.0, "upstream_error 503")
        circuit.cool(5.0, "shorter")
        assert circuit.refusal(0.5) == "left alone for 20 s, as asked (upstream_error 503)"
        assert circuit.wait_s(0.5, alone=True) == 19.5
        assert (state(circuit), circuit.refusal(20.0)) == ("closed", "")

    def test_it_outlasts_a_circuit(self) -> None:
        circuit = opened()
        circuit.cool(30.0, "a 503")
        assert circuit.wait_s(15.0) == 15.0
        assert circuit.wait_s(30.0) == 0.0

    def test_a_success_does_not_end_it(self) -> None:
        circuit = Circuit(RULES)
        era = circuit.begin()
        circuit.cool(20.0, "a 503")
        circuit.succeeded(era, 1.0)
        assert circuit.refusal(1.0) != ""


class TestAlone:
    def test_not_more_often_than_at_first(self) -> None:
        circuit, tried = opened(), 0
        for tenth in range(0, 36_000):
            if circuit.wait_s(tenth / 10, alone=True) <= 0.0:
                tried += 1
                fail(circuit, tenth / 10)
        assert tried == pytest.approx(360, abs=2)

    def test_one_call_at_a_time(self) -> None:
        circuit = opened()
        assert circuit.wait_s(15.0, alone=True) == 0.0
        circuit.begin()
        assert circuit.wait_s(15.0, alone=True) > 0.0

    def test_who_asked_to_be_left_alone_is(self) -> None:
        circuit = opened()
        circuit.cool(50.0, "a 503")
        assert circuit.wait_s(40.0, alone=True) == 10.0


class Machine(RuleBasedStateMachine):
    """Attempts of many calls overlap; the oracle keeps the history of one circuit and judges what it lets through."""

    @initialize(
        failures=st.integers(0, 3),
        window_s=st.sampled_from([5.0, 30.0]),
        open_s=st.sampled_from([4.0, 20.0]),
        open_s_max=st.sampled_from([4.0, 50.0]),
    )
    def begin(self, failures: int, window_s: float, open_s: float, open_s_max: float) -> None:
        self.rules_ = Breaker(failures=failures, window_s=window_s, open_s=open_s, open_s_max=open_s_max)
        self.circuit = Circuit(self.rules_)
        self.now_s = 100.0
        self.out: list[int] = []
        self.probe: int | None = None
        self.opened_s = -math.inf
        self.cooled_s = -math.inf

    @rule(step=st.sampled_from([0.0, 0.5, 4.0, 10.0, 60.0]))
    def time_passes(self, step: float) -> None:
        self.now_s += step

    @rule()
    def call(self) -> None:
        before = self.circuit.state
        if self.circuit.refusal(self.now_s):
            return
        assert self.now_s >= self.cooled_s
        assert before != "half-open", "a probe is out"
        if before == "open":
            assert self.now_s >= self.opened_s + min(self.rules_.open_s, self.rules_.open_s_max)
        era = self.circuit.begin()
        if before == "open":
            self.probe = era
        self.out.append(era)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), how=st.sampled_from(["failed", "succeeded", "spoke", "ended"]))
    def an_attempt_ends(self, data: st.DataObject, how: str) -> None:
        era = data.draw(st.sampled_from(self.out))
        if how != "spoke":
            self.out.remove(era)
        before = self.circuit.state
        if how == "failed":
            self.circuit.failed(era, self.now_s, "upstream_closed")
        elif how == "ended":
            self.circuit.ended(era)
        else:
            getattr(self.circuit, how)(era, self.now_s)
        if before == "half-open" and era != self.probe:
            assert self.circuit.state == before, "only the probe tells"
        if before == "half-open" and era == self.probe:
            assert self.circuit.state == ("open" if how in ("failed", "ended") else "closed")
        if before == "open":
            assert self.circuit.state == before
        if before != "open" and self.circuit.state == "open" and how == "failed":
            self.opened_s = self.now_s
            assert self.rules_.failures > 0

    @rule(for_s=st.sampled_from([0.0, 3.0, 30.0]))
    def cool(self, for_s: float) -> None:
        self.circuit.cool(self.now_s + for_s, "a 503")
        self.cooled_s = max(self.cooled_s, self.now_s + for_s)

    @invariant()
    def it_never_stays_closed_for_good(self) -> None:
        wait_s = self.circuit.wait_s(self.now_s)
        assert (wait_s > 0.0) == bool(self.circuit.refusal(self.now_s))
        assert 0.0 <= self.circuit.wait_s(self.now_s, alone=True) <= wait_s
        assert wait_s <= max(self.cooled_s - self.now_s, self.rules_.open_s_max, self.rules_.open_s, PROBE_WAIT_S)
        if self.circuit.state == "half-open":
            assert self.probe in self.out, "somebody is out to tell how it went"
        elif wait_s > 0.0:
            assert self.circuit.refusal(self.now_s + wait_s) == "", "what was told to wait for comes"


TestMachine = Machine.TestCase
