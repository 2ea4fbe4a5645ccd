"""The few bytes of a request that the gateway changes; every other byte stays as the client sent it.

Bodies given here were accepted by `request.read`. It does not decide whether to splice.
"""

import re

import msgspec

from interlock.gateway.wire.request import Call
from interlock.gateway.wire.scan import STRING, find, members

MODEL = "model"
"""Name of the `with_model` splice on a decision."""
INCLUDE_USAGE = "stream_options.include_usage"
"""Name of the `asking_usage` splice on a decision."""

_KEY = b'"model"'
_MEMBER = re.compile(_KEY + rb"[ \t\r\n]*:[ \t\r\n]*(" + STRING + rb")", re.DOTALL)
_FIRST = b'{"model":'
_ESCAPED = b"\\u006"  # m, o, d, e and l are U+0064 to U+006F: without this no key can be an escaped "model"
_ASK = b'"include_usage":true'


def model_span(body: bytes, value: str) -> tuple[int, int]:
    """Where the top-level `model` string stands, quotes included; `value` is what it decodes to.

    Plain searches in the usual case; a scan of the body only where a nested `model` has the same value, or the key
    may be spelled with escapes.
    """
    if body.startswith(_FIRST):
        plain = b'%b"%b"' % (_FIRST, value.encode())
        if body.startswith(plain):
            return len(_FIRST), len(plain)
        return _spelled(body, 1) or _scanned(body)
    plain = b'"model":"%b"' % value.encode()
    at = body.find(plain)
    if at >= 0 and body.count(_KEY) == 1 and _ESCAPED not in body and body[at - 1] in b",{ \n\t\r":
        return at + 8, at + len(plain)
    if b"\\" not in body or _ESCAPED not in body:
        first = body.find(_KEY)
        if body.find(_KEY, first + 1) < 0:
            return _spelled(body, first) or _scanned(body)
        spans = [span for at in _places(body) if (span := _spelled(body, at)) and _decoded(body, span) == value]
        if len(spans) == 1:
            return spans[0]
    return _scanned(body)


def _places(body: bytes) -> list[int]:
    return [match.start() for match in re.finditer(_KEY, body)]


def _spelled(body: bytes, at: int) -> tuple[int, int] | None:
    match = _MEMBER.match(body, at)
    return match.span(1) if match else None


def _decoded(body: bytes, span: tuple[int, int]) -> str | None:
    try:
        return msgspec.json.decode(body[span[0] : span[1]], type=str)
    except msgspec.DecodeError:  # not a member after all: the end of one string, a colon in the next
        return None


def _scanned(body: bytes) -> tuple[int, int]:
    member = find(body, "model")
    assert member is not None, "request.read saw a model"
    return member.value_start, member.value_end


def with_model(body: bytes, span: tuple[int, int], model: str) -> bytes:
    """The body asking for another model (splice `MODEL`)."""
    rest = memoryview(body)  # slices of bytes would be copies, and of a large body those cost more than the parse
    return b"".join((rest[: span[0]], msgspec.json.encode(model), rest[span[1] :]))


def asking_usage(body: bytes, call: Call) -> bytes:
    """The body of a streamed chat call with `stream_options.include_usage` true (splice `INCLUDE_USAGE`)."""
    if not call.stream_options:
        at = body.index(b"{") + 1
        return b"".join((body[:at], b'"stream_options":{', _ASK, b"},", memoryview(body)[at:]))
    options = find(body, "stream_options")
    assert options is not None, "request.read saw stream_options"
    if body[options.value_start] != ord("{"):
        return b"%b{%b}%b" % (body[: options.value_start], _ASK, body[options.value_end :])
    asked = find(body, "include_usage", options.value_start)
    if asked is not None:
        return b"%btrue%b" % (body[: asked.value_start], body[asked.value_end :])
    at = options.value_start + 1
    comma = b"," if any(members(body, options.value_start)) else b""
    return b"%b%b%b%b" % (body[:at], _ASK, comma, body[at:])
