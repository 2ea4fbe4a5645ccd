"""Messages streams as they are written, judged by Anthropic's own SDK."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.gateway.translate.messages_streams import ENVELOPE, legal, payloads, texts, written
from tests.gateway.translate.same import events_of

from interlock.errors import RemoteError
from interlock.gateway.translate.carrier import Carried, carry
from interlock.gateway.translate.messages import StreamReader, StreamWriter, write_answer
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

BEGIN = Begin("msg_1", "m")
END: list[Event] = [Finished("stop"), Done()]


def judged(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The SDK's final message, of a stream whose order is checked first; None: it did not end."""
    assert legal(found)
    if not found or found[-1]["type"] != "message_stop":
        return None
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for payload in found:
        event: Any = payload
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    message = snapshot.to_dict(mode="json")
    assert Message.model_validate(message)
    return message  # type: ignore[no-any-return]  # the SDK's to_dict is not typed further


def blocks_of(stream: bytes) -> list[dict[str, Any]]:
    message = judged(payloads(stream))
    assert message is not None
    return message["content"]  # type: ignore[no-any-return]  # decoded JSON


kinds = st.sampled_from(["thinking", "redacted", "item", "plain"])
values = st.recursive(st.none() | st.integers(0, 9) | st.floats(0, 1) | texts, lambda v: st.lists(v, max_size=2))
objects = st.dictionaries(texts, values, max_size=3).map(lambda v: msgspec.json.encode(v).decode())


@st.composite
def reasonings(draw: st.DrawFn) -> Part:
    kind: Any = draw(kinds)
    text = "" if kind == "redacted" else draw(texts)
    return Reasoning(kind=kind, text=text, seal=draw(texts) if kind != "plain" else "", id=draw(texts))


parts = (
    texts.map(lambda t: Text(text=t))
    | texts.map(lambda t: Refusal(text=t))
    | reasonings()
    | st.builds(ToolCall, id=texts, name=texts, arguments=objects)
)
usages = st.fixed_dictionaries(
    {"input": st.integers(50, 99), "output": st.integers(50, 99)},
    optional={"cache_read": st.integers(1, 9), "cache_write": st.integers(1, 9), "reasoning": st.integers(1, 50)},
)
finishes = st.sampled_from(["stop", "stop_sequence", "length", "context", "tool_calls", "refusal", "pause"])
answers = st.builds(
    Answer,
    id=texts,
    model=texts,
    parts=st.lists(parts, max_size=5).map(tuple),
    finish=finishes,
    stop_sequence=texts,
    usage=usages | st.just({}),
)


def cutter(data: st.DataObject) -> Any:
    def cut(text: str) -> list[str]:
        places = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=4)) | {0, len(text)})
        return [text[a:b] for a, b in pairwise(places)]

    return cut


def same(streamed: dict[str, Any] | None, whole: dict[str, Any]) -> None:
    assert streamed is not None
    assert {name: streamed.get(name) for name in whole} == whole


@given(answers, st.data())
def test_the_sdk_makes_the_whole_answer_of_a_stream(answer: Answer, data: st.DataObject) -> None:
    stream = written(*events_of(answer, cutter(data)))
    same(judged(payloads(stream)), write_answer(answer, ENVELOPE))


@given(answers, st.data())
def test_cut_arguments_agree(answer: Answer, data: st.DataObject) -> None:
    """Arguments that stop anywhere: both say the same message, or both say that it is an error."""
    arguments = data.draw(objects)
    arguments = arguments[: data.draw(st.integers(0, len(arguments)))]
    last = ToolCall(id="i", name="f", arguments=arguments)
    answer = msgspec.structs.replace(answer, parts=(*answer.parts, last))
    found = payloads(written(*events_of(answer, cutter(data))))
    try:
        whole = write_answer(answer, ENVELOPE)
    except RemoteError:
        assert legal(found)
        assert found[-1]["type"] == "error"
    else:
        same(judged(found), whole)


@given(answers, st.data())
def test_a_written_stream_is_read_back(answer: Answer, data: st.DataObject) -> None:
    """The reader's events, written again, are the same stream (ids that are legal, or they would be mapped again)."""
    legal_ids = [msgspec.structs.replace(p, id="i") if isinstance(p, ToolCall) else p for p in answer.parts]
    answer = msgspec.structs.replace(answer, parts=tuple(legal_ids))
    first = written(*events_of(answer, cutter(data)))
    reader = StreamReader()
    events = [event for payload in payloads(first) for event in reader.read(payload)]
    assert isinstance(events[-1], Done)
    same(judged(payloads(written(*events))), judged(payloads(first)) or {})


