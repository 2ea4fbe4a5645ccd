"""Programs that run in the hands in place of the loop."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.runtime.brain.books import AMOUNT, TOKENS, Books
from tests.runtime.brain.rig import SECOND, SESSION, Bench, Script, begun

from interlock.clock import SystemClock
from interlock.runtime.brain import bridge
from interlock.runtime.brain.bridge import (
    ARGUMENT_BYTES_MAX,
    NOTE_BYTES_MAX,
    NOTES_MAX,
    REFUSED_S,
    command_of,
    environment,
    prompt_of,
)
from interlock.runtime.brain.feed import Delta
from interlock.runtime.hands import Resources
from interlock.runtime.hands.process import Process
from interlock.runtime.hands.workspaces import Workspaces
from interlock.runtime.sessions.agent import Budget
from interlock.runtime.sessions.event import (
    Answered,
    Asked,
    Called,
    Cancelled,
    Connected,
    Ended,
    Failed,
    HandsGone,
    Metered,
    Note,
    Raised,
    Said,
    Text,
)
from interlock.runtime.sessions.state import fold

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is looked after ten times as often."""
    monkeypatch.setattr(bridge, "PAUSE_S", 0.1)


class Open(Process):
    """Plain processes for a program that asks for egress, which they cannot deny anyway."""

    def __init__(self, directory: Path) -> None:
        super().__init__(Workspaces(directory / "workspaces", SystemClock(), own_users=False), SystemClock())
        self.asked: list[tuple[str, ...]] = []

    async def provision(self, session: str, workspace: str, resources: Resources) -> Any:
        self.asked.append(resources.egress)
        return await super().provision(session, workspace, msgspec.structs.replace(resources, egress=()))


def bench_of(directory: Path, books: Books | None = None) -> Bench:
    bench = Bench(directory, Script(), hands={"process": Open(directory)})
    if books is not None:
        object.__setattr__(bench.parts, "attempts", books.attempts)
    return bench


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


