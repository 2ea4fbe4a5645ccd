"""Paths that another of our processes answers: handed on over a Unix socket, with who asks, as they come.

The relay reads no body and knows no path. What is answered streams through; a client that hangs up ends the request
there too. Terminals are WebSockets, handed on frame by frame. A key that is revoked or expires meanwhile ends both.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import h11
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from interlock.answers import refusal
from interlock.asker import HEADER, Asker, write_asker
from interlock.identity import Key
from interlock.unixpath import short

CONNECT_S = 2.0
HEAD_S = 75.0
"""Until an answer begins: longer than anybody may ask to wait for news."""
IDLE_S = 120.0
"""Between two pieces of an answer; streams say something more often (a comment)."""
STANDS_S = 2.0
"""Between two looks at whether the asker's key still opens the door: streams and terminals stay open for days."""
SHUT = 1008
"""WebSocket's code of a policy violation."""
CHUNK = 64 * 1024
FRAME_BYTES_MAX = 64 * 1024
OF_ONE_MAX, OF_TENANT_MAX = 128, 256
"""Requests and terminals under way, of one principal and of one tenant: half of what the port takes (`asgi`), so that
whoever watches many sessions does not shut out the other tenants."""
PASSED = ("accept", "content-type", "content-length", "last-event-id", "idempotency-key")
_GONE = (
    "agents do not run now: their process is starting again (retry), or the configuration has runtime.enabled = false"
)


class Relay:
    """ASGI application for one socket. `every_tenant`: whoever passes the gate here is an operator."""

    def __init__(self, path: Path, *, every_tenant: bool) -> None:
        self._path = path
        self._every_tenant = every_tenant
        self._under_way: Counter[tuple[str, str]] = Counter()

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        key: Key = scope["state"]["key"]
        if full := self._full(key):
            await refusal("busy", full)(scope, receive, send)
            return
        who = (key.tenant, key.principal)
        self._under_way[who] += 1
        try:
            await self._hand_on(scope, receive, send)
        finally:
            self._under_way[who] -= 1
            self._under_way += Counter()  # those of whom nothing is left

    def _full(self, key: Key) -> str:
        """Which bound is reached; empty: none."""
        if self._under_way[key.tenant, key.principal] >= OF_ONE_MAX:
            return f"a principal may have {OF_ONE_MAX} requests for agents under way, streams included; end some"
        if self._every_tenant:  # operators only
            return ""
        ours = sum(count for (tenant, _), count in self._under_way.items() if tenant == key.tenant)
        if ours >= OF_TENANT_MAX:
            return f"a tenant may have {OF_TENANT_MAX} requests for agents under way, streams included; end some"
        return ""

    async def _hand_on(self, scope: Connection, receive: Receive, send: Send) -> None:
        headers = self._headers(scope)
        if scope["type"] == "websocket":
            await self._terminal(scope, receive, send, headers)
        else:
            # One that is ended lacks its last chunk, so the client sees that it is cut.
            await _while_let_in(scope, _Exchange(self._path, scope, receive, send, headers).run())

    def _headers(self, scope: Connection) -> list[tuple[str, str]]:
        key: Key = scope["state"]["key"]
        asker = Asker(
            tenant=key.tenant,
            principal=key.principal,
            key_id=key.id,
            scopes=tuple(key.scopes),
            every_tenant=self._every_tenant,
        )
        given = MutableHeaders(scope=scope)
        return [*((name, given[name]) for name in PASSED if name in given), (HEADER, write_asker(asker))]

    async def _terminal(
        self, scope: Connection, receive: Receive, send: Send, headers: Sequence[tuple[str, str]]
    ) -> None:
        await receive()  # websocket.connect
        try:
            with short(self._path) as name:
                opening = unix_connect(
                    name,
                    uri=f"ws://runtime{_target(scope)}",
                    additional_headers=[pair for pair in headers if pair[0] == HEADER],
                    compression=None,
                    max_size=FRAME_BYTES_MAX,
                    open_timeout=CONNECT_S,
                )
                inner = await opening
            async with inner:
                await send({"type": "websocket.accept"})
                if not await _while_let_in(scope, _both_ways(inner, receive, send)):
                    reason = "the key was revoked, or has expired"
                    await send({"type": "websocket.close", "code": SHUT, "reason": reason})
        except InvalidStatus as error:
            await _denied(error, scope, receive, send)
        except (OSError, TimeoutError, WebSocketException):
            await refusal("busy", _GONE)(scope, receive, send)


