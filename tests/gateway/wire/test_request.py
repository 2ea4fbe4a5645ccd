"""What is read of a request, and what is said of one that cannot be read."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.errors import LocalError
from interlock.gateway.wire import Call, read
from interlock.ledger import Format

USER = {"role": "user", "content": "hi"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 4000}}
SESSION = "0b0e9a2c-7d39-4d6b-8d0e-2f6a5f1c9b11"


def call(format: Format, document: dict[str, Any]) -> Call:
    return read(format, json.dumps({"model": "m", **document}).encode())


def chat(*messages: object, **rest: Any) -> Call:
    return call("chat", {"messages": list(messages) or [USER], **rest})


def messages(*given: object, **rest: Any) -> Call:
    return call("messages", {"messages": list(given) or [USER], "max_tokens": 1000, **rest})


def responses(input: object = "hi", **rest: Any) -> Call:
    return call("responses", {"input": input, **rest})


def test_a_plain_chat_call() -> None:
    body = b'{"model":"gpt-5","messages":[{"role":"user","content":"hi"}]}'
    assert read("chat", body) == Call(
        format="chat",
        model="gpt-5",
        stream=False,
        max_output=None,
        tools=False,
        tool_result=False,
        images=False,
        reasoning=False,
        schema=False,
        chore=False,
        messages=1,
        session="",
        input_estimate=(len(body) + 3) // 4,
        includes_usage=False,
        stream_options=False,
        sealed=False,
        opening="622f895b4de0b6f89bd8c804",
    )


def test_stream_and_limits() -> None:
    got = chat(stream=True, max_tokens=5, max_completion_tokens=7, stream_options={"include_usage": True})
    assert (got.stream, got.max_output, got.includes_usage, got.stream_options) == (True, 7, True, True)
    got = chat(stream=None, max_tokens=5, stream_options={"include_obfuscation": False})
    assert (got.stream, got.max_output, got.includes_usage, got.stream_options) == (False, 5, False, True)
    assert chat(max_tokens=-1).max_output is None
    assert messages().max_output == 1000
    assert responses(max_output_tokens=9).max_output == 9


def test_tools() -> None:
    assert chat(tools=[{"type": "function"}]).tools
    assert chat(functions=[{"name": "f"}]).tools
    assert not chat(tools=[]).tools
    assert not chat(tools=None).tools
    assert messages(tools=[{"name": "f"}]).tools
    assert responses(tools=[{"type": "function"}]).tools
    assert responses([{"type": "additional_tools", "role": "developer", "tools": [{}]}]).tools


def test_tool_result_is_of_the_last_message() -> None:
    tool = {"role": "tool", "tool_call_id": "c", "content": "42"}
    assert chat(USER, tool).tool_result
    assert not chat(USER, tool, USER).tool_result
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}, {"type": "text", "text": "x"}]}
    assert messages(USER, result).tool_result
    assert not messages(result, USER).tool_result
    output = {"type": "function_call_output", "call_id": "c", "output": "42"}
    assert responses([USER, output]).tool_result
    assert responses([{"type": "custom_tool_call_output", "call_id": "c", "output": "42"}]).tool_result
    assert not responses([output, USER]).tool_result
    assert not responses([]).tool_result


@pytest.mark.parametrize(
    "got",
    [
        chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x," + "A" * 4000}}]}),
        chat({"role": "tool", "content": [{"type": "image_url", "image_url": "data:x," + "A" * 4000}]}),
        messages({"role": "user", "content": [IMAGE]}),
        messages({"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text"}, IMAGE]}]}),
        messages(
            {"role": "user", "content": [{"type": "document", "source": {"type": "content", "content": [IMAGE]}}]}
        ),
        messages(system=[IMAGE]),
        responses([{"role": "user", "content": [{"type": "input_image", "image_url": "data:" + "A" * 4000}]}]),
        responses([{"type": "function_call_output", "output": [{"type": "input_image", "image_url": "A" * 4000}]}]),
        responses(
            [{"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": "A" * 4000}}]
        ),
    ],
)
def test_images_are_found_and_counted_as_images(got: Call) -> None:
    assert got.images
    assert 1600 < got.input_estimate < 1700


def test_other_attachments_are_not_images() -> None:
    pdf = {"type": "document", "source": {"type": "base64", "data": "A" * 4000}}
    got = messages({"role": "user", "content": [pdf]})
    assert not got.images
    assert 1600 < got.input_estimate < 1700
    text = {"type": "document", "source": {"type": "text", "data": "A" * 4000}}
    assert 1000 < messages({"role": "user", "content": [text]}).input_estimate < 1100
    audio = {"type": "input_audio", "input_audio": {"data": "A" * 4000, "format": "wav"}}
    assert 1600 < chat({"role": "user", "content": [audio]}).input_estimate < 1700
    drawn = {"type": "image_generation_call", "id": "i", "result": "A" * 4000}
    got = responses([drawn])
    assert (got.images, 1600 < got.input_estimate < 1700) == (False, True)


def test_the_word_image_in_text_is_not_an_image() -> None:
    assert not chat({"role": "user", "content": '{"type":"image_url"}'}).images
    assert not chat({"role": "user", "content": [{"type": "text", "text": '"type":"image"'}]}).images


def test_reasoning() -> None:
    assert chat(reasoning_effort="low").reasoning
    assert not chat(reasoning_effort="none").reasoning
    assert chat(reasoning={"max_tokens": 5}).reasoning
    assert not chat(reasoning={"enabled": False}).reasoning
    assert messages(thinking={"type": "enabled", "budget_tokens": 1024}).reasoning
    assert messages(thinking={"type": "adaptive"}).reasoning
    assert not messages(thinking={"type": "disabled"}).reasoning
    assert responses(reasoning={"effort": "high"}).reasoning
    assert responses(reasoning={"summary": "auto"}).reasoning
    assert not responses(reasoning={"effort": "none", "summary": "auto"}).reasoning
    assert not responses(reasoning={"effort": None}).reasoning


def test_schema() -> None:
    assert chat(response_format={"type": "json_schema", "json_schema": {}}).schema
    assert chat(response_format={"type": "json_object"}).schema
    assert not chat(response_format={"type": "text"}).schema
    assert not chat(response_format={"type": []}).schema
    assert responses(text={"format": {"type": "json_schema"}}).schema
    assert not responses(text={"verbosity": "low"}).schema
    assert messages(output_config={"format": {"type": "json_schema"}}).schema
    assert not messages(output_config={"effort": "low"}).schema


def test_chore() -> None:
    system = {"role": "system", "content": "Write a title."}
    assert chat(system, USER, max_tokens=256).chore
    assert not chat(system, USER).chore
    assert not chat(system, USER, max_tokens=257).chore
    assert not chat(system, USER, USER, max_tokens=20).chore
    assert not chat(system, max_tokens=20).chore
    assert not chat(USER, max_tokens=20, tools=[{}]).chore
    assert not chat(USER, max_tokens=20, reasoning_effort="low").chore
    assert messages(max_tokens=20, system="x").chore
    assert not messages({"role": "user", "content": [IMAGE]}, max_tokens=20).chore
    assert responses("hi", max_output_tokens=20, instructions="x").chore
    assert responses([{"role": "developer", "content": "x"}, USER], max_output_tokens=20).chore
    assert not responses([USER, {"type": "function_call", "name": "f"}], max_output_tokens=20).chore


SEALED = [
    ("chat", {"role": "assistant", "content": "a", "reasoning_details": [{"type": "reasoning.text"}]}),
    ("messages", {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": "s"}]}),
    ("messages", {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "s"}]}),
    ("responses", {"type": "reasoning", "summary": [], "encrypted_content": "s"}),
]
"""Where translators look for a carrier: chat/reasoning.py, messages/content.py, responses/items_in.py."""


@pytest.mark.parametrize(("format", "turn"), SEALED)
def test_reasoning_that_came_back_is_seen(format: Format, turn: dict[str, Any]) -> None:
    """Else a carrier would pass for a provider's own signature."""
    name = "input" if format == "responses" else "messages"
    user = {"role": "user", "content": [{"type": "input_text" if format == "responses" else "text", "text": "a"}]}
    body = {"model": "m", "max_tokens": 9, name: [user, turn, user]}
    assert call(format, body).sealed
    assert not call(format, body | {name: [user]}).sealed


