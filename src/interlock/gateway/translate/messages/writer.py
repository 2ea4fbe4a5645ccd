"""A Messages stream, written from events in any order.

Blocks of a Messages stream never overlap, events may: calls interleave, and text may come between their fragments. So
blocks queue in the order they began: the first is live, the others wait until all before them have ended, and where
nobody says that a call ended (chat) that is the answer's end. The final figures may follow the finish: `message_delta`
is held until `Done`.

Anthropic's SDK raises on arguments that cannot be JSON, and its users run tools on what was read of those that stop
early. So a call that is no JSON object ends the stream in an error, unless the answer was cut off within it.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from interlock.errors import RemoteError
from interlock.gateway.translate.ids import CallIds
from interlock.gateway.translate.messages.answers import (
    completed,
    input_of,
    is_cut,
    settled_finish,
    signature_of,
    stop_of,
)
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
    Usage,
    code_of,
)
from interlock.gateway.translate.stream import CHARS_MAX
from interlock.gateway.translate.usage import write_messages_usage
from interlock.gateway.wire.errors import error_event

_encode = msgspec.json.Encoder().encode
_START = b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
_TEXT = b'{"type":"text_delta","text":'
_THINKING = b'{"type":"thinking_delta","thinking":'
_DELTAS = {
    "text": _TEXT,
    "refusal": _TEXT,
    "thinking": _THINKING,
    "item": _THINKING,
    "plain": _THINKING,
    "call": b'{"type":"input_json_delta","partial_json":',
}


class _Block:
    """A block from its beginning to its `content_block_stop`.

    `kind`: of the event that began it. `opening`: its `content_block`, JSON. `waiting`: deltas, JSON, not yet written.
    `arguments`: of a call, all fragments; `judged`: they are one JSON object. `ended`: nothing will be added.
    """

    __slots__ = ("arguments", "ended", "judged", "kind", "opening", "waiting")

    def __init__(self, kind: str, opening: dict[str, Any]) -> None:
        self.kind = kind
        self.opening = _encode(opening)
        self.waiting: list[bytes] = []
        self.arguments: list[str] = []
        self.ended = self.judged = False


class StreamWriter:
    """Server-sent events of one stream. `failed`: it ended in an error, told by an event or found here."""

    def __init__(self, envelope: Envelope) -> None:
        self.failed = False
        self._envelope = envelope
        self._blocks: deque[_Block] = deque()
        self._open: _Block | None = None  # the text or reasoning that goes on; perhaps not live yet
        self._calls: dict[int, _Block] = {}
        self._slots = 0
        self._ids = CallIds(envelope.key, "messages")
        self._index = -1  # of the live block
        self._live: _Block | None = None
        self._fast: bytes | None = None  # what stands before a text delta's string, while one is live and open
        self._usage: dict[str, int] = {}
        self._finish: Finished | None = None
        self._chars = self._held = 0
        self._refused = self._started = self._over = False
        self._out: list[bytes] = []

    def write(self, event: Event) -> bytes:
        """The bytes that an event adds; none after `Done` or `Failed`."""
        kind = type(event)
        if kind is TextDelta and self._fast is not None:
            text = event.text  # type: ignore[union-attr]  # told apart by `kind`, which is faster
            self._chars += len(text)
            return b"%b%b}}\n\n" % (self._fast, _encode(text)) if text else b""
        handler = _HANDLERS.get(kind)
        if self._over or handler is None:
            return b""
        try:
            if kind is not Failed and not self._started:
                self._start(event if isinstance(event, Begin) else Begin("", ""))
            handler(self, event)
            if self._held > CHARS_MAX:
                raise RemoteError("the upstream's tool calls are too long", code="upstream_invalid")
        except RemoteError as error:
            self._error(error.status, error.code, error.message)
        live = self._live
        going_on = live is not None and live.kind == "text" and not self._over
        self._fast = self._head() + _TEXT if going_on else None
        out, self._out = self._out, []
        return b"".join(out)

    # what each event does

    def _start(self, begin: Begin) -> None:
        self._started = True
        self._usage = dict(begin.usage)
        usage = write_messages_usage({**completed(begin.usage, self._envelope, 0), "output": 1})
        message: dict[str, Any] = {
            "id": begin.id or f"msg_{self._envelope.key}",
            "type": "message",
            "role": "assistant",
            "model": begin.model or self._envelope.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        self._emit("message_start", {"type": "message_start", "message": message})

    def _begun(self, event: Begin) -> None:
        pass  # `write` starts the message at whichever event is first

    def _text(self, event: TextDelta) -> None:
        self._say("text", event.text)

    def _refusal(self, event: RefusalDelta) -> None:
        self._refused = self._refused or bool(event.text)
        self._say("refusal", event.text)

    def _reasoning(self, event: ReasoningDelta) -> None:
        self._say(event.kind, event.text)

    def _reasoning_end(self, event: ReasoningEnd) -> None:
        if event.kind == "redacted":
            self._end_open()
            self._begin("redacted", {"type": "redacted_thinking", "data": event.seal}).ended = True
            self._advance()
            return
        if self._open is None or self._open.kind != event.kind:
            self._begin_open(event.kind)
        self._end_open(event.seal, event.id)

    def _block_end(self, event: BlockEnd) -> None:
        if self._open is not None and self._open.kind in ("text", "refusal"):
            self._end_open()

    def _call_begin(self, event: CallBegin) -> None:
        self._end_open()
        self._end_call(self._calls.pop(event.slot, None))
        id = self._ids.next(event.id)
        self._slots += 1
        opening = {"type": "tool_use", "id": id, "name": event.name, "input": {}}
        self._calls[event.slot] = self._begin("call", opening)

    def _call_delta(self, event: CallDelta) -> None:
        block = self._calls.get(event.slot)
        if block is None:
            return
        self._chars += len(event.fragment)
        fragment = event.fragment if block.arguments else event.fragment.lstrip()
        if not fragment:
            return
        if not block.arguments and fragment[0] != "{" and not self._envelope.raw_arguments:
            raise RemoteError("arguments of a tool call are not a JSON object", code="upstream_invalid")
        block.arguments.append(fragment)
        self._held += len(fragment)
        self._add(block, fragment)

    def _call_end(self, event: CallEnd) -> None:
        self._end_call(self._calls.pop(event.slot, None))

    def _finished(self, event: Finished) -> None:
        self._finish = event
        self._end_all()

    def _figures(self, event: Usage) -> None:
        self._usage |= event.usage

    def _done(self, event: Done) -> None:
        self._finish = self._finish or Finished("stop")
        self._end_all()
        finish = settled_finish(self._finish.finish, called=self._slots > 0, refused=self._refused)
        usage = write_messages_usage(completed(self._usage, self._envelope, self._chars))
        delta = stop_of(finish, self._finish.stop_sequence)
        self._emit("message_delta", {"type": "message_delta", "delta": delta, "usage": usage})
        self._emit("message_stop", {"type": "message_stop"})
        self._over = True

    def _failed(self, event: Failed) -> None:
        self._error(event.status, code_of(event), event.message)

    def _error(self, status: int, code: str, message: str) -> None:
        self._over = self.failed = True
        self._out.append(
            error_event("messages", status=status, code=code, message=message, request_id=self._envelope.key)
        )

    # blocks, in the order they began

    def _say(self, kind: str, text: str) -> None:
        """More of a text or of reasoning."""
        if not text:
            return
        self._chars += len(text)
        block = self._open
        if block is None or block.kind != kind:
            block = self._begin_open(kind)
        self._add(block, text)

    def _begin_open(self, kind: str) -> _Block:
        self._end_open()
        thinks = _DELTAS[kind] is _THINKING
        opening = {"type": "thinking", "thinking": "", "signature": ""} if thinks else {"type": "text", "text": ""}
        self._open = self._begin(kind, opening)
        return self._open

    def _begin(self, kind: str, opening: dict[str, Any]) -> _Block:
        block = _Block(kind, opening)
        self._blocks.append(block)
        self._advance()
        return block

    def _end_open(self, seal: str = "", id: str = "") -> None:
        """End the open text or reasoning, if there is one; reasoning with its signature."""
        block, self._open = self._open, None
        if block is None:
            return
        if _DELTAS[block.kind] is _THINKING:
            signature = signature_of(block.kind, seal, id, self._envelope.family)
            if signature:
                self._add_delta(block, _encode({"type": "signature_delta", "signature": signature}))
        block.ended = True
        self._advance()

    def _end_call(self, block: _Block | None) -> None:
        if block is None:
            return
        if not block.arguments:  # some clients parse what the fragments add up to
            block.arguments.append("{}")
            self._add(block, "{}")
        block.ended = True
        self._advance()

    def _end_all(self) -> None:
        self._end_open()
        calls, self._calls = self._calls, {}
        for block in calls.values():
            self._end_call(block)
        self._advance()

    def _add(self, block: _Block, text: str) -> None:
        self._add_delta(block, b"%b%b}" % (_DELTAS[block.kind], _encode(text)))

    def _add_delta(self, block: _Block, delta: bytes) -> None:
        if block is self._live:
            self._out.append(b"%b%b}\n\n" % (self._head(), delta))
        else:
            self._held += len(delta)
            block.waiting.append(delta)

    def _head(self) -> bytes:
        return _DELTA % self._index

    def _advance(self) -> None:
        """Write the first block, and while it has ended, the next."""
        while self._blocks:
            block = self._blocks[0]
            if block is not self._live:
                self._live = block
                self._index += 1
                self._out.append(_START % (self._index, block.opening))
                self._out += [b"%b%b}\n\n" % (self._head(), delta) for delta in block.waiting]
                block.waiting = []
            if not block.ended or (block.kind == "call" and not self._is_whole(block)):
                return
            self._blocks.popleft()
            self._live = None
            self._emit("content_block_stop", {"type": "content_block_stop", "index": self._index})

    def _is_whole(self, call: _Block) -> bool:
        """Whether a call that has ended may be closed; not yet, where only the finish can tell if it was cut off."""
        if call.judged or self._envelope.raw_arguments:
            return True
        arguments = "".join(call.arguments)
        try:
            input_of(arguments, cut=False)
        except RemoteError:
            last = len(self._blocks) == 1
            if last and self._finish is None:
                return False
            if not (last and self._finish is not None and is_cut(self._finish.finish)):
                raise
            input_of(arguments, cut=True)
        call.judged = True
        return True

    def _emit(self, name: str, payload: dict[str, Any]) -> None:
        self._out.append(b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(payload)))


_HANDLERS: dict[type, Callable[[StreamWriter, Any], None]] = {
    Begin: StreamWriter._begun,
    TextDelta: StreamWriter._text,
    RefusalDelta: StreamWriter._refusal,
    ReasoningDelta: StreamWriter._reasoning,
    ReasoningEnd: StreamWriter._reasoning_end,
    BlockEnd: StreamWriter._block_end,
    CallBegin: StreamWriter._call_begin,
    CallDelta: StreamWriter._call_delta,
    CallEnd: StreamWriter._call_end,
    Usage: StreamWriter._figures,
    Finished: StreamWriter._finished,
    Done: StreamWriter._done,
    Failed: StreamWriter._failed,
}
