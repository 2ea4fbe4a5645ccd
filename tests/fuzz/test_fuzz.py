"""The fuzzed properties in every run of the tests: on the kept corpus, and on what Hypothesis makes up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz import corpus, oracle
from tests.fuzz.targets import TARGETS, events, http_request, http_response, requests

from interlock.errors import LocalError


@pytest.mark.parametrize("target", TARGETS)
def test_the_kept_corpus(target: str) -> None:
    kept = corpus.inputs(target)
    assert len(kept) > 20
    for content in kept:
        TARGETS[target](content)


def test_the_corpus_stays_small() -> None:
    assert {path.stem for path in corpus.PLACE.iterdir()} == set(TARGETS)
    assert all(path.stat().st_size <= corpus.BYTES_MAX for path in corpus.PLACE.iterdir())


TOKENS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=8).map(lambda name: f"x-{name}")
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
PADDING = st.sampled_from(["", " ", "\t", "  "])
HEADERS = st.tuples(TOKENS, PADDING, VALUES, PADDING).map(lambda h: f"{h[0]}:{h[1]}{h[2]}{h[3]}\r\n")
METHODS = st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
TARGET_FORMS = st.sampled_from(
    ["/", "/v1/x?q=1", "//v1//messages", "/v1/./x", "/%2e%2e/x", "http://a/v1", "HTTP://A", "/?", "http://a/http://b"]
)


@st.composite
def one_request(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(the bytes of a request that is well formed, its body)."""
    body = draw(st.binary(max_size=40))
    lines = [*draw(st.lists(HEADERS, max_size=4)), "Host: a\r\n"]
    if draw(st.booleans()):
        lines.append("Transfer-Encoding: Chunked\r\n")
        framed, at = b"", 0
        while at < len(body):
            size = draw(st.integers(1, len(body) - at))
            framed += b"%x%b\r\n%b\r\n" % (size, draw(st.sampled_from([b"", b";a", b';a="b c"'])), body[at : at + size])
            at += size
        framed += b"0\r\n" + draw(st.sampled_from([b"", b"X-Trailer: t\r\n"])) + b"\r\n"
    else:
        lines.append(f"Content-Length: {draw(st.sampled_from(['', '0']))}{len(body)}\r\n")
        framed = body
    head = f"{draw(METHODS)} {draw(TARGET_FORMS)} HTTP/1.1\r\n" + "".join(draw(st.permutations(lines))) + "\r\n"
    return draw(st.sampled_from([b"", b"\r\n"])) + head.encode() + framed, body


@given(st.lists(one_request(), min_size=1, max_size=4))
def test_good_requests_are_read_the_same_wherever_they_are_cut(made: list[tuple[bytes, bytes]]) -> None:
    raw = b"".join(content for content, _ in made)
    http_request(raw)
    found = events([raw])
    assert [request.body for request in requests(found)] == [body for _, body in made]
    assert not any(isinstance(event, LocalError) for event in found)
    for cut in range(len(raw)):
        assert events([raw[:cut], raw[cut:]]) == found
    assert oracle.strict(raw) == oracle.llhttp(raw)


_MARKS = ["\r", "\n", "\0", " ", "\t", ":", "0", "\r\n", "\x0b", "\xff", ",", ";", "-", " HTTP/1.1"]
_LINES = ["GET / HTTP/1.1\r\n", "Content-Length: 1\r\n"]
_CODINGS = ["Transfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\n"]
SPOILERS = st.sampled_from([*_MARKS, *_LINES, *_CODINGS]).map(lambda spoiler: spoiler.encode("latin-1"))


@given(st.lists(one_request(), min_size=1, max_size=3), st.data())
def test_spoiled_requests_are_never_read_as_others_would_not(
    made: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    raw = b"".join(content for content, _ in made)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw = raw[:at] + data.draw(SPOILERS) + raw[at + data.draw(st.integers(0, 2)) :]
    http_request(raw)


@given(st.data())
def test_spoiled_answers_end_once_and_the_same_wherever_they_are_cut(data: st.DataObject) -> None:
    body = data.draw(st.binary(max_size=30))
    chunks = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nx: y\r\n\r\n" % (len(body) or 1, body or b"a")
    framing = data.draw(st.sampled_from([b"Content-Length: %d\r\n\r\n%b" % (len(body), body), chunks, b"\r\n" + body]))
    before = data.draw(
        st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"])
    )
    raw = before + data.draw(st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 No\r\n"])) + framing
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(raw)))
        raw = raw[:at] + data.draw(SPOILERS) + raw[at + data.draw(st.integers(0, 2)) :]
    http_response(raw)
