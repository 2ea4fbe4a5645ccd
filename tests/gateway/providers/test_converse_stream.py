"""Streams of Converse as Messages: botocore judges what the tests send, Anthropic's SDK what comes out."""

import base64
import json
from typing import Any

import msgspec
import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.providers import frames
from tests.gateway.providers.bedrock_said import (
    BEGIN,
    CONTENT,
    DATA,
    DELTAS,
    END,
    KINDS,
    answer,
    converse,
    documents,
    dumped,
    fed,
    message,
    stream_of,
)

from interlock.errors import RemoteError
from interlock.gateway.wire.tap import StreamTap

# Converse, streamed


def test_a_stream_is_the_whole_answer_however_it_is_cut() -> None:
    data = stream_of(DELTAS)
    whole = msgspec.json.decode(converse().whole(200, answer(CONTENT, stopReason="tool_use")))
    del whole["usage"]["cache_creation"]  # the SDK does not take it from a message_delta; the tap does, below
    text = fed(converse().decoder(), data)
    assert message(text) == dumped(Message.model_validate(whole))
    for cut in range(len(data) + 1):
        assert fed(converse().decoder(), data, cut) == text
    assert fed(converse().decoder(), data, *range(len(data))) == text


def test_a_stream_is_metered_as_its_usage_says() -> None:
    tap = StreamTap("messages")
    tap.feed(fed(converse().decoder(), stream_of(DELTAS)))
    assert (tap.usage, tap.source, tap.complete, tap.repaired) == (KINDS, "reported", True, "")
    assert tap.finish_reason == "tool_use"


def test_events_are_said_as_soon_as_they_are_known() -> None:
    decoder = converse().decoder(input_estimate=77)
    counts = [len(documents(decoder.feed(frames.event(kind, document)))) for kind, document in DELTAS]
    assert counts == [1, 2, 1, 1, 1, 0, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2]
    (start,) = documents(converse().decoder(input_estimate=77).feed(frames.event("messageStart", {})))
    assert start["message"]["usage"] == {"input_tokens": 77, "output_tokens": 0}


@pytest.mark.parametrize("events", [DELTAS[:-1], DELTAS[:-2], DELTAS[:4]])
def test_a_stream_that_is_cut_stays_incomplete(events: list[tuple[str, Any]]) -> None:
    data = stream_of(events)
    text = fed(converse().decoder(), data + frames.event("metadata", {})[:20])
    tap = StreamTap("messages")
    tap.feed(text)
    tap.finish()
    assert not tap.complete
    assert b"message_delta" not in text
    assert b"message_stop" not in text


def delta(at: int, **content: object) -> tuple[str, Any]:
    return "contentBlockDelta", {"contentBlockIndex": at, "delta": content}


