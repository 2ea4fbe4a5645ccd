"""What every adapter of the port `interlock.runtime.sessions.ports.Store` must do: subclass it, give it `open_store`.

Each test runs on an empty store, on asyncio's loop in debug mode and on uvloop. What the suite cannot know is
durability: kill tests are the adapter's own.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

from interlock.clock import Clock
from interlock.errors import LocalError
from interlock.runtime.sessions.agent import Agent
from interlock.runtime.sessions.event import Created, Event, Finished, Said, Started, Text
from interlock.runtime.sessions.ports import Fenced, Lease, Moved, Standing, Store, Wrote
from interlock.testing.clock import ManualClock
from interlock.testing.loops import LOOPS, run_on

SECOND = 1_000_000_000
RUNNABLE = Standing(status="runnable", title="a title")
IDLE = Standing(status="idle", title="a title", detail="done")
_DEADLINE_S = 20.0
_BLOCKING_S = 0.5

Self = TypeVar("Self", bound="SessionsContract")


def created(tenant: str = "acme") -> Created:
    """The first event of a session."""
    return Created(tenant=tenant, principal="ann", key_id="key_1", agent=Agent(), workspace="wsp_1")


def said(text: str = "hello") -> Said:
    """A person's event."""
    return Said(text=text, by="ann")


def step(number: int) -> list[Event]:
    """What a brain in a loop writes between two tool calls."""
    start = Started(call_id=f"c{number}", attempt=1, key=f"k{number}", effect="once")
    if number == 1:
        return [start]
    before = Finished(call_id=f"c{number - 1}", attempt=1, outcome="ok", content=Text(text=f"result {number - 1}"))
    return [before, start]


async def begin(store: Store, session: str = "ses_1", tenant: str = "acme", standing: Standing = RUNNABLE) -> None:
    """A session with one event."""
    assert await store.create(session, tenant, "ann", [created(tenant)], standing)


async def refused(call: Coroutine[Any, Any, object], code: str) -> LocalError:
    """The error with which a call is refused."""
    try:
        await call
    except LocalError as error:
        assert error.code == code, error
        return error
    raise AssertionError(f"it was not refused with {code}")


def _on_store(
    test: "Callable[[Self, Store, ManualClock], Coroutine[Any, Any, None]]",
) -> "Callable[[Self, Path], None]":
    def run(self: "Self", tmp_path: Path) -> None:
        async def main() -> None:
            directory.mkdir()
            clock = ManualClock()
            async with asyncio.timeout(_DEADLINE_S), self.open_store(directory, clock) as store:
                await test(self, store, clock)

        for loop in LOOPS:
            directory = tmp_path / loop
            run_on(loop, main, blocking_s=_BLOCKING_S)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


