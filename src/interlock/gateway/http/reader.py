"""HTTP/1.1 requests from bytes, sans-I/O: `feed(bytes) -> events`, the same however the bytes are cut.

httptools (llhttp) does the grammar; this adds the bounds it does not have and refuses what two servers could read
differently (RFC 9112, sections 6.1 and 6.3). It knows nothing of paths, keys or formats.
"""

from collections.abc import Mapping

import httptools
import msgspec

from interlock.errors import LocalError
from interlock.gateway.policy import Limits

HEADERS_MAX = 128
_SINGLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"authorization", b"x-api-key", b"content-type"})
"""Headers whose repetition means that two readers might see two requests, or two callers."""


class Head(msgspec.Struct, frozen=True):
    """The request line and headers are complete."""

    method: str
    path: str
    """Without the query; still percent-encoded."""
    query: str
    headers: Mapping[bytes, bytes]
    """Names in lower case; repeated ones joined with a comma."""
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


class RequestReader:
    """One connection's worth of requests."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._events: list[Event] = []
        self._in_head = True
        self._head_bytes = 0
        self._clear()

    def _clear(self) -> None:
        self._url: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self.held = 0
        """Bytes of body held for the request being read."""
        self.discard = False
        """Set by the owner after Head: read the body to its end, but do not keep it."""
        self._problem: LocalError | None = None

    @property
    def idle(self) -> bool:
        """Nothing of a next request has arrived."""
        return self._in_head and self._head_bytes == 0

    @property
    def in_body(self) -> bool:
        """Headers are complete, the body is not."""
        return not self._in_head

    def feed(self, data: bytes) -> list[Event]:
        """What the bytes complete, in order.

        Errors: `malformed_http`, `header_too_large`, `body_too_large` (of a chunked body; an announced length is for
        the owner to judge), `expectation_failed`.
        """
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._problem = LocalError("protocol upgrades are not offered here", code="malformed_http")
        except httptools.HttpParserCallbackError:
            if self._problem is None:
                raise
        except httptools.HttpParserError as error:
            self._problem = LocalError(f"not a well-formed HTTP/1.1 request: {error}", code="malformed_http")
        if self._problem is None and self._in_head and self._head_bytes > self._limits.header_bytes:
            limit = self._limits.header_bytes
            self._problem = LocalError(f"request line and headers exceed {limit} bytes", code="header_too_large")
        events, self._events = self._events, []
        if self._problem is not None:
            events.append(self._problem)
        return events

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if self._head_bytes == 0:
            self._head_bytes = 1
        self._clear()

    def on_url(self, url: bytes) -> None:
        self._url.append(url)  # fed byte by byte it comes in pieces

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.lower()
        if key in self._headers:
            value = self._joined(key, value)
        if self._in_head:  # a trailer must not become a header after the head was judged
            self._headers[key] = value

    def _joined(self, key: bytes, value: bytes) -> bytes:
        if key in _SINGLE:
            self._fail(f"the header {key.decode('latin-1')!r} appears twice", "malformed_http")
        return self._headers[key] + b", " + value

    def on_headers_complete(self) -> None:
        headers = self._headers
        if len(headers) > HEADERS_MAX:
            self._fail(f"more than {HEADERS_MAX} headers", "header_too_large")
        version = self._parser.get_http_version()
        length = self._length(headers, version)
        expects = headers.get(b"expect", b"").lower()
        if expects and expects != b"100-continue":
            self._fail("only Expect: 100-continue is understood", "expectation_failed")
        if version == "1.1" and b"host" not in headers:
            self._fail("HTTP/1.1 needs a Host header", "malformed_http")
        if version not in ("1.0", "1.1"):
            self._fail(f"HTTP/{version} is not spoken here", "malformed_http")
        target = b"".join(self._url).decode("latin-1")
        if target.startswith(("http://", "https://")):  # absolute form, RFC 9112 section 3.2.2
            target = "/" + target.split("//", 1)[1].partition("/")[2]
        path, _, query = target.partition("?")
        self._in_head = False
        self._head_bytes = 0
        self._events.append(
            Head(
                self._parser.get_method().decode(),
                path,
                query,
                headers,
                self._parser.should_keep_alive(),
                version == "1.1",
                length,
                expects != b"" and version == "1.1" and length != 0,
            )
        )

    def on_body(self, part: bytes) -> None:
        self.held += len(part)
        if self.held > self._limits.body_bytes:
            self._fail(f"the body exceeds {self._limits.body_bytes} bytes", "body_too_large")
        if not self.discard:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        parts = self._parts
        self._events.append(Body(b"" if self.discard else parts[0] if len(parts) == 1 else b"".join(parts)))
        self._in_head = True
        self._head_bytes = 0

    def _length(self, headers: Mapping[bytes, bytes], version: str) -> int | None:
        coding = headers.get(b"transfer-encoding")
        declared = headers.get(b"content-length")
        if coding is not None:
            if declared is not None:
                self._fail("Content-Length and Transfer-Encoding together", "malformed_http")
            if version != "1.1" or coding.strip().lower() != b"chunked":
                self._fail("the only transfer coding understood is chunked, on HTTP/1.1", "malformed_http")
            return None
        if declared is None:
            return 0
        if not declared.isdigit():
            self._fail("Content-Length is not a decimal number", "malformed_http")
        return int(declared[:20])

    def _fail(self, message: str, code: str) -> None:
        self._problem = LocalError(message, code=code)
        raise self._problem
