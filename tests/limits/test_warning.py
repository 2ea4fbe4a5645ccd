"""Thresholds: once each, also if several workers pass them together; what a warning says."""

import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.clock import SystemClock
from interlock.limits import Actual, Claim, Crossing, Entitled, Held, Limit, Limiter, Notice, Page
from interlock.limits.warning import body, fallen, low, passed

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


@given(st.lists(st.integers(-30, 130), max_size=20))
def test_a_low_balance_is_told_once_until_it_has_been_above(balances: list[int]) -> None:
    below = (100, 50, 10)
    warned = 0
    told: set[int] = set()
    for left in balances:
        warned, lowest = fallen(below, left, warned)
        fresh = {amount for amount in below if left < amount} - told
        assert lowest == min(fresh, default=None)
        told = {amount for amount in below if left < amount}


class Funded:
    """One account, of which somebody says what it may use in all."""

    def __init__(self, amount: int) -> None:
        self.next = [self.of(amount)]

    def of(self, amount: int) -> Limit:
        return Limit(
            name="credit/acme/ada",
            measure="nanousd",
            amount=amount,
            window="ever",
            tenants=("acme",),
            principals=("ada",),
        )

    def changed(self, now_ns: int) -> list[Limit]:
        found, self.next = self.next, []
        return found


def test_workers_tell_of_a_low_balance_together_once(tmp_path: Path) -> None:
    Page.create(tmp_path / "limits", slots=2)
    told: list[Notice] = []
    workers, funds = [], [Funded(100), Funded(100)]
    for slot in range(2):
        limiter = Limiter(Page(tmp_path / "limits"), slot, SystemClock(), [])
        limiter.funds, limiter.below, limiter.on_low = funds[slot], (60, 20), told.append
        workers.append(limiter)

    def use(slot: int, nanousd: int) -> list[str]:
        """What is told of it: left and below."""
        told.clear()
        held = workers[slot].reserve(Claim(id="c/1", tenant="acme", principal="ada", nanousd=nanousd))
        assert isinstance(held, Held)
        workers[slot].settle(held, Actual(nanousd=nanousd))
        found = [msgspec.json.decode(one.content) for one in told]
        assert all(one["type"] == "credit.low" and one["data"]["account"] == "acme/ada" for one in found)
        return [f"{one['data']['left']} < {one['data']['below']}" for one in found]

    def nano(amount: int) -> str:
        return f"0.{amount:09}".rstrip("0")

    assert use(0, 40) == [], "60 are left, which is not below 60"
    assert use(0, 1) == [f"{nano(59)} < {nano(60)}"]
    first = told[0].id
    assert use(1, 1) == use(0, 1) == []
    for fund in funds:
        fund.next = [fund.of(200)]
    assert use(1, 97) == [], "60 are left again"
    assert use(0, 55) == [f"{nano(5)} < {nano(20)}"], "a fall through both is told of the lowest"
    assert told[0].id != first
    held = workers[0].reserve(Claim(id="c/2", tenant="acme", principal="ada", nanousd=5))
    assert isinstance(held, Held)
    told.clear()
    workers[0].release(held)
    assert not told


class Changed:
    """Somebody's plan is another at each look."""

    def changed(self, now_ns: int) -> list[Entitled]:
        return [Entitled(tenant="bolt")]


@pytest.mark.parametrize("changed", [False, True])
def test_what_was_given_while_a_call_ran_is_not_low(tmp_path: Path, changed: bool) -> None:
    Page.create(tmp_path / "limits", slots=1)
    told: list[Notice] = []
    limiter, funds = Limiter(Page(tmp_path / "limits"), 0, SystemClock(), []), Funded(100)
    limiter.funds, limiter.below, limiter.on_low = funds, (60,), told.append
    held = limiter.reserve(Claim(id="c/1", tenant="acme", principal="ada", nanousd=50))
    assert isinstance(held, Held)
    limiter.plans = Changed() if changed else None
    assert limiter.funded
    funds.next = [funds.of(200)]
    limiter.settle(held, Actual(nanousd=50))
    assert not told


def test_nobody_is_told_of_a_balance_who_does_not_ask(tmp_path: Path) -> None:
    Page.create(tmp_path / "limits", slots=1)
    limiter = Limiter(Page(tmp_path / "limits"), 0, SystemClock(), [])
    limiter.funds = Funded(100)
    told: list[Notice] = []
    limiter.on_low = told.append
    held = limiter.reserve(Claim(id="c/1", tenant="acme", principal="ada", nanousd=99))
    assert isinstance(held, Held)
    limiter.settle(held, Actual(nanousd=99))
    assert not told


def test_a_low_balance_is_the_same_however_often_it_is_told() -> None:
    account = Funded(100).of(100)
    richer = msgspec.structs.replace(account, amount=101)
    notices = [low(account, 5, 10, 7), low(account, 4, 10, 9), low(account, 5, 20, 7), low(richer, 5, 10, 7)]
    assert len({one.id for one in notices}) == 3 and notices[0].id == notices[1].id
    data = msgspec.json.decode(low(account, -3, 10**9, 7).content)["data"]
    assert data == {"account": "acme/ada", "tenant": "acme", "principal": "ada", "left": "0.00", "below": "1.00"}
