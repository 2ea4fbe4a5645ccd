"""The messages of a chat request as instructions and turns.

System and developer messages before the first other one are the instructions; later ones stay in place. Results of
tools that follow one another are one user turn, together with the user's message right after them. Reasoning of
earlier answers is read by reasoning.py.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from interlock.errors import LocalError
from interlock.gateway.translate.chat.reasoning import read_echo
from interlock.gateway.translate.media import is_data_url, read_data_url
from interlock.gateway.translate.neutral import (
    Document,
    Image,
    Part,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from interlock.gateway.translate.taken import Taken, unknown, wrong

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
Reader = Callable[[Taken, str], Part]
"""Reads a content part: (the part, its `Part.cache`)."""


def read_messages(messages: list[Any], fields: dict[str, Any]) -> tuple[tuple[Part, ...], tuple[Turn, ...]]:
    """The instructions and the turns; what has no place in them goes into `fields`, by path."""
    if not messages:
        raise LocalError("messages must hold at least one message", field="messages")
    conversation = _Conversation()
    for index, message in enumerate(messages):
        conversation.read(Taken(message, f"messages[{index}]", fields))
    turns = [Turn(role=role, parts=tuple(parts), path=path) for role, parts, path in conversation.turns]
    return tuple(conversation.instructions), tuple(turns)


class _Conversation:
    """The turns so far. `results`: the last one holds nothing but results of tools."""

    def __init__(self) -> None:
        self.instructions: list[Part] = []
        self.turns: list[tuple[Literal["system", "user", "assistant"], list[Part], str]] = []
        self._results = False
        self._calls: dict[str, str] = {}  # names of functions, by the id of their call
        self._legacy = ""  # id of the last legacy call

    def read(self, message: Taken) -> None:
        role = message.needed("role")
        results = role in ("tool", "function")
        if role in ("system", "developer"):
            self._system(message)
        elif role == "user":
            self._user(message)
        elif role == "assistant":
            self.turns.append(("assistant", self._assistant(message), message.path))
        elif results:
            self._result(message, legacy=role == "function")
        else:
            raise unknown(message.at("role"), "the role", role, _ROLES)
        self._results = results
        message.settle()

    def _system(self, message: Taken) -> None:
        parts = _content(message, _SYSTEM)
        if self.turns:
            self.turns.append(("system", parts, message.path))
        else:
            self.instructions += parts

    def _user(self, message: Taken) -> None:
        parts = _content(message, _USER)
        if self._results:
            self.turns[-1][1].extend(parts)
        else:
            self.turns.append(("user", parts, message.path))

    def _result(self, message: Taken, *, legacy: bool) -> None:
        id = self._legacy if legacy else message.needed("tool_call_id")
        if legacy and not id:
            raise LocalError("a function's message must follow a function_call", field=message.at("role"))
        name = message.text("name")
        if name and name != self._calls.get(id):  # else it only repeats which function was called
            message.fields[message.at("name")] = name
        cache = message.cache()
        # OpenAI takes text only; other servers take images too
        parts = tuple(_content(message, _USER, needed=not legacy))
        result = ToolResult(id=id, parts=parts, path=message.path, cache=cache)
        if self._results:
            self.turns[-1][1].append(result)
        else:
            self.turns.append(("user", [result], message.path))

    def _assistant(self, message: Taken) -> list[Part]:
        message.skip("parsed")  # the SDK's own reading of the content
        parts = read_echo(message)
        said = _content(message, _ASSISTANT, needed=False)
        parts += [part for part in said if type(part) is not Text or part.text]
        if refusal := message.text("refusal"):
            parts.append(Refusal(text=refusal, path=message.at("refusal")))
        if message.mapping("audio") is not None:
            raise LocalError(f"{message.at('audio')}: only text can be translated", field=message.at("audio"))
        for index, call in enumerate(message.entries("tool_calls")):
            parts.append(self._call(Taken(call, f"{message.at('tool_calls')}[{index}]", message.fields)))
        if (legacy := message.mapping("function_call")) is not None:
            self._legacy = f"function_{message.path[9:-1]}"  # it has no id: the number of its message
            parts.append(self._function(Taken(legacy, message.at("function_call"), message.fields), self._legacy))
        if annotations := message.entries("annotations"):  # SDKs hand back [] with every answer
            message.fields[message.at("annotations")] = annotations
        return parts

    def _call(self, call: Taken) -> ToolCall:
        kind = call.value("type")
        if kind not in (None, "function"):
            raise unknown(call.at("type"), "a call of type", kind, ("function",))
        call.skip("index")  # left over from a stream that the client put together
        id, cache = call.needed("id"), call.cache()
        read = self._function(call.inner("function"), id, call.path, cache)
        call.settle()
        return read

    def _function(self, function: Taken, id: str, path: str = "", cache: str = "") -> ToolCall:
        name, arguments = function.needed("name"), function.text("arguments") or "{}"
        function.skip("parsed_arguments")  # what OpenAI's helper made of them, in a message that is handed back
        self._calls[id] = name
        function.settle()
        return ToolCall(id=id, name=name, arguments=arguments, path=path or function.path, cache=cache)


def _content(message: Taken, readers: Mapping[str, Reader], *, needed: bool = True) -> list[Part]:
    value, path = message.value("content"), message.at("content")
    if type(value) is str:
        return [Text(text=value, path=path)]
    if value is None and not needed:
        return []
    if type(value) is not list:
        raise wrong(path, "a string or a list of parts", value)
    parts = []
    for index, entry in enumerate(value):
        part = Taken(entry, f"{path}[{index}]", message.fields)
        kind = part.value("type")
        reader = readers.get(kind) if type(kind) is str else None
        if reader is None:
            raise unknown(part.at("type"), "content of type", kind, tuple(readers))
        parts.append(reader(part, part.cache()))
        part.settle()
    return parts


def _text(part: Taken, cache: str) -> Part:
    return Text(text=part.needed("text"), path=part.path, cache=cache)


def _refusal(part: Taken, cache: str) -> Part:
    return Refusal(text=part.needed("refusal"), path=part.path, cache=cache)


def _image(part: Taken, cache: str) -> Part:
    image = part.inner("image_url")
    url, detail = image.needed("url"), image.text("detail")
    image.settle()
    if not is_data_url(url):
        return Image(url=url, detail=detail, path=part.path, cache=cache)
    media_type, data = read_data_url(url, image.at("url"))
    return Image(media_type=media_type, data=data, detail=detail, path=part.path, cache=cache)


def _file(part: Taken, cache: str) -> Part:
    file = part.inner("file")
    if file.text("file_id"):
        raise LocalError(
            f"{file.at('file_id')}: a file kept by one provider cannot be translated; give file_data",
            field=file.at("file_id"),
        )
    data, name = file.needed("file_data"), file.text("filename")
    file.settle()
    if data.startswith(("https://", "http://")):  # OpenRouter's extension
        return Document(url=data, name=name, path=part.path, cache=cache)
    media_type, data = read_data_url(data, file.at("file_data"))
    return Document(media_type=media_type, data=data, name=name, path=part.path, cache=cache)


_SYSTEM: Mapping[str, Reader] = MappingProxyType({"text": _text})
_USER: Mapping[str, Reader] = MappingProxyType({"text": _text, "image_url": _image, "file": _file})
_ASSISTANT: Mapping[str, Reader] = MappingProxyType({"text": _text, "refusal": _refusal})
