"""A Responses request, read: every field has its place or is refused by its path."""

from typing import Any

import pytest
from openai.types.responses import response_create_params
from tests.gateway.translate.responses_requests import ENCRYPTED, SCHEMA, ask

from interlock.errors import LocalError
from interlock.gateway.translate.carrier import Carried, carry
from interlock.gateway.translate.neutral import (
    Document,
    Image,
    Reasoning,
    Refusal,
    Schema,
    Text,
    Thinks,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from interlock.gateway.translate.responses import read_request


def document(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": "Hi", **fields}


READS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"stream": True}, {"stream": True}),
    ({"stream": None, "temperature": None, "tools": None, "text": None, "reasoning": None, "include": None}, {}),
    ({"instructions": "Be brief."}, {"instructions": (Text(text="Be brief.", path="instructions"),)}),
    ({"max_output_tokens": 5}, {"max_output": 5}),
    ({"max_output_tokens": -1}, {}),
    ({"temperature": 1}, {"temperature": 1}),
    ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
    ({"parallel_tool_calls": True}, {}),
    ({"parallel_tool_calls": False}, {"parallel": False}),
    ({"tool_choice": "auto"}, {}),
    ({"tool_choice": "none"}, {"tool_choice": ToolChoice(kind="none")}),
    ({"tool_choice": "required"}, {"tool_choice": ToolChoice(kind="any")}),
    ({"tool_choice": {"type": "function", "name": "f"}}, {"tool_choice": ToolChoice(kind="tool", name="f")}),
    (
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
        {"fields": {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}},
    ),
    (
        {"tools": [{"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": True}]},
        {"tools": (Tool(name="f", description="d", schema=SCHEMA, strict=True, path="tools[0]"),)},
    ),
    (
        {"tools": [{"type": "function", "name": "f", "parameters": None, "strict": None}]},
        {"tools": (Tool(name="f", path="tools[0]"),)},
    ),
    (
        {"tools": [{"type": "function", "name": "f", "defer_loading": True}, {"type": "web_search"}]},
        {
            "tools": (Tool(name="f", path="tools[0]"),),
            "fields": {"tools[0].defer_loading": True, "tools[1].type": {"type": "web_search"}},
        },
    ),
    ({"text": {"format": {"type": "text"}, "verbosity": "medium"}}, {}),
    ({"text": {"verbosity": "low"}}, {"fields": {"text.verbosity": "low"}}),
    ({"text": {"format": {"type": "json_object"}}}, {"schema": Schema()}),
    (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "description": "d"}}},
        {"schema": Schema(schema=SCHEMA, name="n", description="d")},
    ),
    ({"reasoning": {"effort": "minimal"}}, {"reasoning": Thinks(effort="minimal")}),
    ({"reasoning": {"effort": "none"}}, {"reasoning": Thinks(effort="none", off=True)}),
    ({"reasoning": {"effort": "xhigh", "summary": "auto"}}, {"reasoning": Thinks(effort="xhigh", summary="auto")}),
    ({"reasoning": {"generate_summary": "concise"}}, {"reasoning": Thinks(summary="concise")}),
    (
        {"reasoning": {"summary": "auto", "generate_summary": "concise"}},
        {"reasoning": Thinks(summary="auto"), "fields": {"reasoning.generate_summary": "concise"}},
    ),
    (
        {"reasoning": {"effort": None, "context": "all_turns", "mode": "standard"}},
        {"fields": {"reasoning.context": "all_turns"}},
    ),
    ({"user": "u"}, {"user": "u"}),
    ({"safety_identifier": "s"}, {"user": "s"}),
    ({"safety_identifier": "s", "user": "u"}, {"user": "s", "fields": {"user": "u"}}),
    ({"include": ENCRYPTED}, {}),
    (
        {"include": [*ENCRYPTED, "message.output_text.logprobs"]},
        {"fields": {"include": [*ENCRYPTED, "message.output_text.logprobs"]}},
    ),
    ({"store": True, "truncation": "disabled", "service_tier": "auto", "background": False, "metadata": {}}, {}),
    ({"top_logprobs": 0, "stream_options": {"include_obfuscation": True}}, {}),
    (
        {"store": False, "truncation": "auto", "service_tier": "flex", "metadata": {"a": "b"}, "top_logprobs": 3},
        {
            "fields": {
                "store": False,
                "truncation": "auto",
                "service_tier": "flex",
                "metadata": {"a": "b"},
                "top_logprobs": 3,
            }
        },
    ),
    ({"stream_options": {"include_obfuscation": False}}, {"fields": {"stream_options.include_obfuscation": False}}),
    ({"max_tool_calls": 2, "prompt_cache_key": "k"}, {"fields": {"max_tool_calls": 2, "prompt_cache_key": "k"}}),
    ({"moderation": {"model": "x"}, "unheard_of": 1}, {"fields": {"moderation": {"model": "x"}, "unheard_of": 1}}),
]


