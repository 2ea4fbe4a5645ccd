"""A proxy with a server behind it, and clients: curl, and bytes as they are."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from interlock.runtime.hands.egress import Connected, Door, Egress, Limits

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that answers with the head of what it was sent."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(head) + head)
        await writer.drain()
    writer.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that sends everything back, after a greeting."""
    writer.write(b"hello\n")
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Place:
    """A proxy, a server that listed names lead to, and what was told."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port, self.told, self.asked = port, list[Connected](), list[str]()
        self.egress = Egress(directory, resolve=self.resolve, limits=Limits(head_s=0.5, connect_s=2, idle_s=2))
        self.socket = directory
        self.addresses = {"a.example": ["127.0.0.1"], "b.example": ["127.0.0.2", "127.0.0.1"]}

    async def resolve(self, host: str, _: int) -> list[str]:
        self.asked.append(host)
        if host not in self.addresses:
            raise OSError("no such name")
        return self.addresses[host]

    async def open(self, *allowed: str, door: Door | None = None) -> None:
        self.socket = await self.egress.open("box", allowed, self.told.append, door)

    async def curl(self, *arguments: str, scheme: str = "http") -> tuple[int, str]:
        """Through the socket: curl's exit code and output."""
        forward = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        port = forward.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            "curl", "-sS", "-i", "-m", "8", "-x", f"{scheme}://127.0.0.1:{port}", *arguments,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        forward.close()
        await forward.wait_closed()
        return process.returncode or 0, out.decode(errors="replace")

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self.socket)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            with contextlib.suppress(OSError):
                if not sink.is_closing():
                    sink.write_eof()

        async with asyncio.TaskGroup() as group:
            group.create_task(pump(reader, far_writer))
            group.create_task(pump(far_reader, writer))
        for end in (writer, far_writer):
            end.close()

    async def say(self, data: bytes, *, end: bool = True) -> bytes:
        """What comes back for these bytes, to the end."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        writer.write(data)
        if end:
            writer.write_eof()
        back = b""
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65536):
                back += chunk
        writer.close()
        return back

    async def one(self) -> Connected:
        """The one thing that was told, once it is."""
        for _ in range(300):
            if self.told:
                break
            await asyncio.sleep(0.01)
        (told,) = self.told
        return told


@contextlib.asynccontextmanager
async def place(directory: Path, handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Place]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=tls)
    there = Place(directory, server.sockets[0].getsockname()[1])
    try:
        yield there
    finally:
        await there.egress.close("box")
        server.close()
        await server.wait_closed()
