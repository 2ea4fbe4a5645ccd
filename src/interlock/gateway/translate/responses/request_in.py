"""A Responses request as an `Ask`.

Every field ends in the `Ask`, in `Ask.fields` or in a refusal. Left out, because a translated answer does not depend on
them: `id` and `status` of input items (the items are given in full), `annotations` and `logprobs` of an assistant's
text, and fields that state OpenAI's own default. Built-in tools stand in `fields` at `tools[i].type`, a tool choice
beyond none, auto, required and one function at `tool_choice`. A tool's `strict` stays unsaid when it was unsaid: OpenAI
then makes it strict as far as the schema allows, and other formats do what is theirs.
"""

from typing import Any, get_args

from interlock.errors import LocalError
from interlock.gateway.translate.neutral import Ask, Effort, Part, Schema, Text, Thinks, Tool, ToolChoice
from interlock.gateway.translate.responses.items_in import read_input
from interlock.gateway.translate.taken import Taken, unknown

ENCRYPTED = "reasoning.encrypted_content"
"""Asked for always, so that the client's asking is not worth a word."""
_STATE = ("previous_response_id", "conversation", "prompt")
_DEFAULTS: dict[str, Any] = {
    "background": False,
    "store": True,
    "truncation": "disabled",
    "service_tier": "auto",
    "top_logprobs": 0,
    "metadata": {},
    "text.verbosity": "medium",
    "reasoning.context": "auto",
    "reasoning.mode": "standard",
    "stream_options.include_obfuscation": True,
}
_FLAGS = ("background", "store")
_TEXTS = ("truncation", "service_tier", "prompt_cache_key", "prompt_cache_retention")
_INTEGERS = ("top_logprobs", "max_tool_calls")
_OBJECTS = ("metadata", "prompt_cache_options", "background_options")
_CHOICES: dict[str, ToolChoice | None] = {
    "auto": None,  # the default
    "none": ToolChoice(kind="none"),
    "required": ToolChoice(kind="any"),
}


def read_request(document: dict[str, Any]) -> Ask:
    """Read a request.

    Raises: LocalError: `field` is the path of what is wrong or cannot be served without state.
    """
    fields: dict[str, Any] = {}
    top = Taken(document, "", fields)
    for name in _STATE:
        if top.value(name):
            raise LocalError(f"{name}: Interlock keeps no conversations: send the items in `input`", field=name)
    if top.value("model") is None:
        raise LocalError("model is missing", field="model")
    stream = top.flag("stream") or False
    opening = top.text("instructions")
    leading, turns = read_input(top.value("input"), fields)
    instructions: tuple[Part, ...] = (Text(text=opening, path="instructions"),) if opening else ()
    limit = top.integer("max_output_tokens")
    ask = Ask(
        format="responses",
        stream=stream,
        instructions=instructions + leading,
        turns=turns,
        tools=_tools(top),
        tool_choice=_tool_choice(top),
        parallel=False if top.flag("parallel_tool_calls") is False else None,
        max_output=None if limit is None or limit < 0 else limit,
        temperature=top.number("temperature"),
        top_p=top.number("top_p"),
        schema=_schema(top),
        reasoning=_reasoning(top),
        user=_user(top),
        fields=fields,
    )
    _others(top)
    return ask


def _tools(top: Taken) -> tuple[Tool, ...]:
    tools = []
    for index, value in enumerate(top.entries("tools")):
        path = f"tools[{index}]"
        given = Taken(value, path, top.fields)
        if given.needed("type") != "function":
            top.fields[given.at("type")] = value
            continue
        tool = Tool(
            name=given.needed("name"),
            description=given.text("description"),
            schema=given.mapping("parameters") or {},
            strict=given.flag("strict"),
            path=path,
        )
        tools.append(tool)
        given.settle()
    return tuple(tools)


def _tool_choice(top: Taken) -> ToolChoice | None:
    value = top.value("tool_choice")
    if value is None:
        return None
    if type(value) is str:
        if value not in _CHOICES:
            raise unknown("tool_choice", "the choice", value, (*_CHOICES, "an object"))
        return _CHOICES[value]
    choice = Taken(value, "tool_choice", top.fields)
    if choice.needed("type") != "function":
        top.fields["tool_choice"] = value
        return None
    name = choice.needed("name")
    choice.settle()
    return ToolChoice(kind="tool", name=name)


def _schema(top: Taken) -> Schema | None:
    text = top.inner("text")
    format = text.inner("format")
    kind = format.text("type") or "text"
    if kind not in ("text", "json_object", "json_schema"):
        raise unknown(format.at("type"), "the format", kind, ("text", "json_object", "json_schema"))
    schema = None
    if kind == "json_object":
        schema = Schema()
    elif kind == "json_schema":
        name, description, strict = format.text("name"), format.text("description"), format.flag("strict")
        given = format.mapping("schema")
        if given is None:
            raise LocalError(f"{format.at('schema')} is missing", field=format.at("schema"))
        schema = Schema(schema=given, name=name, description=description, strict=strict)
    if verbosity := text.text("verbosity"):
        top.fields[text.at("verbosity")] = verbosity
    format.settle()
    text.settle()
    return schema


def _reasoning(top: Taken) -> Thinks | None:
    given = top.inner("reasoning")
    effort, efforts = given.value("effort"), get_args(Effort)
    if effort is not None and effort not in efforts:
        raise unknown(given.at("effort"), "the effort", effort, efforts)
    summary, older = given.text("summary"), given.text("generate_summary")
    if summary and older:
        top.fields[given.at("generate_summary")] = older
    given.settle()
    if effort is None and not (summary or older):
        return None
    return Thinks(effort=effort, off=effort == "none", summary=summary or older)


def _user(top: Taken) -> str:
    """Two names for one thing, of which `safety_identifier` is the newer."""
    identifier, user = top.text("safety_identifier"), top.text("user")
    if identifier and user:
        top.fields["user"] = user
    return identifier or user


def _others(top: Taken) -> None:
    """Everything that no other field of `Ask` holds."""
    fields = top.fields
    included = top.texts("include")
    if any(value != ENCRYPTED for value in included):
        fields["include"] = included
    options = top.inner("stream_options")
    fields[options.at("include_obfuscation")] = options.flag("include_obfuscation")
    options.settle()
    fields |= {name: top.flag(name) for name in _FLAGS} | {name: top.text(name) or None for name in _TEXTS}
    fields |= {name: top.integer(name) for name in _INTEGERS} | {name: top.mapping(name) for name in _OBJECTS}
    top.settle()
    for path in [path for path, value in fields.items() if value is None or _DEFAULTS.get(path) == value]:
        del fields[path]
    if fields.get("background"):
        raise LocalError("background: Interlock keeps no answers to be fetched later", field="background")
