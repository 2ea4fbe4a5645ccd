"""Sandboxes by gVisor: each has a kernel of its own, written in Go, between its commands and this machine's.

The kernel is started when a command comes and nothing runs yet, serves all commands of the sandbox, and goes when none
has come for a minute; a sandbox that runs nothing is a directory. Needs root and runsc 20240729 or later; no
virtualisation. docs/hands.md says what is the same as with bubblewrap, docs/egress.md how connections get out.
"""

import asyncio
import contextlib
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from interlock.clock import Clock
from interlock.errors import HandsUnavailable
from interlock.ids import new_id
from interlock.runtime.hands import egress as way_out
from interlock.runtime.hands import gvisorinit, host
from interlock.runtime.hands.beside import Beside
from interlock.runtime.hands.box import Box, Run
from interlock.runtime.hands.bubblewrap import Egress, Report
from interlock.runtime.hands.cgroups import Cgroups
from interlock.runtime.hands.egress import inside
from interlock.runtime.hands.gvisorbundle import EGRESS, ROOT_UID, RUN, lay_out
from interlock.runtime.hands.gvisorkernel import Kernel, sweep
from interlock.runtime.hands.gvisortree import GvisorTree
from interlock.runtime.hands.ports import Command, Stop, Strength
from interlock.runtime.hands.prelude import PATH, Hung
from interlock.runtime.hands.resources import Resources
from interlock.runtime.hands.tree import Ending, Stdio, Tree
from interlock.runtime.hands.workspace import WITHIN, Workspace
from interlock.runtime.hands.workspaces import Workspaces

PROBE_S = 30.0
IDLE_S = 60.0
"""After the last command; a start costs 0.2 s, a kernel that waits 45 MiB."""
OPEN_FILES_MAX = 4096
KERNEL_BYTES = 128 << 20
"""What gVisor itself may use beside the sandbox's memory: 45 MiB when nothing runs."""
KERNEL_THREADS = 400
_STATE = "gvisor"
_RUNSC = "runsc"
_FROZEN_S, _FROZEN_TRIES = 0.002, 250


class Gvisor:
    """See `ports.Hands`."""

    name = "gvisor"
    strength: Strength = "kernel"

    def __init__(
        self,
        workspaces: Workspaces,
        clock: Clock,
        *,
        egress: Egress | None = None,
        report: Report = lambda session, connected: None,
        also_read: tuple[str, ...] = (),
        program: str = "",
        idle_s: float = IDLE_S,
    ) -> None:
        """
        Args:
            egress: None: who asks for any is refused.
            also_read: directories of this machine that sandboxes see too, read only.
            program: runsc; empty: looked for in PATH and beside this Python.
        """
        self.workspaces = workspaces
        self.clock = clock
        self.egress = egress
        self.report = report
        self.also_read = also_read
        self.idle_s = idle_s
        self._beside = Beside()
        self.runsc = program
        self.cgroups: Cgroups | None = None
        self.stage = Path()
        self.python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
        """Carries connections inside."""
        self._program = program
        self._found = False
        self.awake: set[GvisorBox] = set()
        """Those that have a kernel now."""

    async def missing(self) -> list[str]:
        """See the port. It removes what killed processes left, and runs a command."""
        reasons = await asyncio.to_thread(self._look)
        if not reasons:
            reasons = await self._try()
        self._found = not reasons
        return reasons

    async def provision(self, session: str, workspace: str, resources: Resources) -> "GvisorBox":
        """See the port."""
        if not self._found and (reasons := await self.missing()):
            raise HandsUnavailable("; ".join(reasons))
        id = new_id("sbx", self.clock.now_ns())
        opened = await asyncio.to_thread(self.workspaces.open, workspace)
        door = None
        if resources.egress and self.egress is None:
            raise HandsUnavailable("connections out of a sandbox are asked for, and nothing here lets them out")
        if resources.egress and self.python is None:
            raise HandsUnavailable("connections out of gVisor need a python3 in /usr/bin or /usr/local/bin")
        if self.egress is not None and self.python is not None:  # without a list, too: what is tried is told
            door = await self.egress.open(
                id, resources.egress, lambda connected: self.report(session, connected), session=session
            )
            os.chown(door, ROOT_UID, ROOT_UID)  # who connects to it from inside
        return await self._beside.join(opened, lambda: GvisorBox(self, id, session, opened, resources, door))

    async def close(self) -> None:
        """End every kernel that waits for a command; what is asked for afterwards starts another."""
        for box in list(self.awake):
            await box.rest()

    def _look(self) -> list[str]:
        missing = []
        beside = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
        found = shutil.which(self._program or _RUNSC, path=beside)
        if found is None:
            missing.append("no runsc: `deploy/gvisor.sh DIRECTORY` takes it from Debian's packages; put it into PATH")
        if os.geteuid() != 0 or not self.workspaces.own_users:
            missing.append("gVisor's sandboxes need root, and workspaces with users of their own")
        if missing:
            return missing
        try:
            self.cgroups = Cgroups.find()
        except OSError as error:
            return [f"no control groups, without which nothing holds a kernel to its memory: {error.strerror}"]
        self.runsc = found or ""
        sweep(host.STAGES)
        self.stage = host.lay_out(self.workspaces.root)
        (self.stage / "kernel").mkdir(mode=0o755, exist_ok=True)
        (self.stage / _STATE).mkdir(mode=0o700, exist_ok=True)
        return []

    async def _try(self) -> list[str]:
        """Run `true` in a real sandbox; nothing less says that one can be had."""
        workspace = await asyncio.to_thread(self.workspaces.open, "doctor")
        box = GvisorBox(self, new_id("sbx", self.clock.now_ns()), "doctor", workspace, Resources(), None)
        try:
            async for output in box.execute(Command(argv=("true",), time_s=PROBE_S)):
                if isinstance(output, Stop) and output.exit_code != 0:
                    return [f"`true` ended with {output.exit_code} in a sandbox: {output.reason or 'no reason given'}"]
        except HandsUnavailable as error:
            return [error.message]
        finally:
            await box.destroy()
        return []

    def directory(self, id: str) -> Path:
        """A sandbox's own, outside of what its kernel can reach."""
        return self.stage / _STATE / id


