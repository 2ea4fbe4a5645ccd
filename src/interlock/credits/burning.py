"""How grants burn: which first, what is left when one ends, comes again or is reset. Pure, in integers.

Between two moments at which anything about the grants changes, the same grants burn in the same order, so it makes no
difference whether usage there is burned one by one or as a sum. What no grant covers is **overage**, and is taken from
whatever becomes available next. Nothing gets lost:

    granted - forfeited + forgiven - used == sum(balances) - overage

Overage is less than 0 where usage was corrected downwards after a grant that had burned for it was closed: it is taken
from usage to come. Order: priority, the lower first; expiry, the sooner first, none last; the time of writing; the id.
"""

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

import msgspec

from interlock.credits.schedule import Every, next_ns
from interlock.errors import LocalError
from interlock.units import INT64_MAX

NEVER_NS = INT64_MAX


class Anew(NamedTuple):
    """From that moment on an anchor is another one."""

    from_ns: int
    anchor_ns: int


class Recurrence(msgspec.Struct, frozen=True):
    """The balance is set to the amount again, at the anchor and at every so long before and after it."""

    every: Every
    anchor_ns: int
    anew: tuple[Anew, ...] = ()
    """In order of time. The balance is set at each of these moments, too."""

    def after(self, since_ns: int) -> int:
        """The first time after that moment."""
        anchor_ns = self.anchor_ns
        for one in self.anew:
            if one.from_ns > since_ns:
                return min(one.from_ns, next_ns(self.every, anchor_ns, since_ns))
            anchor_ns = one.anchor_ns
        return next_ns(self.every, anchor_ns, since_ns)


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What burns. Moments are Unix ns; a grant is active from `effective_at_ns` on, until `expires_at_ns`."""

    id: str
    amount: int
    priority: int = 0
    """0 first."""
    effective_at_ns: int = 0
    expires_at_ns: int = NEVER_NS
    """What it is ranked by."""
    voided_at_ns: int = NEVER_NS
    created: int = 0
    """Among others, in order."""
    recurrence: Recurrence | None = None
    rollover_min: int = 0
    rollover_max: int = 0
    """What of a balance remains when it comes again (on top of the amount) or is reset (instead of it)."""

    @property
    def ends_ns(self) -> int:
        """When it is over for good."""
        return min(self.expires_at_ns, self.voided_at_ns)

    def active(self, at_ns: int) -> bool:
        """Whether it burns for usage of that moment."""
        return self.effective_at_ns <= at_ns < self.ends_ns

    def period_end_ns(self, since_ns: int) -> int:
        """When the balance that it has since then is over: it comes again, or ends."""
        if self.recurrence is None:
            return self.ends_ns
        return min(self.ends_ns, self.recurrence.after(since_ns))

    def rolled_over(self, balance: int) -> int:
        """What remains of a balance."""
        return min(self.rollover_max, max(balance, self.rollover_min))


class ResetAt(msgspec.Struct, frozen=True, kw_only=True):
    """At that moment balances are rolled over and nothing is added. A grant that ends or comes again then does only
    that: what it had is forfeited or rolled over once."""

    id: str
    at_ns: int
    of: frozenset[str] | None = None
    """The grants; None: all."""
    keep_overage: bool = False
    """Or else what is owed is forgiven. What the account has coming (overage below 0) is kept always."""
    forgiven: int | None = None
    """How much of it, once that is decided."""


class Usage(NamedTuple):
    """What was used, dated when it was admitted; negative: a correction."""

    at_ns: int
    amount: int


class End(NamedTuple):
    """A grant's balance was over."""

    grant: str
    period: int
    at_ns: int
    balance: int
    """What it was."""
    forfeited: int
    """What of it is gone; the rest rolls over. Less than 0: more remains than there was (`rollover_min`)."""
    reset: str = ""
    """The reset that ended it; empty: it came again or was over."""


