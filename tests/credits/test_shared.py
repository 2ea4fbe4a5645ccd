"""Workers' accounts on the real page of limits: as new as the last answer, never overspent, closed when in doubt."""

import random
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from tests.credits.rig import Rig, S

from interlock.credits import Book, SharedAccounts, Wanted, shared
from interlock.credits.records import STREAM
from interlock.errors import InterlockError
from interlock.identity import CREDITS
from interlock.limits import Actual, Claim, Denied, Held, Limit, Limiter, Page, headers
from interlock.log import Record
from interlock.units import INT64_MAX

pytestmark = pytest.mark.anyio
QUOTA = Limit(name="tokens", measure="tokens", amount=10**9, window="month", per=("tenant",))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    Page.create(tmp_path / "limits", slots=2)
    yield made
    made.close()


def worker(rig: Rig, tmp_path: Path, slot: int = 0) -> Limiter:
    limiter = Limiter(Page(tmp_path / "limits"), slot, rig.clock, [QUOTA])
    limiter.funds = SharedAccounts(rig.log, rig.generation)
    return limiter


def call(nanousd: int | None, number: int = 1, principal: str = "ada", tenant: str = "acme") -> Claim:
    return Claim(id=f"req/{number}", key=principal, tenant=tenant, principal=principal, nanousd=nanousd)


async def test_every_worker_sees_a_top_up_that_was_answered(rig: Rig, tmp_path: Path) -> None:
    first, second = worker(rig, tmp_path), worker(rig, tmp_path, 1)
    assert isinstance(first.reserve(call(99)), Held), "not prepaid: not limited"
    await rig.grant(10)
    assert first.funded and isinstance(first.reserve(call(6)), Held)
    denied = second.reserve(call(6))
    assert isinstance(denied, Denied)
    assert (denied.reason, denied.code, denied.limit, denied.left) == (
        "exhausted",
        "credit_exhausted",
        "credit/acme",
        4,
    )
    assert denied.retry_after_ns == S, "what is missing is only held"
    assert isinstance(second.reserve(call(6, tenant="other")), Held)
    await rig.grant(2)
    assert isinstance(second.reserve(call(6)), Held)
    none = second.reserve(call(13))
    assert isinstance(none, Denied) and none.retry_after_ns is None
    unpriced = second.reserve(call(None))
    assert isinstance(unpriced, Denied) and unpriced.reason == "unpriced"


async def test_a_policy_that_is_adopted_keeps_accounts(rig: Rig, tmp_path: Path) -> None:
    limiter = worker(rig, tmp_path)
    await rig.grant(10)
    assert isinstance(limiter.reserve(call(10)), Held)
    limiter.adopt([])
    assert isinstance(limiter.reserve(call(1)), Denied)


async def test_a_principal_s_account_stands_beside_the_tenant_s(rig: Rig, tmp_path: Path) -> None:
    limiter = worker(rig, tmp_path)
    await rig.grant(10)
    assert isinstance(limiter.reserve(call(1, principal="bob")), Held)
    await rig.grant(4, principal="ada")
    denied = limiter.reserve(call(5))
    assert isinstance(denied, Denied) and denied.limit == "credit/acme/ada"
    assert isinstance(limiter.reserve(call(4)), Held), "of both"
    denied = limiter.reserve(call(6, principal="bob"))
    assert isinstance(denied, Denied) and denied.limit == "credit/acme" and denied.left == 5


async def test_what_costs_nothing_is_let_through(rig: Rig, tmp_path: Path) -> None:
    limiter = worker(rig, tmp_path)
    await rig.grant(10)
    held = limiter.reserve(call(10))
    assert isinstance(held, Held)
    limiter.settle(held, Actual(nanousd=15))
    assert isinstance(limiter.reserve(call(1)), Denied) and isinstance(limiter.reserve(call(0)), Held)


async def test_what_is_left_is_told(rig: Rig, tmp_path: Path) -> None:
    limiter = worker(rig, tmp_path)
    await rig.grant(10**9)
    held = limiter.reserve(call(10**8))
    assert isinstance(held, Held)
    assert ("x-interlock-credit-remaining", "0.90") in headers("openai", held, rig.clock.now_ns())
    denied = limiter.reserve(call(10**9))
    assert isinstance(denied, Denied)
    told = dict(headers("anthropic", denied, rig.clock.now_ns()))
    assert told["x-interlock-credit-remaining"] == "0.90" and told["x-interlock-limit"] == "credit/acme"
    assert "retry-after" in told and not any("nanousd" in name for name in told)


