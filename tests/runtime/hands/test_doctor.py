"""What the doctor says of kinds of sandboxes that are there, that are not, and that lie."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.doctor import lines
from interlock.clock import SystemClock
from interlock.errors import HandsUnavailable
from interlock.runtime.hands import Command, Output, Resources, Start, Stop, Strength, doctor, host
from interlock.runtime.hands.bubblewrap import Bubblewrap
from interlock.runtime.hands.doctor import Report, examine, facts
from interlock.runtime.hands.host import explain
from interlock.runtime.hands.workspaces import Workspaces
from interlock.testing.loops import run_on


class Told:
    """Hands that do as a test says."""

    name = "told"
    strength: Strength = "kernel"

    def __init__(self, *missing: str, hangs: bool = False, refuses: bool = False, code: int = 0) -> None:
        self._missing, self._hangs, self._refuses, self._code = list(missing), hangs, refuses, code
        self.destroyed = 0

    async def missing(self) -> list[str]:
        if self._hangs:
            await asyncio.Event().wait()
        return self._missing

    async def weaker(self) -> list[str]:
        return ["swap is not limited"]

    async def provision(self, session: str, workspace: str, resources: Resources) -> Any:
        if self._refuses:
            raise HandsUnavailable("no room")
        return self

    async def execute(self, command: Command) -> AsyncIterator[Output]:
        yield Start(at_ns=1)
        yield Stop(status="completed", exit_code=self._code)

    async def destroy(self) -> None:
        self.destroyed += 1


def report(*kinds: Any) -> Report:
    """Of these."""

    async def main() -> Report:
        return await examine(kinds, SystemClock(), deadline_s=0.2)

    return run_on("uvloop", main)


def test_a_kind_is_usable_when_a_command_came_back() -> None:
    told = Told()
    (kind,) = report(told).kinds
    assert kind.usable and kind.command_ms is not None and kind.weaker == ("swap is not limited",)
    assert told.destroyed == 1


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (Told("no such program: install it"), "install it"),
        (Told(hangs=True), "no answer within 0.2 s"),
        (Told(refuses=True), "no room"),
        (Told(code=3), "ended with 3"),
    ],
)
def test_a_kind_that_cannot_be_had_says_why(told: Told, says: str) -> None:
    found = report(told)
    (kind,) = found.kinds
    assert not kind.usable and says in kind.missing[0]
    assert any(line.startswith("told: ") and says in line for line in lines(found))


def test_this_machine_is_looked_at() -> None:
    found = {fact.name: fact for fact in facts()}
    names = {"kernel", "user namespaces", "seccomp", "landlock", "control groups", "bwrap", "runsc", "/dev/kvm"}
    assert set(found) == names
    assert found["user namespaces"].found == "allowed" and found["bwrap"].good and found["landlock"].good
    assert all(fact.good or fact.helps or fact.name == "/dev/kvm" for fact in found.values())


def test_a_device_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without virtualisation makes machines that hang (kvm_pvm): the device's word is not enough."""
    monkeypatch.setattr(doctor, "_cpu_flags", lambda: ["fpu", "sse2"])
    assert not doctor._kvm().good


class TestWhatBubblewrapMisses:
    """Each reason, with what would help, and never a sandbox."""

    def missing(self, tmp_path: Path, **fields: Any) -> list[str]:
        hands = Bubblewrap(Workspaces(tmp_path / "workspaces", SystemClock()), SystemClock(), **fields)

        async def main() -> list[str]:
            missing = await hands.missing()
            with pytest.raises(HandsUnavailable) as refused:
                await hands.provision("s", "w", Resources())
            assert refused.value.message == "; ".join(missing)
            return missing

        return run_on("uvloop", main)

    def test_the_program(self, tmp_path: Path) -> None:
        (reason,) = self.missing(tmp_path, program="no-such-bwrap")
        assert "apt-get install bubblewrap" in reason

    def test_a_program_that_fails(self, tmp_path: Path) -> None:
        directory = Path(tempfile.mkdtemp(dir="/var/tmp"))  # which users of sandboxes can enter
        directory.chmod(0o755)
        program = directory / "bwrap"
        program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
        program.chmod(0o755)
        (reason,) = self.missing(tmp_path, program=str(program))
        shutil.rmtree(directory)
        assert "No permissions" in reason and "apparmor_restrict_unprivileged_userns" in reason

    def test_landlock(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("interlock.runtime.hands.syscalls.landlock_abi", lambda: 0)
        (reason,) = self.missing(tmp_path)
        assert "Linux 5.13" in reason

    def test_another_processor(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("interlock.runtime.hands.syscalls.supported", lambda: False)
        (reason,) = self.missing(tmp_path)
        assert "x86-64" in reason

    def test_a_directory_to_read(self, tmp_path: Path) -> None:
        (reason,) = self.missing(tmp_path, also_read=("/no/such/tools",))
        assert "/no/such/tools" in reason


@pytest.mark.parametrize(
    ("said", "helps"),
    [
        ("bwrap: No permissions to create new namespace, likely because", "kernel.unprivileged_userns_clone"),
        ("bwrap: setting up uid map: Permission denied", "apparmor"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "systempaths=unconfined"),
        ("cannot have mounts of its own", "CAP_SYS_ADMIN"),
        ("something else", "something else"),
    ],
)
def test_complaints_come_with_what_would_help(said: str, helps: str) -> None:
    assert helps in explain(said) and said in explain(said)


def test_what_dead_servers_laid_out_is_cleared_by_several_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "workspaces"
    monkeypatch.setattr(host, "_stages", lambda root: root / "stages")  # the machine's are swept by whoever else runs
    stages = host.lay_out(root).parent
    for number in range(20):
        left = stages / f"99999999-{number}" / "etc"
        left.mkdir(parents=True)
        for name in range(20):
            (left / str(name)).touch()
    servers = []
    for _ in range(4):
        if (pid := os.fork()) == 0:
            os._exit(0 if host.lay_out(root).is_dir() else 1)
        servers.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in servers] == [0] * 4
    assert all(path.name.startswith(tuple(f"{pid}-" for pid in (os.getpid(), *servers))) for path in stages.iterdir())
