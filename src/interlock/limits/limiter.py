"""What the gateway calls: reserve before, settle after. Synchronous: a call that fits waits for nobody.

    outcome = limiter.reserve(claim)
    if isinstance(outcome, NeedsLease):
        outcome = await limiter.lease(outcome)
    if isinstance(outcome, Denied): ...
    ...                                # the call; its settlement goes to the log first
    limiter.settle(outcome, actual)    # or release(outcome): it never reached anybody

The log first, then `settle`: a worker that dies between leaves a ticket, and whoever clears up (`recovery.py`) asks the
log what became of the call. The other way round it would count twice.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from interlock.clock import Clock
from interlock.errors import LocalError
from interlock.limits.call import Actual, Amounts, Claim, Denied, Held, NeedsLease, Parts, Standing
from interlock.limits.decide import SOON_NS, denied, short
from interlock.limits.entitled import Entitled
from interlock.limits.limit import Limit, end_ns
from interlock.limits.matching import Matcher, Target, owner_of
from interlock.limits.page import (
    CONTACT,
    ENDS,
    GENERATION,
    HELD,
    OTHERS,
    PARTS_MAX,
    USED,
    WARNED,
    Page,
    unpack_row,
)
from interlock.limits.ports import Funds, Plans
from interlock.limits.warning import Crossing, Notice, fallen, low, passed
from interlock.units import INT64_MAX

if TYPE_CHECKING:
    from interlock.limits.leases import Leases

FENCE_NS = 10_000_000_000
"""Shares of what has no window are not used when the authority has been silent for so long: a little later it gives
them to others (`division.Times`)."""


def _nothing(_: Crossing | Notice) -> None:
    """For who does not ask."""


class Limiter:
    """A worker's limits. One slot of the page is its own; one thread calls it."""

    def __init__(
        self,
        page: Page,
        slot: int,
        clock: Clock,
        limits: Sequence[Limit],
        on_crossing: Callable[[Crossing], None] = _nothing,
    ) -> None:
        """`on_crossing` is called, without the lock, when a threshold was passed; it must not block."""
        assert 0 <= slot < page.slots, slot
        self.page = page
        self.slot = slot
        self.clock = clock
        self.leases: Leases | None = None
        """Set where the page is shared with other machines; None there: shares in hand are all there is."""
        self.funds: Funds | None = None
        """Who knows what prepaid accounts may use; None: there are none."""
        self.plans: Plans | None = None
        """Who knows what plans let tenants use; None: they restrict nothing."""
        self.below: tuple[int, ...] = ()
        """Nano-USD, descending: what of a prepaid balance is so little that `on_low` is called."""
        self.on_low: Callable[[Notice], None] = _nothing
        """Called as `on_crossing`."""
        self._touched: dict[bytes, Target] = {}
        self._matcher = Matcher(())
        self.adopt(limits)
        self._on_crossing = on_crossing
        self._free = page.free_tickets(slot)[::-1]

    def adopt(self, limits: Sequence[Limit]) -> None:
        """Decide by `limits` from now on. What was counted under a name stays; what is held is settled as it was."""
        self._matcher = Matcher(limits, self._matcher.accounts, self._matcher.plans)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """As adopted."""
        return self._matcher.limits

    @property
    def funded(self) -> bool:
        """Whether there is any prepaid account or plan that restricts, or nobody knows."""
        return not self._up_to_date() or bool(self._matcher.accounts or self._matcher.plans)

    def entitled(self, tenant: str) -> Entitled | None:
        """What the tenant's plan lets it use; None: nothing is restricted by one. Raises: LocalError: nobody knows."""
        if not self._up_to_date():
            raise LocalError("what the plan entitles to cannot be read now; retry", code="limits_unavailable")
        return self._matcher.plans.get(tenant)

    def lets(self, tenant: str, model: str) -> bool:
        """Whether the tenant's plan lets it call the model, as of the last admission."""
        return self._matcher.refusal(tenant, model) is None

    def _up_to_date(self) -> bool:
        funds, plans = self.funds, self.plans
        if funds is None and plans is None:
            return True
        now_ns = self.clock.now_ns()
        accounts = funds.changed(now_ns) if funds is not None else ()
        entitled = plans.changed(now_ns) if plans is not None else ()
        if accounts:
            self._matcher = self._matcher.fund(accounts)
        if entitled:
            self._matcher = self._matcher.entitle(entitled)
        return accounts is not None and entitled is not None

    # calls

    def reserve(self, claim: Claim) -> Held | Denied | NeedsLease:
        """Admit a call under every limit that applies to it, or change nothing.

        Raises: TransientError: the counters cannot be had.
        """
        if not self._up_to_date():
            return Denied(reason="unknown", limit="", retry_after_ns=SOON_NS)
        matcher = self._matcher
        if matcher.plans and (refused := matcher.refusal(claim.tenant, claim.model)) is not None:
            return refused
        targets = matcher.targets(claim)
        if not targets:
            return Held(-1, (), [], [])
        self.page.lock()
        try:
            return self._reserve(claim, targets)
        finally:
            self.page.unlock()

    async def lease(self, needs: NeedsLease) -> Held | Denied:
        """Ask the authority for what the call lacks, and admit it if that comes. Waits at most `leases.LEASE_S`."""
        assert self.leases is not None, "only a page with leases needs any"
        return await self.leases.lease(needs.claim)

    def settle(self, held: Held, actual: Actual) -> None:
        """The call is over: what it used is counted, the rest is given back. Call it after the log has the figures."""
        self._finish(held, actual.amounts)

    def release(self, held: Held) -> None:
        """The call never reached anybody: all of it is given back, the request too."""
        self._finish(held, None)

    def targets(self, claim: Claim) -> tuple[Target, ...]:
        """The counters that a call counts against."""
        return self._matcher.targets(claim)

    def take_touched(self) -> list[Target]:
        """Counters that moved since the last time, on a page with leases."""
        touched, self._touched = self._touched, {}
        return list(touched.values())

    # inside the lock

    def _reserve(self, claim: Claim, targets: tuple[Target, ...]) -> Held | Denied | NeedsLease:
        page, amounts, now_ns = self.page, claim.amounts, self.clock.now_ns()
        buffer, leased = page.buffer, page.leased
        # Annotated, not `list[Standing]()`: calling the generic costs more than all of a counter's arithmetic.
        standings: list[Standing] = []
        parts: Parts = []
        changes = [0, 0]
        moved = False
        for target in targets:
            generation, ends_ns, used, held, granted, others = unpack_row(buffer, target.byte)
            if generation != target.generation or ends_ns <= now_ns:
                if not self.locate(target, now_ns):
                    return Denied(reason="full", limit=target.limit.name, retry_after_ns=SOON_NS)
                moved = True
                generation, ends_ns, used, held, granted, others = unpack_row(buffer, target.byte)
            limit, at, measure = target.limit, target.at, target.measure
            asked = 1 if target.sends else amounts[measure]
            if asked is None:
                return Denied(reason="unpriced", limit=limit.name, measure=limit.measure)
            capacity = self._share(limit, granted) if leased else limit.amount
            standings.append(Standing(limit, asked, used, held, capacity, others, ends_ns))
            parts += (at << 3 | measure, generation, asked)
            changes += (at + HELD, held + asked)
        if moved and any(page.words[one.at + GENERATION] != one.generation for one in targets):
            return Denied(reason="full", limit="", retry_after_ns=SOON_NS)  # one got the idle row of another
        if missing := short(standings):
            return self._refused(claim, targets, missing, standings, now_ns)
        if not self._free or len(targets) > PARTS_MAX:
            return Denied(reason="full", limit="", retry_after_ns=SOON_NS)
        ticket = self._free.pop()
        page.write_ticket(ticket, claim.id, parts)
        changes[0], changes[1] = ticket, len(targets)
        page.commit(changes)
        if leased:
            self._touched.update((target.key, target) for target in targets)
        return Held(ticket, targets, parts, standings)

    def locate(self, target: Target, now_ns: int) -> bool:
        """Find the counter's row in its present window, or make it. Needs the lock. False: there is no room."""
        at = self.page.open_row(target.key, end_ns(target.limit.window, now_ns), now_ns)
        if at < 0:
            return False
        target.at, target.byte, target.generation = at, 8 * at, self.page.words[at + GENERATION]
        return True

    def _share(self, limit: Limit, granted: int) -> int:
        if limit.window is None and self.clock.monotonic_ns() - self.page.words[CONTACT] > FENCE_NS:
            granted = 0
        away = self.leases is None or self.leases.away
        return min(granted, limit.amount) + (limit.overdraft if away else 0)

    def _refused(
        self,
        claim: Claim,
        targets: tuple[Target, ...],
        missing: list[Standing],
        standings: list[Standing],
        now_ns: int,
    ) -> Denied | NeedsLease:
        if not self.page.leased:
            return denied(missing, standings, now_ns)
        if self.leases is None or self.leases.away:
            return denied(missing, standings, now_ns, away=True)
        shares = self.leases.shares
        for target, one in zip(targets, standings, strict=True):
            need = one.used + one.held + one.asked - one.capacity
            if need > 0 and (one.asked > one.limit.amount or shares.dry(target, need)):
                return denied(missing, standings, now_ns)
        return NeedsLease(claim)

    def _finish(self, held: Held, amounts: Amounts | None) -> None:
        ticket, page = held.ticket, self.page
        if ticket < 0:
            return
        crossings: list[Crossing] = []
        notices: list[Notice] = []
        if self.below:
            self._up_to_date()  # what was given meanwhile is no longer low
        page.lock()
        try:
            changes = finished(page, held.parts, amounts)
            if amounts is not None and (self._matcher.warns or self.below):
                changes += self._cross(held, changes, crossings, notices)
            changes += (ticket, 0)
            page.commit(changes)
        finally:
            page.unlock()
        held.ticket = -1
        self._free.append(ticket)
        if page.leased:
            self._touched.update((target.key, target) for target in held.targets)
        for crossing in crossings:
            self._on_crossing(crossing)
        for notice in notices:
            self.on_low(notice)

    def _cross(self, held: Held, changes: list[int], crossings: list[Crossing], notices: list[Notice]) -> list[int]:
        """What to change besides, so that the thresholds that `changes` (`finished`) passes are known; adds them."""
        passing: list[int] = []
        words, n = self.page.words, 0
        for target, part in zip(held.targets, held.parts[::3], strict=True):
            at = part >> 3
            if n == len(changes) or changes[n] != at + HELD:
                continue  # its window is over
            used, limit = changes[n + 3] + words[at + OTHERS], target.limit
            n += 4
            if limit.window == "ever" and self.below:
                passing += self._fall(limit, used, at, notices)
            if not limit.warn_at or used * 100 < limit.warn_at[0] * limit.amount:
                continue
            warned, percent = passed(limit, used, words[at + WARNED])
            if percent:
                passing += (at + WARNED, warned)
                crossings.append(
                    Crossing(
                        limit=limit,
                        scope=target.scope,
                        percent=percent,
                        used=used,
                        ends_ns=words[at + ENDS],
                        at_ns=self.clock.now_ns(),
                    )
                )
        return passing

    def _fall(self, account: Limit, used: int, at: int, notices: list[Notice]) -> list[int]:
        """The same of a prepaid account: of what has been settled, whatever runs."""
        account = self._matcher.accounts.get(owner_of(account), account)
        left, known = account.amount - used, self.page.words[at + WARNED]
        warned, lowest = fallen(self.below, left, known)
        if lowest is not None:
            notices.append(low(account, left, lowest, self.clock.now_ns()))
        return [at + WARNED, warned] if warned != known else []


def finished(page: Page, parts: Parts, amounts: Amounts | None) -> list[int]:
    """The change (`Page.commit`) that ends a call: what it holds is given back, what it used is counted.

    Args:
        amounts: what it used, by measure; None of one: what was reserved; None at all: nothing.
    What it held in a window that is over is nobody's any more.
    """
    buffer = page.buffer
    changes: list[int] = []
    for n in range(0, len(parts), 3):
        part, reserved = parts[n], parts[n + 2]
        at = part >> 3
        generation, _, used, held, _, _ = unpack_row(buffer, 8 * at)
        if generation != parts[n + 1]:
            continue
        changes += (at + HELD, held - reserved)
        if amounts is not None:
            amount = amounts[part & 7]
            used += reserved if amount is None else amount
            changes += (at + USED, used if used <= INT64_MAX else INT64_MAX)
    return changes
