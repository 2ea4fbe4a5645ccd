"""An `Ask` as a Responses request.

Of another format it is written without state: `store` false, and reasoning is asked for in its encrypted form, so that
it can come back. `instructions` are all leading system texts, joined by blank lines. A function's `strict` is written
false where chat or Messages did not say it, since here unsaid means true. A reasoning budget becomes the nearest effort
(the budget is listed as dropped); a Messages client that shows reasoning gets a summary.
"""

import base64
import hashlib
from typing import Any, cast

from interlock.gateway.translate.effort import effort_of
from interlock.gateway.translate.fields import name_of_field, settle_fields, unsayable
from interlock.gateway.translate.ids import to_upstream
from interlock.gateway.translate.media import data_url
from interlock.gateway.translate.neutral import (
    Ask,
    Document,
    Image,
    Part,
    Reasoning,
    Refusal,
    Schema,
    Target,
    Text,
    Thinks,
    ToolCall,
    ToolResult,
    Turn,
    Written,
)
from interlock.gateway.translate.own import Own
from interlock.gateway.translate.reasoning import BREAK, is_readable
from interlock.gateway.translate.responses.request_in import ENCRYPTED

_SUMMARIES = {"summarized": "auto", "omitted": ""}
_CHOICES = {"auto": "auto", "none": "none", "any": "required"}
_CHAT_FIELDS = {
    "metadata": "metadata",
    "service_tier": "service_tier",
    "prompt_cache_key": "prompt_cache_key",
    "prompt_cache_retention": "prompt_cache_retention",
    "prompt_cache_options": "prompt_cache_options",
    "verbosity": "text.verbosity",
}
"""What chat says of its answer under the same or another name."""
_USER_CHARS_MAX = 64
"""OpenAI refuses longer ones; it recommends a hash, which is what they become."""


def write_request(ask: Ask, target: Target) -> Written:
    """Write the request for `target`.

    Raises: LocalError: `field` is the path, in the client's request, of what Responses has no word for.
    """
    for name, said in (("stop", ask.stop), ("top_k", ask.top_k is not None)):
        if said:
            raise unsayable(name_of_field(ask, name), "responses")
    draft = _Draft(ask, target)
    optional = {
        "instructions": draft.instructions(),
        "tools": write_tools(ask, draft.dropped),
        "tool_choice": write_tool_choice(ask),
        "parallel_tool_calls": ask.parallel,
        "max_output_tokens": ask.max_output,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "text": {"format": write_format(ask.schema)} if ask.schema else None,
        "reasoning": draft.reasoning(ask.reasoning) if ask.reasoning else None,
        "safety_identifier": _short(ask.user),
    }
    document: dict[str, Any] = {"model": target.model, "input": draft.items(), "stream": ask.stream}
    document |= {name: value for name, value in optional.items() if value not in (None, "", [], {})}
    document |= {"include": [ENCRYPTED]} | ({} if ask.format == "responses" else {"store": False})
    draft.put_fields(document)
    return Written(document=document, dropped=tuple(dict.fromkeys(draft.dropped)))


