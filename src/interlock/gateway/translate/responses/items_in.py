"""The `input` of a Responses request as turns, and its content parts.

An assistant's messages, reasoning and calls that follow one another are one turn; so are results of tools that follow
one another, together with the user's message after them.
"""

from collections.abc import Callable
from typing import Any, Literal

from interlock.errors import LocalError
from interlock.gateway.translate.media import is_data_url, read_data_url
from interlock.gateway.translate.neutral import (
    Document,
    Image,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from interlock.gateway.translate.reasoning import BREAK, opened
from interlock.gateway.translate.taken import Taken, unknown, wrong
from interlock.gateway.wire.content import bounded

_ROLES = ("user", "assistant", "system", "developer")
_ITEMS = ("message", "function_call", "function_call_output", "reasoning")
_TEXT = ("input_text", "output_text")
_SAID = (*_TEXT, "refusal")
_GIVEN = (*_TEXT, "input_image", "input_file")


def read_input(value: object, fields: dict[str, Any]) -> tuple[tuple[Part, ...], tuple[Turn, ...]]:
    """The leading system and developer text, and the turns. What has no place there goes into `fields`, by path."""
    if type(value) is str:
        return (), (Turn(role="user", parts=(Text(text=value, path="input"),), path="input"),)
    if type(value) is not list:
        raise wrong("input", "a string or a list of items", value)
    gathering = _Gathering()
    for index, item in enumerate(bounded(value, "input")):
        gathering.read(Taken(item, f"input[{index}]", fields))
    return tuple(gathering.instructions), tuple(gathering.turns())


class _Gathering:
    """Items, joined to turns as they come."""

    def __init__(self) -> None:
        self.instructions: list[Part] = []
        self._turns: list[tuple[Literal["system", "user", "assistant"], list[Part], str]] = []
        self._results = False  # the last turn holds nothing but results of tools

    def turns(self) -> list[Turn]:
        return [Turn(role=role, parts=tuple(parts), path=path) for role, parts, path in self._turns]

    def read(self, item: Taken) -> None:
        kind, id = item.value("type"), item.value("id")
        item.skip("status")
        if kind is None or kind == "message":
            self._message(item)
        elif kind == "function_call":
            self._add("assistant", [_call(item)], item.path)
        elif kind == "function_call_output":
            self._add("user", [_result(item)], item.path, results=True)
        elif kind == "reasoning":
            self._add("assistant", [_reasoning(item, id)], item.path)
        else:
            raise unknown(item.at("type"), "an item of type", kind, _ITEMS)
        item.settle()

    def _message(self, item: Taken) -> None:
        role = item.value("role")
        if role not in _ROLES:
            raise unknown(item.at("role"), "the role", role, _ROLES)
        understood = _SAID if role == "assistant" else _GIVEN if role == "user" else _TEXT
        content = item.value("content")
        path = item.at("content")
        if type(content) is str:
            parts: list[Part] = [Text(text=content, path=path)]
        elif type(content) is list:
            parts = _parts(content, path, understood, item.fields)
        else:
            raise wrong(path, "a string or a list of parts", content)
        if role in ("user", "assistant"):
            self._add(role, parts, item.path)
        elif self._turns:
            self._add("system", parts, item.path)
        else:
            self.instructions += parts

    def _add(
        self, role: Literal["system", "user", "assistant"], parts: list[Part], path: str, *, results: bool = False
    ) -> None:
        last = self._turns[-1][0] if self._turns else ""
        if role == last == "assistant" or (role == last == "user" and self._results):
            self._turns[-1][1].extend(parts)
        else:
            self._turns.append((role, parts, path))
        self._results = results


def _call(item: Taken) -> ToolCall:
    return ToolCall(
        id=item.needed("call_id"),
        name=item.needed("name"),
        arguments=item.needed("arguments") or "{}",
        path=item.path,
    )


def _result(item: Taken) -> ToolResult:
    id, output, path = item.needed("call_id"), item.value("output"), item.at("output")
    if type(output) is str:
        parts: list[Part] = [Text(text=output, path=path)]
    elif type(output) is list:
        parts = _parts(output, path, _GIVEN, item.fields)
    else:
        raise wrong(path, "a string or a list of parts", output)
    return ToolResult(id=id, parts=tuple(parts), path=item.path)


def _reasoning(item: Taken, id: object) -> Reasoning:
    """The readable text is the summary's, or where a server shows the reasoning itself (`content`), that too."""
    seal = item.text("encrypted_content")
    texts = [_prose(part, item, "summary", index) for index, part in enumerate(item.entries("summary"))]
    texts += [_prose(part, item, "content", index) for index, part in enumerate(item.entries("content"))]
    text = BREAK.join(filter(None, texts))
    own = Reasoning(kind="item", text=text, seal=seal, id=id if type(id) is str else "", path=item.path)
    return opened(seal, text, item.path) or own


def _prose(value: object, item: Taken, name: str, index: int) -> str:
    part = Taken(value, f"{item.at(name)}[{index}]", item.fields)
    kind = {"summary": "summary_text", "content": "reasoning_text"}[name]
    if (given := part.value("type")) != kind:
        raise unknown(part.at("type"), "a part of type", given, (kind,))
    return part.needed("text")


def _parts(values: list[Any], path: str, understood: tuple[str, ...], fields: dict[str, Any]) -> list[Part]:
    parts = []
    for index, value in enumerate(bounded(values, path)):
        part = Taken(value, f"{path}[{index}]", fields)
        kind = part.value("type")
        if kind not in understood:
            raise unknown(part.at("type"), "a part of type", kind, understood)
        parts.append(_PARTS[kind](part))
        part.settle()
    return parts


def _text(part: Taken) -> Part:
    part.skip("annotations", "logprobs")  # what was said about the text when it was written
    return Text(text=part.needed("text"), path=part.path)


def _refusal(part: Taken) -> Part:
    return Refusal(text=part.needed("refusal"), path=part.path)


def _image(part: Taken) -> Part:
    _no_file_id(part)
    url, detail = part.needed("image_url"), part.text("detail")
    detail = "" if detail == "auto" else detail
    if is_data_url(url):
        media_type, data = read_data_url(url, part.at("image_url"))
        return Image(media_type=media_type, data=data, detail=detail, path=part.path)
    return Image(url=url, detail=detail, path=part.path)


def _file(part: Taken) -> Part:
    _no_file_id(part)
    name, url, data = part.text("filename"), part.text("file_url"), part.text("file_data")
    if bool(url) == bool(data):
        raise LocalError(f"{part.path} must hold either file_data or file_url", field=part.path)
    if url:
        return Document(url=url, name=name, path=part.path)
    # OpenAI takes bare base64, too, and then goes by the name; it was PDF alone before it was anything else
    media_type, data = read_data_url(data, part.at("file_data")) if is_data_url(data) else ("application/pdf", data)
    return Document(media_type=media_type, data=data, name=name, path=part.path)


_PARTS: dict[str, Callable[[Taken], Part]] = {
    "input_text": _text,
    "output_text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
}


def _no_file_id(part: Taken) -> None:
    if part.value("file_id") is not None:
        raise LocalError(
            f"{part.at('file_id')}: Interlock keeps no files: give the content or a URL", field=part.at("file_id")
        )
