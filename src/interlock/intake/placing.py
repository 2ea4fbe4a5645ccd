"""Where an event is counted when periods are closed: at its own time, or, if that is closed, at the time it came. Pure.

A closing is a watermark of one tenant: all before its end is closed, for good. What is placed depends only on what
stands before the record in the stream, so that whoever folds it, whenever, places it alike. It does not say which
periods may be closed (periods.py).
"""

from bisect import bisect_left, bisect_right
from datetime import datetime
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1)


class Closing(NamedTuple):
    """A period that a tenant closed. Times are Unix microseconds, UTC."""

    seq: int
    """Of the record that closed it."""
    period: str
    """Its name: `2026-10` or `2026-10-31`."""
    since_us: int
    until_us: int
    """Exclusive; all before it is closed."""


class _Tenant:
    """A tenant's closings, seqs and ends ascending."""

    __slots__ = ("periods", "seqs", "until_us_max", "untils_us")

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.untils_us: list[int] = []
        self.periods: list[str] = []
        self.until_us_max = 0


class Closings:
    """The closings of all tenants, as far as the stream was read."""

    def __init__(self) -> None:
        self._tenants: dict[str, _Tenant] = {}

    def __contains__(self, tenant: str) -> bool:
        """Whether the tenant has closed anything."""
        return tenant in self._tenants

    def add(self, tenant: str, closing: Closing) -> None:
        """In the order of the stream. One that ends no later than the one before closes nothing, and is passed over."""
        found = self._tenants.setdefault(tenant, _Tenant())
        if closing.until_us > found.until_us_max:
            found.seqs.append(closing.seq)
            found.untils_us.append(closing.until_us)
            found.periods.append(closing.period)
            found.until_us_max = closing.until_us

    def place(self, tenant: str, time_us: int, at_us: int, seq: int) -> tuple[int, str]:
        """Where an event is counted that the log took in record `seq`.

        Args:
            time_us: the event's own time; `at_us`: the record's. Both Unix microseconds.
        Returns: (`time_us`, "") unless a record before `seq` closed that instant; then (`at_us`, the period that it
            belongs to: of those whose end is after it, the one closed first). Where the clock was put back and `at_us`
            is closed too: the end of what is closed.
        """
        found = self._tenants.get(tenant)
        if found is None or found.until_us_max <= time_us:
            return time_us, ""
        before = bisect_left(found.seqs, seq)
        if not before or found.untils_us[before - 1] <= time_us:
            return time_us, ""
        period = found.periods[bisect_right(found.untils_us, time_us, 0, before)]
        return max(at_us, found.untils_us[before - 1]), period

    def place_reversal(
        self, tenant: str, time_us: int, original_at_us: int, original_seq: int, at_us: int, seq: int
    ) -> tuple[int, str]:
        """Where minus one goes for an event that is reversed by record `seq`, written at `at_us`.

        Args:
            time_us: the original's own time; `original_at_us`, `original_seq`: of the record that counted it.
        Returns: where the original was placed; if that instant has been closed since, as `place` for that instant.
        """
        placed_us, period = self.place(tenant, time_us, original_at_us, original_seq)
        moved_us, closed = self.place(tenant, placed_us, at_us, seq)
        return (moved_us, closed) if closed else (placed_us, period)


def time_us(text: str) -> int:
    """Unix microseconds of an event's `time` as it is stored: `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`.

    >>> time_us("1970-01-02T00:00:01.5Z")
    86401500000
    """
    span = datetime.fromisoformat(text[:-1]) - _EPOCH
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
