"""The model as a brain sees it: a request in, what came back as a value. It goes through the gateway, over loopback.

It decides which failures are worth another try, and when; the trying is the loop's, because each try is a step that
the log knows. It reads no clock but for how long is waited.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from interlock import __version__
from interlock.gateway.http.client import Failure, Pool, Ticket
from interlock.gateway.http.dial import dialler
from interlock.gateway.translate import neutral
from interlock.runtime.brain.wires import PATHS, Broke, Heard, Listener
from interlock.runtime.sessions.agent import Wire

CONNECTIONS = 256
CONNECT_S = 10.0
SILENT_S = 300.0
"""Between two reads of an answer; a model that thinks says nothing for minutes."""
ANSWER_S = 1800.0
DRAIN_S = 2.0
BODY_BYTES_MAX = 64 << 20
"""Of one answer's stream."""
ERROR_BYTES_MAX = 64 * 1024
QUEUED_MAX = 64
"""Reads held before the connection is paused."""
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Before each further try, where the answer does not say how long."""
RETRY_AFTER_S_MAX = 600.0
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_NEVER = frozenset({"limit_too_small", "unpriced", "boundary_refused", "upstream_auth", "internal"})
"""Codes whose status is one that is retried, or that a retry cannot change."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One model call."""

    session: str
    wire: Wire
    body: bytes
    key: str
    """Its idempotency key."""
    step: int
    mode: str = ""
    task: str = ""
    """What it is for, in costs."""
    token: str = ""
    """A session token of audience `inference`. Never logged."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back."""

    said: Heard | Broke
    deployment: str = ""
    request_id: str = ""
    amount_nanousd: int | None = None
    retry_after_s: float | None = None


class Model(Protocol):
    """Asks a model. Cancelling the call hangs up, which stops the answer."""

    async def ask(self, request: Request, tell: Callable[[neutral.Event], None]) -> Reply:
        """The answer, or why there is none; `tell` is called with each piece as it comes. It raises nothing."""
        ...


def retry_in_s(reply: Reply, failures: int) -> float | None:
    """Seconds until another try is made after so many failures in a row, this one included; None: it helps nobody."""
    broke = reply.said
    assert isinstance(broke, Broke)
    if broke.code in _NEVER or broke.status not in _RETRIED or failures > len(BACKOFF_S):
        return None
    if reply.retry_after_s is not None:
        return min(max(reply.retry_after_s, 0.1), RETRY_AFTER_S_MAX)
    return BACKOFF_S[failures - 1]


@dataclass(slots=True)
class _Sink:
    """An answer on its way: what the pool hands over, for one reader. Bounded by pausing the connection."""

    ticket: Ticket | None = None
    over: bool = False
    """The connection is the pool's again, or gone."""
    queue: "asyncio.Queue[bytes | Failure | None]" = field(default_factory=asyncio.Queue)
    head: "asyncio.Future[tuple[int, Mapping[bytes, bytes]]]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def stops(self) -> str:
        return ""

    def on_head(self, status: int, headers: Mapping[bytes, bytes], peer: str) -> None:
        if not self.head.done():
            self.head.set_result((status, headers))

    def on_data(self, data: bytes) -> None:
        self.queue.put_nowait(data)
        connection = self.ticket.connection if self.ticket is not None else None
        if connection is not None and self.queue.qsize() > QUEUED_MAX:
            connection.pause()

    def on_end(self) -> None:
        self.over = True
        self.queue.put_nowait(None)

    def on_failed(self, failure: Failure) -> None:
        self.over = True
        if not self.head.done():
            self.head.set_result((0, {}))
        self.queue.put_nowait(failure)

    async def next(self) -> bytes | Failure | None:
        """More of the body; None: it is over."""
        got = await self.queue.get()
        connection = self.ticket.connection if self.ticket is not None else None
        if connection is not None and not self.over and self.queue.qsize() < QUEUED_MAX // 2:
            connection.resume()
        return got

    def hang_up(self) -> None:
        """Not wanted any more."""
        if self.ticket is not None and not self.over:
            self.ticket.cancel()


