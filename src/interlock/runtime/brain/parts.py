"""What the brains of one process work with: ports, and a few functions."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from interlock.clock import Clock
from interlock.ledger import SessionAttempt
from interlock.runtime.brain.action import Point
from interlock.runtime.brain.feed import Feed
from interlock.runtime.brain.model import Model
from interlock.runtime.brain.rack import Rack
from interlock.runtime.brain.toolbox import Door, Judge
from interlock.runtime.brain.tools.ports import Tool
from interlock.runtime.sessions.ports import Blobs, Store
from interlock.runtime.sessions.state import State

LEASE_S = 30.0
Mint = Callable[[str, State, Literal["inference", "mcp"]], str]
"""A token for a session, of an audience: short-lived, for this use only. Raises: InterlockError: none may be had."""
Price = Callable[[str, Mapping[str, int], int], int | None]
"""What an answer cost, in nano-USD: of its deployment, its usage and its time; None: not known."""


def unpriced(deployment: str, usage: Mapping[str, int], at_ns: int) -> int | None:
    """No prices are known."""
    return None


Attempts = Callable[[str, str, int], Awaitable[Sequence[SessionAttempt]]]
"""What the ledger has of a tenant's session: attempts at model calls opened since then (ns, inclusive), the oldest
first, up to now. Raises: InterlockError: it cannot be asked."""


async def unmetered(tenant: str, session: str, since_ns: int) -> Sequence[SessionAttempt]:
    """There is no ledger."""
    return ()


def _nowhere(point: Point) -> None:
    """Outside of tests nothing happens at a crash point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What brains of one process work with."""

    store: Store
    blobs: Blobs
    rack: Rack
    model: Model
    mint: Mint
    judge: Judge
    price: Price = unpriced
    attempts: Attempts = unmetered
    clock: Clock
    built_in: tuple[Tool, ...]
    door: Door | None = None
    feed: Feed = field(default_factory=Feed)
    owner: str
    """Of leases: this process's."""
    lease_s: float = LEASE_S
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    at: Callable[[Point], None] = _nowhere
