"""A Responses object as an `Answer`. Total: what has an odd shape is left out or keeps its default."""

from typing import Any

from interlock.gateway.translate.loose import mapping, name, objects, string, whole_number
from interlock.gateway.translate.neutral import Answer, Finish, Part, Reasoning, Refusal, Text, ToolCall
from interlock.gateway.translate.reasoning import BREAK
from interlock.gateway.wire.usage import responses_usage

_REASONS: dict[str, Finish] = {"max_output_tokens": "length", "content_filter": "refusal"}


def read_answer(document: dict[str, Any]) -> Answer:
    """Read a whole answer that is not an error."""
    parts: list[Part] = []
    dropped: list[str] = []
    for item in objects(document.get("output")):
        parts += parts_of(item)
        dropped += unsaid_of(item)
    called = any(isinstance(part, ToolCall) for part in parts)
    return Answer(
        id=name(document.get("id")),
        model=name(document.get("model")),
        parts=tuple(parts),
        finish=finish_of(document, called=called),
        usage=responses_usage(document.get("usage")).usage,
        created_at=whole_number(document.get("created_at")),
        dropped=tuple(dict.fromkeys(dropped)),
    )


def finish_of(response: dict[str, Any], *, called: bool) -> Finish:
    """Why it ended; `called`: it holds tool calls. An incomplete answer without a known reason was cut short."""
    if response.get("status") == "incomplete":
        return _REASONS.get(string(mapping(response.get("incomplete_details")).get("reason")), "length")
    return "tool_calls" if called else "stop"


def parts_of(item: dict[str, Any]) -> list[Part]:
    """What an output item says."""
    kind = item.get("type")
    if kind == "message":
        content = [content_of(part) for part in objects(item.get("content"))]
        return [part for part in content if part is not None and part.text]
    if kind == "function_call":
        id, arguments = string(item.get("call_id")) or string(item.get("id")), string(item.get("arguments"))
        return [ToolCall(id=id, name=string(item.get("name")), arguments=arguments or "{}")]
    if kind == "reasoning":
        text, seal = BREAK.join(prose_of(item)), string(item.get("encrypted_content"))
        return [Reasoning(kind="item", text=text, seal=seal, id=string(item.get("id")))]
    return []


def content_of(part: dict[str, Any]) -> Text | Refusal | None:
    """A part of a message."""
    if part.get("type") == "output_text":
        return Text(text=string(part.get("text")))
    return Refusal(text=string(part.get("refusal"))) if part.get("type") == "refusal" else None


def prose_of(item: dict[str, Any]) -> list[str]:
    """The readable texts of a reasoning item: its summary, and what open models show of the reasoning itself."""
    texts = [string(part.get("text")) for part in objects(item.get("summary")) + objects(item.get("content"))]
    return [text for text in texts if text]


def unsaid_of(item: dict[str, Any]) -> list[str]:
    """The types of what no other format has a word for: other items, annotations of text."""
    if item.get("type") not in ("message", "function_call", "reasoning"):
        return [name(item.get("type")) or "unknown"]
    if item.get("type") != "message":
        return []
    unsaid = []
    for part in objects(item.get("content")):
        if content_of(part) is None:
            unsaid.append(name(part.get("type")) or "unknown")
        unsaid += [name(note.get("type")) or "annotation" for note in objects(part.get("annotations"))]
    return unsaid
