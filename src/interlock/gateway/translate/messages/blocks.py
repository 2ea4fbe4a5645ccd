"""The content of a Messages request, written: one block a part.

Reasoning is kept where the target can read it (its own seal, or one in a carrier of the target's family) and else left
out and listed. What only a Messages client can have said within a block is put back there.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from interlock.gateway.translate import ids
from interlock.gateway.translate.arguments import object_of
from interlock.gateway.translate.fields import unsayable
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
)
from interlock.gateway.translate.own import Own
from interlock.gateway.translate.reasoning import is_readable

_TOOL = re.compile(r"tools\[\d+\]")


class BlockWriter:
    """Writes parts; keeps account of the fields that it put back (`own`) and of what it left out (`dropped`: paths)."""

    def __init__(self, ask: Ask, target: Target) -> None:
        self.own = Own(ask, "messages")
        self.dropped: list[str] = []
        self._target = target
        self._paths: dict[int, str] = {}

    def drop(self, path: str) -> None:
        """List what was left out; a part that no client said (an answer to go on with) has no path."""
        if path:
            self.dropped.append(path)

    def server_tools(self) -> list[tuple[str, dict[str, Any]]]:
        """(path, tool) for tools that Anthropic runs or defines, as they came."""
        found = [path for path in self.own.holders("type") if _TOOL.fullmatch(path)]
        return [(path, self.own.within(path)["type"]) for path in found]

    def path_of(self, block: dict[str, Any]) -> str:
        """Where the part that became this block stands in the client's request."""
        return self._paths[id(block)]

    def marked(self, entry: dict[str, Any], path: str, cache: str) -> dict[str, Any]:
        """The block or tool with its cache breakpoint, and the fields that a Messages client said within it."""
        if cache:
            entry["cache_control"] = msgspec.json.decode(cache)
        return self.own.put(entry, path)

    def write(self, parts: Iterable[Part]) -> list[dict[str, Any]]:
        """The blocks of these parts, without what may not stand there.

        Raises: LocalError: a part cannot be said.
        """
        blocks = []
        for part in parts:
            block = self._block(part)
            if block is not None:
                blocks.append(self.marked(block, part.path, part.cache))
                self._paths[id(block)] = part.path
        return blocks

    def _block(self, part: Part) -> dict[str, Any] | None:
        match part:
            case Text(text=text) | Refusal(text=text):
                if text and not text.strip():
                    self.drop(part.path)
                return {"type": "text", "text": text} if text.strip() else None
            case Image():
                return self._image(part)
            case Document():
                return _document(part)
            case ToolCall():
                return {
                    "type": "tool_use",
                    "id": ids.to_upstream(part.id, "messages"),
                    "name": part.name,
                    "input": _input(part),
                }
            case ToolResult():
                return self._tool_result(part)
            case Reasoning():
                return self._reasoning(part)
        raise AssertionError(f"no such part: {part!r}")

    def _image(self, image: Image) -> dict[str, Any]:
        if image.detail and image.detail != "auto":
            self.drop(f"{image.path}.detail")
        if image.url:
            return {"type": "image", "source": {"type": "url", "url": image.url}}
        return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.data}}

    def _tool_result(self, result: ToolResult) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": ids.to_upstream(result.id, "messages")}
        if content := self.write(result.parts):
            block["content"] = content
        if result.error:
            block["is_error"] = True
        return block

    def _reasoning(self, reasoning: Reasoning) -> dict[str, Any] | None:
        if is_readable(reasoning, self._target, "thinking"):
            return {"type": "thinking", "thinking": reasoning.text, "signature": reasoning.seal}
        if is_readable(reasoning, self._target, "redacted"):
            return {"type": "redacted_thinking", "data": reasoning.seal}
        self.drop(reasoning.path)
        return None


def _document(document: Document) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "document", "source": _source(document)}
    if document.name:
        block["title"] = document.name
    return block


def _source(document: Document) -> dict[str, Any]:
    if document.url:
        return {"type": "url", "url": document.url}
    if document.media_type == "application/pdf":
        return {"type": "base64", "media_type": "application/pdf", "data": document.data}
    if document.media_type != "text/plain":
        raise unsayable(document.path, "messages", "takes documents of type application/pdf and text/plain only")
    text = document.text
    if document.data:
        try:
            text = base64.b64decode(document.data, validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise unsayable(document.path, "messages", "takes text documents in UTF-8 only") from error
    return {"type": "text", "media_type": "text/plain", "data": text}


def _input(call: ToolCall) -> dict[str, Any]:
    """A call's arguments as the object that Messages wants."""
    try:
        return object_of(call.arguments)
    except ValueError as error:
        raise unsayable(call.path, "messages", f"takes arguments that are one JSON object only: {error}") from error
