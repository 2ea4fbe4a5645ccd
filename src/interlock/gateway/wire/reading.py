"""What an answer says of itself: its end, its error, its usage. For whole answers; tap.py reads streams into the same.

Answers are read, never changed here, and nothing an upstream sends can raise: what cannot be read keeps its default.
"""

from typing import Any

import msgspec

from interlock import strictjson
from interlock.errors import LocalError
from interlock.gateway.wire import quick
from interlock.gateway.wire.usage import Figures, chat_usage, messages_usage, responses_usage
from interlock.ledger import Format, Source

STREAM_RULE = "stream-delta-bytes/1"
"""Output tokens = the larger of n and ceil((bytes - n * smallest) / 4) over the n content events seen: most servers
send a token or a few an event, and the smallest event is nearly all envelope."""
WHOLE_RULE = "answer-bytes/1"
"""Output tokens = ceil(bytes of the answer / 4)."""
_FIGURES_ONLY = ("embeddings", "count_tokens")
TEXT_CHARS_MAX = 256
"""Ids, model names and finish reasons are cut there: they go on record."""
RAW_BYTES_MAX = 16 * 1024
"""A provider's usage object beyond this is not kept as it came (the figures are)."""


class Reading:
    """The readings of one answer.

    `complete`: the answer's own end was seen. `errored`: it reported an error, of type `error_type` in the provider's
    words. `usage`: the reported kinds, empty while nothing final was reported; `raw` is the provider's usage object as
    it came, JSON (of Messages streams `{"message_start": …, "message_delta": …}`), `null` if there was none;
    `inconsistent`: absurd figures were left out. `content_events`: events of a stream that carried content.
    `created_at`: Responses, Unix seconds.
    """

    __slots__ = (
        "_content_bytes",
        "_input",
        "_smallest",
        "complete",
        "content_events",
        "created_at",
        "error_type",
        "errored",
        "finish_reason",
        "format",
        "inconsistent",
        "raw",
        "upstream_id",
        "upstream_model",
        "usage",
    )
    rule = WHOLE_RULE

    def __init__(self, format: Format) -> None:
        self.format = format
        self.complete = self.errored = self.inconsistent = False
        self.error_type = self.finish_reason = self.upstream_id = self.upstream_model = ""
        self.usage: dict[str, int] = {}
        self.raw = b"null"
        self.created_at = 0
        self.content_events = self._content_bytes = self._smallest = 0
        self._input: dict[str, int] = {}

    @property
    def source(self) -> Source:
        """reported; counted: the input was reported, the output is estimated; estimated: all of it is."""
        return "reported" if self.usage else "counted" if self._input else "estimated"

    def estimate(self) -> tuple[dict[str, int], str]:
        """(usage, rule) for an answer that did not report its usage: output by rule, input only if it was reported."""
        beyond = self._content_bytes - self.content_events * self._smallest
        return {**self._input, "output": max(self.content_events, (beyond + 3) // 4)}, self.rule

    def _named(self, holder: dict[str, Any]) -> None:
        self.upstream_id = self.upstream_id or _text(holder.get("id"))
        self.upstream_model = self.upstream_model or _text(holder.get("model"))

    def _reported(self, figures: Figures, raw: bytes) -> None:
        self.usage = figures.usage
        self.inconsistent |= figures.inconsistent
        self.raw = raw

    def _failed(self, error: object) -> None:
        self.errored = True
        holder = error if isinstance(error, dict) else {}
        self.error_type = _text(holder.get("type")) or _text(holder.get("code")) or "error"

    def _chat(self, document: dict[str, Any], text: bytes) -> None:
        """Read a whole chat answer or one chunk."""
        self._named(document)
        if document.get("error"):
            self._failed(document["error"])
        for choice in _dicts(document.get("choices")):
            self.finish_reason = self.finish_reason or _text(choice.get("finish_reason"))
        if isinstance(document.get("usage"), dict):
            self._reported(chat_usage(document["usage"]), raw_usage(text))

    def _response(self, response: dict[str, Any], raw: bytes) -> None:
        """Read a Responses object."""
        self._named(response)
        created_at = response.get("created_at")
        self.created_at = created_at if type(created_at) is int else self.created_at
        status, details = response.get("status"), response.get("incomplete_details")
        reason = details.get("reason") if status == "incomplete" and isinstance(details, dict) else None
        self.finish_reason = _text(reason) or _text(status)
        if response.get("error") or status == "failed":
            self._failed(response.get("error"))
        if isinstance(response.get("usage"), dict):
            self._reported(responses_usage(response["usage"]), raw)

    def _message(self, message: dict[str, Any], text: bytes) -> None:
        """Read a whole Messages answer."""
        self._named(message)
        if message.get("type") == "error" or message.get("error"):  # llama.cpp leaves the type out
            self._failed(message.get("error"))
        self.finish_reason = _text(message.get("stop_reason"))
        if isinstance(message.get("usage"), dict):
            self._reported(messages_usage(message["usage"]), raw_usage(text))


def read_whole(format: Format, body: bytes) -> Reading:
    """Read an answer that came in one piece, errors included; one that is not a JSON object is not `complete`."""
    reading = Reading(format)
    reading._content_bytes = len(body)
    document = decoded(body)  # strictly, whichever way it is read: a key twice could mean two figures
    if document is None:
        return reading
    reading.complete = True
    if format in _FIGURES_ONLY:
        if format == "embeddings":
            reading._chat(document, body)
        return reading
    if said := quick.read(format, body):
        reading.created_at = said.created_at
        reading.upstream_id, reading.upstream_model, reading.finish_reason = said.id, said.model, said.finish_reason
        reading.usage, reading.raw = said.usage, said.raw if len(said.raw) <= RAW_BYTES_MAX else b"null"
        return reading
    if format == "chat":
        reading._chat(document, body)
    elif format == "messages":
        reading._message(document, body)
    else:
        reading._response(document, raw_usage(body))
    return reading


def decoded(text: bytes) -> dict[str, Any] | None:
    """The JSON object; None if it is not one, or not one that can be read in one way only."""
    if not text:
        return None
    try:
        document = strictjson.loads(text, what="answer")
    except LocalError:
        return None
    return document if type(document) is dict else None


class _Usage(msgspec.Struct, gc=False):
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _Nested(msgspec.Struct, gc=False):
    message: _Usage | None = None
    response: _Usage | None = None


_plain = msgspec.json.Decoder(_Usage)
_nested = msgspec.json.Decoder(_Nested)


def raw_usage(text: bytes) -> bytes:
    """The bytes of the object's `usage`."""
    return _bounded(_plain.decode(text))


def raw_nested_usage(text: bytes) -> bytes:
    """The bytes of `usage` within the object's `message` or `response`."""
    try:
        holder = _nested.decode(text)
    except msgspec.DecodeError:  # one of the two is there, but is not an object
        return b"null"
    return _bounded(holder.message or holder.response or _Usage())


def _bounded(holder: _Usage) -> bytes:
    raw = bytes(holder.usage)
    return raw if len(raw) <= RAW_BYTES_MAX else b"null"


def _text(value: object) -> str:
    return value[:TEXT_CHARS_MAX] if isinstance(value, str) else ""


def _dicts(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
