"""The two ways to an upstream, both bounded and redacted: nothing that it sends is seen by anybody before that.

The `mcp` SDK frames messages over HTTP; its standard-streams client reads lines of any length, so that is done here.
"""

import asyncio
import contextlib
import functools
import logging
import math
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp.shared.message import SessionMessage
from mcp_types import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from interlock.door.program import Program
from interlock.door.redaction import Redactor
from interlock.door.sandbox import Sandboxes
from interlock.door.settings import ToolServer

Item = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Item], Any]
Tell = Callable[[str], None]
"""Told why a connection is about to end, in words for whoever waits for an answer."""

CONNECT_S = 10.0
NOTICES_A_SECOND = 500
"""Messages that answer nothing, and lines that are none; an upstream that sends more floods, and is cut off."""
ASKED_MAX = 16
"""Of an upstream, of its own, that wait for their answers: each may be as long as a result, and wait for a person."""
ENVELOPE_BYTES = 64 * 1024
"""What a message may be longer than the result in it."""

_log = logging.getLogger(__name__)


def patience_s(server: ToolServer) -> float:
    """How long a handshake may take, and a program that reads nothing of what it is sent."""
    return max(CONNECT_S, server.timeout_s)


class Flooded(Exception):
    """The upstream sends more than it may."""


@functools.lru_cache(maxsize=64)
def _trusted(ca_bundle: str) -> ssl.SSLContext:
    """Made once: it takes longer than a call. Raises: OSError: the bundle cannot be read."""
    return ssl.create_default_context(cafile=ca_bundle or None)


@asynccontextmanager
async def over_http(
    server: ToolServer, auth: httpx2.Auth | None, redactor: Redactor, tell: Tell
) -> AsyncGenerator[Streams]:
    """Streamable HTTP. Redirects are followed within the origin, and nowhere else (the SDK's doing)."""
    limit = server.result_bytes + ENVELOPE_BYTES
    timeout = httpx2.Timeout(CONNECT_S, read=server.timeout_s + CONNECT_S)
    transport = _Bounded(httpx2.AsyncHTTPTransport(verify=_trusted(server.ca_bundle)), limit, server.timeout_s)
    async with (
        httpx2.AsyncClient(transport=transport, timeout=timeout, auth=auth, trust_env=False) as client,
        streamable_http_client(server.url, http_client=client, max_sse_event_size=limit) as (read, write),
        _redacted(server, read, write, redactor, tell) as streams,
    ):
        yield streams


@asynccontextmanager
async def over_pipes(
    server: ToolServer, sandboxes: Sandboxes, redactor: Redactor, tell: Tell
) -> AsyncGenerator[Streams]:
    """A program's standard streams, a message a line."""
    program = await sandboxes.start(server)
    limit = server.result_bytes + ENVELOPE_BYTES
    into, read = anyio.create_memory_object_stream[Item](0)
    write, out = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as tasks, into, read, write, out:
            tasks.start_soon(_from_program, program, into, limit, tell)
            tasks.start_soon(_to_program, program, out, patience_s(server))
            async with _redacted(server, read, write, redactor, tell) as streams:
                yield streams
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await program.end()


async def _from_program(program: Program, into: MemoryObjectSendStream[Item], limit: int, tell: Tell) -> None:
    rest = bytearray()  # of a line that may be long, and comes in many pieces: none of them is copied again each time
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async with into:
            while part := await program.read():
                first, *others = part.split(b"\n")
                rest += first
                lines = [bytes(rest), *others[:-1]] if others else []
                rest = bytearray(others[-1]) if others else rest
                if len(rest) > limit or any(len(line) > limit for line in lines):
                    program.fail(f"it wrote a line of more than {limit} bytes")
                    break
                for line in lines:
                    await into.send(_message(line))
            tell(await program.ended())  # before whoever waits for an answer hears that none will come


def _message(line: bytes) -> Item:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:  # what it wrote is not repeated anywhere
        return ValueError("a line that is no JSON-RPC message")


async def _to_program(program: Program, out: MemoryObjectReceiveStream[SessionMessage], patience_s: float) -> None:
    try:
        async for message in out:
            text: str = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            async with asyncio.timeout(patience_s):  # until then whoever else asks it waits, whose time does not run
                await program.write(text.encode() + b"\n")
    except TimeoutError:
        program.fail("it does not read what it is sent")
    except OSError:
        program.fail("")  # it is gone or deaf: with its end whoever waits for an answer hears of it
    except anyio.ClosedResourceError:
        pass


