"""Small answers in the documented shapes of the three formats, whole and streamed, with their usage."""

import json

import msgspec

CHAT = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "model-0",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 20,
            "completion_tokens": 5,
            "total_tokens": 25,
            "prompt_tokens_details": {"cached_tokens": 8},
        },
    }
).encode()
RESPONSES = json.dumps(
    {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "model-0",
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}],
        "usage": {"input_tokens": 20, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 8}},
    }
).encode()
MESSAGES = json.dumps(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "model-0",
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 12, "cache_read_input_tokens": 8, "output_tokens": 5},
    }
).encode()
WHOLE = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES}
USAGE = {"input": 20, "cache_read": 8, "output": 5}
"""What all of them report, in the ledger's kinds."""


def data(value: object) -> bytes:
    """A chat event."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def named(value: dict[str, object]) -> bytes:
    """A Messages or Responses event."""
    return f"event: {value['type']}\n".encode() + data(value)


def chat_delta(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return data({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "model-0", "choices": [choice]})


CHAT_USAGE = data(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "model-0",
        "choices": [],
        "usage": msgspec.json.decode(CHAT)["usage"],
    }
)
DONE = b"data: [DONE]\n\n"
_RESPONSE = {"id": "resp_1", "object": "response", "model": "model-0", "output": []}
EVENTS: dict[str, list[bytes]] = {
    "chat": [chat_delta("h"), chat_delta("i"), chat_delta("", "stop"), CHAT_USAGE, DONE],
    "responses": [
        named({"type": "response.created", "sequence_number": 0, "response": {**_RESPONSE, "status": "in_progress"}}),
        named({"type": "response.output_text.delta", "sequence_number": 1, "delta": "h", "item_id": "m"}),
        named({"type": "response.output_text.delta", "sequence_number": 2, "delta": "i", "item_id": "m"}),
        named({"type": "response.completed", "sequence_number": 3, "response": msgspec.json.decode(RESPONSES)}),
    ],
    "messages": [
        named(
            {
                "type": "message_start",
                "message": {
                    **msgspec.json.decode(MESSAGES),
                    "content": [],
                    "usage": {"input_tokens": 12, "cache_read_input_tokens": 8, "output_tokens": 1},
                },
            }
        ),
        named({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "h"}}),
        named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "i"}}),
        named({"type": "content_block_stop", "index": 0}),
        named({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}),
        named({"type": "message_stop"}),
    ],
}


def ask(format: str, model: str = "auto", *, stream: bool = False) -> dict[str, object]:
    """A small request."""
    body: dict[str, object] = {"model": model, "stream": stream}
    if format == "responses":
        return {**body, "input": "hello"}
    if format == "messages":
        body["max_tokens"] = 100
    return {**body, "messages": [{"role": "user", "content": "hello"}]}
