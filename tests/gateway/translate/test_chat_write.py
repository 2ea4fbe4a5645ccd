"""A Chat Completions request, written; and a chat client's own, written again."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.translate.chat_requests import CALL, FUNCTION, GPT, HELLO, PDF, PNG, QWEN

from interlock.errors import LocalError
from interlock.gateway.translate.chat import read_request, write_request
from interlock.gateway.translate.neutral import (
    Ask,
    Document,
    Image,
    Part,
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
from interlock.ledger import Format


def asked(format: Format = "messages", *parts: Part, **fields: Any) -> Ask:
    turn = Turn(role="user", parts=parts or (Text(text="hello"),), path="messages[0]")
    return Ask(**{"format": format, "stream": False, "turns": (turn,), **fields})


def test_attachments_of_results_follow_in_the_users_message() -> None:
    image = Image(media_type="image/png", data="AA==", path="messages[0].content[0].content[1]")
    result = ToolResult(
        id="bad id", parts=(Text(text="shot"), image), error=True, path="messages[0].content[0]", cache="{}"
    )
    other = ToolResult(id="t2", parts=(), path="messages[0].content[1]")
    written = write_request(asked("messages", result, other, Text(text="what is it?")), GPT)
    first, second, third = written.document["messages"]
    assert (first["role"], first["content"]) == ("tool", "shot")
    assert second == {"role": "tool", "tool_call_id": "t2", "content": ""}
    assert third["role"] == "user"
    assert [part["type"] for part in third["content"]] == ["text", "image_url", "text"]
    assert first["tool_call_id"] in third["content"][0]["text"]
    assert third["content"][2]["text"] == "what is it?"
    assert written.dropped == ("messages[0].content[0].is_error", "messages[0].content[0].cache_control")
    call = ToolCall(id="bad id", name="f", arguments="{}")
    ask = Ask(format="messages", stream=False, turns=(Turn(role="assistant", parts=(call,)),))
    (message,) = write_request(ask, GPT).document["messages"]
    assert message["tool_calls"][0]["id"] == first["tool_call_id"] != "bad id"
    alone = write_request(asked("messages", msgspec.structs.replace(result, parts=(image,))), GPT).document["messages"]
    assert [(m["role"], m["content"] != "") for m in alone] == [("tool", False), ("user", True)]


def test_documents() -> None:
    named = Document(text="body", media_type="text/plain", name="Title")
    pdf = Document(data="JVBERi0=", media_type="application/pdf")
    content = write_request(asked("messages", named, pdf), GPT).document["messages"][0]["content"]
    assert content == [
        {"type": "text", "text": "Title\n\nbody"},
        {"type": "file", "file": {"filename": "document.pdf", "file_data": PDF}},
    ]
    with pytest.raises(LocalError) as raised:
        write_request(asked("messages", Document(url="https://x", path="messages[0].content[0]")), GPT)
    assert raised.value.field == "messages[0].content[0]"


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (GPT, "max_completion_tokens"),
        (Target(model="o3-mini", family="o3"), "max_completion_tokens"),
        (Target(model="gpt-oss:20b", family="gpt"), "max_tokens"),
        (QWEN, "max_tokens"),
        (Target(model="mistral-large", family="mistral"), "max_tokens"),
    ],
)
def test_the_limits_name_depends_on_who_answers(target: Target, name: str) -> None:
    written = write_request(asked(max_output=7), target).document
    assert {key: value for key, value in written.items() if key.startswith("max")} == {name: 7}


@pytest.mark.parametrize(
    ("fields", "expected", "dropped"),
    [
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}, ()),
        ({"stop": ("a", "b", "c", "d", "e")}, {"stop": ["a", "b", "c", "d", "e"]}, ()),
        ({"temperature": 0.0, "top_p": 1.0}, {"temperature": 0.0, "top_p": 1.0}, ()),
        ({"schema": Schema()}, {"response_format": {"type": "json_object"}}, ()),
        (
            {"schema": Schema(schema={"a": 1}, strict=True)},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "output", "schema": {"a": 1}, "strict": True},
                }
            },
            (),
        ),
        ({"reasoning": Thinks(effort="low", summary="omitted")}, {"reasoning_effort": "low"}, ("thinking.display",)),
        ({"reasoning": Thinks(off=True)}, {"reasoning_effort": "none"}, ()),
        ({"reasoning": Thinks(adaptive=True)}, {}, ("thinking",)),
        ({"reasoning": Thinks(budget_tokens=1024)}, {"reasoning_effort": "low"}, ("thinking.budget_tokens",)),
        ({"reasoning": Thinks(budget_tokens=10_000)}, {"reasoning_effort": "medium"}, ("thinking.budget_tokens",)),
        ({"reasoning": Thinks(budget_tokens=31_999)}, {"reasoning_effort": "high"}, ("thinking.budget_tokens",)),
        (
            {"reasoning": Thinks(budget_tokens=31_999, effort="low")},
            {"reasoning_effort": "low"},
            ("thinking.budget_tokens",),
        ),
        ({"user": "u"}, {"user": "u"}, ()),
        ({"user": "u" * 65}, {}, ("metadata.user_id",)),
        (
            {"tools": (Tool(name="f", cache="{}", path="tools[0]"),), "parallel": False},
            {
                "tools": [
                    {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
                ],
                "parallel_tool_calls": False,
            },
            ("tools[0].cache_control",),
        ),
        ({"tool_choice": ToolChoice(kind="any"), "parallel": False}, {}, ()),
        (
            {"tools": (Tool(name="f", schema={"a": 1}),), "tool_choice": ToolChoice(kind="tool", name="f")},
            {
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": 1}}}],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
            },
            (),
        ),
        ({"fields": {"service_tier": "auto"}}, {}, ("service_tier",)),
    ],
)
def test_what_other_clients_say(fields: dict[str, Any], expected: dict[str, Any], dropped: tuple[str, ...]) -> None:
    written = write_request(asked(**fields), GPT)
    assert written.document == {"model": "gpt-6", "messages": [HELLO], **expected}
    assert written.dropped == dropped


@pytest.mark.parametrize(
    ("fields", "path"),
    [({"top_k": 5}, "top_k"), ({"fields": {"mcp_servers": []}}, "mcp_servers"), ({"fields": {"x.y": 1}}, "x.y")],
)
def test_what_chat_cannot_say_is_refused_by_the_clients_name(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(LocalError) as raised:
        write_request(asked(**fields), GPT)
    assert raised.value.field == path


@pytest.mark.parametrize(
    "part",
    [
        Reasoning(kind="plain", text="t", path="p"),
        ToolCall(id="a", name="b", arguments="{}", path="p"),
        Refusal(text="t", path="p"),
    ],
)
def test_a_user_says_no_such_thing(part: Part) -> None:
    with pytest.raises(LocalError, match="p: cannot be translated"):
        write_request(asked("messages", part), GPT)


def test_hints_of_responses_reach_openai_only() -> None:
    fields = {
        "text.verbosity": "low",
        "prompt_cache_key": "k",
        "stream_options.include_obfuscation": False,
        "store": True,
    }
    written = write_request(asked("responses", fields=fields, stream=True), GPT)
    assert (written.document["verbosity"], written.document["prompt_cache_key"]) == ("low", "k")
    assert written.document["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert written.dropped == ("store",)
    whole = write_request(asked("responses", fields=fields), GPT)
    assert "stream_options" not in whole.document
    assert set(whole.dropped) == {"store", "stream_options.include_obfuscation"}
    assert set(write_request(asked("responses", fields=fields), QWEN).dropped) == set(fields)


def test_everything_a_chat_client_said_reaches_chat() -> None:
    document = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s", "name": "boss"},
            {"role": "user", "content": [{"type": "text", "text": "t", "x_part": 1}], "cache_control": {"a": 1}},
            {
                "role": "assistant",
                "content": "a",
                "annotations": [{"type": "url_citation"}],
                "tool_calls": [
                    {**CALL, "extra_content": {"google": 1}, "function": {**CALL["function"], "x_function": 2}}  # type: ignore[dict-item]  # a dict
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "r", "x_result": 3},
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "u", "x_image": 4}},
                    {"type": "file", "file": {"filename": "f", "file_data": PDF, "x_file": 5}},
                    {"type": "file", "file": {"filename": "f", "file_data": "https://x/y.pdf"}},
                ],
                "name": "bob",
            },
        ],
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
        "tools": [{"type": "function", "function": {**FUNCTION, "x_tool": 6}, "cache_control": {"b": 1}, "x": 7}],
        "tool_choice": {"type": "function", "function": {"name": "f", "x": 8}, "x_choice": 9},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "x": 10}, "x_format": 11},
        "parallel_tool_calls": False,
        "max_completion_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.5,
        "top_k": 5,
        "stop": ["a", "b", "c", "d", "e"],
        "reasoning_effort": "low",
        "user": "u" * 70,
        "safety_identifier": "other",
        "seed": 0,
        "logprobs": True,
        "top_logprobs": 3,
        "frequency_penalty": 0.1,
        "logit_bias": {"5": 1},
        "metadata": {"a": "b"},
        "web_search_options": {},
        "chat_template_kwargs": {"enable_thinking": False},
    }
    written = write_request(read_request(document), msgspec.structs.replace(GPT, model="m"))
    assert written.document == document
    assert written.dropped == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "url", "x"]), inner),
    max_leaves=4,
)
NAMES = [
    *("role", "content", "tool_calls", "tool_call_id", "function", "function_call", "name", "arguments", "id", "index"),
    *("type", "text", "image_url", "url", "file", "file_data", "refusal", "audio", "annotations", "cache_control"),
    *("reasoning", "reasoning_content", "reasoning_details", "signature", "data"),
]
WORDS = st.sampled_from(
    ["user", "system", "assistant", "tool", "function", "text", "image_url", "file", "refusal", "f", PNG, PDF, "auto"]
)
MESSAGE = st.recursive(
    WORDS | JSON,
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=12,
)
TOP = st.sampled_from(
    [
        *("stream", "stream_options", "tools", "functions", "tool_choice", "function_call", "stop", "n", "user"),
        *("response_format", "reasoning_effort", "max_tokens", "temperature", "modalities", "audio", "seed", "model"),
    ]
)
CHATS = st.builds(
    lambda messages, rest: {**rest, "messages": messages},
    st.lists(
        st.builds(lambda role, rest: {"role": role, **rest}, WORDS, st.dictionaries(st.sampled_from(NAMES), MESSAGE)),
        max_size=4,
    )
    | JSON,
    st.dictionaries(TOP, MESSAGE, max_size=4),
)


@given(CHATS)
def test_whatever_comes_is_read_or_refused_by_name_and_what_is_read_can_be_said_again(document: dict[str, Any]) -> None:
    try:
        ask = read_request(document)
    except LocalError as error:
        assert error.field
        return
    try:
        written = write_request(ask, GPT)
    except LocalError as error:  # a member where it means nothing: nobody took it, and it is refused as it was named
        assert error.field in ask.fields
        return
    assert [path for path in written.dropped if "reasoning" not in path] == []
    again = read_request(written.document)
    assert write_request(again, GPT).document == written.document
    msgspec.json.encode(written.document)
