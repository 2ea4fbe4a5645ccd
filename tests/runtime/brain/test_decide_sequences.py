"""What no sequence of events, crashes and people can bring about."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.runtime.brain.deciding import SHA, VERDICTS, finished, started
from tests.runtime.brain.rig import OFFERS, SECOND, SESSION, T0, call, created

from interlock.runtime.brain.action import Action, Ask, End, Run, Settle, Summarise, Wait
from interlock.runtime.brain.decide import next_action
from interlock.runtime.sessions.agent import Budget
from interlock.runtime.sessions.event import (
    Answer,
    Answered,
    Asked,
    Cancelled,
    Compacted,
    Created,
    Cut,
    Decided,
    Ended,
    Event,
    Expired,
    Failed,
    Question,
    Raised,
    Said,
    Text,
    Verdict,
)
from interlock.runtime.sessions.state import State, after


def performed(state: State, action: Action, data: st.DataObject, now_ns: int) -> list[Event]:
    """What a brain writes of an action that may be cut off anywhere, or a person meanwhile."""
    events: list[Event] = []
    crashes = data.draw(st.booleans(), "crashes")
    match action:
        case Settle():
            events += [finished(close.call_id, close.text, close.outcome, close.attempt) for close in action.closes]
            events += [Expired(approval=approval) for approval in action.expiries]
            for inquiry in action.inquiries:
                approval = f"a{len(state.approvals) + len(events)}"
                events.append(
                    Question(
                        approval=approval,
                        call_id=inquiry.call.id,
                        tool="t",
                        arguments_sha256=SHA,
                        expires_at_ns=now_ns + 5 * SECOND,
                    )
                )
            for one in action.judges:
                verdict: Verdict = data.draw(st.sampled_from(VERDICTS))
                events.append(Decided(call_id=one.id, verdict=verdict, why="x"))
        case Ask():
            assert not state.compact_seq, "a person asked for a summary, and a turn begins"
            assert not state.pending, "a call without a result would be shown"
            assert state.budget.steps is None or state.steps < state.budget.steps
            if action.cut is not None:
                assert bool(action.cut.why) == (state.agent.compaction == "summary"), (
                    "done without, and nobody knows why"
                )
                events.append(action.cut)
            events.append(Asked(step=action.step, key="k"))
            if not crashes:
                events.append(data.draw(ANSWERS)(state, action.step, now_ns))
        case Summarise():
            assert not state.pending
            if not state.compact_seq:
                last = state.budget.steps is not None and state.steps + 1 >= state.budget.steps
                assert state.agent.compaction == "summary" and not last, "it takes the turn's last step"
            assert action.until_seq > (state.cut.before_seq if state.cut is not None else 0)
            events.append(Asked(step=action.step, key="k", until_seq=action.until_seq))
            if not crashes and data.draw(st.booleans(), "given"):
                told = Cut(kind="summary", before_seq=action.until_seq, summary="s" * 100)
                events += [Answered(step=action.step, parts=(), finish="stop"), told]
            elif not crashes:
                events.append(_fails(state, action.step, now_ns))
        case Run():
            for attempt in action.attempts:
                calling = state.calls[attempt.call.id]
                assert calling.finished is None and attempt.call.id in state.pending
                before = calling.started
                if before is not None:
                    assert attempt.attempt == before.attempt + 1 and attempt.key == before.key
                    assert before.effect != "once" or attempt.approval, "silently twice"
                assert not attempt.approval or not state.approvals[attempt.approval].taken
                events.append(started(attempt.call.id, attempt.effect, attempt.attempt, attempt.approval))
                if not crashes:
                    events.append(finished(attempt.call.id, "r" * 2000, "ok", attempt.attempt))
        case End():
            assert action.reason != "failed" or not state.summarising or state.compact_seq, (
                "the turn ends because there is no summary"
            )
            events += [finished(close.call_id, close.text, close.outcome, close.attempt) for close in action.closes]
            events.append(Ended(reason=action.reason))
    return events


def _calls(state: State, step: int, now_ns: int) -> Event:
    parts = [call(f"s{step}a", "idempotent"), call(f"s{step}b"), call(f"s{step}c", "pure"), call(f"s{step}d", "none")]
    return Answered(step=step, parts=tuple(parts[step % 3 :]), finish="tool_calls")


def _words(state: State, step: int, now_ns: int) -> Event:
    return Answered(step=step, parts=(Text(text="x"),), finish="stop")


def _fails(state: State, step: int, now_ns: int) -> Event:
    return Failed(step=step, code="c", message="m", retry_at_ns=now_ns + SECOND if step % 2 else None)


ANSWERS = st.sampled_from((_calls, _calls, _words, _fails))
PEOPLE = st.sampled_from(("say", "cancel", "raise", "yes", "no", "late", "compact", "nothing", "nothing"))


def people(state: State, what: str) -> list[Event]:
    match what:
        case "say":
            return [Said(text="x")]
        case "cancel":
            return [Cancelled(by="ann")]
        case "raise":
            return [Raised(by="ann", budget=Budget(steps=30))]
        case "compact" if state.shown and not state.in_turn:
            return [Compacted(by="ann")]
        case "yes" | "no" if state.waiting:
            approval = state.waiting[0].question.approval
            return [Answer(approval=approval, approved=what == "yes", arguments_sha256=SHA, by="ann")]
    return []


@settings(max_examples=at_least(300), deadline=None)
@given(st.data(), st.sampled_from(("tell", "ask")), st.sampled_from(("summary", "window")))
def test_no_sequence_of_events_brings_about_what_must_not_be(
    data: st.DataObject, on_unknown: Any, compaction: Any
) -> None:
    state, now_ns = State(), T0
    budget = Budget(steps=data.draw(st.sampled_from((3, 30))))
    agent = created(on_unknown=on_unknown, budget=budget, context_tokens=1_000, compaction=compaction)
    first: list[Event] = [agent, Said(text="x")]
    after(state, first, now_ns)
    for _ in range(data.draw(st.integers(1, 40))):
        action = next_action(SESSION, state, now_ns, OFFERS)
        standing = state.standing()
        if isinstance(action, Wait):
            assert standing.status == ("idle" if action.until_ns is None else "waiting"), "the host would spin"
            assert standing.wake_at_ns == action.until_ns
        else:
            due = standing.status == "runnable" or (standing.wake_at_ns is not None and standing.wake_at_ns <= now_ns)
            # what became of a call behind one that waits for a person is written when somebody comes for that one
            held = isinstance(action, Settle) and not action.inquiries and not action.judges and bool(state.waiting)
            assert due or held, f"nobody would come: {action} {standing}"
        after(state, performed(state, action, data, now_ns), now_ns)
        after(state, people(state, data.draw(PEOPLE)), now_ns)
        now_ns += data.draw(st.sampled_from((0, SECOND, 6 * SECOND)))
    assert all(isinstance(one, Created) for one in (state.created,))
