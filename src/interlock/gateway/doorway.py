"""`/mcp` on the data port: who asks is verified here, and the request goes on to the door, a process of its own.

It knows nothing of MCP. The door hears who asks from the worker alone, in one header; of the client's own headers those
pass that MCP names, and never its key. Bytes stream both ways, an answer of any length holds little memory, and nobody
who is not let in any more keeps a stream: each sweep asks again.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from interlock.errors import InterlockError, LocalError
from interlock.gateway.admission import Admission, Admitted
from interlock.gateway.http import Head, Pool, Running, ServerConnection
from interlock.gateway.http.client import Connection, Failure, Ticket
from interlock.gateway.ports import Admits
from interlock.unixpath import short

PATH = "/mcp"
CALLER_HEADER = "x-interlock-caller"
"""base64url of a Bearer as JSON."""
BODY_BYTES_MAX = 4 << 20
STREAMS_MAX = 1024
"""Requests of one worker at once: each that listens for messages is one."""
SILENCE_S = 90.0
"""The door says something at least each 15 s, if only a comment."""
TOTAL_S = 3600.0
CONNECT_S = 5.0
START_S = 5.0
"""How long a call waits for a door that was started again and has not served in between."""

_PASSED = (b"accept", b"content-type", b"last-event-id", b"origin", b"traceparent", b"tracestate")
_PASSED_BACK = (b"content-type", b"cache-control", b"mcp-session-id", b"allow", b"retry-after", b"x-accel-buffering")
_METHODS = ("GET", "POST", "DELETE")


class House(Protocol):
    """What the doorway asks of the gateway."""

    directory: Admits
    draining: bool

    def error(self, head: Head | None, error: InterlockError) -> tuple[int, bytes, bytes]:
        """(status, header lines, body)."""


class Doorway:
    """The way of one worker to the door."""

    def __init__(self, loop: asyncio.AbstractEventLoop, house: House, admission: Admission, place: str) -> None:
        """`place`: of the door's socket; empty: there is none."""
        self._house = house
        self._loop = loop
        self._admission = admission
        self._starts = Path(place).with_name("door.starts") if place else None
        """As `DataDir.door_starts`; the supervisor and the door keep it."""
        self._pool = Pool(loop, _dialler(loop, place), STREAMS_MAX) if place else None
        self.passages: set[Passage] = set()

    def judge(self, head: Head) -> LocalError | None:
        """Refuse before the body is read, or None."""
        if head.method not in _METHODS:
            return LocalError(f"{PATH} takes {', '.join(_METHODS)}, not {head.method}", code="method_not_allowed")
        if (head.length or 0) > BODY_BYTES_MAX:
            return LocalError(f"a body for {PATH} exceeds {BODY_BYTES_MAX} bytes", code="body_too_large")
        admitted = self._admission.admit(head, "mcp")
        return admitted if isinstance(admitted, LocalError) else None

    def begin(self, client: ServerConnection, head: Head, body: bytes) -> Running | None:
        """Hand a request on; None: it was answered. Raises: LocalError."""
        admitted = self._admission.admit(head, "mcp")
        if isinstance(admitted, LocalError):
            raise admitted
        if len(body) > BODY_BYTES_MAX:
            raise LocalError(f"a body for {PATH} exceeds {BODY_BYTES_MAX} bytes", code="body_too_large")
        if self._house.draining:
            raise LocalError("the server is stopping; retry", code="draining")
        if self._pool is None:
            raise LocalError("no tool servers are configured here", code="tools_unavailable")
        if self._fails():
            raise _fails_to_start()
        if len(self.passages) >= STREAMS_MAX:
            raise LocalError("too many requests for tools at once; retry", code="busy")
        passage = Passage(self, client, head, admitted, self._house.directory.seq)
        self.passages.add(passage)
        # On a connection of its own: one that was kept may be a dead door's, and a call must not be sent twice.
        passage.ticket = self._pool.request(_request(head, body, admitted), passage, fresh=True)
        return passage

    def refused(self, head: Head, error: InterlockError) -> tuple[int, bytes, bytes]:
        """An error of ours, as the client is told."""
        return self._house.error(head, error)

    def now_s(self) -> float:
        """On the loop's clock."""
        return self._loop.time()

    def _fails(self) -> bool:
        """Whether the door cannot start, as far as is known."""
        try:
            return self._starts is not None and self._starts.stat().st_size > 1
        except OSError:
            return False

    def sweep(self, now_s: float) -> None:
        """End what has been silent for too long, or belongs to somebody who is not let in any more."""
        late = [passage for passage in self.passages if passage.unheard and now_s - passage.begun_s > START_S]
        if late and self._fails():
            for passage in late:
                passage.fail(_fails_to_start())
        for passage in list(self.passages):
            if now_s - passage.heard_s > SILENCE_S or now_s - passage.begun_s > TOTAL_S:
                passage.fail(LocalError("the tool server was silent for too long", code="upstream_timeout"))
            elif not self._admission.stands(passage.head, passage.admitted, passage.seq, "mcp"):
                passage.fail(LocalError("no such key, or it was revoked", code="key_unknown"))
        if self._pool is not None:
            self._pool.sweep(now_s)

    def drain(self) -> None:
        """End what would go on for ever; what was asked may still be answered."""
        for passage in [p for p in self.passages if p.head.method == "GET"]:
            passage.fail(LocalError("the server is stopping; retry", code="draining"))

    def close(self) -> None:
        """Give up the connections."""
        if self._pool is not None:
            self._pool.close()


