"""Answers from an upstream: one request at a time on a connection, connections pooled and bounded.

It frames and keeps connections. It does not retry: whether a request may be sent again is decided where its meaning is
known (exchange.py), so a failure says how far the request came.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, cast

import httptools
import msgspec

HEAD_BYTES_MAX = 64 * 1024
IDLE_S_MAX = 30.0
"""Upstreams close idle connections after a minute or so; a connection younger than this is rarely found dead."""
WAITING_MAX = 1024
"""Requests that wait for a connection to one upstream."""


_log = logging.getLogger(__name__)


class Failure(msgspec.Struct, frozen=True):
    """Why there is no (whole) answer."""

    code: str
    """Of interlock.errors.CODES."""
    message: str
    sent: bool
    """The upstream may have seen the request."""
    stale: bool = False
    """A pooled connection was found closed before any byte of the answer."""


class Sink(Protocol):
    """Who receives an answer: head, data…, then end; or failed, at any point."""

    def stops(self) -> str:
        """Why a request that waited may not be sent any more; empty: it may. Asked just before it is."""

    def on_head(self, status: int, headers: Mapping[bytes, bytes], peer: str) -> None:
        """Names of headers in lower case; the first of repeated ones."""

    def on_data(self, data: bytes) -> None:
        """A part of the body."""

    def on_end(self) -> None:
        """The body is complete by its framing."""

    def on_failed(self, failure: Failure) -> None:
        """There will be nothing more."""


class Connection(asyncio.Protocol):
    """A connection to an upstream."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._sink: Sink | None = None
        self.used = False
        """An answer came over it."""
        self.counted = False
        """Whether the dial that made it has returned: until then the dial answers for it."""
        self.gone = False
        self.idle_since_s = 0.0
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are alike, not kin
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple):
            host, port = address[:2]
            self.peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def send(self, request: bytes, sink: Sink) -> None:
        """Send a whole request; the connection must be idle."""
        assert self._sink is None and self._transport is not None
        self._sink = sink
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._head_bytes = 0
        self._between_bytes = 0  # since the last part of the body: chunk lines, trailers
        self._status = 0
        self._problem = ""
        self._framed = self._keep_alive = False
        self._complete = False
        self._transport.write(request)

    def cancel(self) -> None:
        """The answer is not wanted any more. Closing is the only way to say so in HTTP/1.1."""
        self._sink = None
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read no more for now."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_reading() and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close an idle connection."""
        if self._transport is not None:
            self._transport.close()

    @property
    def usable(self) -> bool:
        """Open, as far as known."""
        return self._transport is not None and not self._transport.is_closing()

    # asyncio's callbacks

    def data_received(self, data: bytes) -> None:
        if self._sink is None:
            assert self._transport is not None
            self._transport.abort()  # bytes nobody asked for: what follows could not be trusted
            return
        try:
            self._read(data)
        except Exception:  # a defect of ours: it must cost this call alone, and the caller must hear of it
            _log.exception("an answer could not be handled")
            self._fail("internal", "a defect in Interlock; its log has more")

    def _read(self, data: bytes) -> None:
        if self._status == 0:
            self._head_bytes += len(data)
        self._between_bytes += len(data)
        problem = ""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            problem = "the upstream switched protocols"
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            problem = f"the upstream's answer is not valid HTTP: {error}"
        if self._status == 0 and self._head_bytes > HEAD_BYTES_MAX:
            problem = f"the upstream's headers exceed {HEAD_BYTES_MAX} bytes"
        elif self._between_bytes > HEAD_BYTES_MAX and not (self._parts or self._complete):
            problem = f"the upstream sent {HEAD_BYTES_MAX} bytes that are no part of its answer"
        problem = self._problem or problem
        if self._parts and self._sink is not None:
            self._between_bytes = 0
            parts, self._parts = self._parts, []
            self._sink.on_data(parts[0] if len(parts) == 1 else b"".join(parts))
        if self._complete:
            self._finish(reusable=not problem)
        elif problem:
            self._fail("upstream_invalid", problem)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._pool.lost(self)
        if self._sink is None:
            return
        if exc is None and self._status and not self._framed:
            self._complete = True  # a body without length ends with the connection
            sink, self._sink = self._sink, None
            _end(sink)
            return
        stale = self.used and self._head_bytes == 0
        where = "before the answer" if self._head_bytes == 0 else "in the middle of the answer"
        self._fail("upstream_closed", f"the upstream closed the connection {where}", stale=stale)

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if self._complete:
            self._keep_alive = False  # more bytes than the answer, which nobody asked for: none is handed on

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status == 0:  # a trailer must not become a header after the head was handed on
            self._headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._complete or self._problem:
            return
        if status < 100:
            self._problem = f"the upstream's answer has status {status}"
            return
        if status < 200:
            self._headers = {}
            return
        coding = self._headers.get(b"transfer-encoding")
        if coding is not None and (coding.lower() != b"chunked" or self._parser.get_http_version() != "1.1"):
            self._problem = f"the upstream's answer has Transfer-Encoding {coding[:50]!r}, not asked for"
            return
        self._status = status
        headers = self._headers
        self._framed = b"content-length" in headers or coding is not None
        self._framed = self._framed or status in (204, 304)
        self._keep_alive = self._parser.should_keep_alive()  # of the head: afterwards the parser has forgotten it
        if self._sink is not None:
            self._sink.on_head(status, headers, self.peer)

    def on_body(self, data: bytes) -> None:
        if self._status and not self._complete:
            self._parts.append(data)  # handed on once a read, not once a chunk

    def on_message_complete(self) -> None:
        if self._status:
            self._complete = True

    def _finish(self, *, reusable: bool) -> None:
        sink, self._sink = self._sink, None
        self.used = True
        assert self._transport is not None
        # An answer that came early leaves a rest of its request, which the upstream may not want to read any more.
        if reusable and self._keep_alive and self.usable and not self._transport.get_write_buffer_size():
            self.resume()
            self._pool.release(self)
        else:
            self.close()
        if sink is not None:
            _end(sink)

    def _fail(self, code: str, message: str, *, stale: bool = False) -> None:
        sink, self._sink = self._sink, None
        if self._transport is not None:
            self._transport.abort()
        if sink is not None:
            sink.on_failed(Failure(code, message, True, stale))


