"""The pool: who waits, who is counted, and what a connection may be used for again."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from interlock.gateway.http import Failure, Pool
from interlock.gateway.http.client import WAITING_MAX, Connection

Run = Callable[..., Any]


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


class Box:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.heads: list[int] = []
        self.body = b""
        self.ended = 0
        self.failures: list[Failure] = []

    def on_head(self, status: int, headers: Mapping[bytes, bytes], peer: str) -> None:
        self.heads.append(status)

    def on_data(self, data: bytes) -> None:
        self.body += data

    def on_end(self) -> None:
        self.ended += 1

    def on_failed(self, failure: Failure) -> None:
        self.failures.append(failure)


def test_an_answer_before_the_request_was_sent_costs_the_connection(run: Run) -> None:
    """What is left of the request would stand before the next one."""
    connections: list[asyncio.StreamWriter] = []

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(early, "127.0.0.1", 0, limit=1024)
        port = server.sockets[0].getsockname()[1]

        async def dial(make: Callable[[], Connection]) -> Connection:
            return (await loop.create_connection(make, "127.0.0.1", port))[1]

        pool = Pool(loop, dial, 4)
        for count in (1, 2):
            box = Box()
            pool.request(b"POST / HTTP/1.1\r\ncontent-length: 30000000\r\n\r\n" + b"x" * 30_000_000, box)
            await until(lambda box=box: bool(box.ended or box.failures))  # type: ignore[misc] # mypy cannot infer it
            assert (box.heads, box.body, box.failures) == ([413], b"{}", [])
            assert len(connections) == count
        pool.close()
        for writer in connections:
            writer.transport.abort()
        server.close()

    run(main, blocking_s=1.0)


def test_a_failed_dial_lets_the_next_one_try(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        gate = asyncio.Event()

        async def dial(make: Callable[[], Connection]) -> Connection:
            await gate.wait()
            raise failures.pop()

        failures = [OSError("no route"), TimeoutError(), UnicodeError("label too long")]
        pool = Pool(loop, dial, 1)
        boxes = [Box() for _ in range(3)]
        for box in boxes:
            pool.request(b"", box)
        gate.set()
        await until(lambda: all(box.failures for box in boxes))
        assert {box.failures[0].code for box in boxes} == {"upstream_unreachable"}
        assert pool._open == 0

    run(main)


def test_those_who_gave_up_waiting_leave_room(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def dial(make: Callable[[], Connection]) -> Connection:
            await asyncio.Event().wait()
            raise AssertionError

        pool = Pool(loop, dial, 1)
        pool.request(b"", Box())
        for ticket in [pool.request(b"", Box()) for _ in range(WAITING_MAX)]:
            ticket.cancel()
        pool.sweep(loop.time())
        box = Box()
        pool.request(b"", box)
        await asyncio.sleep(0)
        assert (box.failures, len(pool._waiting)) == ([], 1)
        for task in pool._dialling:
            task.cancel()

    run(main)


def test_a_dial_that_times_out_as_it_succeeds_is_counted_once(run: Run) -> None:
    """Cancelled between connection_made and its return: the connection is lost, and then the dial fails."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def dial(make: Callable[[], Connection]) -> Connection:
            transport, _ = await loop.create_connection(make, "127.0.0.1", port)
            transport.abort()
            await asyncio.sleep(0.02)
            raise TimeoutError

        pool = Pool(loop, dial, 1)
        box = Box()
        pool.request(b"", box)
        await until(lambda: bool(box.failures))
        assert pool._open == 0
        server.close()

    run(main)


def test_a_fresh_connection_is_to_be_had_in_a_full_pool(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        answering = [True, False, True]

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                answers = answering.pop(0)
                while await reader.readuntil(b"\r\n\r\n"):
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}" if answers else b"")
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def dial(make: Callable[[], Connection]) -> Connection:
            return (await loop.create_connection(make, "127.0.0.1", port))[1]

        pool = Pool(loop, dial, 2)
        request = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
        idle, busy, fresh = Box(), Box(), Box()
        pool.request(request, idle)
        await until(lambda: idle.ended == 1)
        ticket = pool.request(request, busy, fresh=True)
        await until(lambda: ticket.connection is not None)
        pool.request(request, fresh, fresh=True)
        await until(lambda: fresh.ended == 1)
        ticket.cancel()
        pool.close()
        await until(lambda: pool._open == 0)
        server.close()

    run(main)
