"""Records, what they answer, and what time makes due; with a real log."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.credits.rig import Call, Rig, S, agree, simulate

from interlock.credits import Account, ForInvoices, Owner, Wanted, keeping, service, usage
from interlock.credits.book import EARLY_NS, VOID_NS, Lot
from interlock.credits.usage import KEEP_NS, PATIENCE_NS
from interlock.errors import LocalError, TransientError

pytestmark = pytest.mark.anyio


async def test_a_grant_is_given_once(rig: Rig) -> None:
    wanted = Wanted(tenant="acme", amount="10", id="order-1", expires="30d")
    first, is_new = await rig.credits.grant(wanted)
    rig.after(60)
    again, is_again_new = await rig.writer().grant(wanted)
    assert (is_new, is_again_new) == (True, False) and first.granted == again.granted
    assert again.grant.expires_at_ns == first.at_ns + 30 * 86_400 * S, "from when it was first given"
    with pytest.raises(LocalError) as refused:
        await rig.credits.grant(Wanted(tenant="acme", amount="11", id="order-1", expires="30d"))
    assert refused.value.code == "conflict"
    assert rig.capacity() == 10 * S


async def test_every_later_admission_sees_a_top_up_and_a_void(rig: Rig) -> None:
    await rig.grant(10, id="a")
    call = rig.admit(8)
    assert call and rig.admit(5) is None
    await rig.grant(5, id="b")
    assert rig.admit(5)
    rig.settle(call, 6)
    await rig.credits.void("a", "a mistake")
    assert rig.admit(1) is None
    assert rig.capacity() - rig.used - rig.held <= 0


async def test_what_changes_while_a_reset_is_reckoned_is_not_reset_by_chance(rig: Rig) -> None:
    """A grant came again after it was looked and before the cut was set: it was left out, and nobody was told."""
    await rig.grant(10, id="m", every="day")
    rig.clock.advance(86_400 * S - VOID_NS // 100)
    await rig.credits.look()
    _slowly(rig, "last_ns", VOID_NS // 50)
    with pytest.raises(TransientError) as refused:
        await rig.reset("r")
    assert refused.value.code == "busy"
    assert (await rig.reset("r")).grants == {"m"}


@pytest.mark.parametrize("ends", ["reset", "void"])
async def test_the_cut_comes_after_all_that_is_reckoned(rig: Rig, ends: str) -> None:
    """Or a call that was admitted meanwhile is dated after it, and nothing is left that could pay for it."""
    await rig.grant(10, id="g")
    rig.after(5)
    await rig.credits.look()
    admitted: list[Call | None] = []
    _slowly(rig, "reckon", 2 * VOID_NS, lambda: admitted.append(rig.admit(8)))
    await (rig.reset("r") if ends == "reset" else rig.credits.void("g"))
    call = admitted[0]
    assert call and rig.admit(1) is None
    rig.settle(call, 8)
    for _ in range(2):
        rig.after(3)
        await rig.credits.look()
    state = (await rig.reckoned()).state
    assert (state.overage, state.forgiven, state.forfeited) == (0, 0, 2)


async def test_however_many_grants_end_they_are_reckoned_a_few_times(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was once for each batch that was written: a reset of 10,000 grants held everybody up for two minutes."""
    monkeypatch.setattr(service, "_BATCH_MAX", 2)
    for n in range(20):
        await rig.grant(10, id=f"g{n}", rollover_max="0.000000004")
    rig.after(5)
    await rig.reset("r")
    rig.after(5)
    asked, reckon = [], rig.reckoner.reckon

    def counted(account: Account, now_ns: int) -> usage.Reckoned:
        asked.append(now_ns)
        return reckon(account, now_ns)

    monkeypatch.setattr(rig.reckoner, "reckon", counted)
    await rig.credits.look()
    assert len(asked) <= 6
    assert (await rig.reckoned()).state.balance == 20 * 4 == rig.capacity()


def _slowly(rig: Rig, name: str, lasts_ns: int, meanwhile: Callable[[], object] = lambda: None) -> None:
    """The next time that the reckoner is asked for that, it takes so long."""
    ask = getattr(rig.reckoner, name)

    def slow(*asked: Any) -> Any:
        setattr(rig.reckoner, name, ask)
        found = ask(*asked)
        rig.clock.advance(lasts_ns)
        meanwhile()
        return found

    setattr(rig.reckoner, name, slow)


async def test_a_call_that_was_admitted_before_the_end_burns_the_grant(rig: Rig) -> None:
    await rig.grant(10, id="soon", expires="1m")
    await rig.grant(10, id="late", priority=1)
    rig.after(1)
    call = rig.admit(7)
    assert call
    rig.after(60)
    assert rig.capacity() - rig.used - rig.held == 10 - 7, "all of `soon` is left out, its call counts: too little"
    await rig.credits.look()
    rig.after(3)
    await rig.credits.look()
    assert not rig.credits.book.grants["soon"].forfeited, "it is open: nobody knows yet"
    rig.settle(call, 4)
    rig.after(1)
    await rig.credits.look()
    assert rig.credits.book.grants["soon"].forfeited == {0: 6}
    assert rig.capacity() - rig.used == 10 == (await rig.reckoned()).state.balance


