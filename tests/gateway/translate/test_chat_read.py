"""A Chat Completions request, read: every field has its place or is refused by its path."""

from typing import Any

import pytest
from tests.gateway.translate.chat_requests import CALL, FUNCTION, GPT, HELLO, PDF, PNG, QWEN

from interlock.errors import LocalError
from interlock.gateway.translate.carrier import Carried, carry
from interlock.gateway.translate.chat import read_request, write_request
from interlock.gateway.translate.neutral import (
    Ask,
    Document,
    Image,
    Reasoning,
    Refusal,
    Schema,
    Target,
    Text,
    Thinks,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from interlock.gateway.translate.reasoning import Kind


def body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages or (HELLO,)), **fields}


def read(*messages: dict[str, Any], **fields: Any) -> Ask:
    return read_request(body(*messages, **fields))


def refused(document: dict[str, Any]) -> str | None:
    with pytest.raises(LocalError) as raised:
        read_request(document)
    assert raised.value.code == "invalid_request"
    return raised.value.field


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True, "includes_usage": True}),
        ({"max_tokens": 5}, {"max_output": 5}),
        ({"max_completion_tokens": 6}, {"max_output": 6}),
        ({"max_completion_tokens": 6, "max_tokens": 6}, {"max_output": 6}),
        ({"max_tokens": -1}, {}),
        ({"temperature": 1, "top_p": 0.5, "top_k": 3}, {"temperature": 1.0, "top_p": 0.5, "top_k": 3}),
        ({"stop": "a"}, {"stop": ("a",)}),
        ({"stop": ["a", "b"]}, {"stop": ("a", "b")}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"schema": Schema()}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "description": "d", "schema": {"type": "object"}, "strict": True},
                }
            },
            {"schema": Schema(schema={"type": "object"}, name="n", description="d", strict=True)},
        ),
        ({"reasoning_effort": "high"}, {"reasoning": Thinks(effort="high")}),
        ({"reasoning_effort": "none"}, {"reasoning": Thinks(effort="none", off=True)}),
        ({"user": "u"}, {"user": "u"}),
        ({"safety_identifier": "s"}, {"user": "s"}),
        ({"user": "u", "safety_identifier": "s"}, {"user": "u", "fields": {"safety_identifier": "s"}}),
        (
            {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"},
            {
                "tools": (Tool(name="f", description="does", schema={"type": "object"}, strict=True, path="tools[0]"),),
                "tool_choice": ToolChoice(kind="any"),
            },
        ),
        ({"tool_choice": "auto"}, {"tool_choice": ToolChoice(kind="auto")}),
        ({"tool_choice": "none"}, {"tool_choice": ToolChoice(kind="none")}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tool_choice": ToolChoice(kind="tool", name="f")},
        ),
        ({"parallel_tool_calls": False}, {"parallel": False}),
        (
            {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
            {
                "tools": (Tool(name="f", path="functions[0]"),),
                "tool_choice": ToolChoice(kind="tool", name="f"),
                "parallel": False,
            },
        ),
        ({"seed": 0, "store": False, "verbosity": "low"}, {"fields": {"seed": 0, "store": False, "verbosity": "low"}}),
        ({"logprobs": True, "logit_bias": {"5": 1}}, {"fields": {"logprobs": True, "logit_bias": {"5": 1}}}),
        ({"stream_options": {"include_obfuscation": False}}, {"fields": {"stream_options.include_obfuscation": False}}),
        ({"reasoning": {"effort": "high"}}, {"fields": {"reasoning": {"effort": "high"}}}),
        # defaults and null say nothing
        ({"n": 1, "logprobs": False, "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}}, {}),
        ({"parallel_tool_calls": True, "modalities": ["text"], "audio": None, "stream": False, "tools": []}, {}),
        ({"temperature": None, "stop": None, "tool_choice": None, "seed": None, "stream_options": None}, {}),
    ],
)
def test_fields(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    turn = Turn(role="user", parts=(Text(text="hello", path="messages[0].content"),), path="messages[0]")
    assert read(**fields) == Ask(**{"format": "chat", "stream": False, "turns": (turn,), **expected})


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"n": 2}, "n"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"modalities": [1]}, "modalities[0]"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"stream": 1}, "stream"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"stop": 1}, "stop"),
        ({"stop": ["a", 1]}, "stop"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.name"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"reasoning_effort": {}}, "reasoning_effort"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function.name"),
        ({"tools": [1]}, "tools[0]"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice.type"),
        ({"tool_choice": 1}, "tool_choice"),
        ({"functions": [{"name": "f"}], "tools": [{"type": "function", "function": {"name": "f"}}]}, "functions"),
        ({"functions": [{"name": "f"}], "function_call": "required"}, "function_call"),
        ({"functions": [{"name": "f"}], "function_call": []}, "function_call"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"user": 1}, "user"),
        ({"messages": []}, "messages"),
        ({"a.b": 1}, "body"),
        ({"stream_options": {"é": 1}}, "stream_options"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], path: str) -> None:
    assert refused({**body(), **fields}) == path


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"role": "critic", "content": ""}, "messages[0].role"),
        ({"content": ""}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": 1}, "messages[0].content"),
        ({"role": "user", "content": ["x"]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
        ({"role": "user", "content": [{"type": ["text"]}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "video_url"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}, "messages[0].content[0].image_url"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,x"}}]},
            "messages[0].content[0].image_url.url",
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
            "messages[0].content[0].file.file_id",
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_data": "JVBERi0="}}]},
            "messages[0].content[0].file.file_data",
        ),
        (
            {"role": "system", "content": [{"type": "image_url", "image_url": {"url": "u"}}]},
            "messages[0].content[0].type",
        ),
        (
            {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "u"}}]},
            "messages[0].content[0].type",
        ),
        ({"role": "assistant", "audio": {"id": "a"}}, "messages[0].audio"),
        ({"role": "assistant", "refusal": 1}, "messages[0].refusal"),
        ({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom"}]}, "messages[0].tool_calls[0].type"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "messages[0].tool_calls[0].id"),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]}, "messages[0].tool_calls[0].function.name"),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {}}}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"role": "assistant", "reasoning_content": 1}, "messages[0].reasoning_content"),
        ({"role": "assistant", "reasoning_details": [1]}, "messages[0].reasoning_details[0]"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "function", "name": "f", "content": "x"}, "messages[0].role"),
    ],
)
def test_what_is_wrong_in_a_message_is_named(message: dict[str, Any], path: str) -> None:
    assert refused(body(message)) == path


