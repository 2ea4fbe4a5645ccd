"""What a session's log says is to be done next. Pure: the same state, time and tools give the same action.

It is asked only when nothing of the session is in flight, by a brain that holds its lease. So a model call without an
answer, or a start without a finish, is what a crash has left behind: the first is asked again, the second is treated
by its declared effect. A call goes through the stages of `_stage`; calls run in
the order in which the model asked for them, and one that waits for a person holds those behind it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Literal

import msgspec

from interlock.runtime.brain.action import (
    Action,
    Ask,
    Attempt,
    Close,
    End,
    Inquire,
    Outcome,
    Run,
    Settle,
    Summarise,
    Wait,
)
from interlock.runtime.brain.arguments import arguments_sha256, canonical_json
from interlock.runtime.brain.context import estimate, fitting, summary_tokens_max
from interlock.runtime.brain.offer import Offers, why_invalid
from interlock.runtime.brain.summary import cut_tokens, output_tokens_max, request
from interlock.runtime.sessions.event import Call, Cut, Finished, Text
from interlock.runtime.sessions.state import Asking, Calling, State
from interlock.units import usd

ATTEMPTS_MAX = 5
"""At one call. A call that has killed so many brains will kill the next one too."""
FAILURES_MAX = 8
"""Model calls in a row that failed or were lost."""
PARALLEL_MAX = 8
SAME_MAX = 3
"""Results in a row that were the same for the same call: the next one is not run."""
INVALID_MAX = 10
"""Calls in a row that were none: broken arguments, unknown tools."""
CALLS_MAX = 64
"""Of one answer; the others are refused."""
CIRCUIT = (
    f"Not run: this exact call has just given the same result {SAME_MAX} times in a row. "
    "Do something else; if you make it again, the turn ends."
)
UNKNOWN = (
    "Unknown outcome: the call had begun when its worker died. It may have had its effect, wholly or in part, or none. "
    "It was not run again. Look at what is there before you go on."
)
_GIVEN_UP = f"Given up: {ATTEMPTS_MAX} attempts at this call ended in the death of their worker."
_EXPIRED = "Nobody answered in time whether this may be done. That is not a refusal; it was not run."
_CANCELLED = "Cancelled before it was run."
_OTHER_ARGUMENTS = "Not run: the approval was given for other arguments."


def next_action(session: str, state: State, now_ns: int, offers: Offers) -> Action:
    """The next step of a session of which nothing is in flight."""
    if not state.in_turn:
        return Wait()
    if state.cancelled is not None:
        return End(reason="cancelled", detail=state.cancelled.reason, closes=_closes(state))
    if state.pending:
        return _calls(session, state, now_ns, offers)
    if state.failed is not None and not _failed_over(state, now_ns):
        assert state.failed.retry_at_ns is not None
        return Wait(until_ns=state.failed.retry_at_ns)
    return _model(state, offers)


def over_budget(state: State) -> str:
    """Which limit of the session's budget is reached; empty: none."""
    budget = state.budget
    if budget.steps is not None and state.steps >= budget.steps:
        return f"{budget.steps} steps"
    if budget.tokens is not None and state.tokens >= budget.tokens:
        return f"{budget.tokens} tokens"
    if budget.amount_nanousd is not None and state.amount_nanousd >= budget.amount_nanousd:
        return f"{usd(budget.amount_nanousd)} USD"
    if budget.amount_nanousd is not None and state.unpriced:
        return "money is limited, and the price of a model call is not known"
    if budget.wall_s is not None and state.worked_ns >= budget.wall_s * 1e9:
        return f"{budget.wall_s:g} s of work"
    return ""


def wall_left_s(state: State) -> float | None:
    """Seconds that brains may still work on it; None: not bounded."""
    if state.budget.wall_s is None:
        return None
    return max(state.budget.wall_s - state.worked_ns / 1e9, 0.0)


def call_key(session: str, call_id: str) -> str:
    """The idempotency key of a call: the same for every attempt, and for nothing else."""
    return "ilk-" + hashlib.sha256(f"{session}\0{call_id}".encode(errors="surrogatepass")).hexdigest()[:40]


# The model


def _failed_over(state: State, now_ns: int) -> bool:
    assert state.failed is not None
    return state.failed.retry_at_ns is None or now_ns >= state.failed.retry_at_ns