async def test_what_is_written_before_an_end_leaves_the_rest_usable(rig: Rig) -> None:
    """The control process is away when the grant ends: workers count on what was written, not on nothing at all."""
    await rig.grant(10, id="soon", expires="2m")
    await rig.grant(10, id="late", priority=1)
    rig.after(1)
    call = rig.admit(9)
    assert call
    rig.settle(call, 9)
    rig.after(70)
    await rig.credits.look()
    rig.after(60)
    assert rig.capacity() - rig.used == 10


async def test_admission_stops_a_moment_before_the_end(rig: Rig) -> None:
    await rig.grant(10, id="soon", expires="1m")
    rig.clock.advance(60 * S - EARLY_NS - 1)
    assert rig.capacity() == 10
    rig.clock.advance(1)
    assert rig.capacity() == 0


async def test_a_grant_comes_again_and_what_is_left_rolls_over(rig: Rig) -> None:
    await rig.grant(100, id="m", every="day", rollover_max="0.000000030")
    rig.after(10)
    call = rig.admit(50)
    assert call
    rig.settle(call, 50)
    rig.after(86_400)
    assert rig.capacity() == 0, "capacity rises only when it is written"
    await rig.credits.look()
    found = await rig.reckoned()
    assert found.state.balances == {"m": 130}
    rig.after(3)
    await rig.credits.look()
    assert rig.capacity() - rig.used == 130
    rig.after(10 * 86_400)
    await rig.credits.look()
    rig.after(3)
    await rig.credits.look()
    found = await rig.reckoned()
    assert rig.credits.book.grants["m"].lots[-1].period == 11 == found.state.periods["m"]
    assert rig.capacity() - rig.used == found.state.balance == 130


async def test_overage_is_taken_from_the_next_grant(rig: Rig) -> None:
    await rig.grant(10)
    call = rig.admit(10)
    assert call
    rig.settle(call, 14)
    rig.after(1)
    assert (await rig.reckoned()).state.overage == 4 and rig.admit(1) is None
    await rig.grant(10)
    rig.after(1)
    assert (await rig.reckoned()).state.balance == 6 and rig.admit(7) is None and rig.admit(6)


async def test_an_effective_date_to_come(rig: Rig) -> None:
    await rig.grant(10, id="later", effective="2027-02-01")
    assert rig.capacity() == 0
    rig.after(86_400 * 60)
    assert rig.capacity() == 10, "by the time alone, with nobody to write anything"


async def test_calls_before_the_first_grant_are_not_the_account_s(rig: Rig) -> None:
    call = Call(rig.clock.now_ns(), rig.owner, 5)
    call.cost = 5
    rig.calls.all.append(call)
    rig.after(1)
    await rig.grant(10)
    rig.after(1)
    assert (await rig.reckoned()).cost == 0


async def test_what_was_charged_beside_is_taken_from_the_capacity(rig: Rig) -> None:
    await rig.grant(10)
    rig.after(1)
    call = rig.admit(3)
    assert call
    call.cached = True
    call.cost, rig.held = 3, 0  # an answer given again: charged, but no worker counted it
    rig.after(11)
    await rig.credits.look()
    assert rig.capacity() - rig.used == 7 == (await rig.reckoned()).state.balance
    call.cost = 1
    rig.credits.forget()
    await rig.credits.look()
    assert rig.capacity() - rig.used == 9 == (await rig.reckoned()).state.balance


async def test_a_call_that_never_ends_is_not_waited_for_for_ever(rig: Rig) -> None:
    await rig.grant(10, id="soon", expires="1m")
    call = rig.admit(4)
    assert call
    rig.after(120)
    await rig.credits.look()
    rig.clock.advance(PATIENCE_NS)
    await rig.credits.look()
    assert rig.credits.book.grants["soon"].forfeited == {0: 10}
    rig.settle(call, 4)
    assert (await rig.reckoned()).state.overage == 4, "what it burned then is owed"


async def test_credit_for_invoices(rig: Rig) -> None:
    await rig.grant(10, id="usage")
    await rig.grant(10, id="first", applies="invoices", expires="1m")
    await rig.grant(10, id="second", applies="invoices")
    burned = await rig.credits.burn("acme", 14, "inv-1")
    assert [(part.grant, part.nanousd) for part in burned.parts] == [("first", 10), ("second", 4)]
    assert await rig.writer().burn("acme", 14, "inv-1") == burned
    with pytest.raises(LocalError) as refused:
        await rig.credits.burn("acme", 15, "inv-1")
    assert refused.value.code == "conflict"
    assert (await rig.credits.burn("acme", 50, "inv-2")).nanousd == 6
    assert (await rig.credits.burn("nobody", 50, "inv-3")).nanousd == 0
    restored = await rig.credits.restore("inv-1")
    assert [(part.grant, part.nanousd) for part in restored.parts] == [("second", 4), ("first", 10)]
    assert await rig.writer().restore("inv-1") == restored
    assert _left(rig) == {"first": 10, "second": 4}, "exactly as before, but for inv-2"
    assert rig.capacity() == 10, "calls know nothing of it"
    burned = await rig.credits.burn("acme", 12, "inv-4")
    rig.after(61)
    restored = await rig.credits.restore("inv-4")
    assert restored.lost_nanousd == 10 and _left(rig) == {"second": 4}, "what has expired is not given back"
    with pytest.raises(LocalError) as unknown:
        await rig.credits.restore("inv-9")
    assert unknown.value.code == "not_found"


