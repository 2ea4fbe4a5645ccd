"""What was metered, added up as a bill has it: by bucket, model and kind, with who it is of. Pure.

Entries go in one by one and are not kept, but for those whose figures are not sure (lost, estimated, counted): a bill
can say what these were. Quantities are exclusive of one another; nano-USD sum to what entries sum to.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from interlock.errors import LocalError
from interlock.instants import rfc3339
from interlock.ledger import KINDS, REQUESTS, Metered, shares
from interlock.reconciling.dividing import NOBODY, Group, Share, Whose
from interlock.reconciling.names import Name
from interlock.units import TOKENS_PER_PRICE

Bucket = tuple[int, int]
"""Start and end, exclusive, in nanoseconds."""
USAGE_KINDS = frozenset((*KINDS, REQUESTS, ""))
UNSURE_MAX = 200_000
NAMED_MAX = 200_000
"""Sums of sessions that are kept of a comparison, one for each bucket, model and kind; and as many of principals. What
comes later is kept of the principal without the session, then of the group alone."""
UNSURE = frozenset(("estimated", "counted"))
"""Sources of figures that no provider told."""


class Buckets:
    """The periods of a statement, none within another: the widest stand for those they hold."""

    def __init__(self, periods: Iterable[Bucket]) -> None:
        """Raises: LocalError: two of them overlap, and neither holds the other."""
        found: list[Bucket] = []
        for starts_ns, ends_ns in sorted(set(periods), key=lambda one: (one[0], -one[1])):
            if found and starts_ns < found[-1][1]:
                if ends_ns > found[-1][1]:
                    raise LocalError(
                        f"the periods {_shown(found[-1])} and {_shown((starts_ns, ends_ns))} overlap: give files of "
                        "one width, or of widths that fit into each other",
                        field="file",
                    )
                continue
            found.append((starts_ns, ends_ns))
        self.all = found
        self._starts = [one[0] for one in found]
        widths = {ends_ns - starts_ns for starts_ns, ends_ns in found}
        self._width = widths.pop() if len(widths) == 1 else 0

    def of(self, at_ns: int) -> Bucket:
        """The bucket that a moment is in; where the export has none, one as wide as the others, or the gap."""
        place = bisect_right(self._starts, at_ns) - 1
        if place >= 0 and at_ns < self.all[place][1]:
            return self.all[place]
        if not self.all:
            return (0, 1)
        if self._width:
            start = self.all[0][0] + (at_ns - self.all[0][0]) // self._width * self._width
            return (start, start + self._width)
        before = self.all[place][1] if place >= 0 else 0
        return (before, self.all[place + 1][0] if place + 1 < len(self.all) else max(at_ns, before) + 1)


_FIGURES = (
    *("quantity", "nanousd", "numerator", "metered", "metered_numerator"),
    *("unsure", "unpriced"),
)


@dataclass(slots=True)
class Sum:
    """What entries of one key come to."""

    quantity: int = 0
    nanousd: int = 0
    """As booked."""
    numerator: int = 0
    """Exact, before each entry's division: 1e-15 USD. An adjustment has no finer figure than its nano-USD."""
    metered: int = 0
    """Of `quantity`, what attempts have that have a price."""
    metered_numerator: int = 0
    unsure: int = 0
    """Of `quantity`, what is of such attempts."""
    unpriced: int = 0
    """Attempts without an amount."""
    adjustments: set[tuple[str, str]] = field(default_factory=set)
    """Statements and rows of earlier bills that were booked, each in whole nano-dollars."""
    groups: dict[Share, list[int]] = field(default_factory=dict)
    """Metered: quantity and nano-USD of each."""
    held: dict[Share, list[int]] = field(default_factory=dict)
    """The same of what earlier bills changed."""

    def add(self, other: "Sum") -> None:
        """Take another in."""
        for name in _FIGURES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.adjustments |= other.adjustments
        for mine, theirs in ((self.groups, other.groups), (self.held, other.held)):
            for share, (quantity, nanousd) in theirs.items():
                _count(mine, share, quantity, nanousd)


Key = tuple[Bucket, Name, str]
"""Bucket, name and kind."""


