"""Limits as values: windows are the calendar's, and what makes no sense is said."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.limits import Limit, problems, since_ns
from interlock.limits.limit import NEVER_NS, begin_ns, end_ns
from interlock.units import INT64_MAX

S = 1_000_000_000
MOMENTS = st.integers(0, 4_000_000_000 * S)


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


@pytest.mark.parametrize(
    ("window", "at", "begin", "end"),
    [
        ("minute", "2026-02-28T23:59:59", "2026-02-28T23:59:00", "2026-03-01T00:00:00"),
        ("hour", "2026-11-29T08:00:00", "2026-11-29T08:00:00", "2026-11-29T09:00:00"),
        ("day", "2026-12-31T12:00:00", "2026-12-31T00:00:00", "2027-01-01T00:00:00"),
        ("month", "2026-12-31T23:59:59", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        ("month", "2028-02-29T00:00:00", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
    ],
)
def test_windows_are_the_calendars(window: str, at: str, begin: str, end: str) -> None:
    assert (begin_ns(window, ns(at)), end_ns(window, ns(at))) == (ns(begin), ns(end))  # type: ignore[arg-type]  # of the list


@given(st.sampled_from(("minute", "hour", "day", "month")), MOMENTS)
def test_every_moment_is_in_one_window_and_the_next_begins_where_it_ends(window: str, at_ns: int) -> None:
    begin, end = begin_ns(window, at_ns), end_ns(window, at_ns)  # type: ignore[arg-type]  # of the list
    assert begin <= at_ns < end
    assert begin_ns(window, end) == end  # type: ignore[arg-type]  # of the list
    assert end_ns(window, end - 1) == end  # type: ignore[arg-type]  # of the list
    long = {"minute": 60, "hour": 3600, "day": 86400, "month": 31 * 86400}[window] * S
    assert end - begin <= long


def test_what_has_no_window_never_ends() -> None:
    assert (begin_ns(None, 5), end_ns(None, 5)) == (0, NEVER_NS)


def test_a_log_is_needed_from_the_earliest_open_window_on() -> None:
    limits = [
        Limit(name="a", measure="requests", amount=1, window="minute"),
        Limit(name="b", measure="nanousd", amount=1, window="month"),
        Limit(name="c", measure="concurrency", amount=1),
    ]
    assert since_ns(limits, ns("2026-11-29T08:00:01")) == ns("2026-11-01T00:00:00")
    assert since_ns(limits[2:], 77) == 77


GOOD = Limit(name="a", measure="requests", amount=1, window="day", warn_at=(50, 100))


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (Limit(name="", measure="requests", amount=1, window="day"), "name"),
        (Limit(name="a b", measure="requests", amount=1, window="day"), "name"),
        (Limit(name="ä", measure="requests", amount=1, window="day"), "name"),
        (Limit(name="a\r\nx: y", measure="requests", amount=1, window="day"), "name"),
        (Limit(name="b", measure="requests", amount=-1, window="day"), "amount -1"),
        (Limit(name="b", measure="requests", amount=INT64_MAX + 1, window="day", overdraft=-1), "amount"),
        (Limit(name="b", measure="requests", amount=1, window="day", overdraft=-1), "overdraft -1"),
        (Limit(name="b", measure="requests", amount=INT64_MAX, window="day", overdraft=1), "together"),
        (Limit(name="b", measure="requests", amount=1), "window"),
        (Limit(name="b", measure="concurrency", amount=1, window="day"), "window"),
        (Limit(name="b", measure="requests", amount=1, window="day", per=("key", "key")), "twice"),
        (Limit(name="b", measure="requests", amount=1, window="day", warn_at=(80, 50)), "warn_at"),
        (Limit(name="b", measure="requests", amount=1, window="day", warn_at=(0,)), "warn_at"),
        (Limit(name="b", measure="requests", amount=1, window="day", warn_at=(50, 101)), "warn_at"),
        (Limit(name="a", measure="tokens", amount=1, window="day"), "named twice"),
    ],
)
def test_what_makes_no_sense_is_said(limit: Limit, said: str) -> None:
    assert problems([GOOD]) == []
    assert any(said in problem for problem in problems([GOOD, limit]))


def test_months_have_all_their_days() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    ends = set()
    while at.year == 2026:
        ends.add(end_ns("month", int(at.timestamp()) * S))
        at += timedelta(days=1)
    assert ends == {ns(f"2026-{month:02d}-01") for month in range(2, 13)} | {ns("2027-01-01")}
