"""What Bedrock answers in tests, judged by botocore, and what Anthropic's SDK makes of it."""

import base64
import itertools
import json
from collections.abc import Iterable
from typing import Any

import msgspec
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from botocore.eventstream import EventStreamBuffer  # type: ignore[import-untyped]  # botocore has no types
from botocore.loaders import Loader  # type: ignore[import-untyped]  # botocore has no types
from botocore.model import ServiceModel  # type: ignore[import-untyped]  # botocore has no types
from botocore.parsers import EventStreamJSONParser  # type: ignore[import-untyped]  # botocore has no types
from pydantic import TypeAdapter
from tests.gateway.providers import frames

from interlock.gateway.providers.bedrock import Converse
from interlock.gateway.providers.ports import Decoder

SERVICE = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
DATA = base64.b64encode(b"opaque").decode()

USAGE = {
    "inputTokens": 12,
    "outputTokens": 5,
    "totalTokens": 40,
    "cacheReadInputTokens": 8,
    "cacheWriteInputTokens": 15,
    "cacheDetails": [{"ttl": "5m", "inputTokens": 5}, {"ttl": "1h", "inputTokens": 10}],
}
FIGURES = {
    "input_tokens": 12,
    "cache_read_input_tokens": 8,
    "cache_creation_input_tokens": 15,
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 10},
    "output_tokens": 5,
}
KINDS = {"input": 35, "cache_read": 8, "cache_write_5m": 5, "cache_write_1h": 10, "output": 5}

CONTENT: list[dict[str, Any]] = [
    {"reasoningContent": {"reasoningText": {"text": "Hmm.", "signature": "c2ln"}}},
    {"reasoningContent": {"redactedContent": DATA}},
    {"text": "Let me look."},
    {"toolUse": {"toolUseId": "tooluse_1", "name": "look", "input": {"at": 1.0, "ä": []}}},
    {"toolUse": {"toolUseId": "a.b:c", "name": "run", "input": {}}},
]
BLOCKS = [
    {"type": "thinking", "thinking": "Hmm.", "signature": "c2ln"},
    {"type": "redacted_thinking", "data": DATA},
    {"type": "text", "text": "Let me look."},
    {"type": "tool_use", "id": "tooluse_1", "name": "look", "input": {"at": 1.0, "ä": []}},
    {"type": "tool_use", "id": "ilkid_YS5iOmM", "name": "run", "input": {}},
]
DELTAS: list[tuple[str, Any]] = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "m."}}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "c2ln"}}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"reasoningContent": {"redactedContent": DATA}}}),
    ("contentBlockStop", {"contentBlockIndex": 1}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"text": "Let me "}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"text": "look."}}),
    ("contentBlockStop", {"contentBlockIndex": 2}),
    (
        "contentBlockStart",
        {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": "look"}}},
    ),
    ("contentBlockDelta", {"contentBlockIndex": 3, "delta": {"toolUse": {"input": ""}}}),
    ("contentBlockDelta", {"contentBlockIndex": 3, "delta": {"toolUse": {"input": '{"at": 1.0'}}}),
    ("contentBlockDelta", {"contentBlockIndex": 3, "delta": {"toolUse": {"input": ', "ä": []}'}}}),
    ("contentBlockStop", {"contentBlockIndex": 3}),
    ("contentBlockStart", {"contentBlockIndex": 4, "start": {"toolUse": {"toolUseId": "a.b:c", "name": "run"}}}),
    ("contentBlockStop", {"contentBlockIndex": 4}),
    ("messageStop", {"stopReason": "tool_use"}),
    ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1551}}),
]


def converse() -> Converse:
    return Converse(CLAUDE, anthropic=True, make_id=lambda: "msg_made")


def stream_of(events: Iterable[tuple[str, Any]]) -> bytes:
    """The events in frames, once botocore has read them all as the service's own."""
    said = list(events)
    data = b"".join(frames.event(kind, document) for kind, document in said)
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    shape = SERVICE.operation_model("ConverseStream").output_shape.members["stream"]
    read = [EventStreamJSONParser().parse(message.to_response_dict(), shape) for message in buffer]
    for (kind, document), parsed in zip(said, read, strict=True):
        assert parsed == {kind: parsed[kind]}
        if kind == "contentBlockDelta":
            assert set(parsed[kind]["delta"]) == set(document["delta"])
    return data


def fed(decoder: Decoder, data: bytes, *cuts: int) -> bytes:
    pieces = itertools.pairwise([0, *cuts, len(data)])
    return b"".join([*(decoder.feed(data[start:end]) for start, end in pieces), decoder.finish()])


def documents(text: bytes) -> list[dict[str, Any]]:
    """The events' data; each event's name is its type."""
    out = []
    for event in text.decode().split("\n\n")[:-1]:
        name, data = event.split("\n")
        out.append(msgspec.json.decode(data.removeprefix("data: ")))
        assert name == f"event: {out[-1]['type']}"
    return out


EVENT: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def accumulated(text: bytes) -> Message:
    """The message that Anthropic's SDK makes of a stream, whose blocks must be dense and must not overlap."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    open_block, blocks = False, 0
    for document in documents(text):
        if document["type"] == "content_block_start":
            assert not open_block and document["index"] == blocks
            open_block = True
        elif document["type"] == "content_block_delta":
            assert open_block and document["index"] == blocks
        elif document["type"] == "content_block_stop":
            assert open_block and document["index"] == blocks
            open_block, blocks = False, blocks + 1
        event = EVENT.validate_python(document)
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    assert not open_block
    return Message.model_validate(snapshot.model_dump())


def message(text: bytes) -> dict[str, Any]:
    return dumped(accumulated(text))


def dumped(answer: Message) -> dict[str, Any]:
    return {**answer.model_dump(exclude_none=True), "stop_sequence": answer.stop_sequence}


def answer(content: list[dict[str, Any]], **more: object) -> bytes:
    document = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": "end_turn",
        "usage": USAGE,
        "metrics": {"latencyMs": 1551},
    }
    return json.dumps(document | more).encode()


BEGIN, END = DELTAS[0], DELTAS[-2:]