def test_a_program_is_not_run_in_another_workspace_than_its_last_without_a_word(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = bench_of(tmp_path)
        await ran(bench, "echo here >> file; wc -l < file")
        bench.parts.rack._hands["process"].workspaces.remove("wsp_1")  # type: ignore[attr-defined]  # Open has them
        for _ in range(2):
            await bench.person(Said(text="again"))
            assert await bench.brain.run(SESSION) == "rest"
            await bench.parts.rack.close()
        [gone] = [gone for gone in await bench.of(HandsGone) if gone.workspace]
        assert [ended.reason for ended in await bench.of(Ended)] == ["done", "failed", "done"]
        assert gone.reason in (await bench.of(Ended))[1].detail
        assert [answer.parts[0].text for answer in await bench.of(Answered)] == ["1", "1"]

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


def test_a_budget_that_is_used_up_begins_no_run(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = bench_of(tmp_path)
        await ran(bench, "echo ran > ran", budget=Budget(steps=0))
        assert [ended.reason for ended in await bench.of(Ended)] == ["budget"]
        assert not await bench.of(Asked)

    run(main, blocking_s=1.0)


def test_its_time_is_the_session_s(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        bench = bench_of(tmp_path)
        await bench.begin(program=("sh", "-c", "echo begun; sleep 600"), hands="process", budget=Budget(wall_s=0.5))
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            running = group.create_task(bench.brain.run(SESSION))
            await bench.until(Asked)
            bench.clock.advance(SECOND)
        assert running.result() == "rest"
        [failed] = await bench.of(Failed)
        assert "time is up" in failed.message
        assert [(ended.reason, ended.detail) for ended in await bench.of(Ended)] == [("budget", "0.5 s of work")]
        await bench.parts.rack.close()

    run(main, blocking_s=1.0)


WAITS = 'read line; echo "heard: $line"; while [ ! -e go ]; do sleep 0.05; done; rm go; echo finished; exit $1'


async def called(bench: Bench, books: Books, name: str) -> str:
    """A call from within the run under way; why it was refused."""
    admission = await bench.parts.rack.admit(SESSION, "POST", "/v1/messages")
    if not admission.why_not:
        books.call(name)
        admission.over()
    return admission.why_not


async def go(bench: Bench) -> None:
    box: Any = bench.parts.rack.held(SESSION)
    await box.write("go", b"")


@pytest.mark.parametrize("status", ["0", "3"])
def test_a_run_that_was_refused_ends_for_want_of_budget_and_begins_again_when_it_is_raised(
    run: Run, tmp_path: Path, status: str
) -> None:
    async def main() -> None:
        books = Books(tmp_path)
        bench = bench_of(tmp_path, books)
        argv = ("sh", "-c", WAITS, "sh", status)
        await bench.begin("please", program=argv, hands="process", budget=Budget(tokens=TOKENS))
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            running = group.create_task(bench.brain.run(SESSION))
            await bench.until(Note)
            assert not await called(bench, books, "1")
            assert "15 tokens" in await called(bench, books, "2")
            await go(bench)
        assert running.result() == "rest"
        [failed], [ended] = await bench.of(Failed), await bench.of(Ended)
        assert failed.code == "budget_exceeded" and (ended.reason, ended.detail) == ("budget", "15 tokens")
        state = fold(await bench.store.events(SESSION))
        assert (state.steps, state.tokens, state.amount_nanousd) == (1, TOKENS, AMOUNT)

        await bench.person(Raised(by="ann", budget=Budget(tokens=9 * TOKENS)))
        notes = len(await bench.of(Note))
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            running = group.create_task(bench.brain.run(SESSION))
            await bench.until(Note, notes + 1)
            assert (await bench.of(Note))[notes].text == "heard: please", "it is told the same again"
            assert not await called(bench, books, "3")
            await go(bench)
        assert [ended.reason for ended in await bench.of(Ended)][1] == ("failed" if status != "0" else "done")
        assert fold(await bench.store.events(SESSION)).tokens == 2 * TOKENS
        assert await called(bench, books, "4"), "between runs nobody is let through"
        await bench.parts.rack.close()
        books.close()

    run(main, blocking_s=1.0)


def test_a_run_that_goes_on_without_a_budget_is_ended(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        books = Books(tmp_path)
        bench = bench_of(tmp_path, books)
        beats = "echo on; while sleep 0.05; do [ ! -e go ] || { rm go; echo beat; }; done"
        await bench.begin(program=("sh", "-c", beats), hands="process", budget=Budget(steps=1))
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            running = group.create_task(bench.brain.run(SESSION))
            await bench.until(Note)
            assert not await called(bench, books, "1") and await called(bench, books, "2")
            await bench.person(Raised(by="ann", budget=Budget(steps=2)))
            bench.clock.advance(int(REFUSED_S * SECOND))
            for notes in (2, 3):  # at the second beat it has been looked after since
                await go(bench)
                await bench.until(Note, notes)
            assert not await called(bench, books, "2"), "it was raised in time"
            assert await called(bench, books, "3")
            bench.clock.advance(int(REFUSED_S * SECOND))
        assert running.result() == "rest"
        [failed] = await bench.of(Failed)
        assert failed.code == "budget_exceeded" and "after its calls were refused" in failed.message
        assert [ended.reason for ended in await bench.of(Ended)] == ["budget"]
        await bench.parts.rack.close()
        books.close()

    run(main, blocking_s=1.0)


def test_a_call_that_ends_with_the_program_is_waited_for(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        books = Books(tmp_path)
        bench = bench_of(tmp_path, books)
        waited = asyncio.Event()

        async def sleep(seconds: float) -> None:
            waited.set()
            await asyncio.sleep(seconds)

        object.__setattr__(bench.parts, "sleep", sleep)
        await bench.begin(program=("sh", "-c", WAITS, "sh", "0"), hands="process")
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            running = group.create_task(bench.brain.run(SESSION))
            await bench.until(Note)
            admission = await bench.parts.rack.admit(SESSION, "POST", "/v1/messages")
            books.open("1")
            await go(bench)
            waited.clear()
            await bench.until(Note, 2)
            await waited.wait()
            admission.over()
            books.settle("1")
        assert running.result() == "rest" and fold(await bench.store.events(SESSION)).tokens == TOKENS
        await bench.parts.rack.close()
        books.close()

    run(main, blocking_s=1.0)


def test_what_a_dead_worker_s_run_has_used_is_asked_of_the_ledger(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        books = Books(tmp_path)
        bench = bench_of(tmp_path, books)
        await bench.begin(program=("sh", "-c", "echo on; sleep 600"), hands="process")
        running = asyncio.ensure_future(bench.brain.run(SESSION))
        await bench.until(Note)
        admission = await bench.parts.rack.admit(SESSION, "POST", "/v1/messages")
        assert not admission.why_not
        running.cancel()
        await asyncio.wait([running])
        await bench.parts.rack.drop(SESSION)
        books.call("1")
        bench.clock.advance(60 * SECOND)
        assert await bench.brain.run(SESSION) == "rest"
        state = fold(await bench.store.events(SESSION))
        assert (state.steps, state.tokens) == (1, TOKENS) and len(await bench.of(Metered)) == 1
        assert [failed.code for failed in await bench.of(Failed)] == ["unknown_outcome"]
        books.close()

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
