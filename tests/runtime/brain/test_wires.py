"""Requests and answers in the three formats."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.brain.rig import OFFERS, answered, begun, call

from interlock.gateway.translate import neutral, read_request
from interlock.runtime.brain.context import view
from interlock.runtime.brain.model import Reply, retry_in_s
from interlock.runtime.brain.wires import (
    ANSWER_BYTES_MAX,
    EVENT_BYTES_MAX,
    Broke,
    Heard,
    Listener,
    wire_name,
    with_own_ids,
    write,
)
from interlock.runtime.sessions.agent import Wire
from interlock.runtime.sessions.event import Call, Finished, Text, Thought

WIRES: tuple[Wire, ...] = ("chat", "messages", "responses")
LOCAL = Path(__file__).parents[2] / "data/local"


def result(id: str, text: str = "out", outcome: Any = "ok") -> Finished:
    return Finished(call_id=id, attempt=1, outcome=outcome, content=Text(text=text))


@pytest.mark.parametrize("wire", WIRES)
def test_a_request_says_all_of_the_view(wire: Wire) -> None:
    state = begun(*answered(Text(text="see"), call("c1", "once", '{"a": 1}')), result("c1"), instructions="Be brief.")
    body = write(view(state, OFFERS), wire, "m", max_output=99)
    ask = read_request(wire, body)
    assert ask.stream and ask.max_output == 99
    assert [tool.name for tool in ask.tools] == list(OFFERS)
    assert isinstance(ask.instructions[0], neutral.Text) and ask.instructions[0].text.startswith("Be brief.")
    said = [(turn.role, [type(part).__name__ for part in turn.parts]) for turn in ask.turns]
    assert said == [("user", ["Text"]), ("assistant", ["Text", "ToolCall"]), ("user", ["ToolResult"])]
    made, gave = ask.turns[1].parts[1], ask.turns[2].parts[0]
    assert isinstance(made, neutral.ToolCall) and isinstance(gave, neutral.ToolResult)
    assert (made.id, made.name, msgspec.json.decode(made.arguments)) == ("c1", "once", {"a": 1})
    assert gave.id == "c1"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("arguments", ["{", "[]", "", '{"a":1,"a":2}', "\x00\ud800", "1e999"])
def test_what_no_provider_would_take_can_be_shown_to_one(wire: Wire, arguments: str) -> None:
    made = Call(id="c 1\n", name="no such\ntool" * 20, arguments=arguments)
    state = begun(*answered(made), result("c 1\n", ""))
    ask = read_request(wire, write(view(state, OFFERS), wire, "m", max_output=9))
    shown = ask.turns[1].parts[0]
    assert isinstance(shown, neutral.ToolCall) and re.fullmatch(r"[\w-]{1,64}", shown.name)
    assert isinstance(msgspec.json.decode(shown.arguments), dict)


REASONING: dict[Wire, Thought] = {
    "messages": Thought(kind="thinking", text="hm", seal="sig"),
    "responses": Thought(kind="item", text="hm", seal="enc", id="rs_1"),
    "chat": Thought(kind="plain", text="hm"),
}


@pytest.mark.parametrize("wire", WIRES)
def test_reasoning_is_given_back_as_it_came(wire: Wire) -> None:
    thought = REASONING[wire]
    state = begun(*answered(thought, call("c1")), result("c1"))
    ask = read_request(wire, write(view(state, OFFERS), wire, "m", max_output=9))
    [given] = [part for part in ask.turns[1].parts if isinstance(part, neutral.Reasoning)]
    assert (given.kind, given.text, given.seal) == (thought.kind, thought.text, thought.seal)


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: x\ndata: " + msgspec.json.encode(event) + b"\n\n" for event in events)


MESSAGES = sse(
    {"type": "message_start", "message": {"id": "m", "model": "x", "usage": {"input_tokens": 7}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "héllo"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t1", "name": "once"}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a"'}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ": 1}"}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
)
HEARD = Heard(
    parts=(
        Thought(kind="thinking", text="hm", seal="sig"),
        Text(text="héllo"),
        Call(id="t1", name="once", arguments='{"a": 1}'),
    ),
    finish="tool_calls",
    usage={"input": 7, "output": 5},
)
CHAT = b"".join(
    b"data: " + msgspec.json.encode(chunk) + b"\n\n"
    for chunk in (
        {"choices": [{"delta": {"reasoning_content": "hm"}}]},
        {"choices": [{"delta": {"content": "hel"}}]},
        {"choices": [{"delta": {"content": "lo"}}]},
        {
            "choices": [
                {"delta": {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "once", "arguments": ""}}]}}
            ]
        },
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}}]},
        {
            "choices": [
                {"delta": {"tool_calls": [{"index": 1, "id": "u", "function": {"name": "pure", "arguments": "{}"}}]}}
            ]
        },
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}}]},
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
    )
)


def heard(wire: Wire, *pieces: bytes) -> tuple[Heard | Broke, list[neutral.Event]]:
    told: list[neutral.Event] = []
    listener = Listener(wire, told.append)
    for piece in pieces:
        listener.feed(piece)
    return listener.end(), told


@given(st.integers(0, len(MESSAGES)), st.integers(0, len(MESSAGES)))
def test_an_answer_is_the_same_wherever_its_bytes_are_cut(one: int, two: int) -> None:
    first, second = sorted((one, two))
    got, told = heard("messages", MESSAGES[:first], MESSAGES[first:second], MESSAGES[second:])
    assert got == HEARD
    assert [event.text for event in told if isinstance(event, neutral.TextDelta)] == ["héllo"]


def test_calls_whose_pieces_interleave_are_told_apart() -> None:
    got, _ = heard("chat", CHAT, b"data: [DONE]\n\n")
    assert isinstance(got, Heard)
    assert got.parts == (
        Thought(kind="plain", text="hm"),
        Text(text="hello"),
        Call(id="t", name="once", arguments='{"a":1}'),
        Call(id="u", name="pure", arguments="{}"),
    )


@pytest.mark.parametrize(
    ("wire", "file"),
    [("chat", "chat-stream-usage"), ("messages", "messages-stream"), ("responses", "responses-stream")],
)
def test_what_the_real_model_streamed(wire: Wire, file: str) -> None:
    _, _, body = (LOCAL / f"{file}.txt").read_bytes().partition(b"\r\n\r\n")
    got, _ = heard(wire, body)
    assert isinstance(got, Heard) and isinstance(got.parts[0], Text) and got.parts[0].text
    assert got.usage["output"] > 0 and got.usage["input"] > 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (MESSAGES[:-60], "upstream_closed"),
        (b"", "upstream_closed"),
        (b"data: {]\n\n", "upstream_invalid"),
        (b"data: \xff\n\n", "upstream_invalid"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "upstream_invalid"),
        (b"data: " + b"x" * (EVENT_BYTES_MAX + 1), "upstream_invalid"),
        (sse({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}), "upstream_error"),
    ],
)
def test_what_is_no_answer_says_why(body: bytes, code: str) -> None:
    got, _ = heard("messages", body)
    assert isinstance(got, Broke) and got.code == code, got


def test_an_answer_that_no_event_could_hold_is_none() -> None:
    text = "x" * (ANSWER_BYTES_MAX // 4)
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}] * 5
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    got, _ = heard("messages", sse(start, *deltas))
    assert isinstance(got, Broke) and "768 KiB" in got.message
    assert retry_in_s(Reply(said=got), 1) is None, "each try would be paid for in full"
    escaped = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "\x01" * 200_000}}
    got, _ = heard("messages", sse(start, escaped, {"type": "message_stop"}))
    assert isinstance(got, Broke) and "768 KiB" in got.message, "escaped, it is six times as long"


def test_every_call_gets_an_id_of_its_own() -> None:
    given = ("", "t1", "t1", "old", "x" * 200, "call_3_0_")
    parts = tuple(Call(id=id, name="n", arguments="") for id in given)
    owned = [part.id for part in with_own_ids(parts, 3, {"old", "call_3_4_"}.__contains__) if isinstance(part, Call)]
    assert len(set(owned)) == len(owned) and not {"", "old", "call_3_4_"} & set(owned)
    assert owned[1] == "t1" and all(len(id) <= 128 for id in owned)


@given(st.text())
def test_any_name_becomes_one_that_providers_take(name: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", wire_name(name))