def _end(sink: Sink) -> None:
    try:
        sink.on_end()
    except Exception:  # a defect of ours
        _log.exception("an answer could not be handled")
        sink.on_failed(Failure("internal", "a defect in Interlock; its log has more", True))


class Ticket:
    """A request that was handed to a pool."""

    __slots__ = ("_cancelled", "connection", "fresh", "request", "sink")

    def __init__(self, request: bytes, sink: Sink, *, fresh: bool) -> None:
        self.request = request
        self.sink = sink
        self.fresh = fresh
        self.connection: Connection | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """Nothing more reaches the sink."""
        self._cancelled = True
        if self.connection is not None:
            self.connection.cancel()

    @property
    def live(self) -> bool:
        """Still wanted."""
        return not self._cancelled

    def give(self, connection: Connection) -> None:
        """Send on this connection."""
        self.connection = connection
        connection.send(self.request, self.sink)

    def fail(self, code: str, message: str) -> None:
        """It was never sent."""
        if self.live:
            self.sink.on_failed(Failure(code, message, False))


Dial = Callable[[Callable[[], Connection]], Awaitable[Connection]]
"""Open a connection, TLS and proxy included, within its time. Raises OSError (also ssl.SSLError), TimeoutError."""


class Pool:
    """Connections to one upstream. The most recently used is used first, so that the others may age and go."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dial: Dial, size: int) -> None:
        self._loop = loop
        self._dial = dial
        self._size = size
        self._open = 0
        self._closed = False
        self._idle: list[Connection] = []
        self._waiting: deque[Ticket] = deque()
        self._dialling: set[asyncio.Task[None]] = set()

    def request(self, request: bytes, sink: Sink, *, fresh: bool = False) -> Ticket:
        """Send `request` as soon as there is a connection. `fresh`: not on one that was used before."""
        ticket = Ticket(request, sink, fresh=fresh)
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.usable:
                ticket.give(connection)
                return ticket
        if self._open < self._size:
            self._connect(ticket)
        elif len(self._waiting) < WAITING_MAX:
            self._waiting.append(ticket)
            if self._idle:  # not good enough (`fresh`): it makes room for a new one
                self._idle.pop(0).close()
        else:
            self._loop.call_soon(ticket.fail, "busy", "too many requests wait for this upstream")
        return ticket

    def release(self, connection: Connection) -> None:
        """The connection is idle again."""
        while self._waiting:
            ticket = self._waiting.popleft()
            if ticket.live and ticket.fresh and connection.used:
                self._waiting.appendleft(ticket)
                connection.close()  # which makes room for a new one
                return
            if self._due(ticket):
                ticket.give(connection)
                return
        if self._closed:
            connection.close()
            return
        connection.idle_since_s = self._loop.time()
        self._idle.append(connection)

    def _due(self, ticket: Ticket) -> bool:
        """Whether it is still wanted, and may still be sent: it waited, and that may have been forbidden meanwhile."""
        why = ticket.sink.stops() if ticket.live else ""
        if why:
            self._loop.call_soon(ticket.fail, "withdrawn", why)
        return ticket.live and not why

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.counted:
            self._leave()

    def _leave(self) -> None:
        """There is one connection less: room for those who wait."""
        self._open -= 1
        while self._waiting and self._open < self._size:
            ticket = self._waiting.popleft()
            if ticket.live:
                self._connect(ticket)

    def sweep(self, now_s: float) -> None:
        """Close what was idle for too long, and forget who does not wait any more."""
        if self._waiting:
            self._waiting = deque(ticket for ticket in self._waiting if ticket.live)
        for connection in self._idle:
            if now_s - connection.idle_since_s > IDLE_S_MAX:
                connection.close()

    def close(self) -> None:
        """No more will come: close idle connections now, the others after their answers."""
        self._closed = True
        for connection in self._idle:
            connection.close()

    def _connect(self, ticket: Ticket) -> None:
        self._open += 1
        task = self._loop.create_task(self._dial_for(ticket))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _dial_for(self, ticket: Ticket) -> None:
        try:
            connection = await self._dial(lambda: Connection(self))
            if connection.gone:
                raise ConnectionError("the upstream closed it at once")
        except TimeoutError:
            self._leave()
            ticket.fail("upstream_unreachable", "connecting to the upstream took too long")
        except (OSError, ValueError) as error:  # ValueError: a host or proxy whose name or port cannot be one
            self._leave()
            cause = str(error) or type(error).__name__
            ticket.fail("upstream_unreachable", f"no connection to the upstream: {cause}")
        else:
            connection.counted = True
            if self._due(ticket):
                ticket.give(connection)
            else:
                self.release(connection)