# any order

slots = st.integers(0, 3)
any_event: st.SearchStrategy[Event] = st.one_of(
    st.builds(Begin, texts, texts, st.just(0), usages | st.just({})),
    st.builds(TextDelta, texts),
    st.builds(RefusalDelta, texts),
    st.builds(ReasoningDelta, st.sampled_from(["thinking", "item", "plain"]), texts),
    st.builds(ReasoningEnd, kinds, texts, texts),
    st.just(BlockEnd()),
    st.builds(CallBegin, slots, texts, texts),
    st.builds(CallDelta, slots, st.sampled_from(["", " ", "{", "}", '"a":1', "{}", "[", "x"])),
    st.builds(CallEnd, slots),
    st.builds(Usage, usages),
    st.builds(Finished, finishes, texts),
    st.builds(Unsaid, texts),
)
last_events = st.sampled_from([Done(), Failed("t", "m"), TextDelta("a")])


@settings(max_examples=at_least(400))
@given(st.lists(any_event, max_size=25), last_events, st.lists(any_event, max_size=2))
def test_any_order_gives_a_legal_stream(events: list[Event], last: Event, after: list[Event]) -> None:
    found = payloads(written(*events, last, *after))
    judged(found)
    if isinstance(last, Done | Failed):
        assert found[-1]["type"] in ("message_stop", "error")
        assert found == payloads(written(*events, last))


@settings(max_examples=at_least(200))
@given(st.permutations([*"aaaabbbbccct"]))
def test_interleaved_calls_lose_nothing(order: list[str]) -> None:
    """Fragments of three calls and text in any order: each call is whole, and in order of beginning."""
    fragments = {slot: list("{" + f'"{slot}"' + ":1}") for slot in "abc"}
    begun: list[str] = []
    events: list[Event] = [BEGIN]
    for slot in order:
        if slot == "t":
            events.append(TextDelta("text"))
            continue
        if slot not in begun:
            begun.append(slot)
            events.append(CallBegin(begun.index(slot), slot, "f"))
        if fragments[slot]:
            events.append(CallDelta(begun.index(slot), "".join(fragments[slot][:3])))
            del fragments[slot][:3]
    assert not any(fragments.values())
    blocks = blocks_of(written(*events, *END))
    assert [block["input"] for block in blocks if block["type"] == "tool_use"] == [{slot: 1} for slot in begun]
    assert [block["text"] for block in blocks if block["type"] == "text"] == ["text"]


# examples


