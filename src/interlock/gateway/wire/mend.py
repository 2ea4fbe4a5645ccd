"""What llama.cpp leaves out of its streams, put in: the beginning of a Messages stream, and of a Responses stream the
numbers by which OpenAI's SDK finds its place.

The latter for the managed local model alone, whose events have no `sequence_number`, `output_index` or `content_index`
(openai-python, lib/streaming/responses, indexes lists with them). Nothing that an event has is changed.
"""

from typing import Any

import msgspec

_RESPONSE: dict[str, Any] = {
    "created_at": 0,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "model": "",
    "output": [],
    "parallel_tool_calls": True,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}


def message_start(id: str, model: str, input_tokens: int) -> bytes:
    """The event that a Messages stream begins with; `input_tokens` is an estimate."""
    usage = {"input_tokens": input_tokens, "output_tokens": 1}
    message: dict[str, Any] = {"id": id, "type": "message", "role": "assistant", "model": model, "content": []}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
    return b"event: message_start\ndata: %b\n\n" % msgspec.json.encode({"type": "message_start", "message": message})


class ResponsesMender:
    """One stream's events, in order."""

    def __init__(self) -> None:
        self._sequence = 0
        self._items: dict[str, int] = {}
        self._parts: dict[str, int] = {}

    def mended(self, document: dict[str, Any]) -> bytes:
        """The event with what it lacks."""
        kind = str(document.get("type", ""))
        lacking: dict[str, Any] = {"sequence_number": self._sequence}
        self._sequence += 1
        response, item = document.get("response"), document.get("item")
        if isinstance(response, dict):
            document = {**document, "response": {**_RESPONSE, **response}}
        if isinstance(item, dict):
            lacking["output_index"] = self._items.setdefault(str(item.get("id")), len(self._items))
        if "item_id" in document:
            lacking |= self._place(kind, str(document["item_id"]))
        if kind.startswith("response.output_text."):
            lacking["logprobs"] = []
        part = document.get("part")
        if isinstance(part, dict) and part.get("type") == "output_text":
            document = {**document, "part": {"annotations": [], "logprobs": [], **part}}
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({**lacking, **document}))

    def _place(self, kind: str, item: str) -> dict[str, int]:
        if kind == "response.content_part.added":
            self._parts[item] = self._parts.get(item, -1) + 1
        place = {"output_index": self._items.setdefault(item, len(self._items))}
        return place | ({"content_index": self._parts[item]} if item in self._parts else {})
