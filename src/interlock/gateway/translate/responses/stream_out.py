"""Events as a Responses stream: named server-sent events, numbered from 0, no `[DONE]`.

Items are numbered as they begin. A message or reasoning item ends before another item begins; calls may stay open side
by side, as the format allows (SDKs find an item by its `output_index`). Only the last item can be `incomplete`, so an
item that ended waits with its `done` until the next begins or the answer ends. All text is kept until then: the format
repeats it whole in its `done` events and again in `response.completed`.
"""

from collections.abc import Callable
from typing import Any

import msgspec

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
    Finish,
    Finished,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    TextDelta,
    Usage,
)
from interlock.gateway.translate.reasoning import Kind
from interlock.gateway.translate.responses import answer_out as out

_encode = msgspec.json.Encoder().encode
_DELTAS = {
    "output_text": "response.output_text",
    "refusal": "response.refusal",
    "summary": "response.reasoning_summary_text",
    "call": "response.function_call_arguments",
}
_ERROR_CODES = frozenset({"server_error", "rate_limit_exceeded", "invalid_prompt"})


class _Stream:
    """One run of deltas: a text, a refusal, a summary or a call's arguments. Its bytes around a delta are made once."""

    __slots__ = ("_head", "_tail", "kind", "pieces", "place")

    def __init__(self, kind: str, place: dict[str, Any]) -> None:
        name = _DELTAS[kind] + ".delta"
        self.kind, self.place = kind, place
        self.pieces: list[str] = []
        self._head = b'event: %b\ndata: {"type":"%b",%b,"delta":' % (name.encode(), name.encode(), _encode(place)[1:-1])
        self._tail = b',"logprobs":[],"sequence_number":' if kind == "output_text" else b',"sequence_number":'

    def delta(self, text: str, number: int) -> bytes:
        self.pieces.append(text)
        return b"%b%b%b%d}\n\n" % (self._head, _encode(text), self._tail, number)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class _Item:
    """An output item that is not finished; `thinks` is the kind of a reasoning item."""

    __slots__ = ("content", "id", "index", "stream", "thinks")

    def __init__(self, id: str, index: int, thinks: Kind | None = None) -> None:
        self.id, self.index = id, index
        self.thinks = thinks
        self.stream: _Stream | None = None
        self.content: list[dict[str, Any]] = []

    @property
    def place(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.index}


class _Call(_Item):
    __slots__ = ("call_id", "ended", "name")

    def __init__(self, id: str, index: int, call_id: str, name: str) -> None:
        super().__init__(id, index)
        self.call_id, self.name = call_id, name
        self.ended = False


