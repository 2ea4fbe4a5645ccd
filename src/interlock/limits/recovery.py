"""Counters set right by what the log says: after a worker's death, and at a start. Called by the supervisor."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from interlock.limits.call import Actual
from interlock.limits.entitled import Entitled
from interlock.limits.limit import Limit, begin_ns, end_ns
from interlock.limits.limiter import finished
from interlock.limits.matching import Matcher, Target
from interlock.limits.page import GENERATION, GRANTED, USED, Page
from interlock.units import INT64_MAX


class Spent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the log says was used under these names: of one call, or the sum of several of about the same time."""

    at_ns: int
    """When it was admitted. Of several: any time inside the window of every limit that they count against."""
    key: str = ""
    principal: str = ""
    tenant: str = ""
    session: str = ""
    deployment: str = ""
    model: str = ""
    requests: int = 0
    attempts: int = 0
    """What was sent: of limits that are of a deployment or model these are the requests."""
    input_tokens: int = 0
    output_tokens: int = 0
    nanousd: int = 0

    @property
    def amounts(self) -> tuple[int, int, int, int, int, int]:
        """By measure."""
        read, written = self.input_tokens, self.output_tokens
        return (self.requests, read, written, read + written, 0, self.nanousd)


def worker_died(page: Page, slot: int, outcome: Callable[[str], Actual | None]) -> int:
    """End every call that a dead worker held; how many there were. Nobody may own the slot meanwhile.

    Args:
        outcome: what the log says of the call with this id (`Claim.id`), once what the worker left open there has been
            settled; None: nothing, so it is given back.
    Safe to do again: each call is ended whole or not at all.
    """
    count = 0
    for ticket in range(page.tickets):
        page.lock()
        try:
            at = page.ticket_at(slot, ticket)
            if page.words[at]:
                call, parts = page.read_ticket(at)
                actual = outcome(call)
                page.commit([*finished(page, parts, actual.amounts if actual else None), at, 0])
                count += 1
        finally:
            page.unlock()
    return count


def restore(
    page: Page,
    limits: Sequence[Limit],
    spent: Iterable[Spent],
    now_ns: int,
    plans: Mapping[str, Entitled] = MappingProxyType({}),
) -> int:
    """Let each counter be at least what the log says of its present window; how many there are.

    Exact on a new page, before any worker runs. Later (a limit that is new to the policy) calls that were admitted
    meanwhile may be missing from the sum, but nothing counts twice, and doing it again changes nothing.
    Args:
        spent: all that the log has since `since_ns` of all of these limits; what is older is passed over.
        plans: what tenants' plans say, by tenant.
    """
    matcher, sums = Matcher(limits, plans=plans), dict[bytes, tuple[Target, int]]()
    for one in spent:
        amounts = one.amounts
        for target in matcher.targets(one):
            window, amount = target.limit.window, one.attempts if target.sends else amounts[target.measure]
            if amount and one.at_ns >= begin_ns(window, now_ns):
                sums[target.key] = (target, sums.get(target.key, (target, 0))[1] + amount)
    for target, total in sums.values():
        page.lock()
        try:
            _raise_used(page, target, min(total, INT64_MAX), now_ns)
        finally:
            page.unlock()
    return len(sums)


def _raise_used(page: Page, target: Target, total: int, now_ns: int) -> None:
    at = page.open_row(target.key, end_ns(target.limit.window, now_ns), now_ns)
    if at < 0:
        return  # a table that full refuses the calls themselves
    used = page.words[at + USED]
    if total <= used:
        return
    changes = [at + USED, total]
    if page.leased:  # it was spent, so it is this machine's share; slot 0 tells the authority so
        share = page.share_at(0, at)
        changes += (share, page.words[at + GENERATION], share + 1, page.share(0, at) + total - used)
        changes += (at + GRANTED, page.words[at + GRANTED] + total - used)
    page.commit(changes)
