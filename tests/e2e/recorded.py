"""Answers as OpenAI and Anthropic send them in 2026, whole and streamed, with what each of them says in plain words.

The shapes are the providers' own, member for member and event for event; the words are ours. A stream and its whole
answer say the same. It knows nothing of Interlock.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import msgspec

Part = dict[str, Any]
"""`kind` text, refusal, thinking, redacted, item, plain or call, and what that kind holds (`text`, `seal`, `id`, …)."""
Usage = dict[str, Any]
"""A provider's own usage object."""
CREATED = 1_767_225_600
CHAT_MODEL, RESPONSES_MODEL, MESSAGES_MODEL = "gpt-5.2-2025-12-11", "gpt-5.2-2025-12-11", "claude-opus-4-5-20251101"
LENGTH, REFUSED = "length", "refusal"


class Recording(NamedTuple):
    """One answer of one provider."""

    upstream: str
    """The format that it is in."""
    parts: Sequence[Part]
    finish: str
    """stop, tool_calls, length, stop_sequence or refusal."""
    usage: dict[str, int]
    """In the ledger's kinds."""
    whole: bytes
    events: tuple[bytes, ...]

    def said(self, kind: str) -> str:
        """All text of a kind."""
        return "".join(part["text"] for part in self.parts if part["kind"] == kind)

    @property
    def calls(self) -> list[tuple[str, str, Any]]:
        """(id, name, arguments) of each tool call."""
        return [
            (p["id"], p["name"], msgspec.json.decode(p["arguments"] or "{}")) for p in self.parts if p["kind"] == "call"
        ]


def text(said: str) -> Part:
    """Plain text."""
    return {"kind": "text", "text": said}


def refusal(said: str) -> Part:
    """OpenAI's refusal in words."""
    return {"kind": "refusal", "text": said}


def thinking(said: str, seal: str) -> Part:
    """Anthropic's thinking; `seal` is its signature."""
    return {"kind": "thinking", "text": said, "seal": seal}


def redacted(seal: str) -> Part:
    """Anthropic's redacted thinking."""
    return {"kind": "redacted", "text": "", "seal": seal}


def item(said: str, seal: str, id: str) -> Part:
    """OpenAI's reasoning item with its summary."""
    return {"kind": "item", "text": said, "seal": seal, "id": id}


def plain(said: str) -> Part:
    """`reasoning_content`, as vLLM and DeepSeek send it."""
    return {"kind": "plain", "text": said}


def call(id: str, name: str, arguments: str) -> Part:
    """A tool call; `arguments` empty: it has none."""
    return {"kind": "call", "id": id, "name": name, "arguments": arguments}


def cut(said: str, size: int = 7) -> list[str]:
    """The text in pieces."""
    return [said[at : at + size] for at in range(0, len(said), size)]


def turns(of: Iterable[list[Any]]) -> list[Any]:
    """The first of each, then the second of each, …: fragments that interleave."""
    return [one for row in zip_longest(*of) for one in row if one is not None]


def encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def data(value: object) -> bytes:
    """A chat event."""
    return b"data: " + encoded(value) + b"\n\n"


def named(value: dict[str, Any]) -> bytes:
    """An event of Messages or Responses."""
    return f"event: {value['type']}\n".encode() + data(value)


# Chat Completions

CHAT_KINDS = {"input": 5000, "cache_read": 4096, "cache_write": 512, "output": 120, "reasoning": 64}
CHAT_USAGE: Usage = {
    "prompt_tokens": 5000,
    "completion_tokens": 120,
    "total_tokens": 5120,
    "prompt_tokens_details": {"cached_tokens": 4096, "cache_write_tokens": 512, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 64,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
_CHAT_FINISH = {"stop_sequence": "stop", REFUSED: "content_filter"}


def chat(
    parts: Sequence[Part], finish: str = "stop", *, said: str = "", stop: str = "", usage: Usage = CHAT_USAGE
) -> Recording:
    """`said`: the finish reason, where it is not the usual one. `stop`: the sequence that was met, as vLLM tells it."""
    reason = said or _CHAT_FINISH.get(finish, finish)
    words = {kind: "".join(p["text"] for p in parts if p["kind"] == kind) for kind in ("text", "refusal", "plain")}
    calls = [part for part in parts if part["kind"] == "call"]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": words["text"] or None,
        "refusal": words["refusal"] or None,
        "annotations": [],
    }
    if words["plain"]:
        message["reasoning_content"] = words["plain"]
    if calls:
        message["tool_calls"] = [
            {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
            for c in calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if calls else "", "refusal": None}]
    deltas += [{"reasoning_content": piece} for piece in cut(words["plain"])]
    deltas += [{"content": piece} for piece in cut(words["text"])]
    deltas += [{"refusal": piece} for piece in cut(words["refusal"])]
    for at, c in enumerate(calls):
        function = {"name": c["name"], "arguments": ""}
        deltas.append({"tool_calls": [{"index": at, "id": c["id"], "type": "function", "function": function}]})
    fragments = [
        [{"tool_calls": [{"index": at, "function": {"arguments": piece}}]} for piece in cut(c["arguments"], 4)]
        for at, c in enumerate(calls)
    ]
    deltas += turns(fragments)
    last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}
    if stop:
        choice["stop_reason"] = last["stop_reason"] = stop
    head = {
        "id": "chatcmpl-CkX1vQy7",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": CHAT_MODEL,
        "service_tier": "default",
        "system_fingerprint": None,
    }
    chunks = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    events = [data(head | {"choices": [chunk], "usage": None, "obfuscation": "k3"}) for chunk in [*chunks, last]]
    events += [data(head | {"choices": [], "usage": usage, "obfuscation": ""}), b"data: [DONE]\n\n"]
    whole = encoded(head | {"object": "chat.completion", "choices": [choice], "usage": usage})
    return Recording("chat", parts, finish, CHAT_KINDS, whole, tuple(events))


