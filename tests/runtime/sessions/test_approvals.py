"""A person's answer holds for one question and its arguments, in time, once."""

import asyncio
from pathlib import Path

import pytest
from tests.runtime.sessions.rig import OTHER, SECOND, SHA, Rig, ended, finished, on

from interlock.errors import LocalError
from interlock.runtime.sessions.event import Answer, Expired
from interlock.runtime.sessions.ports import Standing, Wrote
from interlock.testing.sessions_contract import refused


def test_an_answer_is_for_one_question_and_its_arguments(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = await rig.asks()

        async def closed(approval: str = "apr_1", sha: str = SHA, by: str = "bob", approved: bool = True) -> str:
            call = rig.service.answer("acme", session, approval, approved, sha, by=by)
            return (await refused(call, "approval_closed")).message

        assert "other arguments" in await closed(sha=OTHER)
        assert "not one of" in await closed(approval="apr_2")
        rig.clock.advance(60 * SECOND - 1)
        seq = await rig.service.answer("acme", session, "apr_1", True, SHA, by="ann", note="go")
        assert seq == (await rig.service.row("acme", session)).head
        stands = (await rig.service.events("acme", session, after=seq - 1))[0].event
        assert stands == Answer(approval="apr_1", approved=True, arguments_sha256=SHA, by="ann", note="go")
        assert (await rig.service.row("acme", session)).standing.status == "runnable"
        assert await rig.service.answer("acme", session, "apr_1", True, SHA, by="ann", note="go") == 0, "a retry"
        assert "answered by ann" in await closed()
        assert "answered by ann" in await closed(by="ann", approved=False)
        assert (await rig.service.row("acme", session)).head == seq

    on(tmp_path, test)


def test_an_answer_that_comes_too_late_is_refused_by_the_clock_alone(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        session = await rig.asks()
        rig.clock.advance(60 * SECOND)
        for _ in range(2):
            call = rig.service.answer("acme", session, "apr_1", True, SHA, by="ann")
            assert "expired" in (await refused(call, "approval_closed")).message
            if (await rig.service.state("acme", session)).waiting:
                await rig.brain(session, Expired(approval="apr_1"))

    on(tmp_path, test)


@pytest.mark.parametrize("way", ["cancelled", "turn ended", "finished"])
def test_a_question_that_nobody_needs_any_more_takes_no_answer(tmp_path: Path, way: str) -> None:
    async def test(rig: Rig) -> None:
        session = await rig.asks()
        if way == "cancelled":
            await rig.service.cancel("acme", session, by="ann")
        else:
            await rig.brain(session, ended() if way == "turn ended" else finished("c1"))
        call = rig.service.answer("acme", session, "apr_1", True, SHA, by="ann")
        assert "not asked any more" in (await refused(call, "approval_closed")).message

    on(tmp_path, test)


def test_of_people_and_a_brain_that_expires_it_one_decides(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        for turn in range(30):
            await _race(rig, turn)

    on(tmp_path, test)


async def _race(rig: Rig, turn: int) -> None:
    session = await rig.asks()
    results: list[object] = []

    async def answer(by: str, approved: bool) -> None:
        try:
            results.append(await rig.another().answer("acme", session, "apr_1", approved, SHA, by=by))
        except LocalError as error:
            results.append(error.code)

    async def expire() -> None:
        expired = [Expired(approval="apr_1")]
        written = await rig.store.append(session, expired, Standing(status="runnable"), expect=6)
        results.append(written.head if isinstance(written, Wrote) else "approval_closed")

    calls = [answer("ann", True), answer("bob", False), answer("cid", True), expire()]
    async with asyncio.TaskGroup() as group:
        for call in calls[turn % 4 :] + calls[: turn % 4]:
            group.create_task(call)
    assert sorted(map(str, results)) == ["7", *["approval_closed"] * 3]
    decided = [seen.event for seen in await rig.store.events(session, after=6)]
    assert len(decided) == 1
    assert isinstance(decided[0], Answer | Expired)
