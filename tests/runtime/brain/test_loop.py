"""A brain at work: what is logged, shown and stopped."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.runtime.brain.rig import SECOND, SESSION, Bench, Made, Script, broke, call

from interlock.errors import RemoteError
from interlock.runtime.brain.arguments import arguments_sha256
from interlock.runtime.brain.feed import Delta
from interlock.runtime.brain.tools.ports import Done, Use
from interlock.runtime.sessions.event import (
    Answer,
    Answered,
    Asked,
    Cancelled,
    Decided,
    Ended,
    Failed,
    Finished,
    Note,
    Question,
    Said,
    Started,
    Text,
    Woken,
)

Run = Callable[..., Any]


async def echo(arguments: dict[str, Any], use: Use) -> Done:
    return Done(content=str(arguments.get("say", "")).encode())


def test_a_turn_is_written_down_step_by_step(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        model = Script([Text(text="I look."), call("c1", "look", '{"say": "found"}')], [Text(text="done")])
        bench = Bench(tmp_path, model, Made("look", echo, "pure"))
        await bench.begin()
        assert await bench.brain.run(SESSION) == "rest"
        kinds = [type(event).__name__ for event in await bench.events()]
        step = ["Asked", "Answered"]
        assert kinds == ["Created", "Said", "Woken", *step, "Decided", "Started", "Finished", *step, "Ended"]
        [finished] = await bench.of(Finished)
        assert (finished.outcome, finished.content) == ("ok", Text(text="found"))
        first, second = await bench.of(Answered)
        assert (first.step, first.amount_nanousd, second.parts) == (1, 7, (Text(text="done"),))
        assert model.shown()[-1]["content"][0]["content"][0]["text"] == "found"
        request = model.asked[0]
        assert (request.session, request.step, request.key, request.token) == (SESSION, 1, "ses_1-1", "token")
        row = await bench.store.row(SESSION)
        assert row is not None and (row.standing.status, row.owner) == ("idle", "")
        assert await bench.brain.run(SESSION) == "rest" and len(await bench.events()) == 11, (
            "nothing to do writes nothing"
        )

    run(main)


def test_a_session_that_another_holds_is_left_alone(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, Script())
        await bench.begin()
        assert await bench.store.take(SESSION, "two", ttl_s=30)
        assert await bench.brain.run(SESSION) == "busy"

    run(main)


def test_a_cancellation_kills_a_tool_at_once(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        ended: list[str] = []

        async def forever(arguments: dict[str, Any], use: Use) -> Done:
            use.emit("stdout", b"so far")
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("killed")
            raise AssertionError

        bench = Bench(tmp_path, Script([call("c1", "hang"), call("c2", "hang")]), Made("hang", forever))
        await bench.begin()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(bench.brain.run(SESSION))
            await bench.until(Started)
            await bench.person(Cancelled(by="ann", reason="enough"))
            async with asyncio.timeout(5):
                assert await running == "rest"
        assert ended == ["killed"], "the second one never began"
        first, second = await bench.of(Finished)
        assert (first.outcome, first.attempt) == ("cancelled", 1) and first.content.text.startswith("so far")
        assert (second.outcome, second.attempt) == ("cancelled", 0)
        assert [(one.reason, one.detail) for one in await bench.of(Ended)] == [("cancelled", "enough")]

    run(main)


def test_a_cancellation_hangs_up_on_the_model(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        class Silent(Script):
            async def ask(self, request: Any, tell: Any) -> Any:
                await asyncio.Event().wait()

        bench = Bench(tmp_path, Silent())
        await bench.begin()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(bench.brain.run(SESSION))
            await bench.until(Asked)
            await bench.person(Said(text="wait"))
            await bench.person(Cancelled(by="ann"))
            async with asyncio.timeout(5):
                assert await running == "rest"
        assert [failed.code for failed in await bench.of(Failed)] == ["cancelled"]
        assert [ended.reason for ended in await bench.of(Ended)] == ["cancelled"]
        bench.parts.model.__class__ = Script
        await bench.person(Said(text="go on"))
        assert await bench.brain.run(SESSION) == "rest"
        assert [ended.reason for ended in await bench.of(Ended)] == ["cancelled", "done"]

    run(main)


def test_a_question_lets_go_and_its_answer_goes_on(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, Script([call("c1", "look", '{"say": "x"}')]), Made("look", echo))
        bench.judge.verdict = "ask"
        await bench.begin(approval_s=60.0)
        assert await bench.brain.run(SESSION) == "rest"
        [question] = await bench.of(Question)
        assert question.arguments_sha256 == arguments_sha256('{"say": "x"}')
        assert question.expires_at_ns == bench.clock.now_ns() + 60 * SECOND
        row = await bench.store.row(SESSION)
        assert row is not None and (row.standing.status, row.owner, await bench.store.due()) == ("waiting", "", [])
        sha256 = question.arguments_sha256
        await bench.person(Answer(approval=question.approval, approved=True, arguments_sha256=sha256, by="ann"))
        assert await bench.store.due() == [SESSION] and await bench.brain.run(SESSION) == "rest"
        [started] = await bench.of(Started)
        assert started.approval == question.approval
        assert [woken.epoch for woken in await bench.of(Woken)] == [1, 2]

    run(main)


def test_nobody_answers(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, Script([call("c1", "look")]), Made("look", echo))
        bench.judge.verdict = "ask"
        await bench.begin(approval_s=60.0)
        await bench.brain.run(SESSION)
        bench.clock.advance(60 * SECOND)
        assert await bench.store.due() == [SESSION] and await bench.brain.run(SESSION) == "rest"
        [finished] = await bench.of(Finished)
        assert (finished.outcome, finished.attempt) == ("expired", 0) and not await bench.of(Started)

    run(main)


def test_a_failure_of_the_model_is_tried_again_in_its_time(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        model = Script(broke(), broke(retry_after_s=9.0), broke("unpriced", 403))
        bench = Bench(tmp_path, model)
        await bench.begin()
        for wait_s in (1, 9):
            assert await bench.brain.run(SESSION) == "rest" and await bench.store.due() == []
            bench.clock.advance(wait_s * SECOND)
            assert await bench.store.due() == [SESSION]
        assert await bench.brain.run(SESSION) == "rest"
        assert [(f.code, f.retry_at_ns is None) for f in await bench.of(Failed)] == [
            ("upstream_error", False),
            ("upstream_error", False),
            ("unpriced", True),
        ]
        [ended] = await bench.of(Ended)
        assert (ended.reason, ended.detail) == ("failed", "unpriced: no")

    run(main)


def test_watchers_hear_the_words_as_they_come(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async def speaks(arguments: dict[str, Any], use: Use) -> Done:
            use.emit("stderr", b"careful")
            return Done(content=b"x")

        bench = Bench(tmp_path, Script([Text(text="hello"), call("c1", "look")]), Made("look", speaks))
        await bench.begin()
        with bench.feed.watch(SESSION) as watcher:
            await bench.brain.run(SESSION)
            watcher.close()
            deltas = [delta async for delta in watcher.deltas()]
        assert deltas == [
            Delta(of="text", text="hello", step=1),
            Delta(of="stderr", text="careful", call_id="c1"),
            Delta(of="text", text="done", step=2),
        ]

    run(main)


def test_a_process_that_ends_finishes_its_step_and_lets_go(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        draining = False

        async def ends(arguments: dict[str, Any], use: Use) -> Done:
            nonlocal draining
            draining = True
            return Done(content=b"x")

        bench = Bench(tmp_path, Script([call("c1", "look")]), Made("look", ends))
        await bench.begin()
        assert await bench.brain.run(SESSION, draining=lambda: draining) == "draining"
        assert isinstance((await bench.events())[-1], Finished), "what the tool gave back is not lost"
        draining = False
        assert await bench.store.due() == [SESSION] and await bench.brain.run(SESSION) == "rest"
        assert len(await bench.of(Started)) == 1

    run(main)


def test_a_lost_lease_kills_what_runs_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def forever(arguments: dict[str, Any], use: Use) -> Done:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            raise AssertionError

        ticks: asyncio.Queue[None] = asyncio.Queue()

        async def tick(seconds: float) -> None:
            if seconds > 1:  # not what waits before it watches
                await ticks.get()

        bench = Bench(tmp_path, Script([call("c1", "hang")]), Made("hang", forever))
        object.__setattr__(bench.parts, "sleep", tick)
        await bench.begin()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(bench.brain.run(SESSION))
            await bench.until(Started)
            bench.clock.advance(31 * SECOND)
            assert await bench.store.take(SESSION, "two", ttl_s=30)
            ticks.put_nowait(None)
            async with asyncio.timeout(5):
                assert await running == "lost"
        assert ended.is_set() and not await bench.of(Finished)
        row = await bench.store.row(SESSION)
        assert row is not None and row.owner == "two", "it did not give back what is another's"

    run(main)


def test_a_denial_in_mode_auto_is_counted_and_told(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, Script([call("c1", "look")]), Made("look", echo))
        bench.judge.verdict = "deny"
        await bench.begin()
        await bench.brain.run(SESSION)
        assert [(one.verdict, one.why) for one in await bench.of(Decided)] == [("deny", "by the test")]
        assert "Not allowed: by the test" in str(bench.model.shown())

    run(main)


class Door:
    """Of one tool, and servers that are away."""

    def __init__(self) -> None:
        self.broken = False
        self.tries = 0
        self.gone: dict[str, str] = {}

    async def tools(self, session: str, state: Any) -> Any:
        if self.broken:
            self.tries += 1
            raise RemoteError(f"away; tried again in {self.tries}.5 s")
        return [Made("srv__look", echo)]

    def away(self, session: str) -> dict[str, str]:
        return self.gone


def test_a_tool_server_that_is_away_is_told_once_and_the_others_work(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        door, bench = Door(), Bench(tmp_path, Script())
        object.__setattr__(bench.parts, "door", door)
        orders: list[bool] = []
        await bench.begin()
        for number, gone in enumerate(({"dead": "no; tried again in 3 s"}, {"dead": "no; tried again in 1 s"}, {})):
            door.gone = gone
            bench.model._replies = [[call(f"c{number}", "srv__look")]]
            await bench.person(Said(text="look"))
            await bench.brain.run(SESSION)
            orders.append(
                "do not answer now, so you have none of their tools: dead." in str(bench.model.asked[-1].body)
            )
        assert [one.outcome for one in await bench.of(Finished)] == ["ok", "ok", "ok"]
        assert [note.text for note in await bench.of(Note) if "away" in note.data] == [
            "the tool server dead does not answer, and its tools are not there: no; tried again in 3 s",
            "the tool server dead answers again",
        ]
        assert orders == [True, True, False], "the model is told as long as it is so"

    run(main)


def test_tools_behind_a_door_that_is_shut_are_missing_not_fatal(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        door = Door()
        bench = Bench(tmp_path, Script([call("c1", "srv__look")]))
        object.__setattr__(bench.parts, "door", door)
        await bench.begin()
        await bench.brain.run(SESSION)
        [note] = await bench.of(Note)
        assert note.text == "tools behind the door: new: srv__look"
        door.broken = True
        await bench.person(Said(text="again"))
        bench.model._replies = [[call("c2", "srv__look")]]
        await bench.brain.run(SESSION)
        results = await bench.of(Finished)
        assert [one.outcome for one in results] == ["ok", "invalid"]
        await bench.person(Said(text="once more"))
        await bench.brain.run(SESSION)
        assert door.tries == 2
        told = ["the tools behind the door cannot be had: away; tried again in 1.5 s"]
        assert [note.text for note in await bench.of(Note)][1:] == told, "once, whatever the time is"

    run(main)