class GvisorBox(Box):
    """See `ports.Sandbox`."""

    strength: Strength = "kernel"

    def __init__(
        self,
        hands: Gvisor,
        id: str,
        session: str,
        workspace: Workspace,
        resources: Resources,
        door: Path | None,
    ) -> None:
        super().__init__(id, session, workspace, resources, hands.clock)
        self._hands = hands
        self._door = door
        self._kernel: Kernel | None = None
        self._changing = asyncio.Lock()  # one kernel starts, or goes, at a time
        self._idle: asyncio.TimerHandle | None = None
        self._going: asyncio.Task[None] | None = None
        self._number = 0

    def _shell_command(self) -> Command:
        return Command(
            argv=("sh", "-c", "command -v bash >/dev/null && exec bash -i; exec sh -i"), env={"TERM": "xterm-256color"}
        )

    def _start(self, command: Command, cwd: str, stdio: Stdio) -> Tree:
        self._number += 1
        if self._idle is not None:
            self._idle.cancel()
        env = {"PATH": PATH, "HOME": WITHIN, "LANG": "C.UTF-8", "TERM": "dumb", "USER": "agent"}
        program = gvisorinit.command(
            command.argv,
            {**env, **(way_out.environment() if self.resources.egress else {}), **command.env},
            cwd=WITHIN if cwd == "." else f"{WITHIN}/{cwd}",
            rlimits={
                resource.RLIMIT_CORE: 0,
                resource.RLIMIT_FSIZE: self.resources.disk_bytes // 32 * 31,  # so that it is the file that is refused
                resource.RLIMIT_NOFILE: OPEN_FILES_MAX,
                resource.RLIMIT_NPROC: self.resources.processes,  # of the user, and so of all commands together
            },
        )
        tree = GvisorTree(self._up, program, stdio, f"c{self._number}")
        tree.gone.add_done_callback(lambda _: self._rest())
        return tree

    async def _up(self) -> Kernel:
        """The kernel, started if there is none. Raises: HandsUnavailable."""
        async with self._changing:
            if self._kernel is not None and self._kernel.gone.done():
                await self._drop()
            if self._kernel is None:
                await asyncio.to_thread(self._lay_out)
                self._kernel = self._boot()
                self._hands.awake.add(self)
            try:
                await self._kernel.up()
            except HandsUnavailable:
                await self._drop()
                raise
            return self._kernel

    def _boot(self) -> Kernel:
        hands, directory, at = self._hands, self._hands.directory(self.id), self._hands.stage / "kernel"
        assert hands.cgroups is not None
        group = hands.cgroups.make(self.id)
        group.limit(
            msgspec.structs.replace(
                self.resources,
                memory_bytes=self.resources.memory_bytes + KERNEL_BYTES,
                processes=2 * self.resources.processes + KERNEL_THREADS,
            )
        )
        sources = {".": directory / "bundle", "files": self.workspace.files, "temporary": self.workspace.temporary}
        if self._door is not None:
            sources["egress"] = self._door.parent
        hung = [Hung(str(path), str(at / name)) for name, path in sources.items()]
        return Kernel(hands.runsc, self.id, directory, group, hung, at)

    def _lay_out(self) -> None:
        """The bundle, in a directory that is the kernel's as long as it lives."""
        directory = self._hands.directory(self.id)
        directory.mkdir(mode=0o700)
        bundle = directory / "bundle"
        bundle.mkdir(mode=0o755)
        assert self.workspace.uid is not None
        at = self._hands.stage / "kernel"
        etc = self._hands.stage / "etc"
        lay_out(
            bundle,
            at,
            etc=etc,
            uid=self.workspace.uid,
            init=self._init(),
            also_read=self._hands.also_read,
        )
        if self._door is not None:
            shutil.copy(inside.__file__, bundle / "run/inside.py")

    def _init(self) -> list[str]:
        """The first process: it lets connections out, and buries the dead."""
        script = "rm -rf /dev/fuse /dev/net && "
        if self._door is None:
            return ["/bin/sh", "-c", script + "echo ready && while :; do sleep 1000000; done"]
        listed = way_out.parse(self.resources.egress)
        given = way_out.arguments(f"{EGRESS}/{self._door.name}", listed, door=bool(self.resources.egress))
        begin = f"{self._hands.python} -I -S {RUN}/inside.py {' '.join(given)}"
        return ["/bin/sh", "-c", script + f"while :; do {begin}; done"]

    def _rest(self) -> None:
        """Nothing may be running any more: the kernel goes in a while."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self._hands.idle_s, self._go)

    def _go(self) -> None:
        if not self._running and (self._going is None or self._going.done()):
            self._going = asyncio.get_running_loop().create_task(self.rest(idle=True))  # `rest` at the end waits for it

    async def rest(self, *, idle: bool = False) -> None:
        """End the kernel, and what runs in it; idle: only if nothing does."""
        async with self._changing:
            if not (idle and self._running):
                await self._drop()

    async def _drop(self) -> None:
        if self._kernel is not None:
            kernel, self._kernel = self._kernel, None
            self._hands.awake.discard(self)
            await kernel.down()

    async def _end_all(self, reason: str) -> None:
        """The kernel goes too: it holds the workspace's directory, which may be exchanged for another."""
        await super()._end_all(reason)
        await self.rest()

    async def _put_away(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self._going is not None:
            await self._going
        if self._door is not None and self._hands.egress is not None:
            await self._hands.egress.close(self.id)

    def _reason(self, run: Run, ending: Ending) -> str:
        assert isinstance(run.tree, GvisorTree)
        if run.tree.ran_out_of == "memory":
            return f"out of memory: the sandbox may have {self.resources.memory_bytes} bytes"
        if run.tree.ran_out_of:
            return f"out of processes: the sandbox may have {self.resources.processes} at once"
        return ""

    async def _stands(self) -> None:
        for _ in range(_FROZEN_TRIES):
            if self._kernel is None or self._kernel.group.frozen():
                break
            await asyncio.sleep(_FROZEN_S)

    @contextlib.contextmanager
    def _still(self) -> Iterator[None]:
        group = self._kernel.group if self._kernel is not None else None
        if group is not None:
            group.freeze(True)
        try:
            yield
        finally:
            if group is not None:
                group.freeze(False)
