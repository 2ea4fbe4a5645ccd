"""What a charge counts, and the proof of it: which events, how many, their sum and a hash. Pure, but for the port.

The hash is SHA-256 over `ID TAB QUANTITY NEWLINE` of each event in order: attempts by id, a meter's events by source,
id and record (bytes of UTF-8). A count is of what was on record at a cut: the last record of each stream that was
looked at. What is written later is not in it, so that the same question at the same cut always has the same answer.
"""

from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, Protocol

import msgspec

from interlock.billing.value import Evidence
from interlock.billing.windowing import Grid
from interlock.errors import TransientError
from interlock.rating import Source, text_of

Cut = Mapping[str, int]


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """One combination of a source's dimensions."""

    group: dict[str, str]
    quantity: Fraction
    evidence: Evidence
    values: tuple[tuple[int, Fraction], ...] = ()
    """(Unix nanoseconds, quantity) of each event, in time's order; only where they were asked for."""
    windows: tuple[tuple[int, Fraction], ...] = ()
    """(where it begins, quantity) of each window that something was counted in; only where they were asked for."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A source's count over a window."""

    counted: tuple[Counted, ...]
    """By group; without a group that nothing was counted for."""
    unpriced: int = 0
    open: int = 0


class Item(NamedTuple):
    """One event of a line."""

    id: str
    """`request_id/n`, or a JSON array of an event's source, its id and the record that counts it (or takes it back)."""
    at_ns: int
    quantity: str
    """A decimal."""
    group: Mapping[str, str]


class Detail(NamedTuple):
    """What a count tells besides its sum."""

    values: bool = False
    """Each event."""
    grid: Grid | None = None
    """Each of these windows; they cover the time that is counted."""


SUM_ALONE = Detail()


class Counter(Protocol):
    """Where usage is counted. The ledger's view and the tenants' meters are one (`control`); tests have their own."""

    async def cut(self, sources: Sequence[Source]) -> dict[str, int]:
        """What is on record now, of the streams that these read, everything folded. Raises: TransientError."""
        ...

    async def count(
        self, tenant: str, source: Source, since_ns: int, until_ns: int, cut: Cut, detail: Detail = SUM_ALONE
    ) -> Found:
        """What a source says of [since, until), of records up to the cut.

        Raises: LocalError: it cannot be asked so. TransientError: not now.
        """
        ...

    async def changed(self, tenant: str, source: Source, since_ns: int, until_ns: int, recorded_ns: int) -> bool:
        """Whether anything of [since, until) may have been written at or after `recorded_ns`; True if in doubt.

        Raises: as `count`.
        """
        ...

    def items(self, tenant: str, evidence: Evidence) -> AsyncIterator[Item]:
        """The events that an evidence counts, by id. Raises: as `count`."""
        ...


class NoUsage(Counter):
    """For who only reads what stands: it counts nothing."""

    async def cut(self, sources: Sequence[Source]) -> dict[str, int]:
        raise TransientError("usage is not counted here", code="not_ready")

    async def count(
        self, tenant: str, source: Source, since_ns: int, until_ns: int, cut: Cut, detail: Detail = SUM_ALONE
    ) -> Found:
        raise TransientError("usage is not counted here", code="not_ready")

    async def changed(self, tenant: str, source: Source, since_ns: int, until_ns: int, recorded_ns: int) -> bool:
        raise TransientError("usage is not counted here", code="not_ready")

    async def items(self, tenant: str, evidence: Evidence) -> AsyncIterator[Item]:
        raise TransientError("usage is not counted here", code="not_ready")
        yield


class Tally:
    """Adds up the events of one group, in order. Quantities are integers of a `scale`-th."""

    def __init__(self, scale: int = 1, detail: Detail = SUM_ALONE) -> None:
        self.count = 0
        self._scale = scale
        self._sum = 0
        self._hash = sha256()
        self._values: list[tuple[int, Fraction]] | None = [] if detail.values else None
        self._bounds = detail.grid.bounds if detail.grid else ()
        self._windows: dict[int, int] = {}

    def add(self, id: str, at_ns: int, quantity: int) -> bool:
        """The next one; whether it is the first of a window."""
        self.count += 1
        self._sum += quantity
        self._hash.update(f"{id}\t{quantity_text(quantity, self._scale)}\n".encode())
        if self._values is not None:
            self._values.append((at_ns, Fraction(quantity, self._scale)))
        if not self._bounds:
            return False
        known, begin_ns = len(self._windows), self._bounds[bisect_right(self._bounds, at_ns) - 1]
        self._windows[begin_ns] = self._windows.get(begin_ns, 0) + quantity
        return len(self._windows) > known

    @property
    def sum(self) -> Fraction:
        """Of those added so far."""
        return Fraction(self._sum, self._scale)

    @property
    def sha256(self) -> str:
        """The same, hex."""
        return self._hash.hexdigest()

    @property
    def values(self) -> tuple[tuple[int, Fraction], ...]:
        """As `Counted.values`."""
        return tuple(sorted(self._values or ()))

    @property
    def windows(self) -> tuple[tuple[int, Fraction], ...]:
        """As `Counted.windows`."""
        return tuple((begin_ns, Fraction(sum, self._scale)) for begin_ns, sum in sorted(self._windows.items()))


@lru_cache(65_536)
def quantity_text(quantity: int, scale: int) -> str:
    """How a quantity is written.

    >>> quantity_text(7, 1), quantity_text(1250, 1000)
    ('7', '1.25')
    """
    return text_of(Fraction(quantity, scale))
