"""Billing periods: calendar months and days of a time zone, and the parts that subscriptions cut them into. Pure.

A day begins at its first instant on the zone's clock, whatever that clock skips or repeats (`meters.windows`). Periods
are named `2026-11` or `2026-11-30`.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise

from interlock.billing.value import Every, Header, Segment, Subscription
from interlock.errors import LocalError
from interlock.meters.windows import first_instant, zone_of

MINUTE_NS = 60_000_000_000
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])")
YEARS = (1971, 2260)
"""Nanoseconds since 1970 have to fit 63 bits."""


def parse_day(text: str, field: str) -> date:
    """`2026-11-15`. Raises: LocalError."""
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        found = date.fromisoformat(text)
    except ValueError as error:
        raise LocalError(f"{text[:40]!r} is not a day: write 2026-11-15", field=field) from error
    if not YEARS[0] <= found.year <= YEARS[1]:
        raise LocalError(f"{text!r} is not between {YEARS[0]} and {YEARS[1]}", field=field)
    return found


def days_of(period: str, every: Every) -> tuple[date, date]:
    """A period's first day and the first one after it. Raises: LocalError.

    >>> days_of("2026-12", "month")
    (datetime.date(2026, 12, 1), datetime.date(2027, 1, 1))
    """
    if every == "day":
        first = parse_day(period, "period")
        return first, first + timedelta(days=1)
    if not _MONTH.fullmatch(period):
        raise LocalError(f"{period[:40]!r} is not a month: write 2026-11", field="period")
    first = parse_day(f"{period}-01", "period")
    return first, (first + timedelta(days=31)).replace(day=1)


def name_of(day: date, every: Every) -> str:
    """The period that a day is in."""
    return day.isoformat() if every == "day" else f"{day:%Y-%m}"


def previous(period: str, every: Every) -> Iterator[str]:
    """The periods before, the latest first."""
    first, _ = days_of(period, every)
    while first.year > YEARS[0]:
        first = days_of(name_of(first - timedelta(days=1), every), every)[0]
        yield name_of(first, every)


def start_ns(day: date, zone: str) -> int:
    """A day's first instant, Unix nanoseconds. Raises: LocalError: no such zone."""
    return first_instant(day, zone_of(zone)) * MINUTE_NS


def bounds_ns(period: str, every: Every, zone: str) -> tuple[int, int]:
    """[since, until) of a period. Raises: LocalError."""
    first, end = days_of(period, every)
    return start_ns(first, zone), start_ns(end, zone)


def current(subscriptions: Sequence[Subscription], day: str) -> Subscription | None:
    """The one in force on a day: the latest that began; of those of one day the last that was set."""
    found = None
    for one in subscriptions:
        if one.since <= day and (found is None or one.since >= found.since):
            found = one
    return found


def segments(subscriptions: Sequence[Subscription], period: str) -> list[Segment]:
    """The parts of a period under a plan, in order; days under none are left out.

    Args:
        subscriptions: one tenant's, in the order in which they were set; all of one zone and rhythm.
    """
    if not subscriptions:
        return []
    zone, every = subscriptions[0].zone, subscriptions[0].every
    first, end = days_of(period, every)
    cuts = sorted({first, end} | {day for one in subscriptions if first < (day := date.fromisoformat(one.since)) < end})
    found: list[Segment] = []
    for begin, stop in pairwise(cuts):
        one = current(subscriptions, begin.isoformat())
        if one is None or not one.plan:
            continue
        last = found[-1] if found else None
        if last and (last.plan, last.version) == (one.plan, one.version) and last.until_ns == start_ns(begin, zone):
            begin -= timedelta(days=last.days)  # another address, the same plan: nothing is cut
            found.pop()
        found.append(
            Segment(
                plan=one.plan,
                version=one.version,
                since_ns=start_ns(begin, zone),
                until_ns=start_ns(stop, zone),
                days=(stop - begin).days,
                of_days=(end - first).days,
            )
        )
    return found


def due_of(header: Header, payable: int, issued_ns: int) -> str:
    """The last day to pay on the zone's clock; empty: there is nothing to pay, or the plan does not say."""
    if header.due_days is None or payable <= 0:
        return ""
    issued = date.fromisoformat(local_day(issued_ns, header.zone))
    return (issued + timedelta(days=header.due_days)).isoformat()


def local_day(ns: int, zone: str) -> str:
    """The day that a moment is in, on the zone's clock."""
    return datetime.fromtimestamp(ns // 1_000_000_000, zone_of(zone)).date().isoformat()
