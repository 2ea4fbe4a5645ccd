"""Whole answers of Converse as Messages, judged by Anthropic's SDK."""

from typing import Any

import msgspec
import pytest
from anthropic.types import Message
from tests.gateway.providers.bedrock_said import (
    BLOCKS,
    CLAUDE,
    CONTENT,
    DATA,
    FIGURES,
    KINDS,
    SERVICE,
    USAGE,
    answer,
    converse,
    documents,
    dumped,
    fed,
    message,
    stream_of,
)

from interlock.gateway.wire.reading import read_whole
from interlock.gateway.wire.tap import StreamTap

# Converse, whole


def test_a_whole_answer() -> None:
    written = Message.model_validate(
        msgspec.json.decode(converse().whole(200, answer(CONTENT, stopReason="tool_use"))), strict=True
    )
    assert dumped(written) == {
        "id": "msg_made",
        "type": "message",
        "role": "assistant",
        "model": CLAUDE,
        "content": BLOCKS,
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": FIGURES,
    }
    reading = read_whole("messages", converse().whole(200, answer(CONTENT)))
    assert (reading.usage, reading.inconsistent) == (KINDS, False)


def test_arguments_of_a_whole_answer_pass_as_they_were_written() -> None:
    call = {"toolUse": {"toolUseId": "i", "name": "t", "input": "RAW"}}
    raw = b'{"big": 123456789012345678901234567890, "e": 1.50e3}'
    assert raw in converse().whole(200, answer([call]).replace(b'"RAW"', raw))


REASONS = [
    ("end_turn", [], "end_turn"),
    ("max_tokens", [], "max_tokens"),
    ("model_context_window_exceeded", [], "model_context_window_exceeded"),
    ("guardrail_intervened", [], "refusal"),
    ("content_filtered", [], "refusal"),
    ("tool_use", CONTENT[-1:], "tool_use"),
    ("end_turn", CONTENT[-1:], "tool_use"),
    ("max_tokens", CONTENT[-1:], "max_tokens"),
]


def streamed(content: list[dict[str, Any]], *, usage: object = USAGE, **stop: object) -> list[tuple[str, Any]]:
    """A stream with the calls of `content`, or a text."""
    events: list[tuple[str, Any]] = [("messageStart", {"role": "assistant"})]
    for at, block in enumerate(content):
        start = {name: block["toolUse"][name] for name in ("toolUseId", "name")}
        events.append(("contentBlockStart", {"contentBlockIndex": at, "start": {"toolUse": start}}))
        events.append(("contentBlockStop", {"contentBlockIndex": at}))
    return [*events, ("messageStop", stop), ("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})]


@pytest.mark.parametrize(("reason", "content", "expected"), REASONS)
def test_stop_reasons(reason: str, content: list[dict[str, Any]], expected: str) -> None:
    whole = msgspec.json.decode(converse().whole(200, answer(content, stopReason=reason)))
    stream = message(fed(converse().decoder(), stream_of(streamed(content, stopReason=reason))))
    assert whole["stop_reason"] == stream["stop_reason"] == expected


def test_every_stop_reason_of_the_service_model_is_known() -> None:
    malformed = {"malformed_model_output", "malformed_tool_use"}
    known = {reason for reason, _, _ in REASONS} | malformed | {"stop_sequence"}
    assert set(SERVICE.shape_for("StopReason").enum) == known


def test_which_stop_sequence_it_was() -> None:
    stop = {"stopReason": "stop_sequence", "additionalModelResponseFields": {"stop_sequence": "END"}}
    whole = msgspec.json.decode(converse().whole(200, answer([{"text": "a"}], **stop)))
    assert (whole["stop_reason"], whole["stop_sequence"]) == ("stop_sequence", "END")
    stream = message(fed(converse().decoder(), stream_of(streamed([], **stop))))
    assert (stream["stop_reason"], stream["stop_sequence"]) == ("stop_sequence", "END")
    other = {"stopReason": "stop_sequence", "additionalModelResponseFields": {"stop_sequence": None}}
    assert msgspec.json.decode(converse().whole(200, answer([], **other)))["stop_sequence"] is None


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_malformed_output_is_an_error_and_metered(reason: str) -> None:
    whole = converse().whole(200, answer([], stopReason=reason))
    reading = read_whole("messages", whole)
    assert (reading.errored, reading.error_type, reading.usage) == (True, "api_error", KINDS)
    stream = fed(converse().decoder(), stream_of(streamed([], stopReason=reason)))
    tap = StreamTap("messages")
    assert tap.feed(stream) + tap.finish() == stream
    assert (tap.errored, tap.complete, tap.error_type, tap.usage) == (True, False, "api_error", KINDS)
    last = documents(stream)[-1]
    assert reason in last["error"]["message"]
    assert last["type"] == "error"


@pytest.mark.parametrize(
    "block",
    [
        {"image": {"format": "png", "source": {"bytes": DATA}}},
        {"toolUse": {"toolUseId": "i", "name": "n", "input": {}, "type": "server_tool_use"}},
        {"reasoningContent": {}},
        {"text": "a", "novelty": {}},
        {},
    ],
)
def test_an_answer_with_a_block_that_messages_lacks_comes_back(block: dict[str, Any]) -> None:
    body = answer([block])
    assert converse().whole(200, body) is body
