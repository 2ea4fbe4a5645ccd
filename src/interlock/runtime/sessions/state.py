"""What a session's log says: the fold of its events into the state from which the next step is decided. Pure.

A state is made by folding all events in order; it is thrown away with the brain. `status` is what the store's index
keeps. It tolerates people's events anywhere: a message or a cancellation may stand between any two of the brain's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from interlock.runtime.sessions.agent import Agent, Budget
from interlock.runtime.sessions.event import (
    Answer,
    Answered,
    Asked,
    Call,
    Called,
    Cancelled,
    Compacted,
    Created,
    Cut,
    Decided,
    Ended,
    Event,
    Expired,
    Failed,
    Finished,
    Forked,
    HandsGone,
    Metered,
    Note,
    Part,
    Provisioned,
    Question,
    Raised,
    Said,
    Saved,
    Seen,
    Started,
    Woken,
)
from interlock.runtime.sessions.ports import Standing, Status

PEOPLES = (Created, Cancelled, Raised, Compacted, Said, Answer)
"""Events that are not a brain's."""


@dataclass(slots=True, kw_only=True)
class Asking:
    """A question to a person, and what became of it."""

    question: Question
    answer: Answer | None = None
    """The first; later ones are nothing."""
    answered_at_ns: int = 0
    expired: bool = False
    taken: bool = False
    """By a start; it cannot be taken again."""
    void: bool = False
    """It was asked in the session that this one was forked from."""

    @property
    def open(self) -> bool:
        """Nobody has answered, and it has not expired."""
        return self.answer is None and not self.expired and not self.void


@dataclass(slots=True, kw_only=True)
class Calling:
    """One tool call, from the model's words to its result."""

    call: Call
    decided: Decided | None = None
    asking: Asking | None = None
    started: Started | None = None
    """The last attempt."""
    finished: Finished | None = None


@dataclass(slots=True, kw_only=True)
class Entry:
    """A piece of the transcript, in order: what a person said, what the model said, or a call's result."""

    seq: int
    said: Said | None = None
    parts: tuple[Part, ...] = ()
    finish: str = ""
    """Why the model's words ended; empty: they are not the model's."""
    finished: Finished | None = None


