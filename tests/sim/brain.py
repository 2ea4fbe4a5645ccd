"""A world for brains: a store that fails, scripted models and tools, people who change their mind, and sudden death.

One seed drives everything; the clock moves only when the world moves it. A brain is killed by an exception at one of
its named points, and another goes on over the same store. What tools really did is recorded outside of the log.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.sim.brain_parts import (
    TOOLS,
    Asked,
    Blobs,
    Effects,
    FakeHands,
    FaultyStore,
    Killed,
    Returned,
    ScriptedModel,
    Tool,
)

from interlock.errors import LogUnavailable, UnknownOutcome
from interlock.runtime.brain.action import Point
from interlock.runtime.brain.loop import Brain
from interlock.runtime.brain.parts import Parts
from interlock.runtime.brain.rack import Rack
from interlock.runtime.brain.tools.ports import Tool as ToolPort
from interlock.runtime.hands import Sandbox
from interlock.runtime.sessions.agent import Agent, Budget
from interlock.runtime.sessions.event import Answer, Cancelled, Compacted, Created, Event, Raised, Said, Verdict
from interlock.runtime.sessions.ports import Wrote
from interlock.runtime.sessions.state import State, after, fold
from interlock.testing.clock import ManualClock

LEASE_S = 30.0
TICKS = 160


class World:
    """One run. `kill_at`: the point, and which time it is reached, at which a brain is killed for certain."""

    def __init__(self, seed: int, kill_at: tuple[Point, int] | None = None) -> None:
        self.rng = random.Random(seed)
        self.clock = ManualClock()
        self.store = FaultyStore(self.clock, self.rng)
        self.blobs = Blobs()
        self.numbers = itertools.count(1)
        self.effects: list[Effects] = []
        self.asked: list[Asked] = []
        self.summaries: dict[str, str] = {}
        """What the model said when it gave a whole summary, by the key of the call."""
        self.returned: list[Returned] = []
        self.violations: list[str] = []
        self.dead: set[str] = set()
        """Owners that were killed, failed, or lost a lease."""
        self._frozen_until_ns: dict[str, int] = {}
        self.hit: dict[Point, int] = {}
        self.kills = 0
        self.calm = False
        """No more faults, and the model comes to an end."""
        self.over = False
        self.sessions: list[str] = []
        self._kill_at = kill_at
        self._acting: dict[str, set[tuple[str, str]]] = {}
        self._sleeping: list[tuple[int, int, asyncio.Future[None]]] = []
        self._kill_rate = 0.0 if kill_at else self.rng.choice((0.0, 0.01, 0.04))

    # time

    async def sleep(self, seconds: float) -> None:
        """Until the world has moved its clock that far."""
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self.clock.now_ns() + int(seconds * 1e9), next(self.numbers), future))
        await future

    async def pause(self) -> None:
        """A moment or a while, during which anything may happen."""
        for _ in range(self.rng.randrange(4)):
            await asyncio.sleep(0)
        if self.rng.random() < 0.2:
            await self.sleep(self.rng.choice((1, 5, 12, 45)))

    async def sleep_of(self, owner: str, seconds: float) -> None:
        """What a process sleeps: one that is frozen does not wake up."""
        await self.sleep(seconds)
        while self._frozen_until_ns.get(owner, 0) > self.clock.now_ns():
            await self.sleep(4)  # and it is slow to come to itself

    async def freeze(self, session: str, owner: str) -> None:
        """Now and then the process stands still for longer than its lease, and does not know it afterwards."""
        acting = self._acting[session]
        if self.calm or len(acting) > 1 or self.rng.random() > 0.03:
            return
        acting.clear()  # it does nothing from here on but hand back its result
        frozen_s = self.rng.uniform(LEASE_S - 5, 2 * LEASE_S)
        self._frozen_until_ns[owner] = self.clock.now_ns() + int(frozen_s * 1e9)
        try:
            await self.sleep(frozen_s)
        finally:
            self._frozen_until_ns[owner] = 0

    async def _advance(self, seconds: float) -> None:
        """In steps that leave renewals their time: a process that stands still for a lease is a dead one."""
        until = self.clock.now_ns() + int(seconds * 1e9)
        while self.clock.now_ns() < until:
            self.clock.advance(min(int(1e9), until - self.clock.now_ns()))
            while self._sleeping and self._sleeping[0][0] <= self.clock.now_ns():
                _, _, future = heapq.heappop(self._sleeping)
                if not future.done():
                    future.set_result(None)
            for _ in range(12):
                await asyncio.sleep(0)

    # what brains are given

    @contextmanager
    def acting(self, session: str, owner: str, what: str) -> Iterator[None]:
        """Two brains never act on one session at once."""
        acting = self._acting.setdefault(session, set())
        if any(other != owner for other, _ in acting):
            self.violations.append(f"{owner} acts ({what}) while {acting}")
        entry = (owner, f"{what}{next(self.numbers)}")
        acting.add(entry)
        try:
            yield
        finally:
            acting.discard(entry)

    def at(self, point: Point) -> None:
        """Where brains die."""
        self.hit[point] = self.hit.get(point, 0) + 1
        certain = self._kill_at == (point, self.hit[point])
        if certain or (not self.calm and self.rng.random() < self._kill_rate):
            self.kills += 1
            raise Killed(point)

    async def judge(
        self, state: State, tool: ToolPort, arguments: dict[str, Any], sandbox: Callable[[], Awaitable[Sandbox]]
    ) -> tuple[Verdict, str]:
        """Permissions that follow no rule, and look into the sandbox now and then."""
        if self.rng.random() < 0.2:
            await sandbox()
            await self.pause()
        verdicts: tuple[Verdict, ...] = ("allow", "ask", "deny")
        return self.rng.choices(verdicts, (6, 3, 1))[0], "by chance"

    def parts(self, owner: str) -> Parts:
        """Of a new process."""
        return Parts(
            store=self.store,
            blobs=self.blobs,
            rack=Rack({"bubblewrap": FakeHands(self)}, self.clock),
            model=ScriptedModel(self, owner),
            mint=lambda session, state, audience: "token",
            judge=self,
            clock=self.clock,
            built_in=tuple(Tool(self, owner, name, effect) for name, effect in TOOLS),
            owner=owner,
            lease_s=LEASE_S,
            sleep=lambda seconds: self.sleep_of(owner, seconds),
            at=self.at,
        )

    # who is there

    async def run(self) -> None:
        """Everything, to the end."""
        for number in range(self.rng.choice((1, 1, 2))):
            await self._create(f"ses_{number}")
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._worker(name)) for name in ("a", "b")]
            for _ in range(TICKS):
                self.store.faults = 0.02 if self.rng.random() < 0.3 else 0.0
                await self._advance(self.rng.choice((0.01, 0.1, 0.5, 2)))
                await self._person()
            self.calm, self.store.faults, self._kill_rate = True, 0.0, 0.0
            self.store.cut_off_until_ns.clear()
            for _ in range(400):
                if await self._at_rest():
                    break
                await self._advance(5.0)
            else:
                raise AssertionError(f"it does not come to rest: {await self.store.rows()}")
            self.over = True
            for worker in workers:
                worker.cancel()

    async def _worker(self, name: str) -> None:
        for life in itertools.count():
            owner = f"{name}{life}"
            parts = self.parts(owner)
            brain = Brain(parts)
            while True:
                due = await self.store.due()
                if self.rng.random() < 0.05:
                    due = list(self.sessions)  # also what another holds
                if not due:
                    await self.sleep(self.rng.choice((0.3, 0.3, 8)))
                    continue
                if self.rng.random() < 0.1:
                    self.store.cut_off_until_ns[owner] = self.clock.now_ns() + int(3 * LEASE_S * 1e9)
                try:
                    if await brain.run(self.rng.choice(due)) == "lost":
                        self.dead.add(owner)
                except BaseExceptionGroup as group:
                    _, rest = group.split((Killed, LogUnavailable, UnknownOutcome))
                    if rest is not None:
                        raise
                    self.dead.add(owner)
                    break
                except (Killed, LogUnavailable, UnknownOutcome):
                    self.dead.add(owner)
                    break

    async def _at_rest(self) -> bool:
        rows = await self.store.rows()
        return all(row.standing.status == "idle" and not row.owner for row in rows)

    async def _create(self, session: str) -> None:
        rng = self.rng
        agent = Agent(
            model="m",
            tools=tuple(name for name, _ in TOOLS),
            mode=rng.choice(("default", "auto")),
            on_unknown=rng.choice(("tell", "ask")),
            approval_s=rng.choice((8.0, 60.0)),
            context_tokens=rng.choice((1000, 1000, 2000, 100_000)),
            compaction=rng.choice(("summary", "summary", "window")),
            budget=Budget(
                steps=rng.choice((4, 40, None)),
                tokens=rng.choice((None, None, 500, 5000)),
                amount_nanousd=rng.choice((None, 60)),
                wall_s=rng.choice((None, 60.0)),
                denials=2,
            ),
        )
        created = Created(tenant="t", principal="p", key_id="k", agent=agent, workspace="w")
        events: list[Event] = [created, Said(text="begin", by="ann")]
        state = State()
        after(state, events, self.clock.now_ns())
        assert await self.store.create(session, "t", "p", events, state.standing())
        self.sessions.append(session)

    async def person(self, session: str, choose: Callable[[State], Event | None]) -> None:
        """Somebody writes, as the sessions' service does."""
        while True:
            state = fold(await self.store.events(session))
            event = choose(state)
            if event is None:
                return
            expect = state.seq
            after(state, [event], self.clock.now_ns())
            if isinstance(await self.store.append(session, [event], state.standing(), expect=expect), Wrote):
                return

    async def _person(self) -> None:
        roll, session = self.rng.random(), self.rng.choice(self.sessions)
        if roll < 0.06:
            await self.person(session, lambda state: Said(text=f"say {next(self.numbers)};", by="ann"))
        elif roll < 0.09:
            await self.person(session, lambda state: Cancelled(by="ann", reason="enough"))
        elif roll < 0.11:
            await self.person(session, lambda state: Raised(by="ann", budget=Budget(steps=60)))
        elif roll < 0.13:
            await self.person(session, lambda state: None if state.in_turn else Compacted(by="ann"))
        elif roll < 0.4:
            await self.person(session, self._answer)

    def _answer(self, state: State) -> Event | None:
        if not state.waiting:
            return None
        question = self.rng.choice(state.waiting).question
        return Answer(
            approval=question.approval,
            approved=self.rng.random() < 0.75,
            arguments_sha256=question.arguments_sha256 if self.rng.random() < 0.9 else "0" * 64,
            by="ann",
        )
