"""Events as the chunks of a chat stream, each as OpenAI writes it.

In whatever order events come, what is written is the beginning of a legal stream: a first chunk with the role, content,
one chunk with a finish reason, usage if the client asked, `[DONE]`; or an error and nothing after it. What would not
be legal any more is left out. Beyond OpenAI's members: reasoning, as answer.py writes it whole.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from interlock.gateway.translate.chat.answer import is_legacy, reason_of
from interlock.gateway.translate.chat.reasoning import carrier_of
from interlock.gateway.translate.ids import CallIds
from interlock.gateway.translate.neutral import (
    Begin,
    BlockEnd,
    CallBegin,
    CallDelta,
    CallEnd,
    Done,
    Envelope,
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    TextDelta,
    Unsaid,
    Usage,
    code_of,
)
from interlock.gateway.translate.reasoning import BREAK
from interlock.gateway.translate.usage import write_chat_usage

_DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode


class _Call:
    """A call: its `place` among the calls, 0, 1, …; the delta that opens it; fragments that wait for their turn."""

    __slots__ = ("ended", "held", "opening", "place", "said")

    def __init__(self, place: int, opening: dict[str, Any]) -> None:
        self.place = place
        self.opening = opening
        self.held: list[str] = []
        self.said = self.ended = False


class StreamWriter:
    """One stream: `write` gives an event's bytes, whole server-sent events or nothing. `failed`: it ended
    in an error.
    """

    def __init__(self, envelope: Envelope) -> None:
        self.failed = False
        self._envelope = envelope
        self._legacy = is_legacy(envelope.ask)
        self._usage_asked = envelope.ask.includes_usage
        self._live = False  # begun, and neither finished nor over
        self._begun = self._finished = self._over = False
        self._head = self._head_text = self._tail = b""
        self._opening: dict[str, Any] = {}
        self._usage: dict[str, int] = {}
        self._calls: dict[int, _Call] = {}
        self._waiting: list[_Call] = []  # the first is open; OpenAI's helper parses a call when the next one begins
        self._ids = CallIds(envelope.key, "chat")
        self._block = 0  # of reasoning; its index in reasoning_details
        self._block_said = self._thought = False  # this block has been written to; reasoning_content has been

    def write(self, event: Event) -> bytes:
        """The bytes that the event adds to the stream."""
        if self._live and type(event) is TextDelta:
            return self._head_text + _encode(event.text) + self._tail if event.text else b""
        if self._over:
            return b""
        return _WRITERS[type(event)](self, event)

    def _begin(self, begin: Begin) -> bytes:
        """The first chunk; nothing if it was written."""
        if self._begun:
            return b""
        self._begun = self._live = True
        envelope = self._envelope
        self._opening = {
            "id": begin.id or f"chatcmpl-{envelope.key}",
            "object": "chat.completion.chunk",
            "created": begin.created_at or envelope.created_at,
            "model": begin.model or envelope.model,
        }
        self._head = b'data: %b,"choices":[{"index":0,"delta":' % _encode(self._opening)[:-1]
        self._head_text = self._head + b'{"content":'
        rest = b'},"logprobs":null,"finish_reason":null}]'
        self._tail = rest + (b',"usage":null}\n\n' if self._usage_asked else b"}\n\n")
        return self._delta({"role": "assistant", "content": None, "refusal": None})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self._head + _encode(delta)[:-1] + self._tail

    def _content(self, delta: dict[str, Any]) -> bytes:
        """A chunk with that delta, after the first one; nothing once a finish reason was said."""
        if self._finished:
            return b""
        return self._begin(Begin("", "")) + self._delta(delta)

    def _text(self, event: TextDelta) -> bytes:
        return self._content({"content": event.text}) if event.text else b""

    def _refusal(self, event: RefusalDelta) -> bytes:
        return self._content({"refusal": event.text}) if event.text else b""

    def _reasoning(self, event: ReasoningDelta) -> bytes:
        if not event.text:
            return b""
        gap = BREAK if self._thought and not self._block_said else ""
        detail: dict[str, Any] = {"type": "reasoning.text", "text": event.text, "index": self._block}
        if not self._block_said:
            detail["signature"] = None
        self._block_said = self._thought = True
        return self._content({"reasoning_content": gap + event.text, "reasoning_details": [detail]})

    def _reasoning_end(self, event: ReasoningEnd) -> bytes:
        carrier = carrier_of(event.kind, event.seal, event.id, self._envelope.family)
        said, index = self._block_said, self._block
        if said or carrier:
            self._block, self._block_said = index + 1, False
        if carrier is None:
            return b""
        detail: dict[str, Any] = {"type": "reasoning.text", "signature": carrier, "index": index}
        if not said:
            detail = {"type": "reasoning.encrypted", "data": carrier, "index": index}
        return self._content({"reasoning_details": [detail]})

    def _call_begin(self, event: CallBegin) -> bytes:
        if event.slot in self._calls or self._finished:
            return b""
        function, id, place = {"name": event.name, "arguments": ""}, self._ids.next(event.id), len(self._calls)
        opening: dict[str, Any] = {"function_call": function}
        if place or not self._legacy:
            entry = {"index": place - self._legacy, "id": id, "type": "function", "function": function}
            opening = {"tool_calls": [entry]}
        call = self._calls[event.slot] = _Call(place, opening)
        self._waiting.append(call)
        return self._content(opening) if self._waiting[0] is call else b""

    def _call_delta(self, event: CallDelta) -> bytes:
        call = self._calls.get(event.slot)
        if call is None or not event.fragment or call.ended or self._finished:
            return b""
        if self._waiting[0] is call:
            return self._arguments(call, event.fragment)
        call.held.append(event.fragment)
        return b""

    def _arguments(self, call: _Call, fragment: str) -> bytes:
        call.said = True
        if self._legacy and not call.place:
            return self._content({"function_call": {"arguments": fragment}})
        entry = {"index": call.place - self._legacy, "function": {"arguments": fragment}}
        return self._content({"tool_calls": [entry]})

    def _call_end(self, event: CallEnd) -> bytes:
        call = self._calls.get(event.slot)
        if call is None or call.ended or self._finished:
            return b""
        call.ended = True
        return self._take_turns()

    def _take_turns(self) -> bytes:
        """Close the open call if it has ended, and open those behind it, as far as they have come."""
        chunks = b""
        while self._waiting and self._waiting[0].ended:
            call = self._waiting.pop(0)
            if not call.said:
                chunks += self._arguments(call, "{}")  # no arguments: clients parse what they were given
            if self._waiting:
                following = self._waiting[0]
                chunks += self._content(following.opening)
                if held := "".join(following.held):
                    chunks += self._arguments(following, held)
        return chunks

    def _finish(self, event: Finished) -> bytes:
        if self._finished:
            return b""
        chunks = self._begin(Begin("", ""))
        for call in self._waiting:
            call.ended = True
        chunks += self._take_turns()
        self._finished, self._live = True, False
        choice: dict[str, Any] = {
            "index": 0,
            "delta": {},
            "logprobs": None,
            "finish_reason": reason_of(event.finish, bool(self._calls), self._legacy),
        }
        if event.stop_sequence:
            choice["stop_reason"] = event.stop_sequence
        return chunks + self._chunk([choice], None)

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        chunk = self._opening | {"choices": choices}
        if self._usage_asked:
            chunk["usage"] = usage
        return b"data: %b\n\n" % _encode(chunk)

    def _keep(self, event: Usage) -> bytes:
        self._usage = event.usage
        return b""

    def _done(self, event: Done) -> bytes:
        chunks = self._finish(Finished("stop"))
        if self._usage_asked and self._usage:
            chunks += self._chunk([], write_chat_usage(self._usage))
        self._end()
        return chunks + _DONE

    def _fail(self, event: Failed) -> bytes:
        self._end()
        self.failed = True
        error = {"message": event.message, "type": event.type, "param": None, "code": code_of(event)}
        return b"data: %b\n\n" % _encode({"error": error})

    def _end(self) -> None:
        self._over, self._live = True, False

    def _nothing(self, event: BlockEnd | Unsaid) -> bytes:
        return b""


_WRITERS: dict[type, Callable[[StreamWriter, Any], bytes]] = {
    Begin: StreamWriter._begin,
    TextDelta: StreamWriter._text,
    RefusalDelta: StreamWriter._refusal,
    ReasoningDelta: StreamWriter._reasoning,
    ReasoningEnd: StreamWriter._reasoning_end,
    BlockEnd: StreamWriter._nothing,
    CallBegin: StreamWriter._call_begin,
    CallDelta: StreamWriter._call_delta,
    CallEnd: StreamWriter._call_end,
    Usage: StreamWriter._keep,
    Finished: StreamWriter._finish,
    Failed: StreamWriter._fail,
    Done: StreamWriter._done,
    Unsaid: StreamWriter._nothing,
}
