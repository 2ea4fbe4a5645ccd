"""The next step when the window no longer holds the session: a summary first, and what happens when there is none."""

from typing import Any

import pytest
from tests.runtime.brain.rig import OFFERS, SECOND, SESSION, T0, answered, begun, call

from interlock.runtime.brain.action import Action, Ask, End, Summarise, Wait
from interlock.runtime.brain.decide import FAILURES_MAX, next_action
from interlock.runtime.sessions.agent import Budget
from interlock.runtime.sessions.event import (
    Answered,
    Asked,
    Cancelled,
    Compacted,
    Cut,
    Ended,
    Event,
    Failed,
    Finished,
    Forked,
    Raised,
    Said,
    Text,
    Woken,
)
from interlock.runtime.sessions.state import State, after
from interlock.units import usd

WINDOW = 2_000
STEPS = 10


def decided(state: State, now_s: float = 0) -> Action:
    return next_action(SESSION, state, T0 + int(now_s * SECOND), OFFERS)


def full(letters: int = 1_000, **agent: Any) -> State:
    """A session whose window is too small for what the model is to be shown next."""
    events: list[Event] = []
    for step in range(1, STEPS + 1):
        content = Text(text=f"{step} " + "r" * letters)
        events += answered(call(f"c{step}"), step=step, usage={"input": 10, "output": 2}, amount_nanousd=1)
        events += [Finished(call_id=f"c{step}", attempt=1, outcome="ok", content=content)]
    return begun(*events, **{"context_tokens": WINDOW} | agent)


def due(state: State, now_s: float = 0) -> Summarise:
    action = decided(state, now_s)
    assert isinstance(action, Summarise), action
    return action


def begins(state: State, now_s: float = 0) -> Summarise:
    """A summary is asked for."""
    action = due(state, now_s)
    after(state, [Asked(step=action.step, key="k", until_seq=action.until_seq)], T0)
    return action


def gives_up(state: State, why: str) -> None:
    action = decided(state)
    assert isinstance(action, Ask) and action.cut is not None, action
    assert (action.step, action.cut.kind) == (state.steps + 1, "window") and why in action.cut.why


def test_what_is_cut_is_summed_up_first_and_the_model_asked_then() -> None:
    state = full()
    begun_ = begins(state)
    assert begun_.step == STEPS + 1 and 0 < begun_.until_seq < state.seq - 1
    spent = Answered(step=begun_.step, parts=(), finish="stop", usage={"input": 100, "output": 5}, amount_nanousd=7)
    told = len(state.transcript)
    after(state, [spent, Cut(kind="summary", before_seq=begun_.until_seq, summary="So far.")], T0)
    assert decided(state) == Ask(step=STEPS + 2), "it fits now"
    assert (state.steps, state.tokens, state.amount_nanousd) == (STEPS + 1, STEPS * 12 + 105, STEPS + 7)
    assert len(state.transcript) == told, "a summary is no turn"


def test_an_agent_may_do_without() -> None:
    action = decided(full(compaction="window"))
    assert isinstance(action, Ask) and action.cut is not None and (action.cut.kind, action.cut.why) == ("window", "")
    assert decided(full(context_tokens=100_000)) == Ask(step=STEPS + 1), "nothing is to be cut"


def test_what_is_said_meanwhile_is_heard_in_the_next_turn() -> None:
    state = full()
    after(state, [Said(text="that")], T0)
    begun_ = begins(state)
    assert state.unheard, "a summary does not show it to the model"
    after(state, [Said(text="and this")], T0)
    answer = Answered(step=begun_.step, parts=(), finish="stop", amount_nanousd=0)
    after(state, [answer, Cut(kind="summary", before_seq=begun_.until_seq, summary="s")], T0)
    assert state.unheard and decided(state) == Ask(step=STEPS + 2)
    assert state.transcript[-1].said == Said(text="and this")


def test_a_summary_that_fails_is_tried_again_in_its_time_or_done_without() -> None:
    state = full()
    begins(state)
    after(state, [Failed(step=STEPS + 1, code="busy", message="m", retry_at_ns=T0 + 5 * SECOND)], T0)
    assert decided(state, 4) == Wait(until_ns=T0 + 5 * SECOND) and state.standing().wake_at_ns == T0 + 5 * SECOND
    assert begins(state, 5).step == STEPS + 2
    after(state, [Failed(step=STEPS + 2, code="no_summary", message="the model said nothing")], T0)
    gives_up(state, "no_summary: the model said nothing")
    after(state, [Said(text="hello?")], T0)
    gives_up(state, "no_summary")


@pytest.mark.parametrize("lost", [True, False])
def test_a_summary_that_never_comes_is_done_without_and_ends_no_turn(lost: bool) -> None:
    state = full()
    for _ in range(FAILURES_MAX + lost):
        step = begins(state).step
        if not lost:
            after(state, [Failed(step=step, code="busy", message="m", retry_at_ns=T0)], T0)
    gives_up(state, "8 attempts at a summary failed or were lost")
    action = decided(state)
    assert isinstance(action, Ask) and action.cut is not None
    after(state, [action.cut, Asked(step=action.step, key="k")], T0)
    assert state.failures == 0, "a turn has its own failures"
    after(state, [Failed(step=action.step, code="busy", message="m", retry_at_ns=T0)], T0)
    assert decided(state) == Ask(step=action.step + 1)


def test_a_cancelled_summary_ends_the_turn_and_the_next_one_asks_again() -> None:
    state = full()
    step = begins(state).step
    after(state, [Cancelled(by="ann"), Failed(step=step, code="cancelled", message="a person cancelled it")], T0)
    assert decided(state) == End(reason="cancelled")
    after(state, [Ended(reason="cancelled"), Said(text="go on"), Woken(owner="p", epoch=2)], T0)
    assert due(state).step == step + 1


