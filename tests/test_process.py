"""Children are restarted, stopped and never left behind: with real processes, some of which do not want to go."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from interlock.clock import SystemClock
from interlock.process import HEALTHY_NS, Child, Exit, backoff_s, failures_after
from interlock.testing.loops import LOOPS, run_on

BOUND_S = 60

Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    # A fork may take longer than a callback should; a supervisor serves nobody meanwhile.
    return lambda main: run_on(request.param, lambda: asyncio.wait_for(main(), BOUND_S), blocking_s=2.0)


class StillClock:
    """Every run seems to have lasted as long as `step_ns`."""

    def __init__(self, step_ns: int) -> None:
        self.now, self.step_ns = 0, step_ns

    def now_ns(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        self.now += self.step_ns
        return self.now


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", textwrap.dedent(code)]


WAITS = python("import signal; signal.pause()")
STUBBORN = """
    import os, signal, sys
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(sys.argv[1], "w").write(str(os.getpid()))
    while True: signal.pause()
"""
PARENT = """
    import asyncio, os, signal, sys
    from interlock.clock import SystemClock
    from interlock.process import Child
    async def started(child):
        print(child.pid, flush=True)
        if sys.argv[1] == "at once":
            os.kill(os.getpid(), signal.SIGKILL)
    children = [Child(sys.argv[2:], name="a", clock=SystemClock(), on_start=started) for _ in range(2)]
    async def main():
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(child.run())
    asyncio.run(main())
"""


def gone(pid: int) -> bool:
    """No such process, or only its entry, which somebody else has to remove."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


class Watched:
    """A child that writes down what its callbacks were told."""

    def __init__(self, argv: list[str], **options: Any) -> None:
        self.told: list[str] = []
        self.pids: list[int] = []
        self.exits: list[Exit] = []
        options.setdefault("clock", SystemClock())
        self.child = Child(argv, name="child", on_start=self.started, on_exit=self.exited, **options)

    async def started(self, child: Child) -> None:
        assert child.pid is not None
        self.told.append("start")
        self.pids.append(child.pid)

    async def exited(self, child: Child, end: Exit) -> None:
        assert child.pid is None and (end.pid == 0 or gone(end.pid))
        await asyncio.sleep(0.02)  # a restart that does not wait for the settling would be told in between
        self.told.append("exit")
        self.exits.append(end)


