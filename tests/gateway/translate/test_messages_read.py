"""A Messages request, read: its fields."""

from typing import Any

import pytest
from tests.gateway.translate.messages_requests import USER, assistant, request, user

from interlock.gateway.translate.messages import read_request
from interlock.gateway.translate.neutral import (
    Schema,
    Text,
    Thinks,
    Tool,
    ToolChoice,
    Turn,
)

CACHE = {"type": "ephemeral", "ttl": "1h"}


def test_the_least_request() -> None:
    ask = read_request(request())
    assert ask.format == "messages"
    assert not ask.stream
    assert ask.max_output == 100
    assert ask.turns == (Turn(role="user", parts=(Text(text="Hi", path="messages[0].content"),), path="messages[0]"),)
    assert ask.fields == {}
    assert (ask.reasoning, ask.schema, ask.tool_choice, ask.parallel) == (None, None, None, None)


@pytest.mark.parametrize(
    ("more", "field", "value"),
    [
        ({"stream": True}, "stream", True),
        ({"temperature": 1}, "temperature", 1),
        ({"temperature": 0.5}, "temperature", 0.5),
        ({"top_p": 0.9}, "top_p", 0.9),
        ({"top_k": 40}, "top_k", 40),
        ({"stop_sequences": ["a", " "]}, "stop", ("a", " ")),
        ({"metadata": {"user_id": "u"}}, "user", "u"),
        ({"system": "Be."}, "instructions", (Text(text="Be.", path="system"),)),
        (
            {"system": [{"type": "text", "text": "Be.", "cache_control": CACHE}]},
            "instructions",
            (Text(text="Be.", path="system[0]", cache='{"type":"ephemeral","ttl":"1h"}'),),
        ),
        ({"tool_choice": {"type": "auto"}}, "tool_choice", ToolChoice(kind="auto")),
        ({"tool_choice": {"type": "any"}}, "tool_choice", ToolChoice(kind="any")),
        ({"tool_choice": {"type": "none"}}, "tool_choice", ToolChoice(kind="none")),
        ({"tool_choice": {"type": "tool", "name": "f"}}, "tool_choice", ToolChoice(kind="tool", name="f")),
        ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, "parallel", False),
        ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": False}}, "parallel", None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "reasoning", Thinks(budget_tokens=2048)),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            "reasoning",
            Thinks(adaptive=True, summary="omitted"),
        ),
        ({"thinking": {"type": "disabled"}}, "reasoning", Thinks(off=True)),
        ({"output_config": {"effort": "xhigh"}}, "reasoning", Thinks(effort="xhigh")),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
            "reasoning",
            Thinks(adaptive=True, effort="max"),
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            "schema",
            Schema(schema={"type": "object"}, strict=True),
        ),
        (
            {"output_format": {"type": "json_schema", "schema": {}}},
            "schema",
            Schema(schema={}, strict=True),
        ),
        (
            {"tools": [{"name": "f", "input_schema": {"type": "object"}}]},
            "tools",
            (Tool(name="f", schema={"type": "object"}, path="tools[0]"),),
        ),
        (
            {
                "tools": [
                    {
                        "type": "custom",
                        "name": "f",
                        "description": "d",
                        "strict": True,
                        "input_schema": {},
                        "cache_control": {"type": "ephemeral"},
                        "defer_loading": False,
                        "allowed_callers": ["direct"],
                    }
                ]
            },
            "tools",
            (Tool(name="f", description="d", strict=True, cache='{"type":"ephemeral"}', path="tools[0]"),),
        ),
    ],
)
def test_fields_with_a_name(more: dict[str, Any], field: str, value: object) -> None:
    ask = read_request(request(**more))
    assert getattr(ask, field) == value
    assert ask.fields == {}


SERVER_TOOL = {"type": "web_search_20260209", "name": "web_search", "max_uses": 3}


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        (request(service_tier="auto", temperature=None, container=None), {}),
        (request(service_tier="standard_only"), {"service_tier": "standard_only"}),
        (request(inference_geo="us"), {"inference_geo": "us"}),
        (request(container="c", mcp_servers=[{"name": "a"}]), {"container": "c", "mcp_servers": [{"name": "a"}]}),
        (request(context_management={"edits": []}), {"context_management": {"edits": []}}),
        (request(cache_control=CACHE), {"cache_control": CACHE}),
        (request(metadata={"user_id": "u", "team": "x"}), {"metadata": {"team": "x"}}),
        (request(never_heard_of=0), {"never_heard_of": 0}),
        (request(output_config={"task_budget": 1}), {"output_config.task_budget": 1}),
        (request(thinking={"type": "between_tools"}), {"thinking.type": "between_tools"}),
        (request(thinking={"type": "adaptive", "x": 1}), {"thinking.x": 1}),
        (request(tool_choice={"type": "auto", "x": 1}), {"tool_choice.x": 1}),
        (request(tools=[SERVER_TOOL]), {"tools[0].type": SERVER_TOOL}),
        (
            request(tools=[{"name": "f", "input_schema": {}, "input_examples": [{}], "defer_loading": True}]),
            {"tools[0].input_examples": [{}], "tools[0].defer_loading": True},
        ),
        (request(messages=[USER | {"x": 1}]), {"messages[0].x": 1}),
        (
            assistant({"type": "text", "text": "a", "citations": [{"cited_text": "b"}]}),
            {"messages[1].content[0].citations[]": [{"cited_text": "b"}]},
        ),
        (assistant({"type": "text", "text": "a", "citations": None}), {}),
        (
            assistant({"type": "tool_use", "id": "i", "name": "f", "input": {}, "caller": {"type": "direct"}}),
            {},
        ),
        (
            assistant({"type": "tool_use", "id": "i", "name": "f", "input": {}, "toolset_name": "t"}),
            {"messages[1].content[0].toolset_name": "t"},
        ),
        (
            user({"type": "image", "source": {"type": "url", "url": "u", "y": 2}, "transformations": {"a": "b"}}),
            {"messages[0].content[0].transformations": {"a": "b"}, "messages[0].content[0].source.y": 2},
        ),
        (
            user(
                {
                    "type": "document",
                    "source": {"type": "url", "url": "u"},
                    "context": "c",
                    "citations": {"enabled": True},
                }
            ),
            {"messages[0].content[0].context": "c", "messages[0].content[0].citations": {"enabled": True}},
        ),
        (user({"type": "document", "source": {"type": "url", "url": "u"}, "citations": {"enabled": False}}), {}),
    ],
)
def test_what_has_no_name_is_a_field(document: dict[str, Any], fields: dict[str, Any]) -> None:
    assert read_request(document).fields == fields
