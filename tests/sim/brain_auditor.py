"""What must be true of a run, read from the log and from what really happened. It shares no code with the brain's
decisions but the event types."""

import hashlib
from collections import Counter
from itertools import pairwise

import msgspec
from tests.sim.brain import World

from interlock.runtime.sessions.event import (
    Answer,
    Answered,
    Call,
    Cancelled,
    Compacted,
    Created,
    Cut,
    Decided,
    Ended,
    Expired,
    Failed,
    Finished,
    Question,
    Raised,
    Said,
    Seen,
    Started,
    Woken,
)
from interlock.runtime.sessions.event import Asked as AskedEvent
from interlock.runtime.sessions.state import State, fold


async def audit(world: World) -> None:
    """Raises: AssertionError: a promise was broken; the message says which."""
    assert not world.violations, world.violations[0]
    for session in world.sessions:
        log = await world.store.events(session, limit=1_000_000)
        row = await world.store.row(session)
        state = fold(log)
        assert row is not None and row.standing == state.standing(), "the index says something else than the log"
        assert log == await world.store.events(session, limit=1_000_000)
        _steps(world, session, log, state)
        _calls(world, session, log)
        _approvals(log)
        _effects(world, session, log)
        _cancelled(log)
        _budgets(log)
        _cuts(world, session, log)


def _steps(world: World, session: str, log: list[Seen], state: State) -> None:
    epochs = [seen.event.epoch for seen in log if isinstance(seen.event, Woken)]
    assert epochs == sorted(set(epochs)), "a brain wrote under an older lease"
    steps = [seen.event.step for seen in log if isinstance(seen.event, AskedEvent)]
    assert steps == list(range(1, len(steps) + 1)), "steps are not 1, 2, …"
    answers = Counter(seen.event.step for seen in log if isinstance(seen.event, Answered | Failed))
    assert all(count == 1 for count in answers.values()) and answers.keys() <= set(steps), "a step answered twice"
    asked = [one for one in world.asked if one.session == session]
    assert all(count == 1 for count in Counter(one.key for one in asked).values()), "a recorded model call was repeated"
    for one in asked:
        begun = [seen.seq for seen in log if isinstance(seen.event, AskedEvent) and seen.event.key == one.key]
        assert len(begun) == 1 and begun[0] <= one.head, "a model was asked before that was written down"


def _calls(world: World, session: str, log: list[Seen]) -> None:
    made: dict[str, Call] = {}
    finished: set[str] = set()
    started: dict[str, int] = {}
    for seen in log:
        event = seen.event
        if isinstance(event, Answered):
            for part in event.parts:
                if isinstance(part, Call):
                    assert part.id not in made, "two calls of one id"
                    made[part.id] = part
        elif isinstance(event, Started):
            assert event.call_id in made and event.call_id not in finished, "a finished call was started again"
            assert event.attempt == started.get(event.call_id, 0) + 1, "attempts are not 1, 2, …"
            started[event.call_id] = event.attempt
        elif isinstance(event, Finished):
            assert event.call_id in made and event.call_id not in finished, "a call finished twice"
            assert event.attempt == started.get(event.call_id, 0), "a result of another attempt"
            assert event.attempt or event.outcome not in ("ok", "error", "timed_out", "unknown")
            finished.add(event.call_id)
        elif isinstance(event, Ended):
            assert made.keys() == finished, "a turn ended and left calls without results"


def _approvals(log: list[Seen]) -> None:
    """A start that needed a person's word took one that was given in time, for these arguments and nothing else."""
    calls: dict[str, Call] = {}
    verdicts: dict[str, str] = {}
    questions: dict[str, Question] = {}
    good: set[str] = set()
    closed: set[str] = set()
    for seen in log:
        event = seen.event
        if isinstance(event, Answered):
            calls |= {part.id: part for part in event.parts if isinstance(part, Call)}
        elif isinstance(event, Decided):
            verdicts[event.call_id] = event.verdict
        elif isinstance(event, Question):
            questions[event.approval] = event
        elif isinstance(event, Expired):
            closed.add(event.approval)
        elif isinstance(event, Answer) and event.approval not in closed:
            closed.add(event.approval)
            question = questions[event.approval]
            bound = _sha256(calls[question.call_id].arguments)
            in_time = seen.at_ns <= question.expires_at_ns
            if event.approved and in_time and event.arguments_sha256 == question.arguments_sha256 == bound:
                good.add(event.approval)
        elif isinstance(event, Started):
            verdict = verdicts.get(event.call_id)
            assert verdict in ("allow", "ask"), "a call ran that was not decided, or denied"
            if event.approval:
                assert event.approval in good, "an approval was used that was not given, late, or for other arguments"
                assert questions[event.approval].call_id == event.call_id, "an approval of another call"
                good.discard(event.approval)
            else:
                assert verdict == "allow" or event.attempt > 1, "a call ran without the approval that it needs"
            if event.attempt > 1 and event.effect == "once":
                assert event.approval, "a once-only call ran again without anybody's word"


def _sha256(arguments: str) -> str:
    document = msgspec.json.decode(arguments) if arguments.strip() else {}
    return hashlib.sha256(msgspec.json.encode(document, order="sorted")).hexdigest()


