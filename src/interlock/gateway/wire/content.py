"""What the messages or items of a request hold beside text: images, attachments, tools.

It checks the shape of what it walks through; what a part says is the upstream's to judge.
"""

from typing import Any

from interlock.errors import LocalError

MESSAGES_MAX = 100_000
"""Anthropic's limit on messages a request."""
_IMAGES = frozenset({"image", "image_url", "input_image", "computer_screenshot"})
_INLINE: dict[str, tuple[str, ...]] = {
    "image_url": ("image_url", "url"),
    "input_audio": ("input_audio", "data"),
    "file": ("file", "file_data"),
    "input_image": ("image_url",),
    "computer_screenshot": ("image_url",),
    "input_file": ("file_data",),
    "image_generation_call": ("result",),
    "image": ("source", "data"),
    "document": ("source", "data"),
}
_SYSTEM = frozenset({"system", "developer"})
_SEALED = frozenset({"thinking", "redacted_thinking"})


class Seen:
    """What the messages hold beside text."""

    __slots__ = ("attachments", "images", "inline_bytes", "sealed", "tools")

    def __init__(self) -> None:
        self.images = self.tools = self.sealed = False
        self.attachments = self.inline_bytes = 0


def look_through_messages(messages: list[Any], seen: Seen) -> int:
    """Check and look through chat or Messages messages; how many are not system's."""
    if not messages:
        raise LocalError("messages must hold at least one message", field="messages")
    asked = 0
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise LocalError(f"a message must be an object, not {name_of(message)}", field=f"messages[{index}]")
        role = message.get("role")
        if type(role) is not str:
            raise LocalError(f"role must be a string, not {name_of(role)}", field=f"messages[{index}].role")
        asked += role not in _SYSTEM
        if "reasoning_details" in message:
            seen.sealed = True
        _content(message, "content", "messages", index, seen)
    return asked


def look_through_items(items: list[Any], seen: Seen) -> int:
    """Check and look through Responses items; how many are not system's."""
    asked = 0
    for index, item in enumerate(items):
        if type(item) is not dict:
            raise LocalError(f"an item must be an object, not {name_of(item)}", field=f"input[{index}]")
        for name in ("type", "role"):
            if type(item.get(name, "")) is not str and item[name] is not None:
                raise LocalError(f"{name} must be a string, not {name_of(item[name])}", field=f"input[{index}].{name}")
        asked += item.get("role") not in _SYSTEM
        _content(item, "content", "input", index, seen)
        kind = item.get("type")
        if type(kind) is str and kind in _INLINE:
            _attachment(item, kind, f"input[{index}]", seen)
        elif kind == "reasoning":
            seen.sealed = True
        elif kind == "additional_tools":
            seen.tools = seen.tools or bool(item.get("tools"))
        elif "output" in item:
            output = item["output"]
            look_through_parts([output] if type(output) is dict else output, f"input[{index}].output", seen)
    return asked


def _content(message: dict[str, Any], name: str, where: str, index: int, seen: Seen) -> None:
    content = message.get(name)
    if type(content) is str or content is None:
        return
    path = f"{where}[{index}].{name}"
    if type(content) is not list:
        raise LocalError(f"content must be a string or a list of parts, not {name_of(content)}", field=path)
    look_through_parts(content, path, seen)


def look_through_parts(parts: object, path: str, seen: Seen) -> None:
    """Look through a list of content parts, and the lists within them."""
    if type(parts) is not list:
        return  # a string, or a shape that this reader does not know
    for index, part in enumerate(parts):
        if type(part) is not dict:
            raise LocalError(f"a part must be an object, not {name_of(part)}", field=f"{path}[{index}]")
        kind = part.get("type")
        if kind == "text":
            continue
        if type(kind) is str and kind in _INLINE:
            _attachment(part, kind, f"{path}[{index}]", seen)
        elif type(kind) is str and kind in _SEALED:
            seen.sealed = True
        elif type(part.get("content")) is list:
            look_through_parts(part["content"], f"{path}[{index}].content", seen)


def _attachment(part: dict[str, Any], kind: str, path: str, seen: Seen) -> None:
    seen.images = seen.images or kind in _IMAGES
    value: Any = part
    for name in _INLINE[kind]:
        if type(value) is dict:
            if value.get("type") == "text":
                return  # a document given as plain text is text
            if type(value.get("content")) is list:
                look_through_parts(value["content"], f"{path}.source.content", seen)
                return
            value = value.get(name)
    seen.attachments += 1
    if type(value) is str:
        seen.inline_bytes += len(value)


def bounded(value: list[Any], name: str) -> list[Any]:
    """The list, if it is not absurdly long."""
    if len(value) > MESSAGES_MAX:
        raise LocalError(f"{name} holds {len(value)} entries; at most {MESSAGES_MAX} are read", field=name)
    return value


def name_of(value: object) -> str:
    """A JSON type, as a person calls it."""
    return {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "nothing"}.get(
        type(value), "a number"
    )