async def test_invoices_take_credit_in_their_own_words(rig: Rig) -> None:
    taker = ForInvoices(rig.credits)
    await rig.grant(10, id="bills", applies="invoices")
    assert [await taker.burn("acme", nanousd, "invoice/inv_1") for nanousd in (25, 25)] == [10, 10]
    assert await taker.burn("acme", 5, "invoice/inv_2") == 0
    await taker.restore("invoice/inv_1")
    await taker.restore("invoice/inv_1")
    await taker.restore("invoice/inv_9")
    assert _left(rig) == {"bills": 10}


async def test_credit_for_invoices_comes_again(rig: Rig) -> None:
    await rig.grant(10, id="m", applies="invoices", every="day", rollover_max="0.000000004")
    await rig.credits.burn("acme", 3, "a")
    rig.after(86_400)
    await rig.credits.look()
    assert _left(rig) == {"m": 14} and rig.credits.book.grants["m"].forfeited == {0: 3}
    await rig.credits.void("m")
    assert _left(rig) == {} and (await rig.credits.burn("acme", 3, "b")).nanousd == 0


def _left(rig: Rig) -> dict[str, int]:
    book = rig.credits.book
    return {one.granted.id: lot.balance for one in book.accounts[Owner("acme")].of("invoices") for lot in one.lots}


async def test_old_stretches_are_not_read_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.grant(1000)
    for _ in range(20):
        rig.after(100)
        call = rig.admit(5)
        assert call
        rig.settle(call, 5)
    rig.after(100)
    assert (await rig.reckoned()).cost == 100
    asked: list[int] = []
    real = rig.calls.burned

    def spent(tenant: str, principal: str, since_ns: int, until_ns: int) -> tuple[int, int]:
        asked.append(since_ns)
        return real(tenant, principal, since_ns, until_ns)

    monkeypatch.setattr(rig.calls, "burned", spent)
    rig.after(1)
    assert (await rig.reckoned()).cost == 100
    assert asked and all(since_ns >= rig.clock.now_ns() - KEEP_NS - S for since_ns in asked)


async def test_two_who_fold_at_once_fold_once(rig: Rig) -> None:
    await rig.grant(50, id="bills", applies="invoices")
    for n in range(20):
        await rig.writer().burn("acme", 1, f"b{n}")
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(rig.credits.refresh())
    assert _left(rig) == {"bills": 30}


@pytest.mark.parametrize("seed", range(12))
async def test_no_crowd_of_calls_overspends(rig: Rig, seed: int) -> None:
    await simulate(rig, seed)


# planted: each is wrong in one place, and the simulation says so


def _at_once(first_open_ns: int, now_ns: int) -> int:
    return now_ns


def _ends_unseen(self: Account, now_ns: int) -> int:
    return self.closed - self.corrected + sum(lot.amount for _, lot in self.lots() if lot.from_ns <= now_ns)


def _nothing_due(account: Account, reckoned: object, now_ns: int) -> Iterator[object]:
    yield from ()


@pytest.mark.parametrize(
    ("where", "name", "wrong"),
    [
        (usage, "_closed_ns", _at_once),
        (Account, "capacity", _ends_unseen),
        (keeping, "due", _nothing_due),
    ],
    ids=["closes before open calls have ended", "goes on after an end", "writes nothing down"],
)
async def test_wrong_accounts_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: object, name: str, wrong: object
) -> None:
    monkeypatch.setattr(where, name, wrong)
    failed = 0
    for seed in range(12):
        (tmp_path / str(seed)).mkdir()
        rig = Rig(tmp_path / str(seed))
        try:
            await simulate(rig, seed)
        except AssertionError:
            failed += 1
            break
        finally:
            rig.close()
    assert failed


def test_a_lot_without_an_end_never_stops() -> None:
    assert Lot(0, 1, 0, 2**63 - 1).stops_ns == 2**63 - 1


async def test_what_ends_soon_after_it_begins_is_not_counted_on_afterwards(rig: Rig) -> None:
    """Its end is near before it begins, when nothing of it is there yet; then nobody is there to write what is left."""
    await rig.grant(10, id="all")
    await rig.grant(7, id="short", effective="2027-01-15T08:00:05Z", expires="2027-01-15T08:00:20Z")
    rig.after(1)
    await rig.credits.look()
    rig.after(5)
    assert rig.capacity() == 17
    rig.after(30)
    assert rig.capacity() == 10
    await rig.credits.look()
    assert rig.capacity() == 10
    await agree(rig, 0)
