"""A Responses request, written; and a Responses client's own, written again."""

from typing import Any

import msgspec
import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter
from tests.gateway.translate.responses_requests import ENCRYPTED, SCHEMA, ask, turn

from interlock.errors import LocalError
from interlock.gateway.translate.ids import to_upstream
from interlock.gateway.translate.neutral import (
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
)
from interlock.gateway.translate.responses import read_request, write_request
from interlock.ledger import Format

TARGET = Target(model="gpt-5", family="openai")
SDK: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsNonStreaming)


def written(format: Format = "chat", **fields: Any) -> dict[str, Any]:
    return write_request(ask(format=format, **fields), TARGET).document


STATELESS = {"model": "gpt-5", "stream": False, "include": ENCRYPTED, "store": False}
MESSAGE = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
WRITES: list[tuple[Format, dict[str, Any], dict[str, Any]]] = [
    ("chat", {}, {}),
    ("chat", {"stream": True}, {"stream": True}),
    ("chat", {"instructions": (Text(text="a"), Text(text="b"))}, {"instructions": "a\n\nb"}),
    (
        "chat",
        {"max_output": 5, "temperature": 0.0, "top_p": 1.0},
        {"max_output_tokens": 5, "temperature": 0.0, "top_p": 1.0},
    ),
    ("chat", {"parallel": False}, {"parallel_tool_calls": False}),
    ("chat", {"user": "u"}, {"safety_identifier": "u"}),
    (
        "chat",
        {"tools": (Tool(name="f", path="tools[0]"),)},
        {
            "tools": [
                {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
            ]
        },
    ),
    (
        "messages",
        {"tools": (Tool(name="f", description="d", schema=SCHEMA, strict=True, path="tools[0]"),)},
        {"tools": [{"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": True}]},
    ),
    ("chat", {"tool_choice": ToolChoice(kind="any")}, {"tool_choice": "required"}),
    ("chat", {"tool_choice": ToolChoice(kind="none")}, {"tool_choice": "none"}),
    ("chat", {"tool_choice": ToolChoice(kind="auto")}, {"tool_choice": "auto"}),
    ("chat", {"tool_choice": ToolChoice(kind="tool", name="f")}, {"tool_choice": {"type": "function", "name": "f"}}),
    ("chat", {"schema": Schema()}, {"text": {"format": {"type": "json_object"}}}),
    (
        "messages",
        {"schema": Schema(schema=SCHEMA, strict=True)},
        {"text": {"format": {"type": "json_schema", "name": "output", "schema": SCHEMA, "strict": True}}},
    ),
    ("chat", {"reasoning": Thinks(effort="minimal")}, {"reasoning": {"effort": "minimal"}}),
    (
        "chat",
        {"reasoning": Thinks(effort="max", summary="detailed")},
        {"reasoning": {"effort": "max", "summary": "detailed"}},
    ),
    ("messages", {"reasoning": Thinks(off=True)}, {"reasoning": {"effort": "none"}}),
    ("messages", {"reasoning": Thinks(adaptive=True)}, {"reasoning": {"summary": "auto"}}),
    ("messages", {"reasoning": Thinks(adaptive=True, summary="summarized")}, {"reasoning": {"summary": "auto"}}),
    ("messages", {"reasoning": Thinks(effort="high", summary="omitted")}, {"reasoning": {"effort": "high"}}),
    ("chat", {"fields": {"store": False, "metadata": {"a": "b"}}}, {"metadata": {"a": "b"}}),
    ("chat", {"fields": {"verbosity": "low"}}, {"text": {"verbosity": "low"}}),
    (
        "chat",
        {"fields": {"verbosity": "low"}, "schema": Schema()},
        {"text": {"format": {"type": "json_object"}, "verbosity": "low"}},
    ),
    (
        "chat",
        {"fields": {"prompt_cache_key": "k", "service_tier": "flex"}},
        {"prompt_cache_key": "k", "service_tier": "flex"},
    ),
]


@pytest.mark.parametrize(("format", "said", "expected"), WRITES, ids=lambda value: str(value)[:60])
def test_a_request_of_another_format_is_written_without_state(
    format: Format, said: dict[str, Any], expected: dict[str, Any]
) -> None:
    got = write_request(ask(format=format, **said), TARGET)
    assert got.document == {**STATELESS, "input": [MESSAGE], **expected}
    assert got.dropped == ()
    SDK.validate_python({name: value for name, value in got.document.items() if name != "stream"})


@pytest.mark.parametrize(
    ("budget", "effort"),
    [(1024, "low"), (4096, "low"), (4097, "medium"), (10_000, "medium"), (16_384, "medium"), (16_385, "high")],
)
def test_a_budget_becomes_the_nearest_effort_and_is_listed(budget: int, effort: str) -> None:
    got = write_request(ask(format="messages", reasoning=Thinks(budget_tokens=budget)), TARGET)
    assert got.document["reasoning"] == {"effort": effort, "summary": "auto"}
    assert got.dropped == ("thinking.budget_tokens",)


def test_an_effort_wins_over_a_budget() -> None:
    thinks = Thinks(budget_tokens=20_000, effort="low")
    assert written("messages", reasoning=thinks)["reasoning"]["effort"] == "low"


TURNS: list[tuple[dict[str, Any], list[dict[str, Any]], tuple[str, ...]]] = [
    (
        turn("system", Text(text="a", path="messages[0].content")),
        [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "a"}]}],
        (),
    ),
    (
        turn(
            "user",
            ToolResult(id="c1", parts=(Text(text="ok"),), error=True, path="messages[0].content[0]"),
            ToolResult(
                id="bad id",
                parts=(Text(text="see"), Image(url="https://x/i.png", path="messages[0].content[1].content[1]")),
                path="messages[0].content[1]",
            ),
            ToolResult(id="c3", parts=(), path="messages[0].content[2]"),
            Text(text="and?", cache='{"type":"ephemeral"}', path="messages[0].content[3]"),
            Image(media_type="image/png", data="AAAA", detail="low", path="messages[0].content[4]"),
            Document(url="https://x/f.pdf", path="messages[0].content[5]"),
            Document(media_type="application/pdf", data="AAAA", name="n", path="messages[0].content[6]"),
            Document(media_type="text/plain", text="A", path="messages[0].content[7]"),
        ),
        [
            {"type": "function_call_output", "call_id": "c1", "output": "ok"},
            {
                "type": "function_call_output",
                "call_id": to_upstream("bad id", "responses"),
                "output": [
                    {"type": "input_text", "text": "see"},
                    {"type": "input_image", "image_url": "https://x/i.png", "detail": "auto"},
                ],
            },
            {"type": "function_call_output", "call_id": "c3", "output": ""},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "and?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
                    {"type": "input_file", "file_url": "https://x/f.pdf"},
                    {"type": "input_file", "filename": "n", "file_data": "data:application/pdf;base64,AAAA"},
                    {"type": "input_file", "filename": "document.txt", "file_data": "data:text/plain;base64,QQ=="},
                ],
            },
        ],
        ("messages[0].content[0].is_error", "messages[0].content[3].cache_control"),
    ),
    (
        turn(
            "assistant",
            Reasoning(kind="thinking", text="h", seal="sig", path="messages[0].content[0]"),
            Reasoning(kind="item", text="h", seal="gA", id="rs_1", family="openai", path="messages[0].content[1]"),
            Reasoning(kind="item", text="h", seal="gB", family="other", path="messages[0].content[2]"),
            Reasoning(kind="item", text="h", family="openai", path="messages[0].content[3]"),
            Reasoning(kind="plain", text="h", family="openai", path="messages[0].content[4]"),
            Text(text="a", path="messages[0].content[5]"),
            Refusal(text="r", path="messages[0].content[6]"),
            ToolCall(id="c1", name="f", arguments="{}", path="messages[0].content[7]"),
            Text(text="b", path="messages[0].content[8]"),
        ),
        [
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "h"}],
                "encrypted_content": "gA",
            },
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "h"}]},
            {
                "type": "message",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "a", "annotations": []},
                    {"type": "refusal", "refusal": "r"},
                ],
            },
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "b", "annotations": []}],
            },
        ],
        ("messages[0].content[0]", "messages[0].content[2]", "messages[0].content[4]"),
    ),
]


