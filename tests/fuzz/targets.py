"""What is fuzzed: each target takes any bytes, and raises if a property does not hold for them.

The properties are about all bytes whatever: what is refused is refused with an error of ours, cutting changes nothing,
and no second request is read where another reader sees none. The engine that makes up bytes is elsewhere.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, cast

from tests.fuzz import oracle, translation

from interlock.errors import LocalError
from interlock.gateway.http import Body, Failure, Head, RequestReader
from interlock.gateway.http.client import Connection, Pool
from interlock.gateway.http.reader import Event
from interlock.gateway.policy import Limits
from interlock.gateway.wire import StreamTap, read

LIMITS = Limits(header_bytes=512, body_bytes=1024, pipelined=2)
"""Small, so that short inputs reach the bounds."""


def cuttings(data: bytes) -> list[list[bytes]]:
    """The same bytes whole, byte by byte, in halves, and in pieces whose lengths are taken from the bytes."""
    pieces, at = [], 0
    while at < len(data):
        size = data[at] % 13 + 1
        pieces.append(data[at : at + size])
        at += size
    middle = len(data) // 2
    return [[data], [data[i : i + 1] for i in range(len(data))], [data[:middle], data[middle:]], pieces]


def events(pieces: list[bytes]) -> list[Event]:
    """All that the reader makes of them; whatever waits is asked for."""
    reader = RequestReader(LIMITS)
    found: list[Event] = []
    for piece in pieces:
        found += reader.feed(piece)
        while reader.behind:
            found += reader.feed(b"")
    return found


def requests(found: list[Event]) -> list[oracle.Request]:
    """The complete requests among the events, for comparison with the witnesses'."""
    whole = []
    for head, body in itertools.pairwise(found):
        if isinstance(head, Head) and isinstance(body, Body):
            target = f"{head.path}?{head.query}" if head.query else head.path
            whole.append(oracle.Request(head.method, target, body.data))
    return whole


def _shown(event: Event) -> object:
    return event.code if isinstance(event, LocalError) else event


def http_request(data: bytes) -> None:
    """The reader of requests."""
    found = events([data])
    expected = [_shown(event) for event in found]
    for pieces in cuttings(data):
        assert [_shown(event) for event in events(pieces)] == expected, pieces
    ours = requests(found)
    for witness in (oracle.strict, oracle.llhttp):
        theirs = witness(data)[: len(ours)]
        assert [_comparable(request) for request in ours] == [_comparable(request) for request in theirs], witness


def _comparable(request: oracle.Request) -> oracle.Request:
    """Without the host of a whole URL and without a bare question mark, which the gateway drops."""
    target = request.target
    if "://" in target and target[:1] != "/":
        place, question, query = target.split("://", 1)[1].partition("?")
        target = "/" + place.partition("/")[2] + question + query
    return request._replace(target=target.removesuffix("?") if target.count("?") == 1 else target)


class _Transport:
    """Stands for a socket: takes what is written, and may be closed."""

    closing = False

    def get_extra_info(self, name: str) -> object:
        return None

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0


class _Pool:
    """Stands for a pool, which here only hears of connections."""

    def release(self, connection: Connection) -> None:
        pass

    def lost(self, connection: Connection) -> None:
        pass


class _Sink:
    """Keeps an answer, and asserts that it comes as a Sink is told to expect it."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[bytes, bytes] = {}
        self.body = b""
        self.over = ""

    def on_head(self, status: int, headers: Mapping[bytes, bytes], peer: str) -> None:
        assert not self.status and not self.over and status >= 200
        self.status, self.headers = status, dict(headers)

    def on_data(self, data: bytes) -> None:
        assert self.status and data and not self.over
        self.body += data

    def on_end(self) -> None:
        assert self.status and not self.over
        self.over = "end"

    def stops(self) -> str:
        return ""

    def on_failed(self, failure: Failure) -> None:
        assert not self.over and failure.code != "internal"
        self.over = failure.code


def http_response(data: bytes) -> None:
    """The reader of answers, up to the end of the connection."""
    seen = []
    for pieces in cuttings(data):
        connection, transport, sink = Connection(cast(Pool, _Pool())), _Transport(), _Sink()
        connection.connection_made(cast(Any, transport))
        connection.send(b"POST / HTTP/1.1\r\n\r\n", sink)
        for piece in pieces:
            if piece and not transport.closing:
                connection.data_received(piece)
        connection.connection_lost(None)
        assert sink.over
        seen.append((sink.status, sink.headers, sink.body if sink.over == "end" else b"", sink.over))
    assert all(one == seen[0] for one in seen), seen


def stream_tap(data: bytes) -> None:
    """The readers of event streams; the first byte says which."""
    which, data = data[0] if data else 0, data[1:]
    seen = []
    for pieces in cuttings(data):
        tap = StreamTap(translation.FORMATS[which % 3], hide_usage=bool(which & 4))
        tap.mends = bool(which & 8)
        out = b"".join(translation.fed(tap, pieces))
        state = (tap.complete, tap.errored, tap.usage, tap.source, tap.finish_reason, tap.upstream_id, tap.estimate())
        seen.append((out, state, tap.raw, tap.repaired, tap.sequence_number))
    assert all(one == seen[0] for one in seen), seen


def request_read(data: bytes) -> None:
    """The readers of request bodies; the first byte says which."""
    try:
        read(translation.FORMATS[data[0] % 3 if data else 0], data[1:])
    except LocalError as error:
        assert error.message


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "http-request": http_request,
    "http-response": http_response,
    "stream-tap": stream_tap,
    "request-read": request_read,
    "translated-request": translation.translated_request,
    "translated-stream": translation.translated_stream,
    "translated-answer": translation.translated_answer,
}
