"""One client connection: requests in order, one answered at a time, every wait bounded.

It frames answers and keeps deadlines. What a request means, who may send it and what an error looks like is the
`Handler`'s business. A client that closes, even half, has hung up: the two look the same from here.
"""

import asyncio
import logging
from collections import deque
from http import HTTPStatus
from typing import Protocol, cast

from interlock.errors import LocalError
from interlock.gateway.http.reader import Body, Head, RequestReader
from interlock.gateway.policy import Limits

DISCARD_BYTES_MAX = 64 * 1024
"""A refused request's body up to this size is read and thrown away so that the connection can be kept."""
LINGER_S = 2.0
"""How long a closing connection reads on, so that the client gets to read our answer instead of a reset."""

SLOW_BYTES_MIN = 1 << 20
"""A client that still reads its answer when its time is over gets more of it for each so much that it has read."""

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
_NO_HEAD = Head("", "", "", {}, False, True, 0, False)  # stands for a request line that never became readable
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def status_line(status: int) -> bytes:
    """The status line, also for a status nobody registered (529)."""
    return _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status\r\n".encode()


_log = logging.getLogger(__name__)


class Running(Protocol):
    """A request being answered."""

    def cancel(self) -> None:
        """The client is gone; nothing can be sent any more."""

    def pause(self) -> None:
        """The client reads slower than we write: send no more for now."""

    def resume(self) -> None:
        """Send on."""


class Handler(Protocol):
    """What the connection asks of the gateway."""

    limits: Limits
    connections: set["ServerConnection"]
    draining: bool
    held_bytes: int
    """Bodies held in the whole worker."""

    def judge(self, head: Head) -> LocalError | None:
        """Refuse before the body is read, or None."""

    def begin(self, connection: "ServerConnection", head: Head, body: bytes) -> Running | None:
        """Answer; None if the answer was given at once."""

    def error(self, head: Head | None, error: LocalError) -> tuple[int, bytes, bytes]:
        """(status, header lines, body) of an error in the format of the path."""


