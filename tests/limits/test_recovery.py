"""After a start the counters say what the log says, of the windows that are open."""

from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from interlock.limits import Actual, Claim, Denied, Held, Limit, Limiter, Page, Spent, restore, since_ns
from interlock.limits.limit import end_ns
from interlock.limits.matching import Matcher
from interlock.limits.page import GRANTED, USED
from interlock.testing.clock import ManualClock
from interlock.units import INT64_MAX

S = 1_000_000_000
NOW_NS = int(datetime(2026, 11, 29, 8, 30, 30, tzinfo=UTC).timestamp()) * S
LIMITS = (
    Limit(name="minute", measure="requests", amount=5, window="minute", per=("key",)),
    Limit(name="hour", measure="input_tokens", amount=50, window="hour", per=("tenant", "model")),
    Limit(name="day", measure="tokens", amount=500, window="day", tenants=("t0",)),
    Limit(name="month", measure="nanousd", amount=5_000, window="month", per=("session",)),
    Limit(name="at-once", measure="concurrency", amount=5),
)
SPENT = st.builds(
    Spent,
    at_ns=st.integers(0, 40 * 86_400).map(lambda ago_s: NOW_NS - ago_s * S) | st.just(NOW_NS - 31 * S),
    key=st.sampled_from(("k0", "k1")),
    tenant=st.sampled_from(("t0", "t1")),
    session=st.sampled_from(("", "s0")),
    model=st.sampled_from(("m0", "m1")),
    requests=st.integers(0, 3),
    input_tokens=st.integers(0, 30),
    output_tokens=st.integers(0, 30),
    nanousd=st.integers(0, 900),
)


@given(st.lists(SPENT, max_size=30))
def test_each_counter_is_the_sum_of_its_window(tmp_path_factory: object, spent: list[Spent]) -> None:
    path = Path(tmp_path_factory.mktemp("page")) / "limits"  # type: ignore[attr-defined]  # pytest's; hypothesis forbids tmp_path
    Page.create(path, slots=1, rows=64, tickets=8)
    page = Page(path)
    wanted = dict[bytes, int]()
    for one in spent:
        for target in Matcher(LIMITS).targets(one):
            window = target.limit.window
            if target.limit.measure != "concurrency" and end_ns(window, one.at_ns) == end_ns(window, NOW_NS):
                amount = {
                    "requests": one.requests,
                    "input_tokens": one.input_tokens,
                    "tokens": one.input_tokens + one.output_tokens,
                    "nanousd": one.nanousd,
                }[target.limit.measure]
                wanted[target.key] = wanted.get(target.key, 0) + amount
    for _ in range(2):  # a second time changes nothing
        restore(page, LIMITS, spent, NOW_NS)
        found = {key: page.words[at + USED] for key, at in page.open_rows(NOW_NS)}
        assert found == {key: total for key, total in wanted.items() if total}
    page.close()


def test_nothing_before_the_time_that_is_asked_for_counts(tmp_path: Path) -> None:
    assert since_ns(LIMITS, NOW_NS) == int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * S


def test_what_was_restored_is_spent_and_what_is_counted_since_stays(tmp_path: Path) -> None:
    Page.create(tmp_path / "limits", slots=1)
    page, clock = Page(tmp_path / "limits"), ManualClock(NOW_NS)
    limiter = Limiter(page, 0, clock, LIMITS[:1])
    for _ in range(2):
        held = limiter.reserve(Claim(id="c/1", key="k0"))
        assert isinstance(held, Held)
        limiter.settle(held, Actual())
    restore(page, LIMITS, [Spent(at_ns=NOW_NS, key="k0", requests=1)], NOW_NS)
    assert sum(isinstance(limiter.reserve(Claim(id="c/1", key="k0")), Held) for _ in range(9)) == 3
    restore(page, LIMITS, [Spent(at_ns=NOW_NS, key="k0", requests=INT64_MAX)] * 2, NOW_NS)
    assert isinstance(limiter.reserve(Claim(id="c/1", key="k0", requests=0)), Denied)


def test_what_was_restored_is_this_machines_share(tmp_path: Path) -> None:
    Page.create(tmp_path / "limits", slots=2, leased=True)
    page = Page(tmp_path / "limits")
    restore(page, LIMITS, [Spent(at_ns=NOW_NS, key="k0", requests=3)], NOW_NS)
    [(_, at)] = list(page.open_rows(NOW_NS))
    assert (page.words[at + USED], page.words[at + GRANTED], page.share(0, at), page.share(1, at)) == (3, 3, 3, 0)
