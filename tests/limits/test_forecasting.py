"""Forecasts against plain arithmetic, and the edges: nothing used, just begun, used up, a clock that moved, bursts."""

from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.limits import forecasting as module
from interlock.limits.forecasting import CALLS_MIN, HOUR_NS, Forecast, Recent, forecast, span

DAY_NS = 24 * HOUR_NS
BEGIN_NS = 1_000 * DAY_NS


def day(used: int, hours: float, recent: Recent | None = None, amount: int = 2_400) -> Forecast:
    """A window of a day, so many hours after it began."""
    return forecast(
        used=used,
        amount=amount,
        since_ns=BEGIN_NS,
        ends_ns=BEGIN_NS + DAY_NS,
        now_ns=BEGIN_NS + int(hours * HOUR_NS),
        recent=recent,
    )


def lately(used: int, calls: int | None = None) -> Recent:
    return Recent(length_ns=HOUR_NS, used=used, calls=calls)


NUMBERS = st.integers(0, 10**12)


def check_against_arithmetic(used: int, amount: int, length_ns: int, part: int, recent: Recent) -> None:
    """The first moment at which it is used up is the first one: a nanosecond earlier something is left."""
    now_ns, ends_ns = BEGIN_NS + length_ns * part // 100, BEGIN_NS + length_ns
    found = forecast(used=used, amount=amount, since_ns=BEGIN_NS, ends_ns=ends_ns, now_ns=now_ns, recent=recent)
    assert found.left == amount - used
    for course, rate in (
        (found.recent, Fraction(recent.used, recent.length_ns)),
        (found.average, Fraction(used, max(now_ns - BEGIN_NS, 1))),
    ):
        if course is None:
            continue
        assert course.per_hour == round(rate * HOUR_NS)
        assert course.at_end == used + round(rate * (ends_ns - now_ns))
        at_ns = course.exhausted_at_ns
        if at_ns is None:
            assert used + rate * (ends_ns - 1 - now_ns) < amount, "at no moment of the window"
        else:
            assert now_ns <= at_ns < ends_ns
            assert used + rate * (at_ns - now_ns) >= amount
            assert at_ns == now_ns or used + rate * (at_ns - 1 - now_ns) < amount
    if used < amount and found.state in ("short", "uncertain", "enough"):
        courses = [one for one in (found.recent, found.average) if one is not None]
        short = [one for one in courses if one.exhausted_at_ns is not None]
        assert (len(short) == len(courses), bool(short)) == {
            "short": (True, True),
            "uncertain": (False, True),
            "enough": (False, False),
        }[found.state]


@example(27, 100, 209_938, 27, lately(0))  # used up within the last nanosecond
@given(NUMBERS, NUMBERS, st.integers(100, 400 * DAY_NS), st.integers(0, 99), st.builds(lately, NUMBERS))
def test_the_moment_is_the_first_one(used: int, amount: int, length_ns: int, part: int, recent: Recent) -> None:
    check_against_arithmetic(used, amount, length_ns, part, recent)


def _a_moment_late(original: Callable[..., object]) -> Callable[..., object]:
    def late(rate: Fraction, used: int, amount: int, now_ns: int, ends_ns: int | None) -> object:
        return original(rate, used, amount, now_ns + 1, ends_ns)

    return late


def _floats(original: Callable[..., object]) -> Callable[..., object]:
    def rounded(rate: Fraction, used: int, amount: int, now_ns: int, ends_ns: int | None) -> object:
        return original(Fraction(float(rate)), used, amount, now_ns, ends_ns)

    return rounded


