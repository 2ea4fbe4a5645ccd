"""Where windows begin and end: minutes, hours, days and months in a time zone. Pure, exact over clock changes.

A day begins at its first instant, a month with its first day, whatever the clock does. Hours begin at each full hour of
the zone's clock and wherever its offset changes: the hour that comes twice is two windows, none is counted twice.
Instants are minutes since 1970 in UTC.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from interlock.errors import LocalError

Size = Literal["minute", "hour", "day", "month"]
SIZES: tuple[Size, ...] = get_args(Size)
WINDOWS_MAX = 50_000
"""Of one answer: a month of minutes."""
MINUTE_MAX = 3_697_000_000
"""Past the year 8990: what `datetime` can still reckon with."""


_NOT_IANA = ("localtime", "posixrules", "posix/", "right/")
"""What a machine's directory of zones also holds: its own clock, which differs from machine to machine, and leap
seconds, which Unix time does not have."""


def zone_of(name: str) -> ZoneInfo:
    """The time zone. Raises: LocalError: there is none of that name."""
    try:
        if name.startswith(_NOT_IANA):
            raise ZoneInfoNotFoundError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: it is a directory
        raise LocalError(f"{name[:80]!r} is no time zone: write UTC or Europe/Berlin", field="zone") from error


def windows(size: Size, zone: ZoneInfo, since: int, until: int) -> list[int]:
    """The starts of all windows that touch [since, until), and after them the end of the last; since < until.

    Raises: LocalError: they are more than WINDOWS_MAX, or the time is out of range.
    """
    if not 0 <= since < until <= MINUTE_MAX:
        raise LocalError("the time asked for has to lie between 1970 and the year 8990, its start first", field="to")
    found: list[int] = []
    for start in _STARTS[size](zone, since):
        found.append(start)
        if start >= until:
            return found
        if len(found) > WINDOWS_MAX:
            what = f"more than {WINDOWS_MAX} windows of a {size}: ask for larger ones, or less time"
            raise LocalError(what, field="window_size")
    raise AssertionError("windows never end")


def _minutes(zone: ZoneInfo, since: int) -> Iterator[int]:
    while True:
        yield since
        since += 1


def _hours(zone: ZoneInfo, since: int) -> Iterator[int]:
    begun = since - _local(since, zone).minute
    start = begun if _offset(begun, zone) == _offset(since, zone) else _change(zone, begun, since)
    while True:
        yield start
        end = start + 60 - _local(start, zone).minute
        start = end if _offset(end - 1, zone) == _offset(start, zone) else _change(zone, start, end - 1)


def _days(zone: ZoneInfo, since: int) -> Iterator[int]:
    day, last = _local(since, zone).date(), -1
    while True:
        start = first_instant(day, zone)
        if start > last:  # a day that a zone left out has no instant of its own
            yield start
        day, last = day + timedelta(days=1), start


def _months(zone: ZoneInfo, since: int) -> Iterator[int]:
    local = _local(since, zone)
    year, month = local.year, local.month
    while True:
        yield first_instant(date(year, month, 1), zone)
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


_STARTS = {"minute": _minutes, "hour": _hours, "day": _days, "month": _months}


def _local(minute: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(minute * 60, zone)


def _offset(minute: int, zone: ZoneInfo) -> timedelta:
    offset = _local(minute, zone).utcoffset()
    assert offset is not None
    return offset


def first_instant(day: date, zone: ZoneInfo) -> int:
    """When a day begins: where the clock skips midnight, `fold` 0 means the instant of the change; where it comes
    twice, the first."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() // 60)


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """The first minute in (before, after] with `after`'s offset, which is not `before`'s."""
    offset = _offset(after, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == offset:
            after = middle
        else:
            before = middle
    return after
