"""Chat streams as they are read, from servers of every kind."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.translate.chat_streams import (
    IDS,
    NAMES,
    SLOTS,
    TEXT,
    call,
    chunk,
    judge,
    part_of_events,
    payloads,
    read_all,
    written,
)

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

BEGIN = Begin("i", "m", 5)
END = chunk({}, "stop")
STOP: list[Event] = [Finished("stop"), Done()]
CALLED: list[Event] = [CallEnd(0), Finished("tool_calls"), Done()]


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        (
            [
                chunk({"role": "assistant", "content": ""}),
                chunk({"content": "a"}),
                chunk({"content": "b"}),
                END,
                "[DONE]",
            ],
            [TextDelta("a"), TextDelta("b"), BlockEnd(), *STOP],
        ),
        (
            [chunk({"content": "a"}), chunk({"content": "b"}, "length")],
            [TextDelta("a"), TextDelta("b"), BlockEnd(), Finished("length"), Done()],
        ),
        ([chunk({"content": None, "tool_calls": None}), {"choices": []}, {}, END], STOP),
        ([chunk({"content": "a"}), "[DONE]"], [TextDelta("a"), BlockEnd(), *STOP]),
        ([chunk({"content": "a"})], [TextDelta("a")]),
        (
            [chunk({"refusal": "no"}), chunk({}, "content_filter")],
            [RefusalDelta("no"), BlockEnd(), Finished("refusal"), Done()],
        ),
        # reasoning under its names; one block however many chunks
        (
            [
                chunk({"reasoning_content": "r"}),
                chunk({"reasoning": "s"}),
                chunk({"reasoning_content": None, "content": "a"}),
                END,
            ],
            [
                ReasoningDelta("plain", "r"),
                ReasoningDelta("plain", "s"),
                ReasoningEnd("plain"),
                TextDelta("a"),
                BlockEnd(),
                *STOP,
            ],
        ),
        (
            [
                chunk({"reasoning": "r", "reasoning_details": [{"type": "reasoning.text", "text": "r"}]}),
                chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}),
                END,
            ],
            [ReasoningDelta("plain", "r"), Unsaid("reasoning.encrypted"), ReasoningEnd("plain"), *STOP],
        ),
        (
            [
                chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "r"}]}]}),
                chunk({"content": "a"}),
                END,
            ],
            [ReasoningDelta("plain", "r"), ReasoningEnd("plain"), TextDelta("a"), BlockEnd(), *STOP],
        ),
        # calls
        (
            [chunk(call(0, "c", "f", "")), chunk(call(0, None, None, "{")), chunk(call(0, "", None, "}")), END],
            [CallBegin(0, "c", "f"), CallDelta(0, "{"), CallDelta(0, "}"), *CALLED],
        ),
        (
            [chunk(call(0, "c", "f", "{")), chunk(call(0, "c", "f", "}")), END],
            [CallBegin(0, "c", "f"), CallDelta(0, "{"), CallDelta(0, "}"), *CALLED],
        ),
        (
            [chunk(call(None, "c", "f", "{")), chunk(call(None, None, None, "}")), END],
            [CallBegin(0, "c", "f"), CallDelta(0, "{"), CallDelta(0, "}"), *CALLED],
        ),
        (
            [chunk(call(None, "c", "f", "{")), chunk(call(None, "c", "f", "}")), END],
            [CallBegin(0, "c", "f"), CallDelta(0, "{"), CallDelta(0, "}"), *CALLED],
        ),
        (
            [chunk(call(None, "c", "f", "{}")), chunk(call(None, "d", "g", "{}")), END],
            [
                CallBegin(0, "c", "f"),
                CallDelta(0, "{}"),
                CallBegin(1, "d", "g"),
                CallDelta(1, "{}"),
                CallEnd(0),
                CallEnd(1),
                Finished("tool_calls"),
                Done(),
            ],
        ),
        (
            [chunk(call(0, "c", "f", "{}")), chunk(call(0, "d", "g", "{")), chunk(call(0, None, None, "}")), END],
            [
                CallBegin(0, "c", "f"),
                CallDelta(0, "{}"),
                CallBegin(1, "d", "g"),
                CallDelta(1, "{"),
                CallDelta(1, "}"),
                CallEnd(0),
                CallEnd(1),
                Finished("tool_calls"),
                Done(),
            ],
        ),
        (
            [
                chunk(call(0, "c", "f")),
                chunk(call(1, "d", "g")),
                chunk(call(0, None, None, "x")),
                chunk(call(1, None, None, "y")),
                END,
            ],
            [
                CallBegin(0, "c", "f"),
                CallBegin(1, "d", "g"),
                CallDelta(0, "x"),
                CallDelta(1, "y"),
                CallEnd(0),
                CallEnd(1),
                Finished("tool_calls"),
                Done(),
            ],
        ),
        (
            [chunk(call(0, "c", None, "{")), chunk(call(0, None, "f", "}")), END],
            [CallBegin(0, "c", "f"), CallDelta(0, "{}"), *CALLED],
        ),
        ([chunk(call(0, "c", "f", {"a": 1})), END], [CallBegin(0, "c", "f"), CallDelta(0, '{"a":1}'), *CALLED]),
        ([chunk(call(0, "c")), END], [Unsaid("tool_call"), *STOP]),
        ([chunk({"tool_calls": [{"index": 0, "type": "custom", "custom": {}}]}), END], [Unsaid("custom"), *STOP]),
        (
            [
                chunk({"function_call": {"name": "f", "arguments": "{"}}),
                chunk({"function_call": {"arguments": "}"}}),
                chunk({}, "function_call"),
            ],
            [CallBegin(0, "", "f"), CallDelta(0, "{"), CallDelta(0, "}"), *CALLED],
        ),
        (
            [chunk({"content": "a"}), chunk(call(0, "c", "f", "{}"), "tool_calls")],
            [TextDelta("a"), BlockEnd(), CallBegin(0, "c", "f"), CallDelta(0, "{}"), *CALLED],
        ),
        (
            [chunk(call(0, "c", "f", "{")), chunk({}, "length")],
            [CallBegin(0, "c", "f"), CallDelta(0, "{"), CallEnd(0), Finished("length"), Done()],
        ),
        # usage: in its own chunk, on the last one, on every one
        (
            [
                chunk({"content": "a"}, usage={"prompt_tokens": 3, "completion_tokens": 1}),
                chunk({}, "stop", usage={"prompt_tokens": 3, "completion_tokens": 2}),
                {"choices": [], "usage": None},
            ],
            [TextDelta("a"), BlockEnd(), Finished("stop"), Usage({"input": 3, "output": 2}), Done()],
        ),
        (
            [END, {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}, "[DONE]"],
            [Finished("stop"), Usage({"input": 3, "output": 2}), Done()],
        ),
        # only the first choice
        (
            [
                {**chunk(), "choices": [{"index": 1, "delta": {"content": "x"}}]},
                {**chunk(), "choices": [{"delta": {"content": "a"}}]},
                END,
            ],
            [TextDelta("a"), BlockEnd(), *STOP],
        ),
        (
            [{**chunk(), "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}]}],
            [Finished("stop_sequence", "END"), Done()],
        ),
        ([END, chunk({"content": "late"}), "[DONE]", chunk({"content": "later"})], STOP),
        (
            [chunk({"annotations": [{}], "audio": {"id": "x"}}), chunk({"annotations": [{}]}), END],
            [Unsaid("audio"), Unsaid("annotations"), *STOP],
        ),
        # errors
        (
            [chunk({"content": "a"}), {"error": {"message": "busy", "type": "overloaded_error"}}, "[DONE]"],
            [TextDelta("a"), Failed("overloaded_error", "busy", 529)],
        ),
        ([{**chunk({}, "error"), "error": {"message": "down", "code": 503}}], None),
        ([chunk({}, "error"), "[DONE]"], [Failed("error", "the upstream reported an error", 502)]),
    ],
)
def test_read(documents: list[Any], expected: list[Event] | None) -> None:
    if expected is None:
        assert read_all(documents) == [Failed("error", "down", 503)]
    else:
        assert read_all(documents) == [BEGIN, *expected]


def test_nothing_at_all_is_no_answer() -> None:
    assert read_all(["[DONE]"]) == []
    assert read_all([]) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3) | st.just("stop"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "index",
                    "delta",
                    "content",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "id",
                    "type",
                    "text",
                    "code",
                    "reasoning_content",
                    "reasoning_details",
                    "finish_reason",
                    "message",
                    "refusal",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXT | JSON,
        "refusal": TEXT,
        "reasoning": TEXT | JSON,
        "reasoning_details": JSON,
        "function_call": JSON,
    }
    | {
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "index": SLOTS | JSON,
                    "id": IDS | JSON,
                    "function": st.fixed_dictionaries({}, optional={"name": NAMES | JSON, "arguments": TEXT | JSON}),
                },
            ),
            max_size=3,
        )
    },
)
CHUNKS = st.builds(chunk, DELTAS, st.sampled_from([None, None, None, "stop", "length", "error"])) | st.dictionaries(
    st.sampled_from(["choices", "usage", "id", "error"]), JSON, max_size=3
)


@settings(deadline=None)
@given(st.lists(CHUNKS | st.just("[DONE]"), max_size=12))
def test_nothing_an_upstream_says_can_raise_and_its_events_are_in_order(documents: list[Any]) -> None:
    events = read_all(documents)
    part_of_events(events)
    assert not any(isinstance(event, Done | Failed) for event in events[:-1])
    assert sum(isinstance(event, Begin) for event in events) <= 1
    if Done() in events:
        assert any(isinstance(event, Finished) for event in events)
    judge(payloads(written(events)), usage=True)
