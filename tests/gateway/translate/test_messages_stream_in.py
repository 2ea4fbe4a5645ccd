"""Messages streams as they are read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.translate.messages_streams import block, legal, payloads, texts, written

from interlock.gateway.translate.messages import StreamReader
from interlock.gateway.translate.neutral import (
    Begin,
    BlockEnd,
    CallBegin,
    CallDelta,
    CallEnd,
    Done,
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    ReasoningEnd,
    TextDelta,
    Unsaid,
    Usage,
)

# reading

START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 9, "output_tokens": 1}},
}


def read(*documents: dict[str, Any]) -> list[Event]:
    reader = StreamReader()
    return [event for document in documents for event in reader.read(document)] + reader.end()


@pytest.mark.parametrize(
    ("documents", "events"),
    [
        ([START], [Begin("msg_1", "m", 0, {"input": 9})]),
        ([{"type": "message_start"}], [Begin("", "")]),
        ([{"type": "ping"}], []),
        ([{"type": "something_new"}], []),
        (
            block(
                {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"}, {"type": "text_delta", "text": ""}
            ),
            [TextDelta("a"), BlockEnd()],
        ),
        (block({"type": "text", "text": "a"}), [TextDelta("a"), BlockEnd()]),
        (
            block(
                {"type": "text", "text": ""},
                {"type": "citations_delta", "citation": {}},
                {"type": "citations_delta", "citation": {}},
            ),
            [Unsaid("citations"), BlockEnd()],
        ),
        (
            block(
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "hm"},
                {"type": "signature_delta", "signature": "s"},
            ),
            [ReasoningDelta("thinking", "hm"), ReasoningEnd("thinking", "s")],
        ),
        (block({"type": "redacted_thinking", "data": "d"}), [ReasoningEnd("redacted", "d")]),
        (
            [
                *block(
                    {"type": "tool_use", "id": "i", "name": "f", "input": {}},
                    {"type": "input_json_delta", "partial_json": ""},
                    {"type": "input_json_delta", "partial_json": '{"a":1}'},
                ),
                *block({"type": "tool_use", "id": "j", "name": "g", "input": {}}, index=1),
                *block({"type": "tool_use", "id": "k", "name": "h", "input": {"b": 2}}, index=2),
            ],
            [
                *(CallBegin(0, "i", "f"), CallDelta(0, '{"a":1}'), CallEnd(0)),
                *(CallBegin(1, "j", "g"), CallDelta(1, "{}"), CallEnd(1)),
                *(CallBegin(2, "k", "h"), CallDelta(2, '{"b":2}'), CallEnd(2)),
            ],
        ),
        (
            [
                *block({"type": "server_tool_use", "input": {}}, {"type": "input_json_delta", "partial_json": "{"}),
                *block({"type": "server_tool_use", "input": {}}, index=1),
                *block({"type": "text"}, {"type": "text_delta", "text": "a"}, index=2),
            ],
            [Unsaid("server_tool_use"), TextDelta("a"), BlockEnd()],
        ),
        (
            [
                {"type": "message_start", "message": {"usage": {"input_tokens": 5, "cache_read_input_tokens": 2}}},
                {"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": "x"}},
                {"type": "message_delta", "usage": {"output_tokens": 3, "input_tokens": None}},
                {"type": "message_stop"},
            ],
            [
                Begin("", "", 0, {"input": 7, "cache_read": 2}),
                Finished("stop_sequence", "x"),
                Usage({"input": 7, "cache_read": 2, "output": 3}),
                Done(),
            ],
        ),
        (
            [{"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, {"type": "message_stop"}],
            [Failed("overloaded_error", "busy", 529)],
        ),
        ([{"error": {"message": "m"}}], [Failed("error", "m", 502)]),
        ([{"type": "error", "error": {"type": "new_error"}}], [Failed("new_error", "the upstream reported an error")]),
    ],
)
def test_reading(documents: Any, events: list[Event]) -> None:
    assert read(*documents) == events


def test_a_stream_without_its_end_is_not_done() -> None:
    finish = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}
    assert not any(isinstance(event, Done) for event in read(START, finish))
    assert StreamReader().done() == []


_types = st.sampled_from(
    [
        *(
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "error",
        ),
        *("text", "thinking", "tool_use", "redacted_thinking", "x", "text_delta", "input_json_delta"),
        *("thinking_delta", "signature_delta", "citations_delta"),
    ]
)
_names = st.sampled_from(["type", "index", "delta", "content_block", "message", "usage", "error"])
_inner_names = _names | st.sampled_from(["text", "input", "partial_json", "stop_reason", "signature"])
_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(-1, 3) | st.just(10**30) | texts | _types | st.lists(st.none(), max_size=1),
    lambda inner: st.dictionaries(_inner_names, inner, max_size=4),
    max_leaves=8,
)
_documents = st.builds(
    lambda document, kind, index: {"type": kind, "index": index} | document,
    st.dictionaries(_names, _json, max_size=4),
    _types,
    st.integers(0, 2),
)


@given(st.lists(_documents, max_size=12))
def test_reading_never_raises_and_what_it_gives_can_be_written(documents: list[dict[str, Any]]) -> None:
    assert legal(payloads(written(*read(*documents))))
