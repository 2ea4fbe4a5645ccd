"""A conversation keeps its name while it grows, and another does not get it."""

from typing import Any

import msgspec
import pytest

from interlock.gateway.wire import read
from interlock.ledger import Format

SYSTEM = {"role": "system", "content": "You are an agent. " * 200}
FIRST = {"role": "user", "content": [{"type": "text", "text": "Fix the build"}]}
MORE = [{"role": "assistant", "content": "Looking."}, {"role": "user", "content": "Go on"}]


def opening(format: Format, **body: Any) -> str:
    return read(format, msgspec.json.encode({"model": "m", **body})).opening


STARTS: dict[str, tuple[Format, dict[str, Any], str]] = {
    "chat": ("chat", {"messages": [SYSTEM, FIRST]}, "messages"),
    "messages": ("messages", {"system": SYSTEM["content"], "messages": [FIRST], "max_tokens": 9}, "messages"),
    "blocks": ("messages", {"system": [{"type": "text", "text": "x"}], "messages": [FIRST]}, "messages"),
    "responses": ("responses", {"instructions": "x", "input": [FIRST]}, "input"),
    "items": ("responses", {"input": [SYSTEM, FIRST]}, "input"),
}


@pytest.mark.parametrize("start", STARTS)
def test_it_stays_while_the_conversation_grows(start: str) -> None:
    format, body, list_ = STARTS[start]
    first = opening(format, **body)
    assert len(first) == 24
    later = {**body, list_: [*body[list_], *MORE], "stream": True, "temperature": 1}
    assert opening(format, **later) == first
    other = {**body, list_: [*body[list_][:-1], {"role": "user", "content": "Fix the tests"}]}
    assert opening(format, **other) != first
    assert opening(format, **body, tools=[{"type": "function", "function": {"name": "f"}, "name": "f"}]) != first


def test_as_a_string_or_a_list() -> None:
    assert opening("responses", input="hi") == opening("responses", input=[{"role": "user", "content": "hi"}])


def test_counting_is_of_the_same_conversation() -> None:
    body = STARTS["messages"][1]
    assert opening("count_tokens", **body) == opening("messages", **body)


def test_what_is_no_conversation() -> None:
    assert opening("embeddings", input="hi") == ""
    assert (
        opening("chat", messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])
        == ""
    )
    assert opening("responses", previous_response_id="r") == ""
