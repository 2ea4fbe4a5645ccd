"""Reading a streamed answer as it passes: whole events go on at once, unchanged, and what they say is noted.

Events that carry only content are told apart by plain byte searches: a quote inside a JSON string is escaped, so
`,"usage":null` can only be a member. The others, a handful a stream, are parsed. It does not translate, and of all it
forwards only a chat usage that the client did not ask for is taken out (`hide_usage`).
"""

import re
from typing import Any, NamedTuple

from interlock.gateway.wire import scan
from interlock.gateway.wire.mend import ResponsesMender, message_start
from interlock.gateway.wire.reading import (
    STREAM_RULE,
    Reading,
    _dicts,
    _text,
    decoded,
    raw_nested_usage,
    raw_usage,
)
from interlock.gateway.wire.usage import merged, messages_usage
from interlock.ledger import PARENTS, Format

_COMMA, _BACKSLASH = b",\\"
EVENT_BYTES_MAX = 8 * 1024 * 1024
"""A longer event passes unread and is not held back. Room for an image as base64 in a `response.completed`."""

REPORTED_OUTPUT_RULE = "reported-output/1"
"""The output was reported, the input was not and is estimated."""

_END = re.compile(rb"\n\r?\n")
_DATA = re.compile(rb"^data:[ ]?([^\r\n]*)", re.MULTILINE)
_NAME = re.compile(rb"^event:[ ]?([^\r\n]*)", re.MULTILINE)


class StreamTap(Reading):
    """A tap for one stream: `StreamTap(format)` gives the tap of that format.

    Lines may end in LF or CRLF. The forwarded bytes and the readings do not depend on how the stream was cut.
    """

    __slots__ = (
        "_carry",
        "_hide_usage",
        "_last",
        "_mender",
        "_unread",
        "_wordless",
        "malformed",
        "mends",
        "opening",
        "repaired",
    )
    rule = STREAM_RULE

    def __new__(cls, format: Format, *, hide_usage: bool = False) -> "StreamTap":
        return super().__new__(_TAPS[format])

    def __init__(self, format: Format, *, hide_usage: bool = False) -> None:
        """hide_usage: chat only; the client did not ask for usage and is not to see it."""
        super().__init__(format)
        self.opening = ("msg_unnamed", "", 0)
        """Id, model and input tokens (estimated) for a Messages stream that has no `message_start`."""
        self.mends = False
        """Responses: put in what llama.cpp's events lack (mend.py)."""
        self._mender: ResponsesMender | None = None
        self.repaired = ""
        """The event that the upstream left out and that was put in."""
        self.malformed = False
        """An event was not JSON. It is not forwarded, and neither should anything after it be."""
        self._wordless = 0  # content events that named a role, and said nothing
        self._hide_usage = hide_usage
        self._carry = bytearray()  # the event that is not whole yet
        self._unread = 0  # bytes already forwarded of an event that is too long
        self._last = b""  # the last event with data

    def feed(self, data: bytes) -> bytes:
        """Bytes came; the bytes to forward now."""
        if self.malformed:
            return b""
        if data.endswith(b"\n\n") and not self._carry and len(data) <= EVENT_BYTES_MAX:
            lines = data.count(b"\n")
            if lines == 2 or (lines == 3 and data[-3] > 13):  # one event: "data: …", at most one line above it
                return self._event(data)
        return self._events(data)

    def finish(self) -> bytes:
        """The body ended as HTTP says it should; the bytes to forward before the end.

        A last event without its blank line is forwarded if it completes the answer; otherwise it is dropped, as the
        client would have to (so that an error event may follow).
        """
        tail, unread, last = bytes(self._carry), self._unread > 0, self._last
        self._carry.clear()
        if tail and not unread:
            tail = self._event(tail)
        self._ended()
        if self.complete or unread:
            return tail
        self._last = last
        return b""

    @property
    def spoken(self) -> bool:
        """Whether any word of the answer has come."""
        return self.content_events > self._wordless

    @property
    def sequence_number(self) -> int:
        """Of the last event seen (Responses); -1 if there is none."""
        number = (decoded(_payload(self._last)) or {}).get("sequence_number")
        return number if type(number) is int and number >= 0 else -1

    def _events(self, data: bytes) -> bytes:
        carry, out, start, searched = self._carry, [], 0, 0
        text: bytes | bytearray = data
        if carry:
            searched = max(len(carry) - 2, 0)  # the end of the event may stand astride
            carry += data
            text = carry
        while match := _END.search(text, searched):
            event = bytes(text[start : match.end()])
            start = searched = match.end()
            out.append(self._event(event) if len(event) + self._unread <= EVENT_BYTES_MAX else self._passed(event))
            if self.malformed:
                carry.clear()  # nothing that follows is read
                return b"".join(out)
        if text is carry:
            del carry[:start]
        else:
            carry += data[start:]
        if len(carry) + self._unread > EVENT_BYTES_MAX:
            self._unread += len(carry) - 2
            out.append(bytes(carry[:-2]))
            del carry[:-2]
        return b"".join(out)

    def _passed(self, event: bytes) -> bytes:
        """The end of an event that is too long to be read."""
        self._content(self._unread + len(event))
        self._unread = 0
        return event

    def _content(self, size: int) -> None:
        self.content_events += 1
        self._content_bytes += size
        if size < self._smallest or not self._smallest:
            self._smallest = size

    def _event(self, event: bytes) -> bytes:
        """Read one event; the bytes to forward for it."""
        raise NotImplementedError  # `__new__` always makes one of the formats' taps, which have it

    def _unreadable(self, event: bytes, payload: bytes) -> bytes:
        """What to forward for an event that is not a JSON object: a comment, or one line's slip of another format."""
        self.malformed = bool(payload.strip()) and payload != b"[DONE]"
        return b"" if self.malformed else event

    def _ended(self) -> None:
        """The stream is over."""


