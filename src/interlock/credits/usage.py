"""What an account's calls have cost, stretch by stretch, and so where its grants stand. Reads the ledger's view.

Between two moments at which its grants change a sum is enough. What no open call can change any more is asked for once
and kept, so that a look at an old account costs what a new one's does.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from interlock.credits.book import Account
from interlock.credits.burning import State, Usage, boundaries, run
from interlock.credits.records import Owner

GRACE_NS = 2_000_000_000
"""A call's opening may take so long from its date to the ledger's view."""
KEEP_NS = 60_000_000_000
"""Sums are kept of what is older than this, and than every open call: one that was held up for longer than GRACE_NS is
found all the same."""
PATIENCE_NS = 86_400_000_000_000
"""The longest that an open call is waited for. One that is settled later still burns: what is left then, or overage."""


class Spending(Protocol):
    """The ledger's view, brought up to date before."""

    def burned(self, tenant: str, principal: str, since_ns: int, until_ns: int) -> tuple[int, int]:
        """Of attempts opened in [since, until): what they cost, and what of that was counted while they ran."""
        ...

    def first_open_ns(self, tenant: str) -> int | None:
        """When the oldest attempt of the tenant that is still open was opened."""
        ...

    def last_ns(self, tenant: str, principal: str, since_ns: int) -> int | None:
        """When the newest entry since then is dated, of the tenant's or the principal's; None: there is none."""
        ...

    def callers(self, since_ns: int, columns: Sequence[str]) -> list[tuple[str, ...]]:
        """Who called since then, by these columns."""
        ...


class Reckoned(NamedTuple):
    """Where the grants for usage of one account stand."""

    state: State
    cost: int
    """Of all its calls since it began."""
    metered: int
    """The same as workers counted it."""
    closed_ns: int
    """Calls admitted before that have been settled, or were waited for long enough."""


class _Kept:
    """Sums of the past of one account."""

    def __init__(self) -> None:
        self.until_ns = 0
        self.sums: dict[int, tuple[int, int]] = {}
        """By the beginning of a stretch: (cost, metered) up to its end, or up to `until_ns` if that is sooner."""


class Reckoner:
    """Of all accounts. Blocking; one caller at a time."""

    def __init__(self, spending: Spending) -> None:
        self._spending = spending
        self._kept: dict[Owner, _Kept] = {}

    def forget(self) -> None:
        """Read everything again: what past attempts cost has been corrected."""
        self._kept.clear()

    def called(self, since_ns: int) -> frozenset[str]:
        """Tenants that called since then."""
        return frozenset(name for (name,) in self._spending.callers(since_ns, ["tenant"]))

    def last_ns(self, owner: Owner, since_ns: int) -> int | None:
        """When the account's newest call since then was admitted; None: none was."""
        return self._spending.last_ns(owner.tenant, owner.principal, since_ns)

    def reckon(self, account: Account, now_ns: int) -> Reckoned:
        """Burn all that was settled by now. Only of an account that has begun."""
        assert account.begin_ns is not None, account.owner
        standings = account.of("usage")
        grants = [one.grant for one in standings]
        settled = {(one.granted.id, period): sum_ for one in standings for period, sum_ in one.forfeited.items()}
        start = State(at_ns=account.first_ns - 1)
        first_ns = self._spending.first_open_ns(account.owner.tenant)
        first_ns = now_ns if first_ns is None else first_ns
        kept_ns = min(now_ns - KEEP_NS, first_ns)
        usages, cost, metered = [], 0, 0
        resets = account.resets_at()
        bounds = boundaries(grants, start, now_ns, resets)
        for begin_ns, end_ns in pairwise([max(bound, account.begin_ns) for bound in bounds]):
            if begin_ns >= end_ns:
                continue
            spent = self._stretch(account.owner, begin_ns, end_ns, kept_ns)
            usages.append(Usage(begin_ns, spent[0]))
            cost, metered = cost + spent[0], metered + spent[1]
        kept = self._kept.setdefault(account.owner, _Kept())
        kept.until_ns = max(kept.until_ns, kept_ns)
        state = run(grants, start, usages, now_ns, resets=resets, settled=settled)
        return Reckoned(state, cost, metered, _closed_ns(first_ns, now_ns))

    def _stretch(self, owner: Owner, begin_ns: int, end_ns: int, kept_ns: int) -> tuple[int, int]:
        """The one place where what calls cost is read: a correction of past entries is in it once `forget` was called.

        What is kept of a stretch reaches to `kept_ns` of the last time; the rest is asked for.
        """
        kept = self._kept.setdefault(owner, _Kept())
        known = kept.sums.get(begin_ns)
        since_ns = begin_ns if known is None else min(max(begin_ns, kept.until_ns), end_ns)
        kept_ns = min(max(kept_ns, since_ns), end_ns)
        past = _add(known or (0, 0), self._spent(owner, since_ns, kept_ns))
        kept.sums[begin_ns] = past
        return _add(past, self._spent(owner, kept_ns, end_ns))

    def _spent(self, owner: Owner, since_ns: int, until_ns: int) -> tuple[int, int]:
        if since_ns >= until_ns:
            return 0, 0
        return self._spending.burned(owner.tenant, owner.principal, since_ns, until_ns)


def _closed_ns(first_open_ns: int, now_ns: int) -> int:
    return max(min(now_ns - GRACE_NS, first_open_ns), now_ns - PATIENCE_NS)


def _add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]
