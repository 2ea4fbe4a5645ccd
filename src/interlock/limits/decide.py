"""Whether a call is admitted: all of the limits that apply to it, or none. Pure."""

from collections.abc import Iterable, Sequence

from interlock.limits.call import Denied, Reason, Standing
from interlock.limits.limit import NEVER_NS

SOON_NS = 1_000_000_000
"""When to come again if what is missing is only held: calls that run end, nobody knows when."""


def short(standings: Iterable[Standing]) -> list[Standing]:
    """Those that it does not fit into; empty: it is admitted. What costs nothing fits into an overdrawn account."""
    return [
        one
        for one in standings
        if one.used + one.held + one.asked > one.capacity and (one.asked or one.limit.window != "ever")
    ]


def retry_after_ns(one: Standing, now_ns: int) -> int | None:
    """How long until the call may fit; None: never as it is, or not before somebody pays."""
    if one.limit.window == "ever":
        return SOON_NS if one.used + one.others + one.asked <= one.limit.amount else None
    if one.asked > one.limit.amount:
        return None
    if one.ends_ns == NEVER_NS or one.used + one.others + one.asked <= one.limit.amount:
        return SOON_NS
    return max(one.ends_ns - now_ns, 1)


def denied(missing: Sequence[Standing], standings: list[Standing], now_ns: int, *, away: bool = False) -> Denied:
    """The answer to a call that does not fit into `missing`, of `standings`: it names the limit that lasts longest.

    Args:
        away: shares are not enough, and the authority cannot be asked.
    """
    waits = [retry_after_ns(one, now_ns) for one in missing]
    at = max(range(len(missing)), key=lambda n: NEVER_NS if (wait := waits[n]) is None else wait)
    one, wait = missing[at], waits[at]
    reason: Reason = "too_large" if wait is None else "exceeded"
    if one.limit.window == "ever":
        reason = "exhausted"
    if away and wait is not None and one.used + one.held + one.others + one.asked <= one.limit.amount:
        reason, wait = "away", SOON_NS  # there may well be enough, but nobody can say so
    return Denied(
        reason=reason,
        limit=one.limit.name,
        measure=one.limit.measure,
        asked=one.asked,
        left=one.left,
        retry_after_ns=wait,
        standings=standings,
    )
