"""Translation between the three wire formats: requests one way, answers the other. No I/O.

A format is a package here with the same six names; what they have in common is neutral.py. Where the client's format
is the upstream's, none of this runs (wire/ passes the bytes through).
"""

import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import msgspec

from interlock.errors import LocalError
from interlock.gateway.translate import chat, messages, responses
from interlock.gateway.translate.carrier import PREFIX
from interlock.gateway.translate.neutral import (
    Ask,
    Begin,
    CallBegin,
    Done,
    Envelope,
    Event,
    Failed,
    Finished,
    RefusalDelta,
    Target,
    Text,
    TextDelta,
    Turn,
    Unsaid,
    Usage,
    Written,
)
from interlock.ledger import Format

_FORMATS: dict[Format, Any] = {"chat": chat, "messages": messages, "responses": responses}
TRANSLATED: frozenset[Format] = frozenset({"chat", "messages", "responses"})
CARRIER = f'"{PREFIX}'.encode()
"""How a carrier begins in a body: a string of the client's that holds reasoning of another format."""
GO_ON = (
    "Your answer above was cut off by a fault of the connection. Go on exactly where it stops, even within a word: "
    "repeat nothing, add no remark."
)
"""What asks a model to go on with an answer that another began (`on_cut = "continue"`)."""
SO_FAR_CHARS_MAX = 1 << 20
"""Of a text that another upstream may go on with; with more than that it could not."""
_END = re.compile(rb"\r?\n\r?\n")
_DATA = re.compile(rb"^data:[ ]?([^\r\n]*)", re.MULTILINE)
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def read_request(format: Format, body: bytes) -> Ask:
    """The request in nobody's format. `body` was accepted by `wire.read`.

    Raises: LocalError: it holds what cannot be translated at all; `field` names it.
    """
    try:
        document = _decode(body)
    except (msgspec.DecodeError, RecursionError) as error:  # such as a number that no float holds
        raise LocalError(f"the body cannot be translated: {error}", code="invalid_json", field="body") from error
    return _FORMATS[format].read_request(document)  # type: ignore[no-any-return]  # the packages share a shape


def write_request(ask: Ask, format: Format, target: Target) -> tuple[bytes, tuple[str, ...]]:
    """(body, paths of the hints that were dropped).

    Raises: LocalError: the format cannot say it; `field` names it in the client's words.
    """
    written: Written = _FORMATS[format].write_request(ask, target)
    return _encode({"model": target.model, **written.document}), written.dropped


def going_on(ask: Ask, so_far: str, *, prefill: bool) -> Ask:
    """The request that asks for the rest of an answer. `prefill`: the model continues a last assistant message."""
    turns = (*ask.turns, Turn(role="assistant", parts=(Text(text=so_far),)))
    # Anthropic takes no last message of the assistant's that ends in white space, nor any where it is to think.
    if not prefill or so_far[-1:].isspace() or not (ask.reasoning is None or ask.reasoning.off):
        turns = (*turns, Turn(role="user", parts=(Text(text=GO_ON),)))
    return msgspec.structs.replace(ask, turns=turns)


def translate_whole(body: bytes, upstream: Format, envelope: Envelope) -> tuple[bytes, tuple[str, ...]]:
    """(a whole answer in the client's format, types of blocks that it has no word for)."""
    answer = _FORMATS[upstream].read_answer(_decode(body))
    return _encode(_FORMATS[envelope.ask.format].write_answer(answer, envelope)), answer.dropped


class Voice:
    """What one client hears: events of one upstream, or of several one after the other, as one stream."""

    def __init__(self, envelope: Envelope, *, joins: bool) -> None:
        """`joins`: another upstream may go on, so the text is kept. An answer that is JSON by a schema begins anew."""
        self._writer = _FORMATS[envelope.ask.format].StreamWriter(envelope)
        self._begun = False
        self._joins = joins and envelope.ask.schema is None
        self._text = StringIO(newline="")
        self._before: dict[str, int] = {}
        self.unsaid: list[str] = []
        """Types of blocks that the client's format has no word for."""
        self.failure: Failed | None = None
        """What the upstream reported instead of going on."""

    @property
    def broken(self) -> bool:
        """The writer has ended the stream in an error: what came made no sense in the client's format."""
        return bool(getattr(self._writer, "failed", False))

    @property
    def so_far(self) -> str:
        """All text that was said."""
        return self._text.getvalue()

    @property
    def can_go_on(self) -> bool:
        """Another upstream can take over: text was said, and neither a tool call, a refusal nor an end."""
        return self._joins and self._text.tell() > 0

    def go_on(self, usage: dict[str, int]) -> None:
        """The next events are another upstream's; `usage` is what the one before has cost."""
        self.failure = None
        for kind, count in usage.items():
            self._before[kind] = self._before.get(kind, 0) + count

    def say(self, event: Event) -> bytes:
        """The client's bytes for an event; a failure is kept, not said (`fail` says it)."""
        kind = type(event)
        if kind is TextDelta:
            if self._joins:
                self._text.write(event.text)  # type: ignore[union-attr]  # told apart by `kind`, which is faster
                self._joins = self._text.tell() <= SO_FAR_CHARS_MAX
        elif kind is Begin:
            if self._begun:
                return b""
            self._begun = True
        elif kind is CallBegin or kind is RefusalDelta or kind is Finished:
            self._joins = False
        elif isinstance(event, Usage) and self._before:
            kinds = self._before.keys() | event.usage.keys()
            event = Usage({name: self._before.get(name, 0) + event.usage.get(name, 0) for name in kinds})
        elif isinstance(event, Failed):
            self.failure = event
            return b""
        elif isinstance(event, Unsaid):
            self.unsaid.append(event.type)
        return self._writer.write(event)  # type: ignore[no-any-return]  # the packages share a shape

    def fail(self, type: str, message: str, status: int) -> bytes:
        """The client format's own error event; last."""
        return self._writer.write(Failed(type, message, status))  # type: ignore[no-any-return]  # as above


class StreamTranslation:
    """One upstream's stream, told to a voice."""

    def __init__(self, upstream: Format, voice: Voice) -> None:
        self._reader = _FORMATS[upstream].StreamReader()
        self._voice = voice
        self._over = False
        self.complete = False
        """The upstream's own end was read."""

    def feed(self, events: bytes) -> bytes:
        """Whole server-sent events of the upstream; what the client hears of them."""
        out = []
        for payload in _payloads(events):
            out += [self._said(event) for event in self._events(payload)]
        return b"".join(out)

    def finish(self) -> bytes:
        """The upstream's body is over."""
        return b"".join([self._said(event) for event in self._reader.end()])

    def _events(self, payload: bytes) -> list[Event]:
        if payload == b"[DONE]":
            return self._reader.done()  # type: ignore[no-any-return]  # the packages share a shape
        try:
            return self._reader.read(_decode(payload))  # type: ignore[no-any-return]  # as above
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # bytes that are not UTF-8; nested too deep
            return [Failed("upstream_invalid", "the upstream sent an event that is not a JSON object")]

    def _said(self, event: Event) -> bytes:
        if self._over:
            return b""
        self._over = isinstance(event, Done | Failed)
        self.complete = self.complete or isinstance(event, Done)
        return self._voice.say(event)


def _payloads(events: bytes) -> Iterator[bytes]:
    if events.startswith(b"data: ") and events.find(b"\n") == len(events) - 2:
        yield events[6:-2]  # one event of one line, as most are
        return
    for event in _END.split(events):
        lines = _DATA.findall(event)
        if lines:
            yield b"\n".join(lines)
