"""Runs of tools: started in the log before anything happens, finished in the log whatever happened.

What a tool gives back is kept even if the log has moved on meanwhile. Whatever goes wrong in a tool is a result of the
call, told to the model: a session does not end because of one. Only the loss of the lease, or of the process, leaves
a start without a finish.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from interlock.errors import HandsLost, InterlockError
from interlock.runtime.brain.action import Attempt, Outcome, Run
from interlock.runtime.brain.arguments import read_arguments
from interlock.runtime.brain.decide import wall_left_s
from interlock.runtime.brain.desk import Desk
from interlock.runtime.brain.feed import Delta
from interlock.runtime.brain.parts import Parts
from interlock.runtime.brain.toolbox import Toolbox
from interlock.runtime.brain.tools.ports import Done, Use
from interlock.runtime.brain.watching import cancel_on_word
from interlock.runtime.hands import Resources, Sandbox
from interlock.runtime.hands.ports import REMOVED
from interlock.runtime.sessions.event import (
    INLINE_BYTES_MAX,
    Blob,
    Finished,
    HandsGone,
    Note,
    Provisioned,
    Started,
    Text,
)

TIME_S_MAX = 3600.0
GRACE_S = 30.0
"""A tool that does not keep its time is stopped after so much more."""
HEAD_BYTES = 4096
"""Of a result that is kept beside the log."""
KEPT_BYTES = 16 * 1024
"""Of a cancelled tool's output."""
RESULT_BYTES_MAX = 16 << 20
_DELTA_BYTES_MAX = 16 * 1024
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Running(Use):
    """One attempt under way."""

    runner: "Runner"
    attempted: Attempt
    time_s: float
    output: bytearray = field(default_factory=bytearray)
    """The beginning of what it has put out so far."""

    def __post_init__(self) -> None:
        self.session, self.key = self.runner.session, self.attempted.key
        self.attempt = self.attempted.attempt
        self.resources = self.runner.desk.state.agent.resources

    session: str = ""
    key: str = ""
    attempt: int = 1
    resources: Resources = field(default_factory=Resources)

    async def sandbox(self) -> Sandbox:
        return await self.runner.sandbox()

    def emit(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        self.output += data[: KEPT_BYTES - len(self.output)]
        text = data[:_DELTA_BYTES_MAX].decode(errors="replace")
        delta = Delta(of=stream, text=text, call_id=self.attempted.call.id)
        self.runner.parts.feed.publish(self.session, delta)

    async def note(self, data: Mapping[str, Any]) -> None:
        note = Note(text=f"{self.attempted.call.name}: what it is about to do", data={"call": self.key, **data})
        await self.runner.desk.record("tool.noted", note)

    async def noted(self) -> Sequence[Mapping[str, Any]]:
        if self.attempt == 1:
            return ()
        return [note.data for note in self.runner.desk.notes if note.data.get("call") == self.key]

    async def blob(self, sha256: str) -> bytes | None:
        calls = self.runner.desk.state.calls.values()
        contents = (calling.finished.content for calling in calls if calling.finished is not None)
        if not any(isinstance(content, Blob) and content.sha256 == sha256 for content in contents):
            return None  # it may be another session's
        return await self.runner.parts.blobs.get(sha256)


class Runner:
    """Runs calls of one session."""

    def __init__(self, parts: Parts, session: str, desk: Desk, box: Toolbox) -> None:
        self.parts, self.session, self.desk = parts, session, desk
        self._box = box
        self._provisioning = asyncio.Lock()  # of two calls that need a sandbox at once one provisions it

    async def run(self, run: Run) -> None:
        """Run; the last result is staged as a fact, others are written as they come. Nothing happens if the log has
        moved on since the run was decided."""
        desk = self.desk
        desk.plan(*map(_started, run.attempts))
        if not await desk.flush("tool.started"):
            return
        left_s = wall_left_s(desk.state)
        time_s = TIME_S_MAX if left_s is None else min(TIME_S_MAX, left_s)
        async with asyncio.TaskGroup() as group:
            running = [_Running(runner=self, attempted=attempt, time_s=time_s) for attempt in run.attempts]
            tasks = {group.create_task(self._execute(one)): one for one in running}
            watching = group.create_task(
                cancel_on_word(self.parts.store, self.session, desk.head, list(tasks), self.parts.sleep)
            )
            waiting = set(tasks)
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                finished = [await self._finished(tasks[task], task) for task in done]
                if waiting:
                    await desk.record("tool.finished", *finished)
                else:
                    desk.fact(*finished)
            watching.cancel()

    async def sandbox(self) -> Sandbox:
        """The session's, provisioned if there is none.

        Raises: HandsUnavailable. HandsLost: of the field `workspace`, before it is written down: the workspace is
            another than the one that the session had last.
        """
        rack, at, created = self.parts.rack, self.parts.at, self.desk.state.created
        assert created is not None
        async with self._provisioning:
            held = rack.held(self.session)
            if held is None:
                at("hands.provision.before")
                held = await rack.provision(self.session, created)
                at("hands.provision.after")
            if self.desk.state.sandbox != held.id:
                made_at_ns = held.workspace_made_at_ns
                if self.desk.state.workspace_made_at_ns not in (0, made_at_ns):
                    raise HandsLost(REMOVED, field="workspace")
                provisioned = Provisioned(sandbox=held.id, hands=created.agent.hands, workspace_made_at_ns=made_at_ns)
                await self.desk.record("hands.provisioned", provisioned)
            return held

    async def _execute(self, running: _Running) -> Done:
        call = running.attempted.call
        tool = self._box.tools.get(call.name)
        if tool is None:
            return _error(f"The tool {call.name} is not there any more. {self._box.missing}")
        try:
            async with asyncio.timeout(running.time_s + GRACE_S):
                done = await tool.run(read_arguments(call.arguments), running)
        except TimeoutError:
            return Done(outcome="timed_out", content=bytes(running.output) + b"\n[it did not end in time]")
        except HandsLost as error:
            self.desk.fact(*lost(self.parts, self.session, self.desk, error))  # at once: who needs one gets another
            await self.parts.rack.drop(self.session)
            stays = "the workspace stays, and " if error.field != "workspace" else ""
            text = f"\n[the sandbox is gone ({error.message}); {stays}the next call gets another]"
            began = error.field != "workspace" or bool(running.output)
            outcome: Outcome = "unknown" if running.attempted.effect == "once" and began else "error"
            return Done(outcome=outcome, content=bytes(running.output) + text.encode(errors="replace"))
        except InterlockError as error:
            return _error(error.message)
        except Exception:  # a defect of a tool's costs its call, not the session
            _log.exception("the tool %s of %s failed", call.name, self.session)
            return _error("The tool failed by a defect of its own.")
        return done

    async def _finished(self, running: _Running, task: "asyncio.Task[Done]") -> Finished:
        if task.cancelled():
            done = Done(outcome="cancelled", content=bytes(running.output) + b"\n[cancelled by a person]")
        else:
            done = task.result()
        self.parts.at("tool.ran.after")
        told_of_hands(self.parts, self.session, self.desk)
        return Finished(
            call_id=running.attempted.call.id,
            attempt=running.attempt,
            outcome=done.outcome,
            content=await self._kept(done.content),
        )

    async def _kept(self, content: bytes) -> Text | Blob:
        """Short content as it is; longer content beside the log."""
        if len(content) <= INLINE_BYTES_MAX:
            return Text(text=content.decode(errors="replace"))
        if len(content) > RESULT_BYTES_MAX:
            rest = f"\n[{len(content) - RESULT_BYTES_MAX} more bytes were thrown away]"
            content = content[:RESULT_BYTES_MAX] + rest.encode()
        self.parts.at("blob.put.before")
        try:
            sha256 = await self.parts.blobs.put(content)
        except InterlockError as error:
            cut = content[:INLINE_BYTES_MAX].decode(errors="replace")
            return Text(text=f"{cut}\n[the other {len(content) - INLINE_BYTES_MAX} bytes could not be kept: {error}]")
        self.parts.at("blob.put.after")
        return Blob(sha256=sha256, bytes=len(content), head=content[:HEAD_BYTES].decode(errors="replace"))


def lost(parts: Parts, session: str, desk: Desk, error: HandsLost) -> list[HandsGone]:
    """What is to be written of a sandbox that is lost, before it is put away; nothing if that is written already."""
    held = parts.rack.held(session)
    sandbox = desk.state.sandbox or (held.id if held is not None else "")
    return [HandsGone(sandbox=sandbox, reason=error.message, workspace=error.field == "workspace")] if sandbox else []


def told_of_hands(parts: Parts, session: str, desk: Desk) -> None:
    """Stage what happened to the session's hands besides: whom they connected to, and that they died."""
    desk.fact(*parts.rack.told(session))
    if desk.state.sandbox and parts.rack.held(session) is None:
        desk.fact(HandsGone(sandbox=desk.state.sandbox, reason="it died under a command"))


def _started(attempt: Attempt) -> Started:
    return Started(
        call_id=attempt.call.id,
        attempt=attempt.attempt,
        key=attempt.key,
        effect=attempt.effect,
        approval=attempt.approval,
    )


def _error(text: str) -> Done:
    return Done(outcome="error", content=text.encode(errors="replace"))
