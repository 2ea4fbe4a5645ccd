"""Chat streams as they are written, judged by OpenAI's own SDK."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from tests.examples import at_least
from tests.gateway.translate.chat_streams import (
    IDS,
    NAMES,
    SLOTS,
    TEXT,
    envelope,
    judge,
    part_of_events,
    payloads,
    read_all,
    written,
)
from tests.gateway.translate.same import events_of

from interlock.gateway.translate.chat import read_answer, write_answer
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
    Part,
    Reasoning,
    ReasoningDelta,
    ReasoningEnd,
    Refusal,
    RefusalDelta,
    Text,
    TextDelta,
    ToolCall,
    Unsaid,
    Usage,
)


def put_together(stream: bytes) -> dict[str, Any]:
    """The message that OpenAI's SDK makes of the stream."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    *chunks, last = payloads(stream)
    assert last == "[DONE]"
    for chunk in chunks:
        list(state.handle_chunk(ChatCompletionChunk.model_validate(chunk, strict=True)))
    return state.current_completion_snapshot.model_dump(exclude_none=True)


PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, text=TEXT),
    st.builds(Refusal, text=TEXT),
    st.builds(
        Reasoning,
        kind=st.sampled_from(["thinking", "item", "plain"]),
        text=TEXT,
        seal=st.sampled_from(["", "SEAL"]),
        id=st.sampled_from(["", "rs_1"]),
    ),
    st.builds(Reasoning, kind=st.just("redacted"), seal=TEXT),
    st.builds(ToolCall, id=IDS, name=NAMES, arguments=st.sampled_from(["{}", '{"a": "ü\\n"}', "not JSON"])),
)
USAGES = st.sampled_from([{}, {"input": 5, "output": 0}, {"input": 9, "cache_read": 3, "output": 4, "reasoning": 1}])
FINISHES = st.sampled_from(["stop", "stop_sequence", "length", "context", "tool_calls", "refusal", "pause"])
ANSWERS = st.builds(
    Answer,
    id=st.sampled_from(["", "msg_1"]),
    model=st.sampled_from(["", "claude"]),
    created_at=st.sampled_from([0, 5]),
    parts=st.lists(PARTS, max_size=6).map(tuple),
    finish=FINISHES,
    usage=USAGES,
)


def cut_by(data: st.DataObject) -> Any:
    def cut(text: str) -> list[str]:
        at = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
        return [text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True)]

    return cut


@settings(deadline=None)
@given(ANSWERS, st.booleans(), st.booleans(), st.data())
def test_whole_and_streamed_agree(answer: Answer, usage: bool, legacy: bool, data: st.DataObject) -> None:
    env = envelope(usage=usage, legacy=legacy)
    whole = write_answer(answer, env)
    if not usage:
        whole.pop("usage", None)
    expected = ChatCompletion.model_validate(whole, strict=True).model_dump(exclude_none=True)
    streamed = put_together(written(events_of(answer, cut_by(data)), env))
    for call in streamed["choices"][0]["message"].get("tool_calls", []):
        del call["index"]  # the SDK leaves it in
    assert streamed == expected


def ordered(parts: tuple[Part, ...]) -> list[Part]:
    """As a whole chat message has them."""
    kinds = (Reasoning, Text, Refusal, ToolCall)
    return [part for kind in kinds for part in parts if isinstance(part, kind)]


def joined(parts: tuple[Part, ...]) -> list[Any]:
    """Blocks of one kind as one, in a whole message's order."""
    found: list[Any] = []
    for part in ordered(parts):
        if found and type(found[-1]) is type(part) and not isinstance(part, ToolCall):
            found[-1] = msgspec.structs.replace(found[-1], text=found[-1].text + part.text)  # type: ignore[attr-defined]  # not a call
        else:
            found.append(part)
    return found


@settings(deadline=None)
@given(ANSWERS, st.data())
def test_what_was_written_reads_back_the_same_whole_and_streamed(answer: Answer, data: st.DataObject) -> None:
    env = envelope()
    whole = read_answer(write_answer(answer, env))
    events = read_all(payloads(written(events_of(answer, cut_by(data)), env)))
    assert joined(part_of_events(events)) == list(whole.parts)
    assert events[0] == Begin(whole.id, whole.model, whole.created_at)
    assert events[-1] == Done()
    assert [e for e in events if isinstance(e, Finished)] == [Finished(whole.finish, whole.stop_sequence)]
    assert [e.usage for e in events if isinstance(e, Usage)] == ([whole.usage] if whole.usage else [])
    expected = joined(tuple(p for p in answer.parts if not isinstance(p, Reasoning)))
    kept = [part for part in whole.parts if not isinstance(part, Reasoning)]
    assert [getattr(p, "text", "") for p in kept] == [
        t for p in expected if (t := getattr(p, "text", "")) or isinstance(p, ToolCall)
    ]
    assert [(p.name, p.arguments) for p in kept if isinstance(p, ToolCall)] == [
        (p.name, p.arguments) for p in expected if isinstance(p, ToolCall)
    ]


