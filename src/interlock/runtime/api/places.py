"""A session's files and terminals for people: in a sandbox like its agent's, with the same workspace.

A sandbox is provisioned for each file that is asked for and put away again; terminals keep theirs until they end. What
people do here stands in no log: it is theirs, like what they do in an editor.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from interlock.answers import json, query, refusal
from interlock.errors import HandsLost, HandsUnavailable, InterlockError, LocalError, TransientError
from interlock.runtime.api.paths import SessionPaths, number
from interlock.runtime.hands import Hands, Sandbox, Shell
from interlock.runtime.sessions.ports import Row
from interlock.runtime.sessions.service import Sessions

FILE_BYTES_MAX = 64 << 20
PIECE_BYTES = 8 << 20
NAME_CHARS_MAX = 64
COLUMNS_MAX = 1000
KEYS_BYTES_MAX = 64 * 1024
SHELLS_OF_ONE, SHELLS_MAX = 10, 128
"""Terminals of one session, and in all: each is a sandbox of its own."""
SHELL_IDLE_S = 3600.0
"""A terminal that nobody looks at and that says nothing is ended."""


class Size(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text frame: the terminal's new size."""

    columns: int
    rows: int


class Places:
    """The handlers, and the terminals that are open."""

    def __init__(self, paths: SessionPaths, sessions: Sessions, hands: Mapping[str, Hands]) -> None:
        self._paths = paths
        self._sessions = sessions
        self._hands = hands
        self._open: dict[tuple[str, str], asyncio.Future[Shell]] = {}
        self._watched: Counter[tuple[str, str]] = Counter()
        """Connections to each."""
        self._endings: set[asyncio.Future[None]] = set()

    def routes(self) -> list[BaseRoute]:
        """Where files and terminals are."""
        return [
            Route("/v1/sessions/{session}/files/{path:path}", self.read, methods=["GET"]),
            Route("/v1/sessions/{session}/files/{path:path}", self.write, methods=["PUT"]),
            WebSocketRoute("/v1/sessions/{session}/shells/{name}", self.shell),
        ]

    async def close(self) -> None:
        """End every terminal."""
        for opening in list(self._open.values()):
            with contextlib.suppress(InterlockError):
                await (await opening).close()
        if self._endings:
            await asyncio.wait(self._endings)

    async def read(self, request: Request) -> Response:
        query(request, ())
        row = await self._paths.row(request)
        async with self._sandbox(row) as sandbox:
            data, path = bytearray(), request.path_params["path"]
            while piece := await sandbox.read(path, offset=len(data), limit=PIECE_BYTES):
                data += piece
                if len(data) > FILE_BYTES_MAX:
                    message = f"the file is larger than {FILE_BYTES_MAX} bytes"
                    raise LocalError(message, code="body_too_large", field="path")
        return Response(bytes(data), media_type="application/octet-stream")

    async def write(self, request: Request) -> Response:
        query(request, ())
        row = await self._paths.row(request)
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > FILE_BYTES_MAX:
                raise LocalError(f"a file has at most {FILE_BYTES_MAX} bytes", code="body_too_large", field="body")
            parts.append(part)
        async with self._sandbox(row) as sandbox:
            await sandbox.write(request.path_params["path"], b"".join(parts))
        return json({"session": row.session, "path": request.path_params["path"], "bytes": size}, 201)

    async def shell(self, socket: WebSocket) -> None:
        """A terminal that goes on when this connection ends, and is found again by its name."""
        try:
            params = query(socket, ("columns", "rows"))
            columns, rows = number(params, "columns", 80, COLUMNS_MAX), number(params, "rows", 24, COLUMNS_MAX)
            shell = await self._shell(await self._paths.row(socket), socket.path_params["name"], columns, rows)
        except InterlockError as error:
            await socket.send_denial_response(refusal(error.code, error.message, error.field))
            return
        await socket.accept()
        which = (socket.path_params["session"], socket.path_params["name"])
        self._watched[which] += 1
        showing = asyncio.ensure_future(self._show(socket, shell))
        try:
            with contextlib.suppress(WebSocketDisconnect):
                while await self._typed(socket, shell):
                    pass
        finally:
            self._watched[which] -= 1
            if not self._watched[which]:
                del self._watched[which]
            showing.cancel()
            await asyncio.wait((showing,))

    async def _show(self, socket: WebSocket, shell: Shell) -> None:
        async for data in shell.attach():
            await socket.send_bytes(data)
        await socket.close(1000)

    async def _typed(self, socket: WebSocket, shell: Shell) -> bool:
        message = await socket.receive()
        if message["type"] != "websocket.receive":
            return False
        keys, text = message.get("bytes"), message.get("text")
        try:
            if keys is not None:
                await shell.write(keys[:KEYS_BYTES_MAX])
            elif text is not None:
                size = msgspec.json.decode(text[:200], type=Size)
                await shell.resize(min(max(size.columns, 1), COLUMNS_MAX), min(max(size.rows, 1), COLUMNS_MAX))
        except msgspec.DecodeError:
            await socket.close(1003, 'a text frame is {"columns": N, "rows": N}')
            return False
        except (LocalError, HandsLost):  # it has ended: what it said last is still shown
            return False
        return True

    async def _shell(self, row: Row, name: str, columns: int, rows: int) -> Shell:
        """The terminal of that name; whoever comes while it is opened gets the same. Raises: TransientError `busy`."""
        if not (0 < len(name) <= NAME_CHARS_MAX and name.isprintable()):
            raise LocalError(f"a shell's name has 1 to {NAME_CHARS_MAX} characters", field="name")
        which = (row.session, name)
        if which not in self._open:
            if len(self._open) >= SHELLS_MAX or sum(there[0] == row.session for there in self._open) >= SHELLS_OF_ONE:
                message = f"{SHELLS_OF_ONE} terminals of a session are open, or {SHELLS_MAX} in all: end one with exit"
                raise TransientError(message, code="busy", field="name")
            self._open[which] = asyncio.ensure_future(self._begun(which, row, columns, rows))
        return await asyncio.shield(self._open[which])

    async def _begun(self, which: tuple[str, str], row: Row, columns: int, rows: int) -> Shell:
        try:
            sandbox = await self._provision(row)
            try:
                shell = await sandbox.shell(columns=columns or 80, rows=rows or 24)
            except BaseException:
                await sandbox.destroy()
                raise
        except BaseException:
            self._open.pop(which, None)
            raise
        ending = asyncio.ensure_future(self._over(which, sandbox, shell))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        return shell

    async def _over(self, which: tuple[str, str], sandbox: Sandbox, shell: Shell) -> None:
        """When the shell ends, or has said nothing to nobody for `SHELL_IDLE_S`."""
        said = shell.attach()
        try:
            while True:
                piece = asyncio.ensure_future(anext(said))
                while not (await asyncio.wait((piece,), timeout=SHELL_IDLE_S))[0]:
                    if not self._watched.get(which):
                        piece.cancel()
                        return
                piece.result()
        except StopAsyncIteration:
            pass
        finally:
            self._open.pop(which, None)
            await shell.close()
            await sandbox.destroy()

    @asynccontextmanager
    async def _sandbox(self, row: Row) -> AsyncIterator[Sandbox]:
        sandbox = await self._provision(row)
        try:
            yield sandbox
        finally:
            await sandbox.destroy()

    async def _provision(self, row: Row) -> Sandbox:
        state = await self._sessions.state(row.tenant, row.session)
        assert state.created is not None, "a session begins with session.created"
        hands = self._hands.get(state.agent.hands)
        if hands is None:
            raise HandsUnavailable(f"{state.agent.hands!r} is not among this server's [runtime] hands")
        return await hands.provision(row.session, state.created.workspace, state.agent.resources)