def _effects(world: World, session: str, log: list[Seen]) -> None:
    starts = {(seen.event.key, seen.event.attempt): seen for seen in log if isinstance(seen.event, Started)}
    key_of = {seen.event.call_id: seen.event.key for seen in log if isinstance(seen.event, Started)}
    assert len(set(key_of.values())) == len(key_of), "two calls of one key"
    for seen in log:
        if isinstance(seen.event, Started):
            assert seen.event.key == key_of[seen.event.call_id], "another attempt had another key"
    ends = {
        key_of[seen.event.call_id]: seen.seq for seen in log if isinstance(seen.event, Finished) and seen.event.attempt
    }
    mine = [effect for effect in world.effects if effect.session == session]
    for effect in mine:
        start = starts.get((effect.key, effect.attempt))
        assert start is not None and start.seq <= effect.head, "an effect before its start was written down"
        assert effect.head < ends.get(effect.key, effect.head + 1), "an effect of a call whose result stood already"
    written = {
        (key_of[seen.event.call_id], seen.event.attempt): seen.event.outcome
        for seen in log
        if isinstance(seen.event, Finished) and seen.event.attempt
    }
    for back in world.returned:
        if back.session == session and back.owner not in world.dead:
            outcome = written.get((back.key, back.attempt))
            assert outcome not in (None, "unknown"), "a result was lost although nobody died"
    for (key, attempt), count in Counter((effect.key, effect.attempt) for effect in mine).items():
        assert count == 1, f"attempt {attempt} of {key} had its effect {count} times"
    words = Counter(
        seen.event.key
        for seen in log
        if isinstance(seen.event, Started) and seen.event.attempt > 1 and seen.event.approval
    )
    for key, count in Counter(effect.key for effect in mine if effect.effect == "once").items():
        assert count <= 1 + words[key], "a once-only effect happened twice"


def _cancelled(log: list[Seen]) -> None:
    """Behind a cancellation nothing begins until somebody says something after the turn has ended."""
    in_turn = cancelled = budget_ended = False
    for seen in log:
        event = seen.event
        if isinstance(event, Said | Compacted):
            in_turn = True
        elif isinstance(event, Cancelled):
            cancelled = cancelled or in_turn
        elif isinstance(event, Ended):
            in_turn, cancelled, budget_ended = False, False, event.reason == "budget"
        elif isinstance(event, Raised):
            in_turn = in_turn or budget_ended
        elif isinstance(event, Started | AskedEvent):
            assert not cancelled, "something began behind a cancellation"


def _budgets(log: list[Seen]) -> None:
    budget, steps, tokens, amount = None, 0, 0, 0
    for seen in log:
        event = seen.event
        if seen.seq == 1:
            budget = event.agent.budget  # type: ignore[union-attr]  # the first is session.created
        elif isinstance(event, Raised):
            budget = event.budget
        assert budget is not None
        if isinstance(event, AskedEvent):
            assert budget.steps is None or steps < budget.steps, "more steps than the budget"
            assert budget.tokens is None or tokens < budget.tokens, "asked although the tokens were used up"
            assert budget.amount_nanousd is None or amount < budget.amount_nanousd, "asked although the money was spent"
            steps += 1
        elif isinstance(event, Answered | Failed):
            tokens += event.usage.get("input", 0) + event.usage.get("output", 0)
            amount += event.amount_nanousd or 0


def _cuts(world: World, session: str, log: list[Seen]) -> None:
    """Each cut goes further than the one before; a summary is what the model said of exactly what it stands for."""
    created = log[0].event
    assert isinstance(created, Created)
    compaction = created.agent.compaction
    asked = AskedEvent(step=0, key="")
    cut_seq, failed, wanted = 0, False, 0
    for before, seen in pairwise(log):
        last, event, seq = before.event, seen.event, seen.seq
        if isinstance(last, Answered) and asked.until_seq:
            assert isinstance(event, Cut) and event.kind == "summary", "a summary was paid for and not kept"
        if isinstance(event, AskedEvent):
            assert event.cut_seq == cut_seq, "the model is shown more or less than is written down"
            assert not (event.until_seq and failed), "a summary was asked for again that will not come"
            assert not event.until_seq or (compaction == "summary" and cut_seq < event.until_seq < seq) or wanted
            assert not wanted or event.until_seq == wanted, "more was done than the summary that was asked for"
            asked, failed = event, False
        elif isinstance(event, Failed):
            failed = asked.until_seq > 0 and event.retry_at_ns is None
        elif isinstance(event, Ended):
            assert event.reason != "failed" or not asked.until_seq or wanted, "a turn ended for want of a summary"
            failed, wanted = False, 0
        elif isinstance(event, Compacted):
            wanted = seq
        elif isinstance(event, Said):
            wanted = 0
        elif isinstance(event, Cut):
            assert cut_seq < event.before_seq < seq, "a cut that cuts nothing more"
            if event.kind == "summary":
                assert isinstance(last, Answered) and last.step == asked.step, "a summary without its step"
                assert event.before_seq == asked.until_seq, "more or less was cut than was summed up"
                assert event.summary == world.summaries.get(asked.key), "a summary that the model did not give"
            else:
                assert bool(event.why) == (compaction == "summary"), "no summary, and nobody is told why"
            cut_seq = event.before_seq
    summed = {one.key: one.summed for one in world.asked if one.session == session}
    for seen in log:
        event = seen.event
        if isinstance(event, AskedEvent) and (text := summed.get(event.key)):
            _summed(log, event, text)


def _summed(log: list[Seen], asked: AskedEvent, text: str) -> None:
    """What people said is in it, from the last cut up to the one to come, unless it is told that some is left out."""
    for seen in log:
        if isinstance(seen.event, Said) and seen.event.text.startswith("say "):
            stands = seen.event.text in text
            if seen.seq > asked.until_seq:
                assert not stands, "what is not to be cut was summed up"
            elif seen.seq > asked.cut_seq:
                assert stands or "are left out here" in text, "cut, and neither summed up nor told to be left out"
