"""Runs of tools: their order, their results, and the sandbox that they get."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.brain.rig import SECOND, SESSION, Allows, Bench, Made, Script, call

from interlock.errors import HandsLost, HandsUnavailable, LocalError
from interlock.runtime.brain.tools.ports import Done, Tool, Use
from interlock.runtime.hands import Resources, Sandbox
from interlock.runtime.sessions.event import Blob, Ended, Finished, HandsGone, Provisioned, Said, Text, Verdict
from interlock.runtime.sessions.state import State

Run = Callable[..., Any]


async def echo(arguments: dict[str, Any], use: Use) -> Done:
    return Done(content=str(arguments.get("say", "")).encode())


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LocalError("no such file"), "no such file"),
        (HandsUnavailable("none of the kind here"), "none of the kind here"),
        (ValueError("a secret"), "The tool failed by a defect of its own."),
    ],
)
def test_whatever_a_tool_raises_is_a_result_and_the_session_lives(
    run: Run, tmp_path: Path, error: Exception, text: str
) -> None:
    async def main() -> None:
        async def fails(arguments: dict[str, Any], use: Use) -> Done:
            raise error

        bench = Bench(tmp_path, Script([call("c1", "look")]), Made("look", fails))
        await bench.begin()
        assert await bench.brain.run(SESSION) == "rest"
        [finished] = await bench.of(Finished)
        assert (finished.outcome, finished.content.text) == ("error", text)
        assert [ended.reason for ended in await bench.of(Ended)] == ["done"]

    run(main)


def test_a_long_result_is_kept_beside_the_log_and_can_be_read(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        got: list[bytes | None] = []

        async def long(arguments: dict[str, Any], use: Use) -> Done:
            return Done(content=b"line\n" * 100_000)

        async def look(arguments: dict[str, Any], use: Use) -> Done:
            got.extend([await use.blob(arguments["hash"]), await use.blob("0" * 64)])
            return Done(content=b"")

        class Reads(Script):
            async def ask(self, request: Any, tell: Any) -> Any:
                blobs = [one.content.sha256 for one in await bench.of(Finished) if isinstance(one.content, Blob)]
                if blobs and len(self.asked) == 1:
                    self._replies = [[call("c2", "look", f'{{"hash": "{blobs[0]}"}}')]]
                return await super().ask(request, tell)

        bench = Bench(tmp_path, Reads([call("c1", "long")]), Made("long", long), Made("look", look))
        await bench.begin()
        assert await bench.brain.run(SESSION) == "rest"
        [first, _] = await bench.of(Finished)
        assert first.content.bytes == 500_000 and first.content.head.startswith("line\n")
        assert got == [b"line\n" * 100_000, None]
        assert "500000 bytes in all" in str(bench.model.shown(1)[-1])

    run(main)


def test_pure_calls_run_at_once_and_others_in_order(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        order: list[str] = []
        both = asyncio.Barrier(2)

        async def together(arguments: dict[str, Any], use: Use) -> Done:
            await both.wait()
            return Done(content=b"x")

        async def alone(arguments: dict[str, Any], use: Use) -> Done:
            order.append(f"begin {arguments['say']}")
            await asyncio.sleep(0)
            order.append(f"end {arguments['say']}")
            return Done(content=b"x")

        calls = [call("a", "pure"), call("b", "pure"), call("c", "pay", '{"say": 1}'), call("d", "pay", '{"say": 2}')]
        bench = Bench(tmp_path, Script(calls), Made("pure", together, "pure"), Made("pay", alone))
        await bench.begin()
        async with asyncio.timeout(10):
            assert await bench.brain.run(SESSION) == "rest"
        assert order == ["begin 1", "end 1", "begin 2", "end 2"]
        assert len(await bench.of(Finished)) == 4

    run(main)


class Box:
    """A sandbox in name."""

    strength = "process"

    def __init__(self, id: str, session: str, made_at_ns: int) -> None:
        self.id, self.session, self.gone, self.workspace_made_at_ns = id, session, False, made_at_ns

    async def destroy(self) -> None:
        self.gone = True


class Boxes:
    """Hands that count."""

    name = "bubblewrap"
    strength = "process"

    def __init__(self) -> None:
        self.boxes: list[Box] = []
        self.made_at_ns = 1

    async def missing(self) -> list[str]:
        return []

    async def provision(self, session: str, workspace: str, resources: Resources) -> Box:
        self.boxes.append(Box(f"sbx_{len(self.boxes)}", session, self.made_at_ns))
        return self.boxes[-1]


def test_a_sandbox_is_provisioned_when_it_is_needed_and_once(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async def uses(arguments: dict[str, Any], use: Use) -> Done:
            return Done(content=(await use.sandbox()).id.encode())

        async def loses(arguments: dict[str, Any], use: Use) -> Done:
            await use.sandbox()
            raise HandsLost("out of memory")

        hands = Boxes()
        calls = [call("a", "uses"), call("b", "uses"), call("c", "loses")]
        model = Script(calls, [call("d", "uses")])
        tools = (Made("uses", uses, "pure"), Made("loses", loses))
        bench = Bench(tmp_path, model, *tools, hands={"bubblewrap": hands})
        await bench.begin()
        assert await bench.brain.run(SESSION) == "rest"
        kinds = [type(event).__name__ for event in await bench.events()]
        assert kinds.index("Provisioned") > kinds.index("Answered"), "the first token does not wait for it"
        assert [p.sandbox for p in await bench.of(Provisioned)] == ["sbx_0", "sbx_1"]
        assert [gone.sandbox for gone in await bench.of(HandsGone)] == ["sbx_0"]
        assert hands.boxes[0].gone and not hands.boxes[1].gone
        results = {one.call_id: one for one in await bench.of(Finished)}
        assert results["c"].outcome == "unknown" and "out of memory" in results["c"].content.text
        assert results["d"].content.text == "sbx_1"
        bench.clock.advance(121 * SECOND)
        await bench.parts.rack.sweep()
        assert hands.boxes[1].gone, "put away"
        await bench.person(Said(text="again"))
        assert await bench.brain.run(SESSION) == "rest"
        assert [gone.sandbox for gone in await bench.of(HandsGone)] == ["sbx_0", "sbx_1"]

    run(main)


def test_another_workspace_than_the_last_is_told_once_before_a_call_runs_in_it(run: Run, tmp_path: Path) -> None:
    """To a call that was judged without a sandbox. Nothing of it ran, so its outcome is known."""

    async def main() -> None:
        ran: list[str] = []

        async def uses(arguments: dict[str, Any], use: Use) -> Done:
            ran.append((await use.sandbox()).id)
            return Done(content=b"ran")

        hands, done = Boxes(), (Text(text="done"),)
        model = Script([call("a", "uses")], done, [call("b", "uses")], [call("c", "uses")], done, [call("d", "uses")])
        bench = Bench(tmp_path, model, Made("uses", uses), hands={"bubblewrap": hands})
        await bench.begin()
        assert await bench.brain.run(SESSION) == "rest"
        for hands.made_at_ns in (2, 2):
            await bench.parts.rack.close()
            await bench.person(Said(text="again"))
            assert await bench.brain.run(SESSION) == "rest"
        assert ran == ["sbx_0", "sbx_2", "sbx_3"], "not in the one that found another workspace"
        [gone] = [gone for gone in await bench.of(HandsGone) if gone.workspace]
        results = {one.call_id: one for one in await bench.of(Finished)}
        assert results["b"].outcome == "error" and gone.reason in results["b"].content.text
        assert "the workspace stays" not in results["b"].content.text
        assert [results[name].content.text for name in "acd"] == ["ran"] * 3

    run(main)


def test_who_speaks_while_it_is_found_does_not_keep_it_from_the_model(run: Run, tmp_path: Path) -> None:
    """By a rule that looks into the workspace: what was to be told with the verdict goes with the next one."""

    async def main() -> None:
        async def uses(arguments: dict[str, Any], use: Use) -> Done:
            return Done(content=b"ran")

        class Looks(Allows):
            async def judge(
                self, state: State, tool: Tool, arguments: dict[str, Any], sandbox: Callable[[], Awaitable[Sandbox]]
            ) -> tuple[Verdict, str]:
                try:
                    await sandbox()
                except HandsLost:
                    if len(await bench.of(Said)) < 3:
                        await bench.person(Said(text="wait"))
                    raise
                return "allow", "by the test"

        hands = Boxes()
        model = Script([call("a", "uses")], (Text(text="done"),), [call("b", "uses")], [call("c", "uses")])
        bench = Bench(tmp_path, model, Made("uses", uses), hands={"bubblewrap": hands})
        object.__setattr__(bench.parts, "judge", Looks())
        await bench.begin()
        assert await bench.brain.run(SESSION) == "rest"
        await bench.parts.rack.close()
        hands.made_at_ns = 2
        await bench.person(Said(text="again"))
        assert await bench.brain.run(SESSION) == "rest"
        assert len(await bench.of(Said)) == 3
        [gone] = [gone for gone in await bench.of(HandsGone) if gone.workspace]
        results = {one.call_id: one for one in await bench.of(Finished)}
        assert results["b"].outcome == "denied" and gone.reason in results["b"].content.text
        assert results["c"].outcome == "ok"

    run(main)
