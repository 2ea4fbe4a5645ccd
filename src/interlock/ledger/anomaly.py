"""Who costs far more than their like: sessions, tasks and principals held against the median of their peers. Pure.

A subject is one session (or task, or principal) with its tenant, team and, of sessions, mode: the others of the same
tenant, team and mode are its peers. What it cost in the window is compared with the median of what they cost; who cost
nothing is nobody's peer. It is found when it reaches `factor` times the median and the floor, and once more each time
that doubles; a task or principal, which go on, again when all that was told of has left the window. What is found
is a function of what was settled before the moment of the look, whatever order it came in.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec

from interlock.units import NANO, divide_half_even

Kind = Literal["session", "task", "principal"]
KINDS: tuple[Kind, ...] = ("session", "task", "principal")
HOUR_NS = 3_600_000_000_000
PLACES_MAX = 400_000
"""Subjects, each once for every hour in which it cost something (65 MB of names of 40 characters); more is not counted,
until hours leave the window."""
TOLD_MAX = 100_000


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """What counts as an anomaly."""

    enabled: bool = True
    factor: int = 10
    """Times the median."""
    peers: int = 10
    """Others that there must be, at least."""
    floor_nanousd: int = NANO
    """Who cost less is never one."""
    window_hours: int = 24


class Spend(NamedTuple):
    """What was settled in one hour for one combination of names."""

    hour: int
    """Since 1970."""
    tenant: str
    team: str
    mode: str
    session: str
    task: str
    principal: str
    amount_nanousd: int


class Subject(NamedTuple):
    """Who is compared. `mode` is of sessions only."""

    kind: Kind
    tenant: str
    team: str
    mode: str
    name: str


class Found(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One anomaly, with the figures that explain it. Record type `anomaly.found`."""

    kind: Kind
    tenant: str
    name: str
    """Of the session, task or principal."""
    times: int
    """The highest step that was reached: factor, twice the factor, four times …"""
    cost_nanousd: int
    """Its own in the window."""
    median_nanousd: int
    """Of its peers, half to even."""
    peers: int
    since_ns: int
    """The window; costs settled in [since_ns, until_ns)."""
    until_ns: int
    factor: int
    floor_nanousd: int
    team: str = ""
    mode: str = ""

    @property
    def subject(self) -> Subject:
        """Who it is."""
        return Subject(self.kind, self.tenant, self.team, self.mode, self.name)

    @property
    def id(self) -> str:
        """One for each subject and step: of a session for ever; of a task or principal, which go on, of that hour."""
        hour = "" if self.kind == "session" else str((self.until_ns - 1) // HOUR_NS)
        words = [*self.subject, hour, str(self.times)]
        return "anm_" + sha256(msgspec.json.encode(words)).hexdigest()[:32]


class Outlier(NamedTuple):
    """One name among others."""

    name: str
    cost: int
    twice_median: int
    peers: int
    times: int


def outliers(costs: Mapping[str, int], watching: Watching) -> list[Outlier]:
    """Who of a group costs too much, the most expensive first. `costs`: by name, above 0."""
    peers = len(costs) - 1
    if peers < watching.peers:
        return []
    ordered = sorted(costs.values())
    # Nobody's others have a lower median than those of the most expensive one: who is below this is none.
    least = max(watching.floor_nanousd, -(-watching.factor * _twice_median_without(ordered, peers) // 2))
    high = [(-cost, name) for name, cost in costs.items() if cost >= least]
    found = []
    for minus, name in sorted(high):
        cost = -minus
        twice = _twice_median_without(ordered, bisect_left(ordered, cost))
        if 2 * cost < watching.factor * twice:
            continue
        times = watching.factor
        while 2 * cost >= 2 * times * twice:
            times *= 2
        found.append(Outlier(name, cost, twice, peers, times))
    return found


def _twice_median_without(ordered: list[int], index: int) -> int:
    """Twice the median of all but one: a whole number, where the median need not be."""
    count = len(ordered) - 1
    low, high = (count - 1) // 2, count // 2
    return ordered[low + (low >= index)] + ordered[high + (high >= index)]


Group = tuple[Kind, str, str, str]
"""Kind, tenant, team, mode."""


class Watch:
    """What everybody cost in a window that moves with the hours; spends come in any order, each once."""

    def __init__(self, watching: Watching) -> None:
        self.watching = watching
        self.unwatched = 0
        """Costs for which there was no room."""
        self._hours: dict[int, dict[Group, dict[str, int]]] = {}
        self._groups: dict[Group, dict[str, int]] = {}
        self._touched: set[Group] = set()
        self._places = 0
        self._told: dict[Subject, Found] = {}

    def since_ns(self, until_ns: int) -> int:
        """Where the window that ends then begins: so many hours, the one under way included."""
        return max((until_ns - 1) // HOUR_NS + 1 - self.watching.window_hours, 0) * HOUR_NS

    def tell(self, found: Found) -> None:
        """It was found before."""
        self._told.pop(found.subject, None)
        self._told[found.subject] = found  # the latest last: the first goes where there are too many
        if len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]

    def add(self, spends: Iterable[Spend]) -> None:
        """Costs of the window, or of hours that are to come into it."""
        for one in spends:
            if one.amount_nanousd > 0:
                self._add(one.hour, ("session", one.tenant, one.team, one.mode), one.session, one.amount_nanousd)
                self._add(one.hour, ("task", one.tenant, one.team, ""), one.task, one.amount_nanousd)
                self._add(one.hour, ("principal", one.tenant, one.team, ""), one.principal, one.amount_nanousd)

    def look(self, until_ns: int) -> list[Found]:
        """What is new up to that moment: each subject at the highest step that it reached and was not told of."""
        since_ns = self.since_ns(until_ns)
        self._leave(since_ns // HOUR_NS)
        found = []
        for group in sorted(self._touched):
            kind, tenant, team, mode = group
            for one in outliers(self._groups.get(group, {}), self.watching):
                if self._is_told(Subject(*group, one.name), one.times, since_ns):
                    continue
                found.append(
                    Found(
                        kind=kind,
                        tenant=tenant,
                        team=team,
                        mode=mode,
                        name=one.name,
                        times=one.times,
                        cost_nanousd=one.cost,
                        median_nanousd=divide_half_even(one.twice_median, 2),
                        peers=one.peers,
                        since_ns=since_ns,
                        until_ns=until_ns,
                        factor=self.watching.factor,
                        floor_nanousd=self.watching.floor_nanousd,
                    )
                )
        self._touched.clear()
        for one_found in found:
            self.tell(one_found)
        return found

    def _is_told(self, subject: Subject, times: int, since_ns: int) -> bool:
        """Of a session for ever; of others as long as something that was told of is in the window."""
        told = self._told.get(subject)
        return told is not None and times <= told.times and (subject.kind == "session" or told.until_ns > since_ns)

    def _add(self, hour: int, group: Group, name: str, amount: int) -> None:
        if not name:
            return
        of_hour = self._hours.setdefault(hour, {}).setdefault(group, {})
        if name not in of_hour:
            if self._places >= PLACES_MAX:
                self.unwatched += 1
                return
            self._places += 1
        of_hour[name] = of_hour.get(name, 0) + amount
        costs = self._groups.setdefault(group, {})
        costs[name] = costs.get(name, 0) + amount
        self._touched.add(group)

    def _leave(self, first_hour: int) -> None:
        """Hours before that one go."""
        for hour in [hour for hour in self._hours if hour < first_hour]:
            for group, of_hour in self._hours.pop(hour).items():
                costs = self._groups.get(group, {})
                self._places -= len(of_hour)
                for name, amount in of_hour.items():
                    costs[name] -= amount
                    if not costs[name]:
                        del costs[name]
                if not costs:
                    self._groups.pop(group, None)
                self._touched.add(group)
