"""The content of a Messages request, read: messages, system prompts and the blocks in them.

Server tools' blocks, files of the Files API and search results have no equivalent in another format, nor a place in
`neutral`: they are refused by their path. Reasoning that came from another family is taken out of its carrier here.
"""

from collections.abc import Callable
from typing import Any

from interlock.errors import LocalError
from interlock.gateway.translate.neutral import Document, Image, Part, Reasoning, Text, ToolCall, ToolResult, Turn
from interlock.gateway.translate.reasoning import opened
from interlock.gateway.translate.taken import Taken, compact, wrong
from interlock.gateway.wire.content import bounded

_WITHIN: dict[str, tuple[str, ...]] = {
    "user": ("text", "image", "document", "tool_result"),
    "assistant": ("text", "thinking", "redacted_thinking", "tool_use"),
    "system": ("text",),
    "a tool_result": ("text", "image", "document"),
    "a document": ("text", "image"),
}


def read_conversation(top: Taken) -> tuple[tuple[Part, ...], tuple[Turn, ...]]:
    """(instructions, turns): `system`, and the system messages before any other, are instructions."""
    fields = top.fields
    system = top.value("system")
    instructions = [] if system is None else list(_parts(system, "system", "system", fields))
    turns: list[Turn] = []
    messages = top.value("messages")
    if type(messages) is not list:
        raise wrong("messages", "a list", messages)
    for index, message in enumerate(bounded(messages, "messages")):
        turn = _turn(Taken(message, f"messages[{index}]", fields))
        if turn.role == "system" and not turns:
            instructions += turn.parts
        else:
            turns.append(turn)
    return tuple(instructions), tuple(turns)


def _turn(message: Taken) -> Turn:
    role = message.value("role")
    if role not in ("user", "assistant", "system"):
        raise LocalError(f"{message.at('role')} must be user, assistant or system", field=message.at("role"))
    parts = _parts(message.value("content"), message.at("content"), role, message.fields)
    message.settle()
    return Turn(role=role, parts=parts, path=message.path)


def _parts(content: object, path: str, within: str, fields: dict[str, Any]) -> tuple[Part, ...]:
    if type(content) is str:
        return (Text(text=content, path=path),)
    if type(content) is not list:
        raise wrong(path, "a string or a list of blocks", content)
    return tuple(_part(Taken(block, f"{path}[{i}]", fields), within) for i, block in enumerate(bounded(content, path)))


def _part(block: Taken, within: str) -> Part:
    kind = block.value("type")
    understood = _WITHIN[within]
    if kind not in understood:
        said = f"{kind[:64]!r}" if isinstance(kind, str) else "no type"
        raise LocalError(
            f"{block.at('type')}: {said} cannot be translated; understood in {within}: {', '.join(understood)}",
            field=block.at("type"),
        )
    part = _READERS[kind](block)
    block.settle()
    return part


def _text(block: Taken) -> Part:
    citations = block.entries("citations")
    if citations:  # of the answer that this text was: told apart from a document's `citations`, which asks for some
        block.fields[block.at("citations[]")] = citations
    return Text(text=block.needed("text"), cache=block.cache(), path=block.path)


def _image(block: Taken) -> Part:
    cache = block.cache()
    source = block.inner("source")
    kind = source.value("type")
    if kind == "url":
        image = Image(url=source.needed("url"), cache=cache, path=block.path)
    elif kind == "base64":
        media_type, data = source.needed("media_type"), source.needed("data")
        image = Image(media_type=media_type, data=data, cache=cache, path=block.path)
    else:
        raise _unknown_source(source, "base64, url")
    source.settle()
    return image


def _document(block: Taken) -> Part:
    cache, name = block.cache(), block.text("title")
    block.skip_default("citations", {"enabled": False})
    source = block.inner("source")
    kind = source.value("type")
    url = media_type = data = text = ""
    if kind == "url":
        url, media_type = source.needed("url"), "application/pdf"
    elif kind == "base64":
        media_type, data = source.needed("media_type"), source.needed("data")
    elif kind == "text":
        media_type, text = "text/plain", source.needed("data")
        source.value("media_type")
    elif kind == "content":
        media_type, text = "text/plain", _flat(source, cited=block.says("citations"))
    else:
        raise _unknown_source(source, "base64, content, text, url")
    source.settle()
    return Document(url=url, media_type=media_type, data=data, text=text, name=name, cache=cache, path=block.path)


def _flat(source: Taken, *, cited: bool) -> str:
    """The text of a document given as blocks. Where it is cut matters only to citations, and a text holds no images:
    with either, the source is also a field, as it came."""
    content = source.value("content")
    parts = _parts(content, source.at("content"), "a document", source.fields)
    if cited or any(not isinstance(part, Text) for part in parts):
        source.fields[source.path] = {"type": "content", "content": content}
    return "\n\n".join(part.text for part in parts if isinstance(part, Text))


def _unknown_source(source: Taken, understood: str) -> LocalError:
    path = source.at("type")
    return LocalError(f"{path}: this kind of source cannot be translated; understood: {understood}", field=path)


def _tool_use(block: Taken) -> Part:
    block.skip_default("caller", {"type": "direct"})
    arguments = block.needed_mapping("input")
    return ToolCall(
        id=block.needed("id"),
        name=block.needed("name"),
        arguments=compact(arguments),
        cache=block.cache(),
        path=block.path,
    )


def _tool_result(block: Taken) -> Part:
    content = block.value("content")
    return ToolResult(
        id=block.needed("tool_use_id"),
        parts=() if content is None else _parts(content, block.at("content"), "a tool_result", block.fields),
        error=bool(block.flag("is_error")),
        cache=block.cache(),
        path=block.path,
    )


def _thinking(block: Taken) -> Part:
    text, signature = block.needed("thinking"), block.text("signature")
    return opened(signature, text, block.path) or Reasoning(kind="thinking", text=text, seal=signature, path=block.path)


def _redacted_thinking(block: Taken) -> Part:
    data = block.needed("data")
    return opened(data, "", block.path) or Reasoning(kind="redacted", seal=data, path=block.path)


_READERS: dict[str, Callable[[Taken], Part]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted_thinking,
}
