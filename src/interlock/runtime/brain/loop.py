"""The loop: takes a session's lease, folds its log, decides, acts, writes down what happened, until nothing is to do.

It holds no state of its own: whatever it knows is in the log, and a brain that is killed between any two of its
instructions is replaced by another that reads it. `at` is called with the name of each place where that is tested.

What is in flight is one thing at a time: a model call, or one run of tools. While it is, the log is watched for a
person's cancellation, which stops it at once. The lease is renewed beside it; a brain that loses it stops at once too.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from typing import Literal

from interlock.errors import HandsLost, InterlockError, RemoteError
from interlock.ids import new_id
from interlock.runtime.brain.action import Ask, Close, End, Inquire, Run, Settle, Summarise, Wait
from interlock.runtime.brain.arguments import arguments_sha256, read_arguments
from interlock.runtime.brain.asking import Asker
from interlock.runtime.brain.bridge import Bridge
from interlock.runtime.brain.decide import next_action
from interlock.runtime.brain.desk import Desk, LeaseLost
from interlock.runtime.brain.parts import Parts
from interlock.runtime.brain.running import Runner, lost
from interlock.runtime.brain.toolbox import Toolbox
from interlock.runtime.sessions.event import (
    Call,
    Decided,
    Ended,
    Event,
    Expired,
    Finished,
    HandsGone,
    Note,
    Question,
    Text,
    Verdict,
)
from interlock.runtime.sessions.ports import Lease

Stopped = Literal["busy", "rest", "lost", "draining"]
"""Why a brain let go: another holds the session; nothing is to be done now; another took it; this process is ending."""
_FIGURES = re.compile(r"\d+(\.\d+)?")
_log = logging.getLogger(__name__)


def _never() -> bool:
    return False


class Brain:
    """Works on one session at a time; a process has as many as it likes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(self, session: str, *, draining: Callable[[], bool] = _never) -> Stopped:
        """Work on the session until nothing is to be done, or `draining()` is true between two steps."""
        parts = self._parts
        lease = await parts.store.take(session, parts.owner, ttl_s=parts.lease_s)
        if lease is None:
            return "busy"
        turn = _Turn(parts, session, lease, draining)
        parts.rack.take(session)
        try:
            return await turn.run()
        except LeaseLost:
            await parts.rack.drop(session)  # another brain provisions its own: two never act on one workspace
            return "lost"
        finally:
            parts.rack.leave(session)


