"""How an amount is divided among workers: what the authority does with each Ask, in memory. Pure.

It is the reference: the script that Valkey runs (`valkey_authority.py`) does the same, and both pass one suite.
"""

from collections.abc import Sequence

import msgspec

from interlock.limits.limit import NEVER_NS
from interlock.limits.ports import Answer, Ask, Told

EXTRA_PART = 8
"""At most one part in so many of what is left is granted beyond need: near the end shares are exact."""


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How long the authority waits for what."""

    gather_ns: int = 2_000_000_000
    """Nothing is granted while the memory is so new: several times what workers take to notice and tell."""
    silent_ns: int = 15_000_000_000
    """Calls at once that were granted to a machine come back when it has said nothing for so long."""
    recall_ns: int = 1_000_000_000
    """A recall is repeated for so long."""


class Lessee(msgspec.Struct, frozen=True):
    """Who is granted something: a worker of one run of a machine."""

    machine: str
    run: str
    slot: int


class _Counter(msgspec.Struct):
    granted: dict[Lessee, int] = {}
    spent: dict[tuple[str, str], int] = {}
    """By machine and run."""


class Division:
    """What has been granted to whom. A counter whose window is over is dropped."""

    def __init__(self, now_ns: int, times: Times) -> None:
        self._times = times
        self._since_ns = now_ns
        self._counters: dict[tuple[str, int], _Counter] = {}
        self._recalls: dict[str, int] = {}
        self._heard: dict[tuple[str, str], int] = {}

    def exchange(self, lessee: Lessee, asks: Sequence[Ask], now_ns: int) -> Answer:
        """As `Authority.exchange`."""
        self._heard[lessee.machine, lessee.run] = now_ns
        self._drop_past(now_ns)
        counters = [self._tell(lessee, ask) for ask in asks]
        gathering = now_ns < self._since_ns + self._times.gather_ns
        free = [self._free(ask, counter, now_ns) for ask, counter in zip(asks, counters, strict=True)]
        lacking = [ask for ask, left in zip(asks, free, strict=True) if ask.need and left < ask.need]
        met = any(ask.need for ask in asks) and not lacking and not gathering
        if not gathering:
            self._recalls.update((ask.name, now_ns) for ask in lacking)
        told = [
            Told(self._grant(lessee, ask, counter, left) if met else 0, _others(lessee, counter), left)
            for ask, counter, left in zip(asks, counters, free, strict=True)
        ]
        return Answer(told=told, granted=met, recalled=list(self._recalls), gathering=gathering)

    def retire_others(self, lessee: Lessee) -> None:
        """As `Authority.retire_others`."""
        for counter in self._counters.values():
            for other in [one for one in counter.granted if one.machine == lessee.machine and one.run != lessee.run]:
                del counter.granted[other]
            for machine, run in [one for one in counter.spent if one[0] == lessee.machine and one[1] != lessee.run]:
                del counter.spent[machine, run]

    def _tell(self, lessee: Lessee, ask: Ask) -> _Counter:
        counter = self._counters.setdefault((ask.name, ask.ends_ns), _Counter(granted={}, spent={}))
        counter.granted[lessee] = ask.mine
        counter.spent[lessee.machine, lessee.run] = ask.spent
        return counter

    def _free(self, ask: Ask, counter: _Counter, now_ns: int) -> int:
        if not ask.need:
            return 0
        free = ask.amount - sum(counter.granted.values())
        if free < ask.need and ask.ends_ns == NEVER_NS:
            heard_ns = now_ns - self._times.silent_ns
            for one in [one for one in counter.granted if self._heard[one.machine, one.run] < heard_ns]:
                free += counter.granted.pop(one)
        return free

    def _grant(self, lessee: Lessee, ask: Ask, counter: _Counter, free: int) -> int:
        if not ask.need:
            return 0
        granted = ask.need + min(ask.extra, (free - ask.need) // EXTRA_PART)
        counter.granted[lessee] += granted
        return granted

    def _drop_past(self, now_ns: int) -> None:
        self._counters = {key: counter for key, counter in self._counters.items() if key[1] > now_ns}
        self._recalls = {name: at_ns for name, at_ns in self._recalls.items() if now_ns - at_ns < self._times.recall_ns}


def _others(lessee: Lessee, counter: _Counter) -> int:
    return sum(spent for machine, spent in counter.spent.items() if machine != (lessee.machine, lessee.run))
