"""Windows on a zone's clock: where they begin, their classes, and that each second of a period is in one of them."""

from datetime import datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.billing.rig import ns

from interlock.billing import windowing
from interlock.billing.counting import Detail, Tally
from interlock.billing.periods import bounds_ns
from interlock.billing.windowing import buckets, class_of, grid
from interlock.errors import LocalError
from interlock.meters.windows import zone_of
from interlock.rating import Windows, read_as, text_of
from interlock.units import NANO

HOUR_NS = 3600 * NANO
PEAK: dict[str, Any] = {
    "size": "hour",
    "rules": [{"in_class": "peak", "days": ["mon", "fri"], "from_hour": 8, "to_hour": 18}],
    "otherwise": "off",
}
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York")


def windows(**more: Any) -> Windows:
    return read_as(PEAK | more, Windows, "windows")


@pytest.mark.parametrize(
    ("month", "zone", "count"),
    [
        ("2026-11", "UTC", 720),
        ("2026-03", "Europe/Berlin", 743),  # an hour is skipped
        ("2026-10", "Europe/Berlin", 745),  # an hour comes twice, and is two windows
        ("2026-11", "Asia/Kathmandu", 720),  # hours begin at a quarter of UTC's
    ],
)
def test_hours_of_a_month(month: str, zone: str, count: int) -> None:
    since_ns, until_ns = bounds_ns(month, "month", zone)
    found = list(buckets(windows(), grid(windows(), zone, since_ns, until_ns), [""], [[]], until_ns))
    assert len(found) == count == len({one.name for one in found})
    assert all(one.ended and one.quantity == 0 for one in found)


@given(st.sampled_from(ZONES), st.sampled_from(["2026-03", "2026-04", "2026-10", "2026-11"]), st.data())
def test_each_moment_is_in_one_window_of_its_class(zone: str, month: str, data: st.DataObject) -> None:
    since_ns, until_ns = bounds_ns(month, "month", zone)
    cut = grid(windows(), zone, since_ns, until_ns)
    assert (cut.bounds[0], cut.bounds[-1]) == (since_ns, until_ns)
    at_ns = data.draw(st.one_of(st.integers(since_ns, until_ns - 1), st.sampled_from(cut.bounds[:-1])))
    tally = Tally(1, Detail(grid=cut))
    tally.add("e", at_ns, 1)
    [(begin_ns, quantity)] = tally.windows
    [used] = [one for one in buckets(windows(), cut, [""], [tally.windows], until_ns) if one.quantity]
    assert begin_ns <= at_ns < begin_ns + HOUR_NS and quantity == 1
    clock = datetime.fromtimestamp(at_ns // NANO, zone_of(zone))  # the event's own, not its window's
    peak = f"{clock:%a}" in ("Mon", "Fri") and 8 <= clock.hour < 18
    assert used.in_class == ("peak" if peak else "off")


def test_classes_by_the_first_rule_that_fits() -> None:
    rules = [{"in_class": "a", "from_hour": 22}, {"in_class": "b", "days": ["sun"]}, {"in_class": "c", "days": ["sun"]}]
    asked = windows(rules=rules)
    moments = ("2026-11-28T21:00", "2026-11-28T22:00", "2026-11-29T21:00", "2026-11-29T23:00")  # Saturday, Sunday
    assert [class_of(asked, datetime.fromisoformat(one)) for one in moments] == ["off", "a", "b", "a"]
    assert class_of(windows(), datetime.fromisoformat("2026-11-30T07:59")) == "off"
    assert class_of(windows(), datetime.fromisoformat("2026-11-30T08:00")) == "peak"
    assert class_of(windows(), datetime.fromisoformat("2026-11-30T18:00")) == "off"


def test_only_what_has_begun_or_was_used_and_in_times_order() -> None:
    cut = grid(windows(size="day", rules=[], otherwise=""), "UTC", ns("2026-11-01"), ns("2026-12-01"))
    used = [
        [(ns("2026-11-01"), Fraction(1)), (ns("2026-11-01"), Fraction(2))],
        [(ns("2026-11-02"), Fraction(5)), (ns("2026-11-09"), Fraction(7))],
    ]
    now_ns = ns("2026-11-02")
    found = list(buckets(windows(size="day"), cut, ["model=a", ""], used, now_ns))
    assert [(one.name, text_of(one.quantity), one.ended) for one in found] == [
        ("2026-11-01 model=a", "3", True), ("2026-11-01", "0", True),
        ("2026-11-02 model=a", "0", False), ("2026-11-02", "5", False), ("2026-11-09", "7", False),
    ]  # fmt: skip


def test_windows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = grid(windows(), "UTC", ns("2026-11-01"), ns("2026-12-01"))
    monkeypatch.setattr(windowing, "WINDOWS_MAX", 1441)
    with pytest.raises(LocalError, match="group by less, or cut into days") as caught:
        list(buckets(windows(), cut, ["a", "b"], [[], []], ns("2026-12-01")))
    assert caught.value.field == "windows"