@dataclass(slots=True, kw_only=True)
class State:
    """A session. `seq` is the last event folded in."""

    seq: int = 0
    at_ns: int = 0
    created: Created | None = None
    budget: Budget = field(default_factory=Budget)
    transcript: list[Entry] = field(default_factory=list)
    heard: int = 0
    """How many entries the last model call was shown: its answer stands before what came later."""
    cut: Cut | None = None
    """The last one: what the model is not shown any more."""
    reset_seq: int = 0
    """What a person took away: neither it nor a word of it is told again."""
    calls: dict[str, Calling] = field(default_factory=dict)
    """All of the session, by id; `pending` are those of the turn that are not finished."""
    pending: dict[str, Calling] = field(default_factory=dict)
    approvals: dict[str, Asking] = field(default_factory=dict)
    asked: Asked | None = None  # a model call without an answer: under way, or lost
    failed: Failed | None = None  # the last model call's failure, until another begins
    failures: int = 0  # model calls in a row that failed or were lost: for turns, or for a summary
    summarising: bool = False
    """The last model call was for a summary, and there is none yet."""
    compact_seq: int = 0
    """Not 0: a person asked for a summary of all up to this, and has said nothing since."""
    in_turn: bool = False
    """Somebody said something, or asked for a summary, that no `turn.ended` stands behind."""
    unheard: bool = False  # somebody said something since the last model call began
    cancelled: Cancelled | None = None  # asked for, and the turn not ended yet
    ended: Ended | None = None  # how the last turn ended
    cut_short: bool = False
    """The budget ended the last turn in which somebody spoke: raised, it goes on."""
    sandbox: str = ""
    workspace_made_at_ns: int = 0  # of the one that the last sandbox had; 0: nobody knows, or it is gone
    snapshot: str = ""  # of the workspace as it is now; empty: a call has started since, or nobody made one
    touched: bool = False  # a call has started, so that the workspace may hold something
    away: tuple[str, ...] = ()  # tool servers that do not answer, so that the model is not offered their tools
    heard_ids: dict[str, int] = field(default_factory=dict)  # where people's events with these ids stand
    epoch: int = 0
    steps: int = 0
    tokens: int = 0
    amount_nanousd: int = 0
    deployment: str = ""  # who answered last
    unpriced: int = 0  # answers, whole or broken off, whose amount was not told
    metered: set[str] = field(default_factory=set)  # attempts of a program's that are in `tokens` and the amount
    worked_ns: int = 0
    """Time that passed between events of one brain: no brain holds a session that waits, so waiting is not in it."""
    worked_from_ns: int = 0  # when a brain last wrote
    denials: int = 0  # in a row, since a person last answered or spoke

    @property
    def agent(self) -> Agent:
        """What it runs."""
        assert self.created is not None, "no session.created was folded in"
        return self.created.agent

    @property
    def shown(self) -> list[Entry]:
        """What the last cut has left in the view."""
        after = self.cut.before_seq if self.cut is not None else 0
        return [entry for entry in self.transcript if entry.seq > after]

    @property
    def waiting(self) -> list[Asking]:
        """Questions that are open."""
        return [c.asking for c in self.pending.values() if c.asking is not None and c.asking.open]

    def apply(self, seen: Seen) -> None:
        """Fold one event in. Raises: AssertionError: it is not the next one."""
        assert seen.seq == self.seq + 1, f"event {seen.seq} does not follow {self.seq}"
        self.seq, self.at_ns = seen.seq, seen.at_ns
        if not isinstance(seen.event, PEOPLES) and (self.in_turn or not isinstance(seen.event, Cut)):
            if self.worked_from_ns and not isinstance(seen.event, Woken):
                self.worked_ns += max(seen.at_ns - self.worked_from_ns, 0)
            self.worked_from_ns = seen.at_ns
        _FOLDS.get(type(seen.event), _nothing)(self, seen.event)

    def standing(self) -> Standing:
        """The index's row."""
        open_questions = self.waiting
        status: Status = "idle"
        wake_at_ns = None
        if self.in_turn:
            status = "runnable"
            if self._only_people() and self.asked is None and self.cancelled is None:
                status, wake_at_ns = "waiting", min(a.question.expires_at_ns for a in open_questions)
            elif self.failed is not None and self.failed.retry_at_ns is not None and self.cancelled is None:
                status, wake_at_ns = "waiting", self.failed.retry_at_ns
        return Standing(
            status=status,
            wake_at_ns=wake_at_ns,
            title=self.created.title if self.created else "",
            detail=self._detail(open_questions),
        )

    def _only_people(self) -> bool:
        """Calls run in the order in which the model asked for them: who waits for a person holds those behind."""
        front = next(iter(self.pending.values()), None)
        if front is None or front.asking is None or not front.asking.open:
            return False
        return all(calling.decided is not None for calling in self.pending.values())

    def _detail(self, open_questions: list[Asking]) -> str:
        if open_questions:
            return f"asks: {open_questions[0].question.tool}"
        if self.in_turn or self.ended is None:
            return ""
        return f"{self.ended.reason}: {self.ended.detail}" if self.ended.detail else self.ended.reason


def fold(events: Iterable[Seen], state: State | None = None) -> State:
    """All events into a state; `state`: goes on from there."""
    state = state or State()
    for seen in events:
        state.apply(seen)
    return state


def after(state: State, events: Iterable[Event], at_ns: int) -> None:
    """Fold in events that are about to be written behind the state's last."""
    for event in events:
        state.apply(Seen(seq=state.seq + 1, at_ns=at_ns, event=event))


def _created(state: State, event: Created) -> None:
    state.created, state.budget = event, event.agent.budget


def _forked(state: State, event: Forked) -> None:
    state.sandbox, state.asked, state.epoch, state.snapshot = "", None, 0, event.snapshot
    state.workspace_made_at_ns = 0
    for calling in state.pending.values():
        if calling.started is None:
            if calling.asking is not None:
                calling.asking.void = True
            calling.decided = calling.asking = None


def _said(state: State, event: Said) -> None:
    if event.id:
        state.heard_ids[event.id] = state.seq
    state.in_turn = state.unheard = True
    state.denials = state.compact_seq = 0
    state.transcript.append(Entry(seq=state.seq, said=event))


def _cancelled(state: State, event: Cancelled) -> None:
    if state.in_turn:
        state.cancelled = event


def _raised(state: State, event: Raised) -> None:
    if event.id:
        state.heard_ids[event.id] = state.seq
    state.budget = event.budget
    state.in_turn = state.in_turn or state.cut_short


def _compacted(state: State, event: Compacted) -> None:
    if not state.in_turn:
        state.in_turn, state.compact_seq = True, state.seq


