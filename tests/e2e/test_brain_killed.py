"""SIGKILL at any moment: no recorded step is lost or repeated; what was in flight is unknown, and not done again."""

import itertools
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.e2e.brain_child import STEPS
from tests.e2e.server import until
from tests.e2e.test_brain import begin

from interlock.clock import SystemClock
from interlock.runtime.sessions.agent import Agent, Budget
from interlock.runtime.sessions.event import Answered, Asked, Cut, Ended, Event, Finished, Said, Started
from interlock.runtime.sessions.sqlite import SqliteStore
from interlock.testing.loops import run_on

ROOT = Path(__file__).parents[2]
CLOCK = SystemClock()
KILLS = 6


def start(directory: Path, *point: str) -> "subprocess.Popen[bytes]":
    """A process that works on what is due; it kills itself at a point."""
    with (directory / "child.out").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.brain_child", str(directory), *point],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            stdout=said,
            stderr=said,
        )


def log_of(directory: Path, session: str) -> list[Event]:
    """What stands in the log now."""

    async def main() -> list[Event]:
        store = SqliteStore(directory / "sessions.sqlite", CLOCK)
        try:
            return [seen.event for seen in await store.events(session, limit=100_000)]
        finally:
            await store.close()

    return run_on("uvloop", main, blocking_s=5)


def log_of_the_end(directory: Path, process: "subprocess.Popen[bytes]") -> list[Event]:
    """Its log when a process that nobody kills has ended the turn."""
    try:
        until(lambda: isinstance(log_of(directory, "ses_1")[-1], Ended), "the turn ends", 60)
    finally:
        process.kill()
        process.wait(10)
    return log_of(directory, "ses_1")


def test_killed_again_and_again_it_counts_to_the_end(tmp_path: Path) -> None:
    rng = random.Random(7)
    agent = Agent(hands="process", tools=("shell",), budget=Budget(steps=None))

    async def prepare() -> None:
        store = SqliteStore(tmp_path / "sessions.sqlite", CLOCK)
        await begin(store, "ses_1", agent, "Count.")
        await store.close()

    run_on("uvloop", prepare, blocking_s=5)
    for _ in range(KILLS):
        before = len(log_of(tmp_path, "ses_1"))
        process = start(tmp_path)
        # a lease that a dead process holds runs out first; then some steps, and death in the middle of one
        wanted = before + rng.randrange(5, 40)
        until(lambda wanted=wanted: len(log_of(tmp_path, "ses_1")) >= wanted, "it goes on", 30)  # type: ignore[misc]  # bound now
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    events = log_of_the_end(tmp_path, start(tmp_path))
    [workspace] = (tmp_path / "workspaces").rglob("effects")
    effects = Counter(map(int, workspace.read_text().split()))
    results = {event.call_id: event.outcome for event in events if isinstance(event, Finished)}
    starts = Counter(event.call_id for event in events if isinstance(event, Started))
    assert set(results) == {f"c{number}" for number in range(STEPS)}, "every step has its result"
    assert set(results.values()) <= {"ok", "unknown"}
    assert max(starts.values()) == 1 and max(effects.values()) == 1, "nothing ran twice"
    for number in range(STEPS):
        assert effects[number] == 1 or results[f"c{number}"] == "unknown", (
            f"step {number} is recorded and did not happen"
        )
    assert sum(outcome == "unknown" for outcome in results.values()) <= KILLS


SEAMS = (
    *("summary.asked.before", "summary.asked.after", "summary.answered.after"),
    *("model.asked.before", "model.asked.after"),
)
"""Of a compaction: the last two of the append in which the summary's answer and its cut go out with the next step."""


@pytest.mark.parametrize("seam", SEAMS)
def test_killed_in_a_compaction_it_goes_on_and_no_summary_stands_half(tmp_path: Path, seam: str) -> None:
    agent = Agent(hands="process", tools=("shell",), context_tokens=1_500, budget=Budget(steps=None))

    async def prepare() -> None:
        store = SqliteStore(tmp_path / "sessions.sqlite", CLOCK)
        await begin(store, "ses_1", agent, "Make calls.")
        await store.close()

    run_on("uvloop", prepare, blocking_s=5)
    assert start(tmp_path, seam).wait(60) == -signal.SIGKILL
    events = log_of_the_end(tmp_path, start(tmp_path, seam))
    assert events[-1] == Ended(reason="done"), events[-1]
    assert [event.text for event in events if isinstance(event, Said)] == ["Make calls."]
    asked: Asked | None = None
    summaries = 0
    for event, following in itertools.pairwise(events):
        if isinstance(event, Asked):
            asked = event
        elif isinstance(event, Answered) and asked is not None and asked.until_seq:
            assert isinstance(following, Cut) and following.before_seq == asked.until_seq, "both or neither"
            summaries += 1
    assert summaries and summaries == sum(isinstance(event, Cut) for event in events), "each cut is a summary's"
    [workspace] = (tmp_path / "workspaces").rglob("effects")
    effects = Counter(workspace.read_text().split())
    assert max(effects.values()) == 1 and len(effects) == sum(isinstance(event, Started) for event in events)
