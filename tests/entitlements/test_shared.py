"""Workers on the real page and log: as new as the last answer, never one too many, closed when in doubt."""

import random
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.billing.rig import ns
from tests.entitlements.rig import Rig, call

from interlock.entitlements import SharedPlans, Standing, entitled_of, shared
from interlock.errors import InterlockError
from interlock.identity import ENTITLEMENTS
from interlock.limits import Actual, Denied, Entitled, Held, Limiter
from interlock.log import Record

pytestmark = pytest.mark.anyio
SMALL = {"models": ["small-*"]}
TOKENS = {"name": "tokens", "measure": "tokens", "amount": "100", "window": "month"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def refused(outcome: object, code: str) -> Denied:
    assert isinstance(outcome, Denied) and outcome.code == code, outcome
    return outcome


async def test_every_worker_knows_a_change_that_was_answered(rig: Rig) -> None:
    first, second = rig.workers
    assert isinstance(first.reserve(call(model="big-1")), Held), "no plan, no restriction"
    await rig.put(SMALL)
    await rig.subscribe()
    for worker in rig.workers:
        denied = refused(worker.reserve(call(model="big-1")), "not_entitled")
        assert "gold version 1" in denied.says
        assert isinstance(worker.reserve(call()), Held)
        assert isinstance(worker.reserve(call(tenant="bolt", model="big-1")), Held)
    await rig.put({"models": ["small-*", "big-*"]})
    refused(second.reserve(call(model="big-1")), "not_entitled")  # a version is nobody's before it is subscribed to
    await rig.subscribe()
    assert all(isinstance(worker.reserve(call(model="big-1")), Held) for worker in rig.workers)
    assert await rig.records() == ["acme/1", "acme/2"]


async def test_time_alone_changes_what_holds(rig: Rig) -> None:
    first, second = rig.workers
    await rig.put(SMALL, "silver")
    await rig.put(None, "gold")
    await rig.subscribe("silver", "2026-11-20")
    await rig.subscribe("gold", "2026-12-01")
    await rig.subscribe("", "2027-01-01")
    big = call(model="big-1")
    for moment, before, lets in (
        ("2026-11-20", True, False),
        ("2026-12-01", False, True),
        ("2027-01-01", True, True),
    ):
        rig.clock.advance(ns(moment) - rig.clock.now_ns() - 1)
        assert [isinstance(one.reserve(big), Held) for one in (first, second)] == [before] * 2, moment
        rig.clock.advance(1)
        assert [isinstance(one.reserve(big), Held) for one in (first, second)] == [lets] * 2, moment


async def test_a_day_begins_in_the_subscription_s_zone(rig: Rig) -> None:
    await rig.put(SMALL)
    await rig.subscribe(since="2026-11-20", zone="Asia/Tokyo")
    rig.clock.advance(ns("2026-11-19T15:00") - rig.clock.now_ns() - 1)
    assert isinstance(rig.workers[0].reserve(call(model="big-1")), Held)
    rig.clock.advance(1)
    refused(rig.workers[0].reserve(call(model="big-1")), "not_entitled")


async def test_an_upgrade_keeps_what_was_used_in_the_window(rig: Rig) -> None:
    await rig.put({"limits": [TOKENS]}, "silver")
    await rig.put({"limits": [{**TOKENS, "amount": "150"}]}, "gold")
    await rig.subscribe("silver")
    first, second = rig.workers
    held = first.reserve(call(tokens=100))
    assert isinstance(held, Held)
    first.settle(held, Actual(input_tokens=100, output_tokens=0))
    await rig.subscribe("silver", tenant="bolt")
    assert isinstance(second.reserve(call(tokens=100, tenant="bolt")), Held), "each tenant has it to itself"
    denied = refused(second.reserve(call(tokens=1)), "limit_exceeded")
    assert (denied.limit, denied.left) == ("plan/tokens", 0)
    await rig.subscribe("gold")
    refused(second.reserve(call(tokens=51)), "limit_exceeded")
    assert isinstance(second.reserve(call(tokens=50)), Held)
    rig.clock.advance(ns("2026-12-01") - rig.clock.now_ns())
    assert isinstance(first.reserve(call(tokens=150)), Held), "another window"


async def test_a_limit_s_scopes_have_no_order(rig: Rig) -> None:
    """The same counter, however the next version lists them."""
    for per in (["principal", "model"], ["model", "principal"]):
        await rig.put({"limits": [{**TOKENS, "per": per}]})
    worker = rig.workers[0]
    await rig.subscribe(version=1)
    assert isinstance(worker.reserve(call(tokens=100)), Held)
    await rig.subscribe(version=2)
    refused(worker.reserve(call(tokens=1)), "limit_exceeded")


async def test_nobody_is_let_in_by_what_cannot_be_read(rig: Rig) -> None:
    worker = rig.workers[0]
    await rig.put(SMALL)
    await rig.subscribe()
    assert isinstance(worker.reserve(call()), Held)
    rig.generation.raise_to(ENTITLEMENTS, rig.entitling.book.seq + 1)  # somebody has written what cannot be found
    refused(worker.reserve(call()), "limits_unavailable")
    with pytest.raises(InterlockError) as unknown:
        worker.entitled("acme")
    assert unknown.value.code == "limits_unavailable" and unknown.value.status == 503
    await rig.subscribe(since="2026-11-02")
    assert isinstance(worker.reserve(call()), Held)
    await rig.log.append("entitlements", [Record(id="x", type="entitlement.lent", at_ns=1, payload=b"{}")])
    rig.generation.raise_to(ENTITLEMENTS, rig.entitling.book.seq + 1)
    refused(worker.reserve(call()), "limits_unavailable")


async def hammered(rig: Rig, seed: int) -> None:
    """Two workers, calls, and plans that come and go: used and held is never more than the plan of the moment lets."""
    chance = random.Random(seed)
    running: list[tuple[Limiter, Held, int]] = []
    used = held = 0
    amount: int | None = None
    for step in range(150):
        doing = chance.random()
        if doing < 0.06 or not step:
            amount = chance.choice((None, *range(0, 400, 40)))
            await rig.put(None if amount is None else {"limits": [{**TOKENS, "amount": str(amount)}]}, f"p{step}")
            await rig.subscribe(f"p{step}")
        elif doing < 0.65:
            limiter, asked = chance.choice(rig.workers), chance.randint(0, 30)
            outcome = limiter.reserve(call(step, tokens=asked))
            fits = amount is None or used + held + asked <= amount
            assert isinstance(outcome, Held) == fits, f"seed {seed}, step {step}: exactly what fits"
            if isinstance(outcome, Held) and amount is not None:
                running.append((limiter, outcome, asked))
                held += asked
        elif running:
            limiter, outcome, asked = running.pop(chance.randrange(len(running)))
            held -= asked
            if chance.random() < 0.2:
                limiter.release(outcome)
            else:
                cost = chance.randint(0, asked)
                limiter.settle(outcome, Actual(input_tokens=cost, output_tokens=0))
                used += cost


@pytest.mark.parametrize("seed", range(4))
async def test_two_workers_never_use_more_than_the_plan_of_the_moment(rig: Rig, seed: int) -> None:
    await hammered(rig, seed)


def stale(self: SharedPlans, now_ns: int) -> Collection[Entitled] | None:
    """A worker that looks once."""
    return _changed(self, now_ns) if not self.book.seq else ()


def by_plan(tenant: str, one: Standing | None) -> Entitled:
    """A worker that counts each plan apart."""
    found = entitled_of(tenant, one)
    named = [msgspec.structs.replace(limit, name=f"{limit.name}/{found.plan}") for limit in found.limits]
    return msgspec.structs.replace(found, limits=tuple(named))


_changed = SharedPlans.changed
FAULTS: list[tuple[object, str, object]] = [(SharedPlans, "changed", stale), (shared, "entitled_of", by_plan)]


@pytest.mark.parametrize("fault", FAULTS, ids=["stale", "by_plan"])
async def test_wrong_workers_are_found(
    rig: Rig, fault: tuple[object, str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*fault)
    with pytest.raises(AssertionError):
        await hammered(rig, 1)
