"""Whatever dies, and wherever: what is recorded never runs again, once-only effects happen once, two brains never act
at once. And each way to break that is seen.

`INTERLOCK_TEST_SEED=N` runs one seed; `INTERLOCK_TEST_SEEDS=5000` more of them.
"""

import os

import pytest
from tests.sim.brain import World
from tests.sim.brain_auditor import audit
from tests.sim.brain_mutants import planted

from interlock.runtime.brain.action import POINTS, Point
from interlock.testing.loops import run_on

SEEDS = int(os.environ.get("INTERLOCK_TEST_SEEDS", "300"))
ONE = os.environ.get("INTERLOCK_TEST_SEED")


def simulate(seed: int, kill_at: tuple[Point, int] | None = None) -> World:
    """One run and its audit."""
    world = World(seed, kill_at)

    async def main() -> None:
        await world.run()
        await audit(world)

    try:
        run_on("uvloop", main)
    except BaseException as error:
        error.add_note(f"INTERLOCK_TEST_SEED={seed}, killed at {kill_at}")
        raise
    return world


def test_nothing_recorded_runs_again_and_nothing_happens_twice() -> None:
    hit: dict[Point, int] = {}
    kills = 0
    for seed in [int(ONE)] if ONE else range(SEEDS):
        world = simulate(seed)
        kills += world.kills
        for point, count in world.hit.items():
            hit[point] = hit.get(point, 0) + count
    if not ONE:
        assert hit.keys() == set(POINTS), f"never reached: {set(POINTS) - hit.keys()}"
        assert kills > SEEDS / 2


@pytest.mark.parametrize("point", POINTS)
def test_a_brain_may_die_at_each_of_its_points(point: Point) -> None:
    killed = 0
    for seed in range(1000, 1012):
        for time in (1, 3):
            killed += simulate(seed, (point, time)).kills
    assert killed > 0, f"{point} was never reached"


BUGS: dict[str, tuple[str, str, str]] = {
    "a once-only call runs again": ("decide", 'if started.effect != "once":', "if started.effect:"),
    "another attempt has another key": ("decide", "key=started.key, effect", 'key=started.key + "x", effect'),
    "attempts are not counted": ("decide", "attempt=started.attempt + 1,", "attempt=started.attempt,"),
    "an approval holds for any arguments": ("decide", "same = answer.arguments_sha256 ==", "same = True or answer =="),
    "a late approval holds": ("decide", "if asking.answered_at_ns > question.expires_at_ns:", "if False:"),
    "a refusal is no refusal": ("decide", "if not answer.approved:", "if False:"),
    "an approval is not taken by its start": ("running", "approval=attempt.approval,", 'approval="",'),
    "a denied call runs": ("decide", 'if calling.decided.verdict == "deny":', "if False:"),
    "a call starts before it is written down": (
        "running",
        'if not await desk.flush("tool.started"):',
        "if False:",
    ),
    "plans are written wherever the log stands": ("desk", "self._staged if fact]", "self._staged]"),
    "a result is lost when the log has moved on": (
        "desk",
        "self._put(event, fact=True)\n            return False",
        "pass\n            return False",
    ),
    "a brain whose lease runs out goes on": ("loop", "raise LeaseLost from error", "continue"),
    "an append of unknown outcome is made again": ("desk", "await self._stands(events)", "False"),
    "what tools say is the user's word": (
        "context",
        'yield Turn(role="user", pieces=results)',
        'yield Turn(role="user", pieces=tuple(Text(text=r.text) for r in results))',
    ),
    "a turn ends and leaves calls behind": ("loop", "*map(_closed, action.closes), Ended", "Ended"),
    "the budget is not looked at": (
        "decide",
        "    limit = over_budget(state)\n    if limit:\n        return",
        "    if 0:\n        return",
    ),
    "a summary is written without its step": (
        "asking",
        "return answered, Cut(",
        'return Failed(step=asked.step, code="x", message="x"), Cut(',
    ),
    "more is cut than was summed up": ("asking", "before_seq=asked.until_seq", "before_seq=state.seq"),
    "a cut is applied twice": (
        "asking",
        "return answered, Cut(",
        'return answered, Cut(kind="summary", before_seq=asked.until_seq, summary=summary_of(heard)), Cut(',
    ),
    "half a summary stands for a whole one": ("summary", 'if heard.finish not in ("stop", "stop_sequence"):', "if 0:"),
    "more is summed up than is cut": ("summary", " if entry.seq <= until_seq]\n    return", "]\n    return"),
    "what tools say is told as the user's in a summary": ("summary", "f\"a tool {'failed", "f\"the user {'failed"),
    "a turn ends because there is no summary": ("decide", "not state.unheard and not state.summarising", "1"),
    "a summary that will not come is asked for for ever": (
        "decide",
        "if state.summarising and failed",
        "if 0 and failed",
    ),
    "a person asks for a summary and a turn begins": ("decide", "if state.compact_seq:", "if 0:"),
    "nobody is told why there is no summary": ("decide", "cut = msgspec.structs.replace(cut, why=why)", "pass"),
    "an answer is put behind what was said later": ("asking", "state.calls.__contains__", "lambda id: False"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(bug: str) -> None:
    with planted(*BUGS[bug]) as mutant:
        for seed in range(SEEDS):
            try:
                mutant.simulate(seed)
            except BaseException as error:
                assert not isinstance(error, KeyboardInterrupt | SystemExit)
                return
    raise AssertionError(f"{SEEDS} seeds, and nobody noticed")
