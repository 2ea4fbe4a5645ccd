"""Programs that run in the hands in place of the loop."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.runtime.brain.rig import SESSION, Bench, Script, begun

from interlock.clock import SystemClock
from interlock.runtime.brain.bridge import (
    ARGUMENT_BYTES_MAX,
    NOTE_BYTES_MAX,
    NOTES_MAX,
    command_of,
    environment,
    prompt_of,
)
from interlock.runtime.brain.feed import Delta
from interlock.runtime.hands import Resources
from interlock.runtime.hands.process import Process
from interlock.runtime.hands.workspaces import Workspaces
from interlock.runtime.sessions.event import (
    Answered,
    Asked,
    Budget,
    Called,
    Cancelled,
    Connected,
    Ended,
    Failed,
    Note,
    Said,
    Text,
)

Run = Callable[..., Any]


class Open(Process):
    """Plain processes for a program that asks for egress, which they cannot deny anyway."""

    def __init__(self, directory: Path) -> None:
        super().__init__(Workspaces(directory / "workspaces", SystemClock(), own_users=False), SystemClock())
        self.asked: list[tuple[str, ...]] = []

    async def provision(self, session: str, workspace: str, resources: Resources) -> Any:
        self.asked.append(resources.egress)
        return await super().provision(session, workspace, msgspec.structs.replace(resources, egress=()))


def bench_of(directory: Path) -> Bench:
    return Bench(directory, Script(), hands={"process": Open(directory)})


async def ran(bench: Bench, script: str, say: str = "do it", **agent: Any) -> None:
    await bench.begin(say, program=("sh", "-c", script), hands="process", **agent)
    assert await bench.brain.run(SESSION) == "rest"
    await bench.parts.rack.close()


def test_a_programs_lines_are_notes_and_its_last_words_the_answer(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = bench_of(tmp_path)
        with bench.feed.watch(SESSION) as watcher:
            await ran(bench, 'read line; echo "heard: $line"; echo oops >&2; echo $OPENAI_BASE_URL', "please")
            watcher.close()
            deltas = [delta async for delta in watcher.deltas()]
        assert {delta.of for delta in deltas} == {"stdout", "stderr"} and all(isinstance(one, Delta) for one in deltas)
        notes = [(note.data["stream"], note.text) for note in await bench.of(Note)]
        said = "\n".join(text for stream, text in notes if stream == "stdout")
        assert said == "heard: please\nhttp://interlock.internal/v1" and ("stderr", "oops") in notes
        [answer] = await bench.of(Answered)
        assert answer.parts == (Text(text="heard: please\nhttp://interlock.internal/v1"),)
        assert [ended.reason for ended in await bench.of(Ended)] == ["done"]
        hands: Any = bench.parts.rack._hands["process"]
        assert hands.asked == [("interlock.internal:80",)]

    run(main, blocking_s=1.0)


def test_each_turn_is_one_run_with_what_was_said_since(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = bench_of(tmp_path)
        await ran(bench, "cat >> said; wc -l < said", "one\n")
        await bench.person(Said(text="two\n"))
        await bench.person(Said(text="three\n"))
        assert await bench.brain.run(SESSION) == "rest"
        await bench.parts.rack.close()
        assert [answer.parts[0].text for answer in await bench.of(Answered)] == ["1", "5"]
        assert len(await bench.of(Asked)) == 2 and await bench.of(Called) == [], "a run is no model call"

    run(main, blocking_s=1.0)


def test_a_program_that_fails_says_so(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = bench_of(tmp_path)
        await ran(bench, "echo trying; exit 3")
        [failed] = await bench.of(Failed)
        assert failed.code == "program_failed" and "exit status 3" in failed.message
        assert [ended.reason for ended in await bench.of(Ended)] == ["failed"]

    run(main, blocking_s=1.0)


def test_a_cancellation_kills_it(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = bench_of(tmp_path)
        await bench.begin(program=("sh", "-c", "echo begun; sleep 600"), hands="process")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(bench.brain.run(SESSION))
            await bench.until(Note)
            await bench.person(Cancelled(by="ann", reason="enough"))
            async with asyncio.timeout(10):
                assert await running == "rest"
        assert [failed.code for failed in await bench.of(Failed)] == ["cancelled"]
        assert [(ended.reason, ended.detail) for ended in await bench.of(Ended)] == [("cancelled", "enough")]
        await bench.parts.rack.close()

    run(main, blocking_s=1.0)


def test_a_program_whose_worker_died_is_not_started_again(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = bench_of(tmp_path)

        class Killed(BaseException):
            pass

        def dies(point: str) -> None:
            if point == "model.answered.after":
                raise Killed

        object.__setattr__(bench.parts, "at", dies)
        await bench.begin(program=("sh", "-c", "echo x >> effects"), hands="process")
        with pytest.raises(BaseExceptionGroup):
            await bench.brain.run(SESSION)
        object.__setattr__(bench.parts, "at", lambda point: None)
        assert await bench.brain.run(SESSION) == "rest"
        box: Any = bench.parts.rack.held(SESSION)
        assert await box.read("effects") == b"x\n", "once"
        assert [failed.code for failed in await bench.of(Failed)] == ["unknown_outcome"]
        [ended] = await bench.of(Ended)
        assert ended.reason == "failed" and "not known" in ended.detail
        await bench.parts.rack.close()

    run(main, blocking_s=1.0)


def test_a_flood_of_lines_is_bounded(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = bench_of(tmp_path)
        await ran(bench, f"seq 1 {NOTES_MAX * 300}; head -c 100000 /dev/zero; echo; echo last")
        notes = await bench.of(Note)
        assert len(notes) <= NOTES_MAX + 1 and "were not kept" in notes[-1].text
        assert all(len(note.text) <= NOTE_BYTES_MAX * 2 for note in notes)
        [answer] = await bench.of(Answered)
        assert answer.parts[0].text.endswith("last")

    run(main, blocking_s=1.0)


@pytest.mark.parametrize(("budget", "reason"), [(Budget(steps=0), "budget"), (Budget(wall_s=0.5), "failed")])
def test_its_budget_holds(run: Run, tmp_path: Path, budget: Budget, reason: str) -> None:
    async def main() -> None:
        bench = bench_of(tmp_path)
        async with asyncio.timeout(20):
            await ran(bench, "sleep 600", budget=budget)
        assert [ended.reason for ended in await bench.of(Ended)] == [reason]

    run(main, blocking_s=1.0)


def test_connections_are_written_down(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = bench_of(tmp_path)
        connected = Connected(sandbox="s", host="x.example", port=443, allowed=False, why="not listed")
        bench.parts.rack.report(SESSION, connected)
        await ran(bench, "true")
        assert await bench.of(Connected) == [connected]

    run(main, blocking_s=1.0)


def test_the_prompt_is_an_argument_or_standard_input() -> None:
    assert command_of(("agent", "-p", "{prompt}"), "hi", 9.0).argv == ("agent", "-p", "hi")
    assert command_of(("agent", "-p", "{prompt}"), "hi", 9.0).stdin == b""
    assert command_of(("agent",), "hi", 9.0).stdin == b"hi"
    long = "x" * (ARGUMENT_BYTES_MAX + 1)
    command = command_of(("agent", "{prompt}"), long, 9.0)
    assert command.argv == ("agent", "") and command.stdin == long.encode()
    assert command.env == environment() and "ils_" not in str(command.env)
    assert prompt_of(begun(Said(text="and"))) == "do it\n\nand"