def test_a_fork_in_the_middle_of_a_summary_makes_its_own() -> None:
    state = full()
    step = begins(state).step
    after(state, [Forked(workspace="empty")], T0)
    assert due(state).step == step + 1
    answer = Answered(step=step, parts=(), finish="stop", amount_nanousd=0)
    behind_its_answer = full()
    begins(behind_its_answer)
    after(behind_its_answer, [answer, Forked(workspace="empty")], T0)
    assert due(behind_its_answer).step == step + 1


@pytest.mark.parametrize(
    ("budget", "why"),
    [
        (Budget(steps=STEPS + 1), "no step"),
        (Budget(tokens=STEPS * 12 + 1_000), "no tokens"),
        (Budget(steps=STEPS + 2, tokens=STEPS * 12 + WINDOW + 1, amount_nanousd=STEPS + 1), ""),
    ],
)
def test_a_budget_that_a_summary_would_use_up_is_left_to_the_turn(budget: Budget, why: str) -> None:
    state = full(budget=budget)
    if why:
        gives_up(state, why)
    else:
        due(state)


def test_a_budget_that_is_used_up_ends_the_turn_and_a_summary_comes_once_it_is_raised() -> None:
    state = full(budget=Budget(amount_nanousd=STEPS + 5))
    step = begins(state).step
    wasted = Failed(step=step, code="no_summary", message="m", usage={"input": 9, "output": 1}, amount_nanousd=5)
    after(state, [wasted], T0)
    assert decided(state) == End(reason="budget", detail=f"{usd(STEPS + 5)} USD")
    after(state, [Ended(reason="budget"), Raised(by="ann", budget=Budget())], T0)
    assert due(state).step == step + 1


def test_an_answer_of_no_use_whose_price_nobody_knows_ends_a_turn_that_has_a_price() -> None:
    state = full(budget=Budget(amount_nanousd=10**9))
    step = begins(state).step
    after(state, [Failed(step=step, code="no_summary", message="m", usage={"input": 9, "output": 1})], T0)
    action = decided(state)
    assert isinstance(action, End) and action.reason == "budget" and "not known" in action.detail


def test_little_is_not_summed_up() -> None:
    """What the user said, then one result that fills the window: the cut takes away less than a summary may be."""
    huge = Finished(call_id="c", attempt=1, outcome="ok", content=Text(text="r" * 9_000))
    gives_up(begun(*answered(call("c")), huge, context_tokens=WINDOW), "not longer than a summary")


# A person asks for one


def asked_for(**agent: Any) -> State:
    """A session at rest, its last turn broken off, of which a person wants a summary."""
    state = full(**{"context_tokens": 100_000} | agent)
    after(state, [Ended(reason="failed"), Compacted(by="ann")], T0)
    return state


@pytest.mark.parametrize("compaction", ["summary", "window"])
def test_a_person_gets_a_summary_of_everything_and_no_turn_begins(compaction: str) -> None:
    state = asked_for(compaction=compaction)
    assert state.standing().status == "runnable"
    wanted = state.seq
    assert begins(state) == Summarise(step=STEPS + 1, until_seq=wanted)
    answer = Answered(step=STEPS + 1, parts=(), finish="stop", amount_nanousd=0)
    after(state, [answer, Cut(kind="summary", before_seq=wanted, summary="s")], T0)
    assert decided(state) == End(reason="done"), "what was broken off is not taken up"
    after(state, [Ended(reason="done"), Said(text="go on"), Woken(owner="p", epoch=2)], T0)
    assert decided(state) == Ask(step=STEPS + 2)


def test_a_summary_that_a_person_asked_for_and_that_does_not_come_says_so() -> None:
    state = asked_for()
    begins(state)
    after(state, [Failed(step=STEPS + 1, code="busy", message="m", retry_at_ns=T0 + SECOND)], T0)
    assert decided(state) == Wait(until_ns=T0 + SECOND)
    begins(state, 1)
    after(state, [Failed(step=STEPS + 2, code="no_summary", message="the model said nothing")], T0)
    assert decided(state) == End(reason="failed", detail="no summary: no_summary: the model said nothing")
    assert decided(asked_for(budget=Budget(steps=STEPS))) == End(
        reason="failed", detail=f"no summary: the budget is used up ({STEPS} steps)"
    ), "and more budget does not take up the turn before"
    lost = asked_for()
    for _ in range(FAILURES_MAX + 1):
        begins(lost)
    action = decided(lost)
    assert isinstance(action, End) and action.detail.startswith("no summary: 8 attempts")


def test_a_turn_that_the_budget_stopped_goes_on_with_more_of_it_whatever_became_of_a_summary() -> None:
    state = full(context_tokens=100_000, budget=Budget(steps=STEPS))
    after(state, [Ended(reason="budget"), Compacted(by="ann")], T0)
    after(state, [Ended(reason="failed"), Raised(by="ann", budget=Budget(steps=STEPS + 1))], T0)
    assert decided(state) == Ask(step=STEPS + 1)


def test_who_speaks_meanwhile_begins_a_turn_and_the_summary_stands_too() -> None:
    state = asked_for()
    until_seq = begins(state).until_seq
    after(state, [Said(text="go on")], T0)
    answer = Answered(step=STEPS + 1, parts=(), finish="stop", amount_nanousd=0)
    after(state, [answer, Cut(kind="summary", before_seq=until_seq, summary="s")], T0)
    assert decided(state) == Ask(step=STEPS + 2) and len(state.shown) == 1
