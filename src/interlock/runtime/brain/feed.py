"""What people see while it happens: pieces of a session's answers and outputs, which the log gets only whole.

In this process and for now: a watcher reads events from the store and is told by a feed what comes between them. A
watcher that is slow loses the oldest pieces, and is told how many; it never loses an event, for those are in the log.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

HELD_MAX = 512
"""Pieces held for one watcher."""
WATCHERS_MAX = 64
"""Of one session."""


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece. `of`: the model's words or reasoning, the arguments of a call as they come, or a tool's output."""

    of: Literal["text", "thought", "call", "stdout", "stderr"]
    text: str
    step: int = 0
    call_id: str = ""
    """Of output."""
    lost: int = 0
    """Pieces before this one that the watcher was too slow for."""


class Watcher:
    """One who watches one session."""

    def __init__(self) -> None:
        self._held: deque[Delta] = deque()
        self._lost = 0
        self._more = asyncio.Event()
        self._over = False

    def put(self, delta: Delta) -> None:
        """One more piece."""
        if len(self._held) == HELD_MAX:
            self._held.popleft()
            self._lost += 1
        self._held.append(delta)
        self._more.set()

    def close(self) -> None:
        """Nothing more will come."""
        self._over = True
        self._more.set()

    async def deltas(self) -> AsyncIterator[Delta]:
        """Pieces as they come."""
        while True:
            while self._held:
                delta, lost = self._held.popleft(), self._lost
                self._lost = 0
                yield msgspec.structs.replace(delta, lost=lost) if lost else delta
            if self._over:
                return
            self._more.clear()
            await self._more.wait()


class Feed:
    """Watchers of all sessions whose brains run in this process."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[Watcher]] = {}

    def publish(self, session: str, delta: Delta) -> None:
        """Tell whoever watches; it costs nothing where nobody does."""
        for watcher in self._watchers.get(session, ()):
            watcher.put(delta)

    @contextmanager
    def watch(self, session: str) -> Iterator[Watcher]:
        """Watch until the block ends. The oldest watcher is closed where there are too many."""
        watchers, watcher = self._watchers.setdefault(session, []), Watcher()
        if len(watchers) == WATCHERS_MAX:
            watchers.pop(0).close()
        watchers.append(watcher)
        try:
            yield watcher
        finally:
            watcher.close()
            if watcher in watchers:
                watchers.remove(watcher)
            if not watchers and self._watchers.get(session) is watchers:
                del self._watchers[session]
