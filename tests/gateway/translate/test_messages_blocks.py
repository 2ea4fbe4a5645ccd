"""A Messages request, read: its content, and what is refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.translate.messages_requests import USER, assistant, request, user

from interlock.errors import LocalError
from interlock.gateway.translate.carrier import Carried, carry
from interlock.gateway.translate.messages import read_request
from interlock.gateway.translate.neutral import (
    Document,
    Image,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)

P = "messages[0].content[0]"


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
            Text(text="a", cache='{"type":"ephemeral"}', path=P),
        ),
        ({"type": "image", "source": {"type": "url", "url": "https://x/a.png"}}, Image(url="https://x/a.png", path=P)),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
            Image(media_type="image/png", data="AA==", path=P),
        ),
        (
            {"type": "document", "title": "t", "source": {"type": "url", "url": "u"}},
            Document(url="u", media_type="application/pdf", name="t", path=P),
        ),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="}},
            Document(media_type="application/pdf", data="AA==", path=P),
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}},
            Document(media_type="text/plain", text="a", path=P),
        ),
        (
            {"type": "document", "source": {"type": "content", "content": "a"}},
            Document(media_type="text/plain", text="a", path=P),
        ),
        (
            {
                "type": "document",
                "source": {"type": "content", "content": [{"type": "text", "text": t} for t in ("a", "b")]},
            },
            Document(media_type="text/plain", text="a\n\nb", path=P),
        ),
        ({"type": "tool_result", "tool_use_id": "i"}, ToolResult(id="i", parts=(), path=P)),
        (
            {"type": "tool_result", "tool_use_id": "i", "content": "a", "is_error": True},
            ToolResult(id="i", parts=(Text(text="a", path=P + ".content"),), error=True, path=P),
        ),
        (
            {
                "type": "tool_result",
                "tool_use_id": "i",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image", "source": {"type": "url", "url": "u"}},
                    {"type": "document", "source": {"type": "text", "data": "b"}},
                ],
            },
            ToolResult(
                id="i",
                parts=(
                    Text(text="a", path=P + ".content[0]"),
                    Image(url="u", path=P + ".content[1]"),
                    Document(media_type="text/plain", text="b", path=P + ".content[2]"),
                ),
                path=P,
            ),
        ),
    ],
)
def test_blocks_of_the_user(block: dict[str, Any], part: object) -> None:
    ask = read_request(user(block))
    assert ask.turns[0].parts == (part,)
    assert ask.fields == {}


Q = "messages[1].content[0]"


def _carrier(kind: Any) -> str:
    return carry(Carried(family="gpt", kind=kind, seal="s", id="rs_1"))


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "tool_use", "id": "i", "name": "f", "input": {"a": [1.0, 2, 1e22], "b": 12345678901234567890123}},
            ToolCall(id="i", name="f", arguments='{"a":[1.0,2,1e22],"b":12345678901234567890123}', path=Q),
        ),
        ({"type": "tool_use", "id": "i", "name": "f", "input": {}}, ToolCall(id="i", name="f", arguments="{}", path=Q)),
        (
            {"type": "thinking", "thinking": "", "signature": "abc"},
            Reasoning(kind="thinking", seal="abc", path=Q),
        ),
        (
            {"type": "thinking", "thinking": "hm", "signature": _carrier("item")},
            Reasoning(kind="item", text="hm", seal="s", id="rs_1", family="gpt", path=Q),
        ),
        ({"type": "redacted_thinking", "data": "d"}, Reasoning(kind="redacted", seal="d", path=Q)),
        (
            {"type": "redacted_thinking", "data": _carrier("redacted")},
            Reasoning(kind="redacted", seal="s", id="rs_1", family="gpt", path=Q),
        ),
    ],
)
def test_blocks_of_the_assistant(block: dict[str, Any], part: object) -> None:
    ask = read_request(assistant(block))
    assert ask.turns[1].parts == (part,)
    assert ask.fields == {}


def test_system_messages_are_instructions_at_the_start_and_turns_later() -> None:
    system = {"role": "system", "content": "S"}
    ask = read_request(request(system="T", messages=[system, USER, system]))
    assert ask.instructions == (Text(text="T", path="system"), Text(text="S", path="messages[0].content"))
    assert [turn.role for turn in ask.turns] == ["user", "system"]


@pytest.mark.parametrize("cited", [False, True])
def test_a_document_of_blocks_keeps_what_text_cannot_say(cited: bool) -> None:
    image = {"type": "image", "source": {"type": "url", "url": "u"}}
    texts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    source = {"type": "content", "content": texts if cited else [*texts, image]}
    ask = read_request(user({"type": "document", "source": source, "citations": {"enabled": cited}}))
    assert ask.turns[0].parts == (Document(media_type="text/plain", text="a\n\nb", path=P),)
    assert ask.fields[P + ".source"] == source


def _kind(kind: str) -> dict[str, Any]:
    return {"type": kind}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (request(messages=None), "messages"),
        (request(messages=[1]), "messages[0]"),
        (request(messages=[{"role": "tool", "content": ""}]), "messages[0].role"),
        (request(messages=[{"role": [], "content": ""}]), "messages[0].role"),
        (request(messages=[{"role": "user"}]), "messages[0].content"),
        (request(messages=[{"role": "user", "content": ["a"]}]), "messages[0].content[0]"),
        (request(system=3), "system"),
        (request(system=[_kind("image")]), "system[0].type"),
        (request(max_tokens=1.5), "max_tokens"),
        (request(max_tokens=-1), "max_tokens"),
        (request(max_tokens=True), "max_tokens"),
        (request(temperature="1"), "temperature"),
        (request(temperature=float("inf")), "temperature"),
        (request(stop_sequences="a"), "stop_sequences"),
        (request(stop_sequences=["a", 1]), "stop_sequences[1]"),
        (request(stream=1), "stream"),
        (request(metadata={"user_id": 1}), "metadata.user_id"),
        (request(tools={}), "tools"),
        (request(tools=[{"name": "f"}]), "tools[0].input_schema"),
        (request(tools=[{"input_schema": {}}]), "tools[0].name"),
        (request(tools=[{"type": 1}]), "tools[0].type"),
        (request(tool_choice="auto"), "tool_choice"),
        (request(tool_choice={"type": "tool"}), "tool_choice.name"),
        (request(tool_choice={"type": "some"}), "tool_choice.type"),
        (request(thinking={"type": "enabled"}), "thinking.budget_tokens"),
        (request(thinking={"type": "deep"}), "thinking.type"),
        (request(output_config={"effort": "minimal"}), "output_config.effort"),
        (request(output_config={"effort": []}), "output_config.effort"),
        (request(output_config={"format": {"type": "grammar"}}), "output_config.format.type"),
        (request(output_config={"format": {"type": "json_schema"}}), "output_config.format.schema"),
        (user(_kind("tool_use")), P + ".type"),
        (user(_kind("search_result")), P + ".type"),
        (user(_kind("container_upload")), P + ".type"),
        (user({"type": "text"}), P + ".text"),
        (user({"type": "text", "text": "a", "cache_control": "x"}), P + ".cache_control"),
        (user({"type": "image", "source": {"type": "file", "file_id": "f"}}), P + ".source.type"),
        (user({"type": "document", "source": {"type": "file", "file_id": "f"}}), P + ".source.type"),
        (user({"type": "document"}), P + ".source.type"),
        (
            user({"type": "document", "source": {"type": "content", "content": [_kind("x")]}}),
            P + ".source.content[0].type",
        ),
        (user({"type": "tool_result"}), P + ".tool_use_id"),
        (
            user({"type": "tool_result", "tool_use_id": "i", "content": [_kind("search_result")]}),
            P + ".content[0].type",
        ),
        (user({"type": "tool_result", "tool_use_id": "i", "is_error": "no"}), P + ".is_error"),
        (assistant(_kind("server_tool_use")), Q + ".type"),
        (assistant(_kind("web_search_tool_result")), Q + ".type"),
        (assistant(_kind("mcp_tool_use")), Q + ".type"),
        (assistant(_kind("tool_result")), Q + ".type"),
        (assistant({"text": "a"}), Q + ".type"),
        (assistant({"type": "tool_use", "id": "i", "name": "f", "input": "{}"}), Q + ".input"),
        (assistant({"type": "tool_use", "id": "i", "name": "f"}), Q + ".input"),
    ],
)
def test_what_is_refused_by_its_path(document: dict[str, Any], field: str) -> None:
    with pytest.raises(LocalError) as refusal:
        read_request(document)
    assert refusal.value.field == field
    assert refusal.value.code == "invalid_request"


def test_a_refused_block_says_what_is_understood() -> None:
    with pytest.raises(LocalError, match=r"server_tool_use.*understood in assistant: text, thinking"):
        read_request(assistant(_kind("server_tool_use")))


NAMES = (
    "model max_tokens messages system role content type text source url data media_type tools name input_schema"
    " tool_choice thinking budget_tokens output_config effort format schema metadata user_id stop_sequences id input"
    " tool_use_id signature cache_control citations title"
)
WORDS = "user assistant system text image document tool_result tool_use thinking url base64 content enabled"
_names = st.sampled_from(NAMES.split(" "))
_words = st.sampled_from(WORDS.split(" "))
_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _words | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=5),
    max_leaves=25,
)


@given(st.dictionaries(_names, _json, max_size=8), st.lists(st.dictionaries(_names, _json, max_size=4), max_size=3))
def test_nothing_but_a_local_error_is_raised(document: dict[str, Any], messages: list[Any]) -> None:
    for given_messages in (document.get("messages"), messages):
        try:
            ask = read_request(document | {"messages": given_messages})
        except LocalError as refusal:
            assert refusal.field
        else:
            assert msgspec.json.encode(ask.fields)
