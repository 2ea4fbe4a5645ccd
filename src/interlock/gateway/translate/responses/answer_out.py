"""An `Answer` as a Responses object, and the pieces that whole and streamed answers are both made of.

Ids of items are made here also where the upstream gave some: a stream must name an item before its upstream's id is
known. Reasoning travels in `encrypted_content`, in a carrier, and gets its own id back there.
"""

from typing import Any

from interlock.gateway.translate.ids import CallIds
from interlock.gateway.translate.neutral import Answer, Envelope, Finish, Reasoning, Refusal, Text, ToolCall
from interlock.gateway.translate.reasoning import Kind, sealed
from interlock.gateway.translate.responses.request_out import write_format, write_tool_choice, write_tools
from interlock.gateway.translate.usage import write_responses_usage

_INCOMPLETE: dict[Finish, str] = {
    "length": "max_output_tokens",
    "context": "max_output_tokens",
    "refusal": "content_filter",
}


def write_answer(answer: Answer, envelope: Envelope) -> dict[str, Any]:
    """The whole answer."""
    output: list[dict[str, Any]] = []
    key, ids = envelope.key, CallIds(envelope.key, "responses")
    for part in answer.parts:
        if isinstance(part, Text | Refusal):
            if not part.text:
                continue
            if not output or output[-1]["type"] != "message":
                output.append(message_item(message_id(key, len(output)), []))
            kind = "output_text" if isinstance(part, Text) else "refusal"
            output[-1]["content"].append(content_part(kind, part.text))
        elif isinstance(part, Reasoning):
            seal = encrypted(part.kind, part.seal, part.id, envelope)
            output.append(reasoning_item(reasoning_id(key, len(output)), part.text, seal))
        elif isinstance(part, ToolCall):
            index = len(output)
            output.append(call_item(call_item_id(key, index), ids.next(part.id), part.name, part.arguments or "{}"))
    if output and output[-1]["type"] != "reasoning":
        output[-1]["status"] = status_of(answer.finish)
    opening = frame(envelope, answer.id, answer.model, answer.created_at)
    return finished(opening, output, answer.finish, answer.usage)


def frame(envelope: Envelope, id: str, model: str, created_at: int) -> dict[str, Any]:
    """The Response before anything was said; it repeats what the request asked for."""
    ask = envelope.ask
    fields, thinks = ask.fields, ask.reasoning
    texts = [part for part in ask.instructions if isinstance(part, Text)]
    return {
        "id": id if id.startswith("resp_") else f"resp_{envelope.key}",
        "object": "response",
        "created_at": created_at or envelope.created_at,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": next((text.text for text in texts if text.path == "instructions"), None),
        "max_output_tokens": ask.max_output,
        "max_tool_calls": fields.get("max_tool_calls"),
        "metadata": fields.get("metadata", {}),
        "model": model or envelope.model,
        "output": [],
        "parallel_tool_calls": ask.parallel is not False,
        "previous_response_id": None,
        "prompt_cache_key": fields.get("prompt_cache_key"),
        "reasoning": {
            "effort": thinks.effort if thinks else None,
            "summary": (thinks.summary or None) if thinks else None,
        },
        "safety_identifier": ask.user or None,
        "temperature": 1.0 if ask.temperature is None else ask.temperature,
        "text": {"format": write_format(ask.schema), "verbosity": fields.get("text.verbosity", "medium")},
        "tool_choice": write_tool_choice(ask) or fields.get("tool_choice", "auto"),
        "tools": write_tools(ask),
        "top_logprobs": fields.get("top_logprobs", 0),
        "top_p": 1.0 if ask.top_p is None else ask.top_p,
        "truncation": fields.get("truncation", "disabled"),
        "usage": None,
        "user": fields.get("user"),
    }


def finished(
    opening: dict[str, Any], output: list[dict[str, Any]], finish: Finish, usage: dict[str, int]
) -> dict[str, Any]:
    """The Response with everything said. `opening`: what `frame` gave."""
    reason = _INCOMPLETE.get(finish)
    return opening | {
        "status": status_of(finish),
        "incomplete_details": {"reason": reason} if reason else None,
        "output": output,
        "usage": write_responses_usage(usage) if usage else None,
    }


def status_of(finish: Finish) -> str:
    """The status of an answer that ended so, and of its last item."""
    return "incomplete" if finish in _INCOMPLETE else "completed"


def message_id(key: str, index: int) -> str:
    """The id of a message, by its place in the output."""
    return f"msg_{key}_{index}"


def reasoning_id(key: str, index: int) -> str:
    """The id of a reasoning item."""
    return f"rs_{key}_{index}"


def call_item_id(key: str, index: int) -> str:
    """The id of a function call's item, which is not what its result names."""
    return f"fc_{key}_{index}"


def content_part(kind: str, text: str) -> dict[str, Any]:
    """A part of a message; `kind` is output_text or refusal."""
    if kind == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def message_item(id: str, content: list[dict[str, Any]], status: str = "completed") -> dict[str, Any]:
    """A message of the assistant."""
    return {"id": id, "type": "message", "status": status, "role": "assistant", "content": content}


def call_item(id: str, call_id: str, name: str, arguments: str, status: str = "completed") -> dict[str, Any]:
    """A function call."""
    return {
        "id": id,
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def reasoning_item(id: str, text: str, seal: str) -> dict[str, Any]:
    """A reasoning item."""
    item: dict[str, Any] = {"id": id, "type": "reasoning", "summary": [summary_part(text)] if text else []}
    return item | ({"encrypted_content": seal} if seal else {})


def summary_part(text: str) -> dict[str, Any]:
    """The only part of a reasoning item's summary."""
    return {"type": "summary_text", "text": text}


def encrypted(kind: Kind, seal: str, id: str, envelope: Envelope) -> str:
    """`encrypted_content`: any reasoning in a carrier, an OpenAI seal too: OpenAI opens it only beside the id that it
    was given, and ours differs. A seal that was given no id is shown as it is."""
    return seal if kind == "item" and not (seal and id) else sealed(kind, seal, id, envelope.family)
