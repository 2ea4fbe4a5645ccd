"""What has to be written because time has passed: grants that come again, lapse, and are closed. Pure."""

from collections.abc import Iterator, Mapping
from itertools import chain

from interlock.credits.book import Account, Lot, Standing
from interlock.credits.burning import NEVER_NS
from interlock.credits.records import Event, Expired, Forgiven, Lapsing, Recurred
from interlock.credits.usage import GRACE_NS, Reckoned

NOTICES_NS = (60_000_000_000, 2_000_000_000, 0)
"""How long before a period's end the most that it can have left is written down. What is used after the last notice is
missing from the capacity until the next; workers that find none at the end count on nothing of the whole grant."""
AGAIN_NS = 500_000_000
"""How often it is looked whether calls that were admitted before an end are still open."""


def due_ns(account: Account, now_ns: int) -> int:
    """When something has to be written of the account."""
    ends = (_due_ns(one, lot, now_ns) for one in account.grants.values() for lot in one.lots)
    resets = (_closes_ns(one.asked.cut_ns, now_ns) for one in account.resets.values() if one.forgiven is None)
    return min(chain(ends, resets), default=NEVER_NS)


def _due_ns(one: Standing, lot: Lot, now_ns: int) -> int:
    if lot.until_ns == NEVER_NS:
        return NEVER_NS
    if one.granted.applies == "invoices":
        return lot.until_ns
    if (notice_ns := _next_notice_ns(lot)) is not None:
        return notice_ns
    if lot is one.lots[-1] and one.goes_on(lot):
        return lot.until_ns
    return _closes_ns(lot.until_ns, now_ns)


def _closes_ns(ended_ns: int, now_ns: int) -> int:
    return max(ended_ns + GRACE_NS, now_ns + AGAIN_NS)


def due(account: Account, reckoned: Reckoned | None, now_ns: int) -> Iterator[Event]:
    """What has to be written now. What is written then may make more due: look again until there is nothing.

    Args:
        reckoned: of an account whose calls burn it.
    """
    forfeited: dict[str, dict[int, int]] = {}
    for end in reckoned.state.ends if reckoned is not None else ():
        forfeited.setdefault(end.grant, {})[end.period] = end.forfeited
    for one in account.grants.values():
        if one.lots and (lot := one.lots[-1]).until_ns <= now_ns and one.goes_on(lot):
            amount = one.next_amount(lot)
            yield Recurred(grant=one.granted.id, period=lot.period + 1, at_ns=lot.until_ns, amount_nanousd=amount)
        elif one.granted.applies == "invoices":
            yield from _closed_at_once(one, now_ns)
        elif reckoned is not None:
            yield from _lapsed(one, reckoned, forfeited.get(one.granted.id, {}), now_ns)
    if reckoned is not None:
        yield from _forgiven(account, reckoned)


def _next_notice_ns(lot: Lot) -> int | None:
    moments = (lot.until_ns - notice_ns for notice_ns in NOTICES_NS)
    return next((moment for moment in moments if lot.lapse is None or lot.lapsed_ns < moment), None)


def _closed_at_once(one: Standing, now_ns: int) -> Iterator[Event]:
    """Only records burn it, so what is left at the end is known at the end."""
    lot = one.lots[0] if one.lots else None
    if lot is not None and lot.until_ns <= now_ns:
        rolled = one.grant.rolled_over(lot.balance) if one.goes_on(lot) else 0
        left = lot.balance - rolled
        yield Expired(grant=one.granted.id, period=lot.period, forfeited_nanousd=left, rolled_nanousd=rolled)


def _lapsed(one: Standing, reckoned: Reckoned, forfeited: Mapping[int, int], now_ns: int) -> Iterator[Event]:
    id = one.granted.id
    for lot in one.lots:
        if lot.period in forfeited and lot.until_ns <= reckoned.closed_ns:
            yield Expired(grant=id, period=lot.period, forfeited_nanousd=forfeited[lot.period], reset=lot.reset)
            return  # what follows burned after it: next time
        notice_ns = _next_notice_ns(lot)
        if notice_ns is not None and notice_ns <= now_ns:
            to_come = lot.amount if lot.from_ns > now_ns else 0  # its end is near before it begins
            balance = reckoned.state.balances.get(id, to_come)
            left = balance - (one.grant.rolled_over(balance) if one.goes_on(lot) else 0)
            yield Lapsing(grant=id, period=lot.period, left_nanousd=max(forfeited.get(lot.period, left), 0))


def _forgiven(account: Account, reckoned: Reckoned) -> Iterator[Event]:
    tenant, principal = account.owner
    for drop in reckoned.state.drops:
        reset = account.resets[drop.reset]
        if reset.forgiven is None and reset.asked.cut_ns <= reckoned.closed_ns:
            yield Forgiven(reset=drop.reset, tenant=tenant, principal=principal, nanousd=drop.forgiven)
