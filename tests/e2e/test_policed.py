"""The row `policed`: a call is served by a real server, and all that is to be on is on."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from bench.load import KINDS, request_bytes
from bench.peers import Target, policed
from tests.gateway.answers import CHAT

from interlock.gateway import Decision
from interlock.ledger import Opened
from interlock.log.reader import JournalReader


class Always(BaseHTTPRequestHandler):
    """An upstream that has one answer."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(CHAT)))
        self.end_headers()
        self.wfile.write(CHAT)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def upstream_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Always) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def say(target: Target, request: bytes) -> tuple[int, str]:
    """(status, head)."""
    with socket.create_connection(("127.0.0.1", target.port), timeout=20) as client:
        client.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            got = client.recv(65536)
            assert got, head
            head += got
    return int(head.split()[1]), head.partition(b"\r\n\r\n")[0].decode().lower()


def read_opened(directory: Path) -> list[Opened]:
    async def read() -> list[Opened]:
        reader = JournalReader(directory / "data/journal")
        records = [stored.record async for stored in reader.read("usage/0")]
        opened = [record.payload for record in records if record.type == "usage.opened"]
        return [msgspec.json.decode(payload, type=Opened) for payload in opened]

    return asyncio.run(read())


def test_all_of_it_is_on(tmp_path: Path, upstream_port: int) -> None:
    kind = next(kind for kind in KINDS if kind.fresh)
    with policed(tmp_path, upstream_port) as target:
        request = request_bytes(target, kind)
        assert request.count(b"conversation 00000000") == 1, "what the load generator looks for"
        for number in range(12):
            status, head = say(target, request.replace(b"00000000", f"{number:08}".encode()))
            assert status == 200
            assert "x-interlock-cache: bypass\r\nx-interlock-cache-reason: temperature" in head
            assert "x-ratelimit-remaining-requests" in head
        card = request.replace(b"Read the signals", b"4111111111111111")
        status, head = say(target, card)
        assert status == 403, "each request is scanned: nobody is local"
        opened = read_opened(tmp_path)
    assert len(opened) == 12
    decisions = [msgspec.json.decode(one.decision, type=Decision) for one in opened]
    first = decisions[0]
    assert (first.rule, first.cache, first.boundary) == ("edits", "edits", ("company", "by-source", "careful"))
    assert sorted(c.stage for c in first.candidates) == ["", "", "", "boundary"]
    assert first.signals.source == "eu-central-1"
    assert len({decision.winner for decision in decisions}) > 1, "spread"
