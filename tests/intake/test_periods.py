"""Months and days of a calendar in a zone, and which may be closed."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import LocalError
from interlock.intake.periods import Closed, Standing, bounds_us, check_closing

HOUR = 3_600_000_000
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Africa/Cairo", "America/Havana", "Asia/Beirut")


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("period", "zone", "since", "until"),
    [
        ("2026-10", "UTC", "2026-10-01T00:00Z", "2026-11-01T00:00Z"),
        ("2026-12", "UTC", "2026-12-01T00:00Z", "2027-01-01T00:00Z"),
        ("2024-02-29", "UTC", "2024-02-29T00:00Z", "2024-03-01T00:00Z"),
        ("2026-10", "Europe/Berlin", "2026-09-30T22:00Z", "2026-10-31T23:00Z"),  # 745 hours
        ("2026-03-29", "Europe/Berlin", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),  # 23 hours
        ("2026-10-25", "Europe/Berlin", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),  # 25 hours
        ("2023-04-28", "Africa/Cairo", "2023-04-27T22:00Z", "2023-04-28T21:00Z"),  # its midnight was left out
        ("2023-11-05", "America/Havana", "2023-11-05T04:00Z", "2023-11-06T05:00Z"),  # it had two
    ],
)
def test_bounds(period: str, zone: str, since: str, until: str) -> None:
    assert bounds_us(period, zone) == (us(since), us(until))


@given(st.sampled_from(ZONES), st.dates(date(1970, 2, 1), date(2900, 12, 30)))
def test_days_are_without_gaps_and_make_up_the_month(zone: str, day: date) -> None:
    since, until = bounds_us(day.isoformat(), zone)
    assert bounds_us((day + timedelta(days=1)).isoformat(), zone)[0] == until
    first, last = bounds_us(day.isoformat()[:7], zone)
    assert first <= since < until <= last
    for moment_us, expected in ((since, day), (until - 1, day), (since - 1, day - timedelta(days=1))):
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment_us)
        assert moment.astimezone(ZoneInfo(zone)).date() == expected


@pytest.mark.parametrize(
    ("period", "zone", "field"),
    [
        *(
            (period, "UTC", "period")
            for period in ("", "2026", "2026-13", "2026-1", "2026-02-30", "26-10", "2026-10-1")
        ),
        *((period, "UTC", "period") for period in ("1969-12", "3000-01", "2026-10\n", "２０２６-10", "2026-10-00")),
        *(("2026-10", zone, "zone") for zone in ("", "Mars/Base", "Europe", "../UTC", "/etc/passwd", "x" * 65, "\0")),
        ("2011-12-30", "Pacific/Apia", "period"),  # nobody there had that day
        ("1970-01", "Europe/Berlin", "period"),  # it begins in 1969
    ],
)
def test_no_such_period(period: str, zone: str, field: str) -> None:
    with pytest.raises(LocalError) as caught:
        bounds_us(period, zone)
    assert (caught.value.code, caught.value.field) == ("invalid_request", field)


def closed(period: str, zone: str = "UTC") -> Closed:
    since, until = bounds_us(period, zone)
    return Closed(tenant="acme", principal="p", key_id="k", period=period, zone=zone, since_us=since, until_us=until)


NOW = us("2026-11-28T10:00Z")


def check(wanted: Closed, *before: Closed) -> Standing | None:
    return check_closing(wanted, [Standing(n, n, one) for n, one in enumerate(before, 1)], NOW)


def test_a_period_is_closed_once() -> None:
    assert check(closed("2026-10")) is None
    assert check(closed("2026-10"), closed("2026-09")) is None
    assert check(closed("2026-11-27"), closed("2026-10")) is None
    before = (closed("2026-09"), closed("2026-10"))
    assert check(closed("2026-10"), *before) == Standing(2, 2, closed("2026-10"))
    assert check(closed("2026-09"), *before) == Standing(1, 1, closed("2026-09"))  # told again, however late


@pytest.mark.parametrize("wanted", [closed("2026-09"), closed("2026-10-31"), closed("2026-10", "Europe/Berlin")])
def test_what_is_closed_stays_closed(wanted: Closed) -> None:
    with pytest.raises(LocalError, match=r"2026-10 \(UTC\) is closed since record 1.*before 2026-11-01T00:00:00Z") as e:
        check(wanted, closed("2026-10"))
    assert (e.value.code, e.value.field) == ("period_closed", "period")


def test_a_period_that_reaches_into_one() -> None:
    with pytest.raises(LocalError, match="is closed since record 1"):  # the first hour of Berlin's November
        check(closed("2026-11-01", "Europe/Berlin"), closed("2026-10"))
    assert check(closed("2026-11-02", "Europe/Berlin"), closed("2026-10")) is None


def test_a_period_that_is_not_over() -> None:
    with pytest.raises(LocalError, match=r"is not over before 2026-12-01T00:00:00Z") as caught:
        check(closed("2026-11"))
    assert caught.value.code == "invalid_request"
    assert check_closing(closed("2026-10"), [], us("2026-11-01T00:00Z")) is None
    with pytest.raises(LocalError):
        check_closing(closed("2026-10"), [], us("2026-11-01T00:00Z") - 1)