class _Account:
    """Of one upstream: what it owes answers to, and what it is owed. The dispatcher writes through it."""

    def __init__(self, write: Any) -> None:
        self._write = write
        self._owes = 0
        self._asks = set[object]()
        self._second = self._idle = 0

    async def send(self, item: SessionMessage) -> None:
        """To the upstream."""
        message = item.message
        self._owes += isinstance(message, JSONRPCRequest)
        await self._write.send(item)
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self._asks.discard(message.id)

    async def __aenter__(self) -> "_Account":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._write.aclose()

    def over(self, item: Item) -> str:
        """Take note of what came from it; why it is to be cut off, if it is."""
        message = item.message if isinstance(item, SessionMessage) else None
        if isinstance(message, JSONRPCResponse | JSONRPCError) and self._owes > 0:
            self._owes -= 1
            return ""
        if isinstance(message, JSONRPCRequest):
            again = message.id in self._asks
            self._asks.add(message.id)
            if again or len(self._asks) > ASKED_MAX:
                return f"it asks more than {ASKED_MAX} questions at once, or one twice"
        if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._asks.discard(cancelled_request_id_from_params(message.params))
        now = int(anyio.current_time())
        self._second, self._idle = now, 1 + (self._idle if now == self._second else 0)
        return f"it sends more than {NOTICES_A_SECOND} messages a second" if self._idle > NOTICES_A_SECOND else ""


@asynccontextmanager
async def _redacted(
    server: ToolServer, read: Any, write: Any, redactor: Redactor, tell: Tell
) -> AsyncGenerator[Streams]:
    """The same messages without secrets, and an end to a flood of them."""
    into, seen = anyio.create_memory_object_stream[Item](0)
    account = _Account(write)

    async def pump() -> None:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with into:
                async for item in read:
                    if why := account.over(item):
                        tell(why)
                        _log.warning("tool server %s is cut off: %s", server.name, why)
                        return
                    if isinstance(item, SessionMessage):
                        item.message = _clean(item.message, redactor)
                        await into.send(item)

    async with anyio.create_task_group() as tasks, seen:
        tasks.start_soon(pump)
        yield seen, account
        tasks.cancel_scope.cancel()


def _clean(message: JSONRPCMessage, redactor: Redactor) -> JSONRPCMessage:
    document = message.model_dump(by_alias=True, mode="json", exclude_unset=True)
    cleaned = redactor.value(document)
    return message if cleaned == document else jsonrpc_message_adapter.validate_python(cleaned, by_name=False)


class _Bounded(httpx2.AsyncBaseTransport):
    """Answers that are no stream end at a limit; a stream's events have the SDK's own, and it is no faster than that a
    second. The stream that answers a request ends when nobody waits for it any more."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, limit: int, timeout_s: float) -> None:
        self._inner, self._limit, self._timeout_s = inner, limit, timeout_s

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As the transport within."""
        request.headers["accept-encoding"] = "identity"  # a small body must not unfold into a large one
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.DecodingError("a compressed answer, not asked for", request=request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = _Stream(response.stream, self._limit, request)
        else:
            lasts_s = self._timeout_s + CONNECT_S if request.method == "POST" else math.inf
            response.stream = _Events(response.stream, self._limit, request, lasts_s)
        return response

    async def aclose(self) -> None:
        """As the transport within."""
        await self._inner.aclose()


class _Stream(httpx2.AsyncByteStream):
    """A body of bounded size."""

    def __init__(self, inner: httpx2.AsyncByteStream, limit: int, request: httpx2.Request) -> None:
        self._inner = inner
        self._limit = limit
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._inner:
            size += len(part)
            if size > self._limit:
                raise httpx2.StreamError(f"the answer exceeds {self._limit} bytes")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Events(_Stream):
    """A stream of bounded speed, and length in time: comments and empty events are no messages that anybody counts."""

    def __init__(self, inner: httpx2.AsyncByteStream, limit: int, request: httpx2.Request, lasts_s: float) -> None:
        super().__init__(inner, limit, request)
        self._lasts_s = lasts_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        begun_s = second_s = anyio.current_time()
        size = 0
        async for part in self._inner:
            now_s = anyio.current_time()
            if now_s - begun_s > self._lasts_s:
                raise httpx2.ReadTimeout("the answer does not end", request=self._request)
            if now_s - second_s >= 1:
                second_s, size = now_s, 0
            size += len(part)
            yield part
            if size > self._limit:
                await anyio.sleep(max(second_s + 1 - anyio.current_time(), 0))
