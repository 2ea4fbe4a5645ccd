"""When a grant comes again."""

import doctest
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.credits.rig import START_NS, Rig

from interlock.credits import reading, schedule
from interlock.credits.records import STREAM
from interlock.credits.schedule import DAY_NS, Every, next_ns, nth_ns, read_every
from interlock.errors import LocalError, TransientError
from interlock.units import INT64_MAX

moments = st.integers(0, 4_000_000_000).map(lambda seconds: seconds * 1_000_000_000 + 7)
everys = st.one_of(
    st.builds(Every, months=st.integers(1, 120)), st.builds(lambda d: Every(length_ns=d * DAY_NS), st.integers(1, 3660))
)


@given(everys, moments, moments)
def test_the_next_is_the_first_after(every: Every, anchor_ns: int, after_ns: int) -> None:
    found = next_ns(every, anchor_ns, after_ns)
    assert found > after_ns
    length = every.length_ns or every.months * 30_436_875 * DAY_NS // 1_000_000
    n = (2 * (found - anchor_ns) + length) // (2 * length)
    assert nth_ns(every, anchor_ns, n) == found and nth_ns(every, anchor_ns, n - 1) <= after_ns


def test_the_end_of_a_month_stays_the_end() -> None:
    anchor_ns = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()) * 1_000_000_000
    at_ns, days = anchor_ns, []
    for _ in range(14):
        at_ns = next_ns(Every(months=1), anchor_ns, at_ns)
        days.append(datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%d"))
    assert days == ["28", "31", "30", "31", "30", "31", "31", "30", "31", "30", "31", "31", "28", "31"]


def test_time_ends_where_integers_do() -> None:
    assert next_ns(Every(months=120), 0, 9_200_000_000_000_000_000) == INT64_MAX
    assert next_ns(Every(length_ns=3660 * DAY_NS), 0, INT64_MAX - 1) == INT64_MAX


@pytest.mark.parametrize("text", ["", "P", "PT1H", "P1M1D", "P0D", "hourly", "P-1D", "P1.5D", "P99999D", "P121M", "١"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(LocalError) as refused:
        read_every(text)
    assert refused.value.field == "every"


@pytest.mark.parametrize("module", [schedule, reading])
def test_examples(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]  # a module


# resets over short months

MONTHS = 14


def _ns(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1_000


def _month_on(moment: datetime, n: int) -> datetime:
    """By the calendar alone: n months later, or the last day of that month."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + n, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))


async def _goes_to(rig: Rig, moment: datetime) -> None:
    rig.after((_ns(moment) - rig.clock.now_ns()) / 1_000_000_000)
    for _ in range(2):
        await rig.credits.look()
        rig.after(3)
    await rig.credits.look()


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(lambda one: one.replace(tzinfo=UTC, day=1)),
    st.sampled_from([27, 28, 29, 30]),
    st.sampled_from([1, 2, 3, 6, 12, 48, 120]),
    st.integers(-12, 12),
)
def test_months_are_the_calendar_s(first: datetime, days: int, months: int, n: int) -> None:
    """From the last days of a month, also the 29th of February, to either side."""
    anchor = first + timedelta(days=days)
    assert nth_ns(Every(months=months), _ns(anchor), n) == _ns(_month_on(anchor, n * months))


@pytest.mark.anyio
@pytest.mark.parametrize("every", ["month", "P3M", "year"])
@pytest.mark.parametrize("anchor", ["2024-02-29", "2023-01-30T23:59:59Z", "2022-08-31T06:00:00Z"])
async def test_an_anchor_of_years_ago(tmp_path: Path, every: str, anchor: str) -> None:
    """Nothing is made good of the time before the grant; then it comes again by the old anchor, each period once."""
    rig = Rig(tmp_path)
    await rig.grant(50, id="m", every=every, anchor=anchor)
    began_ns = rig.credits.book.grants["m"].at_ns
    for _ in range(900):
        rig.after(86_400)
        await rig.credits.look()
        rig.after(3)
        await rig.credits.look()
    records = [stored.record for stored in rig.log.read_after(STREAM, 0)]
    came = [msgspec.json.decode(one.payload)["at_ns"] for one in records if one.type == "credit.recurred"]
    step, since = {"month": 1, "P3M": 3, "year": 12}[every], datetime.fromisoformat(anchor).replace(tzinfo=UTC)
    times = (_ns(_month_on(since, n * step)) for n in range(120))
    assert came == [one for one in times if began_ns < one <= rig.clock.now_ns()] and len(came) > 1
    ended = [msgspec.json.decode(one.payload)["period"] for one in records if one.type == "credit.expired"]
    assert ended == list(range(len(came))) and rig.capacity() == 50
    rig.close()


@pytest.mark.anyio
@pytest.mark.parametrize("anchor", ["keep", "now"])
@pytest.mark.parametrize("year", [2028, 2029])
@pytest.mark.parametrize("begun", ["01-29", "01-30", "01-31"])
@pytest.mark.parametrize(
    ("asked", "at"),
    [
        ("02-15T07:00", ""),
        ("02-15T07:00", "01-31T18:00"),
        ("02-27T07:00", "02-01"),
        ("03-10T07:00", ""),
        ("03-10T07:00", "03-01"),
        ("04-29T07:00", ""),
    ],
)
async def test_what_follows_a_reset_over_short_months(
    tmp_path: Path, anchor: Any, year: int, begun: str, asked: str, at: str
) -> None:
    """Each period is ended once, and the grant comes again at what the calendar says of the anchor."""
    rig = Rig(tmp_path)
    begins = datetime.fromisoformat(f"{year}-{begun}T12:00:00+00:00")
    resets = datetime.fromisoformat(f"{year}-{asked}:00+00:00")
    rig.clock.advance(_ns(begins) - START_NS)
    await rig.grant(50, id="m", every="month", rollover_max="0.000000010")
    for n in range(1, 4):
        if _month_on(begins, n) < resets:
            await _goes_to(rig, _month_on(begins, n))
    await _goes_to(rig, resets)
    more: dict[str, Any] = {"at": f"{year}-{at}{':00Z' if 'T' in at else ''}"} if at else {}
    reset = await rig.reset("r", anchor=anchor, **more)
    for day in range(3, 31 * MONTHS):
        await _goes_to(rig, resets + timedelta(days=day))
    records = [stored.record for stored in rig.log.read_after(STREAM, 0)]
    came = [msgspec.json.decode(one.payload) for one in records if one.type == "credit.recurred"]
    ended = [msgspec.json.decode(one.payload)["period"] for one in records if one.type == "credit.expired"]
    cut_ns, now_ns = reset.asked.cut_ns, rig.clock.now_ns()
    new = begins if anchor == "keep" else datetime.fromtimestamp(reset.asked.at_ns // 1_000_000_000, UTC)
    every = [_ns(_month_on(begins, n)) for n in range(1, MONTHS)]
    wanted = [one for one in every if one < cut_ns] + [cut_ns]
    wanted += [one for n in range(MONTHS + 6) if cut_ns < (one := _ns(_month_on(new, n))) <= now_ns]
    assert [one["at_ns"] for one in came] == wanted
    assert ended == list(range(len(wanted))), "each period once, in order"
    found = await rig.reckoned()
    assert found.state.balances == {"m": 60} and rig.capacity() == 60
    rig.close()


@pytest.mark.anyio
@pytest.mark.parametrize("year", [2028, 2029])
async def test_a_reset_is_not_dated_back_over_an_end_of_its_own_period(tmp_path: Path, year: int) -> None:
    """From the end of February to the 31st of March the old periods have none; from there on by its day, it has."""
    rig = Rig(tmp_path)
    rig.clock.advance(_ns(datetime(year, 1, 31, 12, tzinfo=UTC)) - START_NS)
    await rig.grant(50, id="m", every="month", rollover_max="0.000000010")
    at = _month_on(datetime(year, 1, 31, 12, tzinfo=UTC), 1)
    await _goes_to(rig, at)
    over = _month_on(at, 1)
    assert (over.month, over.day) == (3, at.day)
    rig.after((_ns(over) - rig.clock.now_ns()) / 1_000_000_000 - 0.5)
    dated = (at + timedelta(seconds=9)).isoformat()
    with pytest.raises(TransientError) as busy:
        await rig.reset("r", anchor="now", at=at.isoformat().replace("12:00:00", "12:00:00.400"))
    assert busy.value.code == "busy"
    await _goes_to(rig, over + timedelta(days=1))
    with pytest.raises(LocalError) as refused:
        await rig.reset("r", anchor="now", at=dated)
    assert refused.value.field == "at", "then it would have come again, with more on top than it has now"
    right = refused.value.message.split(": ")[1].split(" ")[0]
    assert right == (over + timedelta(seconds=9, milliseconds=1)).isoformat(timespec="milliseconds").replace(
        "+00:00", "Z"
    )
    reset = await rig.reset("r", anchor="now", at=right)
    assert rig.credits.book.grants["m"].lots[-1].until_ns == reset.asked.cut_ns
    await _goes_to(rig, over + timedelta(days=2))
    (lot,) = rig.credits.book.grants["m"].lots
    assert lot.until_ns == _ns(_month_on(over + timedelta(seconds=9, milliseconds=1), 1))
    kept = await rig.reset("k", anchor="keep", at=(over + timedelta(days=1, hours=1)).isoformat())
    assert kept.asked.anchor == "keep", "no anchor, no end of its own"
    rig.close()
