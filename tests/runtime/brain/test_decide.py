"""The next step: what it is for each state of a session."""

from typing import Any

import msgspec
import pytest
from tests.runtime.brain.deciding import ONE, SHA, TWO, allowed, asks, closed, decided, finished, started
from tests.runtime.brain.rig import OFFERS, SECOND, SESSION, T0, answered, begun, call, created, folded, question

from interlock.runtime.brain.action import Ask, End, Run, Settle, Wait
from interlock.runtime.brain.decide import (
    ATTEMPTS_MAX,
    CALLS_MAX,
    CIRCUIT,
    FAILURES_MAX,
    INVALID_MAX,
    SAME_MAX,
    call_key,
    over_budget,
)
from interlock.runtime.sessions.agent import Budget
from interlock.runtime.sessions.event import (
    Answer,
    Answered,
    Asked,
    Cancelled,
    Decided,
    Ended,
    Event,
    Expired,
    Failed,
    Raised,
    Said,
    Text,
    Woken,
)
from interlock.runtime.sessions.state import after

# The model


def test_nothing_is_done_for_a_session_in_which_nobody_said_anything() -> None:
    assert decided(folded(created())) == Wait()


def test_a_message_is_answered_and_words_end_the_turn() -> None:
    assert decided(begun()) == Ask(step=1)
    assert decided(begun(*answered(Text(text="hello")))) == End(reason="done")
    assert decided(begun(*answered(Text(text="hel"), finish="length"))) == End(reason="done", detail="length")
    assert decided(begun(*answered())) == End(reason="done", detail="the model said nothing")
    assert decided(begun(*answered(Text(text="hel"), finish="pause"))) == Ask(step=2)


def test_what_is_said_meanwhile_is_heard_in_the_next_call() -> None:
    during = begun(
        Asked(step=1, key="k"), Said(text="and this"), Answered(step=1, parts=(Text(text="a"),), finish="stop")
    )
    assert decided(during) == Ask(step=2)
    assert [entry.said is None for entry in during.transcript] == [False, True, False], "the answer was to the first"


def test_a_call_that_was_lost_is_made_again_but_not_for_ever() -> None:
    assert decided(begun(Asked(step=1, key="k"))) == Ask(step=2)
    lost = [Asked(step=step, key=f"k{step}") for step in range(1, FAILURES_MAX + 2)]
    action = decided(begun(*lost))
    assert isinstance(action, End) and action.reason == "failed"


def test_a_failure_waits_for_its_time_or_ends_the_turn() -> None:
    retried = Failed(step=1, code="busy", message="m", retry_at_ns=T0 + 5 * SECOND)
    state = begun(Asked(step=1, key="k"), retried)
    assert decided(state, 4.9) == Wait(until_ns=T0 + 5 * SECOND)
    assert decided(state, 5) == Ask(step=2)
    final = begun(Asked(step=1, key="k"), Failed(step=1, code="unpriced", message="m"))
    assert decided(final) == End(reason="failed", detail="unpriced: m")
    assert decided(begun(Asked(step=1, key="k"), Said(text="x"), Failed(step=1, code="c", message="m"))) == Ask(step=2)


def test_failures_in_a_row_are_forgotten_with_the_turn() -> None:
    events: list[Event] = []
    for step in range(1, FAILURES_MAX + 1):
        events += [Asked(step=step, key="k"), Failed(step=step, code="c", message="m", retry_at_ns=T0)]
    action = decided(begun(*events), 1)
    assert isinstance(action, End) and action.reason == "failed"
    step = FAILURES_MAX + 1
    later = begun(*events, Ended(reason="failed"), Said(text="again"), Asked(step=step, key="k"))
    after(later, [Failed(step=step, code="c", message="m", retry_at_ns=T0)], T0)
    assert decided(later, 1) == Ask(step=step + 1)


