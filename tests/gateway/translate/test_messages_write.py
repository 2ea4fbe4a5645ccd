"""A Messages request, written for another format's client."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.gateway.translate.messages_writing import LEAST, TARGET, document, text, turn

from interlock.errors import LocalError
from interlock.gateway.translate import ids
from interlock.gateway.translate.messages import write_request
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

HI = Turn(role="user", parts=(Text(text="Hi", path="messages[0].content"),), path="messages[0]")


def ask_of(**more: Any) -> Ask:
    said: dict[str, Any] = {"format": "chat", "stream": False, "turns": (HI,)} | more
    return Ask(**said)


def messages(*turns: Turn, **more: Any) -> Any:
    return document(ask_of(turns=turns, **more))["messages"]


TOOL = Tool(name="f", description="d", schema={"properties": {"a": {}}}, path="tools[0]")
WRITTEN_TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"a": {}}}}
ADAPTIVE = {"type": "adaptive"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, {}),
        ({"stream": True}, {"stream": True}),
        ({"max_output": 5}, {"max_tokens": 5}),
        ({"max_output": 0}, {"max_tokens": 0}),
        ({"temperature": 1}, {"temperature": 1}),
        ({"temperature": 0, "top_p": 0.5, "top_k": 3}, {"temperature": 0, "top_p": 0.5, "top_k": 3}),
        ({"stop": ("a", " ")}, {"stop_sequences": ["a", " "]}),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}),
        ({"includes_usage": True}, {}),
        (
            {"instructions": (Text(text="A"), Text(text="B", cache='{"type":"ephemeral"}'), Text(text=""))},
            {"system": [text("A"), text("B") | {"cache_control": {"type": "ephemeral"}}]},
        ),
        ({"tools": (TOOL,)}, {"tools": [WRITTEN_TOOL]}),
        (
            {"tools": (Tool(name="f", strict=True, cache='{"type":"ephemeral"}'),)},
            {
                "tools": [
                    {
                        "name": "f",
                        "input_schema": {"type": "object", "properties": {}},
                        "strict": True,
                        "cache_control": {"type": "ephemeral"},
                    }
                ]
            },
        ),
        (
            {"tools": (TOOL,), "tool_choice": ToolChoice(kind="any")},
            {"tools": [WRITTEN_TOOL], "tool_choice": {"type": "any"}},
        ),
        (
            {"tools": (TOOL,), "tool_choice": ToolChoice(kind="tool", name="f"), "parallel": False},
            {
                "tools": [WRITTEN_TOOL],
                "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            },
        ),
        (
            {"tools": (TOOL,), "parallel": False},
            {"tools": [WRITTEN_TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ),
        (
            {"tools": (TOOL,), "tool_choice": ToolChoice(kind="none"), "parallel": False},
            {"tools": [WRITTEN_TOOL], "tool_choice": {"type": "none"}},
        ),
        ({"tools": (TOOL,), "parallel": True}, {"tools": [WRITTEN_TOOL]}),
        ({"tool_choice": ToolChoice(kind="auto"), "parallel": False}, {}),
        ({"tool_choice": ToolChoice(kind="any")}, {"tool_choice": {"type": "any"}}),
        (
            {"schema": Schema(schema={"type": "object"}, strict=True), "reasoning": Thinks(effort="low")},
            {
                "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
                "thinking": ADAPTIVE,
            },
        ),
        ({"reasoning": Thinks(effort="max")}, {"output_config": {"effort": "max"}, "thinking": ADAPTIVE}),
        ({"reasoning": Thinks(effort="minimal")}, {"output_config": {"effort": "low"}, "thinking": ADAPTIVE}),
        ({"reasoning": Thinks(effort="none")}, {"thinking": {"type": "disabled"}}),
        ({"reasoning": Thinks(off=True)}, {"thinking": {"type": "disabled"}}),
        (
            {"reasoning": Thinks(summary="auto")},
            {"thinking": {"type": "adaptive", "display": "summarized"}},
        ),
        (
            {"reasoning": Thinks(budget_tokens=5000)},
            {"thinking": {"type": "enabled", "budget_tokens": 5000}, "max_tokens": 8192 + 5000},
        ),
        (
            {"reasoning": Thinks(budget_tokens=5000), "max_output": 6000},
            {"thinking": {"type": "enabled", "budget_tokens": 5000}, "max_tokens": 6000},
        ),
        (
            {"format": "messages", "reasoning": Thinks(effort="low")},
            {"output_config": {"effort": "low"}},
        ),
        (
            {"format": "messages", "reasoning": Thinks(off=True, effort="low")},
            {"output_config": {"effort": "low"}, "thinking": {"type": "disabled"}},
        ),
    ],
)
def test_fields(more: dict[str, Any], said: dict[str, Any]) -> None:
    assert document(ask_of(**more)) == LEAST | said


def test_the_targets_limit_is_the_default() -> None:
    target = Target(model="claude", family="claude", max_output=64_000)
    assert document(ask_of(), target)["max_tokens"] == 64_000


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (Refusal(text="No."), text("No.")),
        (Text(text="a", cache='{"type":"ephemeral"}'), text("a") | {"cache_control": {"type": "ephemeral"}}),
        (Image(url="https://x"), {"type": "image", "source": {"type": "url", "url": "https://x"}}),
        (
            Image(media_type="image/png", data="AA==", detail="auto"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        ),
        (
            Document(url="https://x", name="n"),
            {"type": "document", "source": {"type": "url", "url": "https://x"}, "title": "n"},
        ),
        (
            Document(media_type="application/pdf", data="AA=="),
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="}},
        ),
        (
            Document(media_type="text/plain", text="t"),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}},
        ),
        (
            Document(media_type="text/plain", data="w6k="),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}},
        ),
        (
            ToolResult(id="i", parts=(Text(text="a"), Text(text=""), Image(url="u")), error=True),
            {
                "type": "tool_result",
                "tool_use_id": "i",
                "content": [text("a"), {"type": "image", "source": {"type": "url", "url": "u"}}],
                "is_error": True,
            },
        ),
        (ToolResult(id="i", parts=()), {"type": "tool_result", "tool_use_id": "i"}),
    ],
)
def test_parts(part: Part, block: dict[str, Any]) -> None:
    assert messages(turn("user", part)) == [{"role": "user", "content": [block]}]


@pytest.mark.parametrize(
    ("arguments", "value"),
    [("{}", {}), ("", {}), ('{"a":1.0,"b":123456789012345678901}', {"a": 1.0, "b": 123456789012345678901})],
)
def test_calls(arguments: str, value: dict[str, Any]) -> None:
    [_, said] = messages(HI, turn("assistant", ToolCall(id="i", name="f", arguments=arguments)))
    assert said["content"] == [{"type": "tool_use", "id": "i", "name": "f", "input": value}]


@pytest.mark.parametrize("id", ["call|1", "thought:Zm9v" * 40, "", "ilkid_Y2FsbHwx"])
def test_illegal_ids_are_mapped_alike_for_call_and_result(id: str) -> None:
    call = turn("assistant", ToolCall(id=id, name="f", arguments="{}"))
    [_, called, answered] = messages(HI, call, turn("user", ToolResult(id=id, parts=())))
    assert called["content"][0]["id"] == answered["content"][0]["tool_use_id"] == ids.to_upstream(id, "messages")


def test_neighbours_merge_and_results_come_first() -> None:
    said = messages(
        HI,
        turn("user", Text(text="there")),
        turn("assistant", Text(text="A")),
        turn("assistant", ToolCall(id="1", name="f", arguments="{}"), ToolCall(id="2", name="f", arguments="{}")),
        turn("user", Text(text="before")),
        turn("user", ToolResult(id="1", parts=())),
        turn("user", ToolResult(id="2", parts=())),
        turn("user", Text(text="after")),
    )
    assert [message["role"] for message in said] == ["user", "assistant", "user"]
    assert said[0]["content"] == [text("Hi"), text("there")]
    assert [block.get("tool_use_id") or block["text"] for block in said[2]["content"]] == ["1", "2", "before", "after"]


def test_a_system_message_stands_right_before_the_assistants() -> None:
    """Anthropic: it must come after a user's message, and before an assistant's or the end."""
    system = turn("system", Text(text="S"))
    call = turn("assistant", ToolCall(id="1", name="f", arguments="{}"))
    said = messages(HI, call, system, turn("user", ToolResult(id="1", parts=())), system, turn("user", Text(text="x")))
    assert [message["role"] for message in said] == ["user", "assistant", "user", "system"]
    assert said[3]["content"] == [text("S"), text("S")]
    again = messages(HI, system, turn("assistant", Text(text="a")), turn("user", Text(text="b")))
    assert [message["role"] for message in again] == ["user", "system", "assistant", "user"]


def test_what_is_empty_is_left_out() -> None:
    said = messages(
        HI, turn("assistant", Text(text="")), turn("user", Text(text="a"), Text(text="")), turn("assistant")
    )
    assert said == [{"role": "user", "content": [text("Hi"), text("a")]}]


def test_space_alone_is_left_out_and_listed() -> None:
    blank = turn("assistant", Text(text="\n\n", path="messages[1].content"), ToolCall(id="1", name="f", arguments="{}"))
    written = write_request(ask_of(turns=(HI, blank)), TARGET)
    assert [block["type"] for block in written.document["messages"][1]["content"]] == ["tool_use"]
    assert written.dropped == ("messages[1].content",)


def test_an_answer_to_go_on_with_ends_without_space() -> None:
    last = turn("assistant", Text(text="So \n", path="messages[1].content"))
    written = write_request(ask_of(turns=(HI, last)), TARGET)
    assert written.document["messages"][1]["content"] == [text("So")]
    assert written.dropped == ("messages[1].content",)
    assert messages(HI, turn("assistant", Text(text="So ")), HI)[1]["content"] == [text("So ")]
    assert messages(HI, turn("assistant", Text(text="So ")))[1]["content"] == [text("So")]  # ours: nothing to list


@pytest.mark.parametrize(
    ("reasoning", "block"),
    [
        (Reasoning(kind="thinking", text="t", seal="s"), {"type": "thinking", "thinking": "t", "signature": "s"}),
        (
            Reasoning(kind="thinking", text="t", seal="s", family="claude"),
            {"type": "thinking", "thinking": "t", "signature": "s"},
        ),
        (Reasoning(kind="redacted", seal="d"), {"type": "redacted_thinking", "data": "d"}),
        (Reasoning(kind="redacted", seal="d", family="claude"), {"type": "redacted_thinking", "data": "d"}),
        (Reasoning(kind="thinking", text="t", seal="s", family="other"), None),
        (Reasoning(kind="redacted", seal="s", family="other"), None),
        (Reasoning(kind="item", text="t", seal="s"), None),
        (Reasoning(kind="item", text="t", seal="s", family="claude"), None),
        (Reasoning(kind="plain", text="t"), None),
    ],
)
def test_reasoning_goes_to_those_who_can_read_it(reasoning: Reasoning, block: dict[str, Any] | None) -> None:
    call = ToolCall(id="1", name="f", arguments="{}")
    parts = (replace(reasoning, path="messages[1].reasoning_details[0]"), call)
    written = write_request(ask_of(turns=(HI, turn("assistant", *parts))), TARGET)
    content = written.document["messages"][1]["content"]
    assert content[:-1] == ([block] if block else [])
    assert written.dropped == (() if block else ("messages[1].reasoning_details[0]",))


def test_hints_are_dropped_and_listed() -> None:
    image = Image(url="u", detail="high", path="messages[1].content[0]")
    schema = Schema(schema={}, name="n", description="d")
    fields = {"seed": 1, "service_tier": "flex"}
    written = write_request(ask_of(turns=(HI, turn("user", image)), schema=schema, fields=fields), TARGET)
    assert set(written.dropped) == {
        "messages[1].content[0].detail",
        "response_format.json_schema.name",
        "response_format.json_schema.description",
        "seed",
        "service_tier",
    }


CALL = ToolCall(id="1", name="f", arguments='{"a":', path="messages[1].tool_calls[0]")


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (ask_of(temperature=1.5), "temperature"),
        (ask_of(schema=Schema()), "response_format"),
        (ask_of(schema=Schema(), format="responses"), "text.format"),
        (ask_of(fields={"logprobs": True}), "logprobs"),
        (ask_of(format="messages", fields={"messages[9].x": 1}), "messages[9].x"),
        (ask_of(turns=()), "messages"),
        (ask_of(turns=(turn("user", Text(text="")),)), "messages"),
        (ask_of(turns=(HI, turn("assistant", CALL))), "messages[1].tool_calls[0]"),
        (ask_of(turns=(turn("user", Document(media_type="text/csv", data="", path="p")),)), "p"),
        (ask_of(turns=(turn("user", Document(media_type="text/plain", data="/w==", path="p")),)), "p"),
        (ask_of(turns=(turn("user", Document(media_type="text/plain", data="!", path="p")),)), "p"),
    ],
)
def test_what_is_refused_by_its_path(ask: Ask, field: str) -> None:
    with pytest.raises(LocalError) as refusal:
        write_request(ask, TARGET)
    assert refusal.value.field == field
