"""The fold of the stream `credits`: accounts, their grants, and how much may be used in all. No I/O.

A worker and the control process fold the same stream. What a worker needs of an account is one number that only the
time and new records change, its **capacity**: what was granted so far less what was forfeited. It is compared with what
the account's calls have used and hold since the account began, both of which only grow, so a top-up raises it and
nothing is ever counted back.
"""

from collections.abc import Iterator

import msgspec

from interlock.credits.burning import NEVER_NS, Anew, Grant, Recurrence, ResetAt
from interlock.credits.records import (
    STREAM,
    TYPES,
    Applies,
    Begun,
    Burned,
    Corrected,
    Event,
    Expired,
    Forgiven,
    Granted,
    Lapsing,
    Owner,
    Postponed,
    Recurred,
    Reset,
    Restored,
    Voided,
)
from interlock.credits.schedule import read_every
from interlock.errors import InterlockError, LocalError
from interlock.log import Stored
from interlock.units import INT64_MAX

EARLY_NS = 100_000_000
"""Admission counts on a period up to so long before its end: a call is dated when its record is written, a moment after
it was admitted, and must not be dated after the end."""

VOID_NS = 1_000_000_000
"""A grant that is voided, or a period that is reset, is over so long after that was written: longer than it takes to
write it, and to date a call that was admitted until then."""


class Lot:
    """One period of a grant that is not closed yet."""

    __slots__ = (
        "amount",
        "from_ns",
        "lapse",
        "lapsed_ns",
        "period",
        "reset",
        "rolled",
        "stops_ns",
        "taken",
        "until_ns",
    )

    def __init__(self, period: int, amount: int, from_ns: int, until_ns: int) -> None:
        self.period = period
        self.amount = amount
        self.from_ns = from_ns
        self.until_ns = until_ns
        self.stops_ns = until_ns - EARLY_NS if until_ns < NEVER_NS else NEVER_NS
        """When admission stops counting on it."""
        self.lapse: int | None = None
        """The most that it can have left at its end, once that is known."""
        self.lapsed_ns = 0
        """When that was written."""
        self.taken = 0
        """By burns for invoices."""
        self.rolled = 0
        """What came over from the period before; known of grants for invoices."""
        self.reset = ""
        """The reset that ends it."""

    @property
    def balance(self) -> int:
        """Of a grant for invoices."""
        return self.amount + self.rolled - self.taken


class Standing:
    """A grant as it stands."""

    __slots__ = ("at_ns", "forfeited", "grant", "granted", "lots", "voided")

    def __init__(self, granted: Granted, grant: Grant, at_ns: int) -> None:
        self.granted = granted
        self.grant = grant
        self.at_ns = at_ns
        """When it was written."""
        self.lots: list[Lot] = []
        """Periods that are not closed, in order."""
        self.forfeited: dict[int, int] = {}
        """Of those that are."""
        self.voided: Voided | None = None

    @property
    def owner(self) -> Owner:
        """Whose it is."""
        return Owner(self.granted.tenant, self.granted.principal)

    @property
    def total_forfeited(self) -> int:
        """Of all periods that are closed."""
        return sum(self.forfeited.values())

    def goes_on(self, lot: Lot) -> bool:
        """Whether another period follows a lot: what is left rolls over."""
        return lot.until_ns < self.grant.ends_ns and (self.grant.recurrence is not None or bool(lot.reset))

    def next_amount(self, lot: Lot) -> int:
        """What that period adds; 0: a reset ends the lot, and the grant does not come again with it."""
        recurrence = self.grant.recurrence
        again = recurrence is not None and (
            not lot.reset or any(one.from_ns == lot.until_ns for one in recurrence.anew)
        )
        return self.grant.amount if again else 0


class Resetting:
    """A reset as it stands."""

    __slots__ = ("asked", "at_ns", "forgiven", "grants")

    def __init__(self, asked: Reset, at_ns: int) -> None:
        self.asked = asked
        self.at_ns = at_ns
        """When it was written."""
        self.grants: set[str] = set()
        """Those that it is about."""
        self.forgiven: int | None = None if not asked.keep_overage else 0
        """What it dropped of what was owed; None: calls of the period are open, so nobody knows yet."""