class Dropped(NamedTuple):
    """A reset has forgiven what was owed."""

    reset: str
    forgiven: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Where grants stand at a moment: everything until then has happened, usage of the moment itself has not."""

    at_ns: int
    balances: Mapping[str, int] = {}
    periods: Mapping[str, int] = {}
    """How often each has come again or was reset."""
    overage: int = 0
    granted: int = 0
    forfeited: int = 0
    forgiven: int = 0
    """Overage that a reset dropped."""
    used: int = 0
    ends: tuple[End, ...] = ()
    drops: tuple[Dropped, ...] = ()

    @property
    def balance(self) -> int:
        """Of all grants together, less what is owed."""
        return sum(self.balances.values()) - self.overage


class Taken(NamedTuple):
    """A part of what was collected."""

    grant: str
    amount: int


def ranked(grants: Iterable[Grant]) -> list[Grant]:
    """In the order in which they burn."""
    return sorted(grants, key=lambda one: (one.priority, one.expires_at_ns, one.created, one.id))


def collect(balances: dict[str, int], order: Iterable[str], amount: int) -> tuple[list[Taken], int]:
    """Take `amount` from the balances in that order: (what was taken of each, what they do not cover)."""
    taken = []
    for grant in order:
        if amount <= 0:
            break
        part = min(balances.get(grant, 0), amount)
        if part > 0:
            balances[grant] -= part
            amount -= part
            taken.append(Taken(grant, part))
    return taken, amount


def reopened(taken: Sequence[Taken], amount: int) -> list[Taken]:
    """What of a collection is given back when `amount` of it is: the last taken first."""
    back = []
    for grant, part in reversed(taken):
        if amount <= 0:
            break
        back.append(Taken(grant, min(part, amount)))
        amount -= back[-1].amount
    return back


def begin(grants: Sequence[Grant], at_ns: int, balances: Mapping[str, int] | None = None) -> State:
    """Grants that are active at that moment, with their amounts, or with these balances.

    Raises: LocalError: a balance is of no grant.
    """
    given = balances or {}
    if unknown := given.keys() - {one.id for one in grants}:
        raise LocalError(f"there is a balance of {min(unknown)!r}, and no such grant", field="balances")
    held = {one.id: given.get(one.id, one.amount) for one in grants if one.active(at_ns)}
    return State(at_ns=at_ns, balances=held, periods=dict.fromkeys(held, 0), granted=sum(held.values()))


def run(
    grants: Sequence[Grant],
    state: State,
    usages: Iterable[Usage],
    until_ns: int,
    *,
    resets: Iterable[ResetAt] = (),
    settled: Mapping[tuple[str, int], int] | None = None,
) -> State:
    """Burn what was used since `state` until a moment; what happens at that moment itself has happened, too.

    One run to the end equals many runs, each going on from the one before.
    Args:
        usages: in any order; those not in [state.at_ns, until_ns) are passed over.
        resets: those not in (state.at_ns, until_ns] are passed over.
        settled: of (grant, period) what was forfeited, where that is decided. If more or less was left by what is known
            now, the difference is overage, or less of it.
    Raises: LocalError: two resets are of one moment; two grants have one id, or a balance has no grant.
    """
    resets = tuple(resets)
    resetting = {one.at_ns: one for one in resets if state.at_ns < one.at_ns <= until_ns}
    if len({one.at_ns for one in resets}) < len(resets):
        raise LocalError("each reset has a moment of its own", field="resets")
    known = {one.id for one in grants}
    if len(known) < len(grants) or not state.balances.keys() <= known:
        raise LocalError("each grant has an id of its own, and each balance is of a grant", field="grants")
    burning = _Burning(grants, state, settled or {})
    waiting = sorted((one for one in usages if state.at_ns <= one.at_ns < until_ns), key=itemgetter(0))
    changes = _changes(grants, state, until_ns)
    n = 0
    for moment in sorted(changes.keys() | resetting.keys()):
        amount = 0
        while n < len(waiting) and waiting[n].at_ns < moment:
            amount += waiting[n].amount
            n += 1
        burning.burn(amount)
        burning.turn(moment, changes.get(moment, ()), resetting.get(moment))
    burning.burn(sum(one.amount for one in waiting[n:]))
    return burning.state(until_ns)


class _Burning:
    """A state while it changes."""

    def __init__(self, grants: Sequence[Grant], state: State, settled: Mapping[tuple[str, int], int]) -> None:
        self._ranks = {grant.id: rank for rank, grant in enumerate(ranked(grants))}
        self._grants = {grant.id: grant for grant in grants}
        self._settled = settled
        self._balances = dict(state.balances)
        self._live = sorted((id for id in self._balances if self._balances[id]), key=self._ranks.__getitem__)
        """Those with something left, in order."""
        self._periods = dict(state.periods)
        self._overage = state.overage
        self._granted, self._forfeited, self._forgiven, self._used = (
            *(state.granted, state.forfeited),
            *(state.forgiven, state.used),
        )
        self._ends = list(state.ends)
        self._drops = list(state.drops)

    def burn(self, amount: int) -> None:
        """Usage of one stretch, and what is owed."""
        self._used += amount
        _, self._overage = collect(self._balances, self._live, self._overage + amount)
        while self._live and not self._balances[self._live[0]]:
            del self._live[0]

    def turn(self, at_ns: int, changed: Sequence[Grant], reset: ResetAt | None) -> None:
        """What happens at a moment: ends, recurrences, a reset, beginnings; then what is owed is taken."""
        live = frozenset(self._balances)
        for grant in changed:
            if grant.id in live and grant.ends_ns <= at_ns:
                self._end(grant, at_ns, 0, "")
            elif grant.id in live:
                by = reset.id if reset is not None and _of(reset, grant.id) else ""
                self._grant(grant, self._end(grant, at_ns, None, by))
        if reset is not None:
            self._reset(reset, live - {grant.id for grant in changed})
            self.burn(0)  # from what was rolled over, before anything new
        for grant in changed:
            if grant.effective_at_ns == at_ns < grant.ends_ns and grant.id not in self._balances:
                self._grant(grant, 0)
        self.burn(0)

    def state(self, at_ns: int) -> State:
        """As it stands."""
        return State(
            at_ns=at_ns,
            balances=self._balances,
            periods=self._periods,
            overage=self._overage,
            granted=self._granted,
            forfeited=self._forfeited,
            forgiven=self._forgiven,
            used=self._used,
            ends=tuple(self._ends),
            drops=tuple(self._drops),
        )

    def _end(self, grant: Grant, at_ns: int, rolled: int | None, reset: str) -> int:
        """Close the balance; what of it rolls over."""
        balance = self._balances.pop(grant.id)
        if grant.id in self._live:
            self._live.remove(grant.id)
        rolled = grant.rolled_over(balance) if rolled is None else rolled
        period = self._periods[grant.id]
        forfeited = self._settled.get((grant.id, period), balance - rolled)
        self._forfeited += forfeited
        self._overage += forfeited - (balance - rolled)
        self._ends.append(End(grant.id, period, at_ns, balance, forfeited, reset))
        return rolled

    def _grant(self, grant: Grant, rolled: int) -> None:
        self._set(grant.id, grant.amount + rolled)
        self._periods[grant.id] = self._periods.get(grant.id, -1) + 1
        self._granted += grant.amount

    def _set(self, id: str, balance: int) -> None:
        self._balances[id] = balance
        if balance and id not in self._live:
            insort(self._live, id, key=self._ranks.__getitem__)

    def _reset(self, reset: ResetAt, live: Iterable[str]) -> None:
        for id in sorted(live, key=self._ranks.__getitem__):
            if _of(reset, id):
                self._set(id, self._end(self._grants[id], reset.at_ns, None, reset.id))
                self._periods[id] += 1
        if not reset.keep_overage:
            forgiven = max(self._overage, 0) if reset.forgiven is None else reset.forgiven
            self._forgiven += forgiven
            self._overage -= forgiven
            self._drops.append(Dropped(reset.id, forgiven))


def _of(reset: ResetAt, grant: str) -> bool:
    return reset.of is None or grant in reset.of


def _changes(grants: Sequence[Grant], state: State, until_ns: int) -> dict[int, list[Grant]]:
    """The moments after the state's, up to `until_ns`, at which grants begin, come again or end."""
    found: dict[int, list[Grant]] = {}
    for grant in grants:
        moments = {grant.effective_at_ns, grant.ends_ns} if grant.effective_at_ns < grant.ends_ns else set()
        moment = max(state.at_ns, grant.effective_at_ns)
        while grant.recurrence is not None and moment < min(grant.ends_ns, until_ns):
            moment = grant.period_end_ns(moment)
            moments.add(moment)
        for moment in moments:
            if state.at_ns < moment <= until_ns:
                found.setdefault(moment, []).append(grant)
    return found


def boundaries(grants: Sequence[Grant], state: State, until_ns: int, resets: Iterable[ResetAt] = ()) -> list[int]:
    """Between two neighbours of these it is enough to know the sum of what was used; the last is `until_ns`."""
    moments = _changes(grants, state, until_ns).keys() | {one.at_ns for one in resets}
    return [state.at_ns, *sorted(one for one in moments if state.at_ns < one < until_ns), until_ns]