def _model(state: State, offers: Offers) -> Action:
    if state.compact_seq:
        return _compaction(state)
    failed, decides = state.failed, not state.unheard and not state.summarising
    if failed is not None and failed.retry_at_ns is None and decides:
        limit = over_budget(state)
        if limit:
            return End(reason="budget", detail=limit)
        return End(reason="failed", detail=f"{failed.code}: {failed.message}"[:500])
    if state.failures >= FAILURES_MAX and decides:
        return End(reason="failed", detail=f"{state.failures} model calls in a row failed or were lost")
    last = state.transcript[-1] if state.transcript else None
    retried = failed is not None or state.asked is not None
    if last is not None and last.parts and not state.unheard and not retried and last.finish != "pause":
        return End(reason="done", detail="" if last.finish in ("stop", "stop_sequence") else last.finish)
    if last is not None and last.finish and not last.parts and not state.unheard and not retried:
        return End(reason="done", detail="the model said nothing")
    if _nonsense(state):
        return End(reason="circuit", detail=f"{INVALID_MAX} calls in a row were none")
    limit = over_budget(state)
    if limit:
        return End(reason="budget", detail=limit)
    step, cut = state.steps + 1, fitting(state, offers)
    if cut is not None and state.agent.compaction == "summary":
        why = _why_no_summary(state, cut)
        if not why:
            return Summarise(step=step, until_seq=cut.before_seq)
        cut = msgspec.structs.replace(cut, why=why)
    return Ask(step=step, cut=cut)


def _compaction(state: State) -> Action:
    """A person asked for a summary and nothing else."""
    if not state.shown:
        return End(reason="done")
    limit = over_budget(state)
    why = _given_up(state) or (f"the budget is used up ({limit})" if limit else "")
    if why:
        return End(reason="failed", detail=f"no summary: {why}"[:500])
    return Summarise(step=state.steps + 1, until_seq=state.compact_seq)


def _given_up(state: State) -> str:
    """Why the summary that was asked for will not come; empty: it may."""
    failed = state.failed
    if state.summarising and failed is not None and failed.retry_at_ns is None:
        return f"{failed.code}: {failed.message}"[:500]
    if state.summarising and state.failures >= FAILURES_MAX:
        return f"{state.failures} attempts at a summary failed or were lost"
    return ""


def _why_no_summary(state: State, cut: Cut) -> str:
    """Why what is cut is not summed up first; empty: it is. A summary that failed ends no turn."""
    budget = state.budget
    if why := _given_up(state):
        return why
    if budget.steps is not None and state.steps + 2 > budget.steps:
        return "the budget leaves no step for it"
    if cut_tokens(state, cut.before_seq) <= summary_tokens_max(state.agent.context_tokens):
        return "what is cut is not longer than a summary may be"
    if budget.tokens is not None:
        needed = estimate(request(state, cut.before_seq)) + output_tokens_max(state.agent)
        if state.tokens + needed >= budget.tokens:
            return "the budget leaves no tokens for it"
    return ""


# Tool calls

_Stage = Close | Inquire | Attempt | Literal["judge", "waits", "expires"]
"""Where a call stands: its result is known; a person is to be asked; it may run; or as it says."""


def _calls(session: str, state: State, now_ns: int, offers: Offers) -> Action:
    stages = [(c, _stage(session, state, c, n, now_ns, offers)) for n, c in enumerate(state.pending.values())]
    settle = Settle(
        closes=tuple(stage for _, stage in stages if isinstance(stage, Close)),
        judges=tuple(calling.call for calling, stage in stages if stage == "judge"),
        inquiries=tuple(stage for _, stage in stages if isinstance(stage, Inquire)),
        expiries=tuple(c.asking.question.approval for c, stage in stages if stage == "expires" and c.asking),
    )
    if settle != Settle():
        return settle
    ready: list[Attempt] = []
    for _, stage in stages:
        if not isinstance(stage, Attempt) or (ready and stage.effect != "pure") or len(ready) == PARALLEL_MAX:
            break
        ready.append(stage)
        if stage.effect != "pure":
            break
    if not ready:
        return Wait(until_ns=min(asking.question.expires_at_ns for asking in state.waiting))
    return _run(state, ready)


def _run(state: State, ready: list[Attempt]) -> Action:
    """Run them, unless the clock or the circuit is against it."""
    if wall_left_s(state) == 0.0:
        return End(reason="budget", detail=over_budget(state), closes=_closes(state))
    for attempt in ready:
        if attempt.attempt == 1:
            broken = _circuit(state, attempt.call)
            if broken == "end":
                detail = f"{attempt.call.name} was called again and again with the same arguments and the same result"
                return End(reason="circuit", detail=detail, closes=_closes(state))
            if broken == "note":
                return Settle(closes=(Close(call_id=attempt.call.id, attempt=0, outcome="invalid", text=CIRCUIT),))
    return Run(attempts=tuple(ready))


