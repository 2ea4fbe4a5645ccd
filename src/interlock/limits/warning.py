"""A threshold of a limit was passed: who is told what. Pure; `webhook.py` delivers it.

It is said once for each limit, scope, window and threshold: the row remembers what was passed, in the same change that
counts. What jumps over several thresholds is one warning, of the highest. Of prepaid accounts it is said what they have
left, and again once they have been above the threshold.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from zlib import crc32

import msgspec

from interlock.limits.limit import NEVER_NS, WARN_AT_MAX, Limit, Scope
from interlock.units import usd


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


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something else that is told in the same way."""

    id: str
    """The same however often it is told."""
    content: bytes
    """JSON: `type`, `timestamp`, `data`."""


def passed(limit: Limit, used: int, warned: int) -> tuple[int, int]:
    """(what the row keeps of the thresholds that `used` reaches, the highest that is new; 0: none is).

    Args:
        warned: what the row kept. A bit means a threshold only to a limit of the same amount and thresholds: one that
            took its place (a plan that a tenant has got, a new policy) has told nothing yet.
    """
    mark = _mark(limit.amount, limit.warn_at)
    bits, highest = (warned ^ mark if warned >> WARN_AT_MAX == mark >> WARN_AT_MAX else 0), 0
    for n, percent in enumerate(limit.warn_at):
        if not bits >> n & 1 and used * 100 >= percent * limit.amount and used:
            bits |= 1 << n
            highest = percent
    return mark | bits, highest


@lru_cache(4_096)
def _mark(amount: int, warn_at: tuple[int, ...]) -> int:
    """Of whom the bits below are."""
    return crc32(repr((amount, warn_at)).encode()) << WARN_AT_MAX


def fallen(below: Sequence[int], left: int, warned: int) -> tuple[int, int | None]:
    """(the row's bits with the thresholds that an account is below, the lowest that is new; None: none is).

    Args:
        below: descending.
        warned: the bits as they were: one is given back when the account is above it again.
    """
    bits, lowest = 0, None
    for n, amount in enumerate(below):
        if left < amount:
            bits |= 1 << n
            lowest = lowest if warned >> n & 1 else amount
    return bits, lowest


def low(account: Limit, left: int, below: int, at_ns: int) -> Notice:
    """That a prepaid account has less left than `below`. Told again while nothing is given or ends, it is the same."""
    tenant, principal = account.tenants[0], account.principals[0] if account.principals else ""
    words = ["credit.low", account.name, str(below), str(account.amount)]
    data = {
        "account": f"{tenant}/{principal}" if principal else tenant,
        "tenant": tenant,
        "principal": principal,
        "left": usd(max(left, 0)),
        "below": usd(below),
    }
    content = msgspec.json.encode({"type": "credit.low", "timestamp": _rfc3339(at_ns), "data": data})
    return Notice(id="low_" + sha256(msgspec.json.encode(words)).hexdigest()[:32], content=content)


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
