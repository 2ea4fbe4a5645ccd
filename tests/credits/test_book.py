"""What the fold makes of ends that were written so slowly that calls were admitted meanwhile."""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from tests.credits.rig import Call, Rig, agree

from interlock.credits.book import VOID_NS, Book
from interlock.credits.records import STREAM
from interlock.errors import TransientError
from interlock.log import Appended, Conflict, Record

pytestmark = pytest.mark.anyio
DAY = 86_400


def slow_disk(rig: Rig, meanwhile: Callable[[], object]) -> None:
    """From now on something happens in each append, before anybody can read what it writes."""
    append = rig.log.append

    async def slowly(stream: str, records: Sequence[Record], *, expect: int | None = None) -> Appended | Conflict:
        meanwhile()
        return await append(stream, records, expect=expect)

    rig.log.append = slowly  # type: ignore[method-assign]  # a disk


def once(rig: Rig, cost: int) -> Callable[[], None]:
    """A write that takes longer than it may, in which a call is admitted, and is over."""
    left = [1]

    def meanwhile() -> None:
        if left.pop() if left else 0:
            rig.clock.advance(2 * VOID_NS)
            if cost:
                call = rig.admit(cost)
                assert call
                rig.settle(call, cost)

    return meanwhile


async def _closed(rig: Rig) -> Any:
    for _ in range(3):
        rig.after(3)
        await rig.credits.look()
    return (await rig.reckoned()).state


@pytest.mark.parametrize("anchor", ["keep", "now"])
async def test_a_reset_that_is_written_slowly_leaves_nobody_in_debt(rig: Rig, anchor: Any) -> None:
    """The call is dated behind the cut, and was admitted against what the period had."""
    await rig.grant(10, id="m", every="P10D", rollover_max="0.000000003")
    rig.after(5)
    slow_disk(rig, once(rig, 8))
    reset = await rig.reset("r", anchor=anchor)
    (call,) = rig.calls.all
    assert call.at_ns < reset.asked.cut_ns, "it is of the period that ends"
    state = await _closed(rig)
    rolled = 2
    assert (state.overage, state.forfeited, state.balance) == (0, 0, rolled if anchor == "keep" else 10 + rolled)
    (lot,) = rig.credits.book.grants["m"].lots
    begun_ns = rig.credits.book.grants["m"].at_ns
    assert lot.until_ns == (begun_ns if anchor == "keep" else reset.asked.at_ns) + 10 * DAY * 10**9
    await agree(rig, 0)
    book = Book()
    for stored in rig.log.read_after(STREAM, 0):
        book.apply(stored)
    assert book.accounts[rig.owner].resets_at() == rig.credits.book.accounts[rig.owner].resets_at()


async def test_a_void_that_is_written_slowly_leaves_nobody_in_debt(rig: Rig) -> None:
    await rig.grant(10, id="g")
    rig.after(5)
    slow_disk(rig, once(rig, 8))
    await rig.credits.void("g")
    assert rig.admit(1) is None
    state = await _closed(rig)
    assert (state.overage, state.forfeited, state.balance) == (0, 2, 0)
    await agree(rig, 0)


async def test_what_is_voided_before_it_begins_never_does(rig: Rig) -> None:
    await rig.grant(10, id="all")
    await rig.grant(10, id="later", effective="2027-01-15T08:00:06.500Z")
    rig.after(5)
    slow_disk(rig, once(rig, 0))
    await rig.credits.void("later")
    state = await _closed(rig)
    assert (state.granted, state.forfeited, state.balance) == (10, 0, 10) and rig.capacity() == 10


