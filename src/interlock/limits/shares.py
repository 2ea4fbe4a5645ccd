"""What a worker has leased, on the page: read, raised, lowered. No I/O but the page's; `leases.py` talks.

A row's GRANTED is the sum of all slots' shares. A slot's share is changed by its own worker, but for `drop_windowless`
and what a dead worker's successor takes over.
"""

from interlock.limits.call import Claim
from interlock.limits.limit import NEVER_NS
from interlock.limits.limiter import Limiter
from interlock.limits.matching import Target
from interlock.limits.page import ENDS, GENERATION, GRANTED, HELD, OTHERS, USED, unpack_row
from interlock.limits.ports import Ask, Told
from interlock.units import INT64_MAX

EXTRA_WITHIN_NS = 1_000_000_000
"""A counter that needs another lease so soon asks for twice as much beyond need as the last time."""
DRY_NS = 200_000_000
"""For how long calls that need as much are refused without asking, once there was not so much to be had."""


class Share:
    """One counter, in one window, that a worker has leased something of."""

    __slots__ = (
        "asked_ns",
        "at",
        "dry_until_ns",
        "ends_ns",
        "extra",
        "free",
        "generation",
        "key",
        "moved_ns",
        "name",
        "told",
    )

    def __init__(self, key: bytes, at: int, generation: int, ends_ns: int) -> None:
        self.key = key
        self.name = key.hex()
        self.at = at
        self.generation = generation
        self.ends_ns = ends_ns
        self.extra = 0
        self.asked_ns = -EXTRA_WITHIN_NS
        self.free = 0
        self.dry_until_ns = 0
        """Until then the authority has no more than `free`; monotonic."""
        self.moved_ns = 0
        self.told: tuple[int, int] | None = None
        """(mine, spent) as the authority last heard it; None: it may not have heard."""


