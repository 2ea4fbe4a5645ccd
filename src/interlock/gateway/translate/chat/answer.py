"""A whole Chat Completions answer: read from any server that calls itself compatible, written as OpenAI writes it.

Beyond OpenAI's members it writes `reasoning_content` and `reasoning_details` (reasoning.py), and, as vLLM does, the
stop sequence that was met as the choice's `stop_reason`. Chat has one figure for tokens written to a cache, whatever
their lifetime, and none for web searches. Only the first choice is read: more than one cannot be asked for.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from interlock.gateway.translate.chat.reasoning import entry
from interlock.gateway.translate.ids import CallIds
from interlock.gateway.translate.loose import mapping, name, objects, string, whole_number
from interlock.gateway.translate.neutral import (
    Answer,
    Ask,
    Envelope,
    Finish,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from interlock.gateway.translate.reasoning import BREAK
from interlock.gateway.translate.taken import compact
from interlock.gateway.translate.usage import write_chat_usage
from interlock.gateway.wire.usage import chat_usage

_FINISH: Mapping[str, Finish] = MappingProxyType(
    {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "refusal"}
)
_REASON: Mapping[Finish, str] = MappingProxyType(
    {
        "stop": "stop",
        "stop_sequence": "stop",
        "pause": "stop",
        "length": "length",
        "context": "length",
        "tool_calls": "tool_calls",
        "refusal": "content_filter",
    }
)


def finish_of(choice: dict[str, Any], calls: bool) -> tuple[Finish, str]:
    """Why the choice ended, and the stop sequence that was met.

    `tool_calls` if and only if there are calls and nothing cut them short: some servers say `stop` with calls.
    """
    said = choice.get("finish_reason")
    finish = _FINISH.get(said, "stop") if isinstance(said, str) else "stop"
    if finish in ("stop", "tool_calls"):
        met = choice.get("stop_reason")
        if calls:
            return "tool_calls", ""
        return ("stop_sequence", met) if isinstance(met, str) and met else ("stop", "")
    return finish, ""


def reason_of(finish: Finish, calls: bool, legacy: bool) -> str:
    """`finish_reason`; `tool_calls` as in `finish_of`."""
    reason = _REASON[finish]
    if reason in ("stop", "tool_calls"):
        reason = "tool_calls" if calls else "stop"
    return "function_call" if legacy and reason == "tool_calls" else reason


def is_legacy(ask: Ask) -> bool:
    """Whether the client gave `functions`, and so expects a `function_call`."""
    return bool(ask.tools) and ask.tools[0].path.startswith("functions[")


def arguments_of(value: object) -> str:
    """A call's arguments, which some servers give as an object."""
    return value if isinstance(value, str) else "" if value is None else compact(value)


def pieces(content: object) -> list[tuple[str, str]]:
    """What `content` holds, in order: ("text" | "thinking", text), or ("", type) of what cannot be read.

    A string everywhere but at Mistral's reasoning models, which send parts.
    """
    if isinstance(content, str):
        return [("text", content)] if content else []
    found: list[tuple[str, str]] = []
    for part in objects(content):
        kind = part.get("type")
        if kind == "text":
            found.append(("text", string(part.get("text"))))
        elif kind == "thinking":
            inner = part.get("thinking")
            texts = [inner] if isinstance(inner, str) else [string(entry.get("text")) for entry in objects(inner)]
            found += [("thinking", text) for text in texts]
        else:
            found.append(("", name(kind) or "unknown"))
    return [(kind, text) for kind, text in found if text]


def thoughts(message: dict[str, Any]) -> str:
    """Readable reasoning of a message or delta. Seals in an answer's details are not read: whose they are is unsaid."""
    if text := string(message.get("reasoning_content")) or string(message.get("reasoning")):
        return text
    details = objects(message.get("reasoning_details"))
    return "".join(string(entry.get("text") or entry.get("summary")) for entry in details)