@pytest.mark.parametrize(
    ("budget", "spent"),
    [
        (Budget(steps=1), {}),
        (Budget(tokens=12), {"usage": {"input": 10, "output": 2, "cache_read": 5}}),
        (Budget(amount_nanousd=100), {"amount_nanousd": 100}),
        (Budget(amount_nanousd=100), {"amount_nanousd": None}),
        (Budget(wall_s=10), {}),
    ],
)
def test_a_budget_that_is_used_up_ends_the_turn_before_the_next_call(budget: Budget, spent: dict[str, Any]) -> None:
    [asked, answer] = answered(ONE, **({"amount_nanousd": 1} | spent))
    state = begun(asked, 10.0, answer, allowed("c1"), started("c1"), finished("c1"), budget=budget)
    action = decided(state, 10)
    assert isinstance(action, End) and action.reason == "budget" and action.detail == over_budget(state)
    after(state, [Ended(reason="budget"), Raised(by="ann", budget=Budget())], T0)
    assert decided(state, 10) == Ask(step=2), "raised, it goes on where it stopped"


def test_a_budget_that_is_not_used_up_does_not() -> None:
    budget = Budget(steps=2, tokens=13, amount_nanousd=101, wall_s=11)
    [asked, answer] = answered(ONE, usage={"input": 10, "output": 2}, amount_nanousd=100)
    state = begun(asked, 10.0, answer, allowed("c1"), started("c1"), finished("c1"), budget=budget)
    assert decided(state, 10) == Ask(step=2)


def test_time_without_a_brain_is_not_work() -> None:
    state = begun(
        Asked(step=1, key="k"), 3600.0, Woken(owner="p", epoch=2), 5.0, Asked(step=2, key="k"), 60.0, Said(text="x")
    )
    assert state.worked_ns == 5 * SECOND


# Calls


def test_what_is_no_call_is_told_so() -> None:
    for wrong, why in (
        (call("c1", "no such"), "no tool of the name 'no such'"),
        (call("c1", arguments="{"), "not acceptable JSON"),
        (call("c1", arguments='{"a": 1, "a": 2}'), "duplicate"),
        (call("c1", arguments="[]"), "one JSON object"),
        (call("c1", arguments='{"a": 1e999}'), "too large"),
        (call("c1", arguments='{"a": "' + "x" * (1 << 18) + '"}'), "the most is"),
    ):
        close = closed(decided(begun(*answered(wrong))))
        assert (close.outcome, close.attempt) == ("invalid", 0)
        assert why.lower() in close.text.lower(), close.text


def test_an_answer_holds_so_many_calls_and_no_more() -> None:
    many = [call(f"c{number}", "pure") for number in range(CALLS_MAX + 2)]
    action = decided(begun(*answered(*many)))
    assert isinstance(action, Settle)
    assert len(action.judges) == CALLS_MAX and [close.outcome for close in action.closes] == ["invalid"] * 2


def test_a_call_is_judged_then_run_with_a_key_of_its_own() -> None:
    assert decided(begun(*answered(ONE))) == Settle(judges=(ONE,))
    action = decided(begun(*answered(ONE), allowed("c1")))
    assert isinstance(action, Run)
    [attempt] = action.attempts
    assert (attempt.attempt, attempt.effect, attempt.approval) == (1, "once", "")
    assert attempt.key == call_key(SESSION, "c1") != call_key(SESSION, "c2") != call_key("ses_2", "c2")


def test_calls_run_in_order_and_pure_ones_together() -> None:
    calls = [call("a", "pure"), call("b", "other"), call("c"), call("d", "pure"), call("e", "pure")]
    verdicts = [allowed(one.id) for one in calls]
    state = begun(*answered(*calls), *verdicts)

    def ran() -> list[str]:
        action = decided(state)
        assert isinstance(action, Run)
        return [attempt.call.id for attempt in action.attempts]

    for expected in (["a", "b"], ["c"], ["d", "e"]):
        assert ran() == expected
        for id in expected:
            after(state, [started(id, OFFERS[state.calls[id].call.name].effect), finished(id)], T0)
    assert decided(state) == Ask(step=2)


