"""Each wall of bubblewrap's sandboxes by itself, tried from inside with system calls: without it, a test here fails."""

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.offspring import below, children

from interlock.clock import SystemClock
from interlock.runtime.hands import Command, Resources, Start, confined
from interlock.runtime.hands.bubblewrap import Bubblewrap, BubblewrapBox
from interlock.runtime.hands.elf import Program
from interlock.runtime.hands.filters import ABSENT, REFUSED
from interlock.runtime.hands.workspaces import FIRST_UID, Workspaces
from interlock.testing.hands_contract import DEADLINE_S, Ran, execute, seen, sh, until
from interlock.testing.loops import run_on

ROOT = os.geteuid() == 0
Test = Callable[[BubblewrapBox], Awaitable[None]]


def make(directory: Path, **fields: Any) -> Bubblewrap:
    """Hands for these tests."""
    return Bubblewrap(Workspaces(directory / "workspaces", SystemClock()), SystemClock(), **fields)


@pytest.fixture
def inside(tmp_path: Path) -> Callable[[Test], None]:
    """Run a test with a sandbox."""

    def run(test: Test) -> None:
        async def main() -> None:
            box = await make(tmp_path).provision("session", "w", Resources())
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await test(box)
            finally:
                await box.destroy()

        run_on("uvloop", main)

    return run


async def attempt(box: BubblewrapBox, program: Program) -> Ran:
    """Run a program of system calls inside; 0 and silence: all was as expected."""
    program.call("exit_group", 0)
    await box.write("attempt", program.image())
    await sh(box, "chmod +x attempt")
    return await execute(box, Command(argv=("./attempt",)))


def refused(program: Program, name: str | int, *args: int, code: int = errno.EPERM) -> None:
    """A call that the kernel must answer with this error."""
    program.call(name, *args)
    program.expect(-code, f"{name}{args} was not refused")


def test_system_calls_that_widen_a_sandbox_are_refused(inside: Callable[[Test], None]) -> None:
    async def test(box: BubblewrapBox) -> None:
        program = Program()
        for name in REFUSED:
            refused(program, name, 0, 0, 0, 0, 0, 0)
        for name in ABSENT:
            refused(program, name, 0, 0, 0, 0, 0, 0, code=errno.ENOSYS)
        refused(program, 5000, code=errno.ENOSYS)
        for flag in (0x10000000, 0x20000000, 0x40000000, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x80):
            refused(program, "clone", flag | 17, 0, 0, 0, 0)
            refused(program, "unshare", flag)
        for request in (0x5412, 0x541C, 0x5412 | 1 << 32):
            refused(program, "ioctl", 0, request, 0)
        refused(program, "personality", 0x0040000)
        for family in (*range(3, 10), *range(11, 16), *range(17, 46)):
            refused(program, "socket", family, 3, 0, code=errno.EAFNOSUPPORT)
        for protocol in (2, 4, 9, 12, 15, 16):
            refused(program, "socket", 16, 3, protocol, code=errno.EAFNOSUPPORT)
        for protocol in (33, 115, 132, 136, 256):
            refused(program, "socket", 2, 2, protocol, code=errno.EPROTONOSUPPORT)
        ran = await attempt(box, program)
        assert (ran.code, ran.stderr) == (0, b"")

    inside(test)


@pytest.mark.parametrize("number", [0x40000000 | 39, 0x40000000 | 520])
def test_another_architectures_calls_kill(inside: Callable[[Test], None], number: int) -> None:
    async def test(box: BubblewrapBox) -> None:
        program = Program()
        program.call(number, 0, 0, 0)
        assert (await attempt(box, program)).code == 128 + 31

    inside(test)