class Shares:
    """Of one slot of a page. Each method takes the lock itself."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._page = limiter.page
        self._slot = limiter.slot
        self._clock = limiter.clock
        self._known: dict[bytes, Share] = {}

    def of(self, target: Target) -> Share | None:
        """The share of a counter in its present window; None: the table has no room for it."""
        self._page.lock()
        try:
            return self._of(target)
        finally:
            self._page.unlock()

    def every(self) -> list[Share]:
        """Whatever this slot has leased, and what this machine spent that nobody has leased (it is leased by this)."""
        page, found = self._page, list[Share]()
        page.lock()
        try:
            for key, at in page.open_rows(self._clock.now_ns()):
                self._cover(at)
                if page.share(self._slot, at):
                    found.append(Share(key, at, page.words[at + GENERATION], page.words[at + ENDS]))
        finally:
            page.unlock()
        self._known = {share.key: share for share in found}
        return found

    def lacking(self, claim: Claim) -> list[tuple[Share, Ask]]:
        """What to ask for so that the call fits: exactly that, and more if the last time was a moment ago."""
        page, amounts, wanted = self._page, claim.amounts, list[tuple[Share, Ask]]()
        now_ns = self._clock.monotonic_ns()
        page.lock()
        try:
            for target in self._limiter.targets(claim):
                share, asked = self._of(target), amounts[target.measure]
                if share is None or asked is None:
                    continue  # refused for that
                _, ends_ns, used, held, granted, _ = unpack_row(page.buffer, 8 * share.at)
                need = asked - (min(granted, target.limit.amount) - used - held)
                if need <= 0:
                    continue
                again = now_ns - share.asked_ns < EXTRA_WITHIN_NS
                share.extra = max(2 * share.extra, need) if again else 0
                share.asked_ns = now_ns
                ask = Ask(
                    name=share.name,
                    ends_ns=ends_ns,
                    mine=page.share(self._slot, share.at),
                    spent=0 if ends_ns == NEVER_NS else used + held,
                    need=need,
                    extra=min(share.extra, INT64_MAX),
                    amount=target.limit.amount,
                )
                wanted.append((share, ask))
        finally:
            page.unlock()
        return wanted

    def hopeless(self, claim: Claim) -> bool:
        """Whether something that it lacks would not suffice even if nobody held back anything unspent."""
        return any(taken + asked > target.limit.amount for target, taken, asked in self._missing(claim))

    def refused(self, claim: Claim) -> None:
        """Remember for a moment that the authority had not enough for it."""
        until_ns = self._clock.monotonic_ns() + DRY_NS
        for target, *_ in self._missing(claim):
            if share := self._known.get(target.key):
                share.dry_until_ns = until_ns

    def dry(self, target: Target, need: int) -> bool:
        """Whether it was said just now that nobody has as much."""
        share = self._known.get(target.key)
        return share is not None and need > share.free and self._clock.monotonic_ns() < share.dry_until_ns

    def _missing(self, claim: Claim) -> list[tuple[Target, int, int]]:
        """(counter, taken of it on all machines, asked) of those that it does not fit into."""
        page, amounts, missing = self._page, claim.amounts, list[tuple[Target, int, int]]()
        for target in self._limiter.targets(claim):
            generation, _, used, held, granted, others = unpack_row(page.buffer, target.byte)
            asked = amounts[target.measure] or 0
            if generation == target.generation and used + held + asked > min(granted, target.limit.amount):
                missing.append((target, used + held + others, asked))
        return missing

    def raise_by(self, share: Share, ask: Ask, told: Told) -> None:
        """Take over what the authority answered."""
        page, at = self._page, share.at
        page.lock()
        try:
            share.told = (ask.mine + told.granted, ask.spent)
            share.free = told.free - told.granted if ask.need else share.free
            if page.words[at + GENERATION] == share.generation:
                changes = [at + OTHERS, told.others]
                if told.granted:
                    changes += self._changed(at, told.granted)
                    share.dry_until_ns = 0
                page.commit(changes)
        finally:
            page.unlock()

    def give_back(self, share: Share) -> bool:
        """Take what nobody uses off the page; whether there was any. Tell the authority afterwards."""
        page, at = self._page, share.at
        page.lock()
        try:
            if page.words[at + GENERATION] != share.generation:
                return True  # the row went to another counter, because nothing was held: all of it is given back
            _, _, used, held, granted, _ = unpack_row(page.buffer, 8 * at)
            idle = min(granted - used - held, page.share(self._slot, at))
            if idle > 0:
                page.commit(self._changed(at, -idle))
            return bool(idle > 0)
        finally:
            page.unlock()

    def news(self, share: Share) -> Ask | None:
        """What to tell of a share; None: the authority knows."""
        page, at = self._page, share.at
        page.lock()
        try:
            if page.words[at + GENERATION] != share.generation:
                mine, spent = 0, 0
                if share.ends_ns != NEVER_NS:
                    return None  # the window is over
            else:
                self._cover(at)
                mine = page.share(self._slot, at)
                spent = 0 if share.ends_ns == NEVER_NS else page.words[at + USED] + page.words[at + HELD]
        finally:
            page.unlock()
        if share.told == (mine, spent):
            return None
        return Ask(name=share.name, ends_ns=share.ends_ns, mine=mine, spent=spent)

    def drop_windowless(self) -> None:
        """Take what no call at once uses off every slot's share: the authority may have given it to others."""
        page = self._page
        page.lock()
        try:
            for _, at in page.open_rows(self._clock.now_ns()):
                words = page.words
                if words[at + ENDS] != NEVER_NS:
                    continue
                for slot in range(page.slots):
                    idle = min(words[at + GRANTED] - words[at + HELD], page.share(slot, at))
                    if idle > 0:
                        page.commit(self._changed(at, -idle, slot))
        finally:
            page.unlock()

    def forget_past(self) -> None:
        """Forget windows that are over."""
        now_ns = self._clock.now_ns()
        self._known = {key: share for key, share in self._known.items() if share.ends_ns > now_ns}

    # inside the lock

    def _of(self, target: Target) -> Share | None:
        page, now_ns = self._page, self._clock.now_ns()
        words, known = page.words, self._known.get(target.key)
        stale = words[target.at + GENERATION] != target.generation or words[target.at + ENDS] <= now_ns
        if stale and not self._limiter.locate(target, now_ns):
            return None
        if known is None or known.at != target.at or known.generation != target.generation:
            known = Share(target.key, target.at, target.generation, words[target.at + ENDS])
            self._known[target.key] = known
        self._cover(target.at)
        return known

    def _cover(self, at: int) -> None:
        """What was spent beyond all shares (more used than reserved, an overdraft) becomes a share of this slot's."""
        words = self._page.words
        excess = words[at + USED] + words[at + HELD] - words[at + GRANTED]
        if excess > 0:
            self._page.commit(self._changed(at, excess))

    def _changed(self, at: int, by: int, slot: int | None = None) -> list[int]:
        page, slot = self._page, self._slot if slot is None else slot
        share = page.share_at(slot, at)
        generation = page.words[at + GENERATION]
        mine, granted = page.share(slot, at) + by, page.words[at + GRANTED] + by
        return [share, generation, share + 1, min(mine, INT64_MAX), at + GRANTED, min(granted, INT64_MAX)]