async def test_nobody_is_let_in_by_what_cannot_be_read(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = worker(rig, tmp_path)
    await rig.grant(10)
    assert isinstance(limiter.reserve(call(1)), Held)
    rig.generation.raise_to(CREDITS, rig.credits.book.seq + 1)  # somebody has written what cannot be found
    denied = limiter.reserve(call(1))
    assert limiter.funded and isinstance(denied, Denied)
    assert (denied.reason, denied.code) == ("unknown", "limits_unavailable")
    await rig.grant(10)
    assert isinstance(limiter.reserve(call(1)), Held)
    record = Record(id="x", type="credit.halved", at_ns=1, payload=b"{}")
    await rig.log.append(STREAM, [record])
    rig.generation.raise_to(CREDITS, rig.credits.book.seq + 1)
    assert isinstance(limiter.reserve(call(1)), Denied)
    with pytest.raises(InterlockError) as unknown:
        for stored in rig.log.read_after(STREAM, 0):
            (book := locals().get("book") or Book()).apply(stored)
    assert unknown.value.code == "log_corrupt"


async def test_a_record_that_comes_twice_counts_once(rig: Rig) -> None:
    await rig.grant(10, id="bills", applies="invoices")
    await rig.credits.burn("acme", 3, "once")
    book = Book()
    for stored in rig.log.read_after(STREAM, 0):
        book.apply(stored)
        book.apply(stored)
    assert book.grants["bills"].lots[0].balance == 7


async def test_capacity_is_bounded(rig: Rig) -> None:
    for n in range(12):
        await rig.credits.grant(Wanted(tenant="acme", amount="1000000000", id=f"g{n}"))
    assert rig.capacity() == INT64_MAX


async def hammered(rig: Rig, tmp_path: Path, seed: int) -> None:
    """Two workers, calls, top-ups and voids: what is used and held is never more than was given and not taken away."""
    chance = random.Random(seed)
    workers = [worker(rig, tmp_path, slot) for slot in (0, 1)]
    running: list[tuple[Limiter, Held]] = []
    used = held = given = lost = 0
    ids: list[str] = []
    for step in range(150):
        doing = chance.random()
        if doing < 0.1 or not ids:
            amount = chance.randint(1, 30)
            ids.append(await rig.grant(amount, id=f"g{step}"))
            given += amount
        elif doing < 0.14:
            standing, _ = await rig.credits.void(ids.pop())
            lost += standing.granted.amount_nanousd  # at least what it has left
        elif doing < 0.7:
            limiter = chance.choice(workers)
            asked = chance.randint(0, 9)
            outcome = limiter.reserve(call(asked, step))
            if isinstance(outcome, Held):
                assert not asked or used + held + asked <= given, "never below zero"
                running.append((limiter, outcome))
                held += asked
        elif running:
            limiter, outcome = running.pop(chance.randrange(len(running)))
            asked = outcome.parts[-1]
            held -= asked
            if chance.random() < 0.2:
                limiter.release(outcome)
            else:
                cost = chance.randint(0, asked)
                limiter.settle(outcome, Actual(nanousd=cost))
                used += cost
        rig.clock.advance(S)
    for limiter, outcome in running:
        limiter.release(outcome)
    last = workers[0].reserve(call(0, 999))
    assert isinstance(last, Held)
    assert (last.standings[-1].used, last.standings[-1].held) == (used, 0), "holds and settles conserve"
    assert last.standings[-1].limit.amount >= given - lost


@pytest.mark.parametrize("seed", range(6))
async def test_two_workers_never_overspend(rig: Rig, tmp_path: Path, seed: int) -> None:
    await hammered(rig, tmp_path, seed)


def _stale(real: Callable[[SharedAccounts, int], Collection[Limit] | None]) -> object:
    """A worker that looks once, and believes that a later capacity can only be another's."""

    def changed(self: SharedAccounts, now_ns: int) -> Collection[Limit] | None:
        return real(self, now_ns) if not self.book.seq else ()

    return changed


def _generous(real: Callable[..., Limit]) -> object:
    def limit_of(account: object, now_ns: int) -> Limit:
        limit = real(account, now_ns)
        return Limit(name=limit.name, measure="nanousd", amount=limit.amount + 9, window="ever", tenants=limit.tenants)

    return limit_of


async def test_wrong_workers_are_found(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as planted:
        planted.setattr(shared, "limit_of", _generous(shared.limit_of))
        with pytest.raises(AssertionError):
            for seed in range(6):
                (tmp_path / f"g{seed}").mkdir()
                await fresh(tmp_path / f"g{seed}", seed)
    limiter = worker(rig, tmp_path)
    await rig.grant(5)
    assert isinstance(limiter.reserve(call(1)), Held)
    await rig.grant(5)
    with monkeypatch.context() as planted:
        planted.setattr(SharedAccounts, "changed", _stale(SharedAccounts.changed))
        assert isinstance(limiter.reserve(call(6)), Denied), "it does not know of the top-up; the others below do"
    assert isinstance(limiter.reserve(call(6)), Held)


async def fresh(directory: Path, seed: int) -> None:
    """The same in a directory of its own."""
    rig = Rig(directory)
    Page.create(directory / "limits", slots=2)
    try:
        await hammered(rig, directory, seed)
    finally:
        rig.close()