async def _while_let_in(scope: Connection, serving: Coroutine[Any, Any, None]) -> bool:
    """Serve as long as the asker's key would be let in; whether it was to the end."""
    task = asyncio.ensure_future(serving)
    try:
        while not (await asyncio.wait((task,), timeout=STANDS_S))[0]:
            if not scope["state"]["stands"]():
                return False
        task.result()
        return True
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))


async def _both_ways(inner: ClientConnection, receive: Receive, send: Send) -> None:
    """Until either end closes."""

    async def out() -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in inner:
                kind = "bytes" if isinstance(frame, bytes) else "text"
                await send({"type": "websocket.send", kind: frame})
        code = inner.close_code or 1011
        await send({"type": "websocket.close", "code": 1011 if code == 1006 else code, "reason": inner.close_reason})

    sending = asyncio.ensure_future(out())
    try:
        while (message := await receive())["type"] == "websocket.receive":
            frame = message.get("bytes")
            with contextlib.suppress(ConnectionClosed):
                await inner.send(message["text"] if frame is None else frame)
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending


async def _denied(error: InvalidStatus, scope: Connection, receive: Receive, send: Send) -> None:
    """What the other process refused with, in its own words."""
    answer = error.response
    denial: ASGIApp = _Denial(answer.status_code, bytes(answer.body or b""))
    await denial(scope, receive, send)


class _Denial:
    def __init__(self, status: int, body: bytes) -> None:
        self._status, self._body = status, body

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(self._body)).encode())]
        await send({"type": "websocket.http.response.start", "status": self._status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": self._body})


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, path: Path, scope: Connection, receive: Receive, send: Send, headers: Sequence[tuple[str, str]]
    ) -> None:
        self._path, self._scope, self._receive, self._send = path, scope, receive, send
        self._headers = headers
        self._http = h11.Connection(h11.CLIENT)
        self._begun = False

    async def run(self) -> None:
        """Answers the client whatever happens; raises nothing but a cancellation."""
        try:
            async with asyncio.timeout(CONNECT_S):
                with short(self._path) as name:
                    reader, writer = await asyncio.open_unix_connection(name)
        except (OSError, TimeoutError):
            await refusal("busy", _GONE)(self._scope, self._receive, self._send)
            return
        asking = asyncio.ensure_future(self._ask(writer))
        answering = asyncio.ensure_future(self._answer(reader))
        try:
            # The asking ends when the client hangs up, the answering when all is said.
            await asyncio.wait((asking, answering), return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and asking.exception() is not None:  # it would not read all of it, and says why
                await asyncio.wait((answering,))
            if answering.done() and (error := answering.exception()) is not None:
                await self._failed(error)
        finally:
            for task in (asking, answering):
                task.cancel()
            await asyncio.wait((asking, answering))
            writer.close()

    async def _ask(self, writer: asyncio.StreamWriter) -> None:
        headers = [("host", "runtime"), *self._headers]
        if all(name != "content-length" for name, _ in self._headers) and self._scope["method"] in ("POST", "PUT"):
            headers.append(("transfer-encoding", "chunked"))
        head = h11.Request(method=self._scope["method"], target=_target(self._scope), headers=headers)
        writer.write(self._http.send(head) or b"")
        ended = False
        while (message := await self._receive())["type"] == "http.request":
            if ended:
                continue
            if message.get("body"):
                writer.write(self._http.send(h11.Data(data=message["body"])) or b"")
            if not message.get("more_body"):
                writer.write(self._http.send(h11.EndOfMessage()) or b"")
                ended = True
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader) -> None:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout(IDLE_S if self._begun else HEAD_S):
                    self._http.receive_data(await reader.read(CHUNK))
            elif isinstance(event, h11.Response):
                self._begun = True
                kept = [(name, value) for name, value in event.headers if name not in (b"connection", b"date")]
                await self._send({"type": "http.response.start", "status": event.status_code, "headers": kept})
            elif isinstance(event, h11.Data):
                await self._send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
            elif isinstance(event, h11.EndOfMessage):
                await self._send({"type": "http.response.body", "body": b""})
                return
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("closed without an answer")

    async def _failed(self, error: BaseException) -> None:
        if not isinstance(error, OSError | TimeoutError | h11.RemoteProtocolError):
            raise error
        if not self._begun:
            await refusal("busy", _GONE)(self._scope, self._receive, self._send)
        # Else the answer ends where it is: without its last chunk, so the client sees that it is cut.


def _target(scope: Connection) -> str:
    query = scope["query_string"]
    return str((scope["raw_path"] + (b"?" + query if query else b"")).decode("ascii"))
