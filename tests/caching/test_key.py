"""Which calls qualify, and when two are the same question."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.caching import key_of, members_of, why_not

CHAT: dict[str, Any] = {"model": "auto", "temperature": 0, "messages": [{"role": "user", "content": "hello"}]}
MESSAGES: dict[str, Any] = {**CHAT, "max_tokens": 10}
RESPONSES: dict[str, Any] = {"model": "auto", "temperature": 0, "input": "hello", "store": False}
EMBEDDINGS: dict[str, Any] = {"model": "auto", "input": "hello"}
PLAIN = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES, "embeddings": EMBEDDINGS}


def judged(format: str, document: dict[str, Any], **changes: Any) -> str:
    return why_not(format, members_of(msgspec.json.encode({**document, **changes})))


@pytest.mark.parametrize("format", PLAIN)
def test_a_plain_call_qualifies(format: str) -> None:
    assert judged(format, PLAIN[format]) == ""


def part(**members: Any) -> list[Any]:
    return [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, members]}]


DATA = "data:image/png;base64,aGk="
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"url": {"type": "string"}}}}}
CALLED = {"type": "tool_use", "id": "t", "name": "fetch", "input": {"url": "https://a.example", "file_id": "f"}}

QUALIFIES = [
    ("chat", {"temperature": 0.0}),
    ("chat", {"n": 1, "store": None, "modalities": ["text"], "tools": [FUNCTION], "seed": 7}),
    ("chat", {"web_search_options": None, "audio": None, "plugins": [], "background": False}),
    ("chat", {"messages": part(type="image_url", image_url={"url": DATA})}),
    ("messages", {"messages": [{"role": "assistant", "content": [CALLED]}]}),
    ("messages", {"tools": [{"name": "f", "input_schema": {}}, {"type": "custom", "name": "g", "input_schema": {}}]}),
    ("messages", {"messages": part(type="image", source={"type": "base64", "data": "aGk="})}),
    ("responses", {"previous_response_id": None, "tools": [{"type": "function", "name": "f"}]}),
    ("responses", {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"url":"x"}'}]}),
    ("embeddings", {"encoding_format": "base64", "anything": True}),
]
REFUSED = [
    ("chat", {"temperature": None}, "temperature"),
    ("chat", {"temperature": 0.01}, "temperature"),
    ("chat", {"temperature": False}, "temperature"),
    ("chat", {"temperature": "0"}, "temperature"),
    ("chat", {"temperature": None, "seed": 7}, "temperature"),
    ("chat", {"n": 2}, "n"),
    ("chat", {"store": True}, "store"),
    ("chat", {"modalities": ["text", "audio"]}, "modalities"),
    ("chat", {"audio": {"voice": "alloy"}}, "audio"),
    ("chat", {"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
    ("chat", {"plugins": [{"id": "web"}]}, "plugins"),
    ("chat", {"enable_search": True}, "enable_search"),
    ("chat", {"messages": part(type="image_url", image_url={"url": "https://a.example/cat.png"})}, "messages"),
    ("chat", {"messages": part(type="file", file={"file_id": "file-1"})}, "messages"),
    ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
    ("messages", {"tools": ["?"]}, "tools"),
    ("messages", {"mcp_servers": [{"url": "https://a.example"}]}, "mcp_servers"),
    ("messages", {"container": "c"}, "container"),
    ("messages", {"messages": part(type="image", source={"type": "url", "url": "https://a.example"})}, "messages"),
    ("messages", {"messages": part(type="document", source={"type": "file", "file_id": "f"})}, "messages"),
    (
        "messages",
        {"messages": part(type="tool_result", content=[{"type": "image", "source": {"url": "http://a"}}])},
        "messages",
    ),
    ("messages", {"system": [{"type": "document", "source": {"url": "http://a"}}]}, "system"),
    ("responses", {"store": None}, "store"),
    ("responses", {"store": True}, "store"),
    ("responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("responses", {"conversation": "conv_1"}, "conversation"),
    ("responses", {"prompt": {"id": "pmpt_1"}}, "prompt"),
    ("responses", {"background": True}, "background"),
    ("responses", {"tools": [{"type": "web_search"}]}, "tools"),
    ("responses", {"tools": [{"type": "mcp", "server_url": "https://a.example"}]}, "tools"),
    ("responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
    ("responses", {"input": [{"type": "additional_tools", "tools": [{"type": "web_search"}]}]}, "input"),
    ("responses", {"input": part(type="input_image", image_url="https://a.example")}, "input"),
    ("responses", {"input": part(type="input_file", file_id="file-1")}, "input"),
    ("count_tokens", {}, "format"),
]


@pytest.mark.parametrize(("format", "changes"), QUALIFIES)
def test_what_lies_in_its_own_words_qualifies(format: str, changes: dict[str, Any]) -> None:
    assert judged(format, PLAIN[format], **changes) == ""


@pytest.mark.parametrize(("format", "changes", "member"), REFUSED)
def test_what_may_be_answered_otherwise_next_time_does_not(format: str, changes: dict[str, Any], member: str) -> None:
    assert judged(format, PLAIN.get(format, MESSAGES), **changes) == member


# keys


def key(format: str = "chat", body: bytes = b"", /, **changes: Any) -> bytes:
    said: dict[str, Any] = {
        "stream": False,
        "headers": {},
        "tenant": "acme",
        "principal": "",
        "place": b"eu|d0",
        **changes,
    }
    return key_of(format, members_of(body or msgspec.json.encode(PLAIN[format])), **said)


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": "other"},
        {"principal": "p"},
        {"place": b"eu|d1"},
        {"stream": True},
        {"headers": {b"anthropic-beta": b"x"}},
        {"headers": {b"openai-beta": b"x"}},
    ],
)
def test_each_of_what_an_answer_depends_on_makes_another_question(changes: dict[str, Any]) -> None:
    assert key(**changes) != key()


def test_the_format_is_part_of_the_question() -> None:
    body = msgspec.json.encode(MESSAGES)
    assert key_of("chat", members_of(body), stream=False, headers={}, tenant="a", principal="", place=b"") != key_of(
        "messages", members_of(body), stream=False, headers={}, tenant="a", principal="", place=b""
    )


def test_neither_who_calls_nor_the_order_of_members_is() -> None:
    same = b'{"temperature":0,"messages":[{"role":"user","content":"hello"}],"model":"auto","stream":false,'
    same += b'"user":"u","metadata":{"session_id":"s"},"prompt_cache_key":"k","stream_options":null}'
    assert key("chat", same) == key("chat")
    assert key("chat", headers={b"traceparent": b"00-1", b"accept": b"*/*"}) == key("chat")


def test_a_name_that_the_answer_repeats_is() -> None:
    assert key("responses", msgspec.json.encode({**RESPONSES, "metadata": {"a": "b"}})) != key("responses")
    assert key("responses", msgspec.json.encode({**RESPONSES, "user": "u"})) != key("responses")


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"auto","temperature":0,"messages":[{"role":"user","content":"hello "}]}',
        b'{"model":"auto","temperature":0,"messages":[{"role":"user", "content":"hello"}]}',
        b'{"model":"auto","temperature":0,"messages":[{"content":"hello","role":"user"}]}',
        b'{"model":"auto","temperature":0.0,"messages":[{"role":"user","content":"hello"}]}',
        b'{"model":"Auto","temperature":0,"messages":[{"role":"user","content":"hello"}]}',
        b'{"model":"auto","temperature":0,"messages":[{"role":"user","content":"hello"}],"max_tokens":9}',
    ],
)
def test_nothing_is_merely_like_another(body: bytes) -> None:
    assert key("chat", body) != key("chat")


def test_a_stream_s_options_are_part_of_a_stream() -> None:
    body = msgspec.json.encode({**CHAT, "stream_options": {"include_usage": True}})
    assert key("chat", body, stream=True) != key("chat", stream=True)
    assert key("chat", body) == key("chat")


def test_parts_do_not_run_into_each_other() -> None:
    assert key(tenant="ab", principal="") != key(tenant="a", principal="b")
    assert key(place=b"p", headers={b"anthropic-beta": b"x"}) != key(place=b"px", headers={})
    one = {b"anthropic-beta": b"x"}
    assert key(headers=one) != key(headers={b"anthropic-version": b"x"}) != key(headers={b"openai-beta": b"x"})


NAMES = st.sampled_from(["a", "b", "ab", "model"])
VALUES = st.sampled_from(["", "a", "b", "ab", "1:a", "a1:b"])


@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES), VALUES, VALUES, VALUES, VALUES)
def test_two_questions_have_one_key_only_if_all_their_parts_are_equal(
    one: dict[str, str], other: dict[str, str], tenant: str, another: str, place: str, elsewhere: str
) -> None:
    first = key("chat", msgspec.json.encode(one), tenant=tenant, place=place.encode())
    second = key("chat", msgspec.json.encode(other), tenant=another, place=elsewhere.encode())
    assert (first == second) is ((one, tenant, place) == (other, another, elsewhere))