@pytest.mark.parametrize("kind", [["thinking"], {"type": "thinking"}, 1, None])
def test_a_kind_that_is_no_string_is_none_that_is_known(kind: object) -> None:
    assert not messages({"role": "user", "content": [{"type": kind}]}).sealed


def test_session() -> None:
    assert chat(session_id="s1").session == "s1"
    assert chat(metadata={"session_id": "s2"}).session == "s2"
    assert chat(prompt_cache_key="shared by many sessions", user="u").session == ""
    assert chat(session_id="x" * 257).session == ""
    assert responses(conversation="conv_1").session == "conv_1"
    assert responses(conversation={"id": "conv_2"}).session == "conv_2"
    assert messages(metadata={"user_id": f"user_{'a' * 64}_account__session_{SESSION}"}).session == SESSION
    assert messages(metadata={"user_id": json.dumps({"device_id": "d", "session_id": SESSION})}).session == SESSION
    for user_id in ("u1", "{", "[]", "{}", f"_session_{SESSION}x", None, 5):
        assert messages(metadata={"user_id": user_id}).session == ""


def test_responses_without_input() -> None:
    assert responses(None, previous_response_id="resp_1").messages == 0
    assert responses(None, prompt={"id": "p"}).messages == 0
    assert responses("hi").messages == 1


