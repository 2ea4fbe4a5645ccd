"""Turns as the messages of a chat request.

A turn's results come first, one tool message each. Those take text only: images and documents in a result follow in
the user's message, after a line that names their call. That a result is an error has no word in chat: its text stands,
and `is_error` is listed.
"""

import mimetypes
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from interlock.gateway.translate import ids
from interlock.gateway.translate.fields import unsayable
from interlock.gateway.translate.media import data_url
from interlock.gateway.translate.neutral import (
    Ask,
    Document,
    Image,
    Part,
    Reasoning,
    Refusal,
    Target,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from interlock.gateway.translate.own import Own
from interlock.gateway.translate.reasoning import BREAK, is_readable


def write_messages(ask: Ask, target: Target, own: Own, dropped: list[str]) -> list[dict[str, Any]]:
    """All messages, the instructions first.

    Raises: LocalError: a part that no chat message can hold; `field` is its path.
    """
    writer = _Writer(target, own, dropped)
    messages = [
        writer.plain("system", list(parts), path)
        for path, parts in groupby(ask.instructions, lambda part: writer.message_of(part.path, "system"))
    ]
    for turn in ask.turns:
        messages += writer.turn(turn)
    return messages


class _Writer:
    def __init__(self, target: Target, own: Own, dropped: list[str]) -> None:
        self._target = target
        self._own = own
        self._dropped = dropped

    def message_of(self, path: str, otherwise: str) -> str:
        """The path of the chat client's message that a part stood in; another format's parts have one message."""
        return path.partition(".")[0] if self._own.is_own else otherwise

    def turn(self, turn: Turn) -> list[dict[str, Any]]:
        if turn.role == "assistant":
            return [self._assistant(turn)]
        if turn.role == "system":
            return [self.plain("system", turn.parts, turn.path)]
        results = [part for part in turn.parts if isinstance(part, ToolResult)]
        rest = [part for part in turn.parts if not isinstance(part, ToolResult)]
        messages = [self._result(result) for result in results]
        shown = [entry for result in results for entry in self._attachments(result)]
        if rest or shown or not results:
            path = self.message_of(rest[0].path, turn.path) if rest else ""
            messages.append(self.plain("user", rest, path, before=shown))
        return messages

    def plain(
        self, role: str, parts: Sequence[Part], path: str, before: Iterable[dict[str, Any]] = ()
    ) -> dict[str, Any]:
        """A message of nothing but content."""
        content = self._content([*before, *map(self._entry, parts)])
        return self._own.put({"role": role, "content": content}, path)

    def _content(self, entries: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
        """Content as a string where that says the same: more servers take it."""
        if not entries:
            return ""
        if len(entries) == 1 and entries[0].keys() == {"type", "text"}:
            text: str = entries[0]["text"]
            return text
        return entries

    def _entry(self, part: Part) -> dict[str, Any]:
        if isinstance(part, Text):
            entry: dict[str, Any] = {"type": "text", "text": part.text}
        elif isinstance(part, Image):
            image = {"url": part.url or data_url(part.media_type, part.data)}
            if part.detail:
                image["detail"] = part.detail
            entry = {"type": "image_url", "image_url": self._own.put(image, f"{part.path}.image_url")}
        elif isinstance(part, Document):
            entry = self._document(part)
        else:
            raise unsayable(part.path, "chat")
        self._own.cache(entry, part.cache, part.path, self._dropped)
        return self._own.put(entry, part.path)

    def _document(self, part: Document) -> dict[str, Any]:
        if part.media_type == "text/plain" and (part.text or not part.data):
            # OpenAI reads PDFs only; to the model a text is a text either way
            return {"type": "text", "text": f"{part.name}\n\n{part.text}" if part.name else part.text}
        if part.url and self._own.is_own:  # where it was said in chat's words, the server is taken to know it
            file = {"filename": part.name, "file_data": part.url} if part.name else {"file_data": part.url}
            return {"type": "file", "file": self._own.put(file, f"{part.path}.file")}
        if not part.data:
            raise unsayable(part.path, "chat", "is a document given by its address; chat takes its data")
        name = part.name or f"document{mimetypes.guess_extension(part.media_type) or ''}"
        file = {"filename": name, "file_data": data_url(part.media_type, part.data)}
        return {"type": "file", "file": self._own.put(file, f"{part.path}.file")}

    def _result(self, result: ToolResult) -> dict[str, Any]:
        if result.error:
            self._dropped.append(f"{result.path}.is_error")
        texts = [self._entry(part) for part in result.parts if isinstance(part, Text)]
        id = ids.to_upstream(result.id, "chat")
        message = {"role": "tool", "tool_call_id": id, "content": self._content(texts)}
        self._own.cache(message, result.cache, result.path, self._dropped)
        return self._own.put(message, result.path)

    def _attachments(self, result: ToolResult) -> list[dict[str, Any]]:
        entries = [self._entry(part) for part in result.parts if not isinstance(part, Text)]
        if not entries:
            return []
        line = f"Attached to the result of tool call {ids.to_upstream(result.id, 'chat')}:"
        return [{"type": "text", "text": line}, *entries]

    def _assistant(self, turn: Turn) -> dict[str, Any]:
        said, calls, thoughts, refusals = [], [], [], []
        for part in turn.parts:
            if isinstance(part, ToolCall):
                calls.append(self._call(part))
            elif isinstance(part, Reasoning):
                thoughts += self._thought(part)
            elif isinstance(part, Refusal):
                refusals.append(part.text)
            elif isinstance(part, Text):
                said.append(self._entry(part))
            else:
                raise unsayable(part.path, "chat", "cannot stand in an answer there")
        message: dict[str, Any] = {"role": "assistant", "content": self._content(said)}
        if not said and (calls or refusals):
            message["content"] = None
        if refusals:
            message["refusal"] = "".join(refusals)
        if thoughts:
            message["reasoning_content"] = BREAK.join(thoughts)
        if calls:
            message["tool_calls"] = calls
        return self._own.put(message, turn.path)

    def _thought(self, part: Reasoning) -> list[str]:
        """Its text, if the target's models can read it; sealed reasoning no chat server can."""
        if is_readable(part, self._target, "plain"):
            return [part.text] if part.text else []
        self._dropped.append(part.path)
        return []

    def _call(self, part: ToolCall) -> dict[str, Any]:
        function = {"name": part.name, "arguments": part.arguments}
        id = ids.to_upstream(part.id, "chat")
        entry = {"id": id, "type": "function", "function": self._own.put(function, f"{part.path}.function")}
        self._own.cache(entry, part.cache, part.path, self._dropped)
        return self._own.put(entry, part.path)
