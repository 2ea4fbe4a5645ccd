"""The writer of the stream `credits`: grants, voids, burns for invoices, and what time makes due.

A change is durable and known to every worker before it is answered. It decides on the newest state and appends if that
is still the newest.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from interlock.clock import Clock
from interlock.credits import keeping
from interlock.credits.book import EARLY_NS, VOID_NS, Account, Book, Lot, Resetting, Standing
from interlock.credits.burning import NEVER_NS, Grant, State, boundaries, collect, ranked
from interlock.credits.reading import Wanted, WantedReset, read_grant, read_reset
from interlock.credits.records import (
    NAMES,
    STREAM,
    Begun,
    Burned,
    Corrected,
    Event,
    Expired,
    Forgiven,
    Granted,
    Lapsing,
    Owner,
    Part,
    Postponed,
    Recurred,
    Reset,
    Restored,
    Voided,
)
from interlock.credits.resetting import check_moment, ending, same_ask
from interlock.credits.usage import GRACE_NS, Reckoned, Reckoner
from interlock.errors import InterlockError, LocalError
from interlock.identity import check_name, check_reason, check_tenant
from interlock.ids import new_id
from interlock.log import Conflict, Log, Record

GRANTS_MAX = 100_000
"""Ever, of all accounts: every worker holds them all (about 1 KB each)."""
ACCOUNTS_MAX = 10_000
"""Each has a row on the page of limits, which has 16,384."""
RESETS_MAX = 100_000
"""Ever, of all accounts."""
GRANTS_OF_ONE_MAX = 10_000
"""Of one account: each of its changes is reckoned from all of them."""
CORRECT_NS = 10_000_000_000
_TRIES = 32
_ROUNDS_MAX = 1_000
_BATCH_MAX = 500


class Credits:
    """One writer. Each method may raise what the log and the ledger's view raise."""

    def __init__(
        self,
        log: Log,
        clock: Clock,
        reckoner: Reckoner,
        fold: Callable[[], Awaitable[None]],
        committed: Callable[[int], None] = lambda head: None,
    ) -> None:
        """
        Args:
            fold: brings the ledger's view, which `reckoner` reads, up to date.
            committed: called with the stream's head when a change is durable, before it is answered.
        """
        self.book = Book()
        self._log = log
        self._clock = clock
        self._reckoner = reckoner
        self._fold = fold
        self._committed = committed
        self._turn = asyncio.Lock()  # protects the book, and the order of deciding and writing
        self._due_ns = 0
        self._correct_ns = 0
        self._corrected_once = False

    async def refresh(self) -> Book:
        """Fold what has been appended since."""
        async for stored in self._log.read(STREAM, after=self.book.seq):
            self.book.apply(stored)
            self._due_ns = 0
        return self.book

    # what is asked for

    async def grant(self, wanted: Wanted) -> tuple[Standing, bool]:
        """Give credit; the grant, and whether it is new. The same id with the same content changes nothing.

        Raises: LocalError: a field is wrong; `conflict`: the id stands with other content.
        """
        now_ns = self._clock.now_ns()
        made = read_grant(wanted, new_id("cr", now_ns), now_ns)

        def decide(book: Book) -> list[Event]:
            known = book.grants.get(made.id)
            if known is not None:
                if known.granted != made:
                    message = f"grant {made.id!r} stands with other content"
                    raise LocalError(message, code="conflict", field="id")
                return []
            if len(book.grants) >= GRANTS_MAX:
                raise LocalError(f"the log holds {GRANTS_MAX} grants, and that is the limit", field="id")
            account = book.accounts.get(Owner(made.tenant, made.principal))
            if account is None and len(book.accounts) >= ACCOUNTS_MAX:
                raise LocalError(f"there are {ACCOUNTS_MAX} accounts, and that is the limit", field="tenant")
            if account is not None and len(account.grants) >= GRANTS_OF_ONE_MAX:
                raise LocalError(f"the account has {GRANTS_OF_ONE_MAX} grants, and that is the limit", field="tenant")
            return [made]

        async with self._turn:
            is_new = bool(await self._change(decide))
            one = self.book.grants[made.id]
            if is_new and self.book.accounts[one.owner].begin_ns == one.at_ns:
                await self._write([Begun(tenant=made.tenant, principal=made.principal, at_ns=self._clock.now_ns())])
            return one, is_new

    async def void(self, id: str, reason: str = "") -> tuple[Standing, bool]:
        """From the moment this returns no call is admitted against the grant; calls that run may still burn it.

        Raises: LocalError `not_found`.
        """
        reason = check_reason(reason)
        async with self._turn:
            while True:
                await self._look()
                one = self.book.grants.get(id)
                if one is None:
                    raise LocalError(f"there is no grant {id[:200]!r}", code="not_found", field="id")
                now_ns = self._clock.now_ns()
                if one.voided is not None or one.grant.ends_ns <= now_ns:
                    return one, False
                left = await self._left(one, now_ns)
                now_ns = self._clock.now_ns()  # reckoning may have taken long, and calls were admitted
                if not one.lots or one.lots[-1].until_ns > now_ns:
                    break  # else it has come again meanwhile, and what rolls over is not written
            over_ns = now_ns + VOID_NS
            account = self.book.accounts[one.owner]
            before = [each.grant for each in account.of("usage")]
            await self._write([Voided(grant=id, at_ns=over_ns, left_nanousd=left, reason=reason)])
            if one.granted.applies == "usage" and one.lots:  # else it never begins
                await self._postpone(account, before, over_ns, grant=id)
            await self._look()
            return one, True

    async def reset(self, tenant: str, wanted: WantedReset) -> tuple[Resetting, State, bool]:
        """End an account's usage period: what its grants have left rolls over, or is forfeited.

        Every call that is admitted after this returns is held to what rolled over; calls that run burn what was there
        when they were admitted. The same id with the same content changes nothing.
        Returns: the reset, where the account stands (at the cut, if that is to come), whether it is new.
        Raises: LocalError: a field is wrong, the moment is before what has been booked; `conflict`: the id stands with
            other content; `not_found`: calls burn no such account. TransientError `busy`: see `check_moment`.
        """
        asked = read_reset(tenant, wanted, self._clock.now_ns())
        owner = Owner(asked.tenant, asked.principal)
        async with self._turn:
            looked_ns = await self._look()
            known = self.book.resets.get(asked.id)
            if known is not None and not same_ask(known.asked, asked):
                raise LocalError(f"reset {asked.id!r} stands with other content", code="conflict", field="id")
            account = self.book.accounts.get(owner)
            if account is None or account.begin_ns is None:
                raise LocalError(f"{owner.name} has no credit that calls burn", code="not_found", field="tenant")
            if known is None:
                events = await self._ending(account, asked, looked_ns)
                before = [each.grant for each in account.of("usage")]
                await self._write(events)
                await self._postpone(account, before, self.book.resets[asked.id].asked.cut_ns, reset=asked.id)
            reset = self.book.resets[asked.id]
            await self._fold()
            until_ns = max(reset.asked.cut_ns, self._clock.now_ns())
            reckoned = await asyncio.to_thread(self._reckoner.reckon, account, until_ns)
            return reset, reckoned.state, known is None

    async def _ending(self, account: Account, asked: Reset, looked_ns: int) -> list[Event]:
        """What a reset writes; what was due until `looked_ns` is written."""
        if len(self.book.resets) >= RESETS_MAX:
            raise LocalError(f"the log holds {RESETS_MAX} resets, and that is the limit", field="id")
        await self._fold()
        since_ns = asked.at_ns if asked.asked_at_ns is None else asked.asked_at_ns
        last_ns = await asyncio.to_thread(self._reckoner.last_ns, account.owner, since_ns)
        reckoned = await asyncio.to_thread(self._reckoner.reckon, account, self._clock.now_ns())
        # Only now: all of this may have taken long, and calls were admitted.
        asked = msgspec.structs.replace(asked, cut_ns=self._clock.now_ns() + VOID_NS)
        check_moment(account, asked, last_ns, looked_ns)
        return list(ending(account, asked, reckoned.state))

    async def _postpone(self, account: Account, before: Sequence[Grant], over_ns: int, **of: str) -> None:
        """Move an end that was written so slowly that calls may be dated after it that were admitted without knowing of
        it. Now everybody knows what it takes, and nothing was closed at the first moment: that would be ours to do."""
        now_ns = self._clock.now_ns()
        if now_ns + EARLY_NS <= over_ns:
            return
        # Not over what happens to a grant by itself: that follows on the end that was written. Nor over what would have
        # happened without it, which that end took away: later, it would happen first.
        each = (before, [one.grant for one in account.of("usage")])
        until_ns, resets = now_ns + VOID_NS + 1, account.resets_at()
        soon = [at_ns for grants in each for at_ns in boundaries(grants, State(at_ns=over_ns), until_ns, resets)[1:-1]]
        at_ns = min(soon) - 1 if soon else now_ns + VOID_NS
        if at_ns > over_ns:
            await self._write([Postponed(at_ns=at_ns, **of)])

    async def burn(self, tenant: str, nanousd: int, id: str) -> Burned:
        """Take at most so much of the tenant's credit for invoices, once for each id; the same again is answered as it
        was. Raises: LocalError `conflict`: the id stands for another tenant or amount."""
        check_tenant(tenant)
        check_name(id, "id")
        if nanousd < 0:
            raise LocalError(f"{nanousd} is less than 0", field="nanousd")

        def decide(book: Book) -> list[Event]:
            known = book.burns.get(id)
            if known is not None:
                if (known.tenant, known.asked_nanousd) != (tenant, nanousd):
                    raise LocalError(f"burn {id!r} stands with other content", code="conflict", field="id")
                return []
            account = book.accounts.get(Owner(tenant))
            parts = collected(account, nanousd, self._clock.now_ns()) if account is not None else ()
            return [Burned(id=id, tenant=tenant, asked_nanousd=nanousd, parts=parts)]

        async with self._turn:
            await self._look()
            await self._change(decide)
            return self.book.burns[id]

    async def restore(self, id: str) -> Restored:
        """Take a burn back whole, once; again is answered as it was. Raises: LocalError `not_found`: no such burn."""

        def decide(book: Book) -> list[Event]:
            if id not in book.burns:
                raise LocalError(f"nothing was taken for {id[:200]!r}", code="not_found", field="id")
            return [] if id in book.restored else [given_back(book, book.burns[id])]

        async with self._turn:
            await self._look()
            await self._change(decide)
            return self.book.restored[id]

    async def reckoned(self, owner: Owner | None = None, tenant: str = "") -> list[tuple[Account, Reckoned | None]]:
        """Where accounts stand by everything settled until now; all, or one tenant's, or one."""
        async with self._turn:
            await self._look()
            await self._fold()  # so that what was settled before the question is in the answer
            chosen = [
                account
                for account in self.book.accounts.values()
                if owner in (None, account.owner) and tenant in ("", account.owner.tenant)
            ]
            return [(account, await self._reckon(account, self._clock.now_ns())) for account in chosen]

    # what time makes due

    async def look(self) -> None:
        """Write what is due. Costs next to nothing when nothing is."""
        async with self._turn:
            await self._look()

    def forget(self) -> None:
        """What past calls cost has been corrected: read it again, and let capacities follow."""
        self._reckoner.forget()
        self._correct_ns = 0
        self._corrected_once = False

    async def _look(self) -> int:
        """As `look`; the moment until which it has been written."""
        await self.refresh()
        now_ns = self._clock.now_ns()
        if now_ns < min(self._due_ns, self._correct_ns):
            return now_ns
        await self._fold()
        for account in list(self.book.accounts.values()):
            await self._keep(account, now_ns)
        if now_ns >= self._correct_ns:
            await self._correct(now_ns)
            self._correct_ns = now_ns + CORRECT_NS
        self._due_ns = min((keeping.due_ns(one, now_ns) for one in self.book.accounts.values()), default=NEVER_NS)
        return now_ns

    async def _keep(self, account: Account, now_ns: int) -> None:
        for _ in range(_ROUNDS_MAX):
            if keeping.due_ns(account, now_ns - keeping.AGAIN_NS) > now_ns:
                return
            events = list(keeping.due(account, await self._reckon(account, now_ns), now_ns))
            if not events:
                return
            for first in range(0, len(events), _BATCH_MAX):  # each is of another grant or reset
                await self._write(events[first : first + _BATCH_MAX])

    async def _correct(self, now_ns: int) -> None:
        """Let capacities take in what was charged beside what workers counted; of tenants that called lately, if all
        were looked at once."""
        accounts = list(self.book.accounts.values())
        if self._corrected_once:
            called = await asyncio.to_thread(self._reckoner.called, now_ns - CORRECT_NS - GRACE_NS)
            accounts = [one for one in accounts if one.owner.tenant in called]
        self._corrected_once = True
        for account in accounts:
            reckoned = await self._reckon(account, now_ns)
            if reckoned is None or reckoned.cost - reckoned.metered == account.corrected:
                continue
            tenant, principal = account.owner
            difference = reckoned.cost - reckoned.metered
            await self._write([Corrected(tenant=tenant, principal=principal, nanousd=difference)])

    async def _reckon(self, account: Account, now_ns: int) -> Reckoned | None:
        if account.begin_ns is None or account.begin_ns >= now_ns:
            return None
        return await asyncio.to_thread(self._reckoner.reckon, account, now_ns)

    async def _left(self, one: Standing, now_ns: int) -> int:
        """The most that a grant can have left."""
        if one.granted.applies == "invoices":
            return sum(lot.balance for lot in one.lots)
        await self._fold()
        reckoned = await self._reckon(self.book.accounts[one.owner], now_ns)
        begun = reckoned is not None and one.grant.effective_at_ns < now_ns
        return reckoned.state.balances.get(one.granted.id, 0) if reckoned and begun else one.grant.amount

    async def _write(self, events: Sequence[Event]) -> None:
        await self._change(lambda book: events)

    async def _change(self, decide: Callable[[Book], Sequence[Event]]) -> Sequence[Event]:
        """Decide on the newest state, append if it is still the newest, fold it, tell everybody; what was written."""
        for _ in range(_TRIES):
            book = await self.refresh()
            events = decide(book)
            records = [self._record(event, book.seq + n) for n, event in enumerate(events)]
            if records and isinstance(await self._log.append(STREAM, records, expect=book.seq), Conflict):
                continue
            await self.refresh()
            self._committed(self.book.seq)
            return events
        raise InterlockError(f"the stream {STREAM!r} moved on {_TRIES} times in a row; retry", code="conflict")

    def _record(self, event: Event, seq: int) -> Record:
        payload = msgspec.json.encode(event)
        return Record(id=record_id(event, seq), type=NAMES[type(event)], at_ns=self._clock.now_ns(), payload=payload)


