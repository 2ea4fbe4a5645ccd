"""One gVisor kernel: started when a command needs it, and gone without a trace when it is not, whoever dies first.

It is a child of ours (`runsc run`, in the foreground), tied to us by the kernel's parent death signal at each step, in
a control group of its own. So it cannot outlive us; what is left of a killed process is a directory, which `sweep`
removes, looking for processes first all the same.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from interlock.errors import HandsUnavailable
from interlock.runtime.hands import trees
from interlock.runtime.hands.cgroups import Group, Usage
from interlock.runtime.hands.host import process
from interlock.runtime.hands.prelude import PATH, Hung, launcher
from interlock.runtime.hands.tree import Stdio, Watched, fork

READY = b"ready\n"
START_S = 30.0
"""For one start: 0.15 s here, more on a machine that is short of memory or cores."""
_PF_EXITING = 4
_SAID_BYTES = 2000
_GONE_S, _GONE_TRIES = 0.02, 250
FLAGS = (
    *("--platform=systrap", "--network=none", "--ignore-cgroups", "--host-uds=open", "--overlay2=none"),
    *("--directfs=false", "--net-raw=true"),
)
"""systrap needs no virtualisation. No network but loopback. Files only through a process of their own (gofer), so that
the kernel itself holds no capability and opens nothing."""


class Kernel:
    """Of one sandbox. `up` before each use."""

    def __init__(self, runsc: str, id: str, directory: Path, group: Group, hung: Sequence[Hung], at: Path) -> None:
        """
        Args:
            directory: its own; removed at the end. `bundle` in it is laid out already.
            hung: what is to be seen at which path, in mounts of the kernel's own.
            at: where the bundle is, with those mounts.
        """
        self.id = id
        self.directory = directory
        self.group = group
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._runsc = runsc
        self._asked = False
        self._ready = self._start(hung, at)

    @property
    def died(self) -> bool:
        """Whether it ended without being asked."""
        return self.gone.done() and not self._asked

    @property
    def dying(self) -> bool:
        """Whether its end has begun, of which clients hear before we do.

        Source: proc(5), /proc/PID/stat, fields 3 and 9; Linux, include/linux/sched.h, PF_EXITING.
        """
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.directory / "pid").read_text())
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return fields[0] in "ZX" or bool(int(fields[6]) & _PF_EXITING)
        return True

    @property
    def ran_out_of(self) -> str:
        """What the limits of its control group did not let it have, if it died of that; empty: of something else."""
        if self._usage.oom_kills:
            return "memory"
        return "processes" if self._usage.forks_refused else ""

    def usage(self) -> Usage:
        """What it has used so far."""
        return self._usage if self.gone.done() else self.group.usage()

    def argv(self, *arguments: str) -> list[str]:
        """A command of runsc's about this sandbox."""
        return [self._runsc, f"--root={self.directory}/state", *FLAGS, *arguments]

    def spawn(self, arguments: Sequence[str], stdio: Stdio, ended: Callable[[int, float, int], None]) -> Watched:
        """Start a client of runsc's, tied to us. Raises: OSError."""
        program = launcher(self.argv(*arguments), parent=os.getpid(), rlimits={}, terminal=stdio.terminal)
        executable = program.memfd("launcher")
        try:
            return Watched(fork(["runsc"], executable, {"PATH": PATH}, stdio, [], "/"), ended)
        finally:
            os.close(executable)

    def _start(self, hung: Sequence[Hung], at: Path) -> "asyncio.Task[None]":
        (self.directory / "state").mkdir(mode=0o700)
        said, says = os.pipe2(os.O_CLOEXEC)
        complaints = os.memfd_create("complaints", os.MFD_CLOEXEC)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        program = launcher(
            self.argv("run", f"--bundle={at}", f"--pid-file={self.directory}/pid", self.id),
            parent=os.getpid(),
            joins=[str(path) for path in self.group.joins],
            hung=hung,
            rlimits={},
        )
        executable = program.memfd("launcher")
        self._usage = Usage()
        try:
            pid = fork(["runsc"], executable, {"PATH": PATH}, Stdio(nothing, says, complaints), [], "/")
        except BaseException:
            for descriptor in (said, complaints):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (executable, says, nothing):
                os.close(descriptor)
        self._process = Watched(pid, self._ended)
        return asyncio.get_running_loop().create_task(self._until_ready(said, complaints))  # `up` and `down` await it

    def _ended(self, status: int, cpu_s: float, memory: int) -> None:
        self._usage = self.group.usage()
        self.group.kill()  # whoever did not follow it
        self.gone.set_result(None)

    async def _until_ready(self, said: int, complaints: int) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        pipe = os.fdopen(said, "rb", buffering=0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        try:
            async with asyncio.timeout(START_S):
                line = await reader.readline()
        except TimeoutError:
            line = b""
        finally:
            transport.close()
        why = os.pread(complaints, _SAID_BYTES, 0).decode(errors="replace").strip()
        os.close(complaints)
        if line != READY:
            self._kill()
            raise HandsUnavailable(f"gVisor did not start: {why or f'it said nothing in {START_S:g} s'}")

    async def up(self) -> None:
        """Return when commands can be run. Raises: HandsUnavailable: it does not start."""
        await asyncio.shield(self._ready)

    def _kill(self) -> None:
        self._process.kill()
        self.group.kill()

    async def down(self) -> None:
        """End it, and remove what was its own. Twice is once."""
        self._asked = True
        with contextlib.suppress(HandsUnavailable, asyncio.CancelledError):
            self._ready.cancel()
            await self._ready
        self._kill()
        await asyncio.shield(self.gone)
        for _ in range(_GONE_TRIES):
            if self.group.remove():
                break
            await asyncio.sleep(_GONE_S)
        await asyncio.to_thread(trees.remove, self.directory)


def sweep(stages: Path) -> int:
    """SIGKILL what belongs to processes that are no more, by its `--root`; how many that were.

    There should be none. `host.lay_out` removes the directories.
    """
    begin, found = f"--root={stages}/".encode(), 0
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0") if path.name.isdigit() else []
            for stage in (word.removeprefix(begin).split(b"/")[0].decode() for word in words if word.startswith(begin)):
                if stage != process(stage.partition("-")[0]):
                    os.kill(int(path.name), signal.SIGKILL)
                    found += 1
    return found