class GatewayModel(Model):
    """Through the gateway's data port."""

    def __init__(self, url: str, *, silent_s: float = SILENT_S, answer_s: float = ANSWER_S) -> None:
        """`url`: of the data port, without a path. To be made on a running loop."""
        split = urlsplit(url)
        loop = asyncio.get_running_loop()
        self._host = split.netloc
        self._pool = Pool(loop, dialler(loop, split, ca_bundle="", timeout_s=CONNECT_S), CONNECTIONS)
        self._silent_s, self._answer_s = silent_s, answer_s

    async def ask(self, request: Request, tell: Callable[[neutral.Event], None]) -> Reply:
        sink = _Sink()
        sink.ticket = self._pool.request(self._written(request), sink)
        try:
            async with asyncio.timeout(self._answer_s):
                return await self._answer(sink, request.wire, tell)
        except TimeoutError:
            return Reply(said=Broke(code="upstream_timeout", message="the gateway was silent for too long", status=504))
        finally:
            sink.hang_up()

    def close(self) -> None:
        """Close idle connections; no more calls will come."""
        self._pool.close()

    def _written(self, request: Request) -> bytes:
        lines = [
            f"POST {PATHS[request.wire]} HTTP/1.1",
            f"host: {self._host}",
            f"user-agent: interlock-brain/{__version__}",
            "content-type: application/json",
            "accept-encoding: identity",
            f"authorization: Bearer {request.token}",
            f"x-interlock-session: {request.session}",
            f"x-interlock-request: {request.key}",
            f"x-interlock-step: {request.step}",
            *([f"x-interlock-mode: {request.mode}"] if request.mode else []),
            *([f"x-interlock-task: {request.task}"] if request.task else []),
            *(["anthropic-version: 2023-06-01"] if request.wire == "messages" else []),
            "x-interlock-arguments: raw",  # broken ones are the loop's to refuse, so that the model hears why
            f"content-length: {len(request.body)}",
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + request.body

    async def _answer(self, sink: _Sink, wire: Wire, tell: Callable[[neutral.Event], None]) -> Reply:
        async with asyncio.timeout(self._silent_s):
            status, headers = await sink.head
        told = _told(headers)
        if status != 200:
            return msgspec.structs.replace(told, said=await self._error(sink, status))
        return msgspec.structs.replace(told, said=await self._stream(sink, Listener(wire, tell)))

    async def _stream(self, sink: _Sink, listener: Listener) -> Heard | Broke:
        size = 0
        while listener.broke is None:
            try:
                # once all is said the body ends at once; hanging up before would look like an answer nobody wanted
                async with asyncio.timeout(DRAIN_S if listener.complete else self._silent_s):
                    got = await sink.next()
            except TimeoutError:
                if listener.complete:
                    break
                raise
            if isinstance(got, Failure) and not listener.complete:
                return Broke(code=got.code, message=got.message)
            if not isinstance(got, bytes):
                break
            size += len(got)
            if size > BODY_BYTES_MAX:
                return Broke(code="upstream_invalid", message="the answer's stream is longer than 64 MiB", status=413)
            listener.feed(got)
        return listener.end()

    async def _error(self, sink: _Sink, status: int) -> Broke:
        body, got = b"", None
        while len(body) < ERROR_BYTES_MAX:
            async with asyncio.timeout(self._silent_s):
                got = await sink.next()
            if not isinstance(got, bytes):
                break
            body += got
        if isinstance(got, Failure) and not status:
            return Broke(code=got.code, message=got.message)
        return _error_of(body[:ERROR_BYTES_MAX], status)


class _ErrorBody(msgspec.Struct, frozen=True):
    code: str | None = None
    type: str | None = None
    message: str | None = None


class _Errors(msgspec.Struct, frozen=True):
    error: _ErrorBody


def _error_of(body: bytes, status: int) -> Broke:
    """What an error says, in any of the formats: `error.code` or `error.type`, and `error.message`."""
    try:
        error = msgspec.json.decode(body, type=_Errors, strict=False).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        shown = body[:200].decode(errors="replace")
        return Broke(code="upstream_error", message=f"HTTP {status}: {shown}", status=status)
    code = (error.code or error.type or "upstream_error")[:80]
    return Broke(code=code, message=(error.message or f"HTTP {status}")[:500], status=status)


def _told(headers: Mapping[bytes, bytes]) -> Reply:
    """What the gateway says beside the answer. Its `said` is replaced by the caller."""

    def header(name: bytes) -> str:
        return headers.get(name, b"").decode("latin-1")[:256]

    amount = header(b"x-interlock-amount-nanousd")
    return Reply(
        said=Broke(code="internal", message="no answer"),
        deployment=header(b"x-interlock-deployment"),
        request_id=header(b"x-interlock-request-id"),
        amount_nanousd=int(amount) if amount.isascii() and amount.isdigit() else None,
        retry_after_s=_seconds(header(b"retry-after")),
    )


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e9 else None