class _Draft:
    """A request in the making: what was dropped, and which of the client's own fields stand with which part."""

    def __init__(self, ask: Ask, target: Target) -> None:
        self.dropped: list[str] = []
        self._ask, self._target = ask, target
        self._own = Own(ask, "responses")

    def instructions(self) -> str:
        for part in self._ask.instructions:
            self._cached(part)
        return BREAK.join(part.text for part in self._ask.instructions if isinstance(part, Text))

    def items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for turn in self._ask.turns:
            self._turn(turn, items)
        return items

    def _turn(self, turn: Turn, items: list[dict[str, Any]]) -> None:
        role = "developer" if turn.role == "system" else turn.role
        before = ""
        for part in turn.parts:
            self._cached(part)
            if (item := self._item(part)) is not None:
                items += item
                before = ""
                continue
            message = part.path.partition(".content")[0] or "message"
            if message != before:
                content: list[dict[str, Any]] = []
                items.append({"type": "message", "role": role, "content": content, **self._own.within(message)})
                before = message
            content.append(self._content(part, said=turn.role == "assistant"))

    def _item(self, part: Part) -> list[dict[str, Any]] | None:
        """The items that a part is by itself, none if it is dropped; None: it is content of a message."""
        if isinstance(part, ToolCall):
            id = to_upstream(part.id, "responses")
            item = {"type": "function_call", "call_id": id, "name": part.name, "arguments": part.arguments}
        elif isinstance(part, ToolResult):
            item = self._result(part)
        elif isinstance(part, Reasoning):
            if not is_readable(part, self._target, "item"):
                self.dropped.append(part.path)
                return []
            item = _reasoning_item(part)
        else:
            return None
        return [self._own.put(item, part.path)]

    def _result(self, part: ToolResult) -> dict[str, Any]:
        if part.error:
            self.dropped.append(f"{part.path}.is_error")
        for inner in part.parts:
            self._cached(inner)
        output: str | list[dict[str, Any]]
        match part.parts:
            case ():
                output = ""
            case (Text(text=text, path=path),) if not self._own.within(path):
                output = text
            case parts:
                output = [self._content(inner, said=False) for inner in parts]
        return {"type": "function_call_output", "call_id": to_upstream(part.id, "responses"), "output": output}

    def _content(self, part: Part, *, said: bool) -> dict[str, Any]:
        """A content part, by the assistant (`said`) or for it."""
        own = self._own.within(part.path)
        if isinstance(part, Text):
            if said:
                return {"type": "output_text", "text": part.text, "annotations": []} | own
            return {"type": "input_text", "text": part.text} | own
        if isinstance(part, Refusal) and said:
            return {"type": "refusal", "refusal": part.text} | own
        if isinstance(part, Image) and not said:
            url = part.url or data_url(part.media_type, part.data)
            return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"} | own
        if isinstance(part, Document) and not said:
            return _file(part) | own
        raise unsayable(part.path, "responses")

    def _cached(self, part: Part) -> None:
        if part.cache:
            self.dropped.append(f"{part.path}.cache_control")

    def reasoning(self, thinks: Thinks) -> dict[str, Any]:
        if thinks.budget_tokens is not None:
            self.dropped.append(f"{name_of_field(self._ask, 'reasoning')}.budget_tokens")
        shows = self._ask.format == "messages" and not thinks.off
        summary = _SUMMARIES.get(thinks.summary, thinks.summary or ("auto" if shows else ""))
        said = {"effort": effort_of(thinks), "summary": summary}
        return {name: value for name, value in said.items() if value}

    def put_fields(self, document: dict[str, Any]) -> None:
        """Everything else that the client said, where it can be said."""
        ask, unlike = self._ask, [path for path in self._ask.fields if path.startswith(("input[", "tools["))]
        if ask.format == "responses":
            for path in ask.fields.keys() - set(unlike):
                _put(document, path, ask.fields[path])
            document["include"] = list(dict.fromkeys([ENCRYPTED, *document["include"]]))
            return
        taken = []
        if ask.format == "chat":
            for path in _CHAT_FIELDS.keys() & ask.fields.keys():
                _put(document, _CHAT_FIELDS[path], ask.fields[path])
                taken.append(path)
        if ask.fields.get("store") is False:
            taken.append("store")
        dropped: list[str] = []
        settle_fields(ask, taken, "responses", dropped.append)
        self.dropped += sorted(dropped)


def write_tools(ask: Ask, dropped: list[str] | None = None) -> list[dict[str, Any]]:
    """The tools; a Responses client's built-in ones, as they were given, after its functions."""
    own = Own(ask, "responses")
    tools = []
    for tool in ask.tools:
        if tool.cache and dropped is not None:
            dropped.append(f"{tool.path}.cache_control")
        written: dict[str, Any] = {"type": "function", "name": tool.name}
        written |= {"description": tool.description} if tool.description else {}
        written["parameters"] = tool.schema or {"type": "object", "properties": {}}
        strict = False if tool.strict is None and ask.format != "responses" else tool.strict
        written |= {} if strict is None else {"strict": strict}
        tools.append(own.put(written, tool.path))
    return tools + [ask.fields[f"{path}.type"] for path in own.holders("type") if path.startswith("tools[")]


def write_tool_choice(ask: Ask) -> str | dict[str, Any] | None:
    """None: nothing was said."""
    choice = ask.tool_choice
    if choice is None:
        return None
    return {"type": "function", "name": choice.name} if choice.kind == "tool" else _CHOICES[choice.kind]


def write_format(schema: Schema | None) -> dict[str, Any]:
    """`text.format`; a schema must have a name."""
    if schema is None:
        return {"type": "text"}
    if schema.schema is None:
        return {"type": "json_object"}
    written: dict[str, Any] = {"type": "json_schema", "name": schema.name or "output", "schema": schema.schema}
    written |= {"description": schema.description} if schema.description else {}
    return written | ({} if schema.strict is None else {"strict": schema.strict})


def _reasoning_item(part: Reasoning) -> dict[str, Any]:
    """Unsealed reasoning is that of an open model, whose servers read it from `content` (llama.cpp insists on it)."""
    item: dict[str, Any] = {"type": "reasoning"} | ({"id": part.id} if part.id else {})
    if part.seal:
        summary = [{"type": "summary_text", "text": part.text}] if part.text else []
        return item | {"summary": summary, "encrypted_content": part.seal}
    return item | {"summary": [], "content": [{"type": "reasoning_text", "text": part.text}]}


def _file(part: Document) -> dict[str, Any]:
    if part.url:
        return {"type": "input_file", "file_url": part.url} | ({"filename": part.name} if part.name else {})
    media_type, data, name = part.media_type, part.data, part.name or "document.pdf"
    if not data:
        media_type, data = "text/plain", base64.b64encode(part.text.encode(errors="replace")).decode()
        name = part.name or "document.txt"
    return {"type": "input_file", "filename": name, "file_data": data_url(media_type, data)}


def _short(user: str) -> str:
    return user if len(user) <= _USER_CHARS_MAX else hashlib.sha256(user.encode(errors="replace")).hexdigest()


def _put(document: dict[str, Any], path: str, value: object) -> None:
    *holders, name = path.split(".")
    for holder in holders:
        document = cast(dict[str, Any], document.setdefault(holder, {}))
    document[name] = value
