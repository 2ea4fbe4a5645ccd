"""What a reset of an account's usage period writes, and which moment it may be of. Pure."""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from interlock.credits.book import Account
from interlock.credits.burning import Grant, State, boundaries
from interlock.credits.records import Event, Lapsing, Reset
from interlock.credits.schedule import next_ns
from interlock.errors import LocalError, TransientError
from interlock.instants import rfc3339

_MS = 1_000_000


def same_ask(stands: Reset, asked: Reset) -> bool:
    """Whether two resets are one that was asked for twice: of two that are asked for now, the first tells the time."""
    return replace(asked, at_ns=stands.at_ns, cut_ns=stands.cut_ns) == stands


def check_moment(account: Account, asked: Reset, last_ns: int | None, looked_ns: int) -> None:
    """See that a reset at its cut is one at the moment that was asked for: that nothing lies between them.

    Args:
        last_ns: when the newest call since that moment was admitted.
        looked_ns: between the two; what was due until then is written.
    Raises: LocalError: something was booked since, or a new period would be over; it names the earliest moment that is
        right. TransientError `busy`: a grant changes before the cut, which would be reset, or not, by chance.
    """
    grants, resets = [one.grant for one in account.of("usage")], account.resets_at()
    own = _own_ends(grants, asked)
    if asked.asked_at_ns is not None:
        booked = boundaries(grants, State(at_ns=asked.at_ns - 1), looked_ns + 1, resets)[1:-1]
        booked += [last_ns] if last_ns is not None else []
        booked += [end_ns for end_ns in own if end_ns <= looked_ns]
        if booked:
            earliest_ns = (max(booked) // _MS + 1) * _MS
            message = f"{rfc3339(asked.at_ns)} is before what has been booked, or would have been"
            raise LocalError(f"{message}: {rfc3339(earliest_ns)} is the earliest that would be right", field="at")
    soon = boundaries(grants, State(at_ns=looked_ns), asked.cut_ns + 1, resets)[1:-1]
    soon += [end_ns for end_ns in own if looked_ns < end_ns <= asked.cut_ns]
    if soon:
        message = f"{account.owner.name} changes at {rfc3339(min(soon))}: ask again after that, if still wanted"
        raise TransientError(message, code="busy")


def _own_ends(grants: Iterable[Grant], asked: Reset) -> list[int]:
    """When the periods that a new anchor begins would end. Months differ: one from the 28th of February is over while
    one to the 31st of March is not, and a cut after that is not the same as one at the anchor."""
    if asked.anchor != "now":
        return []
    again = (one.recurrence for one in grants if one.active(asked.cut_ns))
    return [next_ns(one.every, asked.at_ns, asked.at_ns) for one in again if one is not None]


def ending(account: Account, asked: Reset, state: State) -> Iterator[Event]:
    """The records: the reset, and of each grant that it is about the most that is forfeited of it.

    What calls use until the cut only makes that less. A grant that has nothing, and of which nothing would be kept, is
    left as it is.
    """
    yield asked
    for one in account.of("usage"):
        lot = one.lots[-1] if one.lots else None
        if lot is None or not lot.from_ns < asked.cut_ns < lot.until_ns:
            continue
        balance = state.balances.get(one.granted.id, 0)
        again = asked.anchor == "now" and one.grant.recurrence is not None
        if balance or one.grant.rollover_min or again:
            left = max(balance - one.grant.rolled_over(balance), 0)
            yield Lapsing(grant=one.granted.id, period=lot.period, left_nanousd=left, reset=asked.id)