def test_system_text_first_is_instructions_and_later_stays_in_place() -> None:
    ask = read(
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
        HELLO,
        {"role": "developer", "content": "d"},
    )
    assert [(type(p).__name__, p.path) for p in ask.instructions] == [
        ("Text", "messages[0].content"),
        ("Text", "messages[1].content[0]"),
        ("Text", "messages[1].content[1]"),
    ]
    assert [turn.role for turn in ask.turns] == ["user", "system"]
    assert ask.turns[1].path == "messages[3]"
    assert write_request(ask, GPT).document["messages"] == [
        {"role": "system", "content": "a"},
        {"role": "system", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
        HELLO,
        {"role": "system", "content": "d"},
    ]


def test_results_that_follow_one_another_are_one_turn_with_the_user_after_them() -> None:
    messages: list[dict[str, Any]] = [
        HELLO,
        {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "c2", "index": 1}]},
        {"role": "tool", "tool_call_id": "c1", "content": "one", "name": "f"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": "go on", "name": "bob"},
        {"role": "user", "content": "quickly"},
    ]
    ask = read(*messages)
    assert [turn.role for turn in ask.turns] == ["user", "assistant", "user", "user"]
    assert ask.turns[1].parts == tuple(
        ToolCall(id=id, name="f", arguments="{}", path=f"messages[1].tool_calls[{n}]")
        for n, id in enumerate(("c1", "c2"))
    )
    assert ask.turns[2].path == "messages[2]"
    assert ask.turns[2].parts == (
        ToolResult(id="c1", parts=(Text(text="one", path="messages[2].content"),), path="messages[2]"),
        ToolResult(id="c2", parts=(Text(text="two", path="messages[3].content[0]"),), path="messages[3]"),
        Text(text="go on", path="messages[4].content"),
    )
    assert ask.fields == {"messages[4].name": "bob"}
    del messages[2]["name"], messages[1]["tool_calls"][1]["index"]  # the name repeated the call's
    messages[3]["content"] = "two"
    assert write_request(ask, GPT).document["messages"] == messages


def test_a_result_under_another_name_keeps_it() -> None:
    ask = read(
        {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c1", "name": "g", "content": ""}
    )
    assert ask.fields == {"messages[1].name": "g"}


def test_content_of_every_kind() -> None:
    content = [
        {"type": "text", "text": "see", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
        {"type": "text", "text": "", "prompt_cache_breakpoint": {"mode": "explicit"}},
    ]
    ask = read({"role": "user", "content": content})
    path = "messages[0].content"
    assert ask.turns[0].parts == (
        Text(text="see", path=f"{path}[0]", cache='{"type":"ephemeral"}'),
        Image(url="https://x/y.png", detail="low", path=f"{path}[1]"),
        Image(media_type="image/png", data="iVBORw0KGgo=", path=f"{path}[2]"),
        Document(media_type="application/pdf", data="JVBERi0=", name="a.pdf", path=f"{path}[3]"),
        Text(text="", path=f"{path}[4]"),
    )
    assert ask.fields == {f"{path}[4].prompt_cache_breakpoint": {"mode": "explicit"}}
    assert write_request(ask, GPT).document["messages"][0]["content"] == content


def test_an_answer_handed_back_as_the_sdk_dumps_it() -> None:
    ask = read(
        {
            "role": "assistant",
            "content": "I",
            "refusal": "no",
            "annotations": [],
            "audio": None,
            "function_call": None,
            "tool_calls": None,
            "name": None,
        },
        {"role": "assistant", "content": "", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": ""}}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]},
    )
    assert [turn.parts for turn in ask.turns] == [
        (Text(text="I", path="messages[0].content"), Refusal(text="no", path="messages[0].refusal")),
        (ToolCall(id="c1", name="f", arguments="{}", path="messages[1].tool_calls[0]"),),
        (Text(text="a", path="messages[2].content[0]"), Refusal(text="b", path="messages[2].content[1]")),
    ]
    assert ask.fields == {}
    assert write_request(ask, GPT).document["messages"] == [
        {"role": "assistant", "content": "I", "refusal": "no"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "content": "a", "refusal": "b"},
    ]


def test_legacy_calls_are_calls() -> None:
    ask = read(
        HELLO,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "done"},
        functions=[{"name": "f"}],
    )
    written = write_request(ask, GPT).document
    assert written["messages"][1]["tool_calls"][0] == {**CALL, "id": "function_1"}
    assert written["messages"][2] == {"role": "tool", "tool_call_id": "function_1", "content": "done"}
    assert written["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    ]
    assert written["parallel_tool_calls"] is False
    assert "functions" not in written


def carrier(kind: Kind, seal: str = "SEAL", id: str = "", family: str = "claude") -> str:
    return carry(Carried(family=family, kind=kind, seal=seal, id=id))


def test_reasoning_that_comes_back() -> None:
    details = [
        {"type": "reasoning.text", "text": "t", "signature": carrier("thinking"), "index": 0},
        {"type": "reasoning.encrypted", "data": carrier("redacted"), "index": 1},
        {"type": "reasoning.encrypted", "data": carrier("item", "E", "rs_1", "gpt"), "index": 2},
        {"type": "reasoning.text", "text": "p", "signature": None, "index": 3},
    ]
    path = "messages[0].reasoning_details"
    ask = read({"role": "assistant", "content": "x", "reasoning_content": "t\n\np", "reasoning_details": details})
    assert ask.turns[0].parts == (
        Reasoning(kind="thinking", text="t", seal="SEAL", family="claude", path=f"{path}[0]"),
        Reasoning(kind="redacted", seal="SEAL", family="claude", path=f"{path}[1]"),
        Reasoning(kind="item", seal="E", id="rs_1", family="gpt", path=f"{path}[2]"),
        Reasoning(kind="plain", text="p", path=f"{path}[3]"),
        Text(text="x", path="messages[0].content"),
    )
    assert ask.fields == {}
    written = write_request(ask, Target(model="claude-x", family="claude"))
    assert written.document["messages"] == [{"role": "assistant", "content": "x", "reasoning_content": "p"}]
    assert written.dropped == tuple(f"{path}[{n}]" for n in range(3))


def test_another_servers_details_go_back_to_chat_and_are_a_hint_elsewhere() -> None:
    details = [{"type": "reasoning.text", "text": "t", "signature": "native", "format": "x", "index": 0}]
    message = {"role": "assistant", "content": "x", "reasoning_details": details}
    for said in ({}, {"reasoning": "t"}, {"reasoning_content": "t"}):
        ask = read({**message, **said})
        assert ask.turns[0].parts[0] == Reasoning(kind="plain", text="t", path="messages[0].reasoning_content")
        assert ask.fields == {"messages[0].reasoning_details": details}
        assert write_request(ask, QWEN).document["messages"] == [{**message, "reasoning_content": "t"}]


@pytest.mark.parametrize("family", ["qwen3", "claude", ""])
def test_plain_reasoning_is_written_for_its_own_family_only(family: str) -> None:
    part = Reasoning(kind="plain", text="t", family=family, path="messages[0].content[0]")
    ask = Ask(format="messages", stream=False, turns=(Turn(role="assistant", parts=(part, Text(text="x"))),))
    written = write_request(ask, QWEN)
    kept = family != "claude"
    assert written.document["messages"][0].get("reasoning_content") == ("t" if kept else None)
    assert written.dropped == (() if kept else (part.path,))
