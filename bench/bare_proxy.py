"""The floor: the least a proxy on our stack (uvloop, httptools, asyncio protocols) costs. No keys, no log.

    python -m bench.bare_proxy PORT UPSTREAM_PORT

One request at a time on a client connection, each on a pooled upstream connection; bytes pass through as they came.
"""

import asyncio
import sys
from typing import cast

import httptools
import uvloop


class Upstream(asyncio.Protocol):
    """One pooled connection: relays an answer to whoever holds it, and returns to the pool at the answer's end."""

    def __init__(self, pool: list["Upstream"]) -> None:
        self.pool = pool
        self.client: asyncio.Transport | None = None
        self.done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, client: asyncio.Transport) -> None:
        """Forward a request; its answer goes to `client`."""
        self.client, self.done = client, False
        self.parser = httptools.HttpResponseParser(self)
        self.transport.write(request)

    def on_message_complete(self) -> None:
        self.done = True

    def data_received(self, data: bytes) -> None:
        assert self.client is not None
        self.parser.feed_data(data)
        self.client.write(data)
        if self.done:
            self.client = None
            self.pool.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self.pool:
            self.pool.remove(self)
        if self.client is not None:
            self.client.abort()


class Client(asyncio.Protocol):
    """One client connection."""

    def __init__(self, pool: list[Upstream], upstream_port: int, dials: set[asyncio.Task[None]]) -> None:
        self.pool, self.upstream_port, self.dials = pool, upstream_port, dials
        self.held: list[bytes] = []
        self.parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.held.append(data)
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        request = b"".join(self.held)
        self.held.clear()
        if self.pool:
            self.pool.pop().send(request, self.transport)
            return
        dial = asyncio.get_running_loop().create_task(self._dial(request))
        self.dials.add(dial)
        dial.add_done_callback(self.dials.discard)

    async def _dial(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(lambda: Upstream(self.pool), "127.0.0.1", self.upstream_port)
        upstream.send(request, self.transport)


async def serve(port: int, upstream_port: int) -> None:
    """Proxy 127.0.0.1:`port` to 127.0.0.1:`upstream_port` until killed."""
    pool: list[Upstream] = []
    dials: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(pool, upstream_port, dials), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
