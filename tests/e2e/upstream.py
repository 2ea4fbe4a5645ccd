"""A provider in a process of its own: it speaks the three formats, slowly, and writes down every request it saw.

    python -m tests.e2e.upstream --port 9000 --log seen.jsonl --gate FILE [--pause-ms 20] [--events 8] [--key F …]

A line is on the disk before the first byte of the answer is sent. A request whose marker begins with `held` gets the
first events at once and the rest when the gate's file is there.
"""

import argparse
import asyncio
import contextlib
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from tests.e2e.server import free_port, until
from tests.gateway import rig
from tests.gateway.answers import EVENTS, WHOLE
from tests.gateway.rig import FORMATS, PATHS, SSE_HEAD, chunk

ROOT = Path(__file__).parents[2]
FORMAT_OF = {PATHS[format]: format for format in FORMATS}


class Seen(msgspec.Struct):
    """A request, as it is written down."""

    marker: str
    path: str
    authorization: str
    peer: int
    """The client's port."""


class Upstream:
    """The process, and what it wrote."""

    def __init__(self, directory: Path, *options: str, certificate: tuple[Path, Path] | None = None) -> None:
        self.port = free_port()
        self.log = directory / "seen.jsonl"
        self.gate = directory / "gate"
        self._directory = directory
        self._options = list(options)
        if certificate:
            self._options += ["--certificate", str(certificate[0]), "--key", str(certificate[1])]

    def start(self) -> "Upstream":
        """Returns once it listens."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        argv = [sys.executable, "-m", "tests.e2e.upstream", "--port", str(self.port), "--log", str(self.log)]
        argv += ["--gate", str(self.gate), *self._options]
        self._process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"listening\n"
        return self

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=10)

    def seen(self) -> list[Seen]:
        """Every request so far, in order."""
        whole = self.log.read_bytes().rpartition(b"\n")[0]
        return [msgspec.json.decode(line, type=Seen) for line in whole.splitlines()]

    def markers(self) -> list[str]:
        """Of every request so far."""
        return [seen.marker for seen in self.seen()]

    def wait_for(self, marker: str) -> None:
        """Until a request with this marker was seen."""
        until(lambda: marker in self.markers(), f"the upstream saw {marker}")


@contextlib.contextmanager
def upstream(directory: Path, *options: str, certificate: tuple[Path, Path] | None = None) -> Iterator[Upstream]:
    """A provider that listens."""
    started = Upstream(directory, *options, certificate=certificate).start()
    try:
        yield started
    finally:
        started.stop()


@contextlib.contextmanager
def scripted_upstream() -> Iterator[tuple[rig.Upstream, int]]:
    """A provider in a thread of this process, and its port: it plays the scripts that a test gives it next."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    played = rig.Upstream(rig.silent)
    try:
        yield played, asyncio.run_coroutine_threadsafe(played.start(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(_end(played), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(played: rig.Upstream) -> None:
    await played.stop()
    handlers = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for handler in handlers:
        handler.cancel()
    if handlers:
        await asyncio.wait(handlers, timeout=5)


def ask(format: str, marker: str, *, stream: bool = True, model: str = "auto") -> dict[str, Any]:
    """A small request that carries its marker in the body."""
    body: dict[str, Any] = {"model": model, "stream": stream}
    if format == "responses":
        return {**body, "input": "hello", "user": marker}
    messages = [{"role": "user", "content": "hello"}]
    if format == "messages":
        return {**body, "messages": messages, "max_tokens": 1000, "metadata": {"user_id": marker}}
    return {**body, "messages": messages, "user": marker}


class _Provider:
    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._log = options.log.open("ab", buffering=0)

    async def run(self) -> None:
        context = None
        if self._options.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._options.certificate, self._options.key)
        server = await asyncio.start_server(self._serve, "127.0.0.1", self._options.port, ssl=context, backlog=1024)
        print("listening", flush=True)
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                body = msgspec.json.decode(await reader.readexactly(int(headers["content-length"])))
                path = lines[0].split(" ")[1]
                marker = body.get("user") or body.get("metadata", {}).get("user_id", "")
                peer = writer.get_extra_info("peername")[1]
                seen = Seen(marker, path, headers.get("authorization", ""), peer)
                self._log.write(msgspec.json.encode(seen) + b"\n")
                await self._answer(writer, FORMAT_OF[path], marker, bool(body.get("stream")))
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, format: str, marker: str, stream: bool) -> None:
        if not stream:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            writer.write(head % len(WHOLE[format]) + WHOLE[format])
            return
        writer.write(SSE_HEAD)
        events = EVENTS[format]
        first, rest = events[:-2], events[-2:]
        repeated = first[:-1] + [first[-1]] * self._options.events if format != "messages" else first
        for event in [*repeated, *rest]:
            if event is rest[0] and marker.startswith("held"):
                await self._gate()
            writer.write(chunk(event))
            await writer.drain()
            await asyncio.sleep(self._options.pause_ms / 1000)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _gate(self) -> None:
        while not self._options.gate.exists():
            await asyncio.sleep(0.01)


def main() -> None:
    """Until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--gate", type=Path, required=True)
    parser.add_argument("--pause-ms", type=float, default=0.0)
    parser.add_argument("--events", type=int, default=1)
    parser.add_argument("--certificate", default="")
    parser.add_argument("--key", default="")
    asyncio.run(_Provider(parser.parse_args()).run())


if __name__ == "__main__":
    main()
