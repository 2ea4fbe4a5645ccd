"""The head of a request to the proxy: read strictly, and written anew for whom it goes to. No I/O."""

import re
from collections.abc import Iterable

import msgspec

from interlock.errors import LocalError
from interlock.runtime.hands.egress.sniff import HEAD_BYTES_MAX, split

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]{1,8192}) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
HEADERS_MAX = 256
_HOP = frozenset(
    b"connection proxy-connection keep-alive te upgrade proxy-authorization proxy-authenticate host".split()
)
"""Between the client and this proxy (RFC 9110, 7.6.1), and Host, which is written anew."""

CREDENTIALS = frozenset(b"authorization x-api-key api-key x-goog-api-key cookie".split())
"""Headers with which programs show who they are: those of a program in a sandbox mean nothing."""


class Head(msgspec.Struct, frozen=True):
    """Request line and headers."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case, in their order."""

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name]

    def authority(self) -> tuple[str, int, str]:
        """Host (normal), port and path that an absolute target names.

        Raises: LocalError: it is none, or Host names somebody else.
        """
        found = re.fullmatch(r"(?i)http://([^/?#@]+)([/?][^#]*)?", self.target)
        host, port = split(found[1]) if found else (None, None)
        if found is None or host is None:
            raise LocalError("the target is not http://host:port/path", field="request line")
        hosts = self.all(b"host")
        if len(hosts) > 1:
            raise LocalError(f"{len(hosts)} Host headers", field="Host")
        for value in hosts:
            named, named_port = split(value.decode("latin-1"))
            if named != host or (named_port or 80) != (port or 80):
                raise LocalError(f"Host names {value[:100]!r}, the request line {found[1][:100]!r}", field="Host")
        path = found[2] or "/"
        return host, port or 80, path if path.startswith("/") else "/" + path

    def written(self, target: str, host: str, *, without: frozenset[bytes], more: Iterable[str] = ()) -> bytes:
        """The head as it is sent on: for one request, then the connection is closed.

        `without`: names of headers left out, beside those between hops and those that Connection names.
        """
        named = {part.strip().lower() for value in self.all(b"connection") for part in value.split(b",")}
        gone = _HOP | without | (named - {b"content-length", b"transfer-encoding"})
        lines = [f"{self.method} {target} HTTP/1.1".encode(), b"host: " + host.encode()]
        lines += [name + b": " + value for name, value in self.headers if name not in gone]
        lines += [line.encode() for line in (*more, "connection: close")]
        return b"\r\n".join(lines) + b"\r\n\r\n"


def parse(data: bytes) -> Head:
    """The head in `data`, which ends with an empty line.

    Raises: LocalError: not HTTP/1 as RFC 9112 has it (no folded lines, no bare line feeds, no space before a colon).
    """
    if len(data) > HEAD_BYTES_MAX:
        raise LocalError("the head is over 32 KiB", field="request", code="header_too_large")
    lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(lines[0])
    if not found:
        raise LocalError(f"{lines[0][:100]!r} is not a request line", field="request line", code="malformed_http")
    if len(lines) > HEADERS_MAX:
        raise LocalError(f"over {HEADERS_MAX} headers", field="request", code="header_too_large")
    headers = []
    for line in lines[1:]:
        if not (header := _HEADER.fullmatch(line)):
            raise LocalError(f"{line[:100]!r} is not a header", field="request", code="malformed_http")
        headers.append((header[1].lower(), header[2].rstrip(b" \t")))
    head = Head(found[1].decode(), found[2].decode(), tuple(headers))
    lengths = head.all(b"content-length")
    if len(lengths) > 1 or (lengths and head.all(b"transfer-encoding")):
        raise LocalError("the body has two lengths", field="content-length", code="malformed_http")
    return head