def test_who_waits_for_a_person_holds_those_behind() -> None:
    state = begun(*answered(ONE, TWO), asks("c1"), question(ONE), allowed("c2"))
    assert decided(state) == Wait(until_ns=T0 + 60 * SECOND)
    assert state.standing().status == "waiting"
    state = begun(*answered(TWO, ONE), asks("c1"), question(ONE), allowed("c2"))
    assert isinstance(decided(state), Run) and state.standing().status == "runnable"


def test_a_denied_call_is_told_why() -> None:
    close = closed(decided(begun(*answered(ONE), Decided(call_id="c1", verdict="deny", why="rule x"))))
    assert (close.outcome, close.text) == ("denied", "Not allowed: rule x")


# Approvals


def test_a_question_is_asked_and_its_answer_is_used_once() -> None:
    assert decided(begun(*answered(ONE), asks("c1"))).inquiries[0].call == ONE  # type: ignore[union-attr]  # a Settle
    state = begun(*answered(ONE), asks("c1"), question(ONE))
    after(state, [Answer(approval="a1", approved=True, arguments_sha256=SHA, by="ann")], T0)
    action = decided(state)
    assert isinstance(action, Run) and action.attempts[0].approval == "a1"


@pytest.mark.parametrize(
    ("answer", "at_s", "outcome"),
    [
        (Answer(approval="a1", approved=False, arguments_sha256=SHA, by="ann", note="not now"), 1, "denied"),
        (Answer(approval="a1", approved=True, arguments_sha256="0" * 64, by="ann"), 1, "denied"),
        (Answer(approval="a1", approved=True, arguments_sha256=SHA, by="ann"), 61, "expired"),
    ],
)
def test_what_is_no_approval_does_not_run(answer: Answer, at_s: float, outcome: str) -> None:
    state = begun(*answered(ONE), asks("c1"), question(ONE), float(at_s), answer)
    assert closed(decided(state, at_s)).outcome == outcome


def test_a_question_expires_which_is_no_refusal() -> None:
    state = begun(*answered(ONE), asks("c1"), question(ONE))
    assert decided(state, 59) == Wait(until_ns=T0 + 60 * SECOND)
    assert decided(state, 60) == Settle(expiries=("a1",))
    after(state, [Expired(approval="a1")], T0)
    assert closed(decided(state, 60)).outcome == "expired"
    after(state, [Answer(approval="a1", approved=True, arguments_sha256=SHA, by="ann")], T0)
    assert closed(decided(state, 60)).outcome == "expired", "too late"


def test_the_first_answer_counts() -> None:
    no = Answer(approval="a1", approved=False, arguments_sha256=SHA, by="ann")
    state = begun(*answered(ONE), asks("c1"), question(ONE), no, msgspec.structs.replace(no, approved=True))
    assert closed(decided(state)).outcome == "denied"


# What a crash left behind


@pytest.mark.parametrize("effect", ["pure", "idempotent"])
def test_what_may_be_repeated_runs_again_with_the_same_key(effect: Any) -> None:
    state = begun(*answered(call("c1", effect)), allowed("c1"), started("c1", effect))
    action = decided(state)
    assert isinstance(action, Run)
    assert (action.attempts[0].attempt, action.attempts[0].key) == (2, call_key(SESSION, "c1"))
    after(state, [started("c1", effect, number) for number in range(2, ATTEMPTS_MAX + 1)], T0)
    assert closed(decided(state)).outcome == "error", "it has killed enough"


def test_a_once_only_call_is_not_repeated_and_its_outcome_is_unknown() -> None:
    close = closed(decided(begun(*answered(ONE), allowed("c1"), started("c1"))))
    assert (close.outcome, close.attempt) == ("unknown", 1)
    assert "unknown outcome" in close.text.lower()


