"""Responses streams as they are written, judged by OpenAI's own SDK."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.translate.responses_streams import documents, heard, judge, parts_of, stream_of
from tests.gateway.translate.same import events_of
from tests.gateway.translate.test_responses_answer import FINISHES, KEY, answer, answers, envelope

from interlock.gateway.translate.neutral import (
    Answer,
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
    Text,
    TextDelta,
    ToolCall,
    Unsaid,
    Usage,
)
from interlock.gateway.translate.responses import StreamWriter, read_answer, write_answer


@st.composite
def told(draw: st.DrawFn) -> tuple[Answer, list[Event]]:
    """An answer, and its events in fragments of any size."""
    whole = draw(answers)

    def cut(text: str) -> list[str]:
        places = sorted(draw(st.sets(st.integers(1, max(len(text) - 1, 1)), max_size=3)))
        edges = [0, *places, len(text)]
        return [text[a:b] for a, b in pairwise(edges)]

    return whole, events_of(whole, cut)


@settings(deadline=None)
@given(told())
def test_a_stream_ends_as_the_whole_answer(case: tuple[Answer, list[Event]]) -> None:
    whole, events = case
    final, _ = judge(stream_of(events))
    assert final == write_answer(whole, envelope())


@settings(deadline=None)
@given(told())
def test_a_stream_that_was_written_reads_as_the_same_answer(case: tuple[Answer, list[Event]]) -> None:
    whole, events = case
    back = heard(documents(stream_of(events)))
    expected = read_answer(write_answer(whole, envelope()))
    assert back[0] == Begin(expected.id, expected.model, expected.created_at)
    assert tuple(parts_of(back)) == expected.parts
    ending: list[Event] = [Finished(expected.finish), *([Usage(expected.usage)] if expected.usage else []), Done()]
    assert back[-len(ending) :] == ending


slots = st.integers(0, 2)
text = st.text(max_size=4)
kinds = st.sampled_from(["thinking", "item", "plain"])
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Begin, id=st.just("resp_1"), model=st.just("m")),
    st.builds(TextDelta, text),
    st.builds(RefusalDelta, text),
    st.builds(ReasoningDelta, kinds, text),
    st.builds(ReasoningEnd, st.sampled_from(["thinking", "redacted", "item", "plain"]), text),
    st.just(BlockEnd()),
    st.builds(CallBegin, slots, st.sampled_from(["", "a", "b"]), st.just("f")),
    st.builds(CallDelta, slots, text),
    st.builds(CallEnd, slots),
    st.builds(Usage, st.just({"input": 2, "output": 1})),
    st.builds(Finished, st.sampled_from(FINISHES)),
    st.builds(Unsaid, text),
)


@settings(deadline=None)
@given(st.lists(EVENTS, max_size=25), st.sampled_from([Done(), Failed("overloaded_error", "busy", 529), None]))
def test_any_order_of_events_gives_a_legal_stream(events: list[Event], end: Event | None) -> None:
    writer = StreamWriter(envelope())
    pieces = [writer.write(event) for event in events]
    stream = b"".join(pieces)
    judge(stream)  # a prefix is legal, too
    if end is None:
        return
    stream += writer.write(end)
    final, items = judge(stream)
    assert final is not None
    assert writer.write(TextDelta("late")) == writer.write(Done()) == writer.write(Failed("x", "y")) == b""
    if isinstance(end, Done):
        finish = next((event.finish for event in reversed(events) if isinstance(event, Finished)), "stop")
        assert final["status"] == ("incomplete" if finish in ("length", "context", "refusal") else "completed")
        assert None not in items
        said = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert said == "".join(
            part.get("text", "") for item in items if item["type"] == "message" for part in item["content"]
        )
    else:
        assert final["status"] == "failed"


def test_calls_may_interleave_and_only_the_last_item_is_incomplete() -> None:
    events: list[Event] = [
        Begin("", "m"),
        CallBegin(0, "a", "f"),
        CallDelta(0, '{"x"'),
        CallBegin(1, "b", "g"),
        CallDelta(1, '{"y":'),
        CallDelta(0, ":1}"),
        TextDelta("and"),
        CallDelta(1, "2}"),
        CallEnd(0),
        CallDelta(0, "late"),
        CallBegin(2, "c", "h"),
        CallEnd(2),
        Finished("length"),
        Done(),
    ]
    final, _ = judge(stream_of(events))
    assert final == write_answer(
        answer(
            ToolCall(id="a", name="f", arguments='{"x":1}'),
            ToolCall(id="b", name="g", arguments='{"y":2}'),
            Text(text="and"),
            ToolCall(id="c", name="h", arguments="{}"),
            id="",
            model="m",
            created_at=0,
            finish="length",
        ),
        envelope(),
    )
    assert [item["status"] for item in final["output"]] == ["completed", "completed", "completed", "incomplete"]


def test_a_text_stream_has_the_events_of_the_format() -> None:
    events: list[Event] = [Begin("resp_1", "m"), TextDelta("a"), TextDelta("b"), BlockEnd(), Finished("stop"), Done()]
    read = documents(stream_of(events))
    assert [document["type"].removeprefix("response.") for document in read] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert read[5] == {
        "type": "response.output_text.delta",
        "item_id": f"msg_{KEY}_0",
        "output_index": 0,
        "content_index": 0,
        "delta": "b",
        "logprobs": [],
        "sequence_number": 5,
    }


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failed("overloaded_error", "busy", 529), "server_error"),
        (Failed("rate_limit_error", "busy", 429), "rate_limit_exceeded"),
        (Failed("invalid_prompt", "busy", 400), "invalid_prompt"),
    ],
)
def test_a_failure_is_the_last_event_and_keeps_what_was_whole(failure: Failed, code: str) -> None:
    events: list[Event] = [ReasoningEnd("item", "gA"), TextDelta("a"), failure, TextDelta("b"), Done()]
    final, _ = judge(stream_of(events))
    assert final is not None
    assert final["error"] == {"code": code, "message": "busy", "type": failure.type}
    assert [item["type"] for item in final["output"]] == ["reasoning"]
