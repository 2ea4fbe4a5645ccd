"""What tests of Responses streams share."""

import json
from typing import Any

import msgspec
from hypothesis import strategies as st
from openai import omit
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from tests.gateway.translate.test_responses_answer import envelope

from interlock.gateway.translate.neutral import (
    BlockEnd,
    CallBegin,
    CallDelta,
    Event,
    Part,
    Reasoning,
    ReasoningDelta,
    ReasoningEnd,
    Refusal,
    RefusalDelta,
    Text,
    TextDelta,
    ToolCall,
)
from interlock.gateway.translate.responses import StreamReader, StreamWriter

STRICT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def documents(stream: bytes) -> list[dict[str, Any]]:
    """What a client reads; each event is named as it says itself."""
    found = []
    for event in stream.split(b"\n\n")[:-1]:
        name, data = event.split(b"\n")
        found.append(json.loads(data.removeprefix(b"data: ")))  # noqa: TID251 - an oracle of its own
        assert name == b"event: " + found[-1]["type"].encode()
    assert stream.endswith(b"\n\n") or not stream
    return found


def judge(stream: bytes) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """(the final Response, the output that the SDK put together from the events), and what the SDK does not check."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    final, done, snapshot = None, dict[int, Any](), None
    for number, document in enumerate(documents(stream)):
        assert final is None, "nothing may follow the end"
        assert document["sequence_number"] == number
        STRICT.validate_json(msgspec.json.encode(document), strict=True)
        state.handle_event(construct_type(type_=ResponseStreamEvent, value=document))  # type: ignore[arg-type]  # it is one
        if document["type"] == "response.output_item.added":
            assert document["output_index"] == len(done), "indexes are dense and in order"
            done[document["output_index"]] = None
        elif document["type"] == "response.output_item.done":
            assert done[document["output_index"]] is None, "an item ends once"
            done[document["output_index"]] = document["item"]
        elif document["type"] in ("response.completed", "response.incomplete", "response.failed"):
            final = document["response"]
    if final and final["status"] != "failed":
        assert final["output"] == list(done.values())
        snapshot = state._ResponseStreamState__current_snapshot  # type: ignore[attr-defined]  # where deltas add up
        for item, added in zip(final["output"], snapshot.output, strict=True):
            if item["type"] == "function_call":
                assert added.arguments == item["arguments"]
            elif item["type"] == "message":
                for part, content in zip(item["content"], added.content, strict=True):
                    assert part["type"] != "output_text" or content.text == part["text"]
    return final, list(done.values())


def stream_of(events: list[Event]) -> bytes:
    writer = StreamWriter(envelope())
    return b"".join([writer.write(event) for event in events])


def heard(payloads: list[dict[str, Any]]) -> list[Event]:
    reader = StreamReader()
    return [event for payload in payloads for event in reader.read(payload)] + reader.end()


def parts_of(events: list[Event]) -> list[Part]:
    """The parts that events add up to, and that no two blocks are open at once."""
    parts: list[Part] = []
    open: tuple[str, str] | None = None
    calls: dict[int, int] = {}
    for event in events:
        if isinstance(event, TextDelta | RefusalDelta | ReasoningDelta):
            kind = type(event).__name__
            assert open is None or open[0] == kind, "one block at a time"
            assert event.text
            open = (kind, (open[1] if open else "") + event.text)
        elif isinstance(event, BlockEnd):
            assert open is not None
            parts.append(Text(text=open[1]) if open[0] == "TextDelta" else Refusal(text=open[1]))
            open = None
        elif isinstance(event, ReasoningEnd):
            assert open is None or open[0] == "ReasoningDelta"
            parts.append(Reasoning(kind=event.kind, text=open[1] if open else "", seal=event.seal, id=event.id))
            open = None
        elif isinstance(event, CallBegin):
            assert open is None
            assert event.slot == len(calls)
            calls[event.slot] = len(parts)
            parts.append(ToolCall(id=event.id, name=event.name, arguments=""))
        elif isinstance(event, CallDelta):
            part = parts[calls[event.slot]]
            assert isinstance(part, ToolCall)
            parts[calls[event.slot]] = msgspec.structs.replace(part, arguments=part.arguments + event.fragment)
    return parts


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


SAID = {"type": "output_text", "text": "Hi", "annotations": []}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "a", "message", "reasoning"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "id", "content", "text", "summary", "name", "output", "status", "annotations"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
TYPES = [
    *("created", "output_item.added", "output_item.done", "content_part.added", "content_part.done"),
    *("output_text.delta", "output_text.done", "output_text.annotation.added", "refusal.delta", "refusal.done"),
    *("reasoning_summary_text.delta", "reasoning_text.delta", "completed", "incomplete", "failed"),
    *("function_call_arguments.delta", "function_call_arguments.done"),
]
NAMES = [
    *("output_index", "item_id", "content_index", "summary_index", "delta", "text", "item", "part", "response"),
    *("arguments", "annotation", "error", "refusal"),
]
items = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "x"])},
    optional={
        "id": st.sampled_from(["a", "b"]),
        "name": st.just("f"),
        "call_id": st.just("c"),
        "arguments": st.just("{}"),
        "content": st.lists(st.just(SAID) | values, max_size=2),
        "summary": values,
    },
)
payloads = st.builds(
    lambda kind, fields, item: {"type": kind, **fields, **({"item": item} if item else {})},
    st.one_of(st.sampled_from([f"response.{kind}" for kind in TYPES]), values),
    st.dictionaries(st.sampled_from(NAMES), values, max_size=4),
    st.none() | items,
)
