"""The pool: who waits, who is counted, and what a connection may be used for again."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from interlock.gateway.http import Failure, Pool
from interlock.gateway.http.client import HEAD_BYTES_MAX, WAITING_MAX, Connection

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

    def stops(self) -> str:
        return ""

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


def test_a_fresh_connection_is_waited_for_in_a_pool_that_is_busy(run: Run) -> None:
    """One that has just answered somebody else may be the one that the upstream is about to close."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        peers: list[str] = []
        gate = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while await reader.readuntil(b"\r\n\r\n"):
                    peers.append(str(writer.get_extra_info("peername")))
                    await gate.wait()
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def dial(make: Callable[[], Connection]) -> Connection:
            return (await loop.create_connection(make, "127.0.0.1", port))[1]

        pool = Pool(loop, dial, 1)
        boxes = [Box() for _ in range(3)]
        for box, fresh in zip(boxes, (False, True, False), strict=True):
            pool.request(b"POST / HTTP/1.1\r\n\r\n", box, fresh=fresh)
        await until(lambda: bool(peers))
        gate.set()
        await until(lambda: all(box.ended for box in boxes))
        assert peers[0] != peers[1] == peers[2]
        pool.close()
        await until(lambda: pool._open == 0)
        server.close()

    run(main)


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKS = OK + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"
LENGTH = b"content-length: 2\r\n\r\n{}"
ANSWERS: dict[str, tuple[bytes, str]] = {
    "a length": (OK + LENGTH, "kept"),
    "chunks": (CHUNKS + b"0\r\n\r\n", "kept"),
    "trailers": (CHUNKS + b"0\r\nx: y\r\n\r\n", "kept"),
    "interim answers": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + OK + LENGTH, "kept"),
    "up to the close": (OK + b"\r\n{}", "closed"),
    "a byte too many": (OK + LENGTH + b"x", "closed"),
    "a second answer": (OK + LENGTH + OK + LENGTH, "closed"),
    "204 with a body": (b"HTTP/1.1 204 No\r\n" + LENGTH, "closed"),
    "a byte too few": (OK + b"content-length: 3\r\n\r\n{}", "upstream_closed"),
    "no last chunk": (CHUNKS, "upstream_closed"),
    "no end of the last chunk": (CHUNKS + b"0\r\n", "upstream_closed"),
    "length and coding": (OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n", ""),
    "two lengths": (OK + b"content-length: 3\r\n" + LENGTH, ""),
    "a length below zero": (OK + b"content-length: -2\r\n\r\n{}", ""),
    "a coding not asked for": (OK + b"transfer-encoding: gzip\r\n\r\n{}", ""),
    "a coding below the chunks": (CHUNKS.replace(b"chunked", b"gzip, chunked") + b"0\r\n\r\n", ""),
    "chunks on HTTP/1.0": (CHUNKS.replace(b"1.1", b"1.0") + b"0\r\n\r\n", ""),
    "a bad chunk size": (CHUNKS + b"zz\r\n", ""),
    "a chunk longer than its size": (CHUNKS + b"1\r\nab\r\n0\r\n\r\n", ""),
    "a length in a trailer": (CHUNKS + b"0\r\ncontent-length: 2\r\n\r\n", ""),
    "lines that end in LF": (OK.replace(b"\r\n", b"\n") + b"content-length: 2\n\n{}", ""),
    "a folded header": (OK + b"a: b\r\n c\r\n" + LENGTH, ""),
    "a header with a bare CR": (OK + b"a: b\rc: d\r\n" + LENGTH, ""),
    "another protocol": (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", ""),
    "a status that is none": (b"HTTP/1.1 000 Zero\r\n" + LENGTH, ""),
    "a status that is none, and an answer": (b"HTTP/1.1 050 Low\r\ncontent-length: 0\r\n\r\n" + OK + LENGTH, ""),
    "interim answers without end": (b"HTTP/1.1 100 Continue\r\n\r\n" * 8000, ""),
    "headers without end": (OK + b"a: b\r\n" * 80_000, ""),
    "a trailer without end": (CHUNKS + b"0\r\nx: " + b"y" * 8 * HEAD_BYTES_MAX, ""),
    "a chunk extension without end": (CHUNKS + b"1;" + b"y" * 8 * HEAD_BYTES_MAX, ""),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_whole_or_it_failed(run: Run, name: str) -> None:
    raw, expected = ANSWERS[name]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        closes = expected in ("closed", "upstream_closed")

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(raw)
                await writer.drain()
                if not closes:
                    await reader.read()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # the pool closes what it cannot use
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def dial(make: Callable[[], Connection]) -> Connection:
            return (await loop.create_connection(make, "127.0.0.1", port))[1]

        pool, box = Pool(loop, dial, 1), Box()
        pool.request(b"POST / HTTP/1.1\r\n\r\n", box)
        await until(lambda: bool(box.ended or box.failures))
        if expected in ("kept", "closed"):
            assert (box.ended, box.failures) == (1, [])
            assert box.body == (b"" if name.startswith("204") else b"{}")
            assert expected == "closed" or len(pool._idle) == 1
        else:
            assert (box.ended, [failure.code for failure in box.failures]) == (0, [expected or "upstream_invalid"])
            assert box.heads == [] or not name.startswith("a status")
        pool.close()
        await until(lambda: pool._open == 0)
        server.close()

    run(main)
