"""Bubblewrap: the whole suite."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.offspring import children
from tests.runtime.hands.users import run_as_other

from interlock.clock import SystemClock
from interlock.errors import HandsLost, HandsUnavailable
from interlock.runtime.hands import Hands, Resources, Sandbox
from interlock.runtime.hands.bubblewrap import Bubblewrap
from interlock.runtime.hands.cgroups import Cgroups, Group
from interlock.runtime.hands.egress import Egress
from interlock.runtime.hands.workspaces import Workspaces
from interlock.testing.hands_contained import ContainedContract
from interlock.testing.hands_contract import BEATS, sh
from interlock.testing.hands_files import FilesContract
from interlock.testing.hands_shells import ShellsContract
from interlock.testing.loops import run_on


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Hands]:
    others = set(children(os.getpid()))  # of a test that failed before
    workspaces = Workspaces(directory / "workspaces", SystemClock())
    egress = Egress(directory / "egress")
    yield Bubblewrap(workspaces, SystemClock(), egress=egress)  # as in a server
    for id in list(egress._rooms):
        await egress.close(id)
    assert not set(children(os.getpid())) - others, "a process was left"


class TestBubblewrap(ContainedContract, FilesContract, ShellsContract):
    def open_hands(self, directory: Path) -> AbstractAsyncContextManager[Hands]:
        return opened(directory)

    def kill_from_outside(self, box: Sandbox) -> None:
        (pid,) = children(os.getpid())
        os.kill(pid, signal.SIGKILL)


class OnOneLoop(TestBubblewrap):
    """For another user: what differs is what the kernel lets it do, not the loop."""

    __test__ = False
    loops = ("debug",)


BY_CGROUPS = {
    *("test_cpu_time_is_bounded", "test_memory_is_bounded_and_the_reason_said"),
    "test_processes_of_commands_at_once_share_one_limit",
}
"""What only control groups give, which a user who was given none has not."""


@pytest.mark.parametrize("name", sorted(name for name in dir(TestBubblewrap) if name.startswith("test_")))
def test_as_another_user_than_root(name: str) -> None:
    if name in BY_CGROUPS:
        return run_as_other(lambda directory: run_on("debug", partial(says_what_is_weaker, directory)))
    return run_as_other(getattr(OnOneLoop(), name))


def test_looks_at_once_share_no_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, make = list[str](), Cgroups.make

    def noted(cgroups: Cgroups, name: str) -> Group:
        made.append(name)
        return make(cgroups, name)

    async def main() -> None:
        hands = Bubblewrap(Workspaces(tmp_path, SystemClock()), SystemClock())
        async with asyncio.TaskGroup() as group:
            looks = [group.create_task(hands.missing()) for _ in range(2)]
        assert [look.result() for look in looks] == [[], []]

    monkeypatch.setattr(Cgroups, "make", noted)
    asyncio.run(main())
    assert len(made) == len(set(made)) == 4, "a probe and a trial each"


async def says_what_is_weaker(directory: Path) -> None:
    hands = Bubblewrap(Workspaces(directory / "workspaces", SystemClock()), SystemClock())
    assert await hands.missing() == []
    (weaker,) = await hands.weaker()
    assert "CPU is not limited" in weaker and "Delegate=yes" in weaker
    assert "but for files in memory, which nothing limits" in weaker, "tool servers as well as commands"
    strict = Bubblewrap(hands.workspaces, SystemClock(), require_cgroups=True)
    assert await strict.missing() == [weaker]
    with pytest.raises(HandsUnavailable, match="control groups"):
        await strict.provision("s", "w", Resources())
    box = await hands.provision("s", "w", Resources(memory_bytes=64 << 20))
    one = await sh(box, "head -c 300000000 /dev/zero | tail", time_s=20.0)
    assert one.code != 0, "one process is held by the kernel"
    several = await sh(
        box, "for i in 1 2 3 4 5 6; do { head -c 20000000 /dev/zero; sleep 10; } | tail & done; sleep 10", time_s=20.0
    )
    assert "out of memory" in several.stop.reason, "all of them are watched"


def test_nothing_outlives_the_server(tmp_path: Path) -> None:
    """Killed at once, it can clean nothing up: the kernel does."""

    async def serve() -> None:
        async with opened(tmp_path) as hands:
            box = await hands.provision("s", "w", Resources())
            await sh(box, f"(setsid sh -c '{BEATS}' &); {BEATS}")

    server = os.fork()
    if server == 0:
        os._exit(run_on("uvloop", serve) is None)
    try:
        beats = tmp_path / "workspaces" / "w" / "files" / "beats"
        assert _soon(lambda: beats.exists() and beats.stat().st_size > 10)
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    last = -1
    for _ in range(50):
        if last == (last := beats.stat().st_size):
            return
        threading.Event().wait(0.3)
    raise AssertionError("it goes on")


def _soon(condition: Callable[[], bool]) -> bool:
    for _ in range(1000):
        if condition():
            return True
        threading.Event().wait(0.02)
    return False


def test_whose_workspace_is_removed_is_lost_and_ends_quietly(tmp_path: Path) -> None:
    async def main() -> None:
        workspaces = Workspaces(tmp_path / "workspaces", SystemClock())
        box = await Bubblewrap(workspaces, SystemClock()).provision("s", "w", Resources())
        workspaces.remove("w")
        for work in (sh(box, "true"), box.read("x"), box.write("x", b""), box.snapshot(), box.shell()):
            with pytest.raises(HandsLost, match="the workspace was removed") as told:
                await work
            assert told.value.field == "workspace"
        await box.destroy()

    run_on("uvloop", main)
