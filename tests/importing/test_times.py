"""Times as files write them: with a zone, without one, on the days the clocks change, as numbers."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import LocalError
from interlock.importing.times import DIGITS, Times, Unit

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    BERLIN,
    ZoneInfo("America/New_York"),
    ZoneInfo("Australia/Lord_Howe"),
    ZoneInfo("Asia/Kathmandu"),
    ZoneInfo("UTC"),
]
PAST = st.datetimes(datetime(1970, 1, 2), datetime(2037, 1, 1))


def moment(text: str) -> datetime:
    """As the server reads it."""
    found = msgspec.convert(text, datetime)
    assert found.tzinfo is not None
    return found


def refused(times: Times, value: object) -> str:
    with pytest.raises(LocalError) as caught:
        times.read(value, "at")
    assert caught.value.field == "at"
    return caught.value.message


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-28T10:00:00Z", "2026-11-28T10:00:00Z"),
        ("2026-11-28 10:00:00+00", "2026-11-28T10:00:00Z"),
        ("2026-11-28 10:00:00 UTC", "2026-11-28T10:00:00Z"),
        (" 2026-11-28t10:00z ", "2026-11-28T10:00:00Z"),
        ("2026-11-28 10:00:00.120-0530", "2026-11-28T10:00:00.120-05:30"),
        ("2026-11-28T10:00:00.123456789+01", "2026-11-28T10:00:00.123456789+01:00"),
    ],
)
def test_with_a_zone_it_is_the_same_moment_and_keeps_its_digits(written: str, meant: str) -> None:
    assert Times().read(written, "at") == meant
    assert Times(zone=BERLIN).read(written, "at") == meant


@pytest.mark.parametrize(
    "wrong",
    ["", "yesterday", "28/11/2026", "2026-11-28T10", "2026-02-30T10:00:00Z", "2026-11-28T25:00:00Z", "infinity", 1.5,
     True, "2026-11-28T10:00:00+99:00", "2026-11-28+01:00", "٢٠٢٦-11-28T10:00:00Z", "2026-11-28T10:00:00.1234567890Z"],
)  # fmt: skip
def test_what_is_no_time_is_refused(wrong: object) -> None:
    for times in (Times(), Times(zone=BERLIN)):
        assert refused(times, wrong)


def test_without_a_zone_it_needs_one() -> None:
    assert "--zone" in refused(Times(), "2026-11-28 10:00:00")
    assert "--zone" in refused(Times(), "2026-11-28")
    assert Times(zone=BERLIN).read("2026-11-28 10:00:00.5", "at") == "2026-11-28T09:00:00.5Z"
    assert Times(zone=BERLIN).read("2026-11-28", "at") == "2026-11-27T23:00:00Z"


def test_an_hour_that_is_missing_is_named() -> None:
    said = refused(Times(zone=BERLIN, fold="earlier"), "2026-03-29T02:30:00")
    assert (
        said
        == "2026-03-29T02:30:00 does not exist in Europe/Berlin: the clocks went forward from UTC+01:00 to UTC+02:00"
    )


def test_an_hour_that_came_twice_is_named_or_chosen() -> None:
    said = refused(Times(zone=BERLIN), "2026-10-25T02:30:00")
    assert "came twice in Europe/Berlin, at UTC+02:00 and at UTC+01:00" in said and "--fold" in said
    assert Times(zone=BERLIN, fold="earlier").read("2026-10-25T02:30:00", "at") == "2026-10-25T00:30:00Z"
    assert Times(zone=BERLIN, fold="later").read("2026-10-25T02:30:00", "at") == "2026-10-25T01:30:00Z"
    assert Times(zone=BERLIN, fold="later").read("2026-10-25T03:00:00", "at") == "2026-10-25T02:00:00Z"


@given(PAST, st.sampled_from(ZONES), st.sampled_from(["earlier", "later"]))
def test_a_moment_s_local_time_leads_back_to_it(naive: datetime, zone: ZoneInfo, fold: str) -> None:
    """Every moment can be said by its local time; of the two of a fold, the one that was asked for is meant."""
    at = naive.replace(tzinfo=UTC)
    local = at.astimezone(zone)
    times = Times(zone=zone, fold=fold)  # type: ignore[arg-type]  # one of the two words
    read = moment(times.read(local.replace(tzinfo=None).isoformat(" "), "at"))
    other = local.replace(fold=1 - local.fold).utcoffset()
    if local.utcoffset() == other or local.fold == (fold == "later"):
        assert read == at
    else:
        assert abs(read - at) in (timedelta(hours=1), timedelta(minutes=30))


@given(PAST, st.sampled_from(ZONES))
def test_a_missing_or_doubled_hour_is_never_guessed(naive: datetime, zone: ZoneInfo) -> None:
    """An oracle by going there and back: exactly one moment has this local time, or it is refused."""
    naive = naive.replace(microsecond=0)
    near = [naive.replace(tzinfo=UTC) + timedelta(minutes=15 * n) for n in range(-60, 61)]
    found = [at for at in near if at.astimezone(zone).replace(tzinfo=None) == naive]
    try:
        read = [moment(Times(zone=zone).read(naive.isoformat(), "at"))]
    except LocalError:
        read = []
    assert read == (found if len(found) == 1 else [])


@given(st.integers(0, 4_102_444_800), st.sampled_from(list(DIGITS)))
def test_numbers_since_1970_in_their_unit(seconds: int, unit: Unit) -> None:
    number = seconds * 10 ** DIGITS[unit]
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    for value in (number, str(number)):
        assert moment(Times(unit=unit).read(value, "at")) == at


def test_numbers_keep_their_digits_and_need_a_unit() -> None:
    assert Times(unit="ns").read(1_764_324_000_123_456_789, "at") == "2025-11-28T10:00:00.123456789Z"
    assert Times(unit="ms").read("1764324000120", "at") == "2025-11-28T10:00:00.12Z"
    assert "--time-unit" in refused(Times(zone=BERLIN), 1_764_324_000)
    assert "calendar" in refused(Times(unit="s"), 10**15)
    assert "calendar" in refused(Times(unit="s"), "9" * 5000)
