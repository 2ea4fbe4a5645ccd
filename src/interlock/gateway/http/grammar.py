"""The grammar of a request that can be read in one way only (RFC 9112), as patterns and pure functions.

Narrower than the RFC where it lets a reader be lenient: what some other server might read differently is no match
here. It holds no state (reader.py does) and knows nothing of paths, keys or formats.
"""

import functools
import re
from collections.abc import Mapping

from interlock.errors import LocalError

HEADERS_MAX = 128
LENGTH_DIGITS_MAX = 18
"""Of Content-Length: what fits 63 bits whatever the digits are."""
SINGLE = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"authorization", b"x-api-key", b"content-type", b"expect"}
)
"""Headers whose repetition means that two readers might see two requests, or two callers."""
NO_TRAILERS = frozenset({b"content-length", b"transfer-encoding", b"host", b"connection", b"upgrade"})
"""Fields about framing and routing (RFC 9110, section 6.5.1) that come too late after the body."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# One space, a target of visible ASCII without a fragment, a version of one digit each.
REQUEST_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE) ([!-\"$-~]++) HTTP/([0-9]\.[0-9])\r\n")
FIELDS = re.compile(rb"(?:%b:[\t -~\x80-\xff]*+\r\n)*+" % _TOKEN)
FORBIDDEN = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
"""Control bytes, and line ends that are not CRLF: no head with one of them will match, however it goes on."""
CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,8}+)((?:;%b(?:=(?:%b|\"(?:[ !#-\[\]-~]|\\[ -~])*+\"))?+)*+)\r\n" % (_TOKEN, _TOKEN)
)
_HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]*+|\[[0-9A-Fa-f:.]++\])(?::[0-9]{0,5})?", re.ASCII)
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]++)(/[^?]*+)?(?:\?(.*))?")


def malformed(message: str) -> LocalError:
    """The error for bytes that are not one well-formed request."""
    return LocalError(message, code="malformed_http")


def too_large(message: str) -> LocalError:
    """The error for a head, or what stands around a chunked body, that exceeds its bound."""
    return LocalError(message, code="header_too_large")


def fields(lines: bytes) -> Mapping[bytes, bytes]:
    """Header lines, each with its CRLF, by name in lower case; repeated ones joined with a comma.

    Raises: LocalError: `malformed_http`, `header_too_large` (more than HEADERS_MAX lines).
    """
    if FIELDS.fullmatch(lines) is None:
        raise malformed("a header line is not `name: value` on one line")
    split = lines.split(b"\r\n")
    if len(split) > HEADERS_MAX + 1:
        raise too_large(f"more than {HEADERS_MAX} headers")
    found: dict[bytes, bytes] = {}
    del split[-1]
    for line in split:
        name, _, value = line.partition(b":")
        key = name.lower()
        value = value.strip(b" \t")
        if key in found:
            if key in SINGLE:
                raise malformed(f"the header {key.decode()!r} appears twice")
            value = found[key] + b", " + value
        found[key] = value
    return found


def body_length(headers: Mapping[bytes, bytes], version: bytes) -> int | None:
    """The announced length of the body, None if it comes in chunks (RFC 9112, sections 6.1 to 6.3)."""
    coding = headers.get(b"transfer-encoding")
    declared = headers.get(b"content-length")
    if coding is not None:
        if declared is not None:
            raise malformed("Content-Length and Transfer-Encoding together")
        if version != b"1.1" or coding.lower() != b"chunked":
            raise malformed("the only transfer coding understood is chunked, on HTTP/1.1")
        return None
    if declared is None:
        return 0
    if not declared.isdigit() or len(declared) > LENGTH_DIGITS_MAX:
        raise malformed(f"Content-Length is not a decimal number of at most {LENGTH_DIGITS_MAX} digits")
    return int(declared)


def keeps_alive(headers: Mapping[bytes, bytes], version: bytes) -> bool:
    """Whether the client means to send more on this connection."""
    connection = headers.get(b"connection")
    if connection is None:
        return version == b"1.1"
    options = {option.strip(b" \t") for option in connection.lower().split(b",")}
    if b"upgrade" in options and b"upgrade" in headers:
        raise malformed("protocol upgrades are not offered here")
    return b"close" not in options and (version == b"1.1" or b"keep-alive" in options)


def place(method: bytes, target: bytes, headers: Mapping[bytes, bytes], version: bytes) -> tuple[str, str]:
    """(path, query) of the target, both still percent-encoded, and nothing in them made shorter or nicer.

    A whole URL is taken if it names the host that the header Host names: of two names, two readers might take one each.
    """
    host = headers.get(b"host")
    if host is None:
        if version == b"1.1":
            raise malformed("HTTP/1.1 needs a Host header")
    elif not is_host(host):
        raise malformed("the Host header is not a host and port")
    if target[:1] == b"/":
        path, _, query = target.decode("ascii").partition("?")
        return path, query
    if target == b"*" and method == b"OPTIONS":
        return "*", ""
    url = _ABSOLUTE.fullmatch(target)
    if url is None:
        raise malformed("the target must be a path, or a whole http or https URL")
    if not is_host(url[1]) or (host is not None and host.lower() != url[1].lower()):
        raise malformed("the target names another host than the Host header")
    return (url[2] or b"/").decode("ascii"), (url[3] or b"").decode("ascii")


@functools.lru_cache(maxsize=256)
def is_host(host: bytes) -> bool:
    """Whether it is a host, with or without a port: no login, no path, no list."""
    return _HOST.fullmatch(host) is not None