def record_id(event: Event, seq: int) -> str:
    """The idempotency key of an event in its stream; `seq`: the record before it."""
    match event:
        case Granted():
            return f"grant/{event.id}"
        case Begun():
            return f"begin/{event.tenant}/{event.principal}"
        case Voided():
            return f"void/{event.grant}"
        case Reset():
            return f"reset/{event.id}"
        case Postponed():
            return f"postpone/{event.grant or event.reset}/{seq + 1}"
        case Forgiven():
            return f"forgive/{event.reset}"
        case Lapsing():
            return f"lapse/{event.grant}/{event.period}/{seq + 1}"
        case Expired():
            return f"end/{event.grant}/{event.period}"
        case Recurred():
            return f"recur/{event.grant}/{event.period}"
        case Burned():
            return f"burn/{event.id}"
        case Restored():
            return f"restore/{event.id}"
        case Corrected():
            return f"correct/{seq + 1}"


def collected(account: Account, nanousd: int, now_ns: int) -> tuple[Part, ...]:
    """What a burn for an invoice takes, in order: at most what there is."""
    open_: dict[str, Lot] = {}
    for one in account.of("invoices"):
        open_.update((one.granted.id, lot) for lot in one.lots if lot.from_ns <= now_ns < lot.until_ns)
    balances = {id: lot.balance for id, lot in open_.items()}
    order = [grant.id for grant in ranked(account.grants[id].grant for id in open_)]
    taken, _ = collect(balances, order, nanousd)
    return tuple(Part(grant=one.grant, period=open_[one.grant].period, nanousd=one.amount) for one in taken)


def given_back(book: Book, burned: Burned) -> Restored:
    """What a burn gives back: all of it, the last collected first. What a grant gave that is over has expired."""
    open_ = {(id, lot.period) for id in {part.grant for part in burned.parts} for lot in book.grants[id].lots}
    kept = tuple(part for part in reversed(burned.parts) if (part.grant, part.period) in open_)
    return Restored(id=burned.id, parts=kept, lost_nanousd=burned.nanousd - sum(part.nanousd for part in kept))