class _Like(NamedTuple):
    """Content events of one stream mostly differ in one string: what stands before and after it."""

    head: bytes
    tail: bytes
    shown: bytes
    """The tail as the client is to see it."""


class _ChatTap(StreamTap):
    __slots__ = ("_first", "_lessons", "_like")

    def __init__(self, format: Format, *, hide_usage: bool = False) -> None:
        super().__init__(format, hide_usage=hide_usage)
        self._first = True
        self._like: _Like | None = None
        self._lessons = 8  # a stream whose events are not alike is not studied for ever

    def _event(self, event: bytes) -> bytes:
        if self._like:
            head, tail, shown = self._like
            if (
                event.startswith(head)
                and event.endswith(tail)
                and event.find(b'"', len(head), -len(tail)) < 0  # one string, without quotes in its text
            ):
                self._content(len(event))
                return event if tail is shown else event[: -len(tail)] + shown
        return self._unlike(event)

    def _unlike(self, event: bytes) -> bytes:
        unfinished = event.count(b'"finish_reason":null')
        if self._first or not unfinished or event.count(b'"finish_reason"') > unfinished or b'"error"' in event:
            return self._read(event)
        shown, at = event, event.find(b'"usage"')
        if at >= 0:
            if not event.startswith(b":null", at + 7) or event.find(b'"usage"', at + 12) >= 0:
                return self._read(event)
            if self._hide_usage:
                if event[at - 1] != _COMMA or event.count(b"}", at) != 1:
                    return self._read(event)
                # one brace to come, so the member is one of the outermost object
                shown = event[: at - 1] + event[at + 12 :]
        self._content(len(event))
        if self._lessons:
            self._learn(event, shown)
        return shown

    def _learn(self, event: bytes, shown: bytes) -> None:
        self._lessons -= 1
        at = event.find(b'content":"')
        end = event.find(b'"', at + 10)
        if at < 0 or event[end - 1] == _BACKSLASH or not shown.startswith(event[:end]):
            return
        tail = event[end:]
        self._like = _Like(event[: at + 10], tail, tail if shown is event else shown[end:])

    def _read(self, event: bytes) -> bytes:
        payload = _payload(event)
        if payload == b"[DONE]":
            self.complete = not self.errored
            return event
        document = decoded(payload)
        if document is None:
            return self._unreadable(event, payload)
        self._first = False
        self._chat(document, payload)
        choices = _dicts(document.get("choices"))
        if choices and not any(choice.get("finish_reason") for choice in choices):
            self._content(len(event))
            self._wordless += not any(_says(choice.get("delta")) for choice in choices)
        if self._hide_usage and "usage" in document:
            return _hidden(event) if choices or document["usage"] is None else b""
        return event

    def _ended(self) -> None:
        self.complete = self.complete or bool(self.finish_reason and not self.errored)


def _says(delta: object) -> bool:
    return isinstance(delta, dict) and any(value for name, value in delta.items() if name != "role")


def _hidden(event: bytes) -> bytes:
    """The event without the member `usage`; one whose data stands on several lines is left as it is."""
    lines = list(_DATA.finditer(event))
    if len(lines) != 1:
        return event
    start, end = lines[0].span(1)
    return event[:start] + scan.without(event[start:end], "usage") + event[end:]


