"""Commands as plain processes of this machine, for development: nothing is contained. It must be asked for by name.

A command runs as the user we are, sees what that user sees, and reaches what it reaches. It has its time and output
bounded, and memory and file size for each of its processes. Its tree is ended as far as it can be found: by a mark in
its environment, which a program that means to can take off.
"""

import asyncio
import contextlib
import os
import resource
import secrets
import signal
from pathlib import Path

from interlock.clock import Clock
from interlock.errors import HandsUnavailable
from interlock.ids import new_id
from interlock.runtime.hands import syscalls
from interlock.runtime.hands.beside import Beside
from interlock.runtime.hands.box import Box
from interlock.runtime.hands.ports import Command, Strength
from interlock.runtime.hands.prelude import PATH, prelude
from interlock.runtime.hands.resources import Resources
from interlock.runtime.hands.tree import Ending, Stdio, Tree, Watched, exit_code, fork
from interlock.runtime.hands.workspaces import Workspaces

_MARK = "INTERLOCK_COMMAND"
_ROUNDS = 50


class Process:
    """See `ports.Hands`."""

    name = "process"
    strength: Strength = "process"

    def __init__(self, workspaces: Workspaces, clock: Clock) -> None:
        """`workspaces`: without users of their own (`own_users=False`)."""
        self.workspaces = workspaces
        self.clock = clock
        self._beside = Beside()

    async def missing(self) -> list[str]:
        """See the port."""
        return [] if syscalls.supported() else ["plain processes are started by programs for Linux on x86-64"]

    async def provision(self, session: str, workspace: str, resources: Resources) -> "ProcessBox":
        """See the port. Egress cannot be denied here, so whoever lists any is refused rather than deceived."""
        if reasons := await self.missing():
            raise HandsUnavailable("; ".join(reasons))
        if resources.egress:
            raise HandsUnavailable("a plain process reaches whatever this machine reaches: egress cannot be listed")
        opened = await asyncio.to_thread(self.workspaces.open, workspace)
        id = new_id("sbx", self.clock.now_ns())
        return await self._beside.join(opened, lambda: ProcessBox(id, session, opened, resources, self.clock))


class ProcessBox(Box):
    """See `ports.Sandbox`."""

    strength: Strength = "process"

    def _shell_command(self) -> Command:
        line = "command -v bash >/dev/null && exec bash -i; exec sh -i"
        return Command(argv=("sh", "-c", line), env={"TERM": "xterm-256color"})

    def _start(self, command: Command, cwd: str, stdio: Stdio) -> Tree:
        mark = secrets.token_hex(16)
        files = str(self.workspace.files)
        env = {"PATH": PATH, "HOME": files, "LANG": "C.UTF-8", "TERM": "dumb", "TMPDIR": str(self.workspace.temporary)}
        program = prelude(
            command.argv,
            {**env, **command.env, _MARK: mark},
            cwd=str(self.workspace.files / cwd),
            status=None,
            rlimits={
                resource.RLIMIT_CORE: 0,
                resource.RLIMIT_FSIZE: self.resources.disk_bytes,
                resource.RLIMIT_DATA: self.resources.memory_bytes,
            },
            terminal=stdio.terminal,
        )
        executable = program.memfd("prelude")
        try:
            return ProcessTree(fork(["prelude"], executable, {}, stdio, [], "/"), mark)
        finally:
            os.close(executable)


class ProcessTree:
    """See `tree.Tree`."""

    def __init__(self, pid: int, mark: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._mark = f"{_MARK}={mark}".encode()
        self.started: asyncio.Future[None] = self._loop.create_future()
        self.started.set_result(None)
        self.gone: asyncio.Future[Ending] = self._loop.create_future()
        self._child = Watched(pid, self._ended)

    def kill(self) -> None:
        """See `tree.Tree`."""
        if not self.gone.done():
            self._child.kill()

    def _ended(self, status: int, cpu_s: float, memory: int) -> None:
        for _ in range(_ROUNDS):  # who is found may have forked meanwhile
            if not self._kill_marked():
                break
        self.gone.set_result(Ending(exit_code=exit_code(status), cpu_s=cpu_s, memory_bytes_peak=memory))

    def _kill_marked(self) -> int:
        """SIGKILL whoever carries the mark; how many there were."""
        found = 0
        for path in Path("/proc").iterdir():
            if not path.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(int(path.name))  # before the look, so that the number cannot be another's
                try:
                    if self._mark in (path / "environ").read_bytes().split(b"\0"):
                        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                        found += 1
                finally:
                    os.close(descriptor)
        return found
