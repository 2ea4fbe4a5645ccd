"""HTTP/1.1 requests from bytes, sans-I/O: `feed(bytes) -> events`, the same however the bytes are cut.

The parser is ours because a lenient one cannot be made strict from outside: where a request ends must be known to the
byte, and what two servers could read differently is refused (grammar.py). It knows nothing of paths, keys or formats.
"""

import re
from collections.abc import Mapping

import msgspec

from interlock.errors import LocalError
from interlock.gateway.http.grammar import (
    CHUNK_LINE,
    FORBIDDEN,
    LENGTH_DIGITS_MAX,
    NO_TRAILERS,
    REQUEST_LINE,
    body_length,
    fields,
    keeps_alive,
    malformed,
    place,
    too_large,
)
from interlock.gateway.policy import Limits

CHUNK_LINE_BYTES_MAX = 256
_AGAIN_BYTES_MAX = 4096
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*+([0-9]++)", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,%d}+" % LENGTH_DIGITS_MAX)
_LOOSE_MAX = 1024
"""Pieces of a body are joined when there are so many: a list of 2-byte pieces takes 20 times their bytes."""

# What is read next; `_ENDED`: nothing may follow; `_BROKEN`: whatever follows is not read.
_HEAD, _BODY, _CHUNK_LINE, _CHUNK, _CHUNK_END, _TRAILERS, _ENDED, _BROKEN = range(8)


class Head(msgspec.Struct, frozen=True):
    """The request line and headers are complete."""

    method: str
    path: str
    """Without the query; still percent-encoded."""
    query: str
    headers: Mapping[bytes, bytes]
    """Names in lower case; repeated ones joined with a comma. Not Content-Length, which is `length`: without it, they
    are the same for request after request."""
    keep_alive: bool
    chunks: bool
    """The client understands chunked coding (HTTP/1.1)."""
    length: int | None
    """Announced length of the body; None: chunked."""
    expects_continue: bool


class Body(msgspec.Struct, frozen=True):
    """The request is complete. `data` is empty if the body was to be discarded."""

    data: bytes


Event = Head | Body | LocalError
"""An error is the last event: the connection cannot be read on."""


class _Again:
    """The last head of a connection: clients send it again and again, only the length of the body is another.

    The same bytes before and after the digits of a length were found to be in order as one head, which is all that
    there is to ask: digits are digits. It is kept with its connection, for it holds the client's key.
    """

    __slots__ = ("_after", "_before", "_head")

    def __init__(self, head: Head, before: bytes, after: bytes) -> None:
        self._head, self._before, self._after = head, before, after

    @staticmethod
    def of(head: Head, text: bytes, limits: Limits) -> "_Again | None":
        """What to remember of a head that was read; None: nothing."""
        if not head.length or len(text) + LENGTH_DIGITS_MAX > min(_AGAIN_BYTES_MAX, limits.header_bytes):
            return None
        digits = _LENGTH.search(text)
        return digits and _Again(head, text[: digits.start(1)], text[digits.end(1) :])

    def read(self, data: bytes, at: int) -> tuple[Head, int] | None:
        """(the head at `at`, its end), if it is the same but for a length that is not 0."""
        if not data.startswith(self._before, at):
            return None
        digits = _DIGITS.match(data, at + len(self._before))
        if digits is None or not data.startswith(self._after, digits.end()) or not (length := int(digits[0])):
            return None
        h = self._head
        again = Head(h.method, h.path, h.query, h.headers, h.keep_alive, h.chunks, length, h.expects_continue)
        return again, digits.end() + len(self._after)


