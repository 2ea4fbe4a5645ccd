"""What a tunnel's first bytes say about whom they are for: TLS server name, HTTP Host. No I/O.

The list names hosts, and a front of many sites would carry a request for another one: so the name in the TLS
ClientHello, and the Host of every plain HTTP request, has to be the host that the tunnel was opened to. What stands
inside TLS cannot be seen. A protocol that names nobody passes.
"""

import re

import httptools

from interlock.runtime.hands.egress.allowed import address, normal

HELLO_BYTES_MAX = 16 * 1024 + 2048
LINE_BYTES_MAX = 8 * 1024
HEAD_BYTES_MAX = 32 * 1024
_MAYBE_METHOD = re.compile(rb"[\r\n]*[!#$%&'*+.^_`|~0-9A-Za-z-]{0,32}([ \t]|$)")


class Refused(Exception):
    """The stream is for somebody else, or cannot be read as what it began as. `str()` says why."""


class Watch:
    """Looks at what a client sends into a tunnel to `host` (normal) and `port`."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._held = b""
        self._http: Requests | None = None
        self._known = False

    @property
    def waiting(self) -> bool:
        """Whether bytes are held back because they do not say yet what they are."""
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """What may be sent on now. Raises: Refused: nothing more may."""
        if self._http is not None:
            self._http.feed(data)
            return data
        if self._known:
            return data
        self._held += data
        if not self._decide(self._held):
            return b""
        passed, self._held, self._known = self._held, b"", True
        return passed

    def _decide(self, held: bytes) -> bool:
        """Whether `held` is known to be for whom it should be; False: more is needed."""
        if held[:1] == b"\x16":
            if (name := server_name(held)) is None:
                return False
            self._compare_name(name)
            return True
        start = held.lstrip(b"\r\n")
        line, end, _ = start.partition(b"\n")
        if not _MAYBE_METHOD.match(held) and not end:
            return True  # not text that could become a request
        if not end:
            if len(start) > LINE_BYTES_MAX:
                raise Refused("a line of text over 8 KiB at the beginning")
            return False
        if b"http/" not in line.lower():
            return True
        self._http = Requests(self._host, self._port)
        self._http.feed(start)
        return True

    def _compare_name(self, name: str) -> None:
        if name == "" and address(self._host) is not None:
            return
        if normal(name) != self._host:
            raise Refused(f"TLS names {name or 'nobody'!r}, the connection is to {self._host!r}")


class Requests:
    """HTTP/1 requests, one after the other, whose Host has to be the tunnel's."""

    def __init__(self, host: str, port: int, *, once: bool = False) -> None:
        """once: a second request is refused."""
        self._host, self._port, self._once = host, port, once
        self._parser = httptools.HttpRequestParser(self)
        self._hosts: list[bytes] = []
        self._url = b""
        self._head_bytes: int | None = 0
        self._count = 0
        self._upgraded = self._raw = False
        self._why = ""

    def feed(self, data: bytes) -> None:
        """Raises: Refused: data is not to be sent on."""
        if self._upgraded:
            self._go_raw(data)
            return
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX + len(data):
                raise Refused("the head of a request is over 32 KiB")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded = True
            self._go_raw(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            raise Refused(self._why or f"not well-formed HTTP: {error}") from None
        if self._why:
            raise Refused(self._why)

    def _go_raw(self, data: bytes) -> None:
        """After a request to change the protocol. A server that stays with HTTP would read another request here: a
        frame of a websocket begins with no character of one (RFC 6455, 5.2)."""
        if data and not self._raw and 9 <= data[0] < 128:
            raise Refused("text after a request to change the protocol")
        self._raw = self._raw or bool(data)

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self._hosts, self._url, self._head_bytes = [], b"", 0
        self._count += 1
        if self._once and self._count > 1:
            self._refuse("a second request on a connection that takes one")

    def on_url(self, url: bytes) -> None:
        """httptools: a piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: a header."""
        if name.lower() == b"host":
            self._hosts.append(value)

    def on_headers_complete(self) -> None:
        """httptools: the head is complete, nothing of the body was looked at yet."""
        self._head_bytes = None
        if self._parser.get_method() in {b"PRI", b"CONNECT"}:
            self._refuse("neither HTTP/2 without TLS nor a proxy behind a proxy")
        elif len(self._hosts) != 1:
            self._refuse(f"{len(self._hosts)} Host headers in a request")
        else:
            self._agree(self._hosts[0].decode("latin-1"), "Host")
        if not self._url.startswith(b"/") and self._url != b"*":
            found = re.match(rb"(?i)https?://([^/?#@]*)([/?#]|$)", self._url)
            self._agree(found[1].decode("latin-1") if found else "", "the request line")

    def _agree(self, authority: str, where: str) -> None:
        host, port = split(authority)
        if host is None or host != self._host or port not in {None, self._port}:
            self._refuse(f"{where} names {authority[:100]!r}, the connection is to {self._host}:{self._port}")

    def _refuse(self, why: str) -> None:
        self._why = self._why or why
        raise Refused(why)  # ends the parse; httptools wraps it


def split(authority: str) -> tuple[str | None, int | None]:
    """Host (normal) and port of `host`, `host:port`, `[address]:port`; (None, None): none of them."""
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:@/\s\[\]]+)(?::(\d{1,5}))?", authority)
    if not found:
        return None, None
    host, port = normal(found[1]), int(found[2]) if found[2] else None
    if host is None or (port is not None and not 0 < port < 65536):
        return None, None
    return host, port


