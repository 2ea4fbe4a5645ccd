"""A Chat Completions request as an `Ask`: every field of it, or a refusal that names the one which is not understood.

Accepted beside OpenAI's own fields are `top_k`, and in messages `reasoning_content` or `reasoning`, `reasoning_details`
and `cache_control`, which compatible servers and their clients have made common. `functions` and `function_call`, long
deprecated, are accepted too; their client gets its call back in the same words (answer.py). It does not read the
messages (messages_in.py) and leaves ranges to the upstream.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

from interlock.errors import LocalError
from interlock.gateway.translate.chat.messages_in import read_messages
from interlock.gateway.translate.neutral import Ask, Effort, Schema, Thinks, Tool, ToolChoice
from interlock.gateway.translate.taken import Taken, unknown, wrong

_EFFORTS: tuple[str, ...] = get_args(Effort)
_CHOICES: Mapping[str, Literal["auto", "none", "any"]] = MappingProxyType(
    {"auto": "auto", "none": "none", "required": "any"}
)
_DEFAULTS: tuple[tuple[str, object], ...] = (
    ("frequency_penalty", 0),
    ("presence_penalty", 0),
    ("logprobs", False),
    ("logit_bias", {}),
)


def read_request(document: dict[str, Any]) -> Ask:
    """Read a request body.

    Raises: LocalError: `field` is the path of what has the wrong type or cannot be understood.
    """
    fields: dict[str, Any] = {}
    body = Taken(document, "", fields)
    body.skip("model")
    instructions, turns = read_messages(body.entries("messages"), fields)
    options = body.inner("stream_options")
    tools, choice, parallel = _tools(body)
    _one_answer_of_text(body)
    ask = Ask(
        format="chat",
        stream=body.flag("stream") or False,
        instructions=instructions,
        turns=turns,
        tools=tools,
        tool_choice=choice,
        parallel=parallel,
        max_output=_max_output(body),
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        top_k=body.integer("top_k"),
        stop=_stop(body),
        schema=_schema(body),
        reasoning=_reasoning(body),
        user=_user(body),
        includes_usage=options.flag("include_usage") or False,
        fields=fields,
    )
    for name, default in _DEFAULTS:
        body.skip_default(name, default)
    options.settle()
    body.settle()
    return ask


def _one_answer_of_text(body: Taken) -> None:
    """`n`, `modalities` and `audio`: an `Answer` is one, of text, whatever the upstream's format."""
    if body.integer("n") not in (None, 1):
        raise LocalError("n: only one choice can be translated", field="n")
    if set(body.texts("modalities")) - {"text"}:
        raise LocalError("modalities: only text can be translated", field="modalities")
    if body.mapping("audio") is not None:
        raise LocalError("audio: only text can be translated", field="audio")


def _max_output(body: Taken) -> int | None:
    """`max_completion_tokens` or its older name `max_tokens`; below 0 is what some servers read as no limit."""
    limit, older = body.integer("max_completion_tokens"), body.integer("max_tokens")
    if limit is not None and older is not None and limit != older:
        raise LocalError("max_tokens differs from max_completion_tokens, which replaces it", field="max_tokens")
    limit = older if limit is None else limit
    return limit if limit is None or limit >= 0 else None


def _stop(body: Taken) -> tuple[str, ...]:
    """A string or a list of them. More than OpenAI's four are no fault here: other targets and servers take more."""
    value = body.value("stop")
    if value is None:
        return ()
    if type(value) is str:
        return (value,)
    if type(value) is not list or not all(type(entry) is str for entry in value):
        raise wrong("stop", "a string or a list of strings", value)
    return tuple(value)


def _user(body: Taken) -> str:
    """`user`, or `safety_identifier`, which replaces it; where both differ, the second is a field of its own."""
    user, identifier = body.text("user"), body.text("safety_identifier")
    if user and identifier and user != identifier:
        body.fields["safety_identifier"] = identifier
    return user or identifier


def _schema(body: Taken) -> Schema | None:
    shape = body.inner("response_format")
    kind = shape.value("type")
    inner = shape.inner("json_schema") if kind == "json_schema" else None
    shape.settle()
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        return Schema()
    if inner is None:
        raise unknown("response_format.type", "the type", kind, ("text", "json_object", "json_schema"))
    schema = Schema(
        schema=inner.mapping("schema"),
        name=inner.needed("name"),
        description=inner.text("description"),
        strict=inner.flag("strict"),
    )
    inner.settle()
    return schema


def _reasoning(body: Taken) -> Thinks | None:
    effort = body.value("reasoning_effort")
    if effort is None:
        return None
    if effort not in _EFFORTS:
        raise unknown("reasoning_effort", "the effort", effort, _EFFORTS)
    return Thinks(effort=effort, off=effort == "none")


def _tools(body: Taken) -> tuple[tuple[Tool, ...], ToolChoice | None, bool | None]:
    given, functions = body.entries("tools"), body.entries("functions")
    choice, call = body.value("tool_choice"), body.value("function_call")
    parallel = body.flag("parallel_tool_calls")
    if given and functions:
        raise LocalError("functions: tools replaces them; only one of the two can be given", field="functions")
    if functions:
        # a legacy client can be given one call only
        tools = tuple(_function(Taken(entry, f"functions[{n}]", body.fields)) for n, entry in enumerate(functions))
        return tools, _named(call, body.fields), False
    tools = tuple(_tool(Taken(entry, f"tools[{n}]", body.fields)) for n, entry in enumerate(given))
    return tools, _choice(choice, body.fields), None if parallel else parallel


def _tool(entry: Taken) -> Tool:
    kind = entry.value("type")
    if kind != "function":
        raise unknown(entry.at("type"), "a tool of type", kind, ("function",))
    tool = _function(entry.inner("function"), path=entry.path, cache=entry.cache())
    entry.settle()
    return tool


def _function(function: Taken, path: str = "", cache: str = "") -> Tool:
    tool = Tool(
        name=function.needed("name"),
        description=function.text("description"),
        schema=function.mapping("parameters") or {},
        strict=function.flag("strict"),
        cache=cache,
        path=path or function.path,
    )
    function.settle()
    return tool


def _choice(value: object, fields: dict[str, Any]) -> ToolChoice | None:
    if value is None:
        return None
    if type(value) is str:
        if value not in _CHOICES:
            raise unknown("tool_choice", "the choice", value, (*_CHOICES, "an object of type function"))
        return ToolChoice(kind=_CHOICES[value])
    choice = Taken(value, "tool_choice", fields)
    kind = choice.value("type")
    if kind != "function":
        raise unknown("tool_choice.type", "a choice of type", kind, ("function",))
    function = choice.inner("function")
    name = function.needed("name")
    function.settle()
    choice.settle()
    return ToolChoice(kind="tool", name=name)


def _named(value: object, fields: dict[str, Any]) -> ToolChoice | None:
    """The legacy `function_call`."""
    if value is None:
        return None
    if type(value) is dict:
        call = Taken(value, "function_call", fields)
        name = call.needed("name")
        call.settle()
        return ToolChoice(kind="tool", name=name)
    if value not in ("auto", "none"):
        raise unknown("function_call", "the choice", value, ("auto", "none", "an object with a name"))
    return ToolChoice(kind=_CHOICES[str(value)])