class RequestReader:
    """One connection's worth of requests."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._events: list[Event] = []
        self._again: _Again | None = None
        self._rest = b""  # not read yet: a head or a line that is not whole, or requests beyond `pipelined`
        self._state = _HEAD
        self.behind = False
        """More was fed than was read: `feed(b"")` reads on."""
        self._clear()

    def _clear(self) -> None:
        self._blank = False  # the one empty line that may stand before a request was there
        self._scanned = 0  # bytes of a head that is not whole, in which there was nothing forbidden
        self._parts: list[bytes] = []
        self._loose = 0
        self._left = 0  # bytes of the body or chunk to come
        self._extras = 0  # bytes of chunk extensions and trailers
        self._keep_alive = True
        self.held = 0
        """Bytes of body held for the request being read."""
        self.discard = False
        """Set by the owner after Head: read the body to its end, but do not keep it."""

    @property
    def idle(self) -> bool:
        """Nothing of a next request has arrived."""
        return self._state == _ENDED or (self._state == _HEAD and not self._rest)

    @property
    def in_body(self) -> bool:
        """Headers are complete, the body is not."""
        return _HEAD < self._state < _ENDED

    def feed(self, data: bytes) -> list[Event]:
        """What the bytes complete, in order; of at most `limits.pipelined` requests, the others wait (`behind`).

        Errors: `malformed_http`, `header_too_large`, `body_too_large` (of a chunked body; an announced length is for
        the owner to judge), `expectation_failed`.
        """
        if self._rest:
            data = self._rest + data
        at, events_max = 0, 2 * self._limits.pipelined
        events = self._events
        try:
            while at < len(data) and len(events) < events_max:
                start, at = at, _STEPS[self._state](self, data, at)
                if at == start:
                    break  # the step needs more than there is
        except LocalError as error:
            events.append(error)
            self._state, at = _BROKEN, len(data)
        self._rest = data[at:]
        self.behind = len(events) >= events_max and at < len(data)
        self._events = []
        return events

    # One step each: reads from `at`, and returns how far it came; `at` itself if it needs more.

    def _head(self, data: bytes, at: int) -> int:
        if self._again is not None and (again := self._again.read(data, at)):
            head, at = again
            self._events.append(head)
            self._left, self._state = head.length or 0, _BODY
            return at
        if not self._blank and data.startswith(b"\r\n", at):
            self._blank = True  # RFC 9112, section 2.2: at least one is to be ignored; no more than that are
            return at + 2
        limit = self._limits.header_bytes
        end = data.find(b"\r\n\r\n", at, at + limit)
        if end < 0:
            self._look_ahead(data[at : at + limit])
            return at
        line = REQUEST_LINE.match(data, at)
        if line is None:
            raise malformed(_NO_LINE)
        method, target, version = line.groups()
        if version != b"1.1" and version != b"1.0":
            raise malformed(f"HTTP/{version.decode()} is not spoken here")
        headers = fields(data[line.end() : end + 2])
        length = body_length(headers, version)
        path, query = place(method, target, headers, version)
        expects = headers.get(b"expect", b"").lower()
        if expects and expects != b"100-continue":
            raise LocalError("only Expect: 100-continue is understood", code="expectation_failed")
        self._keep_alive = keeps_alive(headers, version)
        is_1_1 = version == b"1.1"
        waits = expects != b"" and is_1_1 and length != 0
        headers = {name: value for name, value in headers.items() if name != b"content-length"}
        head = Head(method.decode(), path, query, headers, self._keep_alive, is_1_1, length, waits)
        self._events.append(head)
        self._again = _Again.of(head, data[at : end + 4], self._limits)
        if length == 0:
            self._complete(b"")
        else:
            self._left = length or 0
            self._state = _CHUNK_LINE if length is None else _BODY
        return end + 4

    def _look_ahead(self, head: bytes) -> None:
        """Refuse the beginning of a head that cannot become a good one, without waiting for the rest."""
        since = max(self._scanned - 1, 0)
        line_end = head.find(b"\r\n", since)
        if FORBIDDEN.search(head, since):
            raise malformed("a control byte, or the end of a line that is not CRLF, in the head of the request")
        if line_end == head.find(b"\r\n") >= 0 and REQUEST_LINE.match(head) is None:
            raise malformed(_NO_LINE)
        if len(head) >= self._limits.header_bytes:
            raise too_large(f"request line and headers exceed {len(head)} bytes")
        self._scanned = len(head)

    def _body(self, data: bytes, at: int) -> int:
        part = data[at : at + self._left]
        self._left -= len(part)
        if self._left == 0 and not self._parts:
            self._complete(part)
        else:
            self._keep(part)
            if self._left == 0:
                self._complete(b"".join(self._parts))
        return at + len(part)

    def _chunk_line(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at, at + CHUNK_LINE_BYTES_MAX)
        if end < 0:
            if len(data) - at >= CHUNK_LINE_BYTES_MAX:
                raise malformed(f"a chunk's first line exceeds {CHUNK_LINE_BYTES_MAX} bytes")
            return at
        line = CHUNK_LINE.match(data, at)
        if line is None:
            raise malformed("a chunk does not begin with its size")
        self._besides(len(line[2]))
        self._left = int(line[1], 16)
        if self.held + self._left > self._limits.body_bytes:
            raise LocalError(f"the body exceeds {self._limits.body_bytes} bytes", code="body_too_large")
        self._state = _CHUNK if self._left else _TRAILERS
        return end + 2

    def _chunk(self, data: bytes, at: int) -> int:
        part = data[at : at + self._left]
        self._left -= len(part)
        self._keep(part)
        if self._left == 0:
            self._state = _CHUNK_END
        return at + len(part)

    def _chunk_end(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self._state = _CHUNK_LINE
            return at + 2
        if data[at:] != b"\r":
            raise malformed("a chunk is longer than its size")
        return at

    def _trailers(self, data: bytes, at: int) -> int:
        limit = self._limits.header_bytes
        end = data.find(b"\r\n", at, at + limit)
        if end == at:
            self._complete(b"".join(self._parts))
        elif end > 0:
            self._besides(end - at)
            if not NO_TRAILERS.isdisjoint(fields(data[at : end + 2])):  # the others are dropped
                raise malformed("a trailer that would change how the request is read")
        elif len(data) - at >= limit:
            raise too_large(f"a trailer exceeds {limit} bytes")
        return end + 2 if end >= 0 else at

    def _after_the_last(self, data: bytes, at: int) -> int:
        raise malformed("bytes after a request that said it was the last one")

    def _skip(self, data: bytes, at: int) -> int:
        return len(data)

    def _besides(self, size: int) -> None:
        self._extras += size
        if self._extras > self._limits.header_bytes:
            raise too_large(f"chunk extensions and trailers exceed {self._limits.header_bytes} bytes")

    def _keep(self, part: bytes) -> None:
        self.held += len(part)
        if self.discard:
            return
        self._parts.append(part)
        self._loose += 1
        if self._loose == _LOOSE_MAX:
            self._parts[-_LOOSE_MAX:] = [b"".join(self._parts[-_LOOSE_MAX:])]
            self._loose = 0

    def _complete(self, data: bytes) -> None:
        self._events.append(Body(b"" if self.discard else data))
        self._state = _HEAD if self._keep_alive else _ENDED
        self._clear()


_NO_LINE = "the request line is not `METHOD target HTTP/1.1` with a method that is known here"
_STEPS = (
    RequestReader._head,
    RequestReader._body,
    RequestReader._chunk_line,
    RequestReader._chunk,
    RequestReader._chunk_end,
    RequestReader._trailers,
    RequestReader._after_the_last,
    RequestReader._skip,
)
