"""A Responses stream as events.

Total: nothing raises, and what servers leave out is made up for: indexes (llama.cpp has none), deltas (the `done`
events say it all), `done` events, the items themselves (the last event has them). An item that overlaps another in a
way that neutral streams do not know is told as two.
"""

from collections.abc import Callable
from typing import Any

from interlock.gateway.translate.loose import failed, mapping, name, objects, string, whole_number
from interlock.gateway.translate.neutral import (
    Begin,
    BlockEnd,
    CallBegin,
    CallDelta,
    CallEnd,
    Done,
    Event,
    Finished,
    Reasoning,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    TextDelta,
    ToolCall,
    Usage,
)
from interlock.gateway.translate.reasoning import BREAK
from interlock.gateway.translate.responses.answer_in import content_of, finish_of, parts_of, prose_of, unsaid_of
from interlock.gateway.translate.stream import Reader
from interlock.gateway.wire.usage import responses_usage


class _Item:
    """An output item, as far as it was told."""

    __slots__ = ("begun", "ended", "id", "parts", "placed", "said", "slot")

    def __init__(self, id: str = "") -> None:
        self.id = id
        self.slot = -1  # of a call that was told
        self.parts = 0  # content parts that were added
        self.said: set[object] = set()  # what of it was told: (kind, index) of texts
        self.begun = self.ended = False  # of a call: its arguments
        self.placed = False  # it has an index, so that its id says nothing more