@pytest.mark.parametrize(("said", "items", "dropped"), TURNS, ids=["system", "user", "assistant"])
def test_turns_become_items(said: dict[str, Any], items: list[dict[str, Any]], dropped: tuple[str, ...]) -> None:
    got = write_request(ask(format="messages", **said), TARGET)
    assert got.document["input"] == items
    assert got.dropped == dropped


@pytest.mark.parametrize(
    ("format", "said", "field"),
    [
        ("chat", {"stop": ("x",)}, "stop"),
        ("messages", {"stop": ("x",)}, "stop_sequences"),
        ("messages", {"top_k": 0}, "top_k"),
        ("chat", {"fields": {"logit_bias": {"1": 2}}}, "logit_bias"),
        ("messages", {"fields": {"container": "x"}}, "container"),
        ("chat", turn("assistant", Image(url="https://x", path="messages[0].content[0]")), "messages[0].content[0]"),
        ("chat", turn("user", Refusal(text="x", path="messages[0].content[0]")), "messages[0].content[0]"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_responses_cannot_say_is_refused_in_the_clients_words(
    format: Format, said: dict[str, Any], field: str
) -> None:
    with pytest.raises(LocalError) as refused:
        write_request(ask(format=format, **said), TARGET)
    assert refused.value.field == field


def test_hints_are_dropped_and_listed() -> None:
    tools = (Tool(name="f", cache="{}", path="tools[0]"),)
    instructions = (Text(text="a", cache="{}", path="system[0]"),)
    got = write_request(
        ask(format="chat", fields={"seed": 1, "store": True}, tools=tools, instructions=instructions), TARGET
    )
    assert got.dropped == ("system[0].cache_control", "tools[0].cache_control", "seed", "store")
    assert got.document["store"] is False


def test_a_user_that_openai_would_refuse_for_its_length_is_hashed() -> None:
    assert written(user="u" * 64)["safety_identifier"] == "u" * 64
    assert len(written(user="u" * 65)["safety_identifier"]) == 64
    assert written(user="u" * 65) == written(user="u" * 65) != written(user="v" * 65)


EVERYTHING: dict[str, Any] = {
    "model": "gpt-5",
    "input": [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "original"},
                {"type": "input_file", "filename": "f", "file_data": "data:application/pdf;base64,AA", "detail": "low"},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "s"}],
            "encrypted_content": "gA",
        },
        {
            "type": "message",
            "role": "assistant",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "x", "annotations": []}],
        },
        {
            "type": "message",
            "role": "assistant",
            "phase": "final_answer",
            "content": [{"type": "refusal", "refusal": "y"}],
        },
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "namespace": "n"},
        {"type": "function_call_output", "call_id": "c1", "output": "ok", "name": "f"},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "d"}]},
    ],
    "instructions": "i",
    "stream": True,
    "tools": [
        {"type": "function", "name": "f", "parameters": SCHEMA, "output_schema": {}},
        {"type": "web_search", "search_context_size": "low"},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []},
    "parallel_tool_calls": False,
    "max_output_tokens": 9,
    "max_tool_calls": 2,
    "temperature": 1,
    "top_p": 0.5,
    "top_logprobs": 2,
    "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto", "context": "all_turns"},
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    "store": False,
    "truncation": "auto",
    "metadata": {"a": "b"},
    "safety_identifier": "s",
    "user": "u",
    "prompt_cache_key": "k",
    "service_tier": "flex",
    "stream_options": {"include_obfuscation": False},
    "moderation": {"model": "m"},
}


def test_a_responses_request_comes_out_as_it_went_in() -> None:
    got = write_request(read_request(EVERYTHING), TARGET)
    assert got.document == EVERYTHING
    assert got.dropped == ()


def test_reading_again_gives_the_same() -> None:
    first = read_request(EVERYTHING)
    assert msgspec.json.encode(read_request(write_request(first, TARGET).document)) == msgspec.json.encode(first)
