"""A Messages client's own request, written again."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.gateway.translate.messages_writing import LEAST, block, document, text, turn

from interlock.gateway.translate.messages import read_request
from interlock.gateway.translate.neutral import (
    Text,
)

CACHE = {"type": "ephemeral", "ttl": "1h"}
EVERYTHING: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 4000,
    "stream": True,
    "system": [block("text", text="S", cache_control=CACHE)],
    "messages": [
        {
            "role": "user",
            "content": [
                block("text", text="a", cache_control=CACHE),
                block("image", source=block("base64", media_type="image/png", data="AA=="), transformations={"x": "y"}),
                block(
                    "document",
                    source=block("content", content=[block("text", text="1"), block("text", text="2")]),
                    title="t",
                    context="c",
                    citations={"enabled": True},
                ),
            ],
        },
        {
            "role": "assistant",
            "content": [
                block("thinking", thinking="hm", signature="sig"),
                block("redacted_thinking", data="d"),
                block("text", text="b", citations=[{"cited_text": "1"}]),
                block("tool_use", id="toolu_1", name="f", input={"a": 1.0}, toolset_name="s"),
            ],
        },
        {
            "role": "user",
            "content": [
                block(
                    "tool_result",
                    tool_use_id="toolu_1",
                    content=[block("text", text="r"), block("image", source=block("url", url="u"))],
                    is_error=True,
                    cache_control=CACHE,
                ),
                block("text", text="go on"),
            ],
        },
        {"role": "system", "content": [block("text", text="be quick")]},
        {"role": "assistant", "content": [block("text", text="So")]},
    ],
    "tools": [
        block("web_search_20260209", name="web_search", max_uses=3),
        {"name": "f", "input_schema": {"type": "object"}, "input_examples": [{}], "cache_control": CACHE},
        block("bash_20250124", name="bash"),
    ],
    "tool_choice": block("tool", name="f", disable_parallel_tool_use=True),
    "thinking": block("enabled", budget_tokens=2000, display="omitted"),
    "output_config": {"effort": "low", "format": block("json_schema", schema={"type": "object"}), "task_budget": 9},
    "stop_sequences": ["x"],
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "metadata": {"user_id": "u", "team": "t"},
    "service_tier": "standard_only",
    "container": "c",
    "inference_geo": "eu",
    "cache_control": CACHE,
    "context_management": {"edits": []},
    "mcp_servers": [{"name": "m"}],
    "something_new": {"a": None},
}


def test_a_messages_request_comes_through_whole() -> None:
    assert document(read_request(EVERYTHING)) == EVERYTHING


@pytest.mark.parametrize("name", sorted(EVERYTHING.keys() - {"model", "messages", "max_tokens"}))
def test_each_field_comes_through_alone(name: str) -> None:
    least = {"model": "claude", "max_tokens": 1, "messages": [{"role": "user", "content": [text("Hi")]}]}
    one = least | {name: EVERYTHING[name]} | ({"tools": EVERYTHING["tools"]} if name == "tool_choice" else {})
    assert document(read_request(one)) == one


def test_thinking_of_the_tools_kind_comes_through() -> None:
    one = LEAST | {"thinking": {"type": "between_tools"}}
    assert document(read_request(one)) == one


def test_what_the_gateway_adds_takes_none_of_the_clients_fields() -> None:
    """An answer to go on with has no path in the client's request; nor has the request itself."""
    ask = read_request(LEAST | {"container": "c"})
    more = (turn("assistant", Text(text="So"), path=""), turn("user", Text(text="go on"), path=""))
    said = document(replace(ask, turns=ask.turns + more))
    assert said["container"] == "c"
    assert said["messages"][1:] == [
        {"role": "assistant", "content": [text("So")]},
        {"role": "user", "content": [text("go on")]},
    ]


def test_a_system_message_of_settings_alone_stays() -> None:
    """`content: []` with `output_config`: Anthropic's form of a change of effort amid a conversation."""
    system = {"role": "system", "content": [], "output_config": {"effort": "low"}}
    one = LEAST | {"messages": [*LEAST["messages"], system]}
    assert document(read_request(one)) == one
