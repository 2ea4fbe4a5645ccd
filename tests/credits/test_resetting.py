"""Resets on record: what is written and when, what is refused, and that no crowd overspends over one."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.credits.rig import Call, Rig, S, agree

from interlock.credits import Book, Owner, WantedReset, keeping, resetting, usage
from interlock.credits import service as service_module
from interlock.credits.book import VOID_NS
from interlock.credits.burning import State
from interlock.credits.records import STREAM, Expired, Lapsing
from interlock.errors import LocalError, TransientError
from interlock.instants import instant_ns

pytestmark = pytest.mark.anyio
DAY = 86_400


async def _used(rig: Rig, amount: int, cost: int | None = None) -> None:
    call = rig.admit(amount)
    assert call is not None
    rig.settle(call, amount if cost is None else cost)
    rig.clock.advance(1)  # what is used in the very moment of a look is of the next one


async def _closed(rig: Rig) -> State:
    for _ in range(3):
        rig.after(3)
        await rig.credits.look()
    return (await rig.reckoned()).state


async def test_each_grant_rolls_over_by_its_own_terms(rig: Rig) -> None:
    await rig.grant(100, id="nothing", priority=3)
    await rig.grant(100, id="most", priority=2, rollover_max="0.000000030")
    await rig.grant(100, id="least", rollover_min="0.000000080", rollover_max="0.000000090")
    await rig.grant(100, id="bills", applies="invoices")
    await rig.grant(100, id="later", effective="2027-02-01")
    rig.after(10)
    await _used(rig, 95)
    await rig.reset("june")
    assert rig.capacity() - rig.used == 30 + 5, "at once; what rollover_min gives comes when it is sure"
    state = await _closed(rig)
    assert state.balances == {"nothing": 0, "most": 30, "least": 80}
    assert {one.grant: (one.forfeited, one.reset) for one in state.ends} == {
        "nothing": (100, "june"),
        "most": (70, "june"),
        "least": (-75, "june"),
    }
    assert rig.capacity() - rig.used == state.balance == 110
    book = rig.credits.book
    assert book.grants["bills"].lots[0].balance == 100 and book.grants["later"].lots[0].period == 0
    await _used(rig, 110)
    assert rig.admit(1) is None


async def test_a_reset_is_once(rig: Rig) -> None:
    await rig.grant(50, rollover_max="0.000000040")
    rig.after(10)
    asked = WantedReset(id="june", keep_overage=False, anchor="keep", reason="a new contract")
    first, _, is_new = await rig.credits.reset("acme", asked)
    rig.after(600)
    rig.credits = rig.writer()
    again, state, is_again_new = await rig.credits.reset("acme", asked)
    assert (is_new, is_again_new) == (True, False) and first.asked == again.asked
    assert state.balance == 40 and len(state.drops) == 1
    others: list[dict[str, Any]] = [{"keep_overage": True}, {"anchor": "now"}, {"principal": "p"}, {"at": "2027-01-15"}]
    for other in others:
        with pytest.raises(LocalError) as refused:
            await rig.credits.reset("acme", replace(asked, **other))
        assert (refused.value.code, refused.value.field) == ("conflict", "id")
    with pytest.raises(LocalError) as refused:
        await rig.credits.reset("bolt", asked)
    assert refused.value.code == "conflict"
    with pytest.raises(LocalError) as refused:
        await rig.credits.reset("bolt", replace(asked, id="other"))
    assert (refused.value.code, refused.value.field) == ("not_found", "tenant")


async def test_calls_that_run_keep_what_they_hold(rig: Rig) -> None:
    """They are paid by what was there when they were admitted; what they leave is forfeited, or rolls over."""
    await rig.grant(10, rollover_max="0.000000003")
    rig.after(5)
    call = rig.admit(8)
    assert call
    await rig.reset("r")
    assert rig.admit(1) is None, "3 roll over, 8 are held"
    rig.after(5)
    await rig.credits.look()
    assert rig.capacity() - rig.used - rig.held == 3 - 8 and rig.admit(1) is None
    rig.settle(call, 5)
    state = await _closed(rig)
    assert (state.balance, state.forfeited, state.overage) == (3, 2, 0)
    assert rig.admit(3) and rig.admit(1) is None


async def test_a_call_between_the_answer_and_the_cut_burns_the_old_period(rig: Rig) -> None:
    await rig.grant(10, rollover_max="0.000000004")
    rig.after(5)
    await rig.reset("r")
    rig.clock.advance(VOID_NS // 2)
    assert rig.admit(5) is None
    await _used(rig, 4)
    state = await _closed(rig)
    assert (state.balance, state.forfeited) == (4, 2)


@pytest.mark.parametrize("keep", [True, False])
async def test_overage_is_kept_or_dropped(rig: Rig, keep: bool) -> None:
    await rig.grant(10, rollover_min="0.000000006", rollover_max="0.000000006")
    rig.after(5)
    await _used(rig, 10, 14)
    await rig.reset("r", keep=keep)
    assert rig.capacity() - rig.used == -4, "until it is sure"
    state = await _closed(rig)
    assert (state.overage, state.forgiven, state.balance) == ((0, 0, 2) if keep else (0, 4, 6))
    assert rig.capacity() - rig.used == state.balance
    assert state.granted - state.forfeited + state.forgiven - state.used == state.balance


async def test_what_was_decided_stands_over_a_call_that_was_not_waited_for(rig: Rig) -> None:
    await rig.grant(10)
    rig.after(5)
    call = rig.admit(4)
    assert call
    await rig.reset("r")
    rig.after(2 * DAY)
    await _closed(rig)
    rig.settle(call, 4)
    state = (await rig.reckoned()).state
    assert (state.forfeited, state.forgiven, state.overage) == (10, 0, 4), "it is owed"


@pytest.mark.parametrize("anchor", ["keep", "now"])
async def test_the_anchor(rig: Rig, anchor: Any) -> None:
    await rig.grant(100, id="d", every="P10D", rollover_max="0.000000020")
    rig.after(4 * DAY)
    await rig.credits.look()
    await _used(rig, 70)
    reset = await rig.reset("r", anchor=anchor)
    state = await _closed(rig)
    assert state.balances == {"d": 20 if anchor == "keep" else 120}
    assert state.periods == {"d": 1} and state.forfeited == 10
    assert rig.capacity() - rig.used == state.balance
    (lot,) = rig.credits.book.grants["d"].lots
    begun_ns = rig.credits.book.grants["d"].grant.effective_at_ns
    assert lot.until_ns == (begun_ns if anchor == "keep" else reset.asked.at_ns) + 10 * DAY * S
    rig.after(5.9 * DAY)
    await rig.credits.look()
    state = await _closed(rig)
    assert state.balances == {"d": 20 if anchor == "keep" else 120}
    rig.after(0.2 * DAY)
    await rig.credits.look()
    state = await _closed(rig)
    assert state.balances == {"d": 120}
    assert rig.capacity() - rig.used == 120


async def test_an_anchor_of_the_past(rig: Rig) -> None:
    """A period that ended at midnight is reset in the morning: nothing was booked, so it is the same."""
    await rig.grant(100, id="d", every="P10D")
    rig.after(2 * DAY)
    await rig.credits.look()
    at_ns = instant_ns("2027-01-16", 0, "at")
    assert at_ns < rig.clock.now_ns()
    reset = await rig.reset("r", anchor="now", at="2027-01-16")
    assert reset.asked.at_ns == at_ns < reset.asked.cut_ns
    await _closed(rig)
    (lot,) = rig.credits.book.grants["d"].lots
    assert lot.until_ns == at_ns + 10 * DAY * S


async def test_a_moment_before_what_is_booked_is_refused_and_says_which_is_right(rig: Rig) -> None:
    await rig.grant(100, id="g")
    rig.after(DAY)

    async def earliest(at: str, id: str = "r") -> str:
        with pytest.raises(LocalError) as refused:
            await rig.reset(id, at=at)
        assert refused.value.field == "at" and refused.value.code == "invalid_request"
        return refused.value.message.split(": ")[1].split(" ")[0]

    written = await earliest("2027-01-01")
    assert instant_ns(written, 0, "at") > rig.credits.book.grants["g"].at_ns, "the grant"
    call = rig.admit(5)
    assert call
    rig.clock.advance(3_500_000)
    told = await earliest(written)
    assert call.at_ns < instant_ns(told, 0, "at") <= call.at_ns + 1_000_000, "the call, though it runs"
    rig.after(DAY)
    await rig.grant(7, id="more")
    rig.after(DAY)
    last = await earliest(told)
    assert instant_ns(last, 0, "at") > rig.credits.book.grants["more"].at_ns
    with pytest.raises(LocalError) as refused:
        await rig.reset("r", at="2030-01-01")
    assert refused.value.field == "at" and "not come yet" in refused.value.message
    assert (await rig.reset("r", at=last)).asked.at_ns == instant_ns(last, 0, "at")
    rig.after(10)
    assert instant_ns(await earliest(last, "r2"), 0, "at") > rig.credits.book.resets["r"].asked.cut_ns


async def test_what_changes_in_that_second_is_not_reset_by_chance(rig: Rig) -> None:
    await rig.grant(10, id="m", every="day")
    rig.clock.advance(DAY * S - VOID_NS // 2)
    with pytest.raises(TransientError) as refused:
        await rig.reset("r")
    assert refused.value.code == "busy"
    rig.after(1)
    await rig.reset("r")
    with pytest.raises(TransientError):
        await rig.reset("r2")
    assert (await rig.reset("r")).asked.id == "r", "what stands is answered"
    await _closed(rig)
    await rig.credits.void("m")
    with pytest.raises(TransientError):
        await rig.reset("r2")


async def test_what_is_given_after_the_answer_is_not_reset(rig: Rig) -> None:
    await rig.grant(10, id="old")
    rig.after(5)
    await rig.reset("r")
    await rig.grant(7, id="new")
    assert rig.capacity() == 7
    state = await _closed(rig)
    assert state.balances == {"old": 0, "new": 7} and rig.capacity() == 7


@pytest.mark.parametrize("anchor", ["keep", "now"])
async def test_what_is_voided_in_that_second_is_gone(rig: Rig, anchor: Any) -> None:
    await rig.grant(10, id="g", every="month", rollover_max="0.000000009", rollover_min="0.000000002")
    rig.after(5)
    await rig.reset("r", anchor=anchor)
    rig.clock.advance(VOID_NS // 4)
    await rig.credits.void("g")
    for _ in range(60):
        assert rig.admit(1) is None
        rig.after(0.1)
        await rig.credits.look()
    state = await _closed(rig)
    assert state.balance == 0 == rig.capacity()
    assert state.granted == state.forfeited == (10 if anchor == "keep" else 20)


async def test_what_has_nothing_is_left_as_it_is(rig: Rig) -> None:
    """So that years of top-ups that are used up cost a reset nothing."""
    await rig.grant(10, id="empty")
    await rig.grant(10, id="full", priority=1)
    rig.after(5)
    await _used(rig, 12)
    await rig.reset("r")
    assert rig.credits.book.resets["r"].grants == {"full"}


async def test_a_principal_s_account_is_reset_alone(rig: Rig) -> None:
    await rig.grant(10, id="all")
    await rig.grant(10, id="own", principal="ada")
    rig.after(5)
    await rig.reset("r", principal="ada")
    await _closed(rig)
    accounts = rig.credits.book.accounts
    assert [accounts[Owner("acme", name)].capacity(rig.clock.now_ns()) for name in ("", "ada")] == [10, 0]


async def test_the_log_alone_says_all(rig: Rig) -> None:
    await rig.grant(10, id="m", every="month", rollover_max="0.000000005")
    await rig.grant(10, id="g", rollover_min="0.000000001", rollover_max="0.000000001")
    rig.after(5)
    await _used(rig, 10, 23)
    await rig.reset("a", anchor="now", keep=True)
    await _closed(rig)
    await _used(rig, 4)
    await rig.reset("b")
    before = await _closed(rig)
    capacity = rig.capacity()
    rig.credits = rig.writer()
    assert (await rig.reckoned()).state == before
    book = Book()
    for stored in rig.log.read_after(STREAM, 0):
        book.apply(stored)
        book.apply(stored)
    account = book.accounts[rig.owner]
    assert account.capacity(rig.clock.now_ns()) == capacity == before.balance + rig.used
    assert account.resets_at() == rig.credits.book.accounts[rig.owner].resets_at()
    kinds = [stored.record.type for stored in rig.log.read_after(STREAM, 0)]
    assert kinds.count("credit.reset") == 2 and kinds.count("credit.forgiven") == 1


async def test_bounds(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.grant(10)
    rig.after(5)
    monkeypatch.setattr(service_module, "RESETS_MAX", 1)
    await rig.reset("a")
    await _closed(rig)
    with pytest.raises(LocalError) as refused:
        await rig.reset("b")
    assert refused.value.field == "id"


# a crowd over resets


async def spend_over_resets(rig: Rig, seed: int) -> None:
    """Calls of which many run when a period is reset, in steps shorter than it takes to close one."""
    chance = random.Random(seed)
    running: list[Call] = []
    for step in range(120):
        doing = chance.random()
        if step % 40 == 0:
            more = chance.choice(({}, {"rollover_max": "0.000000012"}, {"every": "day", "rollover_max": "0.000000006"}))
            await rig.grant(chance.randint(20, 60), id=f"g{step}", priority=chance.randint(0, 1), **more)
        elif doing < 0.12:
            with suppress(TransientError):
                await rig.reset(f"r{step}", keep=chance.random() < 0.5, anchor=chance.choice(("keep", "now")))
        elif doing < 0.55:
            call = rig.admit(chance.randint(1, 12))
            running += [call] if call else []
        elif doing < 0.8 and running:
            call = running.pop(chance.randrange(len(running)))
            rig.settle(call, chance.randint(0, call.asked))
        rig.after(chance.choice((0.01, 0.1, 0.4, 1.5)))
        if chance.random() < 0.5:
            await rig.credits.look()
        found = rig.reckoner.reckon(rig.credits.book.accounts[rig.owner], rig.clock.now_ns())
        assert found.state.balance >= 0, f"seed {seed}, step {step}: overspent"
    for call in running:
        rig.settle(call, call.asked)
    await agree(rig, seed)


@pytest.mark.parametrize("seed", range(6))
async def test_nobody_overspends_over_a_reset(rig: Rig, seed: int) -> None:
    await spend_over_resets(rig, seed)


# planted: each writer is wrong in one place, and the crowd says so


def _takes_nothing(*args: Any) -> Iterator[object]:
    for event in _REAL_ENDING(*args):
        yield replace(event, left_nanousd=0) if isinstance(event, Lapsing) else event


def _forfeits_nothing(*args: Any) -> Iterator[object]:
    for event in _REAL_DUE(*args):
        yield replace(event, forfeited_nanousd=0) if isinstance(event, Expired) else event


def _never_closes(*args: Any) -> Iterator[object]:
    return (event for event in _REAL_DUE(*args) if not isinstance(event, Expired))


_REAL_ENDING, _REAL_DUE = resetting.ending, keeping.due


@pytest.mark.parametrize(
    ("where", "name", "wrong"),
    [
        (service_module, "ending", _takes_nothing),
        (keeping, "due", _forfeits_nothing),
        (keeping, "due", _never_closes),
        (usage, "_closed_ns", lambda first_open_ns, now_ns: now_ns),
    ],
    ids=["takes nothing off at once", "forfeits nothing", "never closes", "does not wait for open calls"],
)
async def test_wrong_writers_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: object, name: str, wrong: Callable[..., Any]
) -> None:
    monkeypatch.setattr(where, name, wrong)
    monkeypatch.setattr("interlock.credits.service._ROUNDS_MAX", 5)
    for seed in range(12):
        (tmp_path / str(seed)).mkdir()
        rig = Rig(tmp_path / str(seed))
        try:
            await spend_over_resets(rig, seed)
        except AssertionError:
            return
        finally:
            rig.close()
    raise AssertionError("nobody saw it")
