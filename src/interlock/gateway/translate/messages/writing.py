"""A Messages request, written: fields, tools, and messages in the order that Anthropic's rules want.

What the rules want and a client of another format need not know: neighbours of one role are one message; results of
tools come first in theirs; a system message stands behind the user's and right before the assistant's (Opus 4.8 and
later; older models refuse the role, and say so). Blocks without a visible character are illegal, so empty text is left
out, and text of spaces alone left out and listed. Which limits a model has (budgets, temperatures beside thinking, a
first message by the assistant) is the upstream's to judge.
"""

from typing import Any

from interlock.gateway.translate.fields import name_of_field, settle_fields, unsayable
from interlock.gateway.translate.messages.blocks import BlockWriter
from interlock.gateway.translate.neutral import Ask, Target, Thinks, Tool, Written

OUTPUT_DEFAULT = 8_192
"""max_tokens is required; this is for a client that said none and a model whose limit is not known."""
_DISPLAY = dict.fromkeys(("auto", "concise", "detailed"), "summarized")
"""OpenAI's words for `thinking.display`."""


def write_request(ask: Ask, target: Target) -> Written:
    """The request in Messages' words, for an upstream that speaks them.

    Raises: LocalError: it says something that Messages has no word for; `field` is its path in the client's request.
    """
    blocks = BlockWriter(ask, target)
    document: dict[str, Any] = {
        "model": target.model,
        "max_tokens": _max_tokens(ask, target),
        "messages": _messages(ask, blocks),
    }
    if ask.stream:
        document["stream"] = True
    if system := blocks.write(ask.instructions):
        document["system"] = system
    _sampling(ask, document)
    _tools(ask, document, blocks)
    _reasoning(ask, document)
    _schema(ask, document, blocks)
    if ask.user:
        document["metadata"] = {"user_id": ask.user}
    _fields(document, blocks)
    settle_fields(ask, blocks.own.taken, "messages", blocks.dropped.append)
    return Written(document=document, dropped=tuple(dict.fromkeys(blocks.dropped)))


def _max_tokens(ask: Ask, target: Target) -> int:
    if ask.max_output is not None:
        return ask.max_output
    budget = ask.reasoning.budget_tokens if ask.reasoning else None
    return target.max_output or OUTPUT_DEFAULT + (budget or 0)


def _messages(ask: Ask, blocks: BlockWriter) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    system: list[dict[str, Any]] = []
    for turn in ask.turns:
        extra = blocks.own.within(turn.path) if turn.path else {}
        content = blocks.write(turn.parts)
        if turn.role == "system" and not extra:
            system += content
            continue
        if not content and not extra:
            continue
        if turn.role == "assistant" and system:
            _add(messages, "system", system)
            system = []
        _add(messages, turn.role, content).update(extra)
    if system:
        _add(messages, "system", system)
    if not messages:
        raise unsayable(name_of_field(ask, "turns"), "messages", "needs at least one message that is not empty")
    for message in messages:
        if message["role"] == "user":  # results first; sorting is stable
            message["content"].sort(key=lambda block: block["type"] != "tool_result")
    _trim_prefill(messages[-1], blocks)
    return messages


def _add(messages: list[dict[str, Any]], role: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """Add content to the last message if it is of that role, else in a new one; where it went."""
    if not messages or messages[-1]["role"] != role:
        messages.append({"role": role, "content": []})
    messages[-1]["content"] += content
    return messages[-1]


def _trim_prefill(last: dict[str, Any], blocks: BlockWriter) -> None:
    """An answer that the model is to go on with may not end in space."""
    if last["role"] != "assistant" or not last["content"] or last["content"][-1]["type"] != "text":
        return
    block = last["content"][-1]
    trimmed = block["text"].rstrip()
    if trimmed != block["text"]:
        blocks.drop(blocks.path_of(block))
        block["text"] = trimmed


def _sampling(ask: Ask, document: dict[str, Any]) -> None:
    if ask.temperature is not None and ask.temperature > 1:
        raise unsayable(name_of_field(ask, "temperature"), "messages", "goes from 0 to 1 there")
    for name in ("temperature", "top_p", "top_k"):
        value = getattr(ask, name)
        if value is not None:
            document[name] = value
    if ask.stop:
        document["stop_sequences"] = list(ask.stop)


def _tools(ask: Ask, document: dict[str, Any], blocks: BlockWriter) -> None:
    written = [(tool.path, _tool(tool, blocks)) for tool in ask.tools]
    if server_tools := blocks.server_tools():
        written = sorted(written + server_tools, key=lambda entry: int(entry[0][len("tools[") : -1]))
    if written:
        document["tools"] = [tool for _, tool in written]
    kind = ask.tool_choice.kind if ask.tool_choice else ""
    choice: dict[str, Any] = {"type": kind} if kind else {}
    if ask.tool_choice and kind == "tool":
        choice["name"] = ask.tool_choice.name
    if ask.parallel is False and written and kind != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    if choice and (written or kind in ("any", "tool")):  # without tools the other kinds say nothing
        document["tool_choice"] = choice


def _tool(tool: Tool, blocks: BlockWriter) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name}
    if tool.description:
        written["description"] = tool.description
    written["input_schema"] = {"type": "object", **(tool.schema or {"properties": {}})}
    if tool.strict:
        written["strict"] = True
    return blocks.marked(written, tool.path, tool.cache)


def _reasoning(ask: Ask, document: dict[str, Any]) -> None:
    """`thinking` and `output_config.effort`.

    An effort of another format asks for reasoning: it becomes adaptive thinking at that effort, `minimal` at `low`,
    `none` thinking disabled. A Messages client's own is said as it was.
    """
    said = ask.reasoning
    if said is None:
        return
    effort = "low" if said.effort == "minimal" else said.effort
    if effort and effort != "none":
        document["output_config"] = {"effort": effort}
    if thinking := _thinking(said, asks=ask.format != "messages"):
        document["thinking"] = thinking


def _thinking(said: Thinks, *, asks: bool) -> dict[str, Any]:
    if said.off or said.effort == "none":
        return {"type": "disabled"}
    thinking: dict[str, Any] = {}
    if said.budget_tokens is not None:
        thinking = {"type": "enabled", "budget_tokens": said.budget_tokens}
    elif said.adaptive or asks:
        thinking = {"type": "adaptive"}
    if said.summary:
        thinking["display"] = _DISPLAY.get(said.summary, said.summary)
    return thinking


def _schema(ask: Ask, document: dict[str, Any], blocks: BlockWriter) -> None:
    """A schema's name and description have no place; that it be kept to strictly is the only way there."""
    if ask.schema is None:
        return
    path = name_of_field(ask, "schema")
    if ask.schema.schema is None:
        raise unsayable(path, "messages", "knows no JSON output without a schema")
    path += ".json_schema" if ask.format == "chat" else ""
    blocks.dropped += [f"{path}.{name}" for name in ("name", "description") if getattr(ask.schema, name)]
    form = {"type": "json_schema", "schema": ask.schema.schema}
    document["output_config"] = {**document.get("output_config", {}), "format": form}


def _fields(document: dict[str, Any], blocks: BlockWriter) -> None:
    """Put back what a Messages client said and `Ask` has no name for."""
    for parent in ("thinking", "output_config", "tool_choice"):
        if extra := blocks.own.within(parent):
            document[parent] = {**document.get(parent, {}), **extra}
    extra = blocks.own.within("")
    if metadata := extra.pop("metadata", None):
        document["metadata"] = {**document.get("metadata", {}), **metadata}
    document.update(extra)
