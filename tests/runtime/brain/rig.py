"""Pieces of sessions for tests: states made of events, offers, and a brain's parts over memory."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from tests.sim.brain_parts import Blobs

from interlock.gateway.translate import neutral
from interlock.runtime.brain.arguments import arguments_sha256
from interlock.runtime.brain.feed import Feed
from interlock.runtime.brain.loop import Brain
from interlock.runtime.brain.model import Reply, Request
from interlock.runtime.brain.offer import Offer
from interlock.runtime.brain.parts import Parts
from interlock.runtime.brain.rack import Rack
from interlock.runtime.brain.tools.ports import Done, Tool, Use
from interlock.runtime.brain.wires import Broke, Heard
from interlock.runtime.hands import Sandbox
from interlock.runtime.sessions.agent import Agent
from interlock.runtime.sessions.event import (
    Answered,
    Asked,
    Call,
    Created,
    Effect,
    Event,
    Part,
    Question,
    Said,
    Seen,
    Text,
    Verdict,
    Woken,
)
from interlock.runtime.sessions.memory import MemoryStore
from interlock.runtime.sessions.ports import Store, Wrote
from interlock.runtime.sessions.state import State, after, fold
from interlock.testing.clock import ManualClock

SECOND = 1_000_000_000
T0 = 1_700_000_000_000_000_000
SESSION = "ses_1"


def created(**agent: Any) -> Created:
    """The first event."""
    return Created(tenant="t", principal="p", key_id="k", agent=Agent(**agent), workspace="wsp_1")


def folded(*events: Event | float) -> State:
    """The state behind these events; a number is so many seconds that pass."""
    state, now_ns = State(), T0
    for event in events:
        if isinstance(event, int | float):
            now_ns += int(event * SECOND)
        else:
            state.apply(Seen(seq=state.seq + 1, at_ns=now_ns, event=event))
    return state


def begun(*events: Event | float, **agent: Any) -> State:
    """A session in which somebody has said something, a brain woken up, and then these."""
    return folded(created(**agent), Said(text="do it"), Woken(owner="o", epoch=1), *events)


def call(id: str, name: str = "once", arguments: str = "{}") -> Call:
    """A tool call."""
    return Call(id=id, name=name, arguments=arguments)


def answered(*parts: Part, step: int = 1, **more: Any) -> list[Event]:
    """A model call and its answer."""
    finish = "tool_calls" if any(isinstance(part, Call) for part in parts) else "stop"
    return [
        Asked(step=step, key=f"k{step}"),
        Answered(step=step, parts=parts, finish=more.pop("finish", finish), **more),
    ]


def question(of: Call, approval: str = "a1", expires_s: float = 60) -> Question:
    """A question about a call."""
    sha256 = arguments_sha256(of.arguments)
    expires_at_ns = T0 + int(expires_s * SECOND)
    return Question(
        approval=approval, call_id=of.id, tool=of.name, arguments_sha256=sha256, expires_at_ns=expires_at_ns
    )


OFFERS = {
    name: Offer(name=name, description="a tool", effect=effect)  # type: ignore[arg-type]  # names are effects
    for name, effect in (("pure", "pure"), ("other", "pure"), ("idempotent", "idempotent"), ("once", "once"))
}


Run = Callable[[dict[str, Any], Use], Awaitable[Done]]


class Made:
    """A tool made of a function."""

    description = "a tool"

    def __init__(self, name: str, run: Run, effect: Effect = "once") -> None:
        self.name = self.asks_as = name
        self.effect = effect
        self.schema: dict[str, Any] = {"type": "object"}
        self.run = run

    def check(self, arguments: dict[str, Any]) -> str:
        return ""


class Script:
    """A model that says one thing after the other, then `done`."""

    def __init__(self, *replies: Reply | Sequence[Part]) -> None:
        self._replies = list(replies)
        self.asked: list[Request] = []

    async def ask(self, request: Request, tell: Callable[[neutral.Event], None]) -> Reply:
        self.asked.append(request)
        reply = self._replies.pop(0) if self._replies else (Text(text="done"),)
        if isinstance(reply, Reply):
            return reply
        for part in reply:
            if isinstance(part, Text):
                tell(neutral.TextDelta(part.text))
        finish = "tool_calls" if any(isinstance(part, Call) for part in reply) else "stop"
        return Reply(said=Heard(parts=tuple(reply), finish=finish, usage={"input": 10, "output": 5}), amount_nanousd=7)

    def shown(self, number: int = -1) -> Any:
        """The messages of a request."""
        return msgspec.json.decode(self.asked[number].body)["messages"]


def broke(code: str = "upstream_error", status: int = 503, **more: Any) -> Reply:
    """A failure."""
    return Reply(said=Broke(code=code, message="no", status=status), **more)


class Allows:
    """Permissions that say the same of every call."""

    def __init__(self, verdict: Verdict = "allow") -> None:
        self.verdict: Verdict = verdict

    async def judge(
        self, state: State, tool: Tool, arguments: dict[str, Any], sandbox: Callable[[], Awaitable[Sandbox]]
    ) -> tuple[Verdict, str]:
        return self.verdict, "by the test"


class Bench:
    """A session over a store in memory, and a brain to work on it."""

    def __init__(self, directory: Path, model: Any, *tools: Any, hands: dict[str, Any] | None = None) -> None:
        self.clock = ManualClock()
        self.store: Store = MemoryStore(self.clock)
        self.judge = Allows()
        self.model = model
        self.feed = Feed()
        self.parts = Parts(
            store=self.store,
            blobs=Blobs(),
            rack=Rack(hands or {}, self.clock),
            model=model,
            mint=lambda session, state, audience: "token",
            judge=self.judge,
            clock=self.clock,
            built_in=tools,
            feed=self.feed,
            owner="one",
            sleep=asyncio.sleep,
        )
        self.brain = Brain(self.parts)

    async def begin(self, say: str = "do it", **agent: Any) -> None:
        """The session, with a message."""
        agent.setdefault("tools", tuple(tool.name for tool in self.parts.built_in))
        events: list[Event] = [created(**agent), Said(text=say)]
        state = State()
        after(state, events, self.clock.now_ns())
        assert await self.store.create(SESSION, "t", "p", events, state.standing())

    async def person(self, event: Event) -> None:
        """Somebody writes."""
        while True:
            state = fold(await self.store.events(SESSION))
            head = state.seq
            after(state, [event], self.clock.now_ns())
            if isinstance(await self.store.append(SESSION, [event], state.standing(), expect=head), Wrote):
                return

    async def events(self) -> list[Event]:
        """All of the log."""
        return [seen.event for seen in await self.store.events(SESSION)]

    async def of(self, kind: type) -> list[Any]:
        """Those of a type."""
        return [event for event in await self.events() if isinstance(event, kind)]

    async def until(self, kind: type, count: int = 1) -> None:
        """Wait until there are so many of a type."""
        seen = 0
        async with asyncio.timeout(20):
            while len(await self.of(kind)) < count:
                events = await self.store.events(SESSION)
                seen = events[-1].seq
                await self.store.changed(SESSION, after=seen, wait_s=20)