class Passage:
    """One request on its way. An http.Running for the client's side, an http.Sink for the door's."""

    def __init__(self, doorway: Doorway, client: ServerConnection, head: Head, admitted: Admitted, seq: int) -> None:
        self._doorway = doorway
        self._client: ServerConnection | None = client
        self.head = head
        self.admitted = admitted
        self.seq = seq
        """The directory's last change when they were let in."""
        self.begun_s = self.heard_s = doorway.now_s()
        self.ticket: Ticket | _NotSent = _NOT_SENT
        self._begun = False
        self._whole: tuple[int, bytes] | None = None  # an answer without a body, until it is complete
        self._paused = False

    @property
    def unheard(self) -> bool:
        """Whether the door has said nothing yet."""
        return self.heard_s == self.begun_s

    # http.Sink

    def stops(self) -> str:
        """Nothing does that `sweep` does not."""
        return ""

    def on_head(self, status: int, headers: Mapping[bytes, bytes], peer: str) -> None:
        """The door answers."""
        self.heard_s = self._doorway.now_s()
        lines = b"".join([b"%b: %b\r\n" % (name, headers[name]) for name in _PASSED_BACK if name in headers])
        if headers.get(b"content-length") == b"0" or status in (202, 204):
            self._whole = status, lines
        elif self._client is not None:
            self._begun = True
            self._client.start(status, lines)
        if self._paused:
            self.pause()

    def on_data(self, data: bytes) -> None:
        """More of the answer."""
        self.heard_s = self._doorway.now_s()
        if self._client is not None and self._begun:
            self._client.send(data)

    def on_end(self) -> None:
        """It is whole."""
        client = self._leave()
        if client is None:
            return
        if self._whole is not None:
            client.respond(*self._whole, b"")
        else:
            client.end()

    def on_failed(self, failure: Failure) -> None:
        """The door is not there, or died."""
        message = "the process that serves tools is starting" if not failure.sent else "it ended while it answered"
        self.fail(LocalError(f"{message}; retry", code="tools_unavailable"))

    def fail(self, error: LocalError) -> None:
        """Tell the client, if it can still be told, and stop the door's work."""
        self.ticket.cancel()
        client = self._leave()
        if client is None:
            return
        if self._begun:
            client.abort()  # what was sent must not look complete
        else:
            client.respond(*self._doorway.refused(self.head, error))

    def _leave(self) -> ServerConnection | None:
        client, self._client = self._client, None
        self._doorway.passages.discard(self)
        return client

    # http.Running

    def cancel(self) -> None:
        """The client hung up."""
        self._leave()
        self.ticket.cancel()

    def pause(self) -> None:
        """The client reads slowly: so do we."""
        self._paused = True
        if self.ticket.connection is not None:
            self.ticket.connection.pause()

    def resume(self) -> None:
        """It has caught up."""
        self._paused = False
        self.heard_s = self._doorway.now_s()
        if self.ticket.connection is not None:
            self.ticket.connection.resume()


def _fails_to_start() -> LocalError:
    why = "the process that serves tools does not start; the server's own output says why"
    return LocalError(why, code="tools_unavailable")


class _NotSent:
    """Stands for a ticket that is not there yet: a pool may fail a request before it returns."""

    connection: Connection | None = None

    def cancel(self) -> None:
        """Nothing is under way."""


_NOT_SENT = _NotSent()


def _request(head: Head, body: bytes, admitted: Admitted) -> bytes:
    caller = urlsafe_b64encode(msgspec.json.encode(admitted.bearer))
    passed = b"".join(
        [
            b"%b: %b\r\n" % (name, value)
            for name, value in head.headers.items()
            if name in _PASSED or name.startswith(b"mcp-")
        ]
    )
    line = f"{head.method} {PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{CALLER_HEADER}: ".encode()
    return b"%b%b\r\n%bcontent-length: %d\r\n\r\n%b" % (line, caller, passed, len(body), body)


def _dialler(
    loop: asyncio.AbstractEventLoop, place: str
) -> Callable[[Callable[[], Connection]], Awaitable[Connection]]:
    async def dial(make: Callable[[], Connection]) -> Connection:
        async with asyncio.timeout(CONNECT_S):
            with short(Path(place)) as name:
                _, connection = await loop.create_unix_connection(make, name)
            return connection

    return dial
