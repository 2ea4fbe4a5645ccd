"""Where breakpoints are set, and that nothing else of the body is changed."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.gateway.wire.breakpoints import with_breakpoints

CONTROL = {"cache_control": {"type": "ephemeral"}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}


def user(content: Any = "hi") -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(content: Any = "done") -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def marked(document: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    body, paths = with_breakpoints(msgspec.json.encode(document))
    return msgspec.json.decode(body), paths


@pytest.mark.parametrize(
    ("messages", "places"),
    [
        ([user()], [0]),
        ([user(), said(), user()], [0, 2]),
        ([user(), said(), user(), said(), user([RESULT])], [2, 4]),
        ([user(), user(), said(), user(), user()], [1, 4]),
        ([user(), said(), user(), said()], [0, 2]),
        ([user(), said(), said(), user()], [0, 3]),
    ],
)
def test_the_places(messages: list[Any], places: list[int]) -> None:
    left, paths = marked({"system": "be brief", "messages": messages})
    assert paths == ("system", *(f"messages[{place}]" for place in places))
    assert left["system"] == [{"type": "text", "text": "be brief", **CONTROL}]
    for index, message in enumerate(left["messages"]):
        if index in places:
            assert message["content"][-1].items() >= CONTROL.items()
        else:
            assert message == messages[index]


def test_a_client_that_knows_is_left_alone() -> None:
    own = {"system": "x", "messages": [user([{"type": "text", "text": "x", **CONTROL}])]}
    assert marked(own) == (own, ())


@pytest.mark.parametrize("content", ["", "  ", [], [{"type": "text", "text": " "}], [{"type": "thinking"}], None])
def test_where_anthropic_takes_none(content: Any) -> None:
    document = {"messages": [user(content)]}
    assert marked(document) == (document, ())


BLOCK = st.sampled_from([{"type": "text", "text": "a"}, {"type": "text", "text": ""}, RESULT, {"type": "image"}])
MESSAGE = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant"]),
    st.text(max_size=3) | st.lists(BLOCK, max_size=3),
)


@given(st.lists(MESSAGE, max_size=8), st.none() | st.text(max_size=3) | st.lists(BLOCK, max_size=2), st.booleans())
def test_without_the_marks_it_is_what_it_was(messages: list[Any], system: Any, spaced: bool) -> None:
    document = {"model": "m", "system": system, "messages": messages, "x": [1.0, {"messages": messages}]}
    body = msgspec.json.encode(document)
    body, paths = with_breakpoints(msgspec.json.format(body, indent=2) if spaced else body)
    assert len(paths) <= 3 and body.count(b'"cache_control"') == len(paths)

    def bare(content: Any) -> Any:
        if not isinstance(content, list):
            return content
        return [{k: v for k, v in block.items() if k != "cache_control"} for block in content]

    def as_blocks(content: Any) -> Any:
        return [{"type": "text", "text": content}] if isinstance(content, str) else content

    left = msgspec.json.decode(body)
    for path, was, now in (
        ("system", system, left["system"]),
        *((f"messages[{n}]", messages[n]["content"], left["messages"][n]["content"]) for n in range(len(messages))),
    ):
        assert bare(now) == (as_blocks(was) if path in paths else was)
    assert left["x"] == document["x"] and left["model"] == "m"