# Responses

RESPONSES_KINDS = {"input": 5100, "cache_read": 4096, "cache_write": 600, "output": 130, "reasoning": 64}
RESPONSES_USAGE: Usage = {
    "input_tokens": 5100,
    "input_tokens_details": {"cached_tokens": 4096, "cache_write_tokens": 600},
    "output_tokens": 130,
    "output_tokens_details": {"reasoning_tokens": 64},
    "total_tokens": 5230,
}
_REASONS = {LENGTH: "max_output_tokens", REFUSED: "content_filter"}
_FRAME: dict[str, Any] = {
    "id": "resp_68af4030b8d8",
    "object": "response",
    "created_at": CREATED,
    "status": "in_progress",
    "background": False,
    "billing": {"payer": "developer"},
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": RESPONSES_MODEL,
    "output": [],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "reasoning": {"effort": "medium", "summary": "detailed"},
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": None,
    "user": None,
    "metadata": {},
}


def responses(parts: Sequence[Part], finish: str = "stop", *, usage: Usage = RESPONSES_USAGE) -> Recording:
    """Calls are items of their own, opened one after the other, whose fragments interleave."""
    output: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    calls: list[tuple[int, dict[str, Any]]] = []
    for at, part in enumerate(parts):
        if part["kind"] == "call":
            made = _call_item(at, part)
            calls.append((at, made))
            opening = made | {"status": "in_progress", "arguments": ""}
            events.append({"type": "response.output_item.added", "output_index": at, "item": opening})
        else:
            made, told = (_reasoning if part["kind"] == "item" else _message)(at, part)
            events += told
        output.append(made)
    place = {at: {"item_id": made["id"], "output_index": at} for at, made in calls}
    kind = "response.function_call_arguments"
    events += turns(
        [
            {"type": f"{kind}.delta", **place[at], "delta": piece, "obfuscation": "x"}
            for piece in cut(made["arguments"], 4)
        ]
        for at, made in calls
    )
    for at, made in calls:
        events.append({"type": f"{kind}.done", **place[at], "arguments": made["arguments"]})
        events.append({"type": "response.output_item.done", "output_index": at, "item": made})
    reason = _REASONS.get(finish)
    status = "incomplete" if reason else "completed"
    if reason and output:
        output[-1]["status"] = "incomplete"
    details = {"reason": reason} if reason else None
    response = _FRAME | {"status": status, "incomplete_details": details, "output": output, "usage": usage}
    opening_events = [{"type": f"response.{name}", "response": _FRAME} for name in ("created", "in_progress")]
    told = [*opening_events, *events, {"type": f"response.{status}", "response": response}]
    stream = tuple(named(event | {"sequence_number": number}) for number, event in enumerate(told))
    return Recording("responses", parts, finish, RESPONSES_KINDS, encoded(response), stream)


def _call_item(at: int, part: Part) -> dict[str, Any]:
    return {
        "id": f"fc_68af{at}",
        "type": "function_call",
        "status": "completed",
        "arguments": part["arguments"] or "{}",
        "call_id": part["id"],
        "name": part["name"],
    }


def _reasoning(at: int, part: Part) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    place = {"item_id": part["id"], "output_index": at, "summary_index": 0}
    kind = "response.reasoning_summary"
    summary = {"type": "summary_text", "text": part["text"]}
    made = {"id": part["id"], "type": "reasoning", "encrypted_content": part["seal"], "summary": [summary]}
    return made, [
        {
            "type": "response.output_item.added",
            "output_index": at,
            "item": made | {"encrypted_content": part["seal"][:9], "summary": []},  # final only when the item is done
        },
        {"type": f"{kind}_part.added", **place, "part": summary | {"text": ""}},
        *({"type": f"{kind}_text.delta", **place, "delta": p, "obfuscation": "x"} for p in cut(part["text"])),
        {"type": f"{kind}_text.done", **place, "text": part["text"]},
        {"type": f"{kind}_part.done", **place, "part": summary},
        {"type": "response.output_item.done", "output_index": at, "item": made},
    ]


