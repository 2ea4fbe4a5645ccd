"""Periods of a calendar, and whether a tenant may close one. Pure.

Closing is a watermark: it closes all before the period's end, and what is closed stays closed. What that means for an
event that comes late is decided where it is counted (placing.py).
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from interlock.errors import LocalError

_PERIOD = re.compile(r"(19[7-9]\d|2\d\d\d)-(0[1-9]|1[0-2])(?:-([0-3]\d))?", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_ZONE_CHARS_MAX = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of a record `period.closed`."""

    tenant: str
    principal: str
    key_id: str
    period: str
    """`2026-10` or `2026-10-31`."""
    zone: str
    """IANA name: whose month or day it is."""
    since_us: int
    """Unix microseconds, UTC, as computed when it was closed: zones may change their rules."""
    until_us: int
    """Exclusive."""


class Standing(NamedTuple):
    """A closing where it stands in the stream."""

    seq: int
    at_ns: int
    closed: Closed


def bounds_us(period: str, zone: str) -> tuple[int, int]:
    """(first moment, first moment after it) of a month or day in a zone, Unix microseconds.

    A day whose midnight the clock skips begins when the clock goes on; one that has two begins with the first.
    Raises: LocalError: there is no such period (field `period`), or zone (field `zone`).
    >>> bounds_us("1970-01", "UTC")
    (0, 2678400000000)
    """
    found = _PERIOD.fullmatch(period)
    if not found:
        raise LocalError("period must be a month, 2026-10, or a day, 2026-10-31, from 1970 on", field="period")
    year, month, day = int(found[1]), int(found[2]), int(found[3] or 1)
    try:
        first = datetime(year, month, day, tzinfo=_zone(zone))
    except ValueError as error:
        raise LocalError(f"there is no day {period}", field="period") from error
    next_month = first.replace(year=year + month // 12, month=month % 12 + 1, day=1)
    after = first + timedelta(days=1) if found[3] else next_month  # on the wall, however many hours away
    since_us, until_us = _unix_us(first), _unix_us(after)
    if since_us < 0:
        raise LocalError(f"{period} in {zone} begins before 1970", field="period")
    if until_us <= since_us:
        raise LocalError(f"{zone} left out the day {period}", field="period")
    return since_us, until_us


def check_closing(wanted: Closed, stand: Sequence[Standing], now_us: int) -> Standing | None:
    """Whether a period may be closed.

    Args:
        stand: what the tenant closed before, in order.
    Returns: None: it may; or where it stands already.
    Raises: LocalError: it is not over (`invalid_request`), or reaches into what is closed (`period_closed`).
    """
    same = (wanted.period, wanted.since_us, wanted.until_us)
    for standing in stand:
        closed = standing.closed
        if (closed.period, closed.since_us, closed.until_us) == same:
            return standing
    last = stand[-1] if stand else None
    if last and wanted.since_us < last.closed.until_us:
        what = f"{last.closed.period} ({last.closed.zone}) is closed since record {last.seq}"
        until = rfc3339_us(last.closed.until_us)
        message = f"{what}, and with it all before {until}; the next to close begins then or later"
        raise LocalError(message, code="period_closed", field="period")
    if wanted.until_us > now_us:
        message = f"{wanted.period} ({wanted.zone}) is not over before {rfc3339_us(wanted.until_us)}"
        raise LocalError(message, field="period")
    return None


def rfc3339_us(us: int) -> str:
    """UTC; fractions only if there are.

    >>> rfc3339_us(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    return (_EPOCH + us * _MICROSECOND).isoformat().replace("+00:00", "Z")


def _zone(name: str) -> ZoneInfo:
    try:
        if len(name) <= _ZONE_CHARS_MAX and _ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (ValueError, LookupError, OSError) as error:  # a folder of the zones' data is an OSError
        raise _no_zone(name) from error
    raise _no_zone(name)


def _no_zone(name: str) -> LocalError:
    return LocalError(f"{name[:_ZONE_CHARS_MAX]!r} is no time zone: write UTC or Europe/Berlin", field="zone")


def _unix_us(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND
