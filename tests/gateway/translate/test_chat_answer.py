"""Whole chat answers: written as OpenAI does, read from whoever."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from interlock.gateway.translate.carrier import carried
from interlock.gateway.translate.chat import read_answer, read_request, write_answer
from interlock.gateway.translate.neutral import Answer, Ask, Envelope, Finish, Reasoning, Refusal, Text, Tool, ToolCall
from interlock.gateway.translate.usage import write_chat_usage
from interlock.gateway.wire.usage import chat_usage

ASK = Ask(format="chat", stream=False, turns=())
LEGACY = msgspec.structs.replace(ASK, tools=(Tool(name="f", path="functions[0]"),))
ENVELOPE = Envelope(key="0" * 32, created_at=77, ask=ASK, family="claude", model="asked", input_estimate=9)


def answer(*parts: Any, **fields: Any) -> Answer:
    return Answer(**{"id": "msg_1", "model": "claude-x", "finish": "stop", "parts": parts, "created_at": 5, **fields})


def test_the_whole_shape() -> None:
    written = write_answer(
        answer(
            Reasoning(kind="thinking", text="hm", seal="SIG"),
            Text(text="a"),
            Text(text="b"),
            ToolCall(id="toolu_1", name="f", arguments='{"x":1}'),
            usage={"input": 10, "cache_read": 4, "cache_write_1h": 3, "output": 5, "reasoning": 2},
        ),
        ENVELOPE,
    )
    (detail,) = written["choices"][0]["message"].pop("reasoning_details")
    opened = carried(detail.pop("signature"))
    assert opened is not None
    assert (opened.family, opened.kind, opened.seal) == ("claude", "thinking", "SIG")
    assert detail == {"type": "reasoning.text", "text": "hm", "index": 0}
    assert written == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": 5,
        "model": "claude-x",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "ab",
                    "refusal": None,
                    "reasoning_content": "hm",
                    "tool_calls": [
                        {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
        },
    }
    ChatCompletion.model_validate(written, strict=True)


def test_what_the_upstream_left_out_is_filled_in() -> None:
    written = write_answer(
        answer(ToolCall(id="", name="f", arguments="{}"), id="", model="", created_at=0, finish="length"), ENVELOPE
    )
    assert (written["id"], written["created"], written["model"]) == ("chatcmpl-" + "0" * 32, 77, "asked")
    assert written["choices"][0]["message"]["tool_calls"][0]["id"] == "call_" + "0" * 32 + "_0"
    assert written["choices"][0]["message"]["content"] is None
    assert written["choices"][0]["finish_reason"] == "length"
    assert "usage" not in written


CALLS = (ToolCall(id="c1", name="f", arguments="{}"),)


@pytest.mark.parametrize(
    ("finish", "reason", "legacy"),
    [
        ("stop", "stop", "stop"),
        ("stop_sequence", "stop", "stop"),
        ("pause", "stop", "stop"),
        ("length", "length", "length"),
        ("context", "length", "length"),
        ("refusal", "content_filter", "content_filter"),
        ("tool_calls", "tool_calls", "function_call"),
    ],
)
def test_finish(finish: Finish, reason: str, legacy: str) -> None:
    said = answer(*CALLS, finish=finish) if finish == "tool_calls" else answer(finish=finish)
    assert write_answer(said, ENVELOPE)["choices"][0]["finish_reason"] == reason
    envelope = msgspec.structs.replace(ENVELOPE, ask=LEGACY)
    assert write_answer(said, envelope)["choices"][0]["finish_reason"] == legacy


def test_without_a_call_nobody_waits_for_its_result() -> None:
    assert write_answer(answer(finish="tool_calls"), ENVELOPE)["choices"][0]["finish_reason"] == "stop"


def test_the_stop_sequence_that_was_met_is_told_as_vllm_does() -> None:
    written = write_answer(answer(Text(text="a"), finish="stop_sequence", stop_sequence="END"), ENVELOPE)
    assert written["choices"][0]["stop_reason"] == "END"
    assert read_answer(written).finish == "stop_sequence"
    assert read_answer(written).stop_sequence == "END"


def test_a_legacy_client_gets_its_call_in_its_own_words() -> None:
    ask = read_request({"messages": [{"role": "user", "content": "x"}], "functions": [{"name": "f"}]})
    envelope = msgspec.structs.replace(ENVELOPE, ask=ask)
    calls = [ToolCall(id=str(n), name="f", arguments="{}") for n in range(2)]
    choice = write_answer(answer(*calls, finish="tool_calls"), envelope)["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert [call["id"] for call in choice["message"]["tool_calls"]] == ["1"]


def test_reasoning_of_every_kind() -> None:
    written = write_answer(
        answer(
            Reasoning(kind="plain", text="p"),
            Reasoning(kind="plain"),
            Reasoning(kind="redacted", seal="D"),
            Reasoning(kind="item", text="s", seal="E", id="rs_1"),
            Reasoning(kind="thinking"),
        ),
        ENVELOPE,
    )["choices"][0]["message"]
    assert written["reasoning_content"] == "p\n\ns"
    details = written["reasoning_details"]
    assert [(d["type"], d["index"]) for d in details] == [
        ("reasoning.text", 0),
        ("reasoning.encrypted", 1),
        ("reasoning.text", 2),
        ("reasoning.encrypted", 3),
    ]
    assert details[0]["signature"] is None
    seals = [carried(d.get("data") or d["signature"]) for d in details[1:]]
    assert [(c.kind, c.seal, c.id) for c in seals if c] == [
        ("redacted", "D", ""),
        ("item", "E", "rs_1"),
        ("thinking", "", ""),
    ]
    # and back, in the conversation's next turn
    ask = read_request({"messages": [{"role": "assistant", **written}]})
    assert [(p.kind, p.text, p.seal, p.id, p.family) for p in ask.turns[0].parts if isinstance(p, Reasoning)] == [
        ("plain", "p", "", "", ""),
        ("redacted", "", "D", "", "claude"),
        ("item", "s", "E", "rs_1", "claude"),
        ("thinking", "", "", "", "claude"),
    ]


def choice(message: dict[str, Any], reason: str | None = "stop", **rest: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": reason, **rest}]}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (choice({"content": "a", "refusal": "b"}), {"parts": (Text(text="a"), Refusal(text="b"))}),
        (choice({"content": None, "reasoning_content": "r"}), {"parts": (Reasoning(kind="plain", text="r"),)}),
        (choice({"content": "", "reasoning": "r"}), {"parts": (Reasoning(kind="plain", text="r"),)}),
        (
            choice(
                {"reasoning_details": [{"type": "reasoning.summary", "summary": "r"}, {"type": "reasoning.encrypted"}]}
            ),
            {"parts": (Reasoning(kind="plain", text="r"),), "dropped": ("reasoning.encrypted",)},
        ),
        (
            choice(
                {
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "r"}]},
                        {"type": "text", "text": "a"},
                        {"type": "reference"},
                    ]
                }
            ),
            {"parts": (Reasoning(kind="plain", text="r"), Text(text="a")), "dropped": ("reference",)},
        ),
        (
            choice({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": ""}}]}),
            {"parts": (ToolCall(id="c", name="f", arguments="{}"),), "finish": "tool_calls"},
        ),
        (
            choice({"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1 << 70}}}]}, "eos"),
            {"parts": (ToolCall(id="", name="f", arguments='{"a":1180591620717411303424}'),), "finish": "tool_calls"},
        ),
        (
            choice({"function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
            {"parts": (ToolCall(id="", name="f", arguments="{}"),), "finish": "tool_calls"},
        ),
        (choice({"tool_calls": [{"type": "custom", "custom": {}}]}, "tool_calls"), {"dropped": ("custom",)}),
        (choice({"audio": {"id": "a"}, "annotations": [{}]}), {"dropped": ("audio", "annotations")}),
        (choice({"annotations": [], "audio": None}), {}),
        (choice({}, "length"), {"finish": "length"}),
        (choice({}, "content_filter"), {"finish": "refusal"}),
        (choice({}, "stop", stop_reason="END"), {"finish": "stop_sequence", "stop_sequence": "END"}),
        (choice({}, "stop", stop_reason=5), {}),
        (choice({}, None), {}),
        ({}, {}),
        ({"choices": [1, {"message": 5}], "id": 5, "model": [], "created": "x", "usage": 3}, {}),
        ({"id": "i", "model": "m", "created": 4}, {"id": "i", "model": "m", "created_at": 4}),
        ({"usage": {"prompt_tokens": 2, "completion_tokens": 1}}, {"usage": {"input": 2, "output": 1}}),
    ],
)
def test_read(document: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read_answer(document) == Answer(**{"id": "", "model": "", "parts": (), "finish": "stop", **expected})


COUNTS = st.integers(0, 1000)


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_usage_comes_back(fresh: int, read: int, write: int, audio: int, said: int, thought: int, spoken: int) -> None:
    kinds = {
        "cache_read": read,
        "cache_write": write,
        "audio_input": audio,
        "reasoning": thought,
        "audio_output": spoken,
    }
    usage = {kind: count for kind, count in kinds.items() if count}
    usage |= {"input": fresh + read + write + audio, "output": said + thought + spoken}
    assert chat_usage(write_chat_usage(usage)) == (usage, False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "tool_calls",
                    "function",
                    "reasoning_details",
                    "type",
                    "text",
                    "usage",
                ]
            ),
            inner,
        )
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from(["choices", "usage", "id", "created"]), JSON)
    | st.builds(
        choice,
        st.dictionaries(
            st.sampled_from(["content", "tool_calls", "reasoning_details", "function_call", "annotations"]), JSON
        ),
    )
)
def test_nothing_an_upstream_says_can_raise(document: dict[str, Any]) -> None:
    write_answer(read_answer(document), ENVELOPE)
