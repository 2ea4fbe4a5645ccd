"""Whole answers of Bedrock's Converse as Messages, and what they share with streams (converse_stream.py)."""

from typing import Annotated, Any

import msgspec

from interlock.errors import RemoteError
from interlock.gateway.translate import ids
from interlock.gateway.wire.usage import COUNT_MAX

_REASONS = {"guardrail_intervened": "refusal", "content_filtered": "refusal"}
"""The others are Messages' own words."""
MALFORMED = ("malformed_model_output", "malformed_tool_use")
"""What the model wrote could not be read, and was left out: not an answer."""

Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]


class Camel(msgspec.Struct, frozen=True, rename="camel"):
    """AWS's names, in ours."""


class Union(Camel, frozen=True, forbid_unknown_fields=True):
    """A union of Converse: a member that is not known here must not get lost."""


class _CacheDetail(Camel, frozen=True):
    ttl: str
    input_tokens: Count


class Usage(Camel, frozen=True):
    """Tokens; the input leaves out what the cache gave or took."""

    input_tokens: Count
    output_tokens: Count
    cache_read_input_tokens: Count | None = None
    cache_write_input_tokens: Count | None = None
    cache_details: list[_CacheDetail] | None = None


class ToolUse(Camel, frozen=True):
    """A call."""

    tool_use_id: str
    name: str
    input: msgspec.Raw = msgspec.Raw(b"{}")
    type: None = None  # `server_tool_use` is nothing that a client could answer


class _ReasoningText(Camel, frozen=True):
    text: str
    signature: str | None = None


class _Reasoning(Union, frozen=True):
    reasoning_text: _ReasoningText | None = None
    redacted_content: str | None = None


class _Block(Union, frozen=True):
    text: str | None = None
    tool_use: ToolUse | None = None
    reasoning_content: _Reasoning | None = None


class _Message(Camel, frozen=True):
    content: list[_Block]


class _Output(Camel, frozen=True):
    message: _Message


class Stop(Camel, frozen=True):
    """How an answer ended."""

    stop_reason: str
    additional_model_response_fields: Any = None


class _Answer(Stop, frozen=True):
    output: _Output = msgspec.field(default_factory=lambda: _Output(_Message([])))
    usage: Usage | None = None


_read_answer = msgspec.json.Decoder(_Answer)


def whole_answer(body: bytes, id: str, model: str) -> bytes:
    """The Messages answer for a Converse answer; bytes that are none, or hold what Messages lacks, as they are.

    An answer that was malformed in the model's own mouth becomes an error body, with the usage beside it.
    """
    try:
        answer = _read_answer.decode(body)
        content = [_content(block) for block in answer.output.message.content]
        document: dict[str, Any] = {"id": id, "type": "message", "role": "assistant", "model": model}
        usage = {"usage": figures_of(answer.usage)} if answer.usage else {}
        if answer.stop_reason in MALFORMED:
            return msgspec.json.encode(malformed(answer.stop_reason) | usage)
        called = any(block["type"] == "tool_use" for block in content)
        return msgspec.json.encode(document | {"content": content} | ended(answer, called) | usage)
    except (msgspec.MsgspecError, RecursionError, RemoteError):
        return body


def _content(block: _Block) -> dict[str, Any]:
    reasoning = block.reasoning_content
    if block.text is not None:
        return {"type": "text", "text": block.text}
    if call := block.tool_use:
        return {**called_tool(call), "input": call.input}
    if reasoning and (thought := reasoning.reasoning_text):
        return {"type": "thinking", "thinking": thought.text, "signature": thought.signature or ""}
    if reasoning and reasoning.redacted_content is not None:
        return {"type": "redacted_thinking", "data": reasoning.redacted_content}
    raise invalid("a block of a type that Messages does not have")


def called_tool(call: ToolUse) -> dict[str, Any]:
    """The block for a call, without its arguments; its id as Messages allows ids."""
    return {"type": "tool_use", "id": ids.to_client(call.tool_use_id, "messages"), "name": call.name, "input": {}}


def ended(stop: Stop, called: bool) -> dict[str, Any]:
    """Messages' two members for the end. Some models say `end_turn` though they call a tool."""
    extra, sequence = stop.additional_model_response_fields, None
    if stop.stop_reason == "stop_sequence" and isinstance(extra, dict) and isinstance(extra.get("stop_sequence"), str):
        sequence = extra["stop_sequence"]
    reason = "tool_use" if called and stop.stop_reason == "end_turn" else stop.stop_reason
    return {"stop_reason": _REASONS.get(reason, reason), "stop_sequence": sequence}


def figures_of(usage: Usage) -> dict[str, Any]:
    """Like Messages', Converse's inputTokens leave out what the cache gave or took."""
    figures: dict[str, Any] = {"input_tokens": usage.input_tokens}
    if usage.cache_read_input_tokens is not None:
        figures["cache_read_input_tokens"] = usage.cache_read_input_tokens
    if usage.cache_write_input_tokens is not None:
        figures["cache_creation_input_tokens"] = usage.cache_write_input_tokens
    if usage.cache_details:
        spans = dict.fromkeys(("5m", "1h"), 0)
        for detail in usage.cache_details:
            if detail.ttl in spans:
                spans[detail.ttl] += detail.input_tokens
        figures["cache_creation"] = {f"ephemeral_{ttl}_input_tokens": count for ttl, count in spans.items()}
    return figures | {"output_tokens": usage.output_tokens}


def malformed(reason: str) -> dict[str, Any]:
    """The error for what the model wrote, but nobody can read."""
    message = f"the model's output could not be read (Bedrock: {reason})"
    return {"type": "error", "error": {"type": "api_error", "message": message, "code": "upstream_error"}}


def invalid(what: str) -> RemoteError:
    """The upstream said something that no Messages answer can hold."""
    return RemoteError(f"the upstream's answer holds {what}", code="upstream_invalid")
