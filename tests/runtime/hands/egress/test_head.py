"""The head of a request to the proxy: read strictly, written for one request."""

import pytest

from interlock.errors import LocalError
from interlock.runtime.hands.egress.head import CREDENTIALS, parse


def test_an_absolute_target_names_host_port_and_path() -> None:
    for target, found in [
        ("http://A.example/x?y=1", ("a.example", 80, "/x?y=1")),
        ("HTTP://a.example:8080", ("a.example", 8080, "/")),
        ("http://a.example?y", ("a.example", 80, "/?y")),
        ("http://[::1]:81/", ("::1", 81, "/")),
    ]:
        assert parse(f"GET {target} HTTP/1.1\r\n\r\n".encode()).authority() == found


@pytest.mark.parametrize(
    ("target", "host"),
    [("/x", "a.example"), ("https://a.example/", "a.example"), ("http://u@a.example/", "a.example"),
     ("http://a.example/", "b.example"), ("http://a.example/", "a.example:81"), ("http:///x", "a.example"),
     ("http://127.1/", "127.1"), ("http://a.example:0/", "a.example:0"), ("http://a.example#@b/", "a.example")],
)  # fmt: skip
def test_what_names_nobody_or_two_is_refused(target: str, host: str) -> None:
    with pytest.raises(LocalError):
        parse(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).authority()


@pytest.mark.parametrize(
    "text",
    [b"GET / HTTP/2.0\r\n", b"GET  / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n folded: x\r\n", b"GET / HTTP/1.1\r\nA : x\r\n",
     b"GET / HTTP/1.1\r\nA: x\nB: y\r\n", b"GET / HTTP/1.1\r\nA: \0\r\n", b"GET /\xff HTTP/1.1\r\n",
     b"GET / HTTP/1.1\r\nno\r\n",
     b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
     b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n", b"GET / HTTP/1.1\r\n" + b"A: x\r\n" * 300],
)  # fmt: skip
def test_what_parsers_read_differently_is_refused(text: bytes) -> None:
    with pytest.raises(LocalError):
        parse(text + b"\r\n")


def test_hops_and_credentials_are_left_out_and_nothing_else() -> None:
    head = parse(
        b"POST http://interlock.internal/v1 HTTP/1.1\r\nHost: interlock.internal\r\nAuthorization: Bearer mine\r\n"
        b"X-Api-Key: mine\r\nconnection: keep-alive, X-Hop, content-length\r\nX-Hop: 1\r\n"
        b"Proxy-Authorization: Basic mine\r\n"
        b"Content-Length: 5\r\nAccept: */*\r\n\r\n"
    )
    written = head.written("/v1", "gate:1", without=CREDENTIALS, more=["authorization: Bearer ours"])
    assert written == (
        b"POST /v1 HTTP/1.1\r\nhost: gate:1\r\ncontent-length: 5\r\naccept: */*\r\n"
        b"authorization: Bearer ours\r\nconnection: close\r\n\r\n"
    )