class Books:
    """The sums of a window."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self.sums: dict[Key, Sum] = {}
        self.unsure: dict[tuple[Bucket, Name], list[Metered]] = {}
        """Lost, estimated and counted attempts."""
        self.open: dict[Bucket, int] = {}
        """Attempts that are not settled: nothing is known of them yet."""
        self.late: set[tuple[Bucket, Name]] = set()
        """Where a call ended after the bucket in which it was opened."""
        self.calls: dict[Name, int] = {}
        self.booked: dict[str, list[int]] = {}
        """By statement what stands of it: attempts, entries of their own, and what these come to in nano-USD."""
        self._unsure = 0
        self._named = 0

    def add(self, entry: Metered) -> None:
        """Take one entry in. Raises: LocalError: too many that are not sure."""
        bucket = self._buckets.of(entry.at_ns)
        if entry.statement:
            own = entry.adjusted is not None
            booked = self.booked.setdefault(entry.statement, [0, 0, 0])
            booked[own] += 1
            booked[2] += (entry.amount_nanousd or 0) if own else 0
        if entry.state == "open":
            self.open[bucket] = self.open.get(bucket, 0) + 1
        elif entry.adjusted is not None:
            self._adjustment(entry, bucket)
        else:
            name = (entry.model, entry.upstream_model)
            self.calls[name] = self.calls.get(name, 0) + 1
            self._attempt(entry, entry.usage, entry.amount_nanousd, 1)
            if entry.settled_at_ns >= bucket[1]:
                self.late.add((bucket, name))
            if entry.source in UNSURE:
                self._unsure += 1
                if self._unsure > UNSURE_MAX:
                    raise LocalError(f"more than {UNSURE_MAX} estimated calls: take a shorter time", field="since")
                self.unsure.setdefault((bucket, name), []).append(entry)

    def resolve(self, entry: Metered, usage: Mapping[str, int], amount_nanousd: int | None) -> None:
        """Have an unsure attempt's figures be others, which are sure."""
        self._attempt(entry, entry.usage, entry.amount_nanousd, -1)
        self._attempt(entry._replace(source="billed"), dict(usage), amount_nanousd, 1)

    def _attempt(self, entry: Metered, usage: dict[str, int], amount_nanousd: int | None, sign: int) -> None:
        bucket, name = self._buckets.of(entry.at_ns), (entry.model, entry.upstream_model)
        group, unsure = Group(entry.tenant, entry.deployment, entry.provider), entry.source in UNSURE
        share = (group, Whose(entry.team, entry.principal, entry.session))
        unpriced = amount_nanousd is None
        parts = shares(usage, entry.price, amount_nanousd)
        if parts:
            parts.append((REQUESTS, 1, 0, 0))
        for kind, quantity, numerator, nanousd in parts:
            mine = self._at(bucket, name, kind)
            mine.quantity += sign * quantity
            mine.nanousd += sign * nanousd
            mine.numerator += sign * numerator
            if not unpriced:
                mine.metered += sign * quantity
                mine.metered_numerator += sign * numerator
            mine.unsure += sign * unsure * quantity
            mine.unpriced += sign * (unpriced and kind != REQUESTS)
            if (figures := mine.groups.get(share)) is None:
                figures = mine.groups.setdefault(self._share(mine, share), [0, 0])
            figures[0] += sign * quantity
            figures[1] += sign * nanousd

    def _share(self, mine: Sum, share: Share) -> Share:
        """Under whom it is kept that has no sum yet; the same for the same entry, whatever came in between."""
        group, whose = share
        if self._named < NAMED_MAX:
            self._named += 1
            return share
        by_principal = (group, Whose(whose.team, whose.principal))
        if by_principal in mine.groups:
            return by_principal
        if self._named < 2 * NAMED_MAX:
            self._named += 1
            return by_principal
        return group, NOBODY

    def _adjustment(self, entry: Metered, bucket: Bucket) -> None:
        change = entry.adjusted
        assert change is not None
        kind = next(iter(change.usage), "")
        if kind not in USAGE_KINDS:  # a tax, a credit: of the period that the bill gave it
            bucket = (change.period_start_ns, change.period_end_ns)
        quantity, nanousd = change.usage.get(kind, 0), change.amount_nanousd or 0
        mine = self._at(bucket, (entry.model, ""), kind)
        mine.quantity += quantity
        mine.nanousd += nanousd
        mine.numerator += nanousd * TOKENS_PER_PRICE
        mine.adjustments.add((change.statement, change.row))
        whose = Whose(change.team, change.principal, change.session)
        _count(mine.held, (Group(entry.tenant, entry.deployment, entry.provider), whose), quantity, nanousd)

    def _at(self, bucket: Bucket, name: Name, kind: str) -> Sum:
        return self.sums.setdefault((bucket, name, kind), Sum())


def _count(sums: dict[Share, list[int]], share: Share, quantity: int, nanousd: int) -> None:
    mine = sums.setdefault(share, [0, 0])
    mine[0] += quantity
    mine[1] += nanousd


def _shown(bucket: Bucket) -> str:
    return f"{rfc3339(bucket[0])} to {rfc3339(bucket[1])}"
