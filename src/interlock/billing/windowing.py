"""Time cut into windows, each a bucket of a charge: where they begin on the zone's clock, and in which class each is.

Every window of a charge's time that has begun is one, whether anything was used in it or not: its price may not be
nothing at nothing. Days begin segments, and windows are hours and days, so no segment cuts a window. Pure.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from interlock.errors import LocalError
from interlock.meters.windows import windows as starts_of
from interlock.meters.windows import zone_of
from interlock.rating import Bucket, Windows
from interlock.units import NANO

MINUTE_NS = 60 * NANO
WINDOWS_MAX = 100_000
"""Of a period, over all groups and charges: some seconds."""
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def too_many_windows() -> LocalError:
    """More than WINDOWS_MAX."""
    what = f"more than {WINDOWS_MAX:,} windows would be priced one by one: group by less, or cut into days"
    return LocalError(what, field="windows")


class Grid(NamedTuple):
    """The windows of a time; times are Unix nanoseconds."""

    size: Literal["hour", "day"]
    zone: str
    bounds: tuple[int, ...]
    """Where each begins, and after them the end of the last."""


@lru_cache(64)
def grid(windows: Windows, zone: str, since_ns: int, until_ns: int) -> Grid:
    """Of [since, until), which are moments that windows begin at. Raises: LocalError: no such zone."""
    found = starts_of(windows.size, zone_of(zone), since_ns // MINUTE_NS, until_ns // MINUTE_NS)
    return Grid(windows.size, zone, tuple(start * MINUTE_NS for start in found))


def class_of(windows: Windows, begin: datetime) -> str:
    """The class of a window that begins then, on its zone's clock."""
    day = WEEKDAYS[begin.weekday()]
    for rule in windows.rules:
        if (not rule.days or day in rule.days) and rule.from_hour <= begin.hour < rule.to_hour:
            return rule.in_class
    return windows.otherwise


def buckets(
    windows: Windows, cut: Grid, groups: Sequence[str], counted: Sequence[Sequence[tuple[int, Fraction]]], now_ns: int
) -> Iterator[Bucket]:
    """Every window that has begun or was used, in time's order, and in it each group.

    Args:
        groups: their names. counted: of each (where a window begins, quantity); a window may come more than once, and
            one that does not was not used.
    Raises: LocalError: they are more than WINDOWS_MAX.
    """
    if len(groups) * len(cut.bounds) > WINDOWS_MAX:
        raise too_many_windows()
    used: dict[tuple[int, int], Fraction] = {}
    for place, of in enumerate(counted):
        for at_ns, quantity in of:
            used[place, at_ns] = used.get((place, at_ns), Fraction(0)) + quantity
    zone = zone_of(cut.zone)
    for begin_ns, end_ns in pairwise(cut.bounds):
        begin = datetime.fromtimestamp(begin_ns // NANO, zone)
        named = begin.date().isoformat() if cut.size == "day" else begin.isoformat(timespec="minutes")
        for place, group in enumerate(groups):
            if begin_ns > now_ns and (place, begin_ns) not in used:
                continue
            yield Bucket(
                name=f"{named} {group}".strip(),
                quantity=used.get((place, begin_ns), Fraction(0)),
                in_class=class_of(windows, begin),
                ended=end_ns <= now_ns,
            )
