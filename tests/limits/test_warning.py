"""Thresholds: once each, also if several workers pass them together; what a warning says."""

import threading
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from interlock.clock import SystemClock
from interlock.limits import Actual, Claim, Crossing, Held, Limit, Limiter, Page
from interlock.limits.warning import body, passed

LIMIT = Limit(name="t", measure="nanousd", amount=1_000, window="day", per=("tenant",), warn_at=(50, 80, 100))


@given(st.lists(st.integers(0, 700)), st.integers(0, 2_000))
def test_each_threshold_is_new_once(steps: list[int], amount: int) -> None:
    limit = msgspec.structs.replace(LIMIT, amount=amount)
    used = warned = 0
    said = list[int]()
    for step in steps:
        used += step
        warned, percent = passed(limit, used, warned)
        if percent:
            said.append(percent)
            assert used * 100 >= percent * amount
    assert said == sorted(set(said))
    reached = [percent for percent in limit.warn_at if used and used * 100 >= percent * amount]
    assert said[-1:] == reached[-1:]


def test_workers_that_pass_a_threshold_together_say_it_once(tmp_path: Path) -> None:
    """Two pages of one file, as two processes have them; the lock is between them."""
    limit = msgspec.structs.replace(LIMIT, amount=2_000)
    Page.create(tmp_path / "limits", slots=2)
    said = list[Crossing]()

    def use(slot: int) -> None:
        limiter = Limiter(Page(tmp_path / "limits"), slot, SystemClock(), [limit], said.append)
        for _ in range(1_000):
            held = limiter.reserve(Claim(id="c/1", tenant="acme", nanousd=1))
            assert isinstance(held, Held)
            limiter.settle(held, Actual(nanousd=1))

    threads = [threading.Thread(target=use, args=(slot,)) for slot in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.percent for one in said) == [50, 80, 100]
    assert [one.used for one in sorted(said, key=lambda one: one.percent)] == [1_000, 1_600, 2_000]


CROSSING = Crossing(
    limit=LIMIT,
    scope=(("tenant", "acme"),),
    percent=80,
    used=(1 << 60) + 1,
    ends_ns=1_700_006_400_000_000_000,
    at_ns=1_700_000_000_000_000_000,
)


def test_what_a_warning_says() -> None:
    assert msgspec.json.decode(body(CROSSING)) == {
        "type": "limit.threshold",
        "timestamp": "2023-11-14T22:13:20Z",
        "data": {
            "limit": "t",
            "measure": "nanousd",
            "scope": {"tenant": "acme"},
            "percent": 80,
            "used": "1152921504606846977",
            "amount": "1000",
            "window": "day",
            "window_ends": "2023-11-15T00:00:00Z",
        },
    }


def test_the_same_crossing_has_the_same_id_and_no_other_has() -> None:
    replace = msgspec.structs.replace
    assert replace(CROSSING, used=5, at_ns=7).id == CROSSING.id
    others = [
        replace(CROSSING, percent=100),
        replace(CROSSING, ends_ns=1),
        replace(CROSSING, scope=(("tenant", "other"),)),
        replace(CROSSING, limit=replace(LIMIT, name="u")),
        replace(CROSSING, limit=replace(LIMIT, amount=5)),
    ]
    assert len({one.id for one in [CROSSING, *others]}) == 6
