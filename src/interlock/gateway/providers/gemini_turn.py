"""One answer of Gemini, told as Messages events.

Gemini's reasons for which there is an answer, or none by design, become stop reasons; the others (a call that it could
not write well, an unknown one) are errors, after what they cost. Whatever was signed stays the part that it was;
unsigned text that came in pieces is one block. Bytes and their framing are elsewhere (gemini_answer.py).
"""

from typing import Any

import msgspec

from interlock.errors import RemoteError
from interlock.gateway.providers.gemini_marks import Owner, call_id, made_id, marked
from interlock.gateway.providers.gemini_shapes import Call, Candidate, Chunk, Part, messages_usage

MESSAGE_CHARS_MAX = 2000

_STOPS = {"STOP": "end_turn", "MAX_TOKENS": "max_tokens"} | dict.fromkeys(
    (
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
    ),
    "refusal",
)
_chunk = msgspec.json.Decoder(Chunk).decode
_object = msgspec.json.Decoder(dict[str, Any] | None).decode

Event = dict[str, Any]
"""A Messages event; or, last, one of type `error` with `status` and `message`, for who writes errors."""


class Turn:
    """One answer, told as Messages events."""

    def __init__(self, model: str, input_estimate: int | None) -> None:
        """input_estimate: tokens that `message_start` shows where the first chunk does not count them; None: none."""
        self._model = model
        self._input_estimate = input_estimate
        self._begun = False
        self._index = 0
        self._open = ""  # type of the open block
        self._calls = 0
        self._finish = self._why = ""
        self._usage: dict[str, Any] = {}

    def said(self, payload: bytes) -> list[Event]:
        """The events of one chunk. All of them or, with an error, none.

        Raises: RemoteError: it is not a chunk, or holds what Messages has no word for.
        """
        try:
            chunk = _chunk(payload)
            candidate = chunk.candidates[0] if chunk.candidates else Candidate()
            parts = (candidate.content and candidate.content.parts) or []
            for part in parts:
                if part.function_call:
                    _arguments(part.function_call)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise _invalid(str(error)) from error
        if chunk.usage_metadata:
            self._usage = messages_usage(chunk.usage_metadata) or self._usage
        events = self._begin(chunk, payload)
        for part in parts:
            events += self._part(part, payload)
        if candidate.finish_reason or parts:  # what goes on after its end has not ended
            self._finish, self._why = candidate.finish_reason or "", candidate.finish_message or ""
        blocked = chunk.prompt_feedback
        if blocked and blocked.block_reason and not self._finish:
            self._finish, self._why = "SAFETY", blocked.block_reason_message or blocked.block_reason
        return events

    def ended(self) -> list[Event]:
        """The body is over; nothing, if no finish reason was seen."""
        if not self._finish:
            return []
        stop = _STOPS.get(self._finish)
        if stop == "end_turn" and self._calls:
            stop = "tool_use"
        delta: Event = {"stop_reason": stop, "stop_sequence": None}
        if stop == "refusal":
            explanation = (self._why or self._finish)[:MESSAGE_CHARS_MAX]
            delta["stop_details"] = {"type": "refusal", "category": None, "explanation": explanation}
        events = [*self._close(), {"type": "message_delta", "delta": delta, "usage": self._usage}]
        if stop:
            return [*events, {"type": "message_stop"}]
        return [*events, fault(f"Gemini ended with {self._finish[:64]}: {self._why}".removesuffix(": "))]

    def _begin(self, chunk: Chunk, payload: bytes) -> list[Event]:
        if self._begun:
            return []
        self._begun = True
        message: Event = {
            "id": chunk.response_id or f"msg_{made_id(payload, 0)}",
            "type": "message",
            "role": "assistant",
            "model": chunk.model_version or self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage or self._estimate(),
        }
        return [{"type": "message_start", "message": message}]

    def _estimate(self) -> dict[str, Any]:
        return {} if self._input_estimate is None else {"input_tokens": self._input_estimate, "output_tokens": 0}

    def _part(self, part: Part, payload: bytes) -> list[Event]:
        signature = part.thought_signature
        if part.function_call:
            signed = self._sign("c", signature) if signature else []
            return [*signed, *self._call(part.function_call, payload)]
        if part.thought:
            return self._thought(part.text or "", signature)
        if not signature:
            return self._text(part.text) if part.text else []
        if not part.text:
            return self._sign("e", signature)
        return [*self._sign("t", signature), *self._text(part.text), *self._close()]

    def _thought(self, text: str, signature: str | None) -> list[Event]:
        if signature:
            return [*self._close(), *self._thinking(text), *self._sign("h", signature)]
        return self._thinking(text) if text else []

    def _thinking(self, text: str) -> list[Event]:
        events = [] if self._open == "thinking" else self._start({"type": "thinking", "thinking": "", "signature": ""})
        return [*events, self._delta({"type": "thinking_delta", "thinking": text})] if text else events

    def _text(self, text: str) -> list[Event]:
        events = [] if self._open == "text" else self._start({"type": "text", "text": ""})
        return [*events, self._delta({"type": "text_delta", "text": text})]

    def _call(self, call: Call, payload: bytes) -> list[Event]:
        block = {"type": "tool_use", "id": call_id(call.id, payload, self._calls), "name": call.name, "input": {}}
        self._calls += 1
        delta = {"type": "input_json_delta", "partial_json": _arguments(call)}
        return [*self._start(block), self._delta(delta), *self._close()]

    def _sign(self, owner: Owner, signature: str) -> list[Event]:
        """End the thinking that is open, or a block without any, with a signature."""
        return [*self._thinking(""), *self._close(owner, signature)]

    def _start(self, block: Event) -> list[Event]:
        events = self._close()
        self._open = block["type"]
        return [*events, {"type": "content_block_start", "index": self._index, "content_block": block}]

    def _delta(self, delta: Event) -> Event:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _close(self, owner: Owner = "n", signature: str = "") -> list[Event]:
        if not self._open:
            return []
        signed = self._open == "thinking"
        events = [self._delta({"type": "signature_delta", "signature": marked(owner, signature)})] if signed else []
        events.append({"type": "content_block_stop", "index": self._index})
        self._open = ""
        self._index += 1
        return events