class Account:
    """What one owner has been granted."""

    __slots__ = ("begin_ns", "closed", "corrected", "first_ns", "grants", "owner", "resets")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.begin_ns: int | None = None
        """From when on its calls burn it; None: it was only ever given credit for invoices."""
        self.first_ns = 0
        """When the first grant for usage was written: a moment before that."""
        self.grants: dict[str, Standing] = {}
        self.closed = 0
        """Of usage's periods that are closed: amounts less what was forfeited, and what was forgiven."""
        self.corrected = 0
        self.resets: dict[str, Resetting] = {}

    def of(self, applies: Applies) -> list[Standing]:
        """Its grants of one kind, in the order of writing."""
        return [one for one in self.grants.values() if one.granted.applies == applies]

    def lots(self) -> Iterator[tuple[Standing, Lot]]:
        """Usage's periods that are not closed."""
        for one in self.grants.values():
            if one.granted.applies == "usage":
                for lot in one.lots:
                    yield one, lot

    def resets_at(self) -> list[ResetAt]:
        """Its resets, as grants burn by them."""
        return [
            ResetAt(
                id=id,
                at_ns=one.asked.cut_ns,
                of=frozenset(one.grants),
                keep_overage=one.asked.keep_overage,
                forgiven=one.forgiven,
            )
            for id, one in self.resets.items()
        ]

    def capacity(self, now_ns: int) -> int:
        """What may be used and held in all since the account began; may be less than 0."""
        total = self.closed - self.corrected
        for one, lot in self.lots():
            if lot.from_ns <= now_ns:
                total += lot.amount
                if lot.stops_ns <= now_ns:
                    most = lot.amount + (one.grant.rollover_max if lot.period else 0)
                    total -= most if lot.lapse is None else lot.lapse
        return total

    def next_change_ns(self, now_ns: int) -> int:
        """When the capacity changes by the time alone."""
        moments = (at for _, lot in self.lots() for at in (lot.from_ns, lot.stops_ns))
        return min((at for at in moments if at > now_ns), default=NEVER_NS)


