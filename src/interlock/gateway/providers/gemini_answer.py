"""Gemini's answers as Messages: whole ones, errors, and the bytes of a stream.

What a chunk says is told by gemini_turn.py. A stream is complete when its body ended after a finish reason: usage may
come later than that.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from interlock import strictjson
from interlock.errors import LocalError, RemoteError
from interlock.gateway.providers.gemini_turn import MESSAGE_CHARS_MAX, Event, Turn, fault, folded
from interlock.gateway.wire.errors import error_body, error_event
from interlock.gateway.wire.tap import EVENT_BYTES_MAX

_END = re.compile(rb"\n\r?\n")
_DATA = re.compile(rb"^data:[ ]?([^\r\n]*)", re.MULTILINE)


def whole_answer(model: str, status: int, body: bytes) -> bytes:
    """A whole answer or error; bytes that are not one of Gemini's come back as they are."""
    if error := error_answer(status, body):
        return error
    if status >= 300:
        return body
    turn = Turn(model, None)
    try:
        events = turn.said(body)
    except RemoteError as invalid:
        return _error_body(invalid.status, invalid.message)
    message = folded([*events, *(turn.ended() or [fault("the answer has no finish reason")])])
    if message["type"] == "error":
        return _error_body(message["status"], message["message"], message["usage"])
    return msgspec.json.encode(message)


def error_answer(status: int, body: bytes) -> bytes | None:
    """The Messages error for one in Google's shape; None: it is something else."""
    stated = _google_error(body, status)
    return _error_body(*stated) if stated else None


def _google_error(body: bytes, status: int) -> tuple[int, str] | None:
    """(status, message) of an error in Google's shape, alone or in a list; None: it is something else."""
    if b'"error"' not in body:
        return None
    try:
        document = strictjson.loads(body)
    except LocalError:
        return None
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict) or not document.get("error") or document.get("type") == "error":
        return None  # the last is Anthropic's own
    return _stated(document["error"], status)


def _stated(error: object, status: int) -> tuple[int, str]:
    given = error if isinstance(error, dict) else {"message": error}
    code, message = given.get("code"), given.get("message")
    if status < 400:
        status = code if type(code) is int and 400 <= code < 600 else 500
    said = message if isinstance(message, str) else str(given.get("status") or f"the upstream answered {status}")
    return status, said[:MESSAGE_CHARS_MAX]


class GeminiStream:
    """A `Decoder`. Output does not depend on where the bytes were cut."""

    def __init__(self, model: str, input_estimate: int = 0) -> None:
        self._turn = Turn(model, input_estimate)
        self._carry = bytearray()
        self._searched = 0
        self._fault: RemoteError | None = None
        self._over = False

    def feed(self, data: bytes) -> bytes:
        """Bytes came. What stood before a fault is given out first: the fault is raised by the next call."""
        if self._fault:
            raise self._fault
        self._carry += data
        out, start = [], 0
        while not self._fault and (match := _END.search(self._carry, max(self._searched - 2, start))):
            out.append(self._event(bytes(self._carry[start : match.end()])))
            start = self._searched = match.end()
        del self._carry[:start]
        self._searched = len(self._carry)
        if self._searched > EVENT_BYTES_MAX:
            self._fault = self._fault or _too_long()
        if self._fault and not any(out):
            raise self._fault
        return b"".join(out)

    def finish(self) -> bytes:
        """The body ended: the last event, if its blank line is missing, and the end of the answer, if it has one."""
        if self._fault:
            raise self._fault
        out = self._event(bytes(self._carry))
        self._carry.clear()
        cut = self._fault is not None  # in the midst of its last event
        return out if cut or self._over else out + _written(self._turn.ended())

    def _event(self, event: bytes) -> bytes:
        if self._over:
            return b""
        if len(event) > EVENT_BYTES_MAX:
            self._fault = _too_long()
            return b""
        payload = b"\n".join(_DATA.findall(event)) or event.strip()
        if not payload or payload.startswith(b":"):
            return b""
        if error := _google_error(payload, 0):  # some come as bare JSON
            self._over = True
            return _written([fault(error[1], error[0])])
        try:
            return _written(self._turn.said(payload))
        except RemoteError as invalid:
            self._fault = invalid
            return b""


def _too_long() -> RemoteError:
    return RemoteError(f"an event of Gemini's is longer than {EVENT_BYTES_MAX} bytes", code="upstream_invalid")


def _written(events: Iterable[Event]) -> bytes:
    return b"".join([_event_bytes(event) for event in events])


def _event_bytes(event: Event) -> bytes:
    if event["type"] == "error":
        status, message = event["status"], event["message"]
        return error_event("messages", status=status, code="upstream_error", message=message, request_id="")
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), msgspec.json.encode(event))


def _error_body(status: int, message: str, usage: dict[str, Any] | None = None) -> bytes:
    body = error_body("messages", status=status, code="upstream_error", message=message, request_id="")
    return b'%b,"usage":%b}' % (body[:-1], msgspec.json.encode(usage)) if usage else body
