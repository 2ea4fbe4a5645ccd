"""The proxy on a Unix socket through which a sandbox reaches whom its list names, and the gateway.

One socket a sandbox, one list. On it: HTTP CONNECT and plain HTTP with an absolute target, SOCKS5, and questions for
names (DNS in its TCP framing); the first byte tells which. Names are resolved here, once, and the connection is made to
the address that was looked at. What it does not do: look into TLS, or carry datagrams.
"""

import asyncio
import contextlib
import re
import shutil
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from interlock.errors import LocalError
from interlock.runtime.hands.egress.allowed import parse
from interlock.runtime.hands.egress.connection import Connection
from interlock.runtime.hands.egress.report import Limits
from interlock.runtime.hands.egress.room import Door, Report, Resolve, Room, resolved
from interlock.runtime.hands.egress.sniff import HEAD_BYTES_MAX
from interlock.runtime.hands.egress.stray import Stray
from interlock.unixpath import short

SOCKET_NAME = "egress.sock"
BACKLOG = 128


class Egress:
    """The proxies of this process's sandboxes."""

    def __init__(
        self,
        directory: Path,
        *,
        limits: Limits | None = None,
        resolve: Resolve = resolved,
        door_of: Callable[[str], Door | None] = lambda session: None,
    ) -> None:
        """
        Args:
            directory: for the sockets, one below it for each sandbox; made, 0700 above them.
            resolve: addresses of a name.
            door_of: a session's way to the gateway, for sandboxes that are opened without one of their own.
        """
        self._directory, self._resolve, self._door_of = directory, resolve, door_of
        self._limits = limits or Limits()
        self._rooms: dict[str, Room] = {}

    async def open(
        self,
        sandbox_id: str,
        allowed: tuple[str, ...],
        report: Report,
        door: Door | None = None,
        *,
        session: str = "",
        uid: int | None = None,
    ) -> Path:
        """Listen for a sandbox; the socket's path. Only this socket, or its directory, is to be seen inside.

        `uid`: whom the socket belongs to, None: us. `report` is called on the loop, at the end of each attempt, and
        must not raise.
        Raises: LocalError: `allowed` holds what is no pattern (resources.egress[n]), or the id is open already.
        """
        if sandbox_id in self._rooms or not re.fullmatch(r"[\w.-]{1,64}", sandbox_id) or sandbox_id.startswith("."):
            raise LocalError(f"{sandbox_id[:100]!r} is open already, or no id of a sandbox", field="sandbox")
        door = door or self._door_of(session)
        room = Room(sandbox_id, parse(allowed), report, self._limits, door, self._resolve)
        path = self._directory / sandbox_id / SOCKET_NAME
        self._rooms[sandbox_id] = room
        try:
            room.server = await asyncio.start_unix_server(
                self._accept(room), sock=self._bound(path, uid), backlog=BACKLOG, limit=HEAD_BYTES_MAX
            )
        except BaseException:
            del self._rooms[sandbox_id]
            raise
        return path

    def _bound(self, path: Path, uid: int | None) -> socket.socket:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o755, exist_ok=True)
        path.unlink(missing_ok=True)  # of a process that was killed
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short(path) as name:
                listener.bind(name)
            path.chmod(0o600)
            if uid is not None:
                shutil.chown(path, uid)
        except BaseException:
            listener.close()
            raise
        return listener

    def _accept(self, room: Room) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if why := room.why_not():
                room.tell("", 0, allowed=False, why=why)
                writer.transport.abort()
                return
            task = asyncio.current_task()
            assert task is not None
            room.tasks.add(task)
            try:
                with contextlib.suppress(asyncio.CancelledError):  # the sandbox is closed; it was told in there
                    await Connection(room, reader, writer).serve()
            finally:
                room.tasks.discard(task)
                writer.transport.abort()

        return accept

    def strayed(self, sandbox_id: str, stray: Stray) -> None:
        """A sandbox sent something around its proxy: it is told as an attempt that was refused."""
        if room := self._rooms.get(sandbox_id):
            room.strayed(stray)

    async def close(self, sandbox_id: str) -> None:
        """End every connection of the sandbox, and remove its socket. Twice is once."""
        if (room := self._rooms.pop(sandbox_id, None)) is None:
            return
        if room.server is not None:
            room.server.close()
        while tasks := set(room.tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        room.end()
        shutil.rmtree(self._directory / sandbox_id, ignore_errors=True)
