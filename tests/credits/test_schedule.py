"""When a grant comes again."""

import doctest
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.credits import reading, schedule
from interlock.credits.schedule import DAY_NS, Every, next_ns, nth_ns, read_every
from interlock.errors import LocalError
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