class SessionsContract:
    """The suite."""

    def open_store(self, directory: Path, clock: Clock) -> AbstractAsyncContextManager[Store]:
        """An empty store that may keep its files in `directory`."""
        raise NotImplementedError  # each adapter's test says how it is opened

    @_on_store
    async def test_an_unknown_session_is_named_so(self, store: Store, clock: ManualClock) -> None:
        lease = Lease(session="ses_9", owner="b", epoch=1, expires_at_ns=0)
        for call in (
            store.append("ses_9", [said()], RUNNABLE, expect=0),
            store.events("ses_9"),
            store.changed("ses_9", after=0, wait_s=5),
            store.take("ses_9", "b", ttl_s=5),
            store.renew(lease, ttl_s=5),
            store.release(lease),
            store.rows(before="ses_9"),
            store.create("../x", "acme", "ann", [created()], RUNNABLE),
        ):
            assert (await refused(call, "session_unknown")).field == "session"
        assert await store.row("ses_9") is None
        assert await store.rows() == []
        assert await store.due() == []

    @_on_store
    async def test_a_session_is_created_once(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        clock.advance(SECOND)
        assert not await store.create("ses_1", "other", "bob", [created("other"), said()], IDLE)
        row = await store.row("ses_1")
        assert row is not None
        assert (row.tenant, row.principal, row.standing, row.head) == ("acme", "ann", RUNNABLE, 1)
        assert (row.created_at_ns, row.changed_at_ns) == (clock.now_ns() - SECOND, clock.now_ns() - SECOND)
        assert [seen.event for seen in await store.events("ses_1")] == [created()]

    @_on_store
    async def test_events_stand_in_order_with_their_times(self, store: Store, clock: ManualClock) -> None:
        events = [created(), said('é \\ " \u2028'), *step(1), *step(2)]
        assert await store.create("ses_1", "acme", "ann", events[:2], RUNNABLE, at_ns=[5, 6])
        assert await store.append("ses_1", events[2:3], RUNNABLE, expect=2) == Wrote(3)
        assert await store.append("ses_1", events[3:], RUNNABLE, expect=3, at_ns=9) == Wrote(5)
        seen = await store.events("ses_1")
        assert [one.event for one in seen] == events
        assert [one.seq for one in seen] == [1, 2, 3, 4, 5]
        assert [one.at_ns for one in seen] == [5, 6, clock.now_ns(), 9, 9]
        assert await store.events("ses_1", after=1, limit=2) == seen[1:3]
        assert await store.events("ses_1", after=4) == seen[4:]
        assert await store.events("ses_1", after=5) == await store.events("ses_1", after=50) == []

    @_on_store
    async def test_many_events_are_read_in_pages_and_at_once(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        assert await store.append("ses_1", [said(str(n)) for n in range(2, 2502)], IDLE, expect=1) == Wrote(2501)
        every = await store.events("ses_1", limit=10_000)
        assert [one.event for one in every[1:]] == [said(str(n)) for n in range(2, 2502)]
        assert len(await store.events("ses_1")) == 1000
        assert await store.events("ses_1", after=1000, limit=1001) == every[1000:2001]

    @_on_store
    async def test_a_page_of_large_events_holds_fewer(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        large = [said(str(n) * 1000) for n in range(2, 10)]
        assert await store.append("ses_1", large, IDLE, expect=1) == Wrote(9)
        found: list[int] = []
        while page := await store.events("ses_1", after=found[-1] if found else 1, bytes_max=2_500):
            assert len(page) <= 3
            found += [one.seq for one in page]
        assert found == list(range(2, 10))
        assert len(await store.events("ses_1", after=1, bytes_max=1)) == 1, "one at least"
        assert len(await store.events("ses_1", limit=2, bytes_max=10**9)) == 2

    @_on_store
    async def test_what_was_decided_on_an_older_log_is_not_written(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        assert await store.append("ses_1", [said("a")], RUNNABLE, expect=1) == Wrote(2)
        assert await store.append("ses_1", [said("b")], IDLE, expect=1) == Moved(2)
        assert await store.append("ses_1", [said("b")], IDLE, expect=3) == Moved(2)
        assert [seen.event for seen in await store.events("ses_1", after=1)] == [said("a")]
        row = await store.row("ses_1")
        assert row is not None and row.standing == RUNNABLE

    @_on_store
    async def test_of_many_at_once_one_writes(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        answers: list[object] = []

        async def write(n: int) -> None:
            answers.append(await store.append("ses_1", [said(str(n)), said(str(n))], IDLE, expect=1))

        async with asyncio.TaskGroup() as group:
            for n in range(50):
                group.create_task(write(n))
        assert sorted(answers, key=str) == [Moved(3)] * 49 + [Wrote(3)]
        _, first, second = await store.events("ses_1")
        assert first.event == second.event

    @_on_store
    async def test_many_sessions_at_once_are_all_answered(self, store: Store, clock: ManualClock) -> None:
        async def live(session: str) -> None:
            await begin(store, session)
            lease = await store.take(session, "brain", ttl_s=9)
            head = 1
            for n in range(1, 20):
                answer = await store.append(session, step(n), RUNNABLE, expect=head, lease=lease)
                assert isinstance(answer, Wrote)
                head = answer.head

        async with asyncio.TaskGroup() as group:
            for n in range(40):
                group.create_task(live(f"ses_{n}"))
        for n in range(40):
            events = [event for number in range(1, 20) for event in step(number)]
            assert [seen.event for seen in await store.events(f"ses_{n}", after=1)] == events

    @_on_store
    async def test_an_event_that_is_too_large_or_no_text_is_refused(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        for event in (said("x" * (1 << 20)), said("\ud800")):
            assert (await refused(store.append("ses_1", [said(), event], IDLE, expect=1), "invalid_request")).field
            await refused(store.create("ses_2", "acme", "ann", [created(), event], IDLE), "invalid_request")
        assert len(await store.events("ses_1")) == 1
        assert await store.row("ses_2") is None

    @_on_store
    async def test_the_index_is_written_with_the_events(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        clock.advance(SECOND)
        await store.append("ses_1", [said()], IDLE, expect=1)
        row = await store.row("ses_1")
        assert row is not None
        assert (row.standing, row.head, row.changed_at_ns) == (IDLE, 2, clock.now_ns())
        waiting = Standing(status="waiting", wake_at_ns=7, title="another", detail="asks: shell")
        assert await store.append("ses_1", [], waiting, expect=2) == Wrote(2)
        row = await store.row("ses_1")
        assert row is not None and (row.standing, row.head) == (waiting, 2)

    @_on_store
    async def test_who_holds_the_lease_keeps_others_out(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        lease = await store.take("ses_1", "a", ttl_s=10)
        assert lease == Lease(session="ses_1", owner="a", epoch=1, expires_at_ns=clock.now_ns() + 10 * SECOND)
        clock.advance(10 * SECOND - 1)
        assert await store.take("ses_1", "b", ttl_s=10) is None
        row = await store.row("ses_1")
        assert row is not None and row.owner == "a"
        assert await store.append("ses_1", step(1), RUNNABLE, expect=1, lease=lease) == Wrote(2)
        assert await store.append("ses_1", [said()], RUNNABLE, expect=2) == Wrote(3), "a person needs none"

    @_on_store
    async def test_a_lease_that_ran_out_is_taken_and_the_old_one_fenced(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        old = await store.take("ses_1", "a", ttl_s=10)
        assert old is not None
        clock.advance(10 * SECOND)
        row = await store.row("ses_1")
        assert row is not None and row.owner == ""
        assert await store.append("ses_1", step(1), RUNNABLE, expect=1, lease=old) == Wrote(2), "nobody took it yet"
        new = await store.take("ses_1", "b", ttl_s=10)
        assert new is not None and new.epoch == 2
        for expect in (1, 2, 3):
            assert await store.append("ses_1", step(2), IDLE, expect=expect, lease=old) == Fenced(2)
        assert await store.renew(old, ttl_s=99) is None
        await store.release(old)
        row = await store.row("ses_1")
        assert row is not None and (row.owner, row.head, row.standing) == ("b", 2, RUNNABLE)
        assert await store.append("ses_1", step(2), RUNNABLE, expect=2, lease=new) == Wrote(4)

    @_on_store
    async def test_evicted_leases_are_free_at_once_and_fenced(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        old = await store.take("ses_1", "a", ttl_s=1000)
        assert old is not None
        assert await store.append("ses_1", [said()], RUNNABLE, expect=1, lease=old) == Wrote(2)
        assert await store.due() == []
        assert await store.evict() == 1
        assert await store.due() == ["ses_1"] and await store.evict() == 0
        assert isinstance(await store.append("ses_1", step(1), IDLE, expect=2, lease=old), Fenced)
        assert await store.renew(old, ttl_s=9) is None
        new = await store.take("ses_1", "a", ttl_s=10)  # even of the same name
        assert new is not None and new.epoch > old.epoch
        assert isinstance(await store.append("ses_1", step(1), IDLE, expect=2, lease=old), Fenced)

    @_on_store
    async def test_a_lease_is_renewed_while_nobody_took_it(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        lease = await store.take("ses_1", "a", ttl_s=10)
        assert lease is not None
        clock.advance(11 * SECOND)
        renewed = await store.renew(lease, ttl_s=10)
        assert renewed is not None
        assert (renewed.epoch, renewed.expires_at_ns) == (1, clock.now_ns() + 10 * SECOND)
        assert await store.take("ses_1", "b", ttl_s=10) is None
        assert await store.append("ses_1", step(1), RUNNABLE, expect=1, lease=lease) == Wrote(2)

    @_on_store
    async def test_the_owner_takes_its_own_anew(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        first, second = await store.take("ses_1", "a", ttl_s=10), await store.take("ses_1", "a", ttl_s=10)
        assert second is not None and second.epoch == 2
        assert await store.append("ses_1", step(1), RUNNABLE, expect=1, lease=first) == Fenced(2)
        assert await store.append("ses_1", step(1), RUNNABLE, expect=1, lease=second) == Wrote(2)

    @_on_store
    async def test_what_was_given_back_is_fenced(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        lease = await store.take("ses_1", "a", ttl_s=10)
        assert lease is not None
        await store.release(lease)
        assert await store.append("ses_1", step(1), RUNNABLE, expect=1, lease=lease) == Fenced(1)
        assert await store.renew(lease, ttl_s=10) is None
        taken = await store.take("ses_1", "b", ttl_s=10)
        assert taken is not None and taken.epoch == 2

    @_on_store
    async def test_due_are_those_who_want_a_brain_and_have_none(self, store: Store, clock: ManualClock) -> None:
        now_ns = clock.now_ns()
        await begin(store, "ses_run")
        await begin(store, "ses_idle", standing=IDLE)
        await begin(store, "ses_later", standing=Standing(status="waiting", wake_at_ns=now_ns + 5 * SECOND))
        await begin(store, "ses_never", standing=Standing(status="waiting"))
        await begin(store, "ses_held")
        lease = await store.take("ses_held", "a", ttl_s=10)
        assert lease is not None
        assert await store.due() == ["ses_run"]
        clock.advance(5 * SECOND)
        assert sorted(await store.due()) == ["ses_later", "ses_run"]
        assert len(await store.due(limit=1)) == 1
        clock.advance(5 * SECOND)
        assert sorted(await store.due()) == ["ses_held", "ses_later", "ses_run"]
        await store.renew(lease, ttl_s=10)
        assert "ses_held" not in await store.due()
        await store.release(lease)
        assert "ses_held" in await store.due()
        await store.append("ses_held", [said()], IDLE, expect=1)
        assert sorted(await store.due()) == ["ses_later", "ses_run"]

    @_on_store
    async def test_rows_are_the_newest_first_in_pages(self, store: Store, clock: ManualClock) -> None:
        for n in range(6):
            await begin(store, f"ses_{n}", tenant="acme" if n % 2 else "other")
        assert [row.session for row in await store.rows()] == [f"ses_{n}" for n in (5, 4, 3, 2, 1, 0)]
        assert [row.session for row in await store.rows("acme")] == ["ses_5", "ses_3", "ses_1"]
        assert [row.session for row in await store.rows("acme", limit=2)] == ["ses_5", "ses_3"]
        assert [row.session for row in await store.rows("acme", before="ses_3")] == ["ses_1"]
        assert await store.rows("nobody") == []

    @_on_store
    async def test_who_waits_is_woken_by_growth_alone(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        await begin(store, "ses_2")
        assert await store.changed("ses_1", after=0, wait_s=99)
        assert not await store.changed("ses_1", after=1, wait_s=0.01)

        async def write() -> None:
            await asyncio.sleep(0.01)
            await store.append("ses_2", [said()], RUNNABLE, expect=1)
            await store.append("ses_1", [], IDLE, expect=1)
            assert not watch.done()
            await store.append("ses_1", [said()], RUNNABLE, expect=1)

        async with asyncio.TaskGroup() as group:
            watch = group.create_task(store.changed("ses_1", after=1, wait_s=99))
            group.create_task(write())
        assert watch.result()

    @_on_store
    async def test_who_looks_for_work_is_woken(self, store: Store, clock: ManualClock) -> None:
        await begin(store, standing=IDLE)
        lease = await store.take("ses_1", "a", ttl_s=10)
        assert lease is not None
        assert not await store.stirred(wait_s=0.01)
        for change in (
            lambda: begin(store, "ses_2"),
            lambda: store.append("ses_1", [said()], RUNNABLE, expect=1),
            lambda: store.append("ses_1", [], RUNNABLE, expect=2),
            lambda: store.release(lease),
        ):
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(store.stirred(wait_s=99))
                await asyncio.sleep(0)
                await change()
            assert watch.result()

    @_on_store
    async def test_a_call_that_is_cancelled_holds_nobody_up(self, store: Store, clock: ManualClock) -> None:
        await begin(store)
        for _ in range(5):
            head = len(await store.events("ses_1"))
            write = asyncio.ensure_future(store.append("ses_1", [said()], RUNNABLE, expect=head))
            await asyncio.sleep(0)
            write.cancel()
            await asyncio.wait([write])
            head = len(await store.events("ses_1"))
            answer = await store.append("ses_1", [said()], RUNNABLE, expect=head)
            if isinstance(answer, Moved):  # it happened after all
                answer = await store.append("ses_1", [said()], RUNNABLE, expect=answer.head)
            assert isinstance(answer, Wrote)
        watch = asyncio.ensure_future(store.changed("ses_1", after=99, wait_s=9))
        await asyncio.sleep(0)
        watch.cancel()
        await asyncio.wait([watch])
        assert watch.cancelled()
