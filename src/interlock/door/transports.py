"""The two ways to an upstream, both bounded and redacted: nothing that it sends is seen by anybody before that.

The `mcp` SDK frames messages over HTTP; its standard-streams client reads lines of any length, so that is done here.
"""

import asyncio
import contextlib
import functools
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCMessage, jsonrpc_message_adapter

from interlock.door.redaction import Redactor
from interlock.door.sandbox import spawn
from interlock.door.settings import ToolServer

Item = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Item], Any]

CONNECT_S = 10.0
NOTICES_A_SECOND = 500
"""Messages that answer nothing; an upstream that sends more floods, and is cut off."""
ENVELOPE_BYTES = 64 * 1024
"""What a message may be longer than the result in it."""
GRACE_S = 1.0

_log = logging.getLogger(__name__)


class Flooded(Exception):
    """The upstream sends more than it may."""


@functools.lru_cache(maxsize=64)
def _trusted(ca_bundle: str) -> ssl.SSLContext:
    """Made once: it takes longer than a call. Raises: OSError: the bundle cannot be read."""
    return ssl.create_default_context(cafile=ca_bundle or None)


@asynccontextmanager
async def over_http(server: ToolServer, auth: httpx2.Auth | None, redactor: Redactor) -> AsyncGenerator[Streams]:
    """Streamable HTTP. Redirects are followed within the origin, and nowhere else (the SDK's doing)."""
    limit = server.result_bytes + ENVELOPE_BYTES
    timeout = httpx2.Timeout(CONNECT_S, read=server.timeout_s + CONNECT_S)
    transport = _Bounded(httpx2.AsyncHTTPTransport(verify=_trusted(server.ca_bundle)), limit)
    async with (
        httpx2.AsyncClient(transport=transport, timeout=timeout, auth=auth, trust_env=False) as client,
        streamable_http_client(server.url, http_client=client, max_sse_event_size=limit) as (read, write),
        _redacted(read, redactor) as seen,
    ):
        yield seen, write


@asynccontextmanager
async def over_pipes(server: ToolServer, redactor: Redactor, hidden: Path) -> AsyncGenerator[Streams]:
    """A program's standard streams, a message a line."""
    process = await spawn(server.command, server.env, read=server.read, hidden=hidden)
    limit = server.result_bytes + ENVELOPE_BYTES
    into, read = anyio.create_memory_object_stream[Item](0)
    write, out = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as tasks, into, read, write, out:
            tasks.start_soon(_from_program, process, into, limit)
            tasks.start_soon(_to_program, process, out, into)
            async with _redacted(read, redactor) as seen:
                yield seen, write
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _from_program(process: asyncio.subprocess.Process, into: MemoryObjectSendStream[Item], limit: int) -> None:
    assert process.stdout is not None
    rest = b""
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async with into:
            while part := await process.stdout.read(64 * 1024):
                *lines, rest = (rest + part).split(b"\n")
                if len(rest) > limit or any(len(line) > limit for line in lines):
                    _log.warning("a tool server's line exceeds %d bytes: it is ended", limit)
                    return
                for line in lines:
                    if line.strip():
                        await into.send(_message(line))


def _message(line: bytes) -> Item:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:  # what it wrote is not repeated anywhere
        return ValueError("a line that is no JSON-RPC message")


async def _to_program(
    process: asyncio.subprocess.Process,
    out: MemoryObjectReceiveStream[SessionMessage],
    into: MemoryObjectSendStream[Item],
) -> None:
    assert process.stdin is not None
    try:
        async for message in out:
            text: str = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(text.encode() + b"\n")
            await process.stdin.drain()
    except (OSError, anyio.ClosedResourceError):
        await into.aclose()  # the program is gone: whoever waits for an answer hears of it


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its input, give it a moment, then kill it; with bubblewrap, everything it started dies too."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(GRACE_S):
            await _ended(process)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """asyncio takes a process for ended when its output is, and that has to be read: a flood may stand in the pipe."""
    assert process.stdout is not None
    while await process.stdout.read(64 * 1024):
        pass
    await process.wait()


@asynccontextmanager
async def _redacted(read: Any, redactor: Redactor) -> AsyncGenerator[MemoryObjectReceiveStream[Item]]:
    """The same messages without secrets, and an end to a flood of them."""
    into, seen = anyio.create_memory_object_stream[Item](0)

    async def pump() -> None:
        second, count = 0, 0
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with into:
                async for item in read:
                    if isinstance(item, SessionMessage):
                        now = int(anyio.current_time())
                        second, count = (now, 0) if now != second else (second, count)
                        count += hasattr(item.message, "method")
                        if count > NOTICES_A_SECOND:
                            _log.warning("a tool server floods: more than %d messages a second", NOTICES_A_SECOND)
                            return
                        item.message = _clean(item.message, redactor)
                        await into.send(item)

    async with anyio.create_task_group() as tasks, seen:
        tasks.start_soon(pump)
        yield seen
        tasks.cancel_scope.cancel()


def _clean(message: JSONRPCMessage, redactor: Redactor) -> JSONRPCMessage:
    document = message.model_dump(by_alias=True, mode="json", exclude_unset=True)
    cleaned = redactor.value(document)
    return message if cleaned == document else jsonrpc_message_adapter.validate_python(cleaned, by_name=False)


class _Bounded(httpx2.AsyncBaseTransport):
    """Answers that are no stream end at a limit; a stream's events have the SDK's own."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, limit: int) -> None:
        self._inner = inner
        self._limit = limit

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As the transport within."""
        request.headers["accept-encoding"] = "identity"  # a small body must not unfold into a large one
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.DecodingError("a compressed answer, not asked for", request=request)
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _Stream(response.stream, self._limit, request)
        return response

    async def aclose(self) -> None:
        """As the transport within."""
        await self._inner.aclose()


class _Stream(httpx2.AsyncByteStream):
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
