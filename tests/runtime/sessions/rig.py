"""A service on a store in memory, and a brain's events for tests."""

import asyncio
import functools
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from interlock.runtime.sessions.agent import Agent
from interlock.runtime.sessions.blobs import FileBlobs
from interlock.runtime.sessions.event import (
    Answered,
    Asked,
    Call,
    Decided,
    Ended,
    Event,
    Finished,
    Question,
    Started,
    Text,
)
from interlock.runtime.sessions.memory import MemoryStore
from interlock.runtime.sessions.ports import Row, Store, Wrote
from interlock.runtime.sessions.service import Sessions
from interlock.runtime.sessions.sqlite import SqliteStore
from interlock.runtime.sessions.state import State, after, fold
from interlock.testing.clock import ManualClock
from interlock.testing.loops import run

SECOND = 1_000_000_000
SHA = "a" * 64
OTHER = "b" * 64


class Rig:
    """What a test needs."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.clock = ManualClock()
        path = directory / "sessions.sqlite"
        self.store: Store = MemoryStore(self.clock) if kind == "memory" else SqliteStore(path, self.clock)
        self.blobs = FileBlobs(directory / "blobs")
        self.copies: list[tuple[str, str, str]] = []
        self.service = self.another()

    def another(self) -> Sessions:
        """As another process has it."""
        return Sessions(self.store, self.blobs, self.clock, self._copy)

    async def _copy(self, source: str, target: str, snapshot: str) -> None:
        self.copies.append((source, target, snapshot))

    async def create(self, say: str = "hello", tenant: str = "acme", **more: object) -> Row:
        """A session of Ann's."""
        return await self.service.create(tenant, "ann", "key_1", Agent(), say=say, **more)  # type: ignore[arg-type]  # passed on

    async def brain(self, session: str, *events: Event) -> State:
        """Events that a brain writes behind whatever stands; the state then."""
        state = fold(await self.store.events(session, limit=10**6))
        head = state.seq
        after(state, events, self.clock.now_ns())
        answer = await self.store.append(session, events, state.standing(), expect=head, at_ns=self.clock.now_ns())
        assert isinstance(answer, Wrote)
        return state

    def question(self, approval: str = "apr_1", call: str = "c1", expires_s: int = 60) -> Question:
        """A question about a call."""
        at_ns = self.clock.now_ns() + expires_s * SECOND
        return Question(approval=approval, call_id=call, tool="shell", arguments_sha256=SHA, expires_at_ns=at_ns)

    async def asks(self) -> str:
        """A session that waits for a person: six events."""
        session = (await self.create()).session
        await self.brain(session, *calls("c1"), Decided(call_id="c1", verdict="ask", why="default"), self.question())
        return session


def calls(*ids: str, step: int = 1) -> list[Event]:
    """The model asks for tools."""
    parts = tuple(Call(id=id, name="shell", arguments="{}") for id in ids)
    return [Asked(step=step, key=f"k{step}"), Answered(step=step, parts=parts, finish="tool_calls")]


def allowed(call: str) -> Decided:
    """No question is needed."""
    return Decided(call_id=call, verdict="allow", why="rule")


def started(call: str) -> Started:
    """An attempt."""
    return Started(call_id=call, attempt=1, key=f"key/{call}", effect="once")


def finished(call: str) -> Finished:
    """Its result."""
    return Finished(call_id=call, attempt=1, outcome="ok", content=Text(text="done"))


def ended() -> Ended:
    """The turn's end."""
    return Ended(reason="done")


def on(directory: Path, test: Callable[[Rig], Awaitable[None]]) -> None:
    """Run it on every loop and both stores, each with a rig of its own.

    In memory nothing comes between reading and writing; in SQLite appends wait for each other, and some are too late.
    """

    async def main(kind: str) -> None:
        rig = Rig(Path(tempfile.mkdtemp(dir=directory)), kind)
        try:
            async with asyncio.timeout(20):
                await test(rig)
        finally:
            await rig.store.close()

    for kind in ("memory", "sqlite"):
        run(functools.partial(main, kind))
