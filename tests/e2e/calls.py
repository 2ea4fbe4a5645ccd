"""Calls to the data port over plain sockets, where a test must decide when each byte goes and how a connection ends."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from tests.e2e.upstream import ask
from tests.gateway.rig import PATHS, Answer, read_answer

CONNECT_S = 5.0
BROKEN = (OSError, asyncio.IncompleteReadError, TimeoutError)
"""What a call may end with when the server is killed under it."""


class Caller:
    """One connection with one key."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self.reader, self.writer, self.key = reader, writer, key

    def send(self, marker: str, format: str = "chat", *, stream: bool = False, model: str = "auto") -> None:
        """Write a request; its marker is its session, too."""
        body = msgspec.json.encode(ask(format, marker, stream=stream, model=model))
        lines = [
            f"POST {PATHS[format]} HTTP/1.1",
            "host: interlock",
            f"authorization: Bearer {self.key}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"x-interlock-session: {marker}",
        ]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def call(self, marker: str, format: str = "chat", **options: Any) -> Answer:
        """One request and its answer. Raises: one of BROKEN."""
        self.send(marker, format, **options)
        return await read_answer(self.reader)


@contextlib.asynccontextmanager
async def connected(port: int, key: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Caller]:
    """A connection to the data port. Raises: one of BROKEN."""
    async with asyncio.timeout(CONNECT_S):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
        )
    try:
        yield Caller(reader, writer, key)
    finally:
        writer.transport.abort()


async def one(port: int, key: str, marker: str, format: str = "chat", **options: Any) -> Answer:
    """One call on a connection of its own. Raises: one of BROKEN."""
    tls = options.pop("tls", None)
    async with connected(port, key, tls) as caller:
        return await caller.call(marker, format, **options)


def call(port: int, key: str, marker: str, format: str = "chat", **options: Any) -> Answer:
    """`one`, for a test without a loop."""
    return asyncio.run(one(port, key, marker, format, **options))
