"""Where counters stand: of each limit, for each caller that the log knows in its window. It changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from interlock.limits.entitled import Entitled
from interlock.limits.limit import Limit, Scope
from interlock.limits.matching import Matcher, Names, Target
from interlock.limits.page import ENDS, HELD, OTHERS, USED, Page


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """What limits look at of a call."""

    key: str = ""
    principal: str = ""
    tenant: str = ""
    session: str = ""
    deployment: str = ""
    model: str = ""


class Counter(msgspec.Struct, frozen=True, kw_only=True):
    """One counter."""

    limit: Limit
    scope: tuple[tuple[Scope, str], ...]
    used: int
    held: int
    """By calls that run."""
    others: int
    """Used and held on other machines, as last heard."""
    ends_ns: int
    """0: its window has not begun."""

    @property
    def left(self) -> int:
        """What may still be used."""
        return max(self.limit.amount - self.used - self.held - self.others, 0)

    @property
    def part(self) -> float:
        """Of the amount."""
        return (self.used + self.held + self.others) / self.limit.amount if self.limit.amount else 1.0


def survey(
    page: Page,
    limits: Sequence[Limit],
    callers: Iterable[Names],
    now_ns: int,
    plans: Mapping[str, Entitled] = MappingProxyType({}),
) -> list[Counter]:
    """The counters of these callers, the fullest first. `plans`: what tenants' plans say, by tenant."""
    matcher = Matcher(limits, plans=plans)
    targets: dict[bytes, Target] = {}
    for caller in callers:
        targets.update((target.key, target) for target in matcher.targets(caller))
    found = [_counter(page, target, now_ns) for target in targets.values()]
    return sorted(found, key=lambda one: (-one.part, one.limit.name, one.scope))


def _counter(page: Page, target: Target, now_ns: int) -> Counter:
    page.lock()
    try:
        at = page.find(target.key)
        words = page.words
        open_ = at >= 0 and words[at + ENDS] > now_ns
        used, held, others, ends_ns = (
            (words[at + USED], words[at + HELD], words[at + OTHERS], words[at + ENDS]) if open_ else (0, 0, 0, 0)
        )
    finally:
        page.unlock()
    return Counter(limit=target.limit, scope=target.scope, used=used, held=held, others=others, ends_ns=ends_ns)
