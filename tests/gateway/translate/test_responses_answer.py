"""Responses answers, whole: what the SDK requires, what the request said, and back again."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from interlock.gateway.translate.carrier import Carried, carried, carry
from interlock.gateway.translate.ids import to_client
from interlock.gateway.translate.neutral import (
    Answer,
    Ask,
    Envelope,
    Finish,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from interlock.gateway.translate.responses import read_answer, read_request, write_answer
from interlock.gateway.translate.usage import write_responses_usage
from interlock.gateway.wire.usage import responses_usage

KEY = "0123456789abcdef" * 2
REQUEST: dict[str, Any] = {
    "model": "m",
    "input": "Hi",
    "instructions": "Be brief.",
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    "tool_choice": "required",
    "temperature": 0.5,
    "max_output_tokens": 99,
    "metadata": {"a": "b"},
    "parallel_tool_calls": False,
    "text": {"format": {"type": "json_object"}},
    "reasoning": {"effort": "low"},
    "truncation": "auto",
}


def envelope(ask: Ask | None = None) -> Envelope:
    ask = ask or read_request({"model": "m", "input": "Hi"})
    return Envelope(key=KEY, created_at=7, ask=ask, family="claude", model="m", input_estimate=3)


def answer(*parts: Part, finish: Finish = "stop", **fields: Any) -> Answer:
    return Answer(**{"id": "up_1", "model": "gpt", "parts": parts, "finish": finish, "created_at": 9, **fields})


texts = st.text(max_size=12)
identifiers = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
reasoning = st.one_of(
    st.builds(Reasoning, kind=st.sampled_from(["thinking", "item"]), text=texts, seal=texts, id=st.just("")),
    st.builds(Reasoning, kind=st.just("redacted"), text=st.just(""), seal=texts),
    st.builds(Reasoning, kind=st.just("plain"), text=texts),
)
calls = st.builds(
    ToolCall,
    id=st.one_of(st.sampled_from(["", "twice"]), identifiers, texts),
    name=identifiers,
    arguments=st.sampled_from(["{}", '{"a":1}', '{"a":"ü\\n"}', '{"cut":']),
)
parts = st.one_of(st.builds(Text, text=texts), st.builds(Refusal, text=texts), reasoning, calls)
usages: st.SearchStrategy[dict[str, int]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {"input": st.integers(50, 99), "output": st.integers(10, 99)},
        optional={"cache_read": st.integers(1, 9), "cache_write": st.integers(1, 9), "reasoning": st.integers(1, 9)},
    ),
)
FINISHES: list[Finish] = ["stop", "stop_sequence", "length", "context", "tool_calls", "refusal", "pause"]
answers = st.builds(
    Answer,
    id=st.sampled_from(["resp_9", "msg_9", ""]),
    model=st.sampled_from(["gpt", ""]),
    parts=st.lists(parts, max_size=6).map(tuple),
    finish=st.sampled_from(FINISHES),
    usage=usages,
    created_at=st.sampled_from([0, 9]),
)


def strictly(document: dict[str, Any]) -> Response:
    """As the newest SDK requires it."""
    return Response.model_validate_json(msgspec.json.encode(document), strict=True)


def test_an_answer_repeats_what_was_asked() -> None:
    document = write_answer(answer(Text(text="Hi"), usage={"input": 3, "output": 1}), envelope(read_request(REQUEST)))
    got = strictly(document)
    assert got.id == f"resp_{KEY}"
    assert (got.created_at, got.model, got.status, got.output_text) == (9, "gpt", "completed", "Hi")
    repeated = {name: document[name] for name in REQUEST.keys() - {"input", "model"}}
    expected = {name: value for name, value in REQUEST.items() if name not in ("input", "model")}
    expected["text"] = {"format": {"type": "json_object"}, "verbosity": "medium"}
    expected["reasoning"] = {"effort": "low", "summary": None}
    assert repeated == expected


def test_what_was_not_asked_has_openais_defaults() -> None:
    got = strictly(write_answer(answer(), envelope()))
    assert (got.temperature, got.top_p, got.parallel_tool_calls, got.truncation) == (1.0, 1.0, True, "disabled")
    assert (got.tool_choice, got.tools, got.instructions, got.usage) == ("auto", [], None, None)


def test_items_are_numbered_by_their_place_and_texts_side_by_side_share_a_message() -> None:
    document = write_answer(
        answer(
            Reasoning(kind="thinking", text="hm", seal="sig"),
            Text(text="a"),
            Text(text=""),
            Refusal(text="b"),
            ToolCall(id="c1", name="f", arguments=""),
            Text(text="c"),
        ),
        envelope(),
    )
    strictly(document)
    first, message, call, last = document["output"]
    assert first == {
        "id": f"rs_{KEY}_0",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": carry(Carried(family="claude", kind="thinking", seal="sig")),
    }
    assert message["id"] == f"msg_{KEY}_1"
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert call == {
        "id": f"fc_{KEY}_2",
        "type": "function_call",
        "status": "completed",
        "call_id": "c1",
        "name": "f",
        "arguments": "{}",
    }
    assert last["id"] == f"msg_{KEY}_3"


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("stop_sequence", "completed", None),
        ("tool_calls", "completed", None),
        ("pause", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("context", "incomplete", "max_output_tokens"),
        ("refusal", "incomplete", "content_filter"),
    ],
)
def test_the_reason_of_the_end(finish: Finish, status: str, reason: str | None) -> None:
    document = write_answer(
        answer(Text(text="a"), ToolCall(id="c", name="f", arguments="{}"), finish=finish), envelope()
    )
    assert document["status"] == status
    assert document["incomplete_details"] == (reason and {"reason": reason})
    assert [item["status"] for item in document["output"]] == ["completed", status]


def expected_back(given: Answer, document: dict[str, Any]) -> Answer:
    """What reading a written answer gives: the losses that are documented."""
    parts: list[Part] = []
    index = -1
    ids = set[str]()
    for part in given.parts:
        if isinstance(part, Text | Refusal):
            parts += [part] if part.text else []
        elif isinstance(part, ToolCall):
            id = part.id if part.id and part.id not in ids else f"call_{KEY}_{len(ids)}"
            ids.add(id)
            parts.append(msgspec.structs.replace(part, id=to_client(id, "responses")))
        elif isinstance(part, Reasoning):
            index = next(n for n, item in enumerate(document["output"]) if n > index and item["type"] == "reasoning")
            carrier = carry(Carried(family="claude", kind=part.kind, seal=part.seal, id=part.id))
            seal = part.seal if part.kind == "item" else carrier
            parts.append(Reasoning(kind="item", text=part.text, seal=seal, id=f"rs_{KEY}_{index}"))
    called = any(isinstance(part, ToolCall) for part in parts)
    finish: Finish = {"length": "length", "context": "length", "refusal": "refusal"}.get(  # type: ignore[assignment]  # three of them
        given.finish, "tool_calls" if called else "stop"
    )
    return Answer(
        id=given.id if given.id.startswith("resp_") else f"resp_{KEY}",
        model=given.model or "m",
        parts=tuple(parts),
        finish=finish,
        usage=given.usage,
        created_at=given.created_at or 7,
    )


@settings(deadline=None)
@given(answers)
def test_what_is_written_reads_as_the_same_answer(given: Answer) -> None:
    document = write_answer(given, envelope())
    strictly(document)
    assert read_answer(document) == expected_back(given, document)


@settings(deadline=None)
@given(answers)
def test_reasoning_comes_home_in_the_next_request(given: Answer) -> None:
    document = write_answer(given, envelope())
    ask = read_request({"model": "m", "input": document["output"]})
    said = [part for part in given.parts if not isinstance(part, Text | Refusal) or part.text]
    back = [part for turn in ask.turns for part in turn.parts]
    assert len(back) == len(said)
    for part, again in zip(said, back, strict=True):
        assert type(part) is type(again)
        if isinstance(part, Reasoning) and isinstance(again, Reasoning):
            assert (again.kind, again.text, again.seal) == (part.kind, part.text, part.seal)
            assert again.family == ("" if part.kind == "item" else "claude")


def test_a_carrier_is_what_a_client_holds_of_anthropics_reasoning() -> None:
    document = write_answer(answer(Reasoning(kind="redacted", seal="data")), envelope())
    assert document["output"][0]["summary"] == []
    assert carried(document["output"][0]["encrypted_content"]) == Carried(family="claude", kind="redacted", seal="data")


READS: list[tuple[dict[str, Any], Answer]] = [
    ({}, Answer(id="", model="", parts=(), finish="stop")),
    (
        {"id": 1, "model": None, "output": {}, "created_at": "x", "usage": [], "status": {}},
        Answer(id="", model="", parts=(), finish="stop"),
    ),
    (
        {
            "status": "completed",
            "output": [
                3,
                {},
                {"type": "web_search_call"},
                {"type": "web_search_call"},
                {"type": ["x"]},
                {"type": "message", "content": "x"},
                {
                    "type": "message",
                    "content": [
                        {"type": "output_text", "text": "a", "annotations": [{"type": "url_citation"}, 3, {}]},
                        {"type": "output_audio"},
                        {"type": "output_text", "text": 3},
                    ],
                },
                {
                    "type": "reasoning",
                    "summary": [{"text": "a"}, {"text": ""}, {"text": "b"}],
                    "content": [{"text": "c"}],
                },
                {"type": "function_call", "id": "fc_1", "name": "f"},
            ],
        },
        Answer(
            id="",
            model="",
            parts=(
                Text(text="a"),
                Reasoning(kind="item", text="a\n\nb\n\nc"),
                ToolCall(id="fc_1", name="f", arguments="{}"),
            ),
            finish="tool_calls",
            dropped=("unknown", "web_search_call", "url_citation", "annotation", "output_audio"),
        ),
    ),
    ({"status": "incomplete"}, Answer(id="", model="", parts=(), finish="length")),
    ({"status": "incomplete", "incomplete_details": []}, Answer(id="", model="", parts=(), finish="length")),
    (
        {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}, "created_at": 1.5},
        Answer(id="", model="", parts=(), finish="refusal", created_at=1),
    ),
]


@pytest.mark.parametrize(("document", "expected"), READS, ids=lambda value: str(value)[:40])
def test_odd_answers_read_as_far_as_they_go(document: dict[str, Any], expected: Answer) -> None:
    assert read_answer(document) == expected


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["message", "reasoning", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "output", "content", "text", "summary", "status", "usage", "id", "created_at", "arguments"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["output", "status", "usage", "incomplete_details", "created_at"]), json))
def test_reading_an_answer_never_raises(document: dict[str, Any]) -> None:
    read_answer(document)


@settings(deadline=None)
@given(usages)
def test_usage_goes_there_and_back(usage: dict[str, int]) -> None:
    got = responses_usage(write_responses_usage(usage))
    assert {name: count for name, count in got.usage.items() if count} == usage
    assert not got.inconsistent


def test_writes_of_every_kind_of_cache_are_writes() -> None:
    got = write_responses_usage(
        {"input": 100, "cache_read": 50, "cache_write": 1, "cache_write_5m": 2, "cache_write_1h": 3}
    )
    assert got["input_tokens_details"] == {"cached_tokens": 50, "cache_write_tokens": 6}
    assert (got["input_tokens"], got["output_tokens"], got["total_tokens"]) == (100, 0, 100)
