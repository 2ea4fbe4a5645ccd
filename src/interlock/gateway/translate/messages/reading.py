"""A Messages request, read: everything but its content, which content.py reads.

`output_config.effort` is read as how much reasoning is asked for, also where `thinking` is not said: on models that
think by themselves it is the only control there is, and the other formats' `effort` means the same. Server tools are
kept whole under `tools[i].type`, so that a Messages target gets them and every other refuses them by that path.
"""

from typing import Any, cast

from interlock.errors import LocalError
from interlock.gateway.translate.messages.content import read_conversation
from interlock.gateway.translate.neutral import Ask, Effort, Schema, Thinks, Tool, ToolChoice
from interlock.gateway.translate.taken import Taken, wrong

_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def read_request(document: dict[str, Any]) -> Ask:
    """Read a Messages request.

    Raises: LocalError: a value of a wrong type, or a block that nothing here has a word for; `field` is its path.
    """
    fields: dict[str, Any] = {}
    top = Taken(document, "", fields)
    top.skip("model")
    top.skip_default("service_tier", "auto")
    instructions, turns = read_conversation(top)
    output = top.inner("output_config")
    choice, parallel = _choice(top.inner("tool_choice"))
    ask = Ask(
        format="messages",
        stream=bool(top.flag("stream")),
        instructions=instructions,
        turns=turns,
        tools=_tools(top),
        tool_choice=choice,
        parallel=parallel,
        max_output=top.count("max_tokens"),
        temperature=top.number("temperature"),
        top_p=top.number("top_p"),
        top_k=top.count("top_k"),
        stop=tuple(top.texts("stop_sequences")),
        schema=_schema(output, "format") or _schema(top, "output_format"),
        reasoning=_reasoning(top.inner("thinking"), output),
        user=_user(top),
        fields=fields,
    )
    output.settle()
    top.settle()
    return ask


def _tools(top: Taken) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for index, raw in enumerate(top.entries("tools")):
        tool = Taken(raw, f"tools[{index}]", top.fields)
        kind = tool.value("type")
        if kind is None or kind == "custom":
            tools.append(_tool(tool))
        elif type(kind) is str:
            top.fields[tool.at("type")] = raw
        else:
            raise wrong(tool.at("type"), "a string", kind)
    return tuple(tools)


def _tool(tool: Taken) -> Tool:
    schema = tool.needed_mapping("input_schema")
    tool.skip_default("defer_loading", False)
    tool.skip_default("allowed_callers", ["direct"])
    read = Tool(
        name=tool.needed("name"),
        description=tool.text("description"),
        schema=schema,
        strict=tool.flag("strict"),
        cache=tool.cache(),
        path=tool.path,
    )
    tool.settle()
    return read


def _choice(choice: Taken) -> tuple[ToolChoice | None, bool | None]:
    kind = choice.value("type")
    if kind is not None and kind not in ("auto", "any", "tool", "none"):
        raise LocalError("tool_choice.type must be auto, any, tool or none", field="tool_choice.type")
    parallel = False if choice.flag("disable_parallel_tool_use") else None
    name = choice.needed("name") if kind == "tool" else choice.text("name")
    choice.settle()
    return (None if kind is None else ToolChoice(kind=kind, name=name)), parallel


def _schema(holder: Taken, name: str) -> Schema | None:
    """`output_config.format`, or `output_format`, its name while it was a beta."""
    given = holder.inner(name)
    kind, schema = given.value("type"), given.mapping("schema")
    given.settle()
    if kind is None and schema is None:
        return None
    if kind != "json_schema":
        raise LocalError(f"{given.at('type')} must be json_schema", field=given.at("type"))
    if schema is None:
        raise wrong(given.at("schema"), "an object", None)
    return Schema(schema=schema, strict=True)


def _reasoning(thinking: Taken, output: Taken) -> Thinks | None:
    effort = output.value("effort")
    if effort is not None and effort not in _EFFORTS:
        raise LocalError(f"output_config.effort must be one of {', '.join(_EFFORTS)}", field="output_config.effort")
    kind, budget = thinking.value("type"), thinking.count("budget_tokens")
    summary = thinking.text("display")
    if kind == "enabled" and budget is None:
        raise wrong("thinking.budget_tokens", "a whole number from 0", None)
    if kind == "between_tools":
        thinking.fields["thinking.type"] = kind
    elif kind not in (None, "enabled", "adaptive", "disabled"):
        raise LocalError("thinking.type must be enabled, adaptive, between_tools or disabled", field="thinking.type")
    thinking.settle()
    read = Thinks(
        effort=cast(Effort | None, effort),
        budget_tokens=budget,
        adaptive=kind == "adaptive",
        off=kind == "disabled",
        summary=summary,
    )
    return None if read == Thinks() else read


def _user(top: Taken) -> str:
    metadata = top.mapping("metadata")
    if metadata is None:
        return ""
    rest = dict(metadata)
    user = rest.pop("user_id", None)
    if rest:
        top.fields["metadata"] = rest
    if user is None or type(user) is str:
        return user or ""
    raise wrong("metadata.user_id", "a string", user)
