"""Windows against the clock itself: minute by minute, over changes of the clock."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least

from interlock.errors import LocalError
from interlock.meters.windows import SIZES, Size, windows, zone_of

ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo"),
    *("Africa/Cairo", "Pacific/Apia", "America/St_Johns", "Asia/Gaza"),
)
STARTS = [  # around changes of the clock, and anywhere
    *("2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-04", "2026-10-03", "2017-10-14", "2018-11-03"),
    *("2011-12-29", "2026-04-23", "2026-10-29", "2026-01-01"),
]


def label(minute: int, zone: ZoneInfo, size: Size) -> tuple[object, ...]:
    """What all minutes of one window have in common, and no others."""
    at = datetime.fromtimestamp(minute * 60, zone)
    match size:
        case "minute":
            return (minute,)
        case "hour":
            return (at.year, at.month, at.day, at.hour, at.utcoffset())
        case "day":
            return (at.year, at.month, at.day)
    return (at.year, at.month)


@given(
    zone=st.sampled_from(ZONES),
    size=st.sampled_from(SIZES),
    start=st.sampled_from(STARTS),
    shift=st.integers(-1500, 1500),
    length=st.integers(1, 4000),
)
@settings(max_examples=at_least(300), deadline=None)
def test_a_window_is_the_minutes_with_one_label(zone: str, size: Size, start: str, shift: int, length: int) -> None:
    since = int((datetime.fromisoformat(start + "T00:00Z") + timedelta(minutes=shift)).timestamp()) // 60
    until = since + length
    where = ZoneInfo(zone)
    starts = windows(size, where, since, until)
    assert starts == sorted(set(starts)) and starts[0] <= since < starts[1] and starts[-2] < until <= starts[-1]
    changes = [m for m in range(starts[0] + 1, starts[-1]) if label(m, where, size) != label(m - 1, where, size)]
    assert starts[1:-1] == changes
    assert label(starts[0] - 1, where, size) != label(starts[0], where, size)
    assert label(starts[-1] - 1, where, size) != label(starts[-1], where, size)


def test_the_hour_that_comes_twice_is_two_windows() -> None:
    berlin = zone_of("Europe/Berlin")
    midnight = int(datetime(2026, 10, 25, tzinfo=berlin).timestamp()) // 60
    assert [start - midnight for start in windows("hour", berlin, midnight, midnight + 25 * 60)] == list(
        range(0, 26 * 60, 60)
    )
    assert windows("day", berlin, midnight, midnight + 1) == [midnight, midnight + 25 * 60]


@pytest.mark.parametrize(("since", "until"), [(5, 5), (6, 5), (-1, 5), (0, 10**12)])
def test_times_that_are_none(since: int, until: int) -> None:
    with pytest.raises(LocalError):
        windows("day", zone_of("UTC"), since, until)


def test_too_many_windows() -> None:
    with pytest.raises(LocalError, match="more than 50000 windows of a minute"):
        windows("minute", zone_of("UTC"), 0, 50_001)
    assert len(windows("minute", zone_of("UTC"), 0, 50_000)) == 50_001


@pytest.mark.parametrize(
    "name",
    [
        *("", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "a\0b", "x" * 10_000),
        *("localtime", "posixrules", "posix/UTC", "right/Europe/Berlin"),
    ],
)
def test_a_zone_that_is_none(name: str) -> None:
    with pytest.raises(LocalError) as caught:
        zone_of(name)
    assert caught.value.field == "zone"