KINDS = st.sampled_from(["thinking", "item", "plain"])
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Begin, st.sampled_from(["", "i"]), st.sampled_from(["", "m"])),
    st.builds(TextDelta, TEXT),
    st.builds(RefusalDelta, TEXT),
    st.builds(ReasoningDelta, KINDS, TEXT),
    st.builds(ReasoningEnd, KINDS, st.sampled_from(["", "S"])),
    st.just(BlockEnd()),
    st.builds(CallBegin, SLOTS, IDS, NAMES),
    st.builds(CallDelta, SLOTS, TEXT),
    st.builds(CallEnd, SLOTS),
    st.builds(Usage, USAGES),
    st.builds(Finished, FINISHES),
    st.builds(Failed, TEXT, TEXT),
    st.just(Done()),
    st.builds(Unsaid, TEXT),
)


@settings(deadline=None, max_examples=at_least(300))
@given(st.lists(EVENTS, max_size=25), st.booleans(), st.booleans())
def test_any_order_of_events_gives_the_beginning_of_a_legal_stream(
    events: list[Event], usage: bool, legacy: bool
) -> None:
    documents = payloads(written(events, envelope(usage=usage, legacy=legacy)))
    judge(documents, usage=usage)
    over = [event for event in events if isinstance(event, Done | Failed)]
    if over:
        assert (documents[-1] == "[DONE]") == isinstance(over[0], Done)


def test_interleaved_calls_keep_apart() -> None:
    stream = written(
        [
            Begin("i", "m"),
            CallBegin(0, "a", "f"),
            CallBegin(1, "b", "g"),
            CallDelta(1, '{"y"'),
            CallDelta(0, '{"x":1}'),
            CallDelta(1, ":2}"),
            CallBegin(2, "c", "h"),
            Finished("stop"),
            Done(),
        ]
    )
    choice = put_together(stream)["choices"][0]
    assert [(c["id"], c["function"]["arguments"]) for c in choice["message"]["tool_calls"]] == [
        ("a", '{"x":1}'),
        ("b", '{"y":2}'),
        ("c", "{}"),
    ]
    assert choice["finish_reason"] == "tool_calls"


def test_a_slot_begins_once() -> None:
    begun: list[Event] = [CallBegin(0, "a", "f"), CallBegin(0, "b", "g"), CallDelta(0, "{}"), CallBegin(1, "c", "h")]
    calls = put_together(written([*begun, Finished("stop"), Done()]))["choices"][0]["message"]["tool_calls"]
    assert [(c["id"], c["function"]["arguments"]) for c in calls] == [("a", "{}"), ("c", "{}")]


def test_a_block_without_a_seal_says_so_in_a_stream_too() -> None:
    chunks = payloads(written([ReasoningDelta("plain", "r"), ReasoningDelta("plain", "s"), ReasoningEnd("plain")]))
    details = [detail for chunk in chunks[1:] for detail in chunk["choices"][0]["delta"]["reasoning_details"]]
    assert details == [
        {"type": "reasoning.text", "text": "r", "index": 0, "signature": None},
        {"type": "reasoning.text", "text": "s", "index": 0},
    ]


def test_an_error_ends_the_stream() -> None:
    stream = written([Begin("i", "m"), TextDelta("a"), Failed("overloaded_error", "busy", 529), TextDelta("b"), Done()])
    assert payloads(stream)[2:] == [
        {"error": {"message": "busy", "type": "overloaded_error", "param": None, "code": "upstream_error"}}
    ]
    assert b"[DONE]" not in stream


def test_usage_is_shown_only_to_those_who_asked() -> None:
    events: list[Event] = [Begin("i", "m"), TextDelta("a"), Finished("stop"), Usage({"input": 3, "output": 1}), Done()]
    assert b"usage" not in written(events, envelope(usage=False))
    *chunks, last, done = payloads(written(events))
    assert (last["choices"], last["usage"]["total_tokens"], done) == ([], 4, "[DONE]")
    assert all(chunk["usage"] is None for chunk in chunks)


def test_the_stop_sequence_that_was_met() -> None:
    chunks = payloads(written([Begin("i", "m"), Finished("stop_sequence", "END")]))
    assert chunks[1]["choices"][0] | {"delta": {}} == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "stop",
        "stop_reason": "END",
    }
