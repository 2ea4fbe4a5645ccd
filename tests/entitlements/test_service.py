"""The writer follows subscriptions: once for each change that matters, and makes good what a death left out."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.entitlements.rig import Rig, call

from interlock.billing import Party, Wanted
from interlock.entitlements import STREAM
from interlock.entitlements.book import Book, missing
from interlock.entitlements.records import Known, Standing, decoded, encoded
from interlock.errors import InterlockError, LogUnavailable
from interlock.identity import ENTITLEMENTS
from interlock.limits import Denied, Held
from interlock.log import Record, Stored
from interlock.rating import Entitlements

pytestmark = pytest.mark.anyio
SMALL = {"models": ["small-*"], "features": {"sso": True, "support": "mail"}}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


async def test_a_change_that_does_not_matter_is_not_written(rig: Rig) -> None:
    await rig.put(SMALL)
    await rig.subscribe()
    await rig.subscribe()
    await rig.billing.subscribe("acme", Wanted(plan="gold", since="2026-11-01", buyer=Party(name="Acme AG")), "ann")
    assert await rig.records() == ["acme/1"]
    assert [one async for one in rig.log.read("billing")][-1].record.id == "subscription/acme/2"
    await rig.subscribe(since="2026-11-05")
    assert await rig.records() == ["acme/1", "acme/2"]


async def test_who_was_killed_between_the_two_records_is_made_good(rig: Rig) -> None:
    """The subscription stands, the entitlement does not: nobody was told, and the next start writes it."""
    await rig.put(SMALL)
    rig.billing._subscribed = None  # it dies before it gets there
    await rig.subscribe()
    worker = rig.workers[0]
    assert await rig.records() == [] and isinstance(worker.reserve(call(model="big-1")), Held)
    rig.start()
    assert rig.entitling.due
    await rig.entitling.follow()
    assert await rig.records() == ["acme/1"] and not rig.entitling.due
    assert isinstance(worker.reserve(call(model="big-1")), Denied)
    await rig.entitling.follow()
    assert await rig.records() == ["acme/1"]


async def test_who_was_killed_before_workers_were_told_is_made_good(rig: Rig) -> None:
    await rig.put(SMALL)
    rig.entitling._committed = lambda head: None
    await rig.subscribe()
    assert rig.generation.slots[ENTITLEMENTS] == 0
    rig.start()
    await rig.entitling.follow()
    assert rig.generation.slots[ENTITLEMENTS] == 1
    assert isinstance(rig.workers[1].reserve(call(model="big-1")), Denied)


async def test_what_could_not_be_written_stays_due(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.entitling.follow()
    await rig.put(SMALL)
    append = type(rig.log).append

    async def full(self: Any, stream: str, records: Any, **more: Any) -> Any:
        if stream == STREAM:
            raise LogUnavailable("no space left")
        return await append(self, stream, records, **more)

    with monkeypatch.context() as planted:
        planted.setattr(type(rig.log), "append", full)
        with pytest.raises(LogUnavailable):
            await rig.subscribe()
    assert rig.entitling.due
    await rig.subscribe(tenant="bolt")
    assert rig.entitling.due, "of another tenant it still is"
    assert await rig.records() == ["bolt/1"]
    await rig.subscribe()  # the same again: it stands in billing, and is followed all the same
    assert await rig.records() == ["bolt/1", "acme/1"]
    await rig.entitling.follow()
    assert not rig.entitling.due


@pytest.mark.parametrize("begun_as", ["acme", ""])
async def test_what_could_not_be_written_stays_due_whoever_writes_meanwhile(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, begun_as: str
) -> None:
    """Another that is being written when it fails does not say that all is."""
    await rig.put(SMALL)
    await rig.subscribe()
    await rig.entitling.follow()
    assert not rig.entitling.due
    wanted, at_it, go_on = rig.entitling._wanted, asyncio.Event(), asyncio.Event()

    async def slow(tenant: str) -> Any:
        found = await wanted(tenant)
        at_it.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(rig.entitling, "_wanted", slow)
    async with asyncio.TaskGroup() as group:
        group.create_task(rig.entitling.follow(begun_as))
        await at_it.wait()
        late = group.create_task(rig.subscribe(tenant="bolt"))
        while "bolt" not in rig.billing.accounts.subscriptions or not rig.entitling._turn._waiters:
            await asyncio.sleep(0)
        late.cancel()
        await asyncio.wait([late])
        go_on.set()
    assert rig.entitling.due
    await rig.entitling.follow()
    assert await rig.records() == ["acme/1", "bolt/1"] and not rig.entitling.due


async def test_two_writers_do_not_write_twice(rig: Rig) -> None:
    await rig.put(SMALL)
    first = rig.entitling
    await rig.subscribe()
    rig.start()
    await rig.subscribe(since="2026-11-03")
    rig.billing._subscribed = None
    await rig.subscribe(since="2026-11-04")
    await first.follow("acme")
    await rig.entitling.follow()
    assert await rig.records() == ["acme/1", "acme/2", "acme/3"]


async def test_many_are_written_at_the_first_start(rig: Rig) -> None:
    """A server that had subscriptions before there were entitlements."""
    await rig.put(None)
    rig.billing._subscribed = None
    for n in range(12):
        await rig.subscribe(tenant=f"t{n}")
    rig.start()
    await rig.entitling.follow()
    assert sorted(await rig.records()) == sorted(f"t{n}/1" for n in range(12))
    assert not any(worker.funded for worker in rig.workers), "none of them is restricted"


def standing(since_ns: int, plan: str, **more: Any) -> Standing:
    return Standing(tenant="acme", since_ns=since_ns, plan=plan, version=1, entitlements=Entitlements(**more))


def test_what_is_missing_is_what_the_folds_differ_in() -> None:
    book = Book()
    first, second, third = standing(5, "a"), standing(5, "b"), standing(3, "c", models=("x",))
    assert list(missing(book, [first, second, third])) == [second, third], "of two for one moment the later"
    for seq, one in enumerate((first, second), 1):
        record = Record(id=str(seq), type="entitlement.set", at_ns=0, payload=encoded(one))
        stored = Stored(stream=STREAM, seq=seq, record=record, chain=b"")
        assert book.apply(stored) == "acme" and book.apply(stored) is None
    assert list(missing(book, [first, second, third])) == [third]
    assert [book.current("acme", at) for at in (4, 5, 99)] == [None, second, second]
    assert book.next_change_ns("acme", 4) == 5 and book.current("bolt", 9) is None


def test_a_record_reads_as_what_it_is_of() -> None:
    for one in (standing(1, "a", models=("m*",), features={"f": "x"}), Standing(tenant="acme", since_ns=2)):
        known: Known = {}
        assert decoded(encoded(one), known) == decoded(encoded(one), known) == one


def test_what_this_version_does_not_know_is_not_passed_over() -> None:
    payloads = (
        b"no JSON",
        b'{"tenant":"a","since_ns":1,"plan":"p","version":1,"entitlements":{"seats":3}}',
        b'{"tenant":"a","since_ns":1,"plan":"p","version":1,"entitlements":{"models":"small-*"}}',
    )
    for payload in payloads:
        record = Record(id="x", type="entitlement.set", at_ns=0, payload=payload)
        with pytest.raises(InterlockError) as unknown:
            Book().apply(Stored(stream=STREAM, seq=1, record=record, chain=b""))
        assert unknown.value.code == "log_corrupt"
