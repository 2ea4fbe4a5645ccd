"""A request's history without the reasoning that another family sealed.

Providers hand reasoning out sealed: a signature, encrypted content. Only models of the same family can read it, and
most refuse what they cannot read. Reasoning in a carrier of ours (translate/carrier.py) names its family and is left
to the translation.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from interlock.gateway.wire.parts import Edit, Span, cuts, edited, entries_of, value_of
from interlock.ledger import Format

_LISTS = {"chat": "messages", "messages": "messages", "count_tokens": "messages", "responses": "input"}
_encode = msgspec.json.encode
_SEALS = ("signature", "data", "encrypted_content")


def without_reasoning(format: Format, body: bytes, before: int, carrier: str) -> tuple[bytes, tuple[str, ...]]:
    """(the body without the sealed reasoning of its first `before` messages or items, the paths that were removed).

    With it goes what would be refused without it: a message that held nothing else; `thinking`, where Anthropic asks
    that the assistant's turn in hand begin with it; the ids by which OpenAI knows what followed upon its reasoning.

    Args:
        carrier: how a seal begins that is a carrier of ours.
    """
    listed = value_of(body, _LISTS[format])
    entries = entries_of(body, listed) if listed is not None and body[listed.start : listed.start + 1] == b"[" else []
    removed = _Removed(body, entries, carrier)
    if format == "responses":
        removed.items(before)
    else:
        for index in range(min(before, len(entries))):
            removed.message(index)
        if format in ("messages", "count_tokens"):
            removed.demand()
    return (removed.body(), tuple(removed.paths)) if removed.paths else (body, ())


class _Removed:
    """What is taken out of one body."""

    def __init__(self, body: bytes, entries: list[Span], carrier: str) -> None:
        self._body = body
        self._entries = entries
        self._carrier = carrier
        self._without: set[int] = set()
        self._gone: set[int] = set()
        self._edits: list[Edit] = []
        self.paths: list[str] = []

    def body(self) -> bytes:
        """What is left."""
        return edited(self._body, (*self._edits, *cuts(self._entries, self._gone)))

    def _decoded(self, index: int) -> dict[str, Any]:
        start, end = self._entries[index]
        found: dict[str, Any] = msgspec.json.decode(self._body[start:end])
        return found

    def _replace(self, index: int, message: dict[str, Any] | None) -> None:
        """None: without it, if others are left."""
        start, end = self._entries[index]
        if message is not None:
            self._edits.append(Edit(start, end, _encode(message)))
        elif len(self._gone) + 1 < len(self._entries):
            self._gone.add(index)

    def _is_sealed(self, block: object) -> bool:
        """Whether it is reasoning sealed by a provider, and not in a carrier."""
        if type(block) is not dict:
            return False
        kind = block.get("type")
        if kind not in ("thinking", "redacted_thinking", "reasoning") and not str(kind).startswith("reasoning."):
            return False
        return not any(str(block.get(name)).startswith(self._carrier) for name in _SEALS)

    def message(self, index: int) -> None:
        """Of chat and Messages."""
        message = self._decoded(index)
        changed = dict(message)
        for name, path in (("content", "content"), ("reasoning_details", "reasoning_details")):
            blocks = message.get(name)
            if type(blocks) is not list or not (places := [n for n, b in enumerate(blocks) if self._is_sealed(b)]):
                continue
            self.paths += [f"messages[{index}].{path}[{place}]" for place in places]
            self._without.add(index)
            changed[name] = [block for n, block in enumerate(blocks) if n not in places]
            if name == "reasoning_details" and not changed[name]:
                del changed[name]
        if index in self._without:
            self._replace(index, None if changed.get("content") == [] else changed)

    def demand(self) -> None:
        """Messages: thinking cannot be asked for in the middle of a turn whose thinking is gone."""
        turn = [index for index in self._turn() if index in self._without]
        thinking = value_of(self._body, "thinking")
        if not turn or thinking is None:
            return
        asked = msgspec.json.decode(self._body[thinking.start : thinking.end])
        if type(asked) is dict and asked.get("type") == "enabled":
            self._edits.append(Edit(thinking.start, thinking.end, b'{"type":"disabled"}'))
            self.paths.append("thinking")

    def _turn(self) -> Iterator[int]:
        """The messages of the assistant's turn in hand: back to what the user said last himself."""
        for index in range(len(self._entries) - 1, -1, -1):
            message = self._decoded(index)
            content = message.get("content")
            blocks = content if type(content) is list else []
            results = any(type(block) is dict and block.get("type") == "tool_result" for block in blocks)
            if message.get("role") == "user" and not results:
                return
            if message.get("role") == "assistant":
                yield index

    def items(self, before: int) -> None:
        """Of Responses: the items themselves, and the ids of what the model said upon them."""
        upon = False
        for index in range(min(before, len(self._entries))):
            item = self._decoded(index)
            if self._is_sealed(item):
                self.paths.append(f"input[{index}]")
                self._replace(index, None)
                upon = True
            elif item.get("role") in ("user", "system", "developer") or str(item.get("type")).endswith("_output"):
                upon = False
            elif upon and "id" in item:
                self.paths.append(f"input[{index}].id")
                self._replace(index, {name: value for name, value in item.items() if name != "id"})