def _message(at: int, part: Part) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    said, refused = part["text"], part["kind"] == "refusal"
    place = {"item_id": f"msg_68af{at}", "output_index": at, "content_index": 0}
    empty: dict[str, Any] = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    beside: dict[str, Any] = {"logprobs": []}
    content, kind = empty | {"text": said}, "response.output_text"
    if refused:
        empty, content = {"type": "refusal", "refusal": ""}, {"type": "refusal", "refusal": said}
        kind, beside = "response.refusal", {}
    made = {
        "id": place["item_id"],
        "type": "message",
        "status": "completed",
        "content": [content],
        "phase": "final_answer",
        "role": "assistant",
    }
    return made, [
        {
            "type": "response.output_item.added",
            "output_index": at,
            "item": made | {"status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": empty},
        *({"type": f"{kind}.delta", **place, **beside, "delta": piece, "obfuscation": "x"} for piece in cut(said)),
        {"type": f"{kind}.done", **place, **beside, ("refusal" if refused else "text"): said},
        {"type": "response.content_part.done", **place, "part": content},
        {"type": "response.output_item.done", "output_index": at, "item": made},
    ]


# Messages

MESSAGES_KINDS = {
    "input": 4730,
    "cache_read": 4000,
    "cache_write_5m": 300,
    "cache_write_1h": 400,
    "output": 90,
    "reasoning": 60,
}
MESSAGES_USAGE: Usage = {
    "input_tokens": 30,
    "cache_creation_input_tokens": 700,
    "cache_read_input_tokens": 4000,
    "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 400},
    "output_tokens": 90,
    "output_tokens_details": {"thinking_tokens": 60},
    "service_tier": "standard",
    "inference_geo": "us",
}
_AT_START = ("cache_creation", "service_tier", "inference_geo")
_STOP = {"stop": "end_turn", "tool_calls": "tool_use", LENGTH: "max_tokens"}


def messages(
    parts: Sequence[Part], finish: str = "stop", *, stop: str = "", usage: Usage = MESSAGES_USAGE
) -> Recording:
    """`stop`: the sequence that was met."""
    reason = _STOP.get(finish, finish)
    details = {"type": "refusal", "category": "cyber", "explanation": None} if finish == REFUSED else None
    ending = {"stop_reason": reason, "stop_sequence": stop or None, "stop_details": details}
    head = {"model": MESSAGES_MODEL, "id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message", "role": "assistant"}
    started = {"stop_reason": None, "stop_sequence": None, "stop_details": None}
    begun = {**usage, "output_tokens": 1}
    begun.pop("output_tokens_details", None)  # said at the end only
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": head | {"content": [], **started, "usage": begun}}
    ]
    for at, part in enumerate(parts):
        opening, deltas = _block(part)
        events.append({"type": "content_block_start", "index": at, "content_block": opening})
        events += [{"type": "ping"}] if at == 0 else []
        events += [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": at})
    final = {name: count for name, count in usage.items() if name not in _AT_START}
    events += [{"type": "message_delta", "delta": ending, "usage": final}, {"type": "message_stop"}]
    content = [_whole_block(part) for part in parts]
    whole = encoded(head | {"content": content, **ending, "usage": usage})
    return Recording("messages", parts, finish, MESSAGES_KINDS, whole, tuple(map(named, events)))


def _whole_block(part: Part) -> dict[str, Any]:
    match part["kind"]:
        case "thinking":
            return {"type": "thinking", "thinking": part["text"], "signature": part["seal"]}
        case "redacted":
            return {"type": "redacted_thinking", "data": part["seal"]}
        case "call":
            arguments = msgspec.json.decode(part["arguments"] or "{}")
            return {"type": "tool_use", "id": part["id"], "name": part["name"], "input": arguments}
    return {"type": "text", "text": part["text"]}


def _block(part: Part) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    whole = _whole_block(part)
    match part["kind"]:
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(part["text"])]
            signature = {"type": "signature_delta", "signature": part["seal"]}
            return whole | {"thinking": "", "signature": ""}, [*deltas, signature]
        case "redacted":
            return whole, []
        case "call":
            fragments = ["", *cut(part["arguments"], 4)]
            return whole | {"input": {}}, [{"type": "input_json_delta", "partial_json": f} for f in fragments]
    return whole | {"text": ""}, [{"type": "text_delta", "text": piece} for piece in cut(part["text"])]