def unsaid(message: dict[str, Any]) -> list[str]:
    """Types of what a message or delta holds that no other format has a word for."""
    found = [name for name in ("audio", "annotations") if message.get(name)]
    if any(entry.get("type") == "reasoning.encrypted" for entry in objects(message.get("reasoning_details"))):
        found.append("reasoning.encrypted")
    return found


def read_answer(document: dict[str, Any]) -> Answer:
    """Read a whole answer; what it lacks or has in odd shapes is left out."""
    choice = next(iter(objects(document.get("choices"))), {})
    message = mapping(choice.get("message"))
    parts, dropped = _parts(message)
    finish, met = finish_of(choice, any(isinstance(part, ToolCall) for part in parts))
    return Answer(
        id=name(document.get("id")),
        model=name(document.get("model")),
        parts=tuple(parts),
        finish=finish,
        stop_sequence=met,
        usage=chat_usage(document.get("usage")).usage,
        created_at=whole_number(document.get("created")),
        dropped=tuple(dropped),
    )


def _parts(message: dict[str, Any]) -> tuple[list[Part], list[str]]:
    parts: list[Part] = []
    dropped = unsaid(message)
    found = pieces(message.get("content"))
    dropped += [text for kind, text in found if not kind]
    thinking = thoughts(message) or "".join(text for kind, text in found if kind == "thinking")
    if thinking:
        parts.append(Reasoning(kind="plain", text=thinking))
    if text := "".join(text for kind, text in found if kind == "text"):
        parts.append(Text(text=text))
    if refusal := string(message.get("refusal")):
        parts.append(Refusal(text=refusal))
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            parts.append(_call(string(call.get("id")), function))
        else:
            dropped.append(string(call.get("type") if isinstance(call, dict) else "") or "tool_call")
    if isinstance(function := message.get("function_call"), dict):
        parts.append(_call("", function))
    return parts, dropped


def _call(id: str, function: dict[str, Any]) -> ToolCall:
    return ToolCall(id=id, name=string(function.get("name")), arguments=arguments_of(function.get("arguments")) or "{}")


def write_answer(answer: Answer, envelope: Envelope) -> dict[str, Any]:
    """Say it as OpenAI does. Text blocks are joined as they are, reasoning with a blank line between blocks."""
    legacy = is_legacy(envelope.ask)
    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    choice: dict[str, Any] = {
        "index": 0,
        "message": _message(answer, envelope, calls, legacy),
        "logprobs": None,
        "finish_reason": reason_of(answer.finish, bool(calls), legacy),
    }
    if answer.stop_sequence:
        choice["stop_reason"] = answer.stop_sequence
    document = {
        "id": answer.id or f"chatcmpl-{envelope.key}",
        "object": "chat.completion",
        "created": answer.created_at or envelope.created_at,
        "model": answer.model or envelope.model,
        "choices": [choice],
    }
    if answer.usage:
        document["usage"] = write_chat_usage(answer.usage)
    return document


def _message(answer: Answer, envelope: Envelope, calls: list[ToolCall], legacy: bool) -> dict[str, Any]:
    text = "".join(part.text for part in answer.parts if isinstance(part, Text))
    refusal = "".join(part.text for part in answer.parts if isinstance(part, Refusal))
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": refusal or None}
    details: list[dict[str, Any]] = []
    for part in answer.parts:
        if isinstance(part, Reasoning):
            shown = entry(part.kind, part.text, part.seal, part.id, envelope.family, len(details))
            details += [shown] if shown else []
    if content := BREAK.join(detail["text"] for detail in details if "text" in detail):
        message["reasoning_content"] = content
    if details:
        message["reasoning_details"] = details
    ids = CallIds(envelope.key, "chat")
    written = [
        {
            "id": ids.next(call.id),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]
    if legacy and written:
        # it allows one call; should a model make more all the same, they follow in the words that it may not know
        message["function_call"] = written.pop(0)["function"]
    if written:
        message["tool_calls"] = written
    return message