@pytest.mark.parametrize(("said", "expected"), READS, ids=lambda value: str(value)[:60])
def test_a_field_of_the_request_has_its_place(said: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read_request(document(**said)) == ask(**expected)


def test_no_field_that_the_sdk_knows_gets_lost() -> None:
    """What a newer SDK adds ends in `fields`, and so in a refusal or the header; never nowhere."""
    names = set(response_create_params.ResponseCreateParamsBase.__annotations__)
    ours = {name for said, _ in READS for name in said} | {"model", "input"}
    stateless = {"previous_response_id", "conversation", "prompt"}
    for name in names - ours - stateless:
        for value in ("x", {"type": "x"}, [1], True, 7):
            try:
                got = read_request(document(**{name: value}))
            except LocalError as error:
                assert error.field == name
            else:
                assert value in got.fields.values(), name


CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "f",
    "arguments": '{"a":1}',
    "status": "completed",
}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "ok"}
SEAL = carry(Carried(family="claude", kind="thinking", seal="sig"))
ITEMS: list[tuple[list[dict[str, Any]], list[Turn]]] = [
    (
        [{"role": "user", "content": "a"}, {"role": "developer", "content": "b"}],
        [
            Turn(role="user", parts=(Text(text="a", path="input[0].content"),), path="input[0]"),
            Turn(role="system", parts=(Text(text="b", path="input[1].content"),), path="input[1]"),
        ],
    ),
    (
        [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "a"},
                    {"type": "input_image", "image_url": "https://x/i.png", "detail": "high"},
                    {
                        "type": "input_image",
                        "image_url": "data:image/png;base64,AAAA",
                        "detail": "auto",
                        "file_id": None,
                    },
                    {"type": "input_file", "file_url": "https://x/f.pdf"},
                    {"type": "input_file", "filename": "f.pdf", "file_data": "data:application/pdf;base64,AAAA"},
                    {"type": "input_file", "filename": "f.pdf", "file_data": "AAAA"},
                ],
            }
        ],
        [
            Turn(
                role="user",
                path="input[0]",
                parts=(
                    Text(text="a", path="input[0].content[0]"),
                    Image(url="https://x/i.png", detail="high", path="input[0].content[1]"),
                    Image(media_type="image/png", data="AAAA", path="input[0].content[2]"),
                    Document(url="https://x/f.pdf", path="input[0].content[3]"),
                    Document(media_type="application/pdf", data="AAAA", name="f.pdf", path="input[0].content[4]"),
                    Document(media_type="application/pdf", data="AAAA", name="f.pdf", path="input[0].content[5]"),
                ),
            )
        ],
    ),
    (
        [
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": SEAL, "status": None},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [
                    {"type": "output_text", "text": "t", "annotations": [{"type": "url_citation"}], "logprobs": []},
                    {"type": "refusal", "refusal": "r"},
                ],
            },
            CALL,
            {**CALL, "call_id": "c2", "arguments": ""},
            RESULT,
            {
                "type": "function_call_output",
                "call_id": "c2",
                "output": [{"type": "input_image", "image_url": "https://x/i.png"}],
            },
            {"role": "user", "content": "and?"},
            {"role": "user", "content": "well?"},
        ],
        [
            Turn(
                role="assistant",
                path="input[0]",
                parts=(
                    Reasoning(kind="thinking", seal="sig", family="claude", path="input[0]"),
                    Text(text="t", path="input[1].content[0]"),
                    Refusal(text="r", path="input[1].content[1]"),
                    ToolCall(id="c1", name="f", arguments='{"a":1}', path="input[2]"),
                    ToolCall(id="c2", name="f", arguments="{}", path="input[3]"),
                ),
            ),
            Turn(
                role="user",
                path="input[4]",
                parts=(
                    ToolResult(id="c1", parts=(Text(text="ok", path="input[4].output"),), path="input[4]"),
                    ToolResult(
                        id="c2", parts=(Image(url="https://x/i.png", path="input[5].output[0]"),), path="input[5]"
                    ),
                    Text(text="and?", path="input[6].content"),
                ),
            ),
            Turn(role="user", parts=(Text(text="well?", path="input[7].content"),), path="input[7]"),
        ],
    ),
    (
        [
            {"role": "user", "content": "a"},
            RESULT,
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
                "content": [{"type": "reasoning_text", "text": "c"}],
                "encrypted_content": "gAAA",
            },
        ],
        [
            Turn(role="user", parts=(Text(text="a", path="input[0].content"),), path="input[0]"),
            Turn(
                role="user",
                parts=(ToolResult(id="c1", parts=(Text(text="ok", path="input[1].output"),), path="input[1]"),),
                path="input[1]",
            ),
            Turn(
                role="assistant",
                parts=(Reasoning(kind="item", text="a\n\nb\n\nc", seal="gAAA", id="rs_1", path="input[2]"),),
                path="input[2]",
            ),
        ],
    ),
]