class StreamReader(Reader):
    """Reads one stream."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = False
        self._items: dict[int | str, _Item] = {}
        self._last: _Item | None = None
        self._open: tuple[_Item, str, int] | None = None  # the text, refusal or reasoning that deltas belong to
        self._mark: tuple[Any, Any, Any] | None = None  # how the deltas of an open text name it
        self._calls: list[_Item] = []
        self._out: list[Event] = []

    def _told(self, document: dict[str, Any]) -> list[Event]:
        kind = document.get("type")
        if kind == "response.output_text.delta" and self._mark is not None:
            place = (document.get("output_index"), document.get("item_id"), document.get("content_index"))
            delta = document.get("delta")
            if place == self._mark and type(delta) is str and delta:
                return [TextDelta(delta)]
        handler = _HANDLERS.get(kind) if type(kind) is str else None
        if handler is not None:
            if not self._begun and handler is not StreamReader._error:
                self._begin(document.get("response"))
            handler(self, document)
        elif kind is None and document.get("error"):
            self._error(document)
        told, self._out = self._out, []
        return told

    def done(self) -> list[Event]:
        """`[DONE]`, which some servers send: the end is in `response.completed`, which may yet come."""
        return []

    def _begin(self, response: object) -> None:
        said = mapping(response)
        self._begun = True
        self._out.append(Begin(name(said.get("id")), name(said.get("model")), whole_number(said.get("created_at"))))

    def _nothing(self, _: dict[str, Any]) -> None:
        """It says nothing beyond that the answer begins."""

    def _item(self, document: dict[str, Any], *, new: bool = False) -> _Item:
        """The item that an event is about: by index, by id, else the last unless it is `new`."""
        index, inner = document.get("output_index"), document.get("item")
        if type(index) is int and inner is None and (known := self._items.get(index)) is not None:
            return known  # as nearly always
        id = string(inner.get("id") if isinstance(inner, dict) else document.get("item_id"))
        item = self._items.get(id) if id else None
        if type(index) is int:
            item = self._items.get(index, None if item is None or item.placed else item)
        elif not id and not new and self._last is not None and not self._last.ended:
            item = self._last
        if item is None:
            item = _Item(id)
        if type(index) is int:
            item.placed = True
            self._know(index, item)
        if id:
            self._know(id, item)
        self._last = item
        return item

    def _know(self, place: int | str, item: _Item) -> None:
        self._things -= place not in self._items
        self._items[place] = item

    def _mark_said(self, item: _Item, part: tuple[str, int]) -> None:
        self._things -= part not in item.said
        item.said.add(part)

    def _added(self, document: dict[str, Any]) -> None:
        inner = document.get("item")
        if not isinstance(inner, dict):
            return
        item = self._item(document, new=True)
        called = string(inner.get("name"))
        if inner.get("type") == "function_call" and called and item.slot < 0 and not item.ended:
            self._call(item, string(inner.get("call_id")) or string(inner.get("id")), called)

    def _call(self, item: _Item, id: str, called: str) -> None:
        self._close()
        item.slot = len(self._calls)
        self._calls.append(item)
        self._out.append(CallBegin(item.slot, id, called))

    def _part_added(self, document: dict[str, Any]) -> None:
        self._item(document).parts += 1

    def _text(self, document: dict[str, Any]) -> None:
        self._say(document, "output_text", string(document.get("delta")))

    def _refusal(self, document: dict[str, Any]) -> None:
        self._say(document, "refusal", string(document.get("delta")))

    def _text_done(self, document: dict[str, Any]) -> None:
        self._say_rest(document, "output_text", string(document.get("text")))

    def _refusal_done(self, document: dict[str, Any]) -> None:
        self._say_rest(document, "refusal", string(document.get("refusal")))

    def _part_done(self, document: dict[str, Any]) -> None:
        part = document.get("part")
        said = content_of(part) if isinstance(part, dict) else None
        if said is not None:
            self._say_rest(document, part["type"], said.text)  # type: ignore[index]  # `said` is of a dict
        self._notes([{"type": "message", "content": [part]}])

    def _note(self, document: dict[str, Any]) -> None:
        note = document.get("annotation")
        self._notes([{"type": "message", "content": [{"type": "output_text", "annotations": [note]}]}])

    def _notes(self, items: list[dict[str, Any]]) -> None:
        for type in [type for item in items for type in unsaid_of(item)]:
            self._out += self._left_out(type)

    def _say(self, document: dict[str, Any], kind: str, text: str) -> None:
        if not text:
            return
        item = self._item(document)
        given = document.get("content_index")
        index = given if type(given) is int else max(item.parts - 1, 0)
        self._open_block(item, kind, index)
        if kind == "output_text":
            self._mark = (document.get("output_index"), document.get("item_id"), given)
            self._out.append(TextDelta(text))
        else:
            self._out.append(RefusalDelta(text))

    def _say_rest(self, document: dict[str, Any], kind: str, text: str) -> None:
        """A part is over; it may not have been told at all."""
        item = self._item(document)
        given = document.get("content_index")
        index = given if type(given) is int else max(item.parts - 1, 0)
        if (kind, index) not in item.said:
            self._say(document, kind, text)
        if self._open == (item, kind, index):
            self._close()

    def _prose(self, document: dict[str, Any]) -> None:
        delta = string(document.get("delta"))
        if not delta:
            return
        item = self._item(document)
        summary = document.get("type") == "response.reasoning_summary_text.delta"
        given = document.get("summary_index" if summary else "content_index")
        index = (given if type(given) is int else 0) + (0 if summary else 1 << 32)
        if not (item.said and self._open and self._open[0] is item):
            self._open_block(item, "reasoning", 0)
        elif ("prose", index) not in item.said:
            self._out.append(ReasoningDelta("item", BREAK))
        self._mark_said(item, ("prose", index))
        self._out.append(ReasoningDelta("item", delta))

    def _arguments(self, document: dict[str, Any]) -> None:
        item, fragment = self._item(document), string(document.get("delta"))
        if item.slot >= 0 and not item.ended and fragment:
            item.begun = True
            self._out.append(CallDelta(item.slot, fragment))

    def _arguments_done(self, document: dict[str, Any]) -> None:
        item, arguments = self._item(document), string(document.get("arguments"))
        if item.slot >= 0 and not item.ended and not item.begun and arguments:
            item.begun = True
            self._out.append(CallDelta(item.slot, arguments))

    def _item_done(self, document: dict[str, Any]) -> None:
        inner = document.get("item")
        if isinstance(inner, dict):
            self._whole(self._item(document), inner)

    def _whole(self, item: _Item, inner: dict[str, Any]) -> None:
        """Tell what is still to be told of an item, and that it is over."""
        if item.ended:
            return
        item.ended = True
        kind = inner.get("type")
        if kind == "message":
            self._whole_message(item, inner)
        elif kind == "reasoning":
            self._whole_reasoning(item, inner)
        elif kind == "function_call":
            self._whole_call(item, inner)
        self._notes([inner])

    def _whole_message(self, item: _Item, inner: dict[str, Any]) -> None:
        for index, part in enumerate(objects(inner.get("content"))):
            said = content_of(part)
            if said is None or not said.text or (part["type"], index) in item.said:
                continue
            self._open_block(item, part["type"], index)
            self._out.append(TextDelta(said.text) if part["type"] == "output_text" else RefusalDelta(said.text))
        if self._open and self._open[0] is item:
            self._close()

    def _whole_reasoning(self, item: _Item, inner: dict[str, Any]) -> None:
        """The seal is whole only now."""
        part: Reasoning = parts_of(inner)[0]  # type: ignore[assignment]  # of its type there is one
        interrupted = bool(item.said) and not (self._open and self._open[0] is item)
        if interrupted and not part.seal:
            return  # all of it was told
        if not item.said:
            self._close()
            if prose := prose_of(inner):
                self._out.append(ReasoningDelta("item", BREAK.join(prose)))
        elif interrupted:
            self._close()
        self._open = None
        self._out.append(ReasoningEnd("item", part.seal, part.id or item.id))

    def _whole_call(self, item: _Item, inner: dict[str, Any]) -> None:
        call: ToolCall = parts_of(inner)[0]  # type: ignore[assignment]  # of its type there is one
        if item.slot < 0:
            self._call(item, call.id, call.name)
        if not item.begun:
            self._out.append(CallDelta(item.slot, call.arguments))
        self._out.append(CallEnd(item.slot))

    def _open_block(self, item: _Item, kind: str, index: int) -> None:
        if self._open != (item, kind, index):
            self._close()
            self._open = (item, kind, index)
        self._mark_said(item, (kind, index))

    def _close(self) -> None:
        if self._open is None:
            return
        item, kind, _ = self._open
        self._open = self._mark = None
        self._out.append(ReasoningEnd("item", "", item.id) if kind == "reasoning" else BlockEnd())

    def _completed(self, document: dict[str, Any]) -> None:
        said = mapping(document.get("response"))
        if not self._items and self._last is None:
            for inner in objects(said.get("output")):
                self._whole(_Item(string(inner.get("id"))), inner)
        self._close()
        for item in self._calls:
            if not item.ended:
                self._whole_call(item, {"type": "function_call"})
        self._out.append(Finished(finish_of(said, called=bool(self._calls))))
        if usage := responses_usage(said.get("usage")).usage:
            self._out.append(Usage(usage))
        self._out.append(Done())
        self._over = True

    def _error(self, document: dict[str, Any]) -> None:
        response, error = document.get("response"), document.get("error")
        if isinstance(response, dict):
            error = response.get("error")
        self._out.append(failed(error if isinstance(error, dict) else document))
        self._over, self._mark = True, None


_HANDLERS: dict[str, Callable[[StreamReader, dict[str, Any]], None]] = {
    "response.created": StreamReader._nothing,
    "response.queued": StreamReader._nothing,
    "response.in_progress": StreamReader._nothing,
    "response.output_item.added": StreamReader._added,
    "response.output_item.done": StreamReader._item_done,
    "response.content_part.added": StreamReader._part_added,
    "response.content_part.done": StreamReader._part_done,
    "response.output_text.delta": StreamReader._text,
    "response.output_text.done": StreamReader._text_done,
    "response.output_text.annotation.added": StreamReader._note,
    "response.refusal.delta": StreamReader._refusal,
    "response.refusal.done": StreamReader._refusal_done,
    "response.reasoning_summary_text.delta": StreamReader._prose,
    "response.reasoning_text.delta": StreamReader._prose,
    "response.function_call_arguments.delta": StreamReader._arguments,
    "response.function_call_arguments.done": StreamReader._arguments_done,
    "response.completed": StreamReader._completed,
    "response.incomplete": StreamReader._completed,
    "response.failed": StreamReader._error,
    "error": StreamReader._error,
}
