"""Sessions as people use them: what is asked for is decided on the log as it stands, once."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest
from tests.runtime.sessions.rig import SECOND, Rig, allowed, calls, ended, finished, on, started

from interlock.errors import InterlockError
from interlock.runtime.sessions import service
from interlock.runtime.sessions.agent import Agent, Budget
from interlock.runtime.sessions.blobs import content
from interlock.runtime.sessions.event import Cancelled, Compacted, Created, Failed, Finished, Raised, Said
from interlock.runtime.sessions.memory import MemoryStore
from interlock.runtime.sessions.ports import Moved, Row, Standing, Wrote
from interlock.testing.sessions_contract import refused


def test_a_session_begins_with_what_was_said(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        row = await rig.create("hello", title="a title", labels={"team": "x"})
        assert row.session.startswith("ses_")
        assert (row.tenant, row.principal, row.head) == ("acme", "ann", 2)
        assert row.standing == Standing(status="runnable", title="a title")
        first, second = await rig.service.events("acme", row.session)
        assert first.event == Created(
            tenant="acme",
            principal="ann",
            key_id="key_1",
            agent=Agent(),
            workspace=row.session.replace("ses_", "wsp_"),
            title="a title",
            labels={"team": "x"},
        )
        assert second.event == Said(text="hello", by="ann")
        assert first.at_ns == second.at_ns == rig.clock.now_ns()
        quiet = await rig.create("")
        assert (quiet.head, quiet.standing.status) == (1, "idle")
        assert [one.session for one in await rig.service.rows("acme")] == [quiet.session, row.session]

    on(tmp_path, test)


def test_a_session_created_again_with_its_key_is_the_same(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        rows = [await rig.create(session_id="mine") for _ in range(2)]
        assert rows[0] == rows[1]
        again = await rig.service.create("acme", "ann", "another key", Agent(), say="hello", session_id="mine")
        assert again == rows[0]
        assert (await rig.create(tenant="other", session_id="mine")).session != rows[0].session
        for change in ({"say": "bye"}, {"title": "x"}, {"labels": {"a": "b"}}):
            await refused(rig.create(session_id="mine", **cast("Any", change)), "conflict")
        model = rig.service.create("acme", "ann", "k", Agent(model="x"), say="hello", session_id="mine")
        await refused(model, "conflict")
        await refused(rig.service.create("acme", "bob", "k", Agent(), say="hello", session_id="mine"), "conflict")
        assert len(await rig.service.rows(None)) == 2

    on(tmp_path, test)


def test_of_many_that_create_with_one_key_all_get_the_one(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        rows: list[Row] = []

        async def create() -> None:
            rows.append(await rig.create(session_id="mine"))

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(create())
        assert len({row.session for row in rows}) == 1
        assert len(await rig.store.rows()) == 1

    on(tmp_path, test)


def test_a_session_of_another_tenant_is_not_there(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session, s = await rig.asks(), rig.service
        nobody = await refused(s.row("other", "ses_none"), "session_unknown")
        for call in (
            s.row("other", session),
            s.events("other", session),
            s.state("other", session),
            s.content("other", session, 1),
            s.emit("other", session, Said(text="x")),
            s.wake("other", session),
            s.cancel("other", session, by="x"),
            s.answer("other", session, "apr_1", True, "a" * 64, by="x"),
            s.fork("other", session, principal="x", key_id="k"),
            s.rows("other", before=session),
            cast("Any", anext(s.follow("other", session))),
        ):
            error = await refused(call, "session_unknown")
            assert error.message.replace(session, "ses_none") == nobody.message
        assert await s.rows("other") == []
        assert (await s.row(None, session)).head == (await s.row("acme", session)).head == 6

    on(tmp_path, test)


def test_what_is_sent_again_with_its_id_is_written_once(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = (await rig.create()).session
        assert await rig.service.emit("acme", session, Said(text="more", by="ann", id="m1")) == 3
        await rig.brain(session, *calls("c1"))
        for sessions in (rig.service, rig.another()):
            assert await sessions.emit("acme", session, Said(text="more", by="ann", id="m1")) == 3
            await refused(sessions.emit("acme", session, Said(text="less", by="ann", id="m1")), "conflict")
        assert await rig.service.emit("acme", session, Said(text="more", by="ann")) == 6
        assert await rig.service.emit("acme", session, Said(text="more", by="ann")) == 7, "no id: another message"
        assert (await rig.service.row("acme", session)).head == 7

    on(tmp_path, test)


def test_of_many_that_send_one_message_one_writes(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = (await rig.create("")).session
        seqs: list[int] = []

        async def send() -> None:
            seqs.append(await rig.another().emit("acme", session, Said(text="x", id="m1")))

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(send())
        assert seqs == [2] * 20
        assert (await rig.service.row("acme", session)).head == 2

    on(tmp_path, test)


def test_a_message_for_a_place_that_the_log_has_passed_is_refused(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = (await rig.create()).session
        assert await rig.service.emit("acme", session, Said(text="a"), expect=2) == 3
        await refused(rig.service.emit("acme", session, Said(text="b"), expect=2), "session_moved")
        assert (await rig.service.row("acme", session)).head == 3

    on(tmp_path, test)


def test_a_message_gets_through_while_a_brain_writes_without_pause(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session, done = (await rig.create()).session, False
        head = (await rig.brain(session, *calls("c1"))).seq

        async def brain() -> None:
            nonlocal head
            while not done:
                answer = await rig.store.append(session, [started("c1")], Standing(status="runnable"), expect=head)
                assert isinstance(answer, Wrote | Moved)
                head = answer.head
                if isinstance(rig.store, MemoryStore):  # which never waits
                    await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            group.create_task(brain())
            for n in range(10):
                assert await rig.service.emit("acme", session, Said(text=str(n)))
            done = True

    on(tmp_path, test)


def test_what_is_emitted_is_bounded(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = (await rig.create()).session
        await rig.service.emit("acme", session, Raised(by="ann", budget=Budget(steps=5)))
        assert (await rig.service.state("acme", session)).budget.steps == 5
        for event, field in (
            (Said(text=""), "text"),
            (Said(text="x" * 300_000), "text"),
            (Said(text="\ud800"), "text"),
            (Said(text="a\0b"), "text"),
            (Said(text="x", id="a\nb"), "id"),
            (Raised(by="ann", budget=Budget(steps=-1)), "budget.steps"),
            (Raised(by="ann", budget=Budget(wall_s=float("nan"))), "budget.wall_s"),
        ):
            error = await refused(rig.service.emit("acme", session, event), "invalid_request")
            assert error.field == field

    on(tmp_path, test)


def test_cancel_is_written_once_and_only_in_a_turn(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = await rig.asks()
        assert (await rig.service.row("acme", session)).standing.status == "waiting"
        seq = await rig.service.cancel("acme", session, by="ann", reason="enough")
        row = await rig.service.row("acme", session)
        assert (row.head, row.standing.status) == (seq, "runnable"), "a brain is to end the turn"
        assert await rig.service.cancel("acme", session, by="bob") == 0
        await rig.brain(session, ended())
        assert await rig.service.cancel("acme", session, by="bob") == 0
        events = [seen.event for seen in await rig.service.events("acme", session)]
        assert [event for event in events if isinstance(event, Cancelled)] == [Cancelled(by="ann", reason="enough")]

    on(tmp_path, test)


def test_wake_mends_the_index_and_tells_who_looks_for_work(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = (await rig.create()).session
        await rig.store.append(session, [], Standing(status="idle", detail="lost"), expect=2)
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(rig.store.stirred(wait_s=9))
            await asyncio.sleep(0)
            assert (await rig.service.wake("acme", session)).standing == Standing(status="runnable")
        assert watch.result()
        assert await rig.store.due() == [session]
        await rig.brain(session, ended())
        row = await rig.service.row("acme", session)
        assert await rig.service.wake("acme", session) == row, "nothing to do"
        assert row.standing == Standing(status="idle", detail="done")
        assert row.head == 3

    on(tmp_path, test)


def test_followers_see_what_stands_and_what_comes(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = (await rig.create()).session
        async with aclosing(cast("Any", rig.service.follow("acme", session, after=1, idle_s=0.01))) as batches:
            assert [seen.seq for seen in await anext(batches)] == [2]
            assert await anext(batches) == []
            await rig.service.emit("acme", session, Said(text="more"))
            assert [seen.seq for seen in await anext(batches)] == [3]

    on(tmp_path, test)


def test_a_result_is_read_whole_wherever_it_is(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = (await rig.create()).session
        await rig.brain(session, *calls("c1", "c2", "c3"))
        for call, data in (("c1", b"small \xc3\xa9"), ("c2", b"x" * 20_000), ("c3", b"\xff\x00")):
            result = Finished(call_id=call, attempt=1, outcome="ok", content=await content(rig.blobs, data))
            state = await rig.brain(session, result)
            assert await rig.service.content("acme", session, state.seq) == data
        await refused(rig.service.content("acme", session, 1), "not_found")
        await refused(rig.service.content("acme", session, 99), "not_found")

    on(tmp_path, test)


def test_what_is_asked_for_is_bounded(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session, s = await rig.asks(), rig.service
        for call, field in (
            (rig.create("x" * 300_000), "say"),
            (rig.create(title="a\nb"), "title"),
            (rig.create(labels={"a b": "x"}), "labels"),
            (rig.create(labels={str(n): "x" for n in range(33)}), "labels"),
            (rig.create(labels={"a": "x" * 257}), "labels.a"),
            (rig.create(session_id=""), "session_id"),
            (s.events("acme", session, limit=0), "limit"),
            (s.events("acme", session, limit=1001), "limit"),
            (s.events("acme", session, after=-1), "after"),
            (s.rows("acme", limit=1001), "limit"),
            (s.cancel("acme", session, by=""), "by"),
            (s.cancel("acme", session, by="a", reason="x" * 5000), "reason"),
            (s.answer("acme", session, "apr_1", True, "a" * 64, by="a", note="x" * 5000), "note"),
            (s.fork("acme", session, 0, principal="a", key_id="k"), "at"),
            (s.fork("acme", session, 7, principal="a", key_id="k"), "at"),
        ):
            assert (await refused(cast("Any", call), "invalid_request")).field == field
        assert (await rig.service.row("acme", session)).head == 6

    on(tmp_path, test)


def test_folds_are_kept_within_bounds_and_never_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "STATES_KEPT", 3)

    async def test(rig: Rig) -> None:
        sessions = [(await rig.create()).session for _ in range(6)]
        others = rig.another()
        for n in range(4):
            for session in sessions:
                await (rig.service if n % 2 else others).emit("acme", session, Said(text="x", id=f"m{n}"))
        assert len(rig.service._states) == 3
        for session in sessions:
            assert set((await rig.service.state("acme", session)).heard_ids) == {f"m{n}" for n in range(4)}

    on(tmp_path, test)


def test_a_store_that_cannot_write_leaves_no_wrong_fold_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        session = await rig.asks()
        append = rig.store.append

        async def full(*args: Any, **more: Any) -> Any:
            raise InterlockError("full", code="log_unavailable")

        monkeypatch.setattr(rig.store, "append", full)
        with pytest.raises(InterlockError):
            await rig.service.answer("acme", session, "apr_1", True, "a" * 64, by="ann")
        monkeypatch.setattr(rig.store, "append", append)
        assert await rig.service.answer("acme", session, "apr_1", False, "a" * 64, by="bob") == 7

    on(tmp_path, test)


def test_a_retry_that_waits_is_not_woken_early(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = (await rig.create()).session
        at_ns = rig.clock.now_ns() + SECOND
        await rig.brain(session, *calls()[:1], Failed(step=1, code="x", message="x", retry_at_ns=at_ns))
        assert (await rig.service.wake("acme", session)).standing.wake_at_ns == at_ns
        assert await rig.store.due() == []

    on(tmp_path, test)


def test_events_that_a_brain_wrote_are_folded_too(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = await rig.asks()
        await rig.service.answer("acme", session, "apr_1", True, "a" * 64, by="ann")
        await rig.brain(session, started("c1"), finished("c1"), *calls("c2", step=2), allowed("c2"))
        state = await rig.service.state("acme", session)
        assert list(state.pending) == ["c2"] and state.calls["c1"].finished is not None

    on(tmp_path, test)


def test_a_summary_is_asked_for_at_rest_and_only_of_something(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = (await rig.create("hello")).session
        await refused(rig.service.compact("acme", session, by="ann"), "conflict")
        await rig.brain(session, ended())
        await refused(rig.service.compact("other", session, by="eve"), "session_unknown")
        await refused(rig.service.compact("acme", session, by="a\nb"), "invalid_request")
        seq = await rig.service.compact("acme", session, by="ann")
        [seen] = await rig.service.events("acme", session, after=seq - 1)
        assert seen.event == Compacted(by="ann")
        assert (await rig.service.row("acme", session)).standing.status == "runnable"
        await refused(rig.service.compact("acme", session, by="ann"), "conflict")
        await refused(rig.service.cut("acme", session), "conflict")
        empty = (await rig.create("")).session
        await refused(rig.service.compact("acme", empty, by="ann"), "conflict")
        program = await rig.service.create("acme", "ann", "k", Agent(program=("sh",)), say="hello")
        await rig.brain(program.session, ended())
        await refused(rig.service.compact("acme", program.session, by="ann"), "conflict")

    on(tmp_path, test)
