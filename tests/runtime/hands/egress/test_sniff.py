"""What a tunnel's first bytes say: the same however they are cut, and refused when they name somebody else."""

import ssl

import pytest

from interlock.runtime.hands.egress.sniff import Refused, Watch, server_name


def hello(name: str | None) -> bytes:
    """A ClientHello as OpenSSL writes it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def fed(data: bytes, size: int, host: str = "a.example", port: int = 80) -> bytes:
    """What a watch lets through of data that comes in pieces of this size."""
    watch, passed = Watch(host, port), b""
    for at in range(0, len(data), size):
        passed += watch.feed(data[at : at + size])
    return passed


GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a.example:80\r\nContent-Length: 31\r\n\r\nGET / HTTP/1.1\r\nHost: b.example"
GOOD = [
    hello("a.example"), hello("A.example"), GET, GET + GET, POST + GET, b"\r\n" + GET,
    b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nhost:a.example\r\n\r\n",
    b"GET /w HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05Host:",
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\0\0", b"EHLO sandbox\r\n", b"*1\r\n$4\r\nPING\r\n", b"\0\0\0\x08\x04\xd2\x16/",
]  # fmt: skip
BAD = [
    hello("b.example"), hello(None), hello("a.example.evil.example"),
    b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n", b"\n\r\nGET / HTTP/1.1\r\nHost: b.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.example:81\r\n\r\n", b"GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    GET + GET.replace(b"a.", b"b."), POST + GET.replace(b"a.", b"b."), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n", b"GET\t/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", b"get / http/1.1\nHost: b.example\n\n",
    GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n") + GET.replace(b"a.", b"b."),
    b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\nHost: b.example\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100_000])
@pytest.mark.parametrize("data", GOOD, ids=range(len(GOOD)))
def test_what_is_for_the_tunnels_host_passes_whole(data: bytes, size: int) -> None:
    assert fed(data, size).lstrip(b"\r\n") == data.lstrip(b"\r\n")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100_000])
@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_what_names_somebody_else_is_cut(data: bytes, size: int) -> None:
    with pytest.raises(Refused):
        fed(data, size)


def test_an_address_needs_no_server_name() -> None:
    data = hello(None)
    assert fed(data, 50, host="192.0.2.7", port=443) == data


def test_nothing_of_a_hello_passes_before_its_name_was_read() -> None:
    data, watch = hello("b.example"), Watch("a.example", 443)
    assert watch.feed(data[:-1]) == b""
    assert watch.waiting


def test_a_line_that_does_not_end_is_held_and_then_refused() -> None:
    watch = Watch("a.example", 80)
    assert watch.feed(b"GET /" + b"x" * 4000) == b""
    with pytest.raises(Refused):
        watch.feed(b"x" * 8000)


def test_a_hello_in_several_records_is_read() -> None:
    whole = hello("a.example")
    body = whole[5:]
    cut = b"".join(b"\x16\x03\x01" + len(p).to_bytes(2, "big") + p for p in (body[:50], body[50:51], body[51:]))
    assert server_name(cut) == "a.example"


@pytest.mark.parametrize("at", range(0, 200, 3))
def test_a_damaged_hello_never_names_another_way_out(at: int) -> None:
    data = bytearray(hello("a.example"))
    data[at % len(data)] ^= 0xFF
    try:
        found = server_name(bytes(data))
    except Refused:
        return
    assert found is None or isinstance(found, str)


def test_empty_records_do_not_hold_it_for_ever() -> None:
    with pytest.raises(Refused):
        server_name(b"\x16\x03\x01\x00\x00")
