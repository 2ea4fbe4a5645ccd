"""What comes from an upstream over HTTP is bounded, whatever it is."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.door.test_links import house, kept, program

from interlock.door import transports
from interlock.door.settings import Allow, ToolServer
from interlock.errors import RemoteError, TransientError

PIECE = b": still nothing\n" * 1000


class Endless:
    """A tool server whose answer to a call is comments without end."""

    def __init__(self) -> None:
        self.cut = asyncio.Event()
        """Somebody has hung up on one."""
        self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
                message = msgspec.json.decode(await reader.readexactly(size)) if size else {}
                if message.get("method") == "tools/call":
                    await self._say_nothing(writer)
                writer.write(_answer(message))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def _say_nothing(self, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head)
        try:
            while True:
                writer.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
                await writer.drain()
                self.sent += len(PIECE)
        except OSError:
            self.cut.set()
            raise


def _answer(message: dict[str, Any]) -> bytes:
    if message.get("method") == "initialize":
        capabilities: dict[str, Any] = {"tools": {}}
        result = {
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "serverInfo": {"name": "e", "version": "1"},
        }
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": result})
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    return b"HTTP/1.1 %s\r\ncontent-length: 0\r\n\r\n" % (b"202 OK" if message else b"405 No")


@asynccontextmanager
async def endless() -> AsyncIterator[tuple[Endless, str]]:
    one = Endless()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    async with server:
        yield one, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        server.close()


def test_an_answer_without_end_ends_when_nobody_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's word that it is still there is not counted as a message, and cost the door a core for ever."""
    monkeypatch.setattr(transports, "CONNECT_S", 0.5)

    async def main() -> None:
        async with endless() as (one, url), house(tmp_path) as links:
            server = ToolServer(name="w", allow=(Allow(),), url=url, timeout_s=1.0, result_bytes=1024)
            link = await kept(links, server)
            with pytest.raises(RemoteError, match="did not answer in time"):
                await link.request("tools/call", {"name": "x"})
            await one.cut.wait()
            assert one.sent > 0 and link.live, "other calls of the connection go on"

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_long_line_costs_what_its_bytes_cost(tmp_path: Path) -> None:
    """In the door's own CPU time, which all tools share: not the square of it."""
    script = "hello()\nm = ask()\nfor _ in range(200): os.write(1, b'x' * (1 << 20))\ntime.sleep(60)"

    async def main() -> None:
        async with house(tmp_path) as links:
            link = await kept(links, program(script, result_bytes=64 << 20, timeout_s=60.0))
            before_s = time.process_time()
            with pytest.raises(TransientError, match="it wrote a line of more than"):
                await link.request("tools/call", {"name": "x"})
            assert time.process_time() - before_s < 5

    asyncio.run(asyncio.wait_for(main(), 120))