class Book:
    """All accounts."""

    def __init__(self) -> None:
        self.seq = 0
        """The last record folded."""
        self.accounts: dict[Owner, Account] = {}
        self.grants: dict[str, Standing] = {}
        self.burns: dict[str, Burned] = {}
        self.restored: dict[str, Restored] = {}
        self.resets: dict[str, Resetting] = {}

    def apply(self, stored: Stored) -> Owner | None:
        """Fold the next record; whose account it is about, if it can change what calls may use. One that was folded
        before changes nothing.

        Raises: InterlockError `log_corrupt`: not a record that this version knows. What is not understood may be the
        end of somebody's credit, so it is not passed over.
        """
        if stored.seq <= self.seq:
            return None
        kind = TYPES.get(stored.record.type)
        try:
            if kind is None:
                raise LocalError(f"type {stored.record.type!r} is not known here")
            owner = self._fold(msgspec.json.decode(stored.record.payload, type=kind), stored)
        except (msgspec.DecodeError, LocalError, KeyError) as error:
            message = f"record {stored.seq} of stream {STREAM!r} is not one that this version knows: {error}"
            raise InterlockError(message, code="log_corrupt") from error
        self.seq = stored.seq
        return owner

    def _fold(self, event: Event, stored: Stored) -> Owner | None:
        match event:
            case Granted():
                return self._grant(event, stored)
            case Burned():
                self.burns[event.id] = event
                for part in event.parts:
                    self._lot(part.grant, part.period).taken += part.nanousd
                return None
            case Restored():
                self.restored[event.id] = event
                for part in event.parts:
                    self._lot(part.grant, part.period).taken -= part.nanousd
                return None
            case Corrected():
                owner = Owner(event.tenant, event.principal)
                self.accounts[owner].corrected = event.nanousd
                return owner
            case Begun():
                self.accounts[Owner(event.tenant, event.principal)].begin_ns = event.at_ns
                return None
            case Voided():
                return self._void(event, stored.record.at_ns)
            case Reset():
                owner = Owner(event.tenant, event.principal)
                self.resets[event.id] = self.accounts[owner].resets[event.id] = Resetting(event, stored.record.at_ns)
                return owner
            case Postponed():
                return self._postpone(event)
            case Forgiven():
                owner = Owner(event.tenant, event.principal)
                self.resets[event.reset].forgiven = event.nanousd
                self.accounts[owner].closed += event.nanousd
                return owner
            case Lapsing():
                self._lapse(event, stored.record.at_ns)
            case Recurred():
                one = self.grants[event.grant]
                lot = Lot(event.period, event.amount_nanousd, event.at_ns, one.grant.period_end_ns(event.at_ns))
                lot.stops_ns = 0 if one.voided else lot.stops_ns
                one.lots.append(lot)
            case Expired():
                self._close(event)
        return self.grants[event.grant].owner

    def _grant(self, event: Granted, stored: Stored) -> Owner:
        grant = grant_of(event, stored.record.at_ns, stored.seq)
        one = Standing(event, grant, stored.record.at_ns)
        one.lots.append(Lot(0, grant.amount, grant.effective_at_ns, grant.period_end_ns(grant.effective_at_ns)))
        account = self.accounts.setdefault(one.owner, Account(one.owner))
        if event.applies == "usage" and account.begin_ns is None:
            account.begin_ns = account.first_ns = one.at_ns
        account.grants[event.id] = self.grants[event.id] = one
        return one.owner

    def _void(self, event: Voided, at_ns: int) -> Owner:
        one = self.grants[event.grant]
        one.voided = event
        over_ns = event.at_ns if one.granted.applies == "usage" else at_ns  # only records burn the other
        one.grant = msgspec.structs.replace(one.grant, voided_at_ns=over_ns)
        one.lots = [lot for lot in one.lots if lot.from_ns < over_ns]  # what was to come never does
        for lot in one.lots:
            if lot.until_ns > at_ns:
                lot.until_ns, lot.stops_ns = min(lot.until_ns, over_ns), 0
                lot.lapse, lot.lapsed_ns = event.left_nanousd, at_ns
        return one.owner

    def _postpone(self, event: Postponed) -> Owner:
        if event.grant:
            one = self.grants[event.grant]
            over_ns, one.grant = one.grant.voided_at_ns, msgspec.structs.replace(one.grant, voided_at_ns=event.at_ns)
            for lot in one.lots:
                if lot.until_ns == over_ns:
                    lot.until_ns = one.grant.period_end_ns(lot.from_ns)
            return one.owner
        reset = self.resets[event.reset]
        reset.asked = msgspec.structs.replace(reset.asked, cut_ns=event.at_ns)
        for one in (self.grants[id] for id in reset.grants):
            one.lots[-1].until_ns = event.at_ns
            if (recurrence := one.grant.recurrence) is not None and reset.asked.anchor == "now":
                anew = (*recurrence.anew[:-1], Anew(event.at_ns, reset.asked.at_ns))
                one.grant = msgspec.structs.replace(
                    one.grant, recurrence=msgspec.structs.replace(recurrence, anew=anew)
                )
        return Owner(reset.asked.tenant, reset.asked.principal)

    def _lapse(self, event: Lapsing, at_ns: int) -> None:
        lot = self._lot(event.grant, event.period)
        lot.lapse, lot.lapsed_ns = event.left_nanousd, at_ns
        if event.reset:
            one, reset = self.grants[event.grant], self.resets[event.reset]
            reset.grants.add(event.grant)
            cut_ns = reset.asked.cut_ns
            lot.reset, lot.until_ns, lot.stops_ns = event.reset, cut_ns, 0
            if (recurrence := one.grant.recurrence) is not None and reset.asked.anchor == "now":
                anew = (*recurrence.anew, Anew(cut_ns, reset.asked.at_ns))
                recurrence = msgspec.structs.replace(recurrence, anew=anew)
                one.grant = msgspec.structs.replace(one.grant, recurrence=recurrence)

    def _close(self, event: Expired) -> None:
        one = self.grants[event.grant]
        lot = self._lot(event.grant, event.period)
        one.lots.remove(lot)
        one.forfeited[event.period] = event.forfeited_nanousd
        if one.granted.applies == "usage":
            self.accounts[one.owner].closed += lot.amount - event.forfeited_nanousd
        elif one.lots:
            one.lots[0].rolled = event.rolled_nanousd

    def _lot(self, grant: str, period: int) -> Lot:
        for lot in self.grants[grant].lots:
            if lot.period == period:
                return lot
        raise LocalError(f"period {period} of grant {grant!r} is not open")


def grant_of(event: Granted, at_ns: int, created: int) -> Grant:
    """What burns, of what was written at that moment. Raises: LocalError: `every` cannot be read."""
    effective_ns = max(at_ns, event.effective_at_ns or 0)
    expires_ns = NEVER_NS if event.expires_at_ns is None else event.expires_at_ns
    if event.expires_after_ns is not None:
        expires_ns = min(effective_ns + event.expires_after_ns, INT64_MAX)
    anchor_ns = effective_ns if event.anchor_ns is None else event.anchor_ns
    return Grant(
        id=event.id,
        amount=event.amount_nanousd,
        priority=event.priority,
        effective_at_ns=effective_ns,
        expires_at_ns=expires_ns,
        created=created,
        recurrence=Recurrence(read_every(event.every), anchor_ns) if event.every else None,
        rollover_min=event.rollover_min_nanousd,
        rollover_max=event.rollover_max_nanousd,
    )
