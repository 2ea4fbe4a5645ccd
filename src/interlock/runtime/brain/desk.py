"""One session's log while a brain works on it: the state that it folds to, and what is to be written next.

What a brain writes is of two kinds. *Facts* have happened (an answer came, a tool gave a result): they are written
wherever the log stands by then. *Plans* follow from the state as it was read: they are written only if the log still
stands there, and else thrown away and made anew. Both wait in `staged` and go out together in one append, so that the
finish of one step and the start of the next are one transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from interlock.clock import Clock
from interlock.errors import LogUnavailable, UnknownOutcome
from interlock.runtime.brain.action import Point
from interlock.runtime.sessions.event import Event, Note, Seen, Woken
from interlock.runtime.sessions.ports import Fenced, Lease, Moved, Store, Wrote
from interlock.runtime.sessions.state import State

PAGE = 1000
APPEND_TRIES = 6
"""At a store that says it wrote nothing: what has happened is worth some patience."""
APPEND_PAUSE_S = 0.25
Append = Literal[
    "model.asked",
    "program.called",
    "program.metered",
    "summary.asked",
    "tool.started",
    "hands.provisioned",
    "tool.noted",
    "tool.finished",
    "turn.settled",
    "turn.ended",
]
"""What an append is for; its crash points are `<append>.before` and `<append>.after`."""
At = Callable[[Point], None]
_POINTS: dict[Append, tuple[Point, Point]] = {
    "model.asked": ("model.asked.before", "model.asked.after"),
    "program.called": ("program.called.before", "program.called.after"),
    "program.metered": ("program.metered.before", "program.metered.after"),
    "summary.asked": ("summary.asked.before", "summary.asked.after"),
    "tool.started": ("tool.started.before", "tool.started.after"),
    "hands.provisioned": ("hands.provisioned.before", "hands.provisioned.after"),
    "tool.noted": ("tool.noted.before", "tool.noted.after"),
    "tool.finished": ("tool.finished.before", "tool.finished.after"),
    "turn.settled": ("turn.settled.before", "turn.settled.after"),
    "turn.ended": ("turn.ended.before", "turn.ended.after"),
}


class LeaseLost(Exception):
    """Another brain holds the session: stop at once, write nothing."""


class Desk:
    """The log of `session`, held by `lease`."""

    def __init__(
        self,
        store: Store,
        session: str,
        lease: Lease,
        clock: Clock,
        *,
        lease_s: float,
        at: At,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._store, self._session, self._clock, self._at, self._sleep = store, session, clock, at, sleep
        self.lease, self._lease_s = lease, lease_s
        self.state = State()
        self.folds = 0
        """How often the log was read anew because it had moved on: what was decided before is not what is true now."""
        self.notes: list[Note] = []
        """All of the log's, in order."""
        self._staged: list[tuple[Event, bool]] = []
        self._head = 0
        self._woken = False
        self._lock = asyncio.Lock()  # one writer: calls that run at once report through the same state

    async def open(self) -> None:
        """Fold the log."""
        state, notes = State(), list[Note]()
        head = await self._read(state, notes, 0)
        self.state, self.notes, self._head = state, notes, head

    async def read(self) -> None:
        """Fold what has been written since; nothing may be staged."""
        self._head = await self._read(self.state, self.notes, self._head)

    def fact(self, *events: Event) -> None:
        """Stage what has happened."""
        self._stage(events, fact=True)

    def plan(self, *events: Event) -> None:
        """Stage what follows from the state."""
        self._stage(events, fact=False)

    @property
    def head(self) -> int:
        """Where the log stands as far as it was read or written."""
        return self._head

    @property
    def staged(self) -> bool:
        """Something waits to be written."""
        return bool(self._staged)

    async def flush(self, append: Append) -> bool:
        """Write what is staged. False: the log had moved on; the plans are thrown away, the facts still staged.

        Raises: LeaseLost. LogUnavailable: nothing was written.
        """
        async with self._lock:
            return await self._flush(append)

    async def record(self, append: Append, *events: Event) -> None:
        """Write facts, wherever the log stands. Raises: as `flush`."""
        async with self._lock:
            self._stage(events, fact=True)
            while not await self._flush(append):
                pass

    async def latest(self) -> State:
        """What the log says now; nothing may be staged. For what goes on beside the step under way."""
        async with self._lock:
            await self.read()
            return self.state

    async def decide(self, append: Append, plan: Callable[[State], Event | None]) -> Event | None:
        """Write what follows from the log as it stands now, decided anew whenever it has moved on; None: nothing does.

        For what goes on beside the step under way; nothing may be staged. Raises: as `flush`.
        """
        async with self._lock:
            await self.read()
            while (event := plan(self.state)) is not None:
                self._stage([event], fact=False)
                if await self._flush(append):  # else the log was read anew
                    return event
            return None

    def _stage(self, events: Sequence[Event], *, fact: bool) -> None:
        if not self._woken:
            self._woken = True
            self._put(Woken(owner=self.lease.owner, epoch=self.lease.epoch), fact=True)
        for event in events:
            self._put(event, fact=fact)

    def _put(self, event: Event, *, fact: bool) -> None:
        self._staged.append((event, fact))
        seen = Seen(seq=self.state.seq + 1, at_ns=self._clock.now_ns(), event=event)
        _fold(seen, self.state, self.notes)

    async def _read(self, state: State, notes: list[Note], head: int) -> int:
        """Fold what stands behind `head` into both; where the log ends."""
        while events := await self._store.events(self._session, after=head, limit=PAGE):
            for seen in events:
                _fold(seen, state, notes)
            head = events[-1].seq
            if len(events) < PAGE:
                break
        return head

    async def _flush(self, append: Append) -> bool:
        if not self._staged:
            return True
        before, after = _POINTS[append]
        self._at(before)
        await self._hold()
        going = len(self._staged)  # what is staged meanwhile stays
        wrote = await self._append([event for event, _ in self._staged])
        if isinstance(wrote, Fenced):
            raise LeaseLost
        if isinstance(wrote, Moved):
            self.folds += 1
            await self.open()
            facts = [event for event, fact in self._staged if fact]
            self._staged = []
            for event in facts:
                self._put(event, fact=True)
            return False
        del self._staged[:going]
        self._head = wrote.head
        self._at(after)
        return True

    async def _hold(self) -> None:
        """A process that stood still may find its lease run out and not yet taken: what it begins now, another brain
        might begin too. So nothing is written, and nothing begun, under a lease that is nearly over."""
        if self._clock.now_ns() < self.lease.expires_at_ns - int(self._lease_s / 6 * 1e9):
            return
        renewed = await self._store.renew(self.lease, ttl_s=self._lease_s)
        if renewed is None:
            raise LeaseLost
        self.lease = renewed

    async def _append(self, events: list[Event]) -> Wrote | Moved | Fenced:
        for attempt in range(APPEND_TRIES):
            try:
                return await self._store.append(
                    self._session, events, self.state.standing(), expect=self._head, lease=self.lease
                )
            except (LogUnavailable, UnknownOutcome) as error:
                if attempt == APPEND_TRIES - 1:
                    raise
                if isinstance(error, UnknownOutcome) and await self._stands(events):
                    return Wrote(self._head + len(events))
                await self._sleep(APPEND_PAUSE_S * (attempt + 1))
        raise AssertionError("every try returned or raised")

    async def _stands(self, events: list[Event]) -> bool:
        """Whether an append of which nothing is known did happen. No other brain's could look the same: the epoch."""
        found = await self._store.events(self._session, after=self._head, limit=len(events))
        return [seen.event for seen in found] == events


def _fold(seen: Seen, state: State, notes: list[Note]) -> None:
    state.apply(seen)
    if isinstance(seen.event, Note):
        notes.append(seen.event)
