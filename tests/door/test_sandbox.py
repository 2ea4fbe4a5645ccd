"""What a program in the sandbox sees, what it may not do, which limits hold it, and that nothing of it is left."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.offspring import below, command_line
from tests.runtime.hands.users import run_as_other

from interlock.door.program import Program
from interlock.door.sandbox import FIRST_UID, Sandboxes, check
from interlock.door.settings import RESOURCES, Allow, ToolServer
from interlock.errors import HandsUnavailable, LocalError
from interlock.runtime.hands import Resources
from interlock.runtime.hands.elf import Program as Calls
from interlock.testing.loops import run_on

ROOT = os.geteuid() == 0
DEADLINE_S = 60.0
SMALL = Resources(memory_bytes=64 << 20, processes=24, disk_bytes=2 << 20)
NEW_USER, NEW_MOUNTS, TRACEME = 0x10000000, 0x20000, 0
LOOK = """
echo "uid=$(id -u) $(grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t ' | tr '\\n' ' ')"
echo "env=$(env | cut -d= -f1 | sort | tr '\\n' ' ')"
echo "net=$(ls /sys/class/net 2>/dev/null | tr '\\n' ' ')$(cat /proc/net/dev | grep -c eth)"
echo "pids=$(ls /proc | grep -c '^[0-9]')"
echo "usr=$(touch /usr/x 2>&1 | grep -c 'Read-only')"
echo "root=$(touch /x 2>&1 | grep -c 'Read-only')"
echo "tmp=$(cd /tmp; touch x && echo yes) $(stat -f -c '%b %S' /tmp)"
echo "data=$(ls DATA 2>&1 | grep -c 'No such')"
echo "shown=$(cat SHOWN) $(touch SHOWN 2>&1 | grep -c 'Read-only')"
echo "etc=$(wc -l < /etc/group) $(wc -c < ETC) $(touch /etc/y 2>&1 | grep -c 'Read-only')"
"""


def server(*command: str, read: tuple[str, ...] = (), resources: Resources = RESOURCES, **env: str) -> ToolServer:
    """A table of the configuration."""
    return ToolServer(name="p", allow=(Allow(),), command=command, read=read, env=env, resources=resources)


@asynccontextmanager
async def running(sandboxes: Sandboxes, *command: str, **fields: Any) -> AsyncIterator[Program]:
    """A program, until the block's end."""
    program = await sandboxes.start(server(*command, **fields))
    try:
        yield program
    finally:
        await program.end()


async def said(program: Program) -> str:
    """All of its standard output."""
    parts = []
    while part := await program.read():
        parts.append(part)
    return b"".join(parts).decode()


