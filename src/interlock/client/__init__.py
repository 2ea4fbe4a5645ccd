"""For programs that use a server: `Outbox` sends usage events, `Agents` runs sessions. Nothing of the server's code."""

from interlock.client.outbox import (
    BATCH_BYTES_MAX,
    BATCH_MAX,
    PAUSE_S,
    PAUSE_S_MAX,
    EventsPort,
    Item,
    Outbox,
    Problem,
    Unanswered,
    is_finite,
)
from interlock.client.sessions import Agents, Refused, Session, Unreachable

__all__ = [
    "BATCH_BYTES_MAX",
    "BATCH_MAX",
    "PAUSE_S",
    "PAUSE_S_MAX",
    "Agents",
    "EventsPort",
    "Item",
    "Outbox",
    "Problem",
    "Refused",
    "Session",
    "Unanswered",
    "Unreachable",
    "is_finite",
]
