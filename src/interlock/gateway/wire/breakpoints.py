"""Cache breakpoints for Anthropic's models, where a client that did not choose them has set none.

Anthropic caches a prompt only as far as the request says. A client that asks for `auto`, or speaks another format, does
not know that such a model reads it, and would pay the whole prompt on every turn. Three of the four breakpoints that a
request may have are set: at the end of the system's text, at the last message, and at the last message before the
assistant's last turn, where the call before this one had its own (Anthropic looks for earlier ones by itself, but only
some twenty blocks back).
"""

from typing import Any

import msgspec

from interlock.gateway.wire.parts import Edit, Span, edited, entries_of, value_of

TOKENS_MIN = 1024
"""Anthropic caches no shorter prompt (some models: none shorter than 2,048 or 4,096)."""
MARK = b'"cache_control"'
_CONTROL = {"cache_control": {"type": "ephemeral"}}
_encode = msgspec.json.encode
_UNMARKED = ("thinking", "redacted_thinking")
"""Blocks that Anthropic takes no breakpoint on."""


def with_breakpoints(body: bytes) -> tuple[bytes, tuple[str, ...]]:
    """(a Messages body with breakpoints, the paths where they stand). A body with any of its own stays as it is."""
    if MARK in body:
        return body, ()
    edits: list[Edit] = []
    paths: list[str] = []
    system = value_of(body, "system")
    if system is not None and (marked := _marked(msgspec.json.decode(body[system.start : system.end]))):
        edits.append(Edit(system.start, system.end, _encode(marked)))
        paths.append("system")
    listed = value_of(body, "messages")
    entries = entries_of(body, listed) if listed is not None else []
    for index in _places(body, entries):
        start, end = entries[index]
        message: dict[str, Any] = msgspec.json.decode(body[start:end])
        if marked := _marked(message.get("content")):
            edits.append(Edit(start, end, _encode({**message, "content": marked})))
            paths.append(f"messages[{index}]")
    return (edited(body, edits), tuple(paths)) if edits else (body, ())


def _places(body: bytes, entries: list[Span]) -> list[int]:
    """The last message that is not the assistant's, and the last such before the assistant's last turn."""
    places: list[int] = []
    answered = True  # an assistant's message stands between this place and the one found before
    for index in range(len(entries) - 1, -1, -1):
        role = msgspec.json.decode(body[entries[index].start : entries[index].end], type=_Role).role
        if role == "assistant":
            answered = True
        elif answered:
            places.insert(0, index)
            answered = False
            if len(places) == 2:
                break
    return places


class _Role(msgspec.Struct):
    role: str


def _marked(content: object) -> list[dict[str, Any]] | None:
    """Content with a breakpoint on its last block; None: it has no place for one."""
    if type(content) is str:
        return [{"type": "text", "text": content, **_CONTROL}] if content.strip() else None
    if type(content) is not list or not content or type(content[-1]) is not dict:
        return None
    last = content[-1]
    if last.get("type") in _UNMARKED or (last.get("type") == "text" and not str(last.get("text")).strip()):
        return None
    return [*content[:-1], {**last, **_CONTROL}]