class _Turn:
    """One hold of a lease."""

    def __init__(self, parts: Parts, session: str, lease: Lease, draining: Callable[[], bool]) -> None:
        self._parts, self._session, self._draining = parts, session, draining
        self._desk = Desk(
            parts.store, session, lease, parts.clock, lease_s=parts.lease_s, at=parts.at, sleep=parts.sleep
        )
        self._box = Toolbox({})

    async def run(self) -> Stopped:
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._renew())
                stopped = await self._drive()
                renewing.cancel()
        except BaseExceptionGroup as failures:
            if failures.subgroup(LeaseLost) is not None:
                raise LeaseLost from failures
            raise
        self._parts.at("lease.released.before")
        await self._parts.store.release(self._desk.lease)
        return stopped

    async def _renew(self) -> None:
        """Hold the lease. If it cannot be renewed until shortly before it runs out, it counts as lost: stop in time."""
        parts, desk = self._parts, self._desk
        pause_s = parts.lease_s / 3
        while True:
            await parts.sleep(pause_s)
            try:
                renewed = await parts.store.renew(desk.lease, ttl_s=parts.lease_s)
            except InterlockError as error:
                _log.warning("the lease of %s could not be renewed: %s", self._session, error)
                if parts.clock.now_ns() > desk.lease.expires_at_ns - int(parts.lease_s / 6 * 1e9):
                    raise LeaseLost from error
                pause_s = parts.lease_s / 30
                continue
            if renewed is None:
                raise LeaseLost
            desk.lease, pause_s = renewed, parts.lease_s / 3

    async def _drive(self) -> Stopped:
        desk, parts = self._desk, self._parts
        await desk.open()
        if not desk.state.in_turn:
            return "rest"
        await self._unpack()
        if desk.state.agent.program:
            return await Bridge(parts, self._session, desk, self._draining).drive()
        while True:
            if self._draining() and await desk.flush("turn.settled"):
                return "draining"
            action = next_action(self._session, desk.state, parts.clock.now_ns(), self._box.offers)
            match action:
                case Settle():
                    await self._settle(action)
                case Ask():
                    await Asker(parts, self._session, desk).ask(action, self._box.offers)
                case Summarise():
                    await Asker(parts, self._session, desk).summarise(action)
                case Run():
                    await Runner(parts, self._session, desk, self._box).run(action)
                case End():
                    desk.plan(*map(_closed, action.closes), Ended(reason=action.reason, detail=action.detail))
                    if await desk.flush("turn.ended") and not desk.state.in_turn:
                        return "rest"
                case Wait():
                    if await desk.flush("turn.settled"):
                        return "rest"

    async def _unpack(self) -> None:
        """The session's tools, and what became of its sandbox."""
        parts, desk = self._parts, self._desk
        agent = desk.state.agent
        tools = {tool.name: tool for tool in parts.built_in if tool.name in agent.tools}
        missing, behind = "", frozenset[str]()
        away: Mapping[str, str] = {}
        if parts.door is not None:
            try:
                found = {tool.name: tool for tool in await parts.door.tools(self._session, desk.state)}
                tools, behind = found | tools, frozenset(found.keys() - tools.keys())
                away = parts.door.away(self._session)
            except RemoteError as error:
                missing = str(error)
                _log.warning("the tools behind the door cannot be listed for %s: %s", self._session, error)
                text = f"the tools behind the door cannot be had: {missing}"[:2000]
                if _timeless(text) not in (_timeless(note.text) for note in desk.notes[-8:]):
                    desk.fact(Note(text=text))
        self._box = Toolbox(tools, behind, missing, away)
        for note in (self._box.absences(desk.notes), self._box.changes(desk.notes)):
            if note is not None:
                desk.fact(note)
        held = parts.rack.held(self._session)
        if desk.state.sandbox and (held is None or held.id != desk.state.sandbox):
            desk.fact(HandsGone(sandbox=desk.state.sandbox, reason="it was put away, or died with its brain"))

    async def _settle(self, settle: Settle) -> None:
        desk = self._desk
        folds = desk.folds
        verdicts = [await self._judged(call) for call in settle.judges]
        if desk.folds != folds:  # somebody wrote meanwhile: what follows is to be decided again
            return
        events: list[Event] = [*map(_closed, settle.closes)]
        for approval in settle.expiries:
            events.append(Expired(approval=approval))
        for inquiry in settle.inquiries:
            events.append(self._question(inquiry))
        for call, (verdict, why) in zip(settle.judges, verdicts, strict=True):
            events.append(Decided(call_id=call.id, verdict=verdict, why=why))
        desk.plan(*events)

    async def _judged(self, call: Call) -> tuple[Verdict, str]:
        runner = Runner(self._parts, self._session, self._desk, self._box)
        tool, judge = self._box.tools[call.name], self._parts.judge
        why = ""
        for _ in range(2):
            try:
                return await judge.judge(self._desk.state, tool, read_arguments(call.arguments), runner.sandbox)
            except HandsLost as error:  # it died since it was last used: where paths lead is looked up in another
                removed = error.field == "workspace"
                # It goes with the verdict that tells it: if somebody wrote meanwhile, both are made anew.
                stage = self._desk.plan if removed else self._desk.fact
                stage(*lost(self._parts, self._session, self._desk, error))
                await self._parts.rack.drop(self._session)
                if removed:  # what the call is about is not there any more: the model is told that first
                    return "deny", f"{error.message}; the next call begins with an empty one"
                why = f"not judged: {error.message}"
        return "deny", why

    def _question(self, inquiry: Inquire) -> Question:
        now_ns, agent = self._parts.clock.now_ns(), self._desk.state.agent
        return Question(
            approval=new_id("apr", now_ns),
            call_id=inquiry.call.id,
            tool=inquiry.call.name,
            arguments_sha256=arguments_sha256(inquiry.call.arguments),
            expires_at_ns=now_ns + int(agent.approval_s * 1e9),
            why=inquiry.why,
        )


def _timeless(text: str) -> str:
    """A reason without the moment: when a server is tried again is nothing new."""
    return _FIGURES.sub("", text)


def _closed(close: Close) -> Finished:
    return Finished(call_id=close.call_id, attempt=close.attempt, outcome=close.outcome, content=Text(text=close.text))
