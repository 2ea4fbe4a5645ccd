"""A gateway on a real port, with real journal and directory, before an upstream whose every byte the test decides."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from interlock.clock import Clock, SystemClock
from interlock.gateway import (
    Deployment,
    Facts,
    Gateway,
    Limits,
    Policy,
    Profile,
    Retries,
    Rule,
    Tier,
    Timeouts,
    When,
    version_of,
)
from interlock.gateway.http import ServerConnection
from interlock.identity import Generation, Identity, SharedDirectory
from interlock.identity.generation import IDENTITY
from interlock.ledger import Format, Opened, Refused, Settled
from interlock.limits import Limiter, Page
from interlock.log.journal import Journal
from interlock.log.reader import JournalReader
from interlock.log.sqlite import SqliteLog

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Seen"], Awaitable[None]]

ONCE = Retries(rounds=0)
"""Each candidate is asked once: most tests are about one attempt."""
FORMATS = ("chat", "responses", "messages")
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}


class Seen(msgspec.Struct):
    """A request as the upstream got it."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found = msgspec.json.decode(self.body)
        assert isinstance(found, dict)
        return found


class Upstream:
    """Plays its scripts in turn, the last one for ever."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.seen: list[Seen] = []
        self.connections: list[str] = []
        self.closed = asyncio.Event()
        """A client of this upstream closed its connection."""

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        assert isinstance(port, int)
        return port

    async def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(str(writer.get_extra_info("peername")))
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                seen = Seen(lines[0].split(" ")[1], headers, body)
                self.seen.append(seen)
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                await script(reader, writer, seen)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.set()
        except asyncio.CancelledError:
            pass  # the end of the test: 3.11's streams complain of a handler that was cancelled
        finally:
            writer.close()


def whole(body: bytes, status: str = "200 OK", headers: str = "") -> Script:
    """Answer with a JSON body."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    return script


def raw(*parts: bytes, then_close: bool = True) -> Script:
    """Write these bytes as they are."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then_close:
            writer.close()

    return script


SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def streamed(*events: bytes, end: bool = True, hold: asyncio.Event | None = None) -> Script:
    """A stream of events, each a chunk; `hold` is awaited after the last one."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(SSE_HEAD)
        for event in events:
            writer.write(chunk(event))
            await writer.drain()
        if hold is not None:
            await reader.read(1)
            raise ConnectionError
        if end:
            writer.write(b"0\r\n\r\n")
        else:
            writer.close()

    return script


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
    """Never answer."""
    await reader.read(1)
    raise ConnectionError


class Answer(msgspec.Struct):
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool
    """By the framing."""

    @property
    def json(self) -> dict[str, Any]:
        found = msgspec.json.decode(self.body)
        assert isinstance(found, dict)
        return found


class Rig:
    """The gateway and what the test needs of it."""

    def __init__(self, directory: Path, gateway: Gateway, identity: Identity, secret: str, port: int) -> None:
        self.directory = directory
        self.gateway = gateway
        self.identity = identity
        self.secret = secret
        self.port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    def request(self, path: str, body: bytes, *headers: str, method: str = "POST", key: str | None = None) -> bytes:
        secret = self.secret if key is None else key
        lines = [f"{method} {path} HTTP/1.1", "host: gateway", f"content-length: {len(body)}", *headers]
        lines += ["content-type: application/json"] if not any(h.startswith("content-type") for h in headers) else []
        lines += [f"authorization: Bearer {secret}"] if secret else []
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def call(self, path: str, body: Any, *headers: str, method: str = "POST", key: str | None = None) -> Answer:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self.send(self.request(path, content, *headers, method=method, key=key))

    async def send(self, request: bytes) -> Answer:
        reader, writer = await self.connect()
        writer.write(request)
        try:
            return await read_answer(reader)
        finally:
            writer.close()

    async def records(self) -> list[Opened | Settled | Refused]:
        """All that the journal holds so far."""
        types = {"usage.opened": Opened, "usage.settled": Settled, "usage.refused": Refused}
        found: list[Opened | Settled | Refused] = []
        async for stored in JournalReader(self.directory / "journal").read("usage/0"):
            if stored.record.type in types:
                found.append(msgspec.json.decode(stored.record.payload, type=types[stored.record.type]))
        return found

    async def settled(self, count: int) -> list[Settled]:
        """The settlements, once there are `count` of them."""
        async with asyncio.timeout(5):
            while len(found := [r for r in await self.records() if isinstance(r, Settled)]) < count:
                await asyncio.sleep(0.005)
        return found