class StreamWriter:
    """Writes one stream. `failed`: it ended in an error."""

    def __init__(self, envelope: Envelope) -> None:
        self.failed = False
        self._envelope = envelope
        self._number = 0
        self._frame: dict[str, Any] = {}  # empty: not begun
        self._text: _Stream | None = None  # of the open message, where more text can come at once
        self._block: _Item | None = None  # the open message or reasoning item
        self._calls: dict[int, _Call] = {}  # those not finished, by slot
        self._slots: set[int] = set()
        self._ids = CallIds(envelope.key, "responses")
        self._waiting: int | None = None  # slot of a call that ended and is the last item so far
        self._output: list[dict[str, Any]] = []  # finished items; an open one has its place
        self._finish: Finish = "stop"
        self._usage: dict[str, int] = {}
        self._over = False
        self._out: list[bytes] = []

    def write(self, event: Event) -> bytes:
        """The bytes for one event, maybe none; after Done or Failed always none."""
        if type(event) is TextDelta and self._text is not None and event.text:
            number = self._number
            self._number = number + 1
            return self._text.delta(event.text, number)
        if self._over:
            return b""
        if not self._frame:
            self._begin(event if isinstance(event, Begin) else Begin("", ""))
        if handler := _HANDLERS.get(type(event)):
            handler(self, event)
        written = b"".join(self._out)
        self._out.clear()
        return written

    def _begin(self, event: Begin) -> None:
        self._frame = out.frame(self._envelope, event.id, event.model, event.created_at)
        self._emit("response.created", response=self._frame)
        self._emit("response.in_progress", response=self._frame)

    def _delta(self, event: TextDelta | RefusalDelta) -> None:
        if not event.text:
            return
        kind = "output_text" if isinstance(event, TextDelta) else "refusal"
        block = self._block
        if block is None or block.thinks:
            index = self._room()
            block = self._block = _Item(out.message_id(self._envelope.key, index), index)
            self._added(index, out.message_item(block.id, [], "in_progress"))
        if block.stream is None or block.stream.kind != kind:
            self._end_part()
            place = block.place | {"content_index": len(block.content)}
            block.stream = _Stream(kind, place)
            self._emit("response.content_part.added", **place, part=out.content_part(kind, ""))
            self._text = block.stream if kind == "output_text" else None
        self._fragment(block.stream, event.text)

    def _end_part(self, _: BlockEnd | None = None) -> None:
        block = self._block
        if block is None or block.thinks or block.stream is None:
            return
        stream, self._text, block.stream = block.stream, None, None
        part = out.content_part(stream.kind, stream.text)
        if stream.kind == "output_text":
            self._emit("response.output_text.done", **stream.place, text=stream.text, logprobs=[])
        else:
            self._emit("response.refusal.done", **stream.place, refusal=stream.text)
        self._emit("response.content_part.done", **stream.place, part=part)
        block.content.append(part)

    def _thinks(self, event: ReasoningDelta) -> None:
        if not event.text:
            return
        block = self._reasoning(event.kind)
        if block.stream is None:
            place = block.place | {"summary_index": 0}
            block.stream = _Stream("summary", place)
            self._emit("response.reasoning_summary_part.added", **place, part=out.summary_part(""))
        self._fragment(block.stream, event.text)

    def _thought(self, event: ReasoningEnd) -> None:
        block = self._reasoning(event.kind)
        self._end_reasoning(block, out.encrypted(event.kind, event.seal, event.id, self._envelope))

    def _reasoning(self, kind: Kind) -> _Item:
        if self._block is None or not self._block.thinks:
            index = self._room()
            self._block = _Item(out.reasoning_id(self._envelope.key, index), index, kind)
            self._added(index, out.reasoning_item(self._block.id, "", ""))
        return self._block

    def _end_reasoning(self, block: _Item, seal: str) -> None:
        text = ""
        if (stream := block.stream) is not None:
            text = stream.text
            self._emit("response.reasoning_summary_text.done", **stream.place, text=text)
            self._emit("response.reasoning_summary_part.done", **stream.place, part=out.summary_part(text))
        self._block = None
        self._done(block.index, out.reasoning_item(block.id, text, seal))

    def _call(self, event: CallBegin) -> None:
        if event.slot in self._slots:
            return
        index, key = self._room(), self._envelope.key
        id = self._ids.next(event.id)
        call = _Call(out.call_item_id(key, index), index, id, event.name)
        call.stream = _Stream("call", call.place)
        self._slots.add(event.slot)
        self._calls[event.slot] = call
        self._added(index, out.call_item(call.id, call.call_id, call.name, "", "in_progress"))

    def _argument(self, event: CallDelta) -> None:
        call = self._calls.get(event.slot)
        if call and call.stream and not call.ended and event.fragment:
            self._fragment(call.stream, event.fragment)

    def _called(self, event: CallEnd) -> None:
        call = self._calls.get(event.slot)
        if call is None or call.ended:
            return
        call.ended = True
        if call.index == len(self._output) - 1:
            self._waiting = event.slot
        else:
            self._end_call(event.slot, "completed")

    def _end_call(self, slot: int, status: str) -> None:
        call = self._calls.pop(slot)
        assert call.stream is not None  # every call has one from its beginning
        if not call.stream.pieces:
            self._fragment(call.stream, "{}")
        arguments = call.stream.text
        self._emit("response.function_call_arguments.done", **call.place, name=call.name, arguments=arguments)
        self._done(call.index, out.call_item(call.id, call.call_id, call.name, arguments, status))

    def _room(self) -> int:
        """Finish what only waited for another item to begin; the index of that one."""
        self._end_block("completed")
        if self._waiting is not None:
            self._end_call(self._waiting, "completed")
            self._waiting = None
        self._output.append({})
        return len(self._output) - 1

    def _end_block(self, status: str) -> None:
        block = self._block
        if block is None:
            return
        if block.thinks:
            self._end_reasoning(block, out.encrypted(block.thinks, "", "", self._envelope))
            return
        self._end_part()
        self._block = None
        self._done(block.index, out.message_item(block.id, block.content, status))

    def _finished(self, event: Finished) -> None:
        self._finish = event.finish

    def _figures(self, event: Usage) -> None:
        self._usage = event.usage

    def _complete(self, _: Done) -> None:
        status, last = out.status_of(self._finish), len(self._output) - 1
        for slot, call in list(self._calls.items()):
            self._end_call(slot, status if call.index == last else "completed")
        self._end_block(status)  # it is the last item: a call would have ended it
        response = out.finished(self._frame, self._output, self._finish, self._usage)
        self._emit(f"response.{status}", response=response)
        self._over = True

    def _failed(self, event: Failed) -> None:
        code = event.type if event.type in _ERROR_CODES else "server_error"
        if event.status == 429:
            code = "rate_limit_exceeded"
        error = {"code": code, "message": event.message, "type": event.type or None}
        output = [item for item in self._output if item]
        self._emit("response.failed", response=self._frame | {"status": "failed", "error": error, "output": output})
        self._over = self.failed = True
        self._text = None

    def _added(self, index: int, item: dict[str, Any]) -> None:
        self._emit("response.output_item.added", output_index=index, item=item)

    def _done(self, index: int, item: dict[str, Any]) -> None:
        self._output[index] = item
        self._emit("response.output_item.done", output_index=index, item=item)

    def _fragment(self, stream: _Stream, text: str) -> None:
        self._out.append(stream.delta(text, self._number))
        self._number += 1

    def _emit(self, kind: str, **content: Any) -> None:
        document = {"type": kind, **content, "sequence_number": self._number}
        self._number += 1
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode(document)))


_HANDLERS: dict[type, Callable[[StreamWriter, Any], None]] = {
    TextDelta: StreamWriter._delta,
    RefusalDelta: StreamWriter._delta,
    BlockEnd: StreamWriter._end_part,
    ReasoningDelta: StreamWriter._thinks,
    ReasoningEnd: StreamWriter._thought,
    CallBegin: StreamWriter._call,
    CallDelta: StreamWriter._argument,
    CallEnd: StreamWriter._called,
    Finished: StreamWriter._finished,
    Usage: StreamWriter._figures,
    Done: StreamWriter._complete,
    Failed: StreamWriter._failed,
}