class ServerConnection(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, handler: Handler, loop: asyncio.AbstractEventLoop) -> None:
        self._handler = handler
        self._loop = loop
        self._reader = RequestReader(handler.limits)
        self._transport: asyncio.Transport
        self._queue: deque[tuple[Head | None, Body | LocalError, bool]] = deque()  # and whether the next can be read
        self._head: Head | None = None  # the request whose body is being read
        self._refusal: LocalError | None = None
        self._answering: Head | None = None
        self._running: Running | None = None
        self._chunked = False
        self._closing = False
        self._deaf = False  # an error waits for its turn to be told, after which nothing can be read
        self._held = 0
        self._bodies = 0  # bytes of complete bodies, from here to the end of their answers
        self._body = 0  # of these, of the one being answered
        self._paused = False
        self._unsent = 0  # bytes of the last answer that were still to be read when `deadline_s` was set
        self._waits_for = (False, False)
        self.known: object = None
        """What the handler remembers of whom it is talking to."""
        self.deadline_s = 0.0
        """When `expire` is due, on the loop's clock; 0: never."""

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are alike, not kin
        self._handler.connections.add(self)
        self._set_deadline()
        if len(self._handler.connections) > self._handler.limits.connections:
            self._fail(LocalError("too many connections; retry", code="busy"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self.known = None
        self._handler.connections.discard(self)
        self._hold(0)
        self._queue.clear()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def eof_received(self) -> bool:
        return False  # closes the transport, which cancels what runs

    def pause_writing(self) -> None:
        self._paused = True
        if self._running is not None:
            self._running.pause()

    def resume_writing(self) -> None:
        self._paused = False
        if self._running is not None:
            self._running.resume()
        elif self._queue:
            self._next()

    def data_received(self, data: bytes) -> None:
        if self._closing or self._deaf:
            return  # lingering, or soon
        for event in self._reader.feed(data):
            if type(event) is Head:
                self._on_head(event)
            elif type(event) is Body:
                self._on_body(event)
            elif isinstance(event, LocalError):
                self._queue_error(event)
            if self._closing or self._deaf:
                return
        self._reader.discard = self._refusal is not None  # not before: the body may have come with its head
        arriving = self._arriving()
        self._hold(self._bodies + arriving)
        unannounced = arriving and self._head is not None and self._head.length is None
        if unannounced and self._handler.held_bytes > self._handler.limits.held_bytes:
            self._queue_error(LocalError("the server holds as many bodies as it may; retry", code="busy"))
            return
        if self._answering is None:
            self._set_deadline()

    # reading

    def _on_head(self, head: Head) -> None:
        self._head = head
        length, limits = head.length or 0, self._handler.limits
        self._refusal = self._handler.judge(head)
        if length > limits.body_bytes:
            self._refusal = LocalError(f"the body exceeds {limits.body_bytes} bytes", code="body_too_large")
        elif self._refusal is None and length + self._handler.held_bytes > limits.held_bytes:
            self._refusal = LocalError("the server holds as many bodies as it may; retry", code="busy")
        if self._refusal is not None:
            if head.length is None or head.length > DISCARD_BYTES_MAX or head.expects_continue:
                self._queue_error(self._refusal)
        elif head.expects_continue and self._answering is None and not self._queue:
            self._transport.write(_CONTINUE)  # never amid another answer; a client does not wait for it for ever

    def _on_body(self, body: Body) -> None:
        assert self._head is not None
        self._enqueue(self._head, self._refusal or body)
        self._head = self._refusal = None

    def _queue_error(self, error: LocalError) -> None:
        """An error after which nothing more can be read; earlier requests are answered first."""
        head, self._head = self._head, None
        if self._answering is None and not self._queue:
            self._fail(error, head)
        else:
            self._queue.append((head, error, False))
            self._deaf = True
            self._transport.pause_reading()

    def _enqueue(self, head: Head, what: Body | LocalError) -> None:
        self._queue.append((head, what, True))
        self._bodies += len(what.data) if type(what) is Body else 0
        if self._answering is None and not self._paused:
            self._next()
        elif len(self._queue) >= self._handler.limits.pipelined:
            self._transport.pause_reading()

    def _next(self) -> None:
        # Not while the client leaves an earlier answer unread: what is begun now could not be told to pause.
        while self._queue and self._answering is None and not self._closing and not self._paused:
            head, what, readable = self._queue.popleft()
            if isinstance(what, LocalError):
                self._fail(what, head, keep_alive=readable)
                continue
            assert head is not None
            self._answering = head
            self._body = len(what.data)
            self.deadline_s = 0.0
            try:
                self._running = self._handler.begin(self, head, what.data)
            except Exception:  # a defect of ours: it must cost this call alone
                _log.exception("a request could not be handled")
                self.fail_answer(head)
            if self._answering is None:
                self._running = None

    # answering

    def respond(self, status: int, headers: bytes, body: bytes, *, keep_alive: bool = True) -> None:
        """A whole answer. `headers`: complete lines, without Content-Length and Connection."""
        head = self._answering
        assert head is not None
        keep_alive = keep_alive and head.keep_alive and not self._handler.draining
        length = b"content-length: %d\r\n%s\r\n" % (len(body), b"" if keep_alive else b"connection: close\r\n")
        payload = b"" if head.method == "HEAD" else body
        self._transport.write(b"".join((status_line(status), headers, length, payload)))
        self._finish(keep_alive)

    def start(self, status: int, headers: bytes) -> None:
        """Begin an answer of unknown length: chunked, or up to the close for HTTP/1.0."""
        head = self._answering
        assert head is not None
        self._chunked = head.chunks
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        close = b"" if self._keeps(head) else b"connection: close\r\n"
        self._transport.write(b"".join((status_line(status), headers, framing, close, b"\r\n")))

    def send(self, data: bytes) -> None:
        """A part of an answer that was started."""
        if not data:
            return  # an empty chunk would be the last one
        if self._chunked:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._transport.write(data)

    def end(self) -> None:
        """The answer that was started is complete."""
        head = self._answering
        assert head is not None
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        self._finish(self._keeps(head))

    def fail_answer(self, head: Head) -> None:
        """After a defect: say so if nothing was said yet, and close."""
        if self._answering is not None:
            self._fail(LocalError("a defect in Interlock; its log has more", code="internal"), head)

    def _keeps(self, head: Head) -> bool:
        return head.keep_alive and head.chunks and not self._handler.draining

    def _finish(self, keep_alive: bool) -> None:
        self._answering = self._running = None
        if self._body:
            self._bodies -= self._body
            self._body = 0
            self._hold(self._bodies + self._arriving())
        if not keep_alive:
            self._close()
            return
        if self._closing:
            return
        self._set_deadline()
        if self._queue:
            self._loop.call_soon(self._next)  # not recursion: a pipeline of refusals would be as deep as it is long
        elif self._reader.behind:
            self._loop.call_soon(self._catch_up)
        elif not self._transport.is_reading():
            self._transport.resume_reading()

    def _catch_up(self) -> None:
        if self._answering is None and not self._queue:
            self.data_received(b"")

    def _fail(self, error: LocalError, head: Head | None = None, *, keep_alive: bool = False) -> None:
        self._answering = head or _NO_HEAD
        self.respond(*self._handler.error(head, error), keep_alive=keep_alive)

    def _close(self) -> None:
        """Close so that the client can still read what was sent, though it may be sending."""
        if self._closing:
            return
        self._closing = True
        self._queue.clear()
        self._unsent = self._transport.get_write_buffer_size()
        if not self._reader.idle and self._transport.can_write_eof():
            if not self._transport.is_reading():
                self._transport.resume_reading()
            self._transport.write_eof()
            self.deadline_s = self._loop.time() + LINGER_S
        else:
            self._transport.close()
            self.deadline_s = self._loop.time() + self._handler.limits.keep_alive_s  # for what it has not read yet

    # time and memory

    def drain(self) -> None:
        """The server stops: close now if nothing is being read or answered, else after the answer."""
        if self._answering is None and self._reader.idle and not self._queue:
            self._close()

    def expire(self) -> None:
        """The deadline has passed."""
        unsent, limits = self._transport.get_write_buffer_size(), self._handler.limits
        if unsent and unsent <= self._unsent - SLOW_BYTES_MIN:
            self._unsent = unsent
            self.deadline_s = self._loop.time() + limits.keep_alive_s
            return
        if self._closing or self._reader.idle or self._queue:
            self._transport.abort()
            return
        what = "body" if self._reader.in_body else "head"
        self._fail(LocalError(f"the {what} of the request did not arrive in time", code="request_timeout"), self._head)

    def abort(self) -> None:
        """Close without a further byte: what was sent must not look complete."""
        self._transport.abort()

    @property
    def peer_keeps_up(self) -> bool:
        """Whether what was written has nearly all left."""
        return self._transport.get_write_buffer_size() < 64 * 1024

    def _set_deadline(self) -> None:
        limits, reader = self._handler.limits, self._reader
        wait = limits.body_s if reader.in_body else limits.keep_alive_s if reader.idle else limits.header_s
        waits_for = (reader.in_body, reader.idle)
        # Set once for each thing waited for, so that a byte now and then does not put it off.
        if self.deadline_s == 0.0 or waits_for != self._waits_for or reader.idle:
            self._waits_for = waits_for
            self._unsent = self._transport.get_write_buffer_size() if self._paused else 0
            self.deadline_s = self._loop.time() + wait

    def _arriving(self) -> int:
        """Bytes of body set aside for the request being read: all that it announced, or what came of it."""
        if not self._reader.in_body or self._head is None or self._refusal is not None:
            return 0
        return self._head.length or self._reader.held

    def _hold(self, held: int) -> None:
        self._handler.held_bytes += held - self._held
        self._held = held
