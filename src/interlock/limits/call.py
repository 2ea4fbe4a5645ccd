"""A call as limits see it: what it asks for, what it turned out to use, and the answers to it."""

from typing import TYPE_CHECKING, Literal

import msgspec

from interlock.limits.limit import Limit, Measure

if TYPE_CHECKING:
    from interlock.limits.matching import Target

ID_BYTES_MAX = 48
Amounts = tuple[int | None, int | None, int | None, int | None, int, int | None]
"""In the order of MEASURES. None: not known."""
Parts = list[int]
"""What a call holds, three numbers a counter: its row's first word on the page << 3 | measure, the row's generation,
the amount. One flat list, because that is what a ticket holds and what is quickest."""

Reason = Literal["exceeded", "too_large", "exhausted", "unpriced", "away", "full", "unknown", "not_entitled"]
"""exceeded: it may fit later. too_large: it would not fit into the whole limit. exhausted: the prepaid
account has not enough left. unpriced: money is limited, and nobody
knows what the call costs. away: the share is spent and the authority cannot be reached. full: there is no room for
another counter, another call, or as many limits at once. unknown: what accounts have or plans say cannot be read.
not_entitled: the tenant's plan does not hold the model."""

CODES: dict[Reason, str] = {
    "exceeded": "limit_exceeded",
    "too_large": "limit_too_small",
    "exhausted": "credit_exhausted",
    "unpriced": "unpriced",
    "away": "limits_unavailable",
    "full": "limits_unavailable",
    "unknown": "limits_unavailable",
    "not_entitled": "not_entitled",
}
"""The error that each is to a client (docs/errors.md)."""


class Claim(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one attempt of a call asks for: who, with what, and at most how much."""

    id: str
    """`REQUEST_ID/ATTEMPT`: how the log knows it. At most 48 bytes."""
    key: str = ""
    principal: str = ""
    tenant: str = ""
    session: str = ""
    """Empty: none was named. Such calls of one tenant share one session, so that leaving the name out gains nothing."""
    deployment: str = ""
    model: str = ""
    requests: int = 1
    """0 for another attempt of a request that was counted."""
    input_tokens: int = 0
    output_tokens: int = 0
    nanousd: int | None = None
    """At most what it costs; None: it is not known (`unpriced`)."""

    def __post_init__(self) -> None:
        assert len(self.id) <= ID_BYTES_MAX and self.id.isascii(), self.id
        assert self.requests >= 0 <= self.input_tokens and self.output_tokens >= 0 <= (self.nanousd or 0), self

    @property
    def amounts(self) -> Amounts:
        """By measure."""
        read, written = self.input_tokens, self.output_tokens
        return (self.requests, read, written, read + written, 1, self.nanousd)


class Actual(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a call used. None: nobody knows, so what was reserved is taken for used."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    nanousd: int | None = None

    def __post_init__(self) -> None:
        assert (self.input_tokens or 0) >= 0 <= (self.output_tokens or 0) and (self.nanousd or 0) >= 0, self

    @property
    def amounts(self) -> Amounts:
        """By measure. Of requests what was reserved, of calls at once nothing: it has ended."""
        read, written = self.input_tokens, self.output_tokens
        both = None if read is None or written is None else read + written
        return (None, read, written, both, 0, self.nanousd)


class Standing(msgspec.Struct, frozen=True, gc=False):
    """Where a call stands with one limit, itself not counted."""

    limit: Limit
    asked: int
    used: int
    held: int
    """By calls that run."""
    capacity: int
    """What may be admitted here in all: the amount, or this machine's share of it."""
    others: int
    """Used and held by other machines, as last heard."""
    ends_ns: int

    @property
    def left(self) -> int:
        """What the limit still allows, on all machines; never less than 0."""
        return max(0, self.limit.amount - self.others - self.used - self.held)

    @property
    def left_after(self) -> int:
        """The same once the call is admitted."""
        return max(0, self.limit.amount - self.others - self.used - self.held - self.asked)


class Held(msgspec.Struct, eq=False):
    """An admitted call. Hand it to `settle` or `release`, once; a second time changes nothing."""

    ticket: int
    """Where it is recorded; -1: nowhere (any more)."""
    targets: "tuple[Target, ...]"
    parts: Parts
    standings: list[Standing]


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is not admitted. Nothing of it is counted or held."""

    reason: Reason
    limit: str
    """The limit's name; empty: `full` without a limit of its own to blame."""
    measure: Measure | None = None
    asked: int = 0
    left: int = 0
    """What the limit still allowed."""
    retry_after_ns: int | None = None
    """When it may fit; None: never, as it is."""
    standings: list[Standing] = []
    says: str = ""
    """Of `not_entitled`: what is, in words."""

    @property
    def code(self) -> str:
        """The error that it is to a client."""
        return CODES[self.reason]


class NeedsLease(msgspec.Struct, frozen=True):
    """The machine's share does not suffice: ask the authority for more (`Limiter.lease`)."""

    claim: Claim
