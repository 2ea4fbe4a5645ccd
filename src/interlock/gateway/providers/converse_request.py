"""A Messages request as Bedrock's Converse has it.

What converse_shapes.py does not declare is refused by its path. JSON that only the model reads (arguments, schemas,
`thinking`) passes as it was written.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from interlock import strictjson
from interlock.errors import LocalError
from interlock.gateway.providers.converse_shapes import (
    Block,
    Cache,
    Document,
    Image,
    OutputConfig,
    Passages,
    Pdf,
    Plain,
    Redacted,
    Request,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
)
from interlock.gateway.translate import ids
from interlock.gateway.translate.fields import unsayable

TARGET = "Bedrock's Converse"

_NULL = (b"", b"null")
_PLACE = re.compile(r"(?P<why>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_MEMBER = re.compile(r"field `([^`]*)`")
_NAMELESS = re.compile(r"[^A-Za-z0-9()\[\]]+")


_read = msgspec.json.Decoder(Request)


def write(body: bytes, *, anthropic: bool, betas: Sequence[str] = ()) -> bytes:
    """The Converse body for a Messages body.

    Raises: LocalError: not JSON, not a Messages request, or Converse has no word for the field that is named.
    """
    strictjson.loads(body, finite=True)  # what msgspec lets pass: a key twice, any depth
    try:
        return msgspec.json.encode(_Writer(_read.decode(body), anthropic).document(betas))
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from error


_TOP_HINTS = ("metadata", "service_tier", "speed")


def hints(body: bytes, *, anthropic: bool) -> tuple[str, ...]:
    """Paths of what `write` leaves out of a body that it took."""
    document = strictjson.loads(body)
    found = [name for name in _TOP_HINTS if document.get(name) is not None]
    _within(
        document, "", found, ("eager_input_streaming",) if anthropic else ("eager_input_streaming", "cache_control")
    )
    return tuple(found)


def _within(value: Any, path: str, found: list[str], names: Sequence[str]) -> None:
    """Breakpoints and the like, wherever blocks and tools may stand; not in what only the model reads."""
    if isinstance(value, list):
        for at, entry in enumerate(value):
            _within(entry, f"{path}[{at}]", found, names)
    elif isinstance(value, dict):
        found += [f"{path}.{name}".lstrip(".") for name in names if value.get(name) is not None]
        for name in ("system", "messages", "tools", "content"):
            _within(value.get(name), f"{path}.{name}".lstrip("."), found, names)


def _refusal(message: str) -> LocalError:
    """msgspec's words as ours: `Expected …, got … - at `$.messages[0].content``."""
    place = _PLACE.fullmatch(message)
    why, path = (place["why"], place["path"] or "") if place else (message, "")
    if member := _MEMBER.search(why):
        path = f"{path}.{member[1]}".lstrip(".")
    return unsayable(path or "body", TARGET, f"is not as it can be there ({why})")


