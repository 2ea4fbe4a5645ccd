"""Sandboxes by bubblewrap: namespaces, a seccomp filter, Landlock, control groups around each command (docs/hands.md).

A command is a bubblewrap of its own, with its own processes, network and mounts; what commands of one sandbox share is
the workspace, /tmp, and one control group while any of them runs. As root each workspace's commands run as a user of
its own that owns nothing else here; otherwise as the user we are.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from interlock.clock import Clock
from interlock.errors import HandsUnavailable
from interlock.ids import new_id
from interlock.runtime.hands import egress as way_out
from interlock.runtime.hands import host
from interlock.runtime.hands.beside import Beside
from interlock.runtime.hands.box import Box, Run
from interlock.runtime.hands.bwraptree import BwrapTree
from interlock.runtime.hands.cgroups import Group
from interlock.runtime.hands.confined import Cell, bury, out_of_memory, start
from interlock.runtime.hands.host import Host
from interlock.runtime.hands.outlet import Outlet
from interlock.runtime.hands.ports import Command, Stop, Strength
from interlock.runtime.hands.prelude import PATH, Hung
from interlock.runtime.hands.relay import Relay
from interlock.runtime.hands.resources import Resources
from interlock.runtime.hands.tree import Ending, Stdio, Tree
from interlock.runtime.hands.workspace import WITHIN, Workspace
from interlock.runtime.hands.workspaces import Workspaces

PROBE_S = 10.0
_FROZEN_S, _FROZEN_TRIES = 0.002, 250


class Egress(Protocol):
    """What lets connections out: a proxy on a Unix socket a sandbox (`hands.egress`)."""

    async def open(
        self, sandbox_id: str, allowed: tuple[str, ...], report: Callable[[Any], None], *, session: str
    ) -> Path:
        """Listen for a sandbox of a session; the socket's path."""
        ...

    async def close(self, sandbox_id: str) -> None:
        """End it, and the connections through it."""
        ...

    def strayed(self, sandbox_id: str, stray: way_out.Stray) -> None:
        """Something was sent around it."""
        ...


Report = Callable[[str, Any], None]
"""Told of the session and each connection that was asked for."""


class Bubblewrap:
    """See `ports.Hands`."""

    name = "bubblewrap"
    strength: Strength = "namespace"

    def __init__(
        self,
        workspaces: Workspaces,
        clock: Clock,
        *,
        egress: Egress | None = None,
        report: Report = lambda session, connected: None,
        also_read: tuple[str, ...] = (),
        program: str = "bwrap",
        require_cgroups: bool = False,
    ) -> None:
        """
        Args:
            egress: None: who asks for any is refused.
            also_read: directories of this machine that sandboxes see too, read only (`/opt/tools`).
            require_cgroups: whether weaker limits (see `weaker`) are a reason to have none of these sandboxes.
        """
        self.workspaces = workspaces
        self.clock = clock
        self.egress = egress
        self.report = report
        self.also_read = also_read
        self._program = program
        self._require_cgroups = require_cgroups
        self._host: Host | None = None
        self._beside = Beside()

    async def missing(self) -> list[str]:
        """See the port. What was found is kept if nothing is missing."""
        found = await asyncio.to_thread(host.look, self._program, self.workspaces.root, self.also_read)
        reasons = list(found.missing)
        if self._require_cgroups and found.cgroups is None:
            reasons += found.weaker
        if not reasons:
            reasons = await self._try(found)
        if not reasons:
            self._host = found
        return reasons

    async def weaker(self) -> list[str]:
        """Which limits hold less than they should here, and what would help; to be asked when nothing is missing."""
        return list((await self._ready()).weaker)

    async def provision(self, session: str, workspace: str, resources: Resources) -> "BubblewrapBox":
        """See the port."""
        found = await self._ready()
        id = new_id("sbx", self.clock.now_ns())
        opened = await asyncio.to_thread(self.workspaces.open, workspace)
        door = None
        if self.egress is None and resources.egress:
            raise HandsUnavailable("connections out of a sandbox are asked for, and nothing here lets them out")
        if self.egress is not None:  # without a list, too: what is tried is told
            door = await self.egress.open(
                id, resources.egress, lambda connected: self.report(session, connected), session=session
            )
        return await self._beside.join(opened, lambda: BubblewrapBox(self, found, id, session, opened, resources, door))

    async def _ready(self) -> Host:
        if self._host is None and (reasons := await self.missing()):
            raise HandsUnavailable("; ".join(reasons))
        assert self._host is not None
        return self._host

    async def _try(self, found: Host) -> list[str]:
        """Run `true` in a real sandbox; nothing less says that one can be had."""
        workspace = await asyncio.to_thread(self.workspaces.open, "doctor")
        id = new_id("sbx", self.clock.now_ns())  # several may look at once
        box = BubblewrapBox(self, found, id, "doctor", workspace, Resources(), None)
        try:
            async for output in box.execute(Command(argv=("true",), time_s=PROBE_S)):
                if isinstance(output, Stop) and output.exit_code != 0:
                    return [f"`true` ended with {output.exit_code} in a sandbox: {output.reason or 'no reason given'}"]
        except HandsUnavailable as error:
            return [host.explain(error.message)]
        finally:
            await box.destroy()
        return []