def _arguments(call: Call) -> str:
    """The call's arguments as they were written: JSON text of an object."""
    if _object(call.args) is None:
        return "{}"
    return bytes(call.args).decode()


def _invalid(why: str) -> RemoteError:
    return RemoteError(f"Gemini's answer cannot be read: {why[:MESSAGE_CHARS_MAX]}", code="upstream_invalid")


def fault(message: str, status: int = 502) -> Event:
    """The event that ends an answer which is none."""
    return {"type": "error", "status": status, "message": message[:MESSAGE_CHARS_MAX]}


def folded(events: list[Event]) -> Event:
    """The message, or the `error` event, that a stream of these events adds up to; its first is `message_start`."""
    message: Event = events[0]["message"]
    blocks: list[Event] = message["content"]
    for event in events:
        match event:
            case {"content_block": block}:
                blocks.append(dict(block))
            case {"delta": {"type": "text_delta", "text": text}}:
                blocks[-1]["text"] += text
            case {"delta": {"type": "thinking_delta", "thinking": text}}:
                blocks[-1]["thinking"] += text
            case {"delta": {"type": "signature_delta", "signature": signature}}:
                blocks[-1]["signature"] = signature
            case {"delta": {"type": "input_json_delta", "partial_json": text}}:
                blocks[-1]["input"] = msgspec.Raw(text.encode())
            case {"type": "message_delta", "delta": delta, "usage": usage}:
                message |= {**delta, "usage": usage}
            case {"type": "error"}:
                return {**event, "usage": message["usage"]}
    return message