def test_landlock_holds_where_mounts_would_not(inside: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox's root and /run could be written by its user, and are mounted read-only; here they are not."""

    async def test(box: BubblewrapBox) -> None:
        arguments = confined.arguments

        def loose(*given: Any) -> list[str]:
            words = arguments(*given)
            assert words.count("--remount-ro") == 2
            at = words.index("--remount-ro")
            return words[:at] + words[at + 4 :]

        monkeypatch.setattr(confined, "arguments", loose)  # one wall taken away
        ran = await sh(
            box,
            "touch /x; touch /run/x; touch /dev/x; mkdir /y; touch /dev/shm/ok ok && cd /tmp && touch ok && echo fine",
        )
        assert ran.text == "fine\n" and ran.stderr.count(b"Permission denied") == 4, ran.stderr

    inside(test)


def test_mounts_hold_where_landlock_would_not(inside: Callable[[Test], None]) -> None:
    async def test(box: BubblewrapBox) -> None:
        without = msgspec.structs.replace(box._host, landlock=0)
        box._host = without
        ran = await sh(box, "touch /x /run/x /dev/x /usr/x /etc/x 2>&1 | grep -c 'Read-only file system'")
        assert ran.text == "5\n"

    inside(test)


def test_the_first_process_cannot_be_written_to(inside: Callable[[Test], None]) -> None:
    """It is of the same user and outside Landlock: who could write its memory would be outside too."""

    async def test(box: BubblewrapBox) -> None:
        ran = await sh(
            box,
            "echo x > /proc/1/mem; cat /proc/1/environ; readlink /proc/1/root; cat /proc/1/fd/0; kill -9 1; echo on",
        )
        assert ran.text == "on\n" and ran.stderr.count(b"ermission denied") == 3 and b"not permitted" in ran.stderr, (
            ran.stderr
        )

    inside(test)


def test_a_command_has_no_rights(inside: Callable[[Test], None]) -> None:
    async def test(box: BubblewrapBox) -> None:
        status = dict(line.split(":\t", 1) for line in (await sh(box, "cat /proc/self/status")).text.splitlines())
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, name
        assert (status["NoNewPrivs"], status["Seccomp"], status["Groups"].strip()) == ("1", "2", "")
        assert set(status["Uid"].split()) == {"1000"}
        assert (await sh(box, "hostname; id -un; ls /proc/self/fd | wc -l")).text == "sandbox\nagent\n4\n"
        spaces = (await sh(box, "readlink /proc/self/ns/*")).text.split()
        ours = [
            str((Path("/proc/self/ns") / name).readlink())
            for name in sorted(path.name for path in Path("/proc/self/ns").iterdir())
        ]
        shared = {space.split(":")[0] for space in spaces} - {space.split(":")[0] for space in set(spaces) - set(ours)}
        assert shared <= {"time", "time_for_children"}, shared

    inside(test)


@pytest.mark.skipif(not ROOT, reason="only root gives workspaces users of their own")
def test_as_root_it_is_a_user_who_owns_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        box = await make(tmp_path).provision("session", "w", Resources())
        uid = box.workspace.uid
        assert uid is not None and uid >= FIRST_UID
        async for output in box.execute(Command(argv=("sh", "-c", "touch mine; cd /tmp; touch mine; sleep 1"))):
            if isinstance(output, Start):
                for pid in below():
                    status = Path(f"/proc/{pid}/status").read_text()
                    (uids,) = [line.split()[1:] for line in status.splitlines() if line.startswith("Uid:")]
                    assert set(uids) == {str(uid)}, status
        assert (box.workspace.files / "mine").stat().st_uid == uid
        await box.write("given", b"x")
        assert (box.workspace.files / "given").stat().st_uid == uid
        other = await box._hands.provision("session", "other", Resources())
        assert other.workspace.uid == uid + 1
        await box.destroy()

    run_on("uvloop", main)


def test_nothing_an_agent_says_is_seen_by_a_program_outside(inside: Callable[[Test], None]) -> None:
    """LD_PRELOAD in a command's environment would otherwise run in bubblewrap before there is a sandbox."""

    async def test(box: BubblewrapBox) -> None:
        seen = []
        async for output in box.execute(
            Command(argv=("sleep", "0.5", "0.0"), env={"LD_PRELOAD": "/workspace/evil.so"})
        ):
            if isinstance(output, Start):
                (outer,) = children(os.getpid())
                seen = [Path(f"/proc/{outer}/{name}").read_bytes() for name in ("environ", "cmdline")]
        assert len(seen) == 2 and not any(b"evil" in each or b"0.0" in each for each in seen)

    inside(test)


def test_limits_that_a_process_has_by_itself(inside: Callable[[Test], None]) -> None:
    async def test(box: BubblewrapBox) -> None:
        ran = await sh(box, "ulimit -Hc; ulimit -Hn; ulimit -Hf; stat -f -c %b*%S /dev/shm")
        core, files, size, shm = ran.text.split()
        assert (core, files, size) == ("0", "4096", str(box.resources.disk_bytes // 512))
        blocks, block = shm.split("*")
        assert int(blocks) * int(block) == 64 << 20

    inside(test)


def test_output_can_be_opened_by_its_name(inside: Callable[[Test], None]) -> None:
    async def test(box: BubblewrapBox) -> None:
        ran = await sh(box, "echo one > /dev/stdout; echo two > /dev/stderr; echo three | tee /dev/stderr")
        assert (ran.text, ran.stderr) == ("one\nthree\n", b"two\nthree\n")

    inside(test)


def descriptors() -> set[str]:
    """That this process has open; what /proc itself is read through comes and goes."""
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}


def test_nothing_is_left_of_it(inside: Callable[[Test], None]) -> None:
    async def test(box: BubblewrapBox) -> None:
        await sh(box, "true")
        before = descriptors()
        for _ in range(10):
            await sh(box, "(setsid sleep 100 &); head -c 100000 /dev/zero")
        shell = await box.shell()
        await shell.close()
        assert descriptors() == before
        assert not below(), "a process, or a zombie"
        if box._host.cgroups is not None:
            for _ in range(3000):
                left = [path for own in box._host.cgroups.own.values() for path in own.glob(f"*{box.id}*")]
                if not left:
                    return
                await asyncio.sleep(0.02)
            raise AssertionError([(path, (path / "cgroup.procs").read_text()) for path in left])

    inside(test)


def test_what_else_may_be_read_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        tools = Path(tempfile.mkdtemp(dir="/var/tmp"))
        tools.chmod(0o755)
        (tools / "tool").write_text("#!/bin/sh\necho tool runs\n")
        (tools / "tool").chmod(0o755)
        box = await make(tmp_path, also_read=(str(tools),)).provision("s", "w", Resources())
        assert (
            await sh(box, f"{tools}/tool; touch {tools}/x 2>/dev/null || echo refused")
        ).text == "tool runs\nrefused\n"
        await box.destroy()

    run_on("uvloop", main)


def test_who_is_left_in_a_group_is_ended_with_it(inside: Callable[[Test], None]) -> None:
    """As the inner half of a bubblewrap whose outer one was killed before it had said whom it made."""
    left = subprocess.Popen(["sleep", "60"])

    async def test(box: BubblewrapBox) -> None:
        groups = box._host.cgroups
        assert groups is not None, "needs control groups"
        group = groups.make("left")
        for joins in group.joins:
            joins.write_text(str(left.pid))
        confined.bury(group)

        async def gone() -> bool:
            return left.poll() is not None and not any(joins.parent.exists() for joins in group.joins)

        await until(gone, "the group is gone")
        assert left.returncode == -signal.SIGKILL

    try:
        if ROOT:  # control groups are root's to make here
            inside(test)
    finally:
        left.kill()
        left.wait()


def test_memory_of_a_tree_is_that_of_all_below(inside: Callable[[Test], None]) -> None:
    async def test(box: BubblewrapBox) -> None:
        async for output in box.execute(
            Command(argv=("sh", "-c", "head -c 30000000 /dev/zero | tail -c 30000000 | sleep 1"))
        ):
            if isinstance(output, Start):
                (run,) = box._running
                await asyncio.sleep(0.6)
                assert 20 << 20 < run.tree.memory() < 200 << 20  # type: ignore[attr-defined]  # a BwrapTree

    inside(test)


def test_a_shell_without_job_control_of_its_own_has_the_terminal(inside: Callable[[Test], None]) -> None:
    """bash takes a terminal that nobody gave it; other programs do not."""

    async def test(box: BubblewrapBox) -> None:
        box._shell_command = lambda: Command(argv=("dash", "-i"))  # type: ignore[method-assign]  # another than ours
        shell = await box.shell()
        await shell.write(b"echo x > /dev/tty && echo has-$((40+2)); sleep 1000\n")
        await seen(shell.attach(), b"has-42")
        await asyncio.sleep(0.2)
        await shell.write(b"\x03echo after-$((40+2))\n")
        await seen(shell.attach(), b"after-42")
        await shell.close()

    inside(test)


def test_what_is_held_stands(inside: Callable[[Test], None]) -> None:
    async def test(box: BubblewrapBox) -> None:
        async for output in box.execute(
            Command(argv=("sh", "-c", "for i in 1 2 3 4 5; do sh -c 'while :; do :; done' & done; sleep 5"))
        ):
            if isinstance(output, Start):
                await asyncio.sleep(0.1)
                with box._still():
                    await box._stands()
                    assert box._group is not None and box._group.frozen()
                assert not box._group.frozen()
                break

    if ROOT:  # control groups are root's to make here
        inside(test)


def test_a_snapshot_is_of_one_moment(inside: Callable[[Test], None]) -> None:
    """Four files are written in turn, with hundreds between them in the order of the copy; what runs stands still."""

    async def test(box: BubblewrapBox) -> None:
        assert box._host.cgroups is not None, "needs control groups"
        await sh(box, "for d in a b c d; do mkdir $d; for i in $(seq 400); do echo x > $d/x$i; done; done")
        write = "i=0; while :; do i=$((i+1)); for d in a b c d; do echo $i > $d/count; done; done"
        running = asyncio.get_running_loop().create_task(sh(box, write))

        async def begun() -> bool:
            return (box.workspace.files / "d" / "count").exists()

        await until(begun, "a round of counts")
        for _ in range(3):
            await asyncio.sleep(0.2)
            kept = box.workspace.kept(await box.snapshot())
            counts = [int((kept / name / "count").read_text() or "-1") for name in "abcd"]
            known = [count for count in counts if count > 0]  # one may have been opened and not yet written
            assert len(known) >= 3 and max(known) - min(known) <= 1, counts
        before = await box.read("d/count")

        async def counted() -> bool:
            return await box.read("d/count") not in (before, b"")

        await until(counted, "and goes on")
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    if ROOT:  # control groups are root's to make here
        inside(test)


def test_nobody_listens_without_a_list(inside: Callable[[Test], None]) -> None:
    async def test(box: BubblewrapBox) -> None:
        ran = await sh(box, "env | grep -ci proxy; ls /run; curl -sS -m 2 http://127.0.0.1:3128/")
        assert ran.text == "0\n" and b"curl: (7)" in ran.stderr

    inside(test)
