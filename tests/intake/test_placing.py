"""Where an event is counted, against an oracle that reads the rule word by word; and what must hold of any two."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.intake.placing import Closing, Closings, time_us

TIMES = st.integers(0, 9)  # few, so that they meet
SEQS = st.integers(1, 7)


@st.composite
def closings(draw: st.DrawFn) -> list[Closing]:
    """Of one tenant, in stream order: seqs and ends ascend; on purpose at the same few instants as the events."""
    seqs = sorted(draw(st.sets(SEQS, max_size=5)))
    ends = sorted(draw(st.sets(TIMES, min_size=len(seqs), max_size=len(seqs))))
    return [Closing(seq, f"p{seq}", end - 1, end) for seq, end in zip(seqs, ends, strict=True)]


def known(stand: list[Closing]) -> Closings:
    made = Closings()
    for one in stand:
        made.add("acme", one)
    return made


def oracle(stand: list[Closing], time: int, at: int, seq: int) -> tuple[int, str]:
    before = [one for one in stand if one.seq < seq]
    closed = [one for one in before if one.until_us > time]
    if not closed:
        return time, ""
    return max([at, *(one.until_us for one in before)]), closed[0].period


@given(closings(), TIMES, TIMES, SEQS)
def test_as_the_oracle(stand: list[Closing], time: int, at: int, seq: int) -> None:
    assert known(stand).place("acme", time, at, seq) == oracle(stand, time, at, seq)
    assert known(stand).place("globex", time, at, seq) == (time, "")


@given(closings(), TIMES, TIMES, SEQS)
def test_nothing_is_placed_in_what_was_closed_before_it(stand: list[Closing], time: int, at: int, seq: int) -> None:
    placed, period = known(stand).place("acme", time, at, seq)
    assert all(one.until_us <= placed for one in stand if one.seq < seq)
    assert (placed == time) if not period else (placed > time)


@given(closings(), TIMES, TIMES, SEQS)
def test_what_is_closed_later_moves_nothing(stand: list[Closing], time: int, at: int, seq: int) -> None:
    """A fold that stopped at the record, and one that read on, place it alike."""
    then = known([one for one in stand if one.seq < seq])
    assert known(stand).place("acme", time, at, seq) == then.place("acme", time, at, seq)


@given(closings(), TIMES, TIMES, st.tuples(SEQS, SEQS).map(sorted), TIMES)
def test_a_reversal_takes_back_where_it_was_counted(
    stand: list[Closing], time: int, original_at: int, seqs: list[int], at: int
) -> None:
    original_seq, seq = seqs
    placed, period = oracle(stand, time, original_at, original_seq)
    closed = [one for one in stand if one.seq < seq and one.until_us > placed]
    expected = oracle(stand, placed, at, seq) if closed else (placed, period)
    found = known(stand).place_reversal("acme", time, original_at, original_seq, at, seq)
    assert found == expected
    assert all(one.until_us <= found[0] for one in stand if one.seq < seq), "minus one in a closed period"


def test_a_month_is_closed() -> None:
    october, november = Closing(10, "2026-10", 100, 200), Closing(20, "2026-11", 200, 300)
    made = known([october, november])
    assert made.place("acme", 199, 205, 9) == (199, "")  # it came before the closing
    assert made.place("acme", 199, 205, 11) == (205, "2026-10")
    assert made.place("acme", 200, 205, 11) == (200, "")  # the end is exclusive
    assert made.place("acme", 50, 310, 21) == (310, "2026-10")  # all before a closed period is closed with it
    assert made.place("acme", 250, 290, 21) == (300, "2026-11")  # the clock was put back
    assert made.place_reversal("acme", 150, 151, 5, 160, 8) == (150, "")
    assert made.place_reversal("acme", 150, 151, 5, 210, 12) == (210, "2026-10")
    assert made.place_reversal("acme", 150, 205, 11, 210, 12) == (205, "2026-10")  # where it was counted, late
    assert made.place_reversal("acme", 150, 205, 11, 310, 21) == (310, "2026-11")


def test_one_that_ends_no_later_closes_nothing() -> None:
    made = known([Closing(10, "a", 0, 200), Closing(11, "b", 0, 200), Closing(12, "c", 0, 100)])
    assert made.place("acme", 50, 300, 13) == (300, "a")


@given(st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1)))
def test_time_as_it_is_stored(moment: datetime) -> None:
    text = moment.isoformat() + "Z"
    whole = int(moment.replace(microsecond=0, tzinfo=UTC).timestamp())
    assert time_us(text) == whole * 1_000_000 + moment.microsecond


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00Z", "2026-11-28T10:00:00.000001Z", "2026-11-28T10:00:00.1Z"])
def test_times_of_fewer_digits(text: str) -> None:
    assert time_us(text) == round(datetime.fromisoformat(text).timestamp() * 1e6)


@given(st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1)), min_size=2).map(sorted))
def test_the_order_of_times_stays(moments: list[datetime]) -> None:
    assert all(a <= b for a, b in pairwise(time_us(moment.isoformat() + "Z") for moment in moments))
