"""What is fuzzed of translation: requests, streams and whole answers, between every two formats.

The first byte of an input says which formats; the rest is what a client or an upstream sent. Nothing it may be raises
anything but an error of ours.
"""

import re
from collections.abc import Iterator

from interlock.errors import InterlockError, LocalError, RemoteError
from interlock.gateway.translate import StreamTranslation, Voice, read_request, translate_whole, write_request
from interlock.gateway.translate.neutral import Ask, Envelope, Target
from interlock.gateway.wire import StreamTap, read, read_whole
from interlock.ledger import Format

FORMATS: tuple[Format, ...] = ("chat", "responses", "messages")
ASKS: dict[Format, bytes] = {
    "chat": b'{"model":"m","messages":[{"role":"user","content":"a"}],"stream_options":{"include_usage":true}}',
    "responses": b'{"model":"m","input":"a"}',
    "messages": b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}]}',
}
_EVENT_END = re.compile(rb"\n\r?\n")


def translated_request(data: bytes) -> None:
    """A request, written for all formats."""
    format, body = FORMATS[data[0] % 3 if data else 0], data[1:]
    try:
        read(format, body)
        ask = read_request(format, body)
    except LocalError:
        return
    for to in FORMATS:
        try:
            write_request(ask, to, Target(model="m", family="f", max_output=100))
        except LocalError as error:
            assert error.message


def _envelope(format: Format) -> Envelope:
    ask: Ask = read_request(format, ASKS[format])
    return Envelope(key="0" * 32, created_at=1, ask=ask, family="f", model="m", input_estimate=1)


def _events(data: bytes) -> Iterator[bytes]:
    at = 0
    for end in _EVENT_END.finditer(data):
        yield data[at : end.end()]
        at = end.end()


def fed(tap: StreamTap, pieces: list[bytes]) -> Iterator[bytes]:
    """What the tap forwards of these pieces; nothing is fed after an event that is not JSON."""
    for piece in pieces:
        if piece and not tap.malformed:
            yield tap.feed(piece)
    if not tap.malformed:
        yield tap.finish()


def translated_stream(data: bytes) -> None:
    """A stream, told event by event and at once, after the tap through which each goes; the client's is well formed."""
    which = data[0] if data else 0
    upstream, client, events = FORMATS[which % 3], FORMATS[which // 3 % 3], list(_events(data[1:]))
    if upstream == client:
        return
    told = []
    for pieces in (events, [b"".join(events)]):
        translation = StreamTranslation(upstream, Voice(_envelope(client), joins=True))
        said = [translation.feed(forwarded) for forwarded in fed(StreamTap(upstream), pieces) if forwarded]
        told.append(b"".join([*said, translation.finish()]))
    assert told[0] == told[1]
    reader = StreamTap(client)
    assert reader.feed(told[0]) + reader.finish() == told[0]


def translated_answer(data: bytes) -> None:
    """A whole answer."""
    which, body = data[0] if data else 0, data[1:]
    upstream, client = FORMATS[which % 3], FORMATS[which // 3 % 3]
    if upstream != client and read_whole(upstream, body).complete:
        try:
            translate_whole(body, upstream, _envelope(client))
        except InterlockError as error:
            assert isinstance(error, RemoteError)
