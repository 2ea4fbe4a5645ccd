"""A threshold of a limit was passed: who is told what. Pure; `webhook.py` delivers it.

It is said once for each limit, scope, window and threshold: the row remembers what was passed, in the same change that
counts. What jumps over several thresholds is one warning, of the highest.
"""

from datetime import UTC, datetime
from hashlib import sha256

import msgspec

from interlock.limits.limit import NEVER_NS, Limit, Scope


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """What was used has reached `percent` of the amount."""

    limit: Limit
    scope: tuple[tuple[Scope, str], ...]
    percent: int
    used: int
    """Settled; on other machines also what is held there."""
    ends_ns: int
    at_ns: int

    @property
    def id(self) -> str:
        """The same wherever and however often this is noticed: a receiver drops what it knows."""
        limit = self.limit
        words = [limit.name, limit.measure, str(limit.amount), str(self.percent), str(self.ends_ns)]
        words += [word for pair in self.scope for word in pair]
        return "lim_" + sha256(msgspec.json.encode(words)).hexdigest()[:32]


def passed(limit: Limit, used: int, warned: int) -> tuple[int, int]:
    """(the row's bits with the thresholds that `used` reaches, the highest that is new; 0: none is)."""
    highest = 0
    for n, percent in enumerate(limit.warn_at):
        if not warned >> n & 1 and used * 100 >= percent * limit.amount and used:
            warned |= 1 << n
            highest = percent
    return warned, highest


def body(crossing: Crossing) -> bytes:
    """What is sent: JSON. Amounts are strings: nano-USD go beyond what a JSON number holds everywhere."""
    limit = crossing.limit
    return msgspec.json.encode(
        {
            "type": "limit.threshold",
            "timestamp": _rfc3339(crossing.at_ns),
            "data": {
                "limit": limit.name,
                "measure": limit.measure,
                "scope": dict(crossing.scope),
                "percent": crossing.percent,
                "used": str(crossing.used),
                "amount": str(limit.amount),
                "window": limit.window,
                "window_ends": None if crossing.ends_ns == NEVER_NS else _rfc3339(crossing.ends_ns),
            },
        }
    )


def _rfc3339(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
