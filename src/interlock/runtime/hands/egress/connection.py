"""One connection from a sandbox to its proxy: who is asked for, whether that may be, and the bytes."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Literal

from interlock.errors import InterlockError, LocalError
from interlock.runtime.hands.egress import dns, head, socks, stray
from interlock.runtime.hands.egress.allowed import address, normal, own_addresses, why_not
from interlock.runtime.hands.egress.relay import CHUNK_BYTES, Over, Relay, Stream, shut
from interlock.runtime.hands.egress.room import Room
from interlock.runtime.hands.egress.sniff import Refused, Requests, Watch, split

DOOR_HOST = "interlock.internal"
DOOR_PORT = 80
_LINGER_S = 5.0
"""How long is read on after a request to the gateway was refused, so that its client gets to read why."""
_SOCKS_CODES = {403: socks.NOT_ALLOWED, 405: socks.NO_SUCH_COMMAND, 502: socks.UNREACHABLE}


class _No(Exception):
    """This attempt ends here."""

    def __init__(self, why: str, *, status: int = 403, allowed: bool = False, body: bytes = b"") -> None:
        """body: JSON to say so with; empty: text."""
        super().__init__(why)
        self.status, self.allowed, self.body = status, allowed, body


class Connection:
    """`serve` is its whole life; what it came to is told to the room once."""

    def __init__(
        self, room: Room, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, meant: str = "", port: int = 0
    ) -> None:
        """meant, port: whom the client took this for, which then speaks no proxy's protocol; empty: it does."""
        self._room, self._reader, self._writer = room, reader, writer
        self._host, self._port = meant, port
        self._protocol = "tcp"
        self._address = ""
        self._relay: Relay | None = None
        self._speaks: Literal["", "http", "socks"] = ""
        """How a refusal can be told now; empty: by an end."""
        self._over: Callable[[], None] | None = None
        """Whom the end of a request to the gateway is told."""

    async def serve(self) -> None:
        """Until both ends are through, or it was refused."""
        allowed, why = True, ""
        try:
            if self._host:
                await self._reach(self._host, self._port, b"")
            elif not await self._dispatch():
                return
        except _No as no:
            allowed, why = no.allowed, str(no)
            self._refuse(no)
        except Refused as refused:
            allowed, why = False, str(refused)
        except Over as over:
            why = str(over)
        except OSError as error:
            allowed, why = bool(self._address), error.strerror or type(error).__name__
        except asyncio.CancelledError:
            why = "the sandbox is closed"
            self._tell(allowed, why)
            raise
        except BaseException:
            self._tell(False, "a defect in the proxy")
            raise
        self._tell(allowed, why)
        if self._protocol == "model" and self._speaks:
            await self._linger()
        await shut(self._writer, gently=not why or bool(self._speaks))

    def _tell(self, allowed: bool, why: str) -> None:
        relay = self._relay
        self._room.tell(
            self._host, self._port, allowed=allowed, protocol=self._protocol, address=self._address, why=why,
            sent=relay.sent if relay else 0, received=relay.received if relay else 0,
        )  # fmt: skip

    async def _dispatch(self) -> bool:
        """What the first byte says is spoken. False: nothing was asked, or each question was told by itself."""
        try:
            async with asyncio.timeout(self._room.limits.head_s):
                first = await self._reader.read(1)
        except TimeoutError:
            raise _No("it asked for nothing", status=400) from None
        if not first:
            return False
        if first[0] <= dns.MESSAGE_BYTES_MAX >> 8:
            await self._questions(first)
            return False
        if first[0] == stray.MARK:
            await self._strays()
            return False
        try:
            if first[0] == socks.VERSION:
                self._speaks = "socks"
                await self._socks()
            elif first.isalpha():
                self._speaks = "http"
                await self._http(await self._head(first))
            else:
                raise _No("neither HTTP, SOCKS5 nor DNS", status=400)
        except LocalError as error:
            status = 431 if error.code == "header_too_large" else 400
            raise _No(f"{error.field}: {error.message}", status=status) from None
        except asyncio.IncompleteReadError:
            raise _No("it ended before it said whom it is for", status=400) from None
        return True

    async def _head(self, first: bytes) -> head.Head:
        try:
            async with asyncio.timeout(self._room.limits.head_s):
                return head.parse(first + await self._reader.readuntil(b"\r\n\r\n"))
        except asyncio.LimitOverrunError:
            raise _No("the head is over 32 KiB", status=431) from None
        except TimeoutError:
            raise _No(f"no head in {self._room.limits.head_s:g} s", status=400) from None

    async def _http(self, asked: head.Head) -> None:
        self._protocol = "http"
        if asked.method == "CONNECT":
            self._protocol = "tcp"
            host, port = split(asked.target)
            self._host, self._port = host or asked.target, port or 0
            if host is None or port is None:
                raise _No(f"{asked.target[:100]!r} is not host:port", status=400)
            await self._reach(host, port, b"HTTP/1.1 200 Connection established\r\n\r\n")
            return
        self._host, self._port, path = asked.authority()
        self._unfold()
        if (self._host, self._port) == (DOOR_HOST, DOOR_PORT):
            await self._model(asked, path)
            return
        outside = await self._dial()
        authority = _authority(self._host, self._port)
        await self._one_request(outside, asked.written(path, authority, without=frozenset()), self._host, self._port)

    async def _socks(self) -> None:
        try:
            async with asyncio.timeout(self._room.limits.head_s):
                asked = await socks.ask(self._reader, self._writer)
        except TimeoutError:
            raise _No(f"no request in {self._room.limits.head_s:g} s", status=400) from None
        self._host, self._port = asked.host, asked.port
        if asked.command != 1:
            self._protocol = "udp" if asked.command == 3 else "tcp"
            raise _No("no datagrams and no listening: CONNECT only", status=405)
        host = normal(asked.host)
        if host is None:
            raise _No(f"{asked.host[:100]!r} is neither a name nor an address")
        await self._reach(host, asked.port, socks.reply(socks.GRANTED))

    async def _reach(self, host: str, port: int, granted: bytes) -> None:
        """Connect a tunnel; `granted` tells the client that it stands."""
        self._host, self._port = host, port
        self._unfold()
        if (self._host, self._port) == (DOOR_HOST, DOOR_PORT):
            self._writer.write(granted)
            self._speaks = "http"
            try:
                asked = await self._head(b"")
                named, named_port = split(b"".join(asked.all(b"host")).decode("latin-1"))
            except (LocalError, asyncio.IncompleteReadError) as error:
                raise _No(f"no request for the gateway: {error}", status=400) from None
            if named != DOOR_HOST or named_port not in {None, DOOR_PORT} or not asked.target.startswith("/"):
                raise _No(f"the request is not for {DOOR_HOST}", status=400)
            await self._model(asked, asked.target)
            return
        outside = await self._dial()
        self._writer.write(granted)
        self._speaks = ""
        watch = Watch(self._host, self._port)
        self._relay = self._relaying(watch.feed)
        await self._run(outside, b"", lambda: watch.waiting)

    def _unfold(self) -> None:
        """A name's address inside the sandbox becomes the name."""
        self._host = self._room.names.name_of(self._host) or self._host

    async def _model(self, asked: head.Head, path: str) -> None:
        """One request to the gateway, with the session's credential in place of the program's own."""
        self._protocol = "model"
        door = self._room.door
        if door is None:
            raise _No("this sandbox has no door to the gateway")
        try:
            token = door.credential()
        except InterlockError as error:
            raise _No(f"no credential for the gateway: {error.code}", status=502) from None
        admission = await door.admit(asked.method, path)
        if admission.why_not:
            raise _No(admission.why_not, status=admission.status, body=admission.body)
        self._over = admission.over
        try:
            outside = await self._connect(door.host, door.port)
            authority = _authority(door.host, door.port)
            written = asked.written(
                path, authority, without=head.CREDENTIALS, more=[f"authorization: Bearer {token}"]
            )  # fmt: skip
            await self._one_request(outside, written, normal(door.host) or door.host, door.port)
        finally:
            self._ended()

    def _ended(self) -> None:
        """The gateway has answered all, or will not: what its client does with the answer takes no part in that."""
        over, self._over = self._over, None
        if over is not None:
            over()

    async def _one_request(self, outside: Stream, written: bytes, host: str, port: int) -> None:
        self._speaks = ""
        requests = Requests(host, port, once=True)

        def look(data: bytes) -> bytes:
            requests.feed(data)
            return data

        self._relay = self._relaying(look)
        await self._run(outside, written, lambda: False)

    def _relaying(self, look: Callable[[bytes], bytes]) -> Relay:
        limits = self._room.limits
        spend, ended = self._room.spend, self._ended
        return Relay(idle_s=limits.idle_s, spend=spend, look=look, look_s=limits.head_s, ended=ended)

    async def _run(self, outside: Stream, first: bytes, waiting: Callable[[], bool]) -> None:
        assert self._relay is not None
        gently = False
        try:
            await self._relay.run((self._reader, self._writer), outside, first, waiting=waiting)
            gently = True
        finally:
            await shut(outside[1], gently=gently)

    async def _dial(self) -> Stream:
        """Connect to a listed host, at an address that may be."""
        host, port, permits = self._host, self._port, self._room.allowed.permits
        if not permits(host, port):
            raise _No("not listed")
        if address(host) is not None:
            return await self._connect(host, port)
        try:
            async with asyncio.timeout(self._room.limits.connect_s):
                found = await self._room.resolve(host, port)
        except (OSError, TimeoutError, UnicodeError):
            raise _No("the name cannot be resolved", status=502, allowed=True) from None
        own, why = own_addresses(), "the name has no address"
        error: _No | None = None
        for text in found:
            real = address(text.partition("%")[0])
            if real is None or ((why := why_not(real, own)) and not permits(str(real), port)):
                continue
            try:
                return await self._connect(text, port)
            except _No as no:
                error = no
        raise error or _No(f"the name leads to where nobody may go: {why}")

    async def _connect(self, where: str, port: int) -> Stream:
        try:
            async with asyncio.timeout(self._room.limits.connect_s):
                stream = await asyncio.open_connection(where, port, limit=64 * 1024)
        except TimeoutError:
            raise _No(f"no connection in {self._room.limits.connect_s:g} s", status=502, allowed=True) from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise _No(f"no connection: {reason}", status=502, allowed=True) from None
        self._address = where
        with contextlib.suppress(OSError):
            stream[1].get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return stream

    async def _questions(self, first: bytes) -> None:
        """Questions for names, each told by itself."""
        room, also = self._room, frozenset({DOOR_HOST} if self._room.door else ())
        with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError, OSError):
            while True:
                async with asyncio.timeout(room.limits.head_s):
                    size = int.from_bytes(first + await self._reader.readexactly(2 - len(first)), "big")
                    query = await self._reader.readexactly(min(size, dns.MESSAGE_BYTES_MAX + 1))
                    found = dns.answer(query, room.allowed, room.names, also)
                    why, first = found.why, b""
                    room.tell(
                        found.name, 53, allowed=found.allowed, protocol="dns", why=why,
                        sent=len(query), received=len(found.message),
                    )  # fmt: skip
                    if not found.message or room.spent:
                        return
                    self._writer.write(len(found.message).to_bytes(2, "big") + found.message)
                    await self._writer.drain()

    async def _strays(self) -> None:
        """What the forwarder inside has seen go around the proxy: some messages, each a place."""
        room, mark = self._room, b""
        with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError, OSError):
            while not room.spent:
                async with asyncio.timeout(room.limits.head_s):
                    size = int.from_bytes(await self._reader.readexactly(2), "big")
                    message = await self._reader.readexactly(min(size, stray.MESSAGE_BYTES_MAX))
                    found = stray.read(message)
                    if found is None or size > stray.MESSAGE_BYTES_MAX:
                        return
                    room.strayed(found)
                    mark = await self._reader.readexactly(1)
                if mark[0] != stray.MARK:
                    return

    def _refuse(self, no: _No) -> None:
        """Say so in the client's protocol, unless it was told already that a tunnel stands."""
        if self._speaks == "socks":
            self._writer.write(socks.reply(_SOCKS_CODES.get(no.status, socks.FAILED)))
        elif self._speaks == "http":
            status = HTTPStatus(no.status)
            text = f"interlock: {self._host or 'egress'}:{self._port}: {no}\n".encode()
            body, kind = (no.body, "application/json") if no.body else (text, "text/plain; charset=utf-8")
            self._writer.write(
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {kind}\r\n"
                f"content-length: {len(body)}\r\nx-interlock-egress: refused\r\nconnection: close\r\n\r\n".encode()
                + body
            )

    async def _linger(self) -> None:
        """Take what the client still sends of a request that was refused: to one that finds its connection closed amid
        a body, the answer is lost."""
        with contextlib.suppress(OSError, TimeoutError):
            if not self._writer.is_closing():
                self._writer.write_eof()
            async with asyncio.timeout(_LINGER_S):
                while await self._reader.read(CHUNK_BYTES):
                    pass


def _authority(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port == 80 else f"{shown}:{port}"
