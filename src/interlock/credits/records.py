"""What stands in the stream `credits` of log.sqlite. The control process alone writes it; everything else is a fold.

Record ids: `grant/ID`, `begin/TENANT/PRINCIPAL`, `void/ID`, `lapse/ID/PERIOD/N`, `end/ID/PERIOD`, `recur/ID/PERIOD`,
`burn/ID`, `restore/ID`, `reset/ID`, `postpone/ID/N`, `forgive/ID` and `correct/N`. A period is how often a grant has
come again or was reset. Amounts are nano-USD, moments Unix ns.
"""

from typing import Literal, NamedTuple

import msgspec

STREAM = "credits"
Applies = Literal["usage", "invoices"]
"""usage: calls burn it as they are settled. invoices: it is taken from what an invoice comes to."""


Anchor = Literal["keep", "now"]
"""Of grants that come again, at a reset. keep: they do so when they would have. now: they do so at the reset, and at
every so long after it."""


class Owner(NamedTuple):
    """Whose an account is: a tenant's, or one principal's of a tenant."""

    tenant: str
    principal: str = ""

    @property
    def name(self) -> str:
        """For people: `acme`, `acme/alice`."""
        return f"{self.tenant}/{self.principal}" if self.principal else self.tenant


class Granted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Credit was given. Type `credit.granted`. What is relative to now is kept so: a repeat has the same content."""

    id: str
    tenant: str
    amount_nanousd: int
    principal: str = ""
    priority: int = 0
    effective_at_ns: int | None = None
    """No earlier than it was written, which is also what None means."""
    expires_at_ns: int | None = None
    expires_after_ns: int | None = None
    """Instead: so long after it is effective. Neither: never."""
    every: str = ""
    """How often it comes again (`schedule.read_every`); empty: never."""
    anchor_ns: int | None = None
    """None: when it is effective."""
    rollover_min_nanousd: int = 0
    rollover_max_nanousd: int = 0
    applies: Applies = "usage"
    note: str = ""


class Begun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From that moment on every worker held calls to the account. Type `credit.begun`; written behind the first grant
    for usage. Without it (the writer died in between) calls count from when that grant was written."""

    tenant: str
    at_ns: int
    principal: str = ""


class Voided(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """No call is admitted against a grant any more. Type `credit.voided`."""

    grant: str
    at_ns: int
    """When it is over: a moment after this was written, so that no call that was admitted before is dated after it."""
    left_nanousd: int
    """At most; calls that run may still burn some of it. What is forfeited follows as `credit.expired`."""
    reason: str = ""


class Reset(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An account's usage period was ended by hand. Type `credit.reset`; right behind it stands a `credit.lapsing` that
    names it for each grant that it is about."""

    id: str
    tenant: str
    keep_overage: bool
    anchor: Anchor
    principal: str = ""
    asked_at_ns: int | None = None
    """The moment that was asked for; None: when it was written."""
    at_ns: int
    """That moment: the new anchor. Nothing has been booked since."""
    cut_ns: int
    """Calls that are dated before are of the period that ends: a moment after this was written, so that none is later
    that was admitted without knowing of it."""
    reason: str = ""


class Postponed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end that stands right before this, of a void or of a reset, is at a later moment. Type `credit.postponed`;
    written where writing that took so long that calls were admitted meanwhile that are dated after it."""

    at_ns: int
    grant: str = ""
    """Which was voided; empty: it was a reset."""
    reset: str = ""


class Forgiven(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much of what was owed a reset has dropped, for good. Type `credit.forgiven`; written as `credit.expired` is,
    0 too, unless the reset keeps what is owed."""

    reset: str
    tenant: str
    nanousd: int
    principal: str = ""


class Lapsing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The most that a grant's period can still have left at its end. Type `credit.lapsing`; written some time before,
    shortly before and at the end, so that from then on no call is admitted against it, though nobody knows yet how much
    it is exactly; the last one stands."""

    grant: str
    period: int
    left_nanousd: int
    reset: str = ""
    """That reset ends the period, at its cut."""


class Expired(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much of a period's balance was forfeited, for good. Type `credit.expired`. Written when no call that was
    admitted before the end is open any more."""

    grant: str
    period: int
    forfeited_nanousd: int
    """The balance less what rolls over."""
    rolled_nanousd: int = 0
    reset: str = ""
    """The reset that ended it; empty: the grant came again or was over."""


class Recurred(msgspec.Struct, frozen=True, kw_only=True):
    """A grant has come again. Type `credit.recurred`."""

    grant: str
    period: int
    at_ns: int
    amount_nanousd: int
    """0: it was reset, and goes on with what was rolled over."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one grant's period gave to a burn."""

    grant: str
    period: int
    nanousd: int


class Burned(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Credit for invoices was taken. Type `credit.burned`."""

    id: str
    """The invoice's, or what else the taker names it by."""
    tenant: str
    asked_nanousd: int
    parts: tuple[Part, ...] = ()
    """In the order of collection; together at most what was asked for."""

    @property
    def nanousd(self) -> int:
        """What was taken."""
        return sum(part.nanousd for part in self.parts)


class Restored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A burn was taken back whole. Type `credit.restored`."""

    id: str
    parts: tuple[Part, ...] = ()
    """The last collected first."""
    lost_nanousd: int = 0
    """Of grants that are over: that has expired."""


class Corrected(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """By how much what an account's calls cost differs from what was counted while they ran, in all until now. Type
    `credit.corrected`; the last one stands."""

    tenant: str
    nanousd: int
    principal: str = ""


Event = (
    Granted
    | Begun
    | Voided
    | Reset
    | Postponed
    | Forgiven
    | Lapsing
    | Expired
    | Recurred
    | Burned
    | Restored
    | Corrected
)

TYPES: dict[str, type[Event]] = {
    "credit.granted": Granted,
    "credit.begun": Begun,
    "credit.voided": Voided,
    "credit.reset": Reset,
    "credit.postponed": Postponed,
    "credit.forgiven": Forgiven,
    "credit.lapsing": Lapsing,
    "credit.expired": Expired,
    "credit.recurred": Recurred,
    "credit.burned": Burned,
    "credit.restored": Restored,
    "credit.corrected": Corrected,
}
NAMES: dict[type[Event], str] = {kind: name for name, kind in TYPES.items()}