class BubblewrapBox(Box):
    """See `ports.Sandbox`."""

    strength: Strength = "namespace"

    def __init__(
        self,
        hands: Bubblewrap,
        found: Host,
        id: str,
        session: str,
        workspace: Workspace,
        resources: Resources,
        door: Path | None,
    ) -> None:
        super().__init__(id, session, workspace, resources, hands.clock)
        self._hands = hands
        self._host = found
        self._door = door
        self._group: Group | None = None
        self._groups = self._in_group = 0

    def _shell_command(self) -> Command:
        line = "command -v bash >/dev/null && exec bash -i; exec sh -i"
        return Command(argv=("sh", "-c", line), env={"TERM": "xterm-256color"})

    def _start(self, command: Command, cwd: str, stdio: Stdio) -> Tree:
        group = self._enter()
        try:
            tree = start(self._host, self._cell(command, cwd), stdio, group, self._outlet())
        except BaseException:
            self._leave()
            raise
        tree.gone.add_done_callback(lambda _: self._leave())
        return tree

    def _cell(self, command: Command, cwd: str) -> Cell:
        workspace, stage, hung = self.workspace, self._host.stage, tuple[Hung, ...]()
        files, temporary = str(workspace.files), str(workspace.temporary)
        if workspace.uid is not None:
            hung = (Hung(files, str(stage / "files")), Hung(temporary, str(stage / "temporary")))
            files, temporary = (one.at for one in hung)
        env = {
            "PATH": PATH,
            "HOME": WITHIN,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "USER": "agent",
        }
        env |= way_out.environment() if self.resources.egress else {}
        return Cell(
            argv=command.argv,
            env={**env, **command.env},
            cwd=WITHIN if cwd == "." else f"{WITHIN}/{cwd}",
            mounts=("--bind", files, WITHIN, "--bind", temporary, "/tmp"),  # noqa: S108 - the sandbox's own
            rules=self._host.rules,
            uid=workspace.uid,
            hung=hung,
            file_bytes=self.resources.disk_bytes,
            processes=self.resources.processes + 1,
            memory_bytes=self.resources.memory_bytes,
        )

    def _outlet(self) -> Outlet | None:
        egress = self._hands.egress
        if self._door is None or egress is None:
            return None
        listed = self.resources.egress
        ports = way_out.ports(way_out.parse(listed), door=True) if listed else []
        return Outlet(Relay(self._door, lambda stray: egress.strayed(self.id, stray)), ports, proxy=bool(listed))

    # The control group: made for the first that runs, removed with the last.

    def _enter(self) -> Group | None:
        if self._group is None and self._host.cgroups is not None:
            self._groups += 1
            self._group = self._host.cgroups.make(f"{self.id}-{self._groups}")
            self._group.limit(self.resources)
        self._in_group += 1
        return self._group

    def _leave(self) -> None:
        self._in_group -= 1
        if self._group is not None and not self._in_group:
            group, self._group = self._group, None
            bury(group)

    def _reason(self, run: Run, ending: Ending) -> str:
        assert isinstance(run.tree, BwrapTree)
        if run.tree.out_of_memory:
            return out_of_memory(self.resources.memory_bytes)
        return ""

    def _over(self) -> str:
        if self._host.cgroups is None:
            used = sum(run.tree.memory() for run in self._running if isinstance(run.tree, BwrapTree))
            if used > self.resources.memory_bytes:
                return out_of_memory(self.resources.memory_bytes)
        return ""

    @contextlib.contextmanager
    def _still(self) -> Iterator[None]:
        group = self._group
        if group is not None:
            group.freeze(True)
        try:
            yield
        finally:
            if group is not None:
                group.freeze(False)

    async def _stands(self) -> None:
        for _ in range(_FROZEN_TRIES):
            if self._group is None or self._group.frozen():
                break
            await asyncio.sleep(_FROZEN_S)

    async def _put_away(self) -> None:
        if self._door is not None and self._hands.egress is not None:
            await self._hands.egress.close(self.id)