def _woken(state: State, event: Woken) -> None:
    state.epoch = event.epoch


def _asked(state: State, event: Asked) -> None:
    summarising = event.until_seq > 0
    state.failures = state.failures + (state.asked is not None) if summarising == state.summarising else 0
    state.asked, state.failed, state.steps, state.summarising = event, None, event.step, summarising
    if not summarising:
        state.unheard, state.heard = False, len(state.transcript)


def _answered(state: State, event: Answered) -> None:
    summarising = state.summarising
    state.asked, state.failures, state.summarising = None, 0, False
    state.deployment = event.deployment
    _used(state, event)
    if summarising:
        return
    state.transcript.insert(state.heard, Entry(seq=state.seq, parts=event.parts, finish=event.finish))
    for part in event.parts:
        if isinstance(part, Call):
            state.calls[part.id] = state.pending[part.id] = Calling(call=part)


def _failed(state: State, event: Failed) -> None:
    state.asked, state.failed = None, event
    state.failures += 1
    _used(state, event)


def _called(state: State, event: Called) -> None:
    state.steps = event.step


def _metered(state: State, event: Metered) -> None:
    if event.attempt not in state.metered:
        state.metered.add(event.attempt)
        _used(state, event)


def _used(state: State, event: Answered | Failed | Metered) -> None:
    state.tokens += sum(event.usage.get(kind, 0) for kind in ("input", "output"))
    state.amount_nanousd += event.amount_nanousd or 0
    # A call that failed may have used nothing; an answer has used something, told or not.
    state.unpriced += event.amount_nanousd is None and (isinstance(event, Answered) or bool(event.usage))


def _decided(state: State, event: Decided) -> None:
    state.calls[event.call_id].decided = event
    if event.verdict == "deny":
        state.denials += 1


def _question(state: State, event: Question) -> None:
    asking = Asking(question=event)
    state.approvals[event.approval] = asking
    state.calls[event.call_id].asking = asking


def _answer(state: State, event: Answer) -> None:
    asking = state.approvals[event.approval]
    if asking.open:
        asking.answer, asking.answered_at_ns = event, state.at_ns
        state.denials = 0


def _expired(state: State, event: Expired) -> None:
    asking = state.approvals[event.approval]
    asking.expired = asking.expired or asking.answer is None


def _started(state: State, event: Started) -> None:
    state.calls[event.call_id].started = event
    state.touched, state.snapshot = True, ""
    if event.approval:
        state.approvals[event.approval].taken = True


def _finished(state: State, event: Finished) -> None:
    state.calls[event.call_id].finished = event
    state.pending.pop(event.call_id, None)
    state.transcript.append(Entry(seq=state.seq, finished=event))


def _cut(state: State, event: Cut) -> None:
    state.cut, state.reset_seq = event, event.before_seq if event.kind == "reset" else state.reset_seq


def _provisioned(state: State, event: Provisioned) -> None:
    state.sandbox, state.workspace_made_at_ns = event.sandbox, event.workspace_made_at_ns


def _saved(state: State, event: Saved) -> None:
    state.snapshot = event.snapshot


def _hands_gone(state: State, event: HandsGone) -> None:
    state.sandbox = ""
    if event.workspace:
        state.workspace_made_at_ns, state.snapshot = 0, ""


def _ended(state: State, event: Ended) -> None:
    state.ended, state.in_turn, state.cancelled, state.asked, state.failed = event, False, None, None, None
    state.cut_short = state.cut_short if state.compact_seq else event.reason == "budget"
    state.failures, state.summarising, state.compact_seq = 0, False, 0
    state.pending.clear()


def _noted(state: State, event: Note) -> None:
    if isinstance(away := event.data.get("away"), dict):
        state.away = tuple(sorted(away))


def _nothing(state: State, event: Event) -> None:
    """For people and proofs only."""


_FOLDS: dict[type, Callable[[State, Any], None]] = {
    Created: _created,
    Cancelled: _cancelled,
    Forked: _forked,
    Raised: _raised,
    Compacted: _compacted,
    Said: _said,
    Woken: _woken,
    Asked: _asked,
    Answered: _answered,
    Failed: _failed,
    Called: _called,
    Metered: _metered,
    Decided: _decided,
    Question: _question,
    Answer: _answer,
    Expired: _expired,
    Started: _started,
    Finished: _finished,
    Cut: _cut,
    Provisioned: _provisioned,
    Saved: _saved,
    HandsGone: _hands_gone,
    Ended: _ended,
    Note: _noted,
}