class _Writer:
    """Writes one request."""

    def __init__(self, ask: Request, anthropic: bool) -> None:
        self._ask = ask
        self._anthropic = anthropic
        self._documents = 0
        self._calls = False  # tools are called, or answer, in the conversation

    def document(self, betas: Sequence[str]) -> dict[str, Any]:
        ask = self._ask
        document: dict[str, Any] = {"messages": self._messages()}
        if system := self._system():
            document["system"] = system
        document["inferenceConfig"] = _set(
            maxTokens=ask.max_tokens, temperature=ask.temperature, topP=ask.top_p, stopSequences=ask.stop_sequences
        )
        if tools := self._tool_config():
            document["toolConfig"] = tools
        if output := self._output_config():
            document["outputConfig"] = output
        if more := self._additional(betas):
            document["additionalModelRequestFields"] = more
        if ask.stop_sequences:  # which one it was, Converse says only if asked
            document["additionalModelResponseFieldPaths"] = ["/stop_sequence"]
        return document

    def _system(self) -> list[dict[str, Any]]:
        system = self._ask.system or []
        pieces = [Text(text=system)] if isinstance(system, str) else system
        written = [[{"text": piece.text}, *self._cache_point(piece.cache_control)] for piece in pieces if piece.text]
        return [entry for entries in written for entry in entries]

    def _messages(self) -> list[dict[str, Any]]:
        """Converse wants roles to alternate; Messages joins those that do not."""
        messages: list[dict[str, Any]] = []
        for at, message in enumerate(self._ask.messages):
            content = self._content(message.content, f"messages[{at}].content")
            if messages and messages[-1]["role"] == message.role:
                messages[-1]["content"] += content
            else:
                messages.append({"role": message.role, "content": content})
        if messages:
            messages[-1]["content"] += self._cache_point(self._ask.cache_control)
        return messages

    def _content(self, content: str | list[Block], path: str) -> list[dict[str, Any]]:
        if isinstance(content, str):
            return [{"text": content}]
        entries: list[dict[str, Any]] = []
        for at, block in enumerate(content):
            entries.append(self._block(block, f"{path}[{at}]"))
            entries += self._cache_point(_breakpoint(block))
        return entries

    def _block(self, block: Block, path: str) -> dict[str, Any]:
        match block:
            case Text():
                return {"text": block.text}
            case Image():
                return {"image": _image(block, path)}
            case Document():
                return {"document": self._document(block, path)}
            case ToolUse():
                self._calls = True
                given = _object(block.input, f"{path}.input")
                return {"toolUse": {"toolUseId": _id(block.id), "name": block.name, "input": given}}
            case ToolResult():
                self._calls = True
                return {"toolResult": self._result(block, path)}
            case Thinking():
                sealed = _set(text=block.thinking, signature=block.signature or None)
                return {"reasoningContent": {"reasoningText": sealed}}
            case Redacted():
                return {"reasoningContent": {"redactedContent": _base64(block.data, f"{path}.data")}}

    def _result(self, block: ToolResult, path: str) -> dict[str, Any]:
        content = block.content or []
        pieces = [Text(text=content)] if isinstance(content, str) else content
        entries = [self._block(piece, f"{path}.content[{at}]") for at, piece in enumerate(pieces)]
        status = "error" if block.is_error else None
        return _set(toolUseId=_id(block.tool_use_id), content=entries, status=status)

    def _document(self, block: Document, path: str) -> dict[str, Any]:
        if block.citations and block.citations.enabled:
            raise unsayable(f"{path}.citations", TARGET)
        self._documents += 1
        # Bedrock wants names of few characters and no name twice; the number stays as the conversation grows
        title = _NAMELESS.sub(" ", block.title or "").strip()[:180] or "document"
        named = _set(name=f"{title} {self._documents}", context=block.context)
        match block.source:
            case Pdf(data=data):
                return {"format": "pdf", **named, "source": {"bytes": _base64(data, f"{path}.source.data")}}
            case Plain(data=text):
                source = {"bytes": base64.b64encode(text.encode()).decode()}
                return {"format": "txt", **named, "source": source}
            case Passages(content=content):
                texts = [content] if isinstance(content, str) else [piece.text for piece in content]
                return {**named, "source": {"content": [{"text": text} for text in texts]}}

    def _tool_config(self) -> dict[str, Any] | None:
        tools, choice = self._ask.tools or [], self._ask.tool_choice
        kind = choice.type if choice else "auto"
        if not tools:
            if self._calls:
                raise unsayable("tools", TARGET, "must be there where the conversation holds calls of tools")
            if kind in ("any", "tool"):
                raise unsayable("tool_choice", TARGET, "needs tools")
            return None
        if kind == "none":
            if self._calls:
                raise unsayable("tool_choice", TARGET, "cannot be `none` where the conversation holds calls of tools")
            return None
        config: dict[str, Any] = {"tools": [entry for at, tool in enumerate(tools) for entry in self._tool(tool, at)]}
        if choice:
            if (kind == "tool") != (choice.name is not None):
                raise LocalError("tool_choice.name: goes with type `tool`, and only there", field="tool_choice.name")
            config["toolChoice"] = {kind: _set(name=choice.name)}
        return config

    def _tool(self, tool: Tool, at: int) -> list[dict[str, Any]]:
        schema = {"json": _object(tool.input_schema, f"tools[{at}].input_schema")}
        spec = _set(name=tool.name, description=tool.description or None, inputSchema=schema, strict=tool.strict)
        return [{"toolSpec": spec}, *self._cache_point(tool.cache_control)]

    def _output_config(self) -> dict[str, Any]:
        config = self._ask.output_config or OutputConfig()
        text_format = None
        if config.format:
            schema = bytes(_object(config.format.schema, "output_config.format.schema")).decode()
            text_format = {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema}}}
        return _set(textFormat=text_format, effort=config.effort)

    def _additional(self, betas: Sequence[str]) -> dict[str, Any]:
        """What only Claude models take, in Anthropic's own words."""
        ask, more = self._ask, dict[str, Any]()
        choice = ask.tool_choice
        if choice and choice.disable_parallel_tool_use and ask.tools and choice.type != "none":
            more["tool_choice"] = _set(type=choice.type, name=choice.name, disable_parallel_tool_use=True)
        for field in ("thinking", "top_k", "context_management"):
            if bytes(getattr(ask, field)) not in _NULL:
                more[field] = getattr(ask, field)
        if more and not self._anthropic:
            field = next(iter(more))
            raise unsayable("tool_choice.disable_parallel_tool_use" if field == "tool_choice" else field, TARGET)
        if self._anthropic and (beta := ask.anthropic_beta or list(betas)):
            more["anthropic_beta"] = beta
        return more

    def _cache_point(self, cache: Cache | None) -> list[dict[str, Any]]:
        """After what it caches. Other models do not know it and would refuse the request."""
        return [{"cachePoint": _set(type="default", ttl=cache.ttl)}] if cache and self._anthropic else []


def _breakpoint(block: Block) -> Cache | None:
    """A breakpoint within a tool's result can only stand after the result."""
    if isinstance(block, ToolResult) and isinstance(block.content, list):
        within = [piece.cache_control for piece in block.content if piece.cache_control]
        return block.cache_control or (within[-1] if within else None)
    return block.cache_control


def _image(block: Image, path: str) -> dict[str, Any]:
    source = block.source
    data = _base64(source.data, f"{path}.source.data")
    return {"format": source.media_type.removeprefix("image/"), "source": {"bytes": data}}


def _set(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _id(id: str) -> str:
    """An id of at most 64 characters that Converse takes; the same for a call and its result."""
    return ids.to_upstream(ids.to_upstream(id, "messages"), "responses")


def _object(raw: Raw, path: str) -> Raw:
    if not bytes(raw).startswith(b"{"):
        raise LocalError(f"{path}: must be an object", field=path)
    return raw


def _base64(data: str, path: str) -> str:
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise LocalError(f"{path}: must be base64", field=path) from error
    return data
