"""Reasoning that a family cannot read is taken out, and nothing else."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.gateway.translate.carrier import PREFIX, Carried, carry
from interlock.gateway.wire.reasoning import without_reasoning
from interlock.ledger import Format

THINKING = {"type": "thinking", "thinking": "hm", "signature": "c2lnbmVk"}
REDACTED = {"type": "redacted_thinking", "data": "c2VhbA=="}
CARRIED = {"type": "thinking", "thinking": "", "signature": carry(Carried(family="gpt", kind="item", seal="s", id="r"))}
TEXT = {"type": "text", "text": "done"}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {"n": 1}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
USER = {"role": "user", "content": "hi"}


def said(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def strip(format: Format, document: dict[str, Any], before: int = 99) -> tuple[dict[str, Any], tuple[str, ...]]:
    body, paths = without_reasoning(format, msgspec.json.encode(document), before, PREFIX)
    return msgspec.json.decode(body), paths


def test_messages() -> None:
    document = {"model": "m", "messages": [USER, said(THINKING, TEXT), USER, said(REDACTED, THINKING, USE), USER]}
    left, paths = strip("messages", document)
    assert left["messages"] == [USER, said(TEXT), USER, said(USE), USER]
    assert paths == ("messages[1].content[0]", "messages[3].content[0]", "messages[3].content[1]")
    left, paths = strip("messages", document, before=2)
    assert left["messages"][3] == said(REDACTED, THINKING, USE) and paths == ("messages[1].content[0]",)


@pytest.mark.parametrize(
    ("held", "left"),
    [
        ([said(THINKING), USER, said(TEXT), USER], [USER, said(TEXT), USER]),
        ([USER, said(THINKING), said(THINKING), USER], [USER, USER]),
        ([said(THINKING), said(REDACTED), USER], [USER]),
        ([USER, said(TEXT), said(THINKING)], [USER, said(TEXT)]),
        ([said(THINKING)], [said(THINKING)]),
    ],
)
def test_a_message_of_nothing_else_goes(held: list[Any], left: list[Any]) -> None:
    found, paths = strip("messages", {"model": "m", "messages": held, "max_tokens": 5})
    assert found == {"model": "m", "messages": left, "max_tokens": 5}
    assert paths


def test_what_we_carried_names_its_family_and_stays() -> None:
    document = {"messages": [USER, said(CARRIED, THINKING, TEXT), USER]}
    left, paths = strip("messages", document)
    assert left["messages"][1] == said(CARRIED, TEXT) and paths == ("messages[1].content[1]",)


@pytest.mark.parametrize(
    ("asked", "demanded"),
    [({"type": "enabled", "budget_tokens": 2048}, {"type": "disabled"}), ({"type": "adaptive"}, {"type": "adaptive"})],
)
def test_thinking_in_the_middle_of_a_turn(asked: dict[str, Any], demanded: dict[str, Any]) -> None:
    """Anthropic refuses it if the turn does not begin with thinking."""
    turn = [USER, said(THINKING, USE), {"role": "user", "content": [RESULT]}]
    left, paths = strip("messages", {"messages": turn, "thinking": asked})
    assert left["thinking"] == demanded
    assert ("thinking" in paths) == (asked != demanded)
    left, paths = strip("messages", {"messages": [*turn, said(TEXT), USER], "thinking": asked})
    assert left["thinking"] == asked and "thinking" not in paths
    left, paths = strip(
        "messages", {"messages": [*turn[:2], {"role": "user", "content": [RESULT]}], "thinking": asked}, before=1
    )
    assert left["thinking"] == asked and not paths


def test_chat() -> None:
    detail = {"type": "reasoning.encrypted", "data": "abc"}
    ours = {"type": "reasoning.encrypted", "data": PREFIX + "abc"}
    message = {"role": "assistant", "content": "x", "reasoning_content": "plain"}
    held = [USER, {**message, "reasoning_details": [detail]}, {**message, "reasoning_details": [ours, detail]}]
    left, paths = strip("chat", {"messages": held})
    assert left["messages"] == [USER, message, {**message, "reasoning_details": [ours]}]
    assert paths == ("messages[1].reasoning_details[0]", "messages[2].reasoning_details[1]")


def test_responses() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "ok"}
    answer = {"type": "message", "role": "assistant", "id": "msg_1", "content": "x"}
    document = {"input": [USER, reasoning, call, output, answer, USER, answer]}
    left, paths = strip("responses", document)
    assert left["input"] == [USER, {k: v for k, v in call.items() if k != "id"}, output, answer, USER, answer]
    assert paths == ("input[1]", "input[2].id")
    assert strip("responses", {"input": "hi"}) == ({"input": "hi"}, ())


BLOCKS = st.lists(st.sampled_from([THINKING, REDACTED, CARRIED, TEXT, USE, RESULT]), max_size=4)
MESSAGES = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, st.sampled_from(["user", "assistant"]), BLOCKS),
    min_size=1,
    max_size=6,
)


@given(MESSAGES, st.integers(0, 7), st.sampled_from(["", " ", "\n\t"]))
def test_only_that_is_changed(messages: list[Any], before: int, space: str) -> None:
    """Whatever the history: of the first messages the seals go, of the others no byte."""
    document = {"a": 1.50, "messages": messages, "z": messages}
    body = msgspec.json.format(msgspec.json.encode(document), indent=2 if space else 0)
    out, paths = without_reasoning("messages", body, before, PREFIX)
    left = msgspec.json.decode(out)
    assert left["z"] == messages and left["a"] == 1.5
    sealed = [
        (index, place)
        for index, message in enumerate(messages[:before])
        for place, block in enumerate(message["content"])
        if block in (THINKING, REDACTED)
    ]
    assert len(paths) == len(sealed)
    if not sealed:
        assert out == body
    kept = [
        {**m, "content": [b for n, b in enumerate(m["content"]) if (i, n) not in sealed]}
        for i, m in enumerate(messages)
    ]
    emptied = {i for i, _ in sealed if not kept[i]["content"]}
    if len(emptied) < len(messages):
        assert left["messages"] == [m for i, m in enumerate(kept) if i not in emptied]
