"""When a grant comes again: a length of months or days, counted from an anchor, in UTC. Pure.

The n-th time is reckoned from the anchor, never from the time before, so that the 31st of January is followed by the
28th of February and by the 31st of March, not by the 28th.
"""

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta

import msgspec

from interlock.errors import LocalError
from interlock.units import INT64_MAX

DAY_NS = 86_400_000_000_000
DAYS_MAX, MONTHS_MAX = 3_660, 120
_NAMED = {"day": (0, 1), "week": (0, 7), "month": (1, 0), "year": (12, 0)}
_ISO = re.compile(r"P(?:([0-9]{1,4})Y)?(?:([0-9]{1,4})M)?(?:([0-9]{1,4})W)?(?:([0-9]{1,4})D)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Every(msgspec.Struct, frozen=True):
    """A length: so many calendar months, or so many nanoseconds. One of the two is 0."""

    months: int = 0
    length_ns: int = 0


def read_every(text: str, field: str = "every") -> Every:
    """`day`, `week`, `month`, `year`, or an ISO 8601 duration of whole months or whole days: `P10D`, `P3M`.

    Raises: LocalError.
    >>> read_every("week") == read_every("P7D") == Every(length_ns=7 * DAY_NS)
    True
    """
    found = _ISO.fullmatch(text)
    if text in _NAMED:
        months, days = _NAMED[text]
    elif found and text != "P":
        years, months, weeks, days = (int(part or 0) for part in found.groups())
        months, days = 12 * years + months, 7 * weeks + days
    else:
        months = days = 0
    if bool(months) == bool(days) or days > DAYS_MAX or months > MONTHS_MAX:
        rule = "write day, week, month, year, or whole days or months such as P10D or P3M, at most ten years"
        raise LocalError(f"{text[:40]!r} is not how often a grant comes again: {rule}", field=field)
    return Every(months=months) if months else Every(length_ns=days * DAY_NS)


def nth_ns(every: Every, anchor_ns: int, n: int) -> int:
    """The n-th time after the anchor (n may be negative), Unix ns; beyond what int64 holds: INT64_MAX.

    >>> import datetime as d
    >>> jan31 = int(d.datetime(2026, 1, 31, tzinfo=d.UTC).timestamp()) * 10**9
    >>> [f"{d.datetime.fromtimestamp(nth_ns(Every(months=1), jan31, n) // 10**9, d.UTC):%m-%d}" for n in (1, 2)]
    ['02-28', '03-31']
    """
    if not every.months:
        return min(anchor_ns + n * every.length_ns, INT64_MAX)
    seconds, rest_ns = divmod(anchor_ns, 1_000_000_000)
    anchor = _EPOCH + timedelta(seconds=seconds)
    years, month = divmod(anchor.month - 1 + n * every.months, 12)
    year = anchor.year + years
    if not 1 <= year <= 2261:
        return INT64_MAX if year > 2261 else -INT64_MAX
    day = min(anchor.day, monthrange(year, month + 1)[1])
    moment = anchor.replace(year=year, month=month + 1, day=day)
    return ((moment - _EPOCH) // timedelta(seconds=1)) * 1_000_000_000 + rest_ns


def next_ns(every: Every, anchor_ns: int, after_ns: int) -> int:
    """The first time after `after_ns`, which need not be one itself; beyond what int64 holds: INT64_MAX."""
    if every.months:
        anchor, after = (_EPOCH + timedelta(seconds=ns // 1_000_000_000) for ns in (anchor_ns, after_ns))
        n = ((after.year - anchor.year) * 12 + after.month - anchor.month) // every.months
    else:
        n = (after_ns - anchor_ns) // every.length_ns
    while nth_ns(every, anchor_ns, n) <= after_ns < INT64_MAX:
        n += 1
    return nth_ns(every, anchor_ns, n)
