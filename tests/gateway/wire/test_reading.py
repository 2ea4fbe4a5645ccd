"""Whole answers."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.gateway.wire import Reading, read_whole
from interlock.ledger import Format

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-5-mini-2025-08-07",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "tool_calls": [{"id": "c", "type": "function"}]}}
        | {"finish_reason": "tool_calls"}
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "prompt_tokens_details": None},
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "model": "claude-haiku-4-5",
    "content": [{"type": "thinking", "thinking": "x", "signature": "s"}, {"type": "text", "text": '"usage":{}'}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "cache_read_input_tokens": 8, "output_tokens": 4},
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 5,
    "status": "incomplete",
    "incomplete_details": {"reason": "max_output_tokens"},
    "error": None,
    "model": "gpt-5",
    "usage": {"input_tokens": 9, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 8}},
}


def whole(format: Format, document: dict[str, Any]) -> Reading:
    return read_whole(format, json.dumps(document).encode())


def test_chat() -> None:
    got = whole("chat", CHAT)
    assert (got.complete, got.errored, got.source) == (True, False, "reported")
    assert got.usage == {"input": 9, "output": 4}
    assert got.raw == json.dumps(CHAT["usage"]).encode()
    assert (got.finish_reason, got.upstream_id, got.upstream_model) == (
        "tool_calls",
        "chatcmpl-1",
        "gpt-5-mini-2025-08-07",
    )


def test_messages() -> None:
    got = whole("messages", MESSAGE)
    assert got.usage == {"input": 9, "cache_read": 8, "output": 4}
    assert (got.finish_reason, got.upstream_id, got.upstream_model) == ("end_turn", "msg_1", "claude-haiku-4-5")
    assert got.raw == json.dumps(MESSAGE["usage"]).encode()


def test_responses() -> None:
    got = whole("responses", RESPONSE)
    assert got.usage == {"input": 9, "cache_read": 8, "output": 4}
    assert (got.complete, got.errored, got.finish_reason) == (True, False, "max_output_tokens")
    assert got.raw == json.dumps(RESPONSE["usage"]).encode()


@pytest.mark.parametrize(
    ("format", "document", "type"),
    [
        ("chat", {"error": {"message": "m", "type": "rate_limit_error", "code": None}}, "rate_limit_error"),
        ("chat", {"error": {"message": "m", "type": None, "code": "x"}}, "x"),
        ("chat", {"error": "text"}, "error"),
        ("messages", {"error": {"code": 400, "type": "exceed_context_size_error"}}, "exceed_context_size_error"),
        ("messages", {"type": "error", "error": {"type": "overloaded_error"}}, "overloaded_error"),
        ("responses", {**RESPONSE, "status": "failed", "error": {"code": "server_error"}}, "server_error"),
    ],
)
def test_errors(format: Format, document: dict[str, Any], type: str) -> None:
    got = whole(format, document)
    assert (got.errored, got.error_type) == (True, type)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"<html>", b'{"usage":{},"usage":{}}', json.dumps(CHAT).encode()[:-1]]
)
def test_what_is_broken_is_not_complete_and_is_estimated(body: bytes) -> None:
    got = read_whole("chat", body)
    assert (got.complete, got.source, got.raw) == (False, "estimated", b"null")
    assert got.estimate() == ({"output": (len(body) + 3) // 4}, "answer-bytes/1")


def test_what_goes_on_record_is_bounded() -> None:
    got = whole("chat", {**CHAT, "id": "x" * 5000, "usage": {"prompt_tokens": 1, "pad": "x" * 20_000}})
    assert (len(got.upstream_id), got.raw, got.usage) == (256, b"null", {"input": 1})


NAMES = st.sampled_from([*CHAT, *MESSAGE, *RESPONSE, "error", "message", "response", "prompt_tokens", "reason"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=6,
)


@settings(deadline=None)
@given(document=st.dictionaries(NAMES, JSON), format=st.sampled_from(["chat", "messages", "responses"]))
def test_whatever_an_upstream_sends_is_read(document: dict[str, Any], format: Format) -> None:
    got = whole(format, document)
    assert got.complete
    assert msgspec.json.decode(got.raw) == (document.get("usage") if isinstance(document.get("usage"), dict) else None)


@pytest.mark.parametrize("format", ["chat", "messages", "responses"])
def test_the_local_server(format: Format) -> None:
    recorded = (Path(__file__).parents[2] / "data" / "local" / f"{format}-whole.txt").read_bytes()
    got = read_whole(format, recorded.split(b"\r\n\r\n", 1)[1])
    assert (got.complete, got.errored, got.source, got.inconsistent) == (True, False, "reported", False)
    assert (got.usage["input"], got.usage["output"], got.upstream_model) == (33, 4, "smollm2-135m-instruct")