async def test_what_changes_right_behind_the_cut_is_not_moved_over(rig: Rig) -> None:
    """A grant that comes again, while the reset is written, does so with what the reset left it."""
    await rig.grant(10, id="d", every="day", rollover_max="0.000000003")
    rig.clock.advance(DAY * 10**9 - 3 * VOID_NS // 2)
    await rig.credits.look()  # the notice of that end
    slow_disk(rig, once(rig, 0))
    reset = await rig.reset("r")
    again_ns = rig.credits.book.grants["d"].at_ns + DAY * 10**9
    assert reset.asked.cut_ns == again_ns - 1
    state = await _closed(rig)
    assert [(end.reset, end.at_ns) for end in state.ends] == [("r", again_ns - 1), ("", again_ns)]
    await agree(rig, 0)


@pytest.mark.parametrize("anchor", ["", "now"])
async def test_what_would_have_come_again_meanwhile_does_not(rig: Rig, anchor: Any) -> None:
    """A void, and a reset with a new anchor, end a grant before it comes again: also where that is moved."""
    await rig.grant(10, id="d", every="day", rollover_max="0.000000003")
    rig.clock.advance(DAY * 10**9 - 3 * VOID_NS // 2)
    await rig.credits.look()  # the notice of that end
    slow_disk(rig, once(rig, 0))
    if anchor:
        await rig.reset("r", anchor=anchor)
    else:
        await rig.credits.void("d")
    again_ns = rig.credits.book.grants["d"].at_ns + DAY * 10**9
    state = await _closed(rig)
    assert [(end.reset, end.at_ns) for end in state.ends] == [("r" if anchor else "", again_ns - 1)]
    assert (state.granted, state.balance) == ((20, 13) if anchor else (10, 0))
    (*_, came) = [stored.record for stored in rig.log.read_after(STREAM, 0) if stored.record.type != "credit.lapsing"]
    assert came.type == "credit.expired", "of that end alone"
    await agree(rig, 0)


async def test_what_came_again_while_a_notice_was_written_is_voided_too(rig: Rig) -> None:
    """Nobody is admitted against what would have rolled over, once the void is there to be read."""
    await rig.grant(10, id="d", every="day", rollover_max="0.000000003")
    rig.clock.advance(DAY * 10**9 - 3 * VOID_NS // 2)
    slowly, admitted = once(rig, 0), list[Call]()

    def meanwhile() -> None:
        slowly()
        call = rig.admit(1) if rig.credits.book.grants["d"].voided else None
        admitted.extend([call] if call else [])

    slow_disk(rig, meanwhile)  # the notice of that end, first
    await rig.credits.void("d")
    await _closed(rig)
    assert not admitted
    await agree(rig, 0)


async def test_a_call_that_is_written_after_its_period_was_closed_is_owed(rig: Rig) -> None:
    """The worker's own journal takes so long. What was forfeited stands; nothing is held for ever."""
    await rig.grant(10, id="g")
    rig.after(5)
    call = rig.admit(8)
    assert call
    rig.calls.all.clear()  # nobody but the worker knows of it
    await rig.reset("r")
    state = await _closed(rig)
    assert (state.forfeited, state.balance) == (10, 0)
    rig.calls.all.append(call)
    rig.settle(call, 6)
    state = await _closed(rig)
    assert (state.forfeited, state.overage, state.balance) == (10, 6, -6) and rig.held == 0
    assert rig.capacity() - rig.used == state.balance == state.granted - state.forfeited - state.used
    await rig.grant(7)
    assert rig.admit(2) is None and rig.admit(1), "it is paid by what is given next"


@pytest.mark.parametrize("seed", range(6))
async def test_nobody_overspends_on_a_slow_disk(rig: Rig, seed: int) -> None:
    """Every write may take up to three seconds, in which calls are admitted, and end."""
    chance, running, spending = random.Random(seed), list[Call](), True

    def spend() -> None:
        if running and chance.random() < 0.4:
            call = running.pop(chance.randrange(len(running)))
            rig.settle(call, chance.randint(0, call.asked))
        call_ = rig.admit(chance.randint(1, 12))
        running.extend([call_] if call_ else [])

    def meanwhile() -> None:
        for _ in range(chance.choice((0, 0, 0, 1, 3)) if spending else 0):
            rig.after(chance.choice((0.1, 0.5, 1)))
            spend()

    slow_disk(rig, meanwhile)
    for step in range(120):
        if step % 30 == 0:
            more = chance.choice(({}, {"rollover_max": "0.000000012"}, {"every": "day", "rollover_max": "0.000000006"}))
            await rig.grant(chance.randint(20, 60), id=f"g{step}", priority=chance.randint(0, 1), **more)
        doing = chance.random()
        if doing < 0.12:
            with suppress(TransientError):
                await rig.reset(f"r{step}", keep=chance.random() < 0.5, anchor=chance.choice(("keep", "now")))
        elif doing < 0.15:
            await rig.credits.void(chance.choice(list(rig.credits.book.grants)))
        elif doing < 0.8:
            spend()
        rig.after(chance.choice((0.01, 0.1, 0.4, 1.5)))
        if chance.random() < 0.5:
            await rig.credits.look()
        found = rig.reckoner.reckon(rig.credits.book.accounts[rig.owner], rig.clock.now_ns())
        assert found.state.balance >= 0, f"seed {seed}, step {step}: overspent"
    spending = False
    for call in running:
        rig.settle(call, call.asked)
    await agree(rig, seed)
