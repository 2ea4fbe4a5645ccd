"""An `Ask` as a Chat Completions request.

What chat has no word for is refused or, where it is a hint, dropped and listed. Roles are `system`, `user`,
`assistant` and `tool` only: OpenAI's models read `system` as `developer` where they know that, other servers know no
`developer`. It does not check ranges, and does not judge the order of messages.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from interlock.gateway.translate.chat.messages_out import write_messages
from interlock.gateway.translate.effort import effort_of
from interlock.gateway.translate.fields import name_of_field, settle_fields, unsayable
from interlock.gateway.translate.neutral import Ask, Schema, Target, Thinks, Tool, ToolChoice, Written
from interlock.gateway.translate.own import Own

_OPENAI = re.compile(r"(gpt|chatgpt|codex|o\d+)")
"""Families of OpenAI's models."""
USER_CHARS_MAX = 64
"""OpenAI refuses a longer `user`; Anthropic's clients send some."""
_CHOICES = MappingProxyType({"auto": "auto", "none": "none", "any": "required"})
_SHARED: Mapping[str, str] = MappingProxyType(
    {
        "text.verbosity": "verbosity",
        "service_tier": "service_tier",
        "prompt_cache_key": "prompt_cache_key",
        "prompt_cache_retention": "prompt_cache_retention",
        "prompt_cache_options": "prompt_cache_options",
        "stream_options.include_obfuscation": "stream_options.include_obfuscation",
    }
)
"""Fields of Responses that chat has too. All are hints, so servers other than OpenAI's are spared them."""


def write_request(ask: Ask, target: Target) -> Written:
    """Say it in chat's words.

    Raises: LocalError: it cannot be said; `field` is the path in the client's request.
    """
    dropped: list[str] = []
    own = Own(ask, "chat")
    document: dict[str, Any] = {"model": target.model, "messages": write_messages(ask, target, own, dropped)}
    _write_tools(document, ask, own, dropped)
    _write_options(document, ask, target, own, dropped)
    document |= own.within("")
    taken = own.taken
    if ask.format == "responses" and _by_openai(target):
        taken |= _take_shared(document, ask)
    settle_fields(ask, taken, "chat", dropped.append)
    return Written(document=document, dropped=tuple(dropped))


def _by_openai(target: Target) -> bool:
    """Whether OpenAI's own server answers, as far as names tell: its open-weights models others run."""
    return _OPENAI.fullmatch(target.family) is not None and "oss" not in target.model


def _write_options(document: dict[str, Any], ask: Ask, target: Target, own: Own, dropped: list[str]) -> None:
    if ask.stream:
        # always with usage: the gateway meters by it, and hides it from a client that did not ask
        options: dict[str, Any] = {"include_usage": True}
        document |= {"stream": True, "stream_options": own.put(options, "stream_options")}
    if ask.max_output is not None:
        # OpenAI's reasoning models refuse the older name; Mistral refuses the newer one, Ollama ignores it unsaid
        document["max_completion_tokens" if _by_openai(target) else "max_tokens"] = ask.max_output
    if ask.top_k is not None:
        if ask.format != "chat":  # where it was said in chat's words, the server is taken to know it
            raise unsayable(name_of_field(ask, "top_k"), "chat")
        document["top_k"] = ask.top_k
    for name, value in (("temperature", ask.temperature), ("top_p", ask.top_p)):
        if value is not None:
            document[name] = value
    if ask.stop:
        document["stop"] = list(ask.stop)
    if ask.schema is not None:
        document["response_format"] = _schema(ask.schema, own)
    if ask.reasoning is not None:
        _write_effort(document, ask, ask.reasoning, dropped)
    if len(ask.user) > USER_CHARS_MAX and ask.format != "chat":
        dropped.append(name_of_field(ask, "user"))
    elif ask.user:
        document["user"] = ask.user


def _schema(schema: Schema, own: Own) -> dict[str, Any]:
    if schema.schema is None and not schema.name:
        return own.put({"type": "json_object"}, "response_format")
    inner: dict[str, Any] = {"name": schema.name or "output"}
    if schema.description:
        inner["description"] = schema.description
    if schema.schema is not None:
        inner["schema"] = schema.schema
    if schema.strict is not None:
        inner["strict"] = schema.strict
    own.put(inner, "response_format.json_schema")
    return own.put({"type": "json_schema", "json_schema": inner}, "response_format")


def _write_effort(document: dict[str, Any], ask: Ask, thinks: Thinks, dropped: list[str]) -> None:
    """Chat knows efforts only: a budget is said as the nearest, and listed; `adaptive` alone is left to the model."""
    name, effort = name_of_field(ask, "reasoning"), effort_of(thinks)
    if thinks.budget_tokens is not None:
        dropped.append(f"{name}.budget_tokens")
    elif thinks.adaptive and effort is None:
        dropped.append(name)
    if effort:
        document["reasoning_effort"] = effort
    if thinks.summary:
        dropped.append("thinking.display" if ask.format == "messages" else "reasoning.summary")


def _write_tools(document: dict[str, Any], ask: Ask, own: Own, dropped: list[str]) -> None:
    if not ask.tools:
        return  # choice and parallel say nothing then, and OpenAI refuses them
    document["tools"] = [_tool(tool, ask, own, dropped) for tool in ask.tools]
    if ask.tool_choice is not None:
        document["tool_choice"] = _choice(ask.tool_choice, own)
    if ask.parallel is not None:
        document["parallel_tool_calls"] = ask.parallel


def _tool(tool: Tool, ask: Ask, own: Own, dropped: list[str]) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.schema or {"type": "object", "properties": {}}
    if tool.strict is not None:
        function["strict"] = tool.strict
    entry = {"type": "function", "function": function}
    own.cache(entry, tool.cache, tool.path, dropped)
    if tool.path.startswith("functions["):
        own.put(function, tool.path)
        return entry
    own.put(function, f"{tool.path}.function")
    return own.put(entry, tool.path)


def _choice(choice: ToolChoice, own: Own) -> str | dict[str, Any]:
    if choice.kind != "tool":
        return _CHOICES[choice.kind]
    function = own.put({"name": choice.name}, "tool_choice.function")
    return own.put({"type": "function", "function": function}, "tool_choice")


def _take_shared(document: dict[str, Any], ask: Ask) -> set[str]:
    taken = set()
    for path in _SHARED.keys() & ask.fields.keys():
        holder, _, name = _SHARED[path].rpartition(".")
        if holder and holder not in document:
            continue  # stream_options, where nothing is streamed
        inner = document[holder] if holder else document
        inner[name] = ask.fields[path]
        taken.add(path)
    return taken
