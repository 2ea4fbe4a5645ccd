"""The intake's thread: what is told to whom while it starts, works, and stops."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.intake.events import ORIGIN, Ledger, counted, event

from interlock.clock import SystemClock
from interlock.errors import InterlockError, TransientError
from interlock.intake import STREAM, Committer, Intake, Job, Outcome
from interlock.intake import service as service_module

Run = Callable[..., Any]


def intake(root: Path) -> Intake:
    return Intake(root / "journal", root / "index", SystemClock())


async def opened(root: Path) -> Intake:
    made = intake(root)
    made.start()
    async with asyncio.timeout(20):
        while not made.ready:
            await asyncio.sleep(0.002)
    return made


def test_nothing_is_taken_before_it_has_caught_up(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        made = intake(tmp_path)
        with pytest.raises(InterlockError) as caught:
            await made.take(ORIGIN, [event()])
        assert (caught.value.code, caught.value.status, made.problem) == ("not_ready", 503, "")
        with pytest.raises(InterlockError) as again:
            made.check()
        assert again.value is not caught.value  # a kept one would keep every body that it refused
        made.close()  # never started

    run(main)


def test_callers_at_once_share_a_sync_and_each_gets_its_own(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        made = await opened(tmp_path / "a")
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(made.take(ORIGIN, [event(f"e{n}"), event("same")])) for n in range(50)]
        results = [[outcome.result for outcome in call.result()] for call in calls]
        assert [first for first, _ in results] == ["counted"] * 50
        assert sorted(second for _, second in results) == ["counted"] + ["duplicate"] * 49
        made.close()

    run(main, blocking_s=1.0)


def test_a_caller_that_goes_away_is_not_heard_of_again(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        made = await opened(tmp_path / "b")
        call = asyncio.ensure_future(made.take(ORIGIN, [event("gone")]))
        await asyncio.sleep(0)
        call.cancel()
        [outcome] = await made.take(ORIGIN, [event("gone")])
        assert outcome.result == "duplicate"
        made.close()

    run(main, blocking_s=1.0)
    assert len(counted(tmp_path / "b")) == 1


def test_too_much_that_waits_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "WAITING_BYTES_MAX", 3 * len(event().canonical))

    async def main() -> None:
        made = await opened(tmp_path / "c")
        calls = [asyncio.ensure_future(made.take(ORIGIN, [event(f"{m}/{n}") for n in range(2)])) for m in range(3)]
        found = await asyncio.wait_for(asyncio.wait(calls), 20)
        assert found
        codes = [call.exception() for call in calls]
        assert [getattr(error, "code", None) for error in codes] == [None, "busy", "busy"]
        assert (await made.take(ORIGIN, [event(f"large/{n}") for n in range(5)]))[0].result == "counted"
        made.close()

    run(main, blocking_s=1.0)


def test_a_defect_is_told_and_the_next_ones_are_served(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, broken = Committer.commit, [True]

    def once(self: Committer, jobs: list[Job]) -> list[list[Outcome]]:
        if broken.pop() if broken else False:
            raise ZeroDivisionError("a defect")
        return commit(self, jobs)

    monkeypatch.setattr(Committer, "commit", once)

    async def main() -> None:
        broken[:] = [True]
        made = await opened(tmp_path / "d")
        with pytest.raises(InterlockError):
            await made.take(ORIGIN, [event()])
        assert (await made.take(ORIGIN, [event()]))[0].result in ("counted", "duplicate")
        made.close()

    run(main, blocking_s=1.0)


def test_what_was_handed_in_is_committed_before_it_closes(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        made = await opened(tmp_path / "e")
        calls = [asyncio.ensure_future(made.take(ORIGIN, [event(f"e{n}")])) for n in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(made.close)
        assert {outcome.result for call in calls for outcome in await call} <= {"counted", "duplicate"}

    run(main, blocking_s=1.0)
    assert len(counted(tmp_path / "e")) == 20


def test_a_second_owner_is_told(run: Run, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)

    async def main() -> None:
        made = intake(tmp_path)
        made.start()
        async with asyncio.timeout(20):
            while "another process" not in made.problem:
                await asyncio.sleep(0.002)
        made.close()

    run(main, blocking_s=1.0)
    ledger.close()


def test_catching_up_can_be_given_up(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.commit(event())
    ledger.close()
    again = Ledger(tmp_path)
    with pytest.raises(TransientError) as caught:
        again.committer.catch_up(lambda: True)
    assert caught.value.code == "draining"
    again.close()
    assert (tmp_path / "journal" / STREAM).is_dir()


@pytest.mark.parametrize("damage", ["truncated", "stray", "missing"])
def test_an_index_that_cannot_be_read_is_made_again(run: Run, tmp_path: Path, damage: str) -> None:
    root = tmp_path / damage
    ledger = Ledger(root, held_max=1)
    ledger.commit(event("e1"))
    ledger.close()
    [path] = (root / "index").glob("*.run")
    if damage == "truncated":
        (root / "index/index.json").write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    else:
        (root / "index/copy.run").write_bytes(b"x")

    async def main() -> None:
        made = await opened(root)
        assert [outcome.result for outcome in await made.take(ORIGIN, [event("e1")])] == ["duplicate"]
        made.close()

    run(main, blocking_s=1.0)


def test_a_start_that_fails_is_tried_again(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "AGAIN_S", 0.05)
    root = tmp_path / "journal" / STREAM
    root.parent.mkdir(parents=True, exist_ok=True)
    root.write_text("in the way")  # a file where a directory belongs

    async def main() -> None:
        if not root.exists():
            root.write_text("in the way")
        made = intake(tmp_path)
        made.start()
        async with asyncio.timeout(20):
            while not made.problem:
                await asyncio.sleep(0.002)
            assert not made.ready
            root.unlink()
            while not made.ready:
                await asyncio.sleep(0.002)
        made.close()
        shutil.rmtree(root)

    run(main, blocking_s=1.0)


def test_a_defect_at_the_start_is_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Committer, stopping: object) -> int:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Committer, "catch_up", broken)

    async def main() -> None:
        made = intake(tmp_path)
        made.start()
        async with asyncio.timeout(20):
            while "ZeroDivisionError" not in made.problem:
                await asyncio.sleep(0.002)
        made.close()

    run(main, blocking_s=1.0)
