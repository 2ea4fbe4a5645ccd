"""The answer of turn.py as Anthropic's models, Bedrock's Converse and Gemini send it."""

from collections.abc import Callable
from typing import Any

from tests.gateway.answers import data, named
from tests.gateway.providers import frames
from tests.gateway.providers.turn import ARGUMENTS, SECRET, SIGNATURE, TEXT, THOUGHT, Heard, json_of, text_of

# Messages, as Anthropic's models speak it everywhere

_BLOCKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE},
    {"type": "text", "text": TEXT},
    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": ARGUMENTS},
]
_MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "stop_sequence": None,
}
_USAGE = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 15,
    "cache_read_input_tokens": 8,
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 10},
}
ANTHROPIC = json_of(
    {**_MESSAGE, "content": _BLOCKS, "stop_reason": "tool_use", "usage": {**_USAGE, "output_tokens": 9}}
)
CLAUDE_KINDS = {"input": 35, "cache_read": 8, "cache_write_5m": 5, "cache_write_1h": 10, "output": 9}


def _block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[bytes]:
    return [
        named({"type": "content_block_start", "index": index, "content_block": start}),
        *(named({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas),
        named({"type": "content_block_stop", "index": index}),
    ]


ANTHROPIC_EVENTS = [
    named(
        {
            "type": "message_start",
            "message": {**_MESSAGE, "content": [], "stop_reason": None, "usage": {**_USAGE, "output_tokens": 1}},
        }
    ),
    *_block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": THOUGHT},
        {"type": "signature_delta", "signature": SIGNATURE},
    ),
    *_block(
        1,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "Let me "},
        {"type": "text_delta", "text": "look."},
    ),
    *_block(
        2,
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"at": 1.5'},
        {"type": "input_json_delta", "partial_json": ', "ä": []}'},
    ),
    named(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 9},
        }
    ),
    named({"type": "message_stop"}),
]
ANTHROPIC_SPOKEN = 7
ANTHROPIC_BROKEN = named({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
FRAMED_EVENTS = [frames.chunk(event.split(b"data: ")[1].rstrip()) for event in ANTHROPIC_EVENTS]
"""The same in Bedrock's frames."""


def hear_anthropic(version: str) -> Callable[[dict[str, Any]], Heard]:
    def hear(said: dict[str, Any]) -> Heard:
        assert said["anthropic_version"] == version
        assert "model" not in said
        [tool] = said["tools"]
        return Heard(text_of(said["system"]), text_of(said["messages"][0]["content"]), tool["name"], said["max_tokens"])

    return hear


# Bedrock

AWS_REFUSED = {
    403: json_of({"message": f"The security token {SECRET} included in the request is invalid."}),
    429: json_of({"message": "Too many requests, please wait before trying again."}),
    400: json_of({"message": "The provided model identifier is invalid."}),
}
THROTTLED = frames.exception("throttlingException", {"message": "Too many tokens."})


def hear_converse(said: dict[str, Any]) -> Heard:
    assert said.keys() <= {"messages", "system", "inferenceConfig", "toolConfig"}
    [tool] = said["toolConfig"]["tools"]
    user = text_of(said["messages"][0]["content"])
    return Heard(text_of(said["system"]), user, tool["toolSpec"]["name"], said["inferenceConfig"]["maxTokens"])


_CONVERSE_USAGE = {
    "inputTokens": 12,
    "outputTokens": 9,
    "totalTokens": 44,
    "cacheReadInputTokens": 8,
    "cacheWriteInputTokens": 15,
    "cacheDetails": [{"ttl": "5m", "inputTokens": 5}, {"ttl": "1h", "inputTokens": 10}],
}
CONVERSE = json_of(
    {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": THOUGHT, "signature": SIGNATURE}}},
                    {"text": TEXT},
                    {"toolUse": {"toolUseId": "tooluse_1", "name": "look", "input": ARGUMENTS}},
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": _CONVERSE_USAGE,
        "metrics": {"latencyMs": 1551},
    }
)


def _delta(at: int, **delta: object) -> bytes:
    return frames.event("contentBlockDelta", {"contentBlockIndex": at, "delta": delta})


def _stop(at: int) -> bytes:
    return frames.event("contentBlockStop", {"contentBlockIndex": at})


CONVERSE_EVENTS = [
    frames.event("messageStart", {"role": "assistant"}),
    _delta(0, reasoningContent={"text": THOUGHT}),
    _delta(0, reasoningContent={"signature": SIGNATURE}),
    _stop(0),
    _delta(1, text="Let me "),
    _delta(1, text="look."),
    _stop(1),
    frames.event(
        "contentBlockStart",
        {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": "look"}}},
    ),
    _delta(2, toolUse={"input": '{"at": 1.5'}),
    _delta(2, toolUse={"input": ', "ä": []}'}),
    _stop(2),
    frames.event("messageStop", {"stopReason": "tool_use"}),
    frames.event("metadata", {"usage": _CONVERSE_USAGE, "metrics": {"latencyMs": 1551}}),
]

# Google

GOOGLE_REFUSED = {
    403: json_of({"error": {"code": 403, "message": f"Denied for {SECRET}.", "status": "PERMISSION_DENIED"}}),
    429: json_of({"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED"}}),
    400: json_of({"error": {"code": 400, "message": "The model is not there.", "status": "INVALID_ARGUMENT"}}),
}
OVERLOADED = data({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}})


def hear_gemini(said: dict[str, Any]) -> Heard:
    assert said.keys() <= {"contents", "systemInstruction", "generationConfig", "tools"}
    [tool] = said["tools"][0]["functionDeclarations"]
    system, user = said["systemInstruction"]["parts"], said["contents"][0]["parts"]
    return Heard(text_of(system), text_of(user), tool["name"], said["generationConfig"]["maxOutputTokens"])


def _candidate(*parts: dict[str, Any], usage: dict[str, int] | None = None, finish: str = "") -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": list(parts)}}
    if finish:
        candidate["finishReason"] = finish
    said = {"candidates": [candidate], "modelVersion": "gemini-3-pro-001", "responseId": "r-1"}
    return {**said, "usageMetadata": usage} if usage else said


_GEMINI_USAGE = {
    "promptTokenCount": 35,
    "cachedContentTokenCount": 8,
    "candidatesTokenCount": 6,
    "thoughtsTokenCount": 3,
    "totalTokenCount": 44,
}
GEMINI_KINDS = {"input": 35, "cache_read": 8, "output": 9, "reasoning": 3}
_CALL = {"functionCall": {"name": "look", "args": ARGUMENTS}, "thoughtSignature": SIGNATURE}
GEMINI = json_of(
    _candidate({"text": THOUGHT, "thought": True}, {"text": TEXT}, _CALL, usage=_GEMINI_USAGE, finish="STOP")
)
GEMINI_EVENTS = [
    data(_candidate({"text": THOUGHT, "thought": True})),
    data(_candidate({"text": "Let me "})),
    data(_candidate({"text": "look."})),
    data(_candidate(_CALL)),
    data(_candidate({"text": ""}, usage=_GEMINI_USAGE, finish="STOP")),
]