START_0 = ("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "i", "name": "t"}}})


def test_blocks_that_are_not_closed_or_numbered_well_are_mended() -> None:
    events = [
        BEGIN,
        ("contentBlockStop", {"contentBlockIndex": 0}),
        delta(0, text="a"),
        delta(3, text="b"),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        delta(3, text="c"),
        ("contentBlockStart", {"contentBlockIndex": 5, "start": {"toolUse": {"toolUseId": "i", "name": "t"}}}),
        *END,
    ]
    content = message(fed(converse().decoder(), stream_of(events)))["content"]
    assert [block.get("text") for block in content] == ["a", "bc", None]


def test_redacted_reasoning_in_pieces_is_one_block() -> None:
    pieces = [base64.b64encode(piece).decode() for piece in (b"opa", b"que")]
    deltas = [delta(at, reasoningContent={"redactedContent": piece}) for at in (0, 1) for piece in pieces]
    content = message(fed(converse().decoder(), stream_of([BEGIN, *deltas, *END])))["content"]
    assert content == [{"type": "redacted_thinking", "data": DATA}] * 2


def test_metadata_without_usage_is_waited_over_and_nothing_follows_the_end() -> None:
    metrics = ("metadata", {"metrics": {"latencyMs": 1}})
    expected = ["message_start", "message_delta", "message_stop"]
    for events in ([metrics, *END, delta(0, text="late"), *END], [END[1], metrics, END[0]]):
        data = b"".join(frames.event(*event) for event in [BEGIN, *events])
        assert [document["type"] for document in documents(fed(converse().decoder(), data))] == expected


@pytest.mark.parametrize(
    "events",
    [
        [delta(0, text="a")],
        [BEGIN, BEGIN],
        [BEGIN, delta(0, toolUse={"input": "{}"})],
        [BEGIN, START_0, delta(1, toolUse={"input": "{}"})],
        [BEGIN, delta(1, text="a"), delta(0, text="b")],
        [BEGIN, delta(0, text="a"), ("contentBlockStop", {"contentBlockIndex": 0}), delta(0, text="b")],
        [BEGIN, START_0, ("contentBlockStop", {"contentBlockIndex": 0}), START_0],
        [BEGIN, END[0], delta(0, text="b")],
        [BEGIN, delta(0)],
        [BEGIN, delta(0, citation={"title": "t"})],
        [BEGIN, delta(0, reasoningContent={})],
        [BEGIN, delta(0, reasoningContent={"redactedContent": "?"})],
        [BEGIN, delta(-1, text="a")],
        [BEGIN, ("contentBlockDelta", [])],
        [BEGIN, ("messageStop", {})],
        [BEGIN, ("metadata", {"usage": {"inputTokens": -1, "outputTokens": 0}})],
        [BEGIN, ("metadata", {"usage": {"inputTokens": 10**30, "outputTokens": 0}})],
    ],
)
def test_streams_that_no_message_can_be_made_of_are_refused(events: list[tuple[str, Any]]) -> None:
    with pytest.raises(RemoteError) as caught:
        fed(converse().decoder(), b"".join(frames.event(*event) for event in events))
    assert caught.value.code == "upstream_invalid"


FAULTS = [frames.frame({}, b""), frames.event("contentBlockDelta", []), b"\0" * 16]


@pytest.mark.parametrize("fault", FAULTS, ids=["no kind", "no shape", "no frame"])
def test_what_stood_before_a_fault_is_given_out_however_it_is_cut(fault: bytes) -> None:
    good, more = frames.event(*BEGIN), frames.event(*delta(0, text="a"))
    expected = fed(converse().decoder(), good + more)
    for cut in range(len(good + more + fault) + 1):
        decoder, data, out = converse().decoder(), good + more + fault + good, b""
        with pytest.raises(RemoteError):
            for piece in (data[:cut], data[cut:]):
                out += decoder.feed(piece)
            decoder.finish()
        assert out == expected
        with pytest.raises(RemoteError):
            decoder.feed(good)
        with pytest.raises(RemoteError):
            decoder.finish()


TEXTS = st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=3)
STREAMS = st.lists(st.tuples(st.sampled_from(["text", "thinking", "tool_use"]), TEXTS, st.booleans()), max_size=5)


@given(STREAMS, st.data())
def test_any_order_of_blocks_arrives(blocks: list[tuple[str, list[str], bool]], data: st.DataObject) -> None:
    events = [BEGIN]
    expected: list[dict[str, Any]] = []
    for at, (kind, texts, closed) in enumerate(blocks):
        whole = "".join(texts)
        if kind == "text":
            events += [delta(at, text=text) for text in texts]
            expected.append({"type": kind, "text": whole})
        elif kind == "thinking":
            events += [delta(at, reasoningContent={"text": text}) for text in texts]
            expected.append({"type": kind, "thinking": whole, "signature": ""})
        else:
            events.append(
                ("contentBlockStart", {"contentBlockIndex": at, "start": {"toolUse": {"toolUseId": "i", "name": "t"}}})
            )
            events += [delta(at, toolUse={"input": part}) for part in ['{"a":', json.dumps(whole), "}"]]
            expected.append({"type": kind, "id": "i", "name": "t", "input": {"a": whole}})
        if closed:
            events.append(("contentBlockStop", {"contentBlockIndex": at}))
    stream = stream_of([*events, *END])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    assert message(fed(converse().decoder(), stream, *cuts))["content"] == expected