def run(main: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """On the loop that the door has."""
    run_on("uvloop", lambda: asyncio.wait_for(main(), DEADLINE_S))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    while not condition():
        await asyncio.sleep(0.01)


def sleepers(seconds: str) -> int:
    """How many processes of this machine sleep for that long."""
    found = 0
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += f"sleep\0{seconds}".encode() in (path / "cmdline").read_bytes()
    return found


def test_a_program_sees_what_it_is_shown_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DOOR", "x")
    data, closed = tmp_path / "data", tmp_path / "closed"
    data.mkdir()
    closed.mkdir(mode=0o700)  # as a home is: what is shown need not be reached by its path
    (closed / "shown").write_text("hello")
    (closed / "shown").chmod(0o666)
    sandboxes = Sandboxes(data)
    of_etc = next(str(path) for path in sorted(Path("/etc").glob("*.conf")) if path.stat().st_mode & 0o4)
    script = LOOK.replace("DATA", str(data)).replace("SHOWN", str(closed / "shown")).replace("ETC", of_etc)

    async def main() -> None:
        read = (str(closed / "shown"), of_etc)
        async with running(sandboxes, "sh", "-c", script, read=read, resources=SMALL, MINE="1") as program:
            found = dict(line.split("=", 1) for line in (await said(program)).splitlines())
        assert found["uid"] == f"1000 CapEff:{0:016x} CapBnd:{0:016x} NoNewPrivs:1 Seccomp:2 "
        assert set(found["env"].split()) == {"HOME", "LANG", "MINE", "PATH", "PWD"}
        assert found["net"].endswith("0") and int(found["pids"]) < 10
        assert (found["usr"], found["root"], found["data"]) == ("1", "1", "1")
        yes, blocks, block = found["tmp"].split()
        assert yes == "yes" and int(blocks) * int(block) == SMALL.disk_bytes
        assert found["shown"] == "hello 1"
        assert found["etc"] == f"2 {Path(of_etc).stat().st_size} 1", "one more beside those that all see"

    run(main)


def test_the_data_directory_is_never_shown(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "run").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(data)
    for path in (data, data / "run", tmp_path, link, Path("/")):
        with pytest.raises(LocalError, match="data directory"):
            check([str(path)], data)
    check(["/usr", str(tmp_path / "other")], data)
    with pytest.raises(LocalError, match="data directory"):
        run(lambda: Sandboxes(data).start(server("true", read=(str(tmp_path),))))
    with pytest.raises(LocalError, match="is not there"):
        run(lambda: Sandboxes(data).start(server("true", read=(str(tmp_path / "other"),))))


def test_what_widens_a_sandbox_is_refused(tmp_path: Path) -> None:
    """A program of system calls, each of which must fail; 0 and silence: all did."""
    calls = Calls()
    attempts: list[tuple[str, tuple[int, ...]]] = [
        *[("unshare", (flag,)) for flag in (NEW_USER, NEW_MOUNTS, NEW_USER | NEW_MOUNTS)],
        *[("clone", (NEW_USER | signal.SIGCHLD, 0, 0, 0, 0)), ("ptrace", (TRACEME, 0, 0, 0))],
        *[("mount", (0, 0, 0, 0, 0)), ("keyctl", (0, -3 & 0xFFFFFFFF, 0)), ("add_key", (0, 0, 0, 0, 0))],
        *[("bpf", (0, 0, 0)), ("perf_event_open", (0, 0, 0, 0, 0)), ("process_vm_readv", (1, 0, 0, 0, 0, 0))],
    ]
    for name, args in attempts:
        calls.call(name, *args)
        calls.expect(-errno.EPERM, f"{name}{args} was not refused")
    calls.call("io_uring_setup", 1, 0)
    calls.expect(-errno.ENOSYS, "io_uring was not refused")
    calls.call("exit_group", 0)
    path = tmp_path / "attempt"
    path.write_bytes(calls.image())
    path.chmod(0o755)

    async def main() -> None:
        async with running(Sandboxes(tmp_path / "data"), str(path), read=(str(path),)) as program:
            assert await program.ended() == "it ended with status 0", program._errors.last
            assert program._errors.last == b""

    run(main)


def test_landlock_holds_what_mounts_do_not(tmp_path: Path) -> None:
    """bubblewrap's own process is of the same user: who could write its memory would be outside."""

    async def main() -> None:
        line = "echo x > /proc/1/mem; cat /proc/1/environ; readlink /proc/1/root; kill -9 1; echo on"
        async with running(Sandboxes(tmp_path), "sh", "-c", line) as program:
            assert await said(program) == "on\n"
            await program.ended()
            assert program._errors.last.count(b"ermission denied") == 2 and b"not permitted" in program._errors.last

    run(main)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("head -c 300000000 /dev/zero | tail; sleep 1000", "out of memory: the sandbox may have 67108864 bytes"),
        ("exec dd if=/dev/zero of=/dev/null bs=300M count=1", "out of memory: the sandbox may have 67108864 bytes"),
        ("f() { f | f & f; }; f", "it may have 24 processes and threads, and wants more"),
        ("yes | cat >&2", "it floods standard error"),
        ("kill -9 $$", "it ended with status 137"),
        ("exit 3", "it ended with status 3"),
    ],
)
def test_who_passes_a_limit_is_ended_and_told_which(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str, why: str
) -> None:
    async def main() -> None:
        async with running(Sandboxes(tmp_path), "sh", "-c", line, resources=SMALL) as program:
            await said(program)
            assert await program.ended() == why
            assert not below() and f"tool server p: {why}" in caplog.text

    run(main)


def test_a_full_disk_is_told_to_the_program_and_to_nobody_else(tmp_path: Path) -> None:
    async def main() -> None:
        line = "head -c 3000000 /dev/zero > x; wc -c < x; rm x; echo room > y; cat y"
        async with running(Sandboxes(tmp_path), "sh", "-c", line, resources=SMALL) as program:
            written, then = (await said(program)).splitlines()
            assert int(written) == SMALL.disk_bytes and then == "room"
            await program.ended()
            assert b"No space left" in program._errors.last

    run(main)


def test_last_words_are_for_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        line = "head -c 5000 /dev/zero >&2; printf 'no\\033[2J such\\nsecret' >&2; exit 1"
        async with running(Sandboxes(tmp_path), "sh", "-c", line) as program:
            assert await program.ended() == "it ended with status 1"
        async with running(Sandboxes(tmp_path), "no-such-program") as program:
            assert await program.ended() == "it ended with status 127"
        async with running(Sandboxes(tmp_path), "cat"):
            pass  # ended by us: nothing to say

    run(main)
    first, second = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert first.endswith("no\\x1b[2J such\\nsecret'") and len(first) < 8000
    assert "no-such-program: not found" in second


