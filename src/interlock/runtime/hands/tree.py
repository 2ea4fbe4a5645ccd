"""A command's tree of processes while it runs: what an adapter starts, and what a sandbox needs to know of it."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a tree ended."""

    exit_code: int | None
    """As a shell's; None: not by itself, its sandbox was taken away."""
    cpu_s: float = 0.0
    memory_bytes_peak: int = 0


class Tree(Protocol):
    """One command, or one shell, with all that it starts."""

    started: "asyncio.Future[None]"
    """Done when the program runs. HandsUnavailable: it could not be brought to that."""
    gone: "asyncio.Future[Ending]"
    """Done when no process of it is left."""

    def kill(self) -> None:
        """End all of it, at once, whatever it does against that. Twice is once."""
        ...


class Stdio(msgspec.Struct, frozen=True):
    """Descriptors for a program. They stay the caller's."""

    stdin: int
    stdout: int
    stderr: int
    terminal: bool = False
    """Whether all three are one terminal, which is to be the program's own."""


def fork(
    argv: Sequence[str], executable: int, env: Mapping[str, str], stdio: Stdio, fds: Sequence[int], cwd: str
) -> int:
    """Start an executable in memory; its process id. It inherits the named descriptors and no other.

    No function runs between fork and exec, so the child borrows our memory (vfork) however large we are.
    Raises: OSError: no process to be had.
    """
    process = subprocess.Popen(
        argv,
        executable=f"/proc/self/fd/{executable}",
        stdin=stdio.stdin,
        stdout=stdio.stdout,
        stderr=stdio.stderr,
        pass_fds=(executable, *fds),
        env=dict(env),
        cwd=cwd,
        start_new_session=True,
    )
    process.returncode = 0  # we wait for it ourselves, with its usage; this keeps Popen from doing so, and complaining
    return process.pid


class Watched:
    """A child process of ours, until it ends."""

    def __init__(self, pid: int, ended: Callable[[int, float, int], None]) -> None:
        """`ended`: called once from the loop, with wait(2)'s status, seconds of CPU and the largest memory in bytes."""
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self._ended: Callable[[int, float, int], None] | None = ended
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._reap)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; nothing if it has ended."""
        if self._ended:
            try:
                signal.pidfd_send_signal(self._descriptor, number)
            except ProcessLookupError:
                return

    def _reap(self) -> None:
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if pid == 0 or self._ended is None:
            return
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        ended, self._ended = self._ended, None
        ended(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def exit_code(status: int) -> int:
    """A shell's exit status for wait(2)'s."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
