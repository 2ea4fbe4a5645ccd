"""Responses streams as they are read, from servers of every kind."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.translate.responses_streams import (
    SAID,
    documents,
    event,
    heard,
    judge,
    parts_of,
    payloads,
    stream_of,
)
from tests.gateway.wire.streams import SAMPLES

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
    RefusalDelta,
    TextDelta,
    Unsaid,
    Usage,
)

FULL: list[Event] = [
    Begin("resp_1", "gpt-5-mini", 1757000000),
    ReasoningEnd("item", "gAAA", "rs_1"),
    *map(
        TextDelta, ["Hello", ' "world"', " \\usage\\", ', "usage":null,', " ünïcode 🚂", "\n\n", "data: [DONE]", " end"]
    ),
    BlockEnd(),
    CallBegin(0, "call_1", "get"),
    CallDelta(0, "{}"),
]
FIGURES = Usage({"input": 1200, "cache_read": 1024, "cache_write": 100, "output": 40, "reasoning": 16})


@pytest.mark.parametrize(
    ("sample", "ending"),
    [
        ("responses_full", [CallEnd(0), Finished("tool_calls"), FIGURES, Done()]),
        ("responses_incomplete", [CallEnd(0), Finished("length"), FIGURES, Done()]),
        ("responses_failed", [Failed("server_error", "no", 500)]),
        ("responses_error", [Failed("rate_limit_exceeded", "slow down", 429)]),
    ],
)
def test_recorded_streams_are_read(sample: str, ending: list[Event]) -> None:
    """The tool call of these has no output_item.done."""
    assert heard(documents(SAMPLES[sample])) == FULL + ending


def test_a_stream_that_was_cut_is_not_done() -> None:
    read = documents(SAMPLES["responses_full"])
    for cut in range(len(read)):
        assert not any(isinstance(event, Done | Finished | Failed) for event in heard(read[:cut]))


def message(*content: dict[str, Any], id: str = "m1") -> dict[str, Any]:
    return {"type": "message", "id": id, "role": "assistant", "content": list(content)}


CALL = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
THOUGHT = {
    "type": "reasoning",
    "id": "r1",
    "summary": [{"type": "summary_text", "text": "h"}],
    "encrypted_content": "g",
}
START = event("created", response={"id": "resp_1", "model": "m"})
END = event("completed", response={"status": "completed"})
COMPLETE: list[Event] = [Finished("stop"), Done()]
CALLED: list[Event] = [CallBegin(0, "c1", "f"), CallDelta(0, '{"a":1}'), CallEnd(0)]
ODD: dict[str, tuple[list[dict[str, Any]], list[Event]]] = {
    "no deltas": (
        [
            event("output_item.added", output_index=0, item=message()),
            event("content_part.added", output_index=0, content_index=0, part=SAID | {"text": ""}),
            event("output_text.done", output_index=0, content_index=0, text="Hi"),
            event("content_part.done", output_index=0, content_index=0, part=SAID),
            event("output_item.done", output_index=0, item=message(SAID)),
        ],
        [TextDelta("Hi"), BlockEnd()],
    ),
    "items alone": (
        [
            event("output_item.done", output_index=0, item=THOUGHT),
            event("output_item.done", output_index=1, item=message(SAID, {"type": "refusal", "refusal": "no"})),
            event("output_item.done", output_index=2, item=CALL),
        ],
        [
            ReasoningDelta("item", "h"),
            ReasoningEnd("item", "g", "r1"),
            TextDelta("Hi"),
            BlockEnd(),
            RefusalDelta("no"),
            BlockEnd(),
            *CALLED,
        ],
    ),
    "the last event alone": (
        [event("completed", response={"status": "completed", "output": [message(SAID), CALL]})],
        [TextDelta("Hi"), BlockEnd(), *CALLED],
    ),
    "no indexes": (
        [
            event("output_item.added", item=message()),
            event("content_part.added", item_id="m1", part=SAID | {"text": ""}),
            event("output_text.delta", item_id="m1", delta="H"),
            event("output_text.delta", item_id="m1", delta="i"),
            event("output_text.done", item_id="m1", text="Hi"),
            event("content_part.done", item_id="m1", part=SAID),
            event("output_item.done", item=message(SAID)),
            event("output_item.added", item=CALL | {"arguments": ""}),
            event("function_call_arguments.delta", item_id="f1", delta='{"a":'),
            event("function_call_arguments.delta", item_id="f1", delta="1}"),
            event("function_call_arguments.done", item_id="f1", arguments='{"a":1}'),
            event("output_item.done", item=CALL),
        ],
        [
            TextDelta("H"),
            TextDelta("i"),
            BlockEnd(),
            CallBegin(0, "c1", "f"),
            CallDelta(0, '{"a":'),
            CallDelta(0, "1}"),
            CallEnd(0),
        ],
    ),
    "neither indexes nor ids": (
        [
            event("output_item.added", item={"type": "message"}),
            event("output_text.delta", delta="Hi"),
            event("output_item.done", item={"type": "message", "content": [SAID]}),
            event("output_item.added", item={"type": "function_call", "call_id": "c1", "name": "f"}),
            event("function_call_arguments.delta", delta='{"a":1}'),
            event("output_item.done", item={"type": "function_call", "call_id": "c1", "name": "f"}),
        ],
        [TextDelta("Hi"), BlockEnd(), *CALLED],
    ),
    "items that nothing ends": (
        [
            event("output_item.added", item={"type": "function_call", "call_id": "c1", "name": "f"}),
            event("function_call_arguments.delta", delta="{}"),
            event("output_item.added", item={"type": "function_call", "call_id": "c2", "name": "f"}),
            event("function_call_arguments.delta", delta="{}"),
        ],
        [
            CallBegin(0, "c1", "f"),
            CallDelta(0, "{}"),
            CallBegin(1, "c2", "f"),
            CallDelta(1, "{}"),
            CallEnd(0),
            CallEnd(1),
        ],
    ),
    "one id for all items": (
        [
            event("output_item.added", output_index=0, item=message(id="x")),
            event("output_text.delta", output_index=0, item_id="x", content_index=0, delta="Hi"),
            event("output_item.done", output_index=0, item=message(SAID, id="x")),
            event("output_item.added", output_index=1, item=CALL | {"id": "x", "arguments": ""}),
            event("function_call_arguments.delta", output_index=1, item_id="x", delta='{"a":1}'),
            event("output_item.done", output_index=1, item=CALL | {"id": "x"}),
        ],
        [TextDelta("Hi"), BlockEnd(), *CALLED],
    ),
    "nothing but deltas": (
        [event("output_text.delta", delta="H"), event("output_text.delta", delta="i"), event("output_text.delta")],
        [TextDelta("H"), TextDelta("i"), BlockEnd()],
    ),
    "arguments at the end alone": (
        [
            event("output_item.added", output_index=0, item=CALL | {"arguments": ""}),
            event("function_call_arguments.done", output_index=0, arguments='{"a":1}'),
            event("output_item.done", output_index=0, item=CALL),
        ],
        CALLED,
    ),
    "a call without a name at first": (
        [
            event("output_item.added", output_index=0, item={"type": "function_call", "id": "f1"}),
            event("function_call_arguments.delta", output_index=0, delta='{"a":1}'),
            event("output_item.done", output_index=0, item=CALL),
        ],
        CALLED,
    ),
    "a call without arguments": (
        [
            event("output_item.added", output_index=0, item=CALL | {"arguments": ""}),
            event("output_item.done", output_index=0, item=CALL | {"arguments": ""}),
        ],
        [CallBegin(0, "c1", "f"), CallDelta(0, "{}"), CallEnd(0)],
    ),
    "calls that interleave": (
        [
            event("output_item.added", output_index=0, item=CALL | {"arguments": ""}),
            event("output_item.added", output_index=1, item=CALL | {"arguments": "", "call_id": "c2", "id": "f2"}),
            event("function_call_arguments.delta", output_index=1, delta="{"),
            event("function_call_arguments.delta", output_index=0, delta="{}"),
            event("function_call_arguments.delta", output_index=1, delta="}"),
            event("output_item.done", output_index=1, item=CALL | {"arguments": "{}", "call_id": "c2", "id": "f2"}),
        ],
        [
            CallBegin(0, "c1", "f"),
            CallBegin(1, "c2", "f"),
            CallDelta(1, "{"),
            CallDelta(0, "{}"),
            CallDelta(1, "}"),
            CallEnd(1),
            CallEnd(0),
        ],
    ),
    "a summary of two parts": (
        [
            event("output_item.added", output_index=0, item={"type": "reasoning", "id": "r1", "summary": []}),
            event("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="a"),
            event("reasoning_summary_text.delta", output_index=0, summary_index=1, delta="b"),
            event("reasoning_summary_text.delta", output_index=0, summary_index=1, delta="c"),
            event("reasoning_text.delta", output_index=0, content_index=0, delta="d"),
            event("output_item.done", output_index=0, item=THOUGHT),
        ],
        [
            ReasoningDelta("item", "a"),
            ReasoningDelta("item", "\n\n"),
            ReasoningDelta("item", "b"),
            ReasoningDelta("item", "c"),
            ReasoningDelta("item", "\n\n"),
            ReasoningDelta("item", "d"),
            ReasoningEnd("item", "g", "r1"),
        ],
    ),
    "reasoning that text interrupts": (
        [
            event("reasoning_text.delta", item_id="r1", delta="a"),
            event("output_text.delta", item_id="m1", delta="b"),
            event("output_item.done", item=THOUGHT),
            event("output_text.delta", item_id="m1", delta="c"),
        ],
        [
            ReasoningDelta("item", "a"),
            ReasoningEnd("item", "", "r1"),
            TextDelta("b"),
            BlockEnd(),
            ReasoningEnd("item", "g", "r1"),
            TextDelta("c"),
            BlockEnd(),
        ],
    ),
    "what nobody else has a word for": (
        [
            event("output_item.added", output_index=0, item={"type": "web_search_call", "id": "w"}),
            event("web_search_call.completed", output_index=0),
            event("output_item.done", output_index=0, item={"type": "web_search_call", "id": "w"}),
            event("output_text.delta", output_index=1, content_index=0, delta="Hi"),
            event("output_text.annotation.added", output_index=1, annotation={"type": "url_citation"}),
            event("output_item.done", output_index=1, item=message(SAID | {"annotations": [{"type": "url_citation"}]})),
        ],
        [Unsaid("web_search_call"), TextDelta("Hi"), Unsaid("url_citation"), BlockEnd()],
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_servers_that_leave_things_out_are_understood(name: str) -> None:
    payloads, expected = ODD[name]
    ending: list[Event] = [Finished("tool_calls"), Done()] if CallEnd(0) in expected else COMPLETE
    whole = payloads if payloads[-1]["type"] == "response.completed" else [*payloads, END]
    got = heard([START, *whole])
    assert got == [Begin("resp_1", "m"), *expected, *ending]
    parts_of(got)


def test_an_answer_that_does_not_begin_begins_with_its_first_event() -> None:
    assert heard([event("output_text.delta", delta="H"), END])[:2] == [Begin("", ""), TextDelta("H")]


@pytest.mark.parametrize(
    "document",
    [
        {"error": {"message": "no", "type": "server_error"}},
        {"type": "error", "error": {"message": "no", "code": "server_error"}},
        {"type": "error", "message": "no", "code": "server_error"},
        {"type": "response.failed", "response": {"error": {"message": "no", "code": "server_error"}}},
    ],
)
def test_every_shape_of_error_is_a_failure_and_the_last_word(document: dict[str, Any]) -> None:
    assert heard([document, document, END]) == [Failed("server_error", "no", 500)]


@settings(deadline=None)
@given(st.lists(payloads, max_size=12))
def test_whatever_an_upstream_sends_becomes_events_in_a_legal_order(sent: list[dict[str, Any]]) -> None:
    events = heard(sent)
    parts_of(events)
    begins = [index for index, event in enumerate(events) if isinstance(event, Begin)]
    assert begins in ([], [0])
    ends = [index for index, event in enumerate(events) if isinstance(event, Done | Failed)]
    assert ends in ([], [len(events) - 1])
    judge(stream_of(events))
