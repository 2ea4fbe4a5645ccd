"""A network that cannot be furnished."""

import asyncio
import os
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.runtime.hands.test_walls import make

from interlock.errors import HandsUnavailable
from interlock.runtime.hands import Resources, network
from interlock.runtime.hands.egress import Egress
from interlock.runtime.hands.elf import Program
from interlock.runtime.hands.outlet import Outlet
from interlock.runtime.hands.prelude import tell
from interlock.runtime.hands.relay import Relay
from interlock.testing.hands_contract import DEADLINE_S, sh, until
from interlock.testing.loops import run_on


def outlet() -> Outlet:
    return Outlet(Relay(Path("nowhere"), lambda stray: None), [], proxy=True)


def test_ours_is_never_furnished() -> None:
    async def main() -> None:
        process = os.pidfd_open(os.getpid())
        try:
            with pytest.raises(OSError, match="no network of its own"):
                await outlet().open(os.getpid(), process)
        finally:
            os.close(process)

    run_on("debug", main)


def test_nor_that_of_whoever_has_the_number_of_one_that_is_gone() -> None:
    other = subprocess.Popen(["unshare", "-n", "sleep", "60"], stdin=subprocess.DEVNULL)
    gone = subprocess.Popen(["true"])
    process = os.pidfd_open(gone.pid)

    async def main() -> None:
        while Path(f"/proc/{other.pid}/ns/net").samefile("/proc/self/ns/net"):
            await asyncio.sleep(0.01)
        with pytest.raises(ProcessLookupError):
            await outlet().open(other.pid, process)

    try:
        gone.wait()
        run_on("debug", main)
    finally:
        os.close(process)
        other.kill()
        other.wait()


def enters_nothing(namespaces: Sequence[int], out: int, **_: object) -> Program:
    program = Program()
    program.call("setns", 0, 0, must="cannot enter the sandbox's network")
    return program


def hands_out_one(namespaces: Sequence[int], out: int, **_: object) -> Program:
    """As if there were no room for more in our table of files."""
    program = Program()
    tell(program, out, [program.data(struct.pack("<q", out))])
    program.call("exit_group", 0)
    return program


@pytest.mark.parametrize(
    ("broken", "why"),
    [(enters_nothing, "cannot enter the sandbox's network"), (hands_out_one, "1 of 3 sockets were handed out")],
)
def test_a_command_whose_network_cannot_be_had_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[..., Program], why: str
) -> None:
    async def main() -> None:
        hands = make(tmp_path, egress=Egress(tmp_path / "egress"))
        box = await hands.provision("session", "w", Resources())
        held = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - how many
        monkeypatch.setattr("interlock.runtime.hands.outlet.furnish", broken)
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(HandsUnavailable, match=f"could not be set up: {why}"):
                await sh(box, "touch begun")

        async def as_before() -> bool:
            return len(os.listdir("/proc/self/fd")) == held  # noqa: PTH208 - how many

        await until(as_before, "nothing is left open")
        monkeypatch.setattr("interlock.runtime.hands.outlet.furnish", network.furnish)
        assert (await sh(box, "ls")).text == ""
        await box.destroy()

    run_on("uvloop", main)


def test_no_other_program_of_ours_inherits_what_is_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []

    def ways_of(descriptors: Sequence[int], proxy: bool) -> network.Ways:
        made = network.ways_of(descriptors, proxy)
        found.extend(os.get_inheritable(descriptor) for descriptor in descriptors)
        return made

    async def main() -> None:
        box = await make(tmp_path, egress=Egress(tmp_path / "egress")).provision("session", "w", Resources())
        monkeypatch.setattr("interlock.runtime.hands.outlet.ways_of", ways_of)
        await sh(box, "true")
        await box.destroy()

    run_on("uvloop", main)
    assert found == [False] * 3
