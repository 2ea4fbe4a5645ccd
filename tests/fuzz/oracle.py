"""A second reading of requests, to hold the reader against: slow, whole bytes at once, and written without it.

Two witnesses: `strict`, which takes bytes apart step by step as RFC 9112 tells it and stops at the first doubt, and
`llhttp`, a parser that others wrote and that much of the world reads with. They share no code with the gateway.
"""

import contextlib
from typing import NamedTuple

import httptools

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset(b"0123456789abcdefABCDEF")


class Request(NamedTuple):
    """What two readers of the same bytes must agree on."""

    method: str
    target: str
    body: bytes


class _DoubtError(Exception):
    pass


def strict(data: bytes) -> list[Request]:
    """The whole requests at the beginning of `data`, up to the first doubt, or a request that is the last."""
    found: list[Request] = []
    last = False
    try:
        while data and not last:
            data = data.removeprefix(b"\r\n")
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                break
            method, target, headers, last = _head(head)
            body, data = _body(headers, rest)
            found.append(Request(method, target, body))
    except _DoubtError:
        pass
    return found


def _doubt(when: bool) -> None:
    if when:
        raise _DoubtError


def _head(head: bytes) -> tuple[str, str, list[tuple[bytes, bytes]], bool]:
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ")
    _doubt(len(words) != 3 or not all(words))
    method, target, version = words
    _doubt(version not in (b"HTTP/1.1", b"HTTP/1.0") or not method.isalpha() or method != method.upper())
    _doubt(any(byte <= 32 or byte >= 127 for byte in target))
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        _doubt(not colon or not name or not _TOKEN.issuperset(name))
        _doubt(any((byte < 32 and byte != 9) or byte == 127 for byte in value))
        headers.append((name.lower(), value.strip(b" \t")))
    names = [name for name, _ in headers]
    _doubt(version == b"HTTP/1.1" and names.count(b"host") != 1)
    _doubt(version == b"HTTP/1.0" and b"transfer-encoding" in names)
    options = b",".join(value for name, value in headers if name == b"connection").lower().split(b",")
    wanted = [option.strip(b" \t") for option in options]
    last = b"close" in wanted or (version == b"HTTP/1.0" and b"keep-alive" not in wanted)
    return method.decode(), target.decode(), headers, last


def _body(headers: list[tuple[bytes, bytes]], rest: bytes) -> tuple[bytes, bytes]:
    """The body, and what follows it."""
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    _doubt(len(lengths) + len(codings) > 1)
    if codings:
        _doubt(codings != [b"chunked"])
        return _chunks(rest)
    size = 0
    for length in lengths:
        _doubt(not length or not all(48 <= byte <= 57 for byte in length))
        size = int(length)
    _doubt(len(rest) < size)
    return rest[:size], rest[size:]


def _chunks(rest: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, end, rest = rest.partition(b"\r\n")
        digits, _, extension = line.partition(b";")
        _doubt(not end or not digits or not _HEX.issuperset(digits))
        _doubt(any(byte < 32 or byte >= 127 for byte in extension))
        size = int(digits, 16)
        if size == 0:
            break
        _doubt(len(rest) < size + 2 or rest[size : size + 2] != b"\r\n")
        body, rest = body + rest[:size], rest[size + 2 :]
    while True:
        line, end, rest = rest.partition(b"\r\n")
        _doubt(not end or b"\r" in line or b"\n" in line)
        if not line:
            return body, rest


def llhttp(data: bytes) -> list[Request]:
    """The whole requests that llhttp reads, up to its first error."""
    witness = _Witness()
    with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):  # what it read before counts
        witness.parser.feed_data(data)
    return witness.found


class _Witness:
    def __init__(self) -> None:
        self.found: list[Request] = []
        self.parser = httptools.HttpRequestParser(self)
        self._url = self._body = b""

    def on_message_begin(self) -> None:
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.found.append(Request(self.parser.get_method().decode(), self._url.decode("latin-1"), self._body))
