"""A Messages stream, read into events. Total: whatever an upstream sends, nothing here raises.

Blocks of types that no other format has a word for are skipped and named once each (`Unsaid`), citations too.
"""

from collections.abc import Callable
from typing import Any

from interlock.gateway.translate.loose import failed, mapping, name, string
from interlock.gateway.translate.messages.answers import finish_of
from interlock.gateway.translate.neutral import (
    Begin,
    BlockEnd,
    CallBegin,
    CallDelta,
    CallEnd,
    Done,
    Event,
    Finished,
    ReasoningDelta,
    ReasoningEnd,
    TextDelta,
    Usage,
)
from interlock.gateway.translate.stream import Reader
from interlock.gateway.translate.taken import compact
from interlock.gateway.wire.usage import merged, messages_usage


class _Open:
    """A block that has begun. `seal`: signature or data so far; `slot`: of a call; `input`: JSON that it began with."""

    __slots__ = ("input", "kind", "said", "seal", "slot")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.seal = ""
        self.slot = -1
        self.input = "{}"
        self.said = False


class StreamReader(Reader):
    """One stream of named events. An answer is whole with its `message_stop`."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[object, _Open] = {}
        self._slots = 0
        self._usage: dict[str, Any] = {}
        self._finished = False

    def _told(self, document: dict[str, Any]) -> list[Event]:
        kind = document.get("type")
        if kind == "content_block_delta":  # nearly all of a stream
            return self._delta(document)
        reader = _READERS.get(kind) if isinstance(kind, str) else None
        if reader is not None:
            return reader(self, document)
        if document.get("error"):  # llama.cpp leaves the type out
            return self._error(document)
        return []

    def _start(self, document: dict[str, Any]) -> list[Event]:
        message = mapping(document.get("message"))
        self._usage = dict(mapping(message.get("usage")))
        kinds = messages_usage(self._usage).usage
        inputs = {kind: count for kind, count in kinds.items() if kind not in ("output", "reasoning", "web_search")}
        return [Begin(name(message.get("id")), name(message.get("model")), 0, inputs)]

    def _block_start(self, document: dict[str, Any]) -> list[Event]:
        self._things -= 1
        given = mapping(document.get("content_block"))
        block = self._blocks[_index(document)] = _Open(name(given.get("type")))
        match block.kind:
            case "text":
                text = string(given.get("text"))
                return [TextDelta(text)] if text else []
            case "thinking":
                text, block.seal = string(given.get("thinking")), string(given.get("signature"))
                return [ReasoningDelta("thinking", text)] if text else []
            case "redacted_thinking":
                block.seal = string(given.get("data"))
                return []
            case "tool_use":
                block.slot = self._slots
                self._slots += 1
                if given.get("input"):
                    block.input = compact(mapping(given["input"]))
                    self._chars -= len(block.input)
                return [CallBegin(block.slot, string(given.get("id")), string(given.get("name")))]
        return self._left_out(block.kind)

    def _delta(self, document: dict[str, Any]) -> list[Event]:
        delta = document.get("delta")
        block = self._blocks.get(_index(document))
        if type(delta) is not dict or block is None:
            return []
        kind = delta.get("type")
        if kind == "text_delta" and block.kind == "text":
            text = delta.get("text")
            return [TextDelta(text)] if type(text) is str and text else []
        if kind == "input_json_delta" and block.kind == "tool_use":
            fragment = string(delta.get("partial_json"))
            block.said = block.said or bool(fragment)
            return [CallDelta(block.slot, fragment)] if fragment else []
        if kind == "thinking_delta" and block.kind == "thinking":
            text = string(delta.get("thinking"))
            return [ReasoningDelta("thinking", text)] if text else []
        if kind == "signature_delta" and block.kind == "thinking":
            block.seal = string(delta.get("signature"))  # the SDK takes the last one as the whole, too
            self._chars -= len(block.seal)
            return []
        return self._left_out("citations") if kind == "citations_delta" else []

    def _block_stop(self, document: dict[str, Any]) -> list[Event]:
        block = self._blocks.pop(_index(document), None)
        if block is None:
            return []
        match block.kind:
            case "text":
                return [BlockEnd()]
            case "thinking":
                return [ReasoningEnd("thinking", block.seal)]
            case "redacted_thinking":
                return [ReasoningEnd("redacted", block.seal)]
            case "tool_use":
                return [*([] if block.said else [CallDelta(block.slot, block.input)]), CallEnd(block.slot)]
        return []

    def _message_delta(self, document: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        delta, usage = mapping(document.get("delta")), mapping(document.get("usage"))
        if delta.get("stop_reason") is not None and not self._finished:
            self._finished = True
            events.append(Finished(finish_of(delta["stop_reason"]), string(delta.get("stop_sequence"))))
        if usage:
            self._usage = merged(self._usage, usage)
            events.append(Usage(messages_usage(self._usage).usage))
        return events

    def _stop(self, document: dict[str, Any]) -> list[Event]:
        self._over = True
        return [Done()]

    def _error(self, document: dict[str, Any]) -> list[Event]:
        self._over = True
        return [failed(document.get("error"))]


_READERS: dict[str, Callable[[StreamReader, dict[str, Any]], list[Event]]] = {
    "message_start": StreamReader._start,
    "content_block_start": StreamReader._block_start,
    "content_block_stop": StreamReader._block_stop,
    "message_delta": StreamReader._message_delta,
    "message_stop": StreamReader._stop,
    "error": StreamReader._error,
}


def _index(document: dict[str, Any]) -> int:
    index = document.get("index")
    return index if type(index) is int else -1
