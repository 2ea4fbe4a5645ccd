"""A fork: the log up to a place, a workspace of its own, and nothing that was open or secret."""

import asyncio
from pathlib import Path
from typing import Any, cast

from tests.runtime.sessions.rig import SHA, Rig, allowed, calls, ended, finished, on, started

from interlock.runtime.sessions.event import Asked, Created, Decided, Finished, Forked, Provisioned, Said, Saved, Woken
from interlock.runtime.sessions.state import fold
from interlock.testing.sessions_contract import refused


async def fork(rig: Rig, session: str, at: int | None = None, **more: object) -> str:
    """Bob forks with his own key."""
    return (await rig.service.fork("acme", session, at, principal="bob", key_id="key_2", **cast("Any", more))).session


def test_the_copy_stands_at_the_same_places(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        parent = (await rig.create(title="a title", labels={"a": "b"})).session
        await rig.brain(parent, Woken(owner="x", epoch=4), *calls("c1"), allowed("c1"), started("c1"), finished("c1"))
        rig.clock.advance(5)
        await rig.brain(parent, ended())
        before = await rig.store.events(parent)
        child = await fork(rig, parent, 8)
        events = await rig.store.events(child)
        assert events[1:8] == before[1:8], "with their times"
        assert events[0].event == Created(
            tenant="acme",
            principal="bob",
            key_id="key_2",
            agent=cast("Created", before[0].event).agent,
            workspace=rig.copies[0][1],
            title="a title",
            labels={"a": "b"},
            parent=parent,
            parent_seq=8,
        )
        assert [seen.event for seen in events[8:]] == [Forked(workspace="copy", later=1)]
        state = fold(events)
        assert (state.epoch, state.in_turn, state.steps) == (0, True, 1)
        row = await rig.service.row("acme", child)
        assert (row.principal, row.owner, row.standing.status) == ("bob", "", "runnable")
        assert await rig.store.events(parent) == before
        lease = await rig.store.take(child, "brain", ttl_s=9)
        assert lease is not None and lease.epoch == 1

    on(tmp_path, test)


def test_open_questions_are_asked_anew(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        for answered in (False, True):
            parent = await rig.asks()
            if answered:
                await rig.service.answer("acme", parent, "apr_1", True, SHA, by="ann")
            child = await fork(rig, parent)
            state = await rig.service.state("acme", child)
            assert state.waiting == []
            assert list(state.pending) == ["c1"]
            assert (state.pending["c1"].decided, state.pending["c1"].asking) == (None, None)
            assert (await rig.service.row("acme", child)).standing.status == "runnable"
            await refused(rig.service.answer("acme", child, "apr_1", True, SHA, by="ann"), "approval_closed")
            again = rig.question("apr_2")
            await rig.brain(child, Decided(call_id="c1", verdict="ask", why="default"), again)
            assert (await rig.service.row("acme", child)).standing.status == "waiting"
            await rig.service.answer("acme", child, "apr_2", True, SHA, by="ann")
            if not answered:
                await rig.service.answer("acme", parent, "apr_1", True, SHA, by="ann")

    on(tmp_path, test)


def test_a_call_that_ran_is_unknown_and_never_run_again(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        parent = (await rig.create()).session
        await rig.brain(parent, Provisioned(sandbox="sbx_1", hands="x"), *calls("c1", "c2", "c3"))
        await rig.brain(parent, started("c1"), started("c2"), finished("c1"))
        child = await fork(rig, parent)
        end, result = (seen.event for seen in await rig.store.events(child, after=8))
        assert end == Forked(workspace="copy")
        assert isinstance(result, Finished)
        assert (result.call_id, result.outcome, result.attempt) == ("c2", "unknown", 1)
        state = await rig.service.state("acme", child)
        assert list(state.pending) == ["c3"]
        assert state.sandbox == "", "the parent's"

    on(tmp_path, test)


def test_a_model_call_under_way_is_lost(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        parent = (await rig.create()).session
        await rig.brain(parent, Asked(step=1, key="k1"))
        state = await rig.service.state("acme", await fork(rig, parent))
        assert state.asked is None and state.in_turn

    on(tmp_path, test)


def test_the_workspace_is_the_one_of_the_place_if_it_can_be(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        parent = (await rig.create()).session
        await rig.brain(parent, *calls("c1", "c2"), started("c1"), finished("c1"), Saved(snapshot="snp_1"))
        await rig.brain(parent, started("c2"), finished("c2"))
        source = parent.replace("ses_", "wsp_")
        for at, end, snapshot in (
            (4, Forked(workspace="empty"), None),
            (6, Forked(workspace="copy", later=3), ""),
            (7, Forked(workspace="snapshot", snapshot="snp_1"), "snp_1"),
            (8, Forked(workspace="copy", later=1), ""),
            (9, Forked(workspace="copy"), ""),
        ):
            rig.copies.clear()
            child = await fork(rig, parent, at)
            assert (await rig.store.events(child, after=at))[0].event == end
            target = cast("Created", (await rig.store.events(child))[0].event).workspace
            assert target not in (source, "")
            assert rig.copies == ([] if snapshot is None else [(source, target, snapshot)])

    on(tmp_path, test)


def test_a_fork_with_a_message_goes_on_from_it(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        parent = (await rig.create()).session
        await rig.brain(parent, *calls(), ended())
        child = await fork(rig, parent, say="another way", title="b", labels={})
        events = await rig.store.events(child)
        assert events[-1].event == Said(text="another way", by="bob")
        row = await rig.service.row("acme", child)
        assert (row.standing.status, row.standing.title) == ("runnable", "b")
        quiet = await fork(rig, parent)
        assert (await rig.service.row("acme", quiet)).standing.status == "idle"
        grandchild = await fork(rig, child, 7)
        assert cast("Created", (await rig.store.events(grandchild))[0].event).parent == child

    on(tmp_path, test)


def test_a_fork_asked_for_again_with_its_key_is_the_same(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        parent = (await rig.create()).session
        await rig.brain(parent, *calls("c1"), started("c1"))
        children: list[str] = []

        async def ask() -> None:
            children.append(await fork(rig, parent, session_id="mine"))

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(ask())
        assert len(set(children)) == 1
        count = len(rig.copies)
        await rig.brain(parent, finished("c1"))
        assert await fork(rig, parent, 5, session_id="mine") == children[0]
        assert await fork(rig, parent, session_id="mine") == children[0], "the last then is not the last now"
        assert len(rig.copies) == count, "it is not copied again"
        await refused(fork(rig, parent, 4, session_id="mine"), "conflict")
        other = (await rig.create()).session
        await refused(fork(rig, other, session_id="mine"), "conflict")
        await refused(rig.create(session_id="mine"), "conflict")
        assert len(await rig.store.rows()) == 3

    on(tmp_path, test)


def test_a_workspace_that_cannot_be_copied_makes_no_session(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        parent = (await rig.create()).session
        await rig.brain(parent, *calls("c1"), started("c1"))

        async def fails(*args: str) -> None:
            raise OSError("no room")

        rig.service._copy = fails
        try:
            await fork(rig, parent)
        except OSError:
            assert len(await rig.store.rows()) == 1
        else:
            raise AssertionError("it made one")

    on(tmp_path, test)
