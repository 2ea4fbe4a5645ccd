"""Whole Messages answers: read, written, and their usage both ways."""

from typing import Any

import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import RemoteError
from interlock.gateway.translate.carrier import Carried, carry
from interlock.gateway.translate.messages import read_answer, write_answer
from interlock.gateway.translate.neutral import (
    Answer,
    Ask,
    Envelope,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from interlock.gateway.translate.usage import write_messages_usage
from interlock.gateway.wire.usage import messages_usage

ENVELOPE = Envelope(
    key="0" * 32,
    created_at=1,
    ask=Ask(format="messages", stream=False, turns=()),
    family="gpt",
    model="gpt-x",
    input_estimate=7,
)
WHOLE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1.0}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 1,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 3,
        "output_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 2},
    },
}
READ = Answer(
    id="msg_1",
    model="claude",
    parts=(
        Reasoning(kind="thinking", text="hm", seal="s"),
        Reasoning(kind="redacted", seal="d"),
        Text(text="a"),
        ToolCall(id="toolu_1", name="f", arguments='{"a":1.0}'),
    ),
    finish="tool_calls",
    usage={"input": 6, "cache_write": 2, "cache_read": 3, "output": 4, "reasoning": 2},
)


def answer(*parts: Part, finish: Any = "stop", **more: Any) -> Answer:
    return Answer(**({"id": "a", "model": "m", "parts": parts, "finish": finish} | more))


def test_an_answer_comes_through_whole() -> None:
    assert read_answer(WHOLE) == READ
    assert write_answer(READ, ENVELOPE) == WHOLE


def test_what_the_upstream_did_not_say() -> None:
    said = write_answer(answer(Text(text="a" * 9), id="", model=""), ENVELOPE)
    assert said["id"] == "msg_" + "0" * 32
    assert said["model"] == "gpt-x"
    assert said["usage"] == {
        "input_tokens": 7,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 3,
    }


@pytest.mark.parametrize(
    ("finish", "parts", "reason"),
    [
        ("stop", (), "end_turn"),
        ("tool_calls", (), "end_turn"),
        ("stop", (ToolCall(id="i", name="f", arguments="{}"),), "tool_use"),
        ("tool_calls", (ToolCall(id="i", name="f", arguments="{}"),), "tool_use"),
        ("length", (ToolCall(id="i", name="f", arguments="{}"),), "max_tokens"),
        ("context", (), "model_context_window_exceeded"),
        ("refusal", (), "refusal"),
        ("stop", (Refusal(text="No."),), "refusal"),
        ("stop", (Refusal(text=""),), "end_turn"),
        ("pause", (), "pause_turn"),
        ("stop_sequence", (), "stop_sequence"),
    ],
)
def test_stop_reasons(finish: Any, parts: tuple[Part, ...], reason: str) -> None:
    said = write_answer(answer(*parts, finish=finish, stop_sequence="x"), ENVELOPE)
    assert said["stop_reason"] == reason
    assert said["stop_sequence"] == ("x" if finish == "stop_sequence" else None)
    assert Message.model_validate(said)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop_sequence"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "pause"),
        ("refusal", "refusal"),
        ("model_context_window_exceeded", "context"),
        ("something_new", "stop"),
        (None, "stop"),
        ([], "stop"),
    ],
)
def test_stop_reasons_read(reason: object, finish: str) -> None:
    read = read_answer({"stop_reason": reason, "stop_sequence": "x"})
    assert read.finish == finish
    assert read.stop_sequence == "x"


@pytest.mark.parametrize(
    ("reasoning", "block"),
    [
        (
            Reasoning(kind="item", text="t", seal="s", id="rs_1"),
            {"thinking": "t", "signature": carry(Carried(family="gpt", kind="item", seal="s", id="rs_1"))},
        ),
        (
            Reasoning(kind="plain", text="t"),
            {"thinking": "t", "signature": carry(Carried(family="gpt", kind="plain", seal=""))},
        ),
        (Reasoning(kind="thinking", seal="s"), {"thinking": "", "signature": "s"}),
    ],
)
def test_reasoning_of_other_formats_is_carried(reasoning: Reasoning, block: dict[str, Any]) -> None:
    assert write_answer(answer(reasoning), ENVELOPE)["content"] == [{"type": "thinking"} | block]


def test_ids_are_legal_for_the_client() -> None:
    calls = [ToolCall(id=id, name="f", arguments="{}") for id in ("call|1", "", "", "ok")]
    said = [block["id"] for block in write_answer(answer(*calls), ENVELOPE)["content"]]
    assert said == ["ilkid_Y2FsbHwx", f"call_{'0' * 32}_1", f"call_{'0' * 32}_2", "ok"]


@pytest.mark.parametrize(
    ("arguments", "finish", "said"),
    [
        ("", "stop", {}),
        (" {} ", "stop", {}),
        ('{"a":[1,', "length", {"a": [1]}),
        ('{"a":"b', "refusal", {}),
    ],
)
def test_arguments(arguments: str, finish: Any, said: dict[str, Any]) -> None:
    call = ToolCall(id="i", name="f", arguments=arguments)
    assert write_answer(answer(call, Text(text=""), finish=finish), ENVELOPE)["content"][0]["input"] == said


@pytest.mark.parametrize(
    ("arguments", "finish", "after"),
    [
        ('{"a":', "stop", ()),
        ('{"a":', "tool_calls", ()),
        ('{"a":', "length", (Text(text="b"),)),
        ("[1]", "length", ()),
        ("null", "stop", ()),
        ("{} {}", "stop", ()),
        ("nonsense", "length", ()),
    ],
)
def test_arguments_that_are_no_object_are_an_error(arguments: str, finish: Any, after: tuple[Part, ...]) -> None:
    with pytest.raises(RemoteError) as error:
        write_answer(answer(ToolCall(id="i", name="f", arguments=arguments), *after, finish=finish), ENVELOPE)
    assert error.value.code == "upstream_invalid"


def test_odd_shapes_are_left_out() -> None:
    read = read_answer(
        {
            "id": 1,
            "model": "m" * 1000,
            "content": [
                3,
                {"type": "text", "text": ""},
                {"type": "text", "text": "a", "citations": [{}]},
                {"type": "tool_use", "input": [], "id": None},
                {"type": "web_search_tool_result"},
                {"type": "server_tool_use"},
                {"type": "server_tool_use"},
                {},
            ],
            "usage": [],
        }
    )
    assert read.parts == (Text(text="a"), ToolCall(id="", name="", arguments="{}"))
    assert read.dropped == ("citations", "web_search_tool_result", "server_tool_use", "unknown")
    assert (read.id, len(read.model), read.usage) == ("", 256, {})
    assert read_answer({"content": "a"}).parts == ()


_children = ("cache_read", "cache_write", "cache_write_5m", "cache_write_1h")


@given(st.dictionaries(st.sampled_from(_children), st.integers(1, 1000)), st.integers(0, 1000), st.integers(0, 1000))
def test_usage_comes_through(cached: dict[str, int], fresh: int, output: int) -> None:
    kinds = cached | {"input": fresh + sum(cached.values()), "output": output}
    if output:
        kinds |= {"reasoning": output}
    assert messages_usage(write_messages_usage(kinds | {"web_search": 2})) == (kinds | {"web_search": 2}, False)
    assert write_messages_usage(kinds)["input_tokens"] == fresh


def test_usage_never_goes_below_zero() -> None:
    assert write_messages_usage({"input": 1, "cache_read": 5})["input_tokens"] == 0
