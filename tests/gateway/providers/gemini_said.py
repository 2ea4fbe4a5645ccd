"""What Gemini is asked and answers in tests, judged by google-genai's types, and what a Messages client makes of it."""

import json
from typing import Any

import msgspec
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from google.genai import types
from pydantic import TypeAdapter

from interlock.gateway.providers.gemini import Gemini

NEW, OLD = "gemini-3-pro", "gemini-2.5-flash"
SIGNATURE, OTHER = "c2lnbmF0dXJlLW9uZQ==", "c2lnbmF0dXJlLXR3bw=="
PICTURE = "iVBORw0KGgo="
USAGE = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 40,
    "toolUsePromptTokenCount": 7,
    "candidatesTokenCount": 11,
    "thoughtsTokenCount": 5,
    "totalTokenCount": 123,
}
FIGURES = {"input": 107, "cache_read": 40, "output": 16, "reasoning": 5}
_events: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def body(**members: object) -> bytes:
    """A Messages request."""
    return json.dumps(
        {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}], **members}
    ).encode()


def asked(model: str = NEW, **members: object) -> dict[str, Any]:
    """The Gemini request for it, if google-genai's types know everything in it."""
    document: dict[str, Any] = msgspec.json.decode(Gemini(model).request(body(**members), False))
    for content in [*document["contents"], document.get("systemInstruction", {})]:
        types.Content.model_validate_json(json.dumps(content))
    for tool in document.get("tools", []):
        types.Tool.model_validate_json(json.dumps(tool))
    types.ToolConfig.model_validate_json(json.dumps(document.get("toolConfig", {})))
    types.GenerationConfig.model_validate_json(json.dumps(document.get("generationConfig", {})))
    known = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"}
    assert document.keys() <= known
    return document


def chunk(
    *parts: dict[str, Any], finish: str | None = None, usage: dict[str, Any] | None = USAGE, **more: Any
) -> dict[str, Any]:
    """An answer or a part of one, which google-genai's types know."""
    candidate: dict[str, Any] = {"index": 0}
    if parts:
        candidate["content"] = {"role": "model", "parts": list(parts)}
    if finish:
        candidate["finishReason"] = finish
    said = {"candidates": [candidate], "modelVersion": "gemini-3-pro-001", "responseId": "r-1", **more}
    if usage is not None:
        said["usageMetadata"] = usage
    types.GenerateContentResponse.model_validate_json(json.dumps(said))
    return said


def sse(*chunks: object) -> bytes:
    """Chunks as Google frames them."""
    return b"".join(f"data: {json.dumps(said)}\r\n\r\n".encode() for said in chunks)


def streamed(data: bytes, estimate: int = 0) -> bytes:
    """What comes out of one feed and the end."""
    decoder = Gemini(NEW).decoder(estimate)
    return decoder.feed(data) + decoder.finish()


def events(stream: bytes) -> list[dict[str, Any]]:
    """The events, named after their types."""
    found = []
    for event in stream.split(b"\n\n")[:-1]:
        name, data = event.split(b"\n")
        said = msgspec.json.decode(data.removeprefix(b"data: "))
        assert name == b"event: " + said["type"].encode()
        found.append(said)
    return found


def final(stream: bytes) -> dict[str, Any]:
    """The message that the SDK makes of it; every event is legal, blocks are dense and never overlap."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    said = events(stream)
    assert [e["index"] for e in said if e["type"] == "content_block_start"] == list(
        range(sum(e["type"] == "content_block_start" for e in said))
    )
    for event in said:
        snapshot = accumulate_event(event=_events.validate_python(event), current_snapshot=snapshot, json_bufs=buffers)
    assert said[-1]["type"] == "message_stop"
    return msgspec.json.decode(snapshot.to_json(exclude_unset=False))  # type: ignore[no-any-return]  # JSON of a message


def whole(said: dict[str, Any], status: int = 200) -> dict[str, Any]:
    """A whole answer that anthropic's types know."""
    out = Gemini(NEW).whole(status, json.dumps(said).encode())
    message = Message.model_validate_json(out)
    return msgspec.json.decode(message.to_json(exclude_unset=False))  # type: ignore[no-any-return]  # JSON of a message


def back(content: list[dict[str, Any]], *after: dict[str, Any], model: str = NEW) -> list[dict[str, Any]]:
    """The contents of the next request, which holds an answer's blocks."""
    first = {"role": "user", "content": "hi"}
    return asked(model, messages=[first, {"role": "assistant", "content": content}, *after])["contents"]  # type: ignore[no-any-return]  # a list


def results(*calls: dict[str, Any]) -> dict[str, Any]:
    """Results of calls."""
    return {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": c["id"], "content": "ok"} for c in calls],
    }


def calls_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for block in message["content"] if block["type"] == "tool_use"]


# answers

TEXT = {"text": "Hello"}
CALL = {"functionCall": {"name": "look", "args": {"a": 1}}}