@pytest.mark.parametrize(("items", "turns"), ITEMS, ids=["messages", "parts", "agent", "order"])
def test_items_become_turns(items: list[dict[str, Any]], turns: list[Turn]) -> None:
    got = read_request(document(input=items))
    assert list(got.turns) == turns
    assert got.fields == {}


def test_leading_system_and_developer_messages_are_instructions() -> None:
    items = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [{"type": "input_text", "text": "two"}]},
        {"role": "user", "content": "Hi"},
    ]
    got = read_request(document(input=items, instructions="zero"))
    assert [(part.path, part.text) for part in got.instructions if isinstance(part, Text)] == [
        ("instructions", "zero"),
        ("input[0].content", "one"),
        ("input[1].content[0]", "two"),
    ]
    assert [turn.role for turn in got.turns] == ["user"]


USER = {"role": "user"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model"),
    ({"input": None}, "input"),
    ({"input": 3}, "input"),
    ({"input": [3]}, "input[0]"),
    ({"input": [{"role": "tool", "content": ""}]}, "input[0].role"),
    ({"input": [{"role": ["user"], "content": ""}]}, "input[0].role"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
    ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type"),
    ({"input": [{"type": {}}]}, "input[0].type"),
    ({"input": [USER]}, "input[0].content"),
    ({"input": [USER | {"content": ["x"]}]}, "input[0].content[0]"),
    ({"input": [USER | {"content": [{"type": "input_audio"}]}]}, "input[0].content[0].type"),
    ({"input": [USER | {"content": [{"type": ["a"]}]}]}, "input[0].content[0].type"),
    ({"input": [USER | {"content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
    ({"input": [USER | {"content": [{"type": "refusal", "refusal": "x"}]}]}, "input[0].content[0].type"),
    ({"input": [USER | {"content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0].file_id"),
    ({"input": [USER | {"content": [{"type": "input_file", "file_id": "f"}]}]}, "input[0].content[0].file_id"),
    ({"input": [USER | {"content": [{"type": "input_file"}]}]}, "input[0].content[0]"),
    (
        {"input": [USER | {"content": [{"type": "input_image", "image_url": "data:image/png,AA"}]}]},
        "input[0].content[0].image_url",
    ),
    (
        {"input": [{"role": "assistant", "content": [{"type": "input_image", "image_url": "https://x"}]}]},
        "input[0].content[0].type",
    ),
    (
        {"input": [{"role": "system", "content": [{"type": "input_image", "image_url": "https://x"}]}]},
        "input[0].content[0].type",
    ),
    ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
    ({"input": [CALL | {"arguments": {}}]}, "input[0].arguments"),
    ({"input": [RESULT | {"output": None}]}, "input[0].output"),
    ({"input": [RESULT | {"output": [{"type": "text", "text": "x"}]}]}, "input[0].output[0].type"),
    ({"input": [{"type": "reasoning", "summary": [{"type": "x"}]}]}, "input[0].summary[0].type"),
    ({"input": [{"type": "reasoning", "summary": [], "encrypted_content": 1}]}, "input[0].encrypted_content"),
    ({"input": [USER | {"content": "x", "a.b": 1}]}, "input[0]"),
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"conversation": {"id": "c"}}, "conversation"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"background": True}, "background"),
    ({"background": "no"}, "background"),
    ({"stream": 1}, "stream"),
    ({"instructions": ["x"]}, "instructions"),
    ({"max_output_tokens": "5"}, "max_output_tokens"),
    ({"max_output_tokens": 1 << 60}, "max_output_tokens"),
    ({"temperature": True}, "temperature"),
    ({"top_p": "x"}, "top_p"),
    ({"tools": {}}, "tools"),
    ({"tools": [1]}, "tools[0]"),
    ({"tools": [{"name": "f"}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tools": [{"type": "function", "name": "f", "parameters": []}]}, "tools[0].parameters"),
    ({"tool_choice": "any"}, "tool_choice"),
    ({"tool_choice": 1}, "tool_choice"),
    ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
    ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
    ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
    ({"text": {"verbosity": 1}}, "text.verbosity"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
    ({"reasoning": {"effort": {}}}, "reasoning.effort"),
    ({"include": [1]}, "include[0]"),
    ({"metadata": "x"}, "metadata"),
    ({"text.format": 1}, "body"),
    ({"tools[0].type": 1}, "body"),
]


@pytest.mark.parametrize(("said", "field"), REFUSED, ids=lambda value: str(value)[:70])
def test_what_cannot_be_read_is_refused_by_its_path(said: dict[str, Any], field: str) -> None:
    with pytest.raises(LocalError) as refused:
        read_request(document(**said))
    assert refused.value.field == field
