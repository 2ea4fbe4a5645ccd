"""Requests from bytes: what two servers could read differently is refused, however the bytes are cut."""

import itertools
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import LocalError
from interlock.gateway import Limits
from interlock.gateway.http import Body, Head, RequestReader
from interlock.gateway.http.grammar import HEADERS_MAX
from interlock.gateway.http.reader import Event

SMALL = Limits(header_bytes=4096, body_bytes=1000)


def read(raw: bytes, cuts: list[int] | None = None, limits: Limits = SMALL) -> list[Event] | str:
    """All events, or the code of the error."""
    reader = RequestReader(limits)
    events: list[Event] = []
    edges = [0, *sorted(cuts or []), len(raw)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            events += reader.feed(raw[start:end])
            if events and isinstance(events[-1], LocalError):
                break
    last = events[-1] if events else None
    return last.code if isinstance(last, LocalError) else events


def events(raw: bytes) -> list[Event]:
    """All events of what is well formed."""
    found = read(raw)
    assert not isinstance(found, str)
    return found


def post(*headers: str, body: bytes = b"", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join([f"POST /v1/x?q=1 {version}", "Host: a", *headers, "", ""]).encode() + body


GOOD = post("Content-Length: 3", body=b"abc")
CHUNKED = post(
    "Transfer-Encoding: chunked", body=b"1;ext=1\r\na\r\n2\r\nbc\r\n0\r\nTrailer: t\r\nAuthorization: x\r\n\r\n"
)


def test_a_request() -> None:
    head, body = events(GOOD)
    assert isinstance(head, Head)
    assert (head.method, head.path, head.query, head.length) == ("POST", "/v1/x", "q=1", 3)
    assert head.headers == {b"host": b"a"}
    assert body == Body(b"abc")


def test_chunks_are_joined_and_trailers_do_not_become_headers() -> None:
    head, body = events(CHUNKED)
    assert isinstance(head, Head)
    assert (head.length, body) == (None, Body(b"abc"))
    assert b"authorization" not in head.headers


@pytest.mark.parametrize("raw", [GOOD * 2, CHUNKED * 2, GOOD + CHUNKED + GOOD])
def test_the_same_bytes_cut_anywhere_give_the_same_events(raw: bytes) -> None:
    whole = read(raw)
    assert len(whole) in (4, 6)
    assert all(read(raw, [cut]) == whole for cut in range(len(raw)))
    assert read(raw, list(range(len(raw)))) == whole


BAD = {
    "length and coding": post("Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding and length": post("Transfer-Encoding: chunked", "Content-Length: 3", body=b"0\r\n\r\n"),
    "two lengths": post("Content-Length: 3", "Content-Length: 4", body=b"abc"),
    "the same length twice": post("Content-Length: 3", "Content-Length: 3", body=b"abc"),
    "a list of lengths": post("Content-Length: 3, 3", body=b"abc"),
    "signed length": post("Content-Length: +3", body=b"abc"),
    "hexadecimal length": post("Content-Length: 0x3", body=b"abc"),
    "unknown coding": post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "two codings": post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked twice": post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "space before the colon": post("Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "folded header": post("A: b\r\n c"),
    "bad chunk size": post("Transfer-Encoding: chunked", body=b"zz\r\nabc\r\n0\r\n\r\n"),
    "a chunk size of nine digits": post("Transfer-Encoding: chunked", body=b"000000001\r\na\r\n0\r\n\r\n"),
    "chunked on 1.0": post("Transfer-Encoding: chunked", version="HTTP/1.0", body=b"0\r\n\r\n"),
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "NUL in a header": post("A: \0"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": post("Host: b"),
    "two keys": post("Authorization: Bearer a", "Authorization: Bearer b"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "upgrade": post("Connection: upgrade", "Upgrade: websocket"),
    "CONNECT": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "more after close": post("Connection: close", "Content-Length: 0") + GOOD,
}


@pytest.mark.parametrize("name", BAD)
def test_what_could_be_read_in_two_ways_is_refused(name: str) -> None:
    assert read(BAD[name]) == "malformed_http"
    assert read(BAD[name], list(range(len(BAD[name])))) == "malformed_http"


def test_bounds() -> None:
    chunks = b"".join(b"64\r\n" + b"x" * 100 + b"\r\n" for _ in range(11))
    assert read(post("Transfer-Encoding: chunked", body=chunks)) == "body_too_large"
    assert read(b"GET /" + b"a" * 5000) == "header_too_large"
    assert read(post("A: " + "b" * 5000)[:-4], [50, 4000]) == "header_too_large"
    many = post(*(f"h{i}: x" for i in range(HEADERS_MAX)))
    assert read(many, limits=msgspec.structs.replace(SMALL, header_bytes=10**6)) == "header_too_large"
    assert read(post("Content-Length: 1000", body=b"x" * 1000)) != "body_too_large"
    assert read(post("Expect: 200-ok", "Content-Length: 1")) == "expectation_failed"


def test_tiny_chunks_take_no_more_room_than_their_bytes() -> None:
    limits = msgspec.structs.replace(SMALL, body_bytes=1 << 20)
    reader = RequestReader(limits)
    reader.feed(post("Transfer-Encoding: chunked"))
    tracemalloc.start()
    for _ in range(100):
        reader.feed(b"2\r\nab\r\n" * 1000)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert reader.held == 200_000
    assert held < 2 * reader.held
    assert reader.feed(b"0\r\n\r\n") == [Body(b"ab" * 100_000)]


@pytest.mark.parametrize("size", [SMALL.header_bytes - 1, SMALL.header_bytes, SMALL.header_bytes + 1])
def test_a_head_is_as_large_however_it_is_cut(size: int) -> None:
    raw = post("A: ")
    raw = raw[:-4] + b"b" * (size - len(raw)) + b"\r\n\r\n"
    assert len(raw) == size
    whole = read(raw)
    assert (whole == "header_too_large") is (size > SMALL.header_bytes)
    assert read(raw, list(range(size))) == read(raw + GOOD[:50], [size // 2]) == whole


def test_extensions_and_trailers_are_bounded_together() -> None:
    chunk = b"1;" + b"e" * 200 + b"\r\nx\r\n"
    assert read(post("Transfer-Encoding: chunked", body=chunk * 30)) == "header_too_large"
    trailers = b"0\r\n" + b"x: y\r\n" * 2000
    assert read(post("Transfer-Encoding: chunked", body=trailers)) == "header_too_large"
    assert read(post("Transfer-Encoding: chunked", body=b"0\r\nx: " + b"y" * 5000)) == "header_too_large"


AGAIN = post("X: y", "cOntent-length:  3 ", "authorization: Bearer k", body=b"abc")


def after(first: bytes, raw: bytes, limits: Limits = SMALL) -> list[Event] | str:
    """As `read`, on a connection that has read `first`."""
    reader = RequestReader(limits)
    assert len(reader.feed(first)) == 2
    found = reader.feed(raw)
    last = found[-1] if found else None
    return last.code if isinstance(last, LocalError) else found


def test_a_head_that_comes_again_is_remembered() -> None:
    reader = RequestReader(SMALL)
    heads = [reader.feed(AGAIN)[0] for _ in range(3)]
    heads.append(reader.feed(AGAIN.replace(b" 3 ", b" 2 ")[:-1])[0])
    assert all(isinstance(head, Head) for head in heads)
    assert [head.length for head in heads if isinstance(head, Head)] == [3, 3, 3, 2]
    assert len({id(head.headers) for head in heads if isinstance(head, Head)}) == 1


def test_a_head_that_differs_in_one_byte_is_read_as_an_unknown_one() -> None:
    for at, byte in itertools.product(range(len(AGAIN) - 3), b"\r\n\t :0x4\xff\0"):
        other = bytearray(AGAIN)
        other[at] = byte
        assert after(AGAIN, bytes(other)) == read(bytes(other)), other


def test_a_head_with_a_byte_more_or_less_is_read_as_an_unknown_one() -> None:
    for at in range(len(AGAIN) - 3):
        for other in (AGAIN[:at] + AGAIN[at + 1 :], *(AGAIN[:at] + byte + AGAIN[at:] for byte in (b"0", b" ", b"\r"))):
            assert after(AGAIN, other) == read(other), other


@pytest.mark.parametrize("digits", ["", "0", "00", "03", "4", "10", "999", "9" * 18, "9" * 19, "+3", "3,3", "3 3", "٣"])
def test_another_length_is_read_as_that_of_an_unknown_head(digits: str) -> None:
    other = AGAIN.replace(b" 3 ", b" %b " % digits.encode())
    assert after(AGAIN, other) == read(other)
    assert after(AGAIN, other[:-3]) == read(other[:-3])  # of length 0 it is whole
    assert after(AGAIN, other + b"d" * 30) == read(other + b"d" * 30)


@pytest.mark.parametrize(
    "first", [GOOD, AGAIN, CHUNKED, post(), post("Content-Length: 3", "Connection: keep-alive", body=b"abc")]
)
@pytest.mark.parametrize(
    "then", [GOOD, AGAIN, CHUNKED, post(), post("Content-Length: 3", "Connection: close", body=b"abc")]
)
def test_heads_after_each_other_are_read_each_for_itself(first: bytes, then: bytes) -> None:
    raw = first + then + b"\r\n" + first
    whole = read(raw)
    assert all(read(raw, [cut]) == whole for cut in range(len(raw)))
    assert read(raw, list(range(len(raw)))) == whole
    if not isinstance(whole, str):
        assert whole == [*events(first), *events(then), *events(first)]


def test_a_head_that_comes_again_is_bounded_as_the_first() -> None:
    size = len(AGAIN) - 3
    for limit in range(size, size + 24):
        limits = msgspec.structs.replace(SMALL, header_bytes=limit)
        for digits in (b"3", b"000000000000000003"):
            other = AGAIN.replace(b" 3 ", b" %b " % digits)
            assert after(AGAIN, other, limits) == read(other, limits=limits)


def test_a_large_head_is_not_remembered() -> None:
    large = msgspec.structs.replace(SMALL, header_bytes=1 << 20)
    reader = RequestReader(large)
    for _ in range(2):
        reader.feed(post("Content-Length: 1", "x: " + "y" * 4096, body=b"a"))
        assert reader._again is None


def test_requests_beyond_a_pipeline_wait() -> None:
    reader = RequestReader(msgspec.structs.replace(SMALL, pipelined=2))
    assert len(reader.feed(GOOD * 5)) == 4
    assert reader.behind and not reader.idle
    assert len(reader.feed(b"")) == 4
    assert len(reader.feed(GOOD)) == 4
    assert not reader.behind and reader.idle


def test_a_discarded_body_is_not_kept() -> None:
    reader = RequestReader(SMALL)
    [head] = reader.feed(post("Content-Length: 900"))
    assert isinstance(head, Head)
    reader.discard = True
    assert reader.feed(b"x" * 900) == [Body(b"")]


@given(
    st.lists(st.sampled_from([GOOD, CHUNKED, *BAD.values(), b"\r\n", b"\0", b"GET"]), max_size=5).map(b"".join),
    st.data(),
)
def test_garbage_never_raises_anything_else(raw: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=8))
    once = read(raw, cuts)
    assert isinstance(once, str) or all(isinstance(event, Head | Body) for event in once)