def test_a_person_may_be_asked_whether_it_is_to_run_again() -> None:
    state = begun(*answered(ONE), allowed("c1"), started("c1"), on_unknown="ask")
    [inquiry] = decided(state).inquiries  # type: ignore[union-attr]  # a Settle
    assert inquiry.again
    after(state, [question(ONE)], T0)
    assert decided(state) == Wait(until_ns=T0 + 60 * SECOND) and state.standing().status == "waiting"
    yes = Answer(approval="a1", approved=True, arguments_sha256=SHA, by="ann")
    after(state, [yes], T0)
    action = decided(state)
    assert isinstance(action, Run) and (action.attempts[0].attempt, action.attempts[0].approval) == (2, "a1")
    after(state, [started("c1", attempt=2, approval="a1")], T0)
    assert isinstance(decided(state), Settle), "that approval is used up: it is asked again"
    assert decided(state).inquiries  # type: ignore[union-attr]  # a Settle


@pytest.mark.parametrize("approved", [True, False])
def test_without_their_word_it_stays_unknown(approved: bool) -> None:
    no = Answer(approval="a1", approved=approved, arguments_sha256="0" * 64 if approved else SHA, by="ann")
    state = begun(*answered(ONE), allowed("c1"), started("c1"), question(ONE), no, on_unknown="ask")
    assert closed(decided(state)).outcome == "unknown"


# The end


def test_a_cancellation_ends_the_turn_and_closes_every_call() -> None:
    calls = [call("a"), call("b", "pure"), call("c")]
    state = begun(*answered(*calls), allowed("a"), started("a"), Cancelled(by="ann", reason="enough"))
    action = decided(state)
    assert isinstance(action, End) and (action.reason, action.detail) == ("cancelled", "enough")
    assert [(close.call_id, close.outcome) for close in action.closes] == [
        ("a", "unknown"),
        ("b", "cancelled"),
        ("c", "cancelled"),
    ]


def same_calls(count: int, result: str = "r") -> list[Event]:
    events: list[Event] = []
    for step in range(1, count + 1):
        id = f"c{step}"
        events += [*answered(call(id, "pure", '{"a": 1, "b": 2}'), step=step), allowed(id)]
        events += [started(id, "pure"), finished(id, result)]
    return events


def again(step: int, arguments: str = '{"b":2,"a":1}') -> list[Event]:
    return [*answered(call(f"c{step}", "pure", arguments), step=step), allowed(f"c{step}")]


def test_the_same_call_with_the_same_result_is_stopped_then_ends_the_turn() -> None:
    assert isinstance(decided(begun(*same_calls(SAME_MAX - 1), *again(SAME_MAX))), Run)
    events = [*same_calls(SAME_MAX), *again(SAME_MAX + 1)]
    close = closed(decided(begun(*events)))
    assert (close.outcome, close.text, close.attempt) == ("invalid", CIRCUIT, 0)
    told = finished(f"c{SAME_MAX + 1}", CIRCUIT, "invalid", 0)
    action = decided(begun(*events, told, *again(SAME_MAX + 2)))
    assert isinstance(action, End) and action.reason == "circuit" and len(action.closes) == 1


def test_another_call_another_result_or_a_persons_word_keeps_the_circuit_closed() -> None:
    assert isinstance(decided(begun(*same_calls(SAME_MAX), *again(9, '{"a": 2}'))), Run)
    events = same_calls(SAME_MAX)
    events[-1] = finished(f"c{SAME_MAX}", "another")
    assert isinstance(decided(begun(*events, *again(9))), Run)
    assert isinstance(decided(begun(*same_calls(SAME_MAX), Said(text="again"), *again(9))), Run)


def test_a_model_that_makes_no_sense_ends_the_turn() -> None:
    events: list[Event] = []
    for step in range(1, INVALID_MAX + 1):
        assert decided(begun(*events)) == Ask(step=step)
        events += [*answered(call(f"c{step}", f"tool{step}"), step=step), finished(f"c{step}", "none", "invalid", 0)]
    action = decided(begun(*events))
    assert isinstance(action, End) and action.reason == "circuit"