def test_a_stream_byte_for_byte() -> None:
    stream = written(BEGIN, TextDelta("Hé\n"), Finished("stop_sequence", "x"), Usage({"input": 9, "output": 2}), Done())
    assert stream.decode() == (
        'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message",'
        '"role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":'
        '{"input_tokens":7,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}\n\n'
        'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":'
        '{"type":"text","text":""}}\n\n'
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
        '{"type":"text_delta","text":"Hé\\n"}}\n\n'
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"stop_sequence",'
        '"stop_sequence":"x"},"usage":{"input_tokens":9,"cache_creation_input_tokens":0,'
        '"cache_read_input_tokens":0,"output_tokens":2}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


def test_message_start_carries_the_upstreams_input() -> None:
    begin = Begin("", "", 0, {"input": 10, "cache_read": 4})
    message = payloads(written(begin))[0]["message"]
    assert message["usage"]["input_tokens"] == 6
    assert message["usage"]["cache_read_input_tokens"] == 4
    assert (message["id"], message["model"]) == ("msg_" + "0" * 32, "gpt-x")


def test_the_first_call_is_live_and_the_second_waits() -> None:
    writer = StreamWriter(ENVELOPE)
    first: list[Event] = [BEGIN, CallBegin(0, "a", "f"), CallDelta(0, '{"x"')]
    begun = b"".join(map(writer.write, first))
    assert payloads(begun)[-1]["delta"]["partial_json"] == '{"x"'
    assert writer.write(CallBegin(1, "b", "g")) + writer.write(CallDelta(1, "{")) == b""
    assert payloads(writer.write(CallDelta(0, ":1}")))[-1]["delta"]["partial_json"] == ":1}"
    rest = payloads(writer.write(CallEnd(0)))
    assert [payload["type"] for payload in rest] == ["content_block_stop", "content_block_start", "content_block_delta"]
    assert writer.write(TextDelta("t")) == b""
    assert payloads(writer.write(CallDelta(1, "}")))[0]["delta"]["partial_json"] == "}"


def test_a_call_ends_the_text_before_it() -> None:
    """Nobody need say so; what is said while it goes on comes after it."""
    begun: list[Event] = [BEGIN, TextDelta("a"), CallBegin(0, "i", "f"), CallDelta(0, "{")]
    assert payloads(written(*begun))[-1]["delta"]["partial_json"] == "{"
    blocks = blocks_of(written(*begun, TextDelta("b"), CallDelta(0, "}"), TextDelta("c"), *END))
    assert [block.get("text", block["type"]) for block in blocks] == ["a", "tool_use", "bc"]


def test_a_call_without_arguments_says_so() -> None:
    found = payloads(written(BEGIN, CallBegin(0, "a", "f"), CallDelta(0, "  "), CallEnd(0), *END))
    assert [p["delta"]["partial_json"] for p in found if p["type"] == "content_block_delta"] == ["{}"]
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("reasoning", "block"),
    [
        ([ReasoningDelta("thinking", "hm"), ReasoningEnd("thinking", "s")], {"thinking": "hm", "signature": "s"}),
        ([ReasoningEnd("thinking", "s")], {"thinking": "", "signature": "s"}),
        (
            [ReasoningDelta("item", "hm"), ReasoningEnd("item", "s", "rs_1")],
            {"thinking": "hm", "signature": carry(Carried(family="gpt", kind="item", seal="s", id="rs_1"))},
        ),
        (
            [ReasoningDelta("plain", "hm")],
            {"thinking": "hm", "signature": carry(Carried(family="gpt", kind="plain", seal=""))},
        ),
    ],
)
def test_reasoning(reasoning: list[Event], block: dict[str, Any]) -> None:
    assert blocks_of(written(BEGIN, *reasoning, TextDelta("a"), *END)) == [
        {"type": "thinking"} | block,
        {"type": "text", "text": "a"},
    ]


def test_redacted_thinking() -> None:
    assert blocks_of(written(BEGIN, ReasoningEnd("redacted", "d"), *END)) == [
        {"type": "redacted_thinking", "data": "d"}
    ]


def test_figures_after_the_finish_still_count() -> None:
    found = payloads(written(BEGIN, Finished("length"), Usage({"input": 8, "cache_read": 3, "output": 2}), Done()))
    assert found[-2]["usage"]["input_tokens"] == 5
    assert found[-2]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}


def test_nothing_reported_is_estimated() -> None:
    found = payloads(written(BEGIN, TextDelta("a" * 9), *END))
    assert found[-2]["usage"]["input_tokens"] == 7
    assert found[-2]["usage"]["output_tokens"] == 3


def test_a_failure_is_the_last_event() -> None:
    stream = written(BEGIN, TextDelta("a"), Failed("overloaded_error", "busy", 529), TextDelta("b"), Done())
    last = payloads(stream)[-1]
    assert last["type"] == "error"
    assert last["error"] == {"type": "overloaded_error", "message": "busy", "code": "upstream_error", "param": None}


@pytest.mark.parametrize(
    ("events", "failed"),
    [
        ([CallDelta(0, '{"a":'), *END], True),
        ([CallDelta(0, '{"a":'), CallEnd(0), *END], True),
        ([CallDelta(0, '{"a":'), CallEnd(0), TextDelta("b"), Finished("length"), Done()], True),
        ([CallDelta(0, "null")], True),
        ([CallDelta(0, '{"a":'), CallEnd(0), Finished("length"), Done()], False),
        ([CallDelta(0, '{"a":'), Finished("length"), Done()], False),
    ],
)
def test_broken_arguments_are_an_error_unless_they_were_cut_off(events: list[Event], failed: bool) -> None:
    writer = StreamWriter(ENVELOPE)
    found = payloads(b"".join(map(writer.write, [BEGIN, CallBegin(0, "i", "f"), *events])))
    assert writer.failed is failed
    assert found[-1]["type"] == ("error" if failed else "message_stop")
    if failed:
        assert found[-1]["error"]["code"] == "upstream_invalid"


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.gateway.translate.messages.writer.CHARS_MAX", 100)
    events: list[Event] = [BEGIN, CallBegin(0, "i", "f"), *[TextDelta("x" * 10)] * 20]
    assert payloads(written(*events))[-1]["type"] == "error"
