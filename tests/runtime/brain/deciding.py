"""What tests of the next step say and ask."""

from typing import Any

from tests.runtime.brain.rig import OFFERS, SECOND, SESSION, T0, call, question

from interlock.runtime.brain.action import Action, Close, Settle
from interlock.runtime.brain.decide import call_key, next_action
from interlock.runtime.sessions.event import Decided, Finished, Started, Text, Verdict
from interlock.runtime.sessions.state import State

VERDICTS: tuple[Verdict, ...] = ("allow", "ask", "deny")
ONE, TWO = call("c1"), call("c2")
SHA = question(ONE).arguments_sha256


def decided(state: State, now_s: float = 0) -> Action:
    return next_action(SESSION, state, T0 + int(now_s * SECOND), OFFERS)


def finished(id: str, text: str = "r", outcome: Any = "ok", attempt: int = 1) -> Finished:
    return Finished(call_id=id, attempt=attempt, outcome=outcome, content=Text(text=text))


def started(id: str, effect: Any = "once", attempt: int = 1, approval: str = "") -> Started:
    return Started(call_id=id, attempt=attempt, key=call_key(SESSION, id), effect=effect, approval=approval)


def allowed(id: str) -> Decided:
    return Decided(call_id=id, verdict="allow", why="x")


def asks(id: str) -> Decided:
    return Decided(call_id=id, verdict="ask", why="x")


def closed(action: Action) -> Close:
    assert isinstance(action, Settle), action
    [close] = action.closes
    return close
