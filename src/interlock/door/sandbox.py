"""Tool servers that are programs: each in a sandbox with the walls and limits of an agent's command (docs/hands.md).

A program sees /usr and the paths that the configuration names, read only, and a /tmp of its own that is memory, so that
nothing of it is left when it ends, however the door ends. No network, no environment but its own, nothing of the data
directory. Without such a sandbox nothing is started.
"""

import asyncio
import itertools
import secrets
from collections.abc import Sequence
from pathlib import Path

from interlock.datadir import would_show
from interlock.door.program import Program
from interlock.door.settings import ToolServer
from interlock.errors import HandsUnavailable, LocalError
from interlock.runtime.hands import host
from interlock.runtime.hands.cgroups import Group
from interlock.runtime.hands.confined import Cell, bury, start
from interlock.runtime.hands.host import SHM_BYTES, Host
from interlock.runtime.hands.landlock import RULES
from interlock.runtime.hands.prelude import PATH
from interlock.runtime.hands.workspace import WITHIN

FIRST_UID = 0x7F000000
"""As root a program runs as a user whom no other has while it runs; agents' workspaces count from further below."""
TMP = "/tmp"  # noqa: S108 - the sandbox's own


class Sandboxes:
    """Those of one door."""

    def __init__(self, hidden: Path) -> None:
        """`hidden`: the data directory: no server's `read` may show it."""
        self._hidden = hidden
        self._found: Host | None = None
        self._looking = asyncio.Lock()
        self._uids = set[int]()

    async def start(self, server: ToolServer) -> Program:
        """Its program, running; `end` it.

        Raises: HandsUnavailable: no sandbox can be had here. LocalError: `read` shows what is hidden, or is not there.
        """
        async with self._looking:  # the first call of a client wants all servers at once
            if self._found is None:
                self._found = await asyncio.to_thread(self._look)
        found, uid = self._found, self._uid()
        group: Group | None = None
        try:
            cell = _cell(found, server, uid, self._hidden)
            if found.cgroups is not None:
                group = found.cgroups.make(f"tool-{secrets.token_hex(8)}")
                group.limit(server.resources)
            program = Program(server, lambda stdio: start(found, cell, stdio, group), group)
        except OSError as error:
            self._leave(uid, group)
            raise HandsUnavailable(f"no program can be started now: {error.strerror}") from error
        except BaseException:
            self._leave(uid, group)
            raise
        program.gone.add_done_callback(lambda _: self._leave(uid, group))
        try:
            await program.begin()
        except BaseException:
            await program.end()
            raise
        return program

    def _look(self) -> Host:
        found = host.look("bwrap", self._hidden / "run", ())
        if found.missing:
            raise HandsUnavailable("; ".join(found.missing))
        return found

    def _uid(self) -> int | None:
        if not host.others():
            return None
        uid = next(uid for uid in itertools.count(FIRST_UID) if uid not in self._uids)
        self._uids.add(uid)
        return uid

    def _leave(self, uid: int | None, group: Group | None) -> None:
        """Nothing of it is left."""
        if uid is not None:
            self._uids.discard(uid)
        if group is not None:
            bury(group)


def _cell(found: Host, server: ToolServer, uid: int | None, hidden: Path) -> Cell:
    check(server.read, hidden)
    try:
        shown, rules, hung = host.show(found, server.read, hang=uid is not None)
    except FileNotFoundError as error:
        raise LocalError(f"read: {error.filename!r} is not there", field="read") from error
    resources = server.resources
    return Cell(
        argv=server.command,
        env={"PATH": PATH, "HOME": TMP, "LANG": "C.UTF-8", **server.env},
        cwd=TMP,
        mounts=("--size", str(resources.disk_bytes), "--tmpfs", TMP, *shown),
        rules={**{path: rights for path, rights in RULES.items() if path != WITHIN}, **rules},
        uid=uid,
        hung=tuple(hung),
        file_bytes=resources.disk_bytes + SHM_BYTES,  # so that a full /tmp is told as such, and ends nobody
        processes=None if found.cgroups is not None else resources.processes + 1,  # a group says whom it refused
        memory_bytes=resources.memory_bytes,
    )


def check(read: Sequence[str], hidden: Path) -> None:
    """Raises: LocalError: a path would show what is hidden."""
    for path in read:
        if would_show(path, hidden):
            raise LocalError(f"read: {path!r} would show the data directory", field="read")