async def read_answer(reader: asyncio.StreamReader, seconds: float = 10) -> Answer:
    """One answer, by its framing."""
    async with asyncio.timeout(seconds):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        status = int(head[0].split(" ")[1])
        try:
            if headers.get("transfer-encoding") == "chunked":
                body = b""
                while size := int(await reader.readuntil(b"\r\n"), 16):
                    body += (await reader.readexactly(size + 2))[:-2]
                await reader.readexactly(2)
            elif "content-length" in headers:
                body = await reader.readexactly(int(headers["content-length"]))
            else:
                body = await reader.read()
        except asyncio.IncompleteReadError:
            return Answer(status, headers, b"", False)
    return Answer(status, headers, body, True)


def policy(
    ports: Sequence[int],
    *,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    retries: Retries = ONCE,
    formats: Sequence[tuple[Format, ...]] = (("chat", "responses", "messages"),) * 4,
    on_cut: Literal["error", "continue"] = "error",
    **changes: Any,
) -> Policy:
    """Deployments `d0`, `d1`, … at these ports in one tier, `main`, and a boundary `eu` that only `d0` is within.

    Args:
        formats: what each speaks.
        on_cut: of the rule that every call but mode `plan` falls under.
        changes: of the other fields of `Policy`.
    """
    places = ("eu", "us", "us", "us")
    deployments = {
        f"d{i}": Deployment(
            name=f"d{i}",
            provider="openai",
            base_url=f"http://127.0.0.1:{port}/v1",
            model=f"model-{i}",
            family="test",
            formats=formats[i],
            facts=Facts(geographies=(places[i],), retention_days=0, human_review=False, training=False),
            capabilities=("tools", "images", "reasoning", "schema"),
        )
        for i, port in enumerate(ports)
    }
    tiers = {
        "main": Tier(name="main", deployments=tuple(deployments)),
        "second": Tier(name="second", deployments=("d0",)),
    }
    made = Policy(
        version="",
        deployments=deployments,
        tiers=tiers,
        rules=(
            Rule(name="planning", when=When(mode=("plan",)), tier="second"),
            *([Rule(name="cut", when=When(stream=True), tier="main", on_cut=on_cut)] if on_cut != "error" else []),
        ),
        profiles={"eu": Profile(name="eu", geographies=("eu",)), "mars": Profile(name="mars", geographies=("mars",))},
        default_tier="main",
        timeouts=timeouts or Timeouts(connect_s=2, first_byte_s=5, idle_s=5, total_s=20),
        limits=limits or Limits(),
        retries=retries,
    )
    made = msgspec.structs.replace(made, **changes)
    return msgspec.structs.replace(made, version=version_of(made))


@contextlib.asynccontextmanager
async def rig(directory: Path, made: Policy, *, boundary: str = "", clock: Clock | None = None) -> AsyncIterator[Rig]:
    """A gateway that decides by `made`, and a key under `boundary`."""
    loop = asyncio.get_running_loop()
    clock = clock or SystemClock()
    directory.mkdir(parents=True, exist_ok=True)
    generation = Generation(directory)
    log = SqliteLog(directory / "log.sqlite")
    identity = Identity(log, clock, lambda head: generation.raise_to(IDENTITY, head))
    issued = await identity.issue(
        tenant="acme", name="agent", boundary=boundary, profiles=set(made.profiles), scopes=("inference",)
    )
    journal = Journal.open(directory / "journal" / "usage" / "0", "usage/0", clock=clock)
    Page.create(directory / "limits", slots=1)
    limiter = Limiter(Page(directory / "limits"), 0, clock, ())
    gateway = Gateway(loop, clock, SharedDirectory(log, generation), journal, made, lambda: None, limiter)
    server = await loop.create_server(lambda: ServerConnection(gateway, loop), "127.0.0.1", 0, backlog=1024)
    sweeping = loop.create_task(_sweep(gateway))
    try:
        yield Rig(directory, gateway, identity, issued.secret, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        gateway.drain()
        for connection in list(gateway.connections):
            connection.abort()
        await gateway.cache.close()
        gateway.close()
        await asyncio.sleep(0)
        sweeping.cancel()
        journal.flush()
        journal.close()
        log.close()
        generation.close()


async def _sweep(gateway: Gateway) -> None:
    while True:
        await asyncio.sleep(0.02)
        gateway.sweep()