@contextmanager
def parent_of(mode: str, argv: list[str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", textwrap.dedent(PARENT), mode, *argv]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            yield parent
        finally:
            parent.kill()


def test_the_waits_double_to_a_ceiling_and_start_again_after_a_healthy_run() -> None:
    assert [backoff_s(n) for n in (1, 2, 3, 4, 5, 6, 7, 10**6)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert failures_after(6, HEALTHY_NS - 1) == 7
    assert failures_after(6, HEALTHY_NS) == 1


def test_a_killed_child_is_settled_and_then_restarted(run: Run) -> None:
    async def main() -> None:
        watched = Watched(WAITS)
        async with asyncio.TaskGroup() as group:
            group.create_task(watched.child.run())
            for _ in range(2):
                await until(lambda: len(watched.pids) > len(watched.exits))
                os.kill(watched.pids[-1], signal.SIGKILL)
                await until(lambda: len(watched.pids) == len(watched.exits))
            await until(lambda: len(watched.pids) == 3)
            watched.child.stop()
        assert watched.told == ["start", "exit"] * 3
        assert len(set(watched.pids)) == 3
        assert [end.reason for end in watched.exits] == ["killed by SIGKILL"] * 2 + ["killed by SIGTERM"]
        assert [end.stopping for end in watched.exits] == [False, False, True]

    run(main)


def test_healthy_runs_are_restarted_without_growing_waits(run: Run) -> None:
    async def main() -> None:
        watched = Watched(python("raise SystemExit(3)"), clock=StillClock(HEALTHY_NS))
        async with asyncio.TaskGroup() as group:
            group.create_task(watched.child.run())
            await until(lambda: len(watched.exits) >= 9)  # with growing waits: 16 s, and the bound below would end it
            watched.child.stop()
        assert {end.reason for end in watched.exits} == {"exit status 3"}

    async def bounded() -> None:
        async with asyncio.timeout(12):
            await main()

    run(bounded)


def test_a_child_that_ignores_the_request_to_stop_is_killed_after_the_grace(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        ready = tmp_path / "ready"
        watched = Watched([*python(STUBBORN), str(ready)], grace_s=0.2)
        async with asyncio.TaskGroup() as group:
            group.create_task(watched.child.run())
            await until(lambda: ready.exists() and ready.read_text())
            watched.child.stop()
        assert watched.exits[0].reason == "killed by SIGKILL"
        ready.unlink()

    run(main)


def test_a_polite_child_ends_in_its_own_way(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        ready = tmp_path / "ready"
        code = f"""
            import signal, sys
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
            open({str(ready)!r}, "w").close()
            signal.pause()
        """
        watched = Watched(python(code))
        async with asyncio.TaskGroup() as group:
            group.create_task(watched.child.run())
            await until(ready.exists)
            watched.child.stop()
        assert watched.exits[0].reason == "exit status 7"
        ready.unlink()

    run(main)


def test_what_a_child_started_goes_with_it(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        place = tmp_path / "grandchild"
        code = f"""
            import subprocess, sys
            subprocess.run([sys.executable, "-I", "-S", "-c", {textwrap.dedent(STUBBORN)!r}, {str(place)!r}])
        """
        watched = Watched(python(code))
        async with asyncio.TaskGroup() as group:
            group.create_task(watched.child.run())
            await until(lambda: place.exists() and place.read_text())
            watched.child.stop()
        grandchild = int(place.read_text())
        await until(lambda: gone(grandchild))
        place.unlink()

    run(main)


def test_a_cancelled_run_leaves_nothing(run: Run) -> None:
    async def main() -> None:
        watched = Watched(WAITS)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(watched.child.run())
            await until(lambda: watched.pids)
            task.cancel()
        assert gone(watched.pids[0])
        assert watched.exits == []

    run(main)


def test_a_failing_callback_ends_the_supervision_and_the_child(run: Run) -> None:
    pids: list[int] = []

    async def fail(child: Child) -> None:
        pids.append(child.pid or 0)
        raise OSError("the disk is full")

    async def main() -> None:
        with pytest.raises(OSError, match="disk is full"):
            await Child(WAITS, name="a", clock=SystemClock(), on_start=fail).run()
        assert gone(pids[-1])

    run(main)


def test_a_program_that_cannot_start_is_reported_and_tried_again(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        watched = Watched(["./no-such-program"])
        async with asyncio.TaskGroup() as group:
            group.create_task(watched.child.run())
            await until(lambda: len(watched.exits) >= 2)
            watched.child.stop()
        assert {end.reason for end in watched.exits} == {"exit status 127"}

    run(main)
    assert "cannot start './no-such-program': No such file or directory" in capfd.readouterr().err


def test_a_child_has_its_own_group_its_descriptors_and_its_environment(run: Run) -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        code = f"""
            import os, signal
            os.write({writing}, f"{{os.getpgid(0) == os.getpid()}} {{os.environ}}".encode())
            signal.pause()
        """
        watched = Watched(python(code), env={"ONLY": "this"}, pass_fds=[writing])
        async with asyncio.TaskGroup() as group:
            group.create_task(watched.child.run())
            said: list[bytes] = []
            loop = asyncio.get_running_loop()
            loop.add_reader(reading, lambda: said.append(os.read(reading, 4096)))
            await until(lambda: said)
            loop.remove_reader(reading)
            watched.child.stop()
        os.close(reading)
        os.close(writing)
        assert said[0].startswith(b"True environ({'ONLY': 'this'")

    run(main)


@pytest.mark.parametrize("mode", ["later", "at once"])
def test_children_of_a_killed_parent_die(mode: str, tmp_path: Path) -> None:
    """At once: the parent dies in the very callback that follows the fork, long before the child has run a line."""

    async def main() -> None:
        with parent_of(mode, [*python(STUBBORN), str(tmp_path / "ready")]) as parent:
            assert parent.stdout is not None
            pids = [int(parent.stdout.readline()) for _ in range(2 if mode == "later" else 1)]
            if mode == "later":
                await until((tmp_path / "ready").exists)
                assert not any(gone(pid) for pid in pids)
                parent.kill()
            await until(lambda: all(gone(pid) for pid in pids))
            assert parent.wait() == -signal.SIGKILL

    asyncio.run(main())


def test_a_child_whose_parent_is_gone_already_does_not_start(tmp_path: Path) -> None:
    tether = Path(__file__).parent.parent / "src/interlock/tether.py"
    place = tmp_path / "ran"
    # This test's own parent stands for one that has died: it is not the parent of what is started here.
    command = [sys.executable, "-I", "-S", str(tether), str(os.getppid()), *python(f"open({str(place)!r}, 'w')")]
    assert subprocess.run(command, timeout=20).returncode == 127
    assert not place.exists()
