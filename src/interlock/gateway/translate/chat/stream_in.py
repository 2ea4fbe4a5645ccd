"""The chunks of a chat stream as events, from any server that calls itself compatible.

Borne with: chunks without choices, `content` null, a tool call's `index` left out or the same for all, its id and name
said again, usage anywhere and more than once, reasoning under either name, arguments as an object. Only the first
choice is read. Nothing an upstream sends can raise. It does not read bytes: a payload comes decoded.
"""

from typing import Any

from interlock.gateway.translate.chat.answer import arguments_of, finish_of, pieces, thoughts, unsaid
from interlock.gateway.translate.loose import failed, name, objects, string, whole_number
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
    RefusalDelta,
    TextDelta,
    Usage,
)
from interlock.gateway.translate.stream import Reader
from interlock.gateway.wire.usage import chat_usage


class _Call:
    """A tool call; `slot` None until its name is known, `early` what came of its arguments before."""

    __slots__ = ("early", "id", "slot")

    def __init__(self, id: str) -> None:
        self.id = id
        self.slot: int | None = None
        self.early: list[str] = []


class StreamReader(Reader):
    """One stream of chunks."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = self._finished = False
        self._open = ""  # text, refusal, plain (reasoning) or nothing
        self._calls: list[_Call] = []
        self._by_index: dict[int | str, _Call] = {}
        self._slots = 0
        self._usage: dict[str, int] = {}

    def _told(self, document: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        if document.get("error"):
            return self._failed(document["error"])
        if not self._begun:
            self._begun = True
            created = whole_number(document.get("created"))
            events.append(Begin(name(document.get("id")), name(document.get("model")), created))
        choices = document.get("choices")
        if choices and not self._finished:
            for choice in objects(choices):
                if not choice.get("index"):
                    self._choice(choice, events)
                    break
        if usage := document.get("usage"):
            # some servers report it with every chunk: the last figures are the final ones
            self._usage = chat_usage(usage).usage or self._usage
        return events

    def done(self) -> list[Event]:
        """`[DONE]` came: the answer is complete, even where no finish reason was said."""
        events: list[Event] = []
        if self._begun and not self._over and not self._finished:
            self._finish({}, events)
        return events + self.end()

    def end(self) -> list[Event]:
        """The body is over: Done, if the answer was complete."""
        if self._over:
            return []
        self._over = True
        if not self._finished:
            return []
        return [Usage(self._usage), Done()] if self._usage else [Done()]

    def _choice(self, choice: dict[str, Any], events: list[Event]) -> None:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            text = delta.get("content")
            if text and self._open == "text" and len(delta) == 1 and type(text) is str:
                events.append(TextDelta(text))  # nearly every chunk
            else:
                self._delta(delta, events)
        reason = choice.get("finish_reason")
        if reason == "error":
            events += self._failed(choice.get("error"))
        elif reason:
            self._finish(choice, events)

    def _delta(self, delta: dict[str, Any], events: list[Event]) -> None:
        if text := thoughts(delta):
            self._say("plain", ReasoningDelta("plain", text), events)
        for kind, text in pieces(delta.get("content")):
            if not kind:
                events += self._left_out(text)
            elif kind == "thinking":
                self._say("plain", ReasoningDelta("plain", text), events)
            else:
                self._say("text", TextDelta(text), events)
        if refusal := string(delta.get("refusal")):
            self._say("refusal", RefusalDelta(refusal), events)
        for call in objects(delta.get("tool_calls")):
            self._fragment(call, events)
        if isinstance(function := delta.get("function_call"), dict):
            self._fragment({"index": "function_call", "function": function}, events)
        for left_out in unsaid(delta):
            events += self._left_out(left_out)

    def _say(self, kind: str, event: Event, events: list[Event]) -> None:
        if self._open != kind:
            self._close(events)
            self._open = kind
        events.append(event)

    def _close(self, events: list[Event]) -> None:
        if self._open:
            events.append(ReasoningEnd("plain") if self._open == "plain" else BlockEnd())
        self._open = ""

    def _fragment(self, call: dict[str, Any], events: list[Event]) -> None:
        function = call.get("function")
        if not isinstance(function, dict):
            if call.get("type") not in (None, "function"):
                events += self._left_out(call.get("type"))
            return
        called, arguments = string(function.get("name")), arguments_of(function.get("arguments"))
        held = self._which(call.get("index"), string(call.get("id")), called)
        if held.slot is None:
            if not called:
                self._chars -= len(arguments)  # once now, once when they are told: bounded all the same
                held.early.append(arguments)
                return
            self._close(events)
            held.slot = self._slots
            self._slots += 1
            events.append(CallBegin(held.slot, held.id, called))
            arguments = "".join([*held.early, arguments])
        if arguments:
            events.append(CallDelta(held.slot, arguments))

    def _which(self, index: object, id: str, called: str) -> _Call:
        """The call that a fragment belongs to: by its index; where that cannot be, a new id with a name begins one."""
        key = index if isinstance(index, int | str) else None
        held = self._by_index.get(key) if key is not None else self._calls[-1] if self._calls else None
        if held is None or (id and called and held.slot is not None and id != held.id):
            self._things -= 1
            held = _Call(id)
            self._calls.append(held)
        if key is not None:
            self._by_index[key] = held
        held.id = held.id or id
        return held

    def _finish(self, choice: dict[str, Any], events: list[Event]) -> None:
        self._close(events)
        self._finished = True
        for call in self._calls:
            if call.slot is None:
                events += self._left_out("tool_call")  # it never said which function
            else:
                events.append(CallEnd(call.slot))
        events.append(Finished(*finish_of(choice, self._slots > 0)))

    def _failed(self, error: object) -> list[Event]:
        self._over = True
        return [failed(error)]