@pytest.mark.parametrize("wrong", [_a_moment_late, _floats])
def test_the_property_sees_a_wrong_moment(
    wrong: Callable[[Callable[..., object]], Callable[..., object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = (333_333_333, 10**15 + 7, 400 * DAY_NS, 50, lately(271_828_182_845))
    check_against_arithmetic(*case)
    monkeypatch.setattr(module, "_course", wrong(module._course))
    with pytest.raises(AssertionError):
        check_against_arithmetic(*case)


def test_nothing_used() -> None:
    assert day(0, 12).state == "unused"
    assert day(0, 12, lately(0, 0)).says == "nothing was used"
    assert day(0, 12, lately(500)).state == "uncertain", "used lately, before the window began"


def test_just_begun_says_that_it_does_not_know() -> None:
    found = day(5, 0.01)
    assert (found.state, found.average, found.exhausted_at_ns) == ("unknown", None, None)
    assert "too few data" in found.says
    assert day(5, 0, lately(300, CALLS_MIN)).state == "short", "but the hours before say something"
    assert day(5, 0, lately(300, CALLS_MIN - 1)).state == "unknown", "unless they hold hardly a call"


def test_used_up() -> None:
    for used in (2_400, 9_999):
        found = day(used, 6)
        assert (found.state, found.left, found.exhausted_at_ns) == ("exhausted", 2_400 - used, BEGIN_NS + 6 * HOUR_NS)
        assert found.says == "nothing is left; the window ends in 18 h"
    assert day(0, 6, amount=0).state == "exhausted", "nothing at all is allowed"


def test_steady_use_is_forecast_exactly() -> None:
    found = day(1_200, 6, lately(200))
    assert found.state == "short"
    assert found.recent is not None and found.average is not None
    assert (found.recent.per_hour, found.average.per_hour) == (200, 200)
    assert found.recent.at_end == found.average.at_end == 4_800
    assert found.exhausted_at_ns == BEGIN_NS + 12 * HOUR_NS
    assert "at the rate of the last 1 h it is used up in 6 h" in found.says
    assert day(600, 6, lately(100)).state == "enough", "used up at the end is not before it"


def test_a_burst_is_not_taken_for_the_rest_of_the_window() -> None:
    burst = day(600, 12, lately(500))
    assert burst.state == "uncertain"
    assert burst.says == ("at the rate of the last 1 h it is used up in 3 h 36 min; at the window's average it lasts")
    over = day(1_500, 6, lately(0))
    assert over.state == "uncertain" and over.exhausted_at_ns is None
    assert "at the window's average it is used up in 3 h 36 min" in over.says


def test_a_clock_that_moved() -> None:
    before = day(100, -5, lately(100))
    assert before.average is None and before.recent is not None
    assert before.recent.at_end == 100 + 2_400, "no more than the window's own length"
    after = day(100, 24)
    assert (after.state, after.exhausted_at_ns, after.says) == ("ended", None, "the window is over")
    assert day(100, 30, lately(9_000)).state == "ended"


@pytest.mark.parametrize(("date", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)])
def test_a_day_is_as_long_as_its_zone_says(date: tuple[int, int, int], hours: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    begin = datetime(*date, tzinfo=zone)
    end = datetime(date[0], date[1], date[2] + 1, tzinfo=zone)
    since_ns, ends_ns = (int(one.timestamp()) * 10**9 for one in (begin, end))
    assert ends_ns - since_ns == hours * HOUR_NS
    found = forecast(used=100, amount=10_000, since_ns=since_ns, ends_ns=ends_ns, now_ns=since_ns + HOUR_NS)
    assert found.average is not None
    assert found.average.at_end == 100 * hours


def test_what_has_no_end_lasts_until_it_is_used_up() -> None:
    found = forecast(used=10, amount=1_000, since_ns=0, ends_ns=None, now_ns=HOUR_NS, recent=lately(1))
    assert found.average is not None and found.recent is not None
    assert (found.average.at_end, found.state) == (None, "short")
    assert found.exhausted_at_ns == HOUR_NS + 990 * HOUR_NS
    never = forecast(used=1, amount=10**30, since_ns=0, ends_ns=None, now_ns=HOUR_NS)
    assert never.exhausted_at_ns is None, "past what a moment can say"
    given_back = forecast(used=-5, amount=10, since_ns=0, ends_ns=None, now_ns=HOUR_NS)
    assert (given_back.left, given_back.state) == (15, "unused")


def test_what_makes_no_sense_is_refused() -> None:
    for amount, ends_ns in ((-1, None), (1, BEGIN_NS), (1, BEGIN_NS - 1)):
        with pytest.raises(ValueError, match="ends after"):
            forecast(used=0, amount=amount, since_ns=BEGIN_NS, ends_ns=ends_ns, now_ns=BEGIN_NS)


def test_spans() -> None:
    assert [span(n * 10**9) for n in (0, 59, 60, 61, 3_600, 3_661, 90_061)] == [
        *("0 s", "59 s", "1 min", "1 min 1 s", "1 h", "1 h 1 min", "1 d 1 h"),
    ]