def _circuit(state: State, call: Call) -> Literal["", "note", "end"]:
    """Whether the same call was made too often in a row, with the same result each time."""
    mine = _fingerprint(call)
    results = []
    for finished in _finished_in_turn(state):
        if _fingerprint(state.calls[finished.call_id].call) != mine:
            break
        if finished.outcome == "invalid" and finished.content == Text(text=CIRCUIT):
            return "end"
        results.append((finished.outcome, finished.content))
        if len(results) == SAME_MAX:
            return "note" if all(result == results[0] for result in results) else ""
    return ""


def _fingerprint(call: Call) -> tuple[str, bytes]:
    return call.name, canonical_json(call.arguments)


def _finished_in_turn(state: State) -> Iterator[Finished]:
    """Results since somebody last said something, the last one first."""
    for entry in reversed(state.transcript):
        if entry.said is not None:
            return
        if entry.finished is not None:
            yield entry.finished


def _nonsense(state: State) -> bool:
    last = list(islice(_finished_in_turn(state), INVALID_MAX))
    return len(last) == INVALID_MAX and all(finished.outcome == "invalid" for finished in last)


def _stage(session: str, state: State, calling: Calling, number: int, now_ns: int, offers: Offers) -> _Stage:
    """`number`: its place among the calls that are not finished."""
    call, asking = calling.call, calling.asking
    if calling.started is not None:
        return _left_over(state, calling, now_ns)
    if calling.decided is None:
        wrong = why_invalid(call, offers)
        if number >= CALLS_MAX:
            wrong = f"An answer may hold {CALLS_MAX} calls."
        return _close(calling, "invalid", wrong) if wrong else "judge"
    if calling.decided.verdict == "deny":
        return _close(calling, "denied", f"Not allowed: {calling.decided.why}")
    if calling.decided.verdict == "ask":
        if asking is None:
            return Inquire(call=call, why=calling.decided.why)
        word = _word(asking, call, now_ns)
        if word == "refused":
            note = f" They say: {asking.answer.note}" if asking.answer and asking.answer.note else ""
            return _close(calling, "denied", f"A person refused this.{note}")
        if word == "other":
            return _close(calling, "denied", _OTHER_ARGUMENTS)
        if word == "expired":
            return _close(calling, "expired", _EXPIRED)
        if word != "approved":
            return word
    offer = offers.get(call.name)
    if offer is None:  # it was there when permission was asked for
        return _close(calling, "invalid", f"The tool {call.name!r} is not there any more.")
    approval = asking.question.approval if asking is not None else ""
    key = call_key(session, call.id)
    return Attempt(call=call, attempt=1, key=key, effect=offer.effect, approval=approval)


def _word(
    asking: Asking, call: Call, now_ns: int
) -> Literal["approved", "refused", "other", "expired", "waits", "expires"]:
    """What came of a question. An answer that came too late or is for other arguments is no approval."""
    question, answer = asking.question, asking.answer
    if asking.expired:
        return "expired"
    if answer is None:
        return "expires" if now_ns >= question.expires_at_ns else "waits"
    if asking.answered_at_ns > question.expires_at_ns:
        return "expired"
    if not answer.approved:
        return "refused"
    same = answer.arguments_sha256 == question.arguments_sha256 == arguments_sha256(call.arguments)
    return "approved" if same and not asking.taken else "other"


def _left_over(state: State, calling: Calling, now_ns: int) -> _Stage:
    """A start without a finish: the brain that started it is dead, and what it did is not known."""
    started, asking, call = calling.started, calling.asking, calling.call
    assert started is not None
    if started.attempt >= ATTEMPTS_MAX:
        return _close(calling, "unknown" if started.effect == "once" else "error", _GIVEN_UP)
    again = Attempt(call=call, attempt=started.attempt + 1, key=started.key, effect=started.effect)
    if started.effect != "once":
        return again
    if state.agent.on_unknown == "tell":
        return _close(calling, "unknown", UNKNOWN)
    if asking is None or asking.taken or asking.void:
        return Inquire(call=call, why="it had begun when its worker died: may it be run again?", again=True)
    word = _word(asking, call, now_ns)
    if word in ("waits", "expires"):
        return word
    if word == "approved":
        return replace(again, approval=asking.question.approval)
    return _close(calling, "unknown", UNKNOWN)


def _close(calling: Calling, outcome: Outcome, text: str) -> Close:
    attempt = calling.started.attempt if calling.started is not None else 0
    return Close(call_id=calling.call.id, attempt=attempt, outcome=outcome, text=text)


def _closes(state: State) -> tuple[Close, ...]:
    """Results for all that will not run: the turn ends."""
    return tuple(
        _close(calling, "unknown", UNKNOWN)
        if calling.started is not None and calling.started.effect == "once"
        else _close(calling, "cancelled", _CANCELLED)
        for calling in state.pending.values()
    )