def test_a_sandbox_that_cannot_be_set_up_is_explained_to_the_log_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        sandboxes = Sandboxes(tmp_path)
        async with running(sandboxes, "true"):
            pass
        assert sandboxes._found is not None
        sandboxes._found = msgspec.structs.replace(sandboxes._found, view=("--no-such-option",))
        with pytest.raises(HandsUnavailable, match="log says why"):
            await sandboxes.start(server("true"))
        assert not sandboxes._uids and not below()

    run(main)
    assert "Unknown option --no-such-option" in caplog.text


def test_nothing_of_it_is_on_a_command_line_or_left(tmp_path: Path) -> None:
    def descriptors() -> set[str]:
        return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}

    async def main() -> None:
        sandboxes = Sandboxes(tmp_path)
        async with running(sandboxes, "cat"):
            pass
        before = descriptors()
        async with (
            running(sandboxes, "sh", "-c", "sleep 321.5 & sleep 321.5", TOKEN="told-12345") as first,
            running(sandboxes, "cat") as second,
        ):
            await until(lambda: sleepers("321.5") == 2)
            for pid in below():
                assert b"told-12345" not in command_line(pid)
            if ROOT:
                owners = {Path(f"/proc/{pid}").stat().st_uid for pid in below()}
                assert owners == {FIRST_UID, FIRST_UID + 1}, "users of their own, bubblewrap's processes too"
            await second.write(b"still here\n")
            assert await second.read() == b"still here\n"
            first.fail("enough")
            await first.ended()
            assert sleepers("321.5") == 0
        assert descriptors() == before and not below() and not sandboxes._uids
        found = sandboxes._found
        assert found is not None
        if found.cgroups is not None:
            for own in found.cgroups.own.values():
                await until(lambda own=own: not list(own.glob(f"hands-{os.getpid()}-tool*")))  # type: ignore[misc]  # bound now

    run(main)


def test_nothing_outlives_the_door(tmp_path: Path) -> None:
    """Killed at once, it can clean nothing up: the kernel does. Whoever has no control groups is swept by nobody."""
    kill_a_door(tmp_path)
    run_as_other(kill_a_door)


def kill_a_door(directory: Path) -> None:
    """See that its program goes with it."""

    async def serve() -> None:
        async with running(Sandboxes(directory), "sh", "-c", "setsid sleep 322.5 & sleep 322.5") as program:
            await said(program)

    door = os.fork()
    if door == 0:
        os._exit(run_on("uvloop", serve) is None)
    try:
        asyncio.run(asyncio.wait_for(until(lambda: sleepers("322.5") == 2), DEADLINE_S))
    finally:
        os.kill(door, signal.SIGKILL)
        os.waitpid(door, 0)
    asyncio.run(asyncio.wait_for(until(lambda: sleepers("322.5") == 0), DEADLINE_S))


def test_all_that_are_wanted_first_have_their_limits(tmp_path: Path) -> None:
    """A client's first list starts every server at once, before anybody has looked what this machine offers."""

    async def main() -> None:
        sandboxes = Sandboxes(tmp_path)

        async def held() -> bool:
            async with running(sandboxes, "cat") as program:
                return program._group is not None

        async with asyncio.TaskGroup() as tasks:
            found = [tasks.create_task(held()) for _ in range(8)]
        assert {one.result() for one in found} == {Sandboxes(tmp_path)._look().cgroups is not None}

    run(main)


def test_as_another_user_than_root() -> None:
    """Without control groups all of it is looked at, and each process held by the kernel."""

    async def main(directory: Path) -> None:
        sandboxes = Sandboxes(directory)
        line = "for i in 1 2 3 4 5; do { head -c 20000000 /dev/zero; sleep 100; } | tail & done; wait"
        async with running(sandboxes, "sh", "-c", line, resources=SMALL) as program:
            assert await said(program) == ""
            assert (await program.ended()).startswith("out of memory")
        async with running(sandboxes, "sh", "-c", "f() { f | f & f; }; f; echo on", resources=SMALL) as program:
            await program.read()
            assert len(below()) <= SMALL.processes + 2

    run_as_other(lambda directory: run_on("uvloop", partial(main, directory)))


def test_without_bubblewrap_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(HandsUnavailable, match="bubblewrap"):
        run(lambda: Sandboxes(tmp_path).start(server("true")))