class _MessagesTap(StreamTap):
    __slots__ = ("_begun", "_cumulative", "_output", "_raw_start")

    def __init__(self, format: Format, *, hide_usage: bool = False) -> None:
        super().__init__(format, hide_usage=hide_usage)
        self._begun = False
        self._cumulative: dict[str, Any] = {}
        self._output: int | None = None  # reported, but no input with it
        self._raw_start = b"null"

    def estimate(self) -> tuple[dict[str, int], str]:
        """As ever, but an output that was reported is taken."""
        usage, rule = super().estimate()
        return (usage, rule) if self._output is None else ({**usage, "output": self._output}, REPORTED_OUTPUT_RULE)

    def _event(self, event: bytes) -> bytes:
        if self._begun:
            return self._next(event)
        kind = (decoded(_payload(event)) or {}).get("type")
        self._begun = kind not in (None, "ping")
        if kind not in ("content_block_start", "content_block_delta", "message_delta"):
            return self._next(event)
        # llama.cpp forgets message_start where the first token is part of a character; every client fails without it
        self.repaired = "message_start"
        return message_start(*self.opening) + self._next(event)

    def _next(self, event: bytes) -> bytes:
        if event.startswith(b"event: content_block_delta\n"):
            self._content(len(event))
            return event
        payload = _payload(event)
        document = decoded(payload)
        if document is None:
            return self._unreadable(event, payload)
        self._document(document, payload, len(event))
        return event

    def _document(self, document: dict[str, Any], payload: bytes, size: int) -> None:
        kind = document.get("type")
        if kind == "content_block_delta":
            self._content(size)
        elif kind == "message_start" and isinstance(document.get("message"), dict):
            self._started(document["message"], payload)
        elif kind == "message_delta":
            self._changed(document, payload)
        elif kind == "message_stop":
            self.complete = not self.errored
        elif kind == "error" or document.get("error"):  # llama.cpp leaves the type out
            self._failed(document.get("error"))

    def _started(self, message: dict[str, Any], payload: bytes) -> None:
        self._named(message)
        usage = message.get("usage")
        if isinstance(usage, dict):
            self._raw_start = raw_nested_usage(payload)
            self.raw = b'{"message_start":%b}' % self._raw_start
            self._accumulated(usage)

    def _changed(self, document: dict[str, Any], payload: bytes) -> None:
        delta, usage = document.get("delta"), document.get("usage")
        if isinstance(delta, dict):
            self.finish_reason = _text(delta.get("stop_reason")) or self.finish_reason
        if isinstance(usage, dict):
            self._accumulated(usage)
            raw = b'{"message_start":%b,"message_delta":%b}' % (self._raw_start, raw_usage(payload))
            figures = messages_usage(self._cumulative)
            if "output_tokens" in usage and "input" in figures.usage:  # the output in message_start is not final
                self._reported(figures, raw)
            elif "output_tokens" in usage:
                self._output, self.raw = figures.usage.get("output"), raw

    def _accumulated(self, usage: dict[str, Any]) -> None:
        self._cumulative = merged(self._cumulative, usage)
        figures = messages_usage(self._cumulative)
        self._input = {kind: count for kind, count in figures.usage.items() if PARENTS.get(kind, kind) != "output"}


_RESPONSE_READ = frozenset(
    b"response." + name for name in (b"created", b"in_progress", b"completed", b"incomplete", b"failed")
)
_RESPONSE_ENDS = ("response.completed", "response.incomplete", "response.failed")


class _ResponsesTap(StreamTap):
    __slots__ = ()

    def _event(self, event: bytes) -> bytes:
        self._read_event(event)
        if self.malformed:
            return b""
        if not self.mends:
            return event
        document = decoded(_payload(event))
        if document is None or "sequence_number" in document:
            return event
        self.repaired = "places"
        self._mender = self._mender or ResponsesMender()
        self._last = self._mender.mended(document)
        return self._last

    def _read_event(self, event: bytes) -> bytes:
        if event.find(b".delta\n", 0, 64) >= 0:  # a raw line feed: the end of the line `event: response.*.delta`
            self._last = event
            self._content(len(event))
            return event
        name = _NAME.match(event)
        if name and name[1].startswith(b"response.") and name[1] not in _RESPONSE_READ:
            self._last = event
            if name[1].endswith(b".delta"):
                self._content(len(event))
            return event
        payload = _payload(event)
        document = decoded(payload)
        if document is None:
            return self._unreadable(event, payload)
        self._last = event
        self._document(document, payload, len(event))
        return event

    def _document(self, document: dict[str, Any], payload: bytes, size: int) -> None:
        kind = document.get("type")
        response = document.get("response")
        if kind == "error":
            error = document.get("error")
            self._failed(error if isinstance(error, dict) else {"code": document.get("code")})
        elif isinstance(response, dict):
            self._response(response, raw_nested_usage(payload))
            self.complete = self.complete or kind in _RESPONSE_ENDS
        elif isinstance(kind, str) and kind.endswith(".delta"):
            self._content(size)


_TAPS: dict[Format, type[StreamTap]] = {"chat": _ChatTap, "messages": _MessagesTap, "responses": _ResponsesTap}


def _payload(event: bytes) -> bytes:
    """The event's data, its lines joined; empty if it has none (a comment)."""
    return b"\n".join(_DATA.findall(event))