@pytest.mark.parametrize(
    ("format", "change", "field"),
    [
        ("chat", {"model": None}, "model"),
        ("chat", {"model": ""}, "model"),
        ("chat", {"model": "x" * 257}, "model"),
        ("chat", {"model": 5}, "model"),
        ("chat", {"stream": "true"}, "stream"),
        ("chat", {"stream": 1}, "stream"),
        ("chat", {"messages": None}, "messages"),
        ("chat", {"messages": {}}, "messages"),
        ("chat", {"messages": []}, "messages"),
        ("chat", {"messages": [USER, 5]}, "messages[1]"),
        ("chat", {"messages": [USER, {"content": "x"}]}, "messages[1].role"),
        ("chat", {"messages": [USER, {"role": 7}]}, "messages[1].role"),
        ("chat", {"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ("chat", {"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ("chat", {"messages": [USER] * 100_001}, "messages"),
        ("chat", {"tools": {}}, "tools"),
        ("chat", {"max_tokens": "5"}, "max_tokens"),
        ("chat", {"max_tokens": 1.5}, "max_tokens"),
        ("chat", {"max_tokens": True}, "max_tokens"),
        ("chat", {"max_completion_tokens": 1 << 60}, "max_completion_tokens"),
        ("chat", {"stream_options": []}, "stream_options"),
        ("chat", {"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ("chat", {"response_format": "json"}, "response_format"),
        ("messages", {"thinking": True}, "thinking"),
        ("messages", {"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [1]}]}]},
            "messages[0].content[0].content[0]",
        ),
        ("messages", {"system": [3]}, "system[0]"),
        ("messages", {"output_config": 1}, "output_config"),
        ("responses", {"input": None}, "input"),
        ("responses", {"input": {}}, "input"),
        ("responses", {"input": ["x"]}, "input[0]"),
        ("responses", {"input": [{"type": 5}]}, "input[0].type"),
        ("responses", {"input": [{"role": []}]}, "input[0].role"),
        ("responses", {"input": [{"type": "function_call_output", "output": [1]}]}, "input[0].output[0]"),
        ("responses", {"text": []}, "text"),
        ("responses", {"text": {"format": []}}, "text.format"),
    ],
)
def test_what_cannot_be_read_is_named(format: Format, change: dict[str, Any], field: str) -> None:
    given = {"messages": [USER], "input": "hi", **change}
    with pytest.raises(LocalError) as raised:
        call(format, given)
    assert (raised.value.code, raised.value.field) == ("invalid_request", field)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"model":"a","model":"b"}', "duplicate_key"),
        (b"[]", "invalid_request"),
        (b"null", "invalid_request"),
        (b'"x"', "invalid_request"),
    ],
)
def test_what_is_not_one_json_object(body: bytes, code: str) -> None:
    with pytest.raises(LocalError) as raised:
        read("chat", body)
    assert raised.value.code == code


NAMES = st.sampled_from(
    [
        *("model", "messages", "input", "role", "content", "type", "source", "data", "output", "stream", "tools"),
        *("stream_options", "include_usage", "text", "format", "thinking", "reasoning", "metadata", "user_id"),
        *("session_id", "max_tokens", "conversation", "response_format", "image_url", "url"),
    ]
)
KINDS = st.sampled_from(
    ["image", "image_url", "document", "tool_result", "input_image", "file", "additional_tools", "text"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    format=st.sampled_from(["chat", "messages", "responses"]),
    document=st.dictionaries(NAMES, JSON),
    parts=st.lists(
        st.dictionaries(NAMES, JSON) | st.builds(lambda d, k: {**d, "type": k}, st.dictionaries(NAMES, JSON), KINDS)
    ),
)
def test_whatever_is_sent_is_read_or_refused(format: Format, document: dict[str, Any], parts: list[Any]) -> None:
    for rest in ({}, {"model": "m"}, {"model": "m", "messages": [{"role": "user", "content": parts}], "input": parts}):
        try:
            assert read(format, json.dumps({**document, **rest}).encode()).input_estimate > 0
        except LocalError as error:
            assert error.code == "invalid_request"
            assert error.field
