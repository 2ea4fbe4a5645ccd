"""Periods on clocks that change, and what subscriptions cut them into."""

from datetime import date
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.billing.rig import BASE, BUYER, Rig, ns

from interlock.billing.periods import bounds_ns, days_of, due_of, local_day, name_of, previous, segments
from interlock.billing.value import Every, Subscription
from interlock.errors import LocalError

HOUR = 3600 * 10**9


def set_(since: str, plan: str = "gold", version: int = 1, zone: str = "UTC", every: Every = "month") -> Subscription:
    return Subscription(tenant="acme", since=since, plan=plan, version=version, zone=zone, every=every, buyer=BUYER)


@pytest.mark.parametrize(
    ("period", "zone", "since", "until"),
    [
        ("2026-11", "UTC", "2026-11-01", "2026-12-01"),
        ("2026-03", "Europe/Berlin", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("2026-10", "Europe/Berlin", "2026-09-30T22:00", "2026-10-31T23:00"),
        ("2026-03-29", "Europe/Berlin", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("2026-10-25", "Europe/Berlin", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00", "2018-11-05T02:00"),  # midnight is skipped
        ("2026-02", "Asia/Kolkata", "2026-01-31T18:30", "2026-02-28T18:30"),
    ],
)
def test_bounds(period: str, zone: str, since: str, until: str) -> None:
    every: Every = "day" if len(period) > 7 else "month"
    assert bounds_ns(period, every, zone) == (ns(since), ns(until))


@pytest.mark.parametrize(
    "period", ["2026-13", "2026-1", "26-11", "2026-11-31", "", "0001-01", "9999-12", "\uff12026-11"]
)
def test_what_is_no_period(period: str) -> None:
    with pytest.raises(LocalError) as caught:
        days_of(period, "day" if period.count("-") == 2 else "month")
    assert caught.value.field == "period"


@given(st.dates(date(1972, 1, 1), date(2250, 1, 1)), st.sampled_from(["month", "day"]))
def test_periods_follow_each_other(day: date, every: Every) -> None:
    name = name_of(day, every)
    first, end = days_of(name, every)
    assert first <= day < end and name_of(end, every) != name
    before = next(previous(name, every))
    assert days_of(before, every)[1] == first


def test_the_periods_before() -> None:
    assert list(islice(previous("2026-02", "month"), 3)) == ["2026-01", "2025-12", "2025-11"]
    assert list(islice(previous("2026-03-01", "day"), 2)) == ["2026-02-28", "2026-02-27"]


def test_a_change_in_mid_period_cuts_it() -> None:
    changes = [set_("2026-01-01"), set_("2026-11-16", version=2), set_("2026-11-26", plan="")]
    found = segments(changes, "2026-11")
    assert [(one.version, one.days, one.of_days) for one in found] == [(1, 15, 30), (2, 10, 30)]
    assert found[0].until_ns == found[1].since_ns == ns("2026-11-16")
    assert segments(changes, "2025-12") == [] and segments(changes, "2026-12") == []
    assert [one.days for one in segments(changes, "2026-10")] == [31]


def test_the_last_day_to_pay_is_counted_on_the_zones_clock() -> None:
    rig = Rig().subscribed(BASE, zone="Asia/Tokyo", due_days=30)
    header = rig.document().header
    assert header.due_days == 30
    assert due_of(header, 1, ns("2026-12-03T14:59")) == "2027-01-02"
    assert due_of(header, 1, ns("2026-12-03T15:00")) == "2027-01-03"  # the fourth in Tokyo
    assert due_of(replace(header, due_days=0), 1, ns("2026-12-03")) == "2026-12-03"
    assert due_of(header, 0, 0) == due_of(header, -1, 0) == due_of(replace(header, due_days=None), 1, 0) == ""


def test_what_is_no_change_cuts_nothing() -> None:
    moved = [set_("2026-01-01"), set_("2026-11-10"), set_("2026-11-10", version=2), set_("2026-11-10")]
    assert [one.days for one in segments(moved, "2026-11")] == [30]
    assert [one.days for one in segments([set_("2026-11-30")], "2026-11")] == [1]


def test_segments_on_a_changing_clock() -> None:
    berlin = [set_("2026-01-01", zone="Europe/Berlin"), set_("2026-03-29", version=2, zone="Europe/Berlin")]
    first, second = segments(berlin, "2026-03")
    assert first.until_ns == second.since_ns == ns("2026-03-28T23:00")
    assert second.until_ns - second.since_ns == (3 * 24 - 1) * HOUR and second.days == 3
    assert local_day(second.since_ns, "Europe/Berlin") == "2026-03-29"