def server_name(held: bytes) -> str | None:
    """The server name in a TLS ClientHello that begins `held`; "": it names none; None: more bytes are needed.

    Raises: Refused: it is not a ClientHello. Source: RFC 8446, 4.1.2 and 5.1; RFC 6066, 3.
    """
    hello, rest = b"", held
    while True:
        if len(rest) >= 2 and (rest[0] != 22 or rest[1] != 3):
            raise Refused("TLS begins with something else than a handshake")
        length = int.from_bytes(rest[3:5], "big")
        if len(rest) < 5 or len(rest) < 5 + length:
            if len(held) > HELLO_BYTES_MAX:
                raise Refused("a ClientHello over 18 KiB")
            return None
        hello, rest = hello + rest[5 : 5 + length], rest[5 + length :]
        if len(hello) >= 4 and len(hello) >= 4 + int.from_bytes(hello[1:4], "big"):
            break
        if length == 0 or len(hello) > HELLO_BYTES_MAX:
            raise Refused("not a ClientHello")
    if hello[0] != 1:
        raise Refused("TLS begins with something else than a ClientHello")
    try:
        return _name_in(_Bytes(hello[4 : 4 + int.from_bytes(hello[1:4], "big")]))
    except (IndexError, UnicodeDecodeError):
        raise Refused("a ClientHello that ends within a field") from None


class _Bytes:
    """Reads fields off the front. Raises IndexError where there are too few."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise IndexError
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def field(self, size: int) -> bytes:
        return self.take(self.number(size))

    def more(self) -> bool:
        return self._at < len(self._data)


def _name_in(hello: _Bytes) -> str:
    hello.take(2 + 32)  # version, random
    for size in (1, 2, 1):  # session id, cipher suites, compression methods
        hello.field(size)
    if not hello.more():
        return ""
    extensions, names = _Bytes(hello.field(2)), []
    while extensions.more():
        kind, body = extensions.number(2), _Bytes(extensions.field(2))
        if kind == 0:
            listed = _Bytes(body.field(2))
            while listed.more():
                names.append((listed.number(1), listed.field(2)))
    if len(names) > 1:
        raise Refused("a ClientHello with several server names")
    return names[0][1].decode("ascii") if names else ""
