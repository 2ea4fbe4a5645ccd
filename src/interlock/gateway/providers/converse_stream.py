"""The events of Bedrock's ConverseStream as Messages events.

Converse counts tokens in its last event, after the stop reason, so `message_delta` waits for it. It numbers blocks, but
does not announce text and reasoning, and may leave numbers out: blocks are opened and numbered anew here. An answer
that ends early stays without its end.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec

from interlock.gateway.providers.converse_answer import (
    MALFORMED,
    Camel,
    Count,
    Stop,
    ToolUse,
    Union,
    Usage,
    called_tool,
    ended,
    figures_of,
    invalid,
    malformed,
)

T = TypeVar("T", bound=msgspec.Struct)


class _BlockStart(Camel, frozen=True):
    tool_use: ToolUse | None = None


class _Start(Camel, frozen=True):
    content_block_index: Count
    start: _BlockStart = _BlockStart()


class _Fragment(Camel, frozen=True):
    input: str


class _Reasoning(Union, frozen=True):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _Content(Union, frozen=True):
    text: str | None = None
    tool_use: _Fragment | None = None
    reasoning_content: _Reasoning | None = None


class _Delta(Camel, frozen=True):
    content_block_index: Count
    delta: _Content


class _End(Camel, frozen=True):
    content_block_index: Count


class _Metadata(Camel, frozen=True):
    usage: Usage | None = None


_Kind = Literal["text", "thinking", "redacted_thinking", "tool_use"]
_EMPTY: dict[_Kind, dict[str, Any]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}


class ConverseStream:
    """One stream: `event` takes Converse's events, in order."""

    def __init__(self, id: str, model: str, input_estimate: int) -> None:
        """input_estimate: tokens, for `message_start`."""
        self._message = {"id": id, "type": "message", "role": "assistant", "model": model, "content": []}
        self._input_estimate = input_estimate
        self._begun = self._called = self._done = False
        self._kind: _Kind | None = None  # of the open block
        self._theirs = -1  # Converse's number of the open block, or the highest so far
        self._ours = 0  # our number of the open block, or the next one's
        self._redacted: list[bytes] = []
        self._stop: Stop | None = None
        self._usage: Usage | None = None
        self._readers: dict[str, Callable[[bytes], bytes]] = {
            "contentBlockStart": _reading(_Start, self._started),
            "contentBlockDelta": _reading(_Delta, self._grown),
            "contentBlockStop": _reading(_End, self._ended),
            "messageStop": _reading(Stop, self._stopped),
            "metadata": _reading(_Metadata, self._counted),
        }

    def event(self, kind: str, payload: bytes) -> bytes:
        """The Messages events for one event of type `kind`; a type that is not known says nothing.

        Raises: RemoteError: `upstream_invalid`.
        """
        if self._done:
            return b""
        if kind == "messageStart":
            return self._begin()
        reader = self._readers.get(kind)
        if reader is None:
            return b""
        if not self._begun:
            raise invalid(f"{kind} before messageStart")
        try:
            return reader(payload)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise invalid(f"{kind} in a shape that is not Converse's") from error

    def _begin(self) -> bytes:
        if self._begun:
            raise invalid("messageStart twice")
        self._begun = True
        usage = {"input_tokens": self._input_estimate, "output_tokens": 0}
        message = self._message | {"stop_reason": None, "stop_sequence": None, "usage": usage}
        return _sse("message_start", message=message)

    def _started(self, event: _Start) -> bytes:
        if not event.start.tool_use:
            return b""  # text opens with its first delta, as everywhere
        self._called = True
        return self._open("tool_use", event.content_block_index, called_tool(event.start.tool_use))

    def _grown(self, event: _Delta) -> bytes:
        at, delta = event.content_block_index, event.delta
        if delta.tool_use:
            if (self._kind, self._theirs) != ("tool_use", at):
                raise invalid("a tool call's arguments outside of the call")
            return self._said("input_json_delta", partial_json=delta.tool_use.input)
        if delta.text is not None:
            return self._opened("text", at) + self._said("text_delta", text=delta.text)
        reasoning = delta.reasoning_content
        if reasoning and reasoning.redacted_content is not None:
            return self._hidden(at, reasoning.redacted_content)
        if reasoning and reasoning.text is not None:
            return self._opened("thinking", at) + self._said("thinking_delta", thinking=reasoning.text)
        if reasoning and reasoning.signature is not None:
            return self._opened("thinking", at) + self._said("signature_delta", signature=reasoning.signature)
        raise invalid("an empty delta")

    def _hidden(self, at: int, data: str) -> bytes:
        """Messages has a redacted block in one piece: its opening waits for its end."""
        out = self._opened("redacted_thinking", at)
        try:
            self._redacted.append(base64.b64decode(data, validate=True))
        except (binascii.Error, ValueError) as error:
            raise invalid("redacted reasoning that is not base64") from error
        return out

    def _ended(self, event: _End) -> bytes:
        return self._close() if event.content_block_index == self._theirs else b""

    def _stopped(self, stop: Stop) -> bytes:
        self._stop = stop
        return self._close() + self._finished()

    def _counted(self, metadata: _Metadata) -> bytes:
        self._usage = metadata.usage or self._usage
        return self._finished()

    def _finished(self) -> bytes:
        if not self._stop or not self._usage:
            return b""
        self._done = True
        usage = figures_of(self._usage)
        if self._stop.stop_reason in MALFORMED:  # it is paid for all the same
            unsaid = {"stop_reason": None, "stop_sequence": None}
            error = malformed(self._stop.stop_reason)["error"]
            return _sse("message_delta", delta=unsaid, usage=usage) + _sse("error", error=error)
        return _sse("message_delta", delta=ended(self._stop, self._called), usage=usage) + _sse("message_stop")

    def _opened(self, kind: _Kind, at: int) -> bytes:
        """The block that a delta belongs to, opened if it is not open."""
        return b"" if (self._kind, self._theirs) == (kind, at) else self._open(kind, at, _EMPTY.get(kind))

    def _open(self, kind: _Kind, at: int, block: dict[str, Any] | None) -> bytes:
        """Close what is open, and begin a block; `block` None: its beginning is said at its end."""
        if self._stop or at < self._theirs or (at == self._theirs and not self._kind):
            raise invalid("content of a block that is over")
        closed = self._close()
        self._kind, self._theirs = kind, at
        return closed + (_sse("content_block_start", index=self._ours, content_block=block) if block else b"")

    def _close(self) -> bytes:
        if not self._kind:
            return b""
        start = b""
        if self._kind == "redacted_thinking":
            block = {"type": self._kind, "data": base64.b64encode(b"".join(self._redacted)).decode()}
            start = _sse("content_block_start", index=self._ours, content_block=block)
            self._redacted.clear()
        stop = _sse("content_block_stop", index=self._ours)
        self._kind = None
        self._ours += 1
        return start + stop

    def _said(self, type: str, **content: str) -> bytes:
        return _sse("content_block_delta", index=self._ours, delta={"type": type, **content})


def _reading(type: type[T], then: Callable[[T], bytes]) -> Callable[[bytes], bytes]:
    decoder = msgspec.json.Decoder(type)
    return lambda payload: then(decoder.decode(payload))


def _sse(type: str, **members: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (type.encode(), msgspec.json.encode({"type": type, **members}))
