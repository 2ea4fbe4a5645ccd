"""A second turn in each of the nine pairs: a client hands back what its SDK gave it, and results of tools.

The upstream is told all that its format can say, reasoning with its seals included; the rest is listed to the client.
"""

import itertools
import re
from typing import Any

import pytest
from tests.e2e import recorded
from tests.e2e.clients import Got, shown
from tests.e2e.recorded import Recording
from tests.e2e.test_pairs import REASONS, SEARCH, THINKS, WEATHER, Place, place, request
from tests.e2e.told import Fact, told
from tests.gateway.rig import FORMATS, streamed, whole

__all__ = ["place"]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
DATA_URL = f"data:image/png;base64,{PNG}"
FIRST: dict[str, Recording] = {
    "chat": recorded.chat([recorded.plain("I weigh it."), WEATHER, SEARCH], "tool_calls"),
    "responses": recorded.responses([*REASONS, WEATHER, SEARCH], "tool_calls"),
    "messages": recorded.messages([*THINKS, WEATHER, SEARCH], "tool_calls"),
}
"""By upstream: reasoning in its own words, and two calls."""
LAST = {
    "chat": recorded.chat([recorded.text("It is 22 °C.")]),
    "responses": recorded.responses([recorded.text("It is 22 °C.")]),
    "messages": recorded.messages([recorded.text("It is 22 °C.")]),
}


def second_turn(client: str, asked: dict[str, Any], got: Got) -> dict[str, Any]:
    """The first request, its answer as the SDK holds it, a result with an image, one that is an error, and a word."""
    [(first, _, _), (second, _, _)] = shown(client, got.document).calls
    if client == "chat":
        image = {"type": "image_url", "image_url": {"url": DATA_URL}}
        added: list[Any] = [
            got.answer.choices[0].message,
            {"role": "tool", "tool_call_id": first, "content": [{"type": "text", "text": "22 °C"}, image]},
            {"role": "tool", "tool_call_id": second, "content": "no such index"},
            {"role": "user", "content": "Go on."},
        ]
        return asked | {"messages": [*asked["messages"], *added]}
    if client == "responses":
        output = [{"type": "input_text", "text": "22 °C"}, {"type": "input_image", "image_url": DATA_URL}]
        added = [
            *got.answer.output,
            {"type": "function_call_output", "call_id": first, "output": output},
            {"type": "function_call_output", "call_id": second, "output": "no such index"},
            {"role": "user", "content": "Go on."},
        ]
        return asked | {"input": [*asked["input"], *added]}
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    content = [{"type": "text", "text": "22 °C"}, {"type": "image", "source": source}]
    results = [
        {"type": "tool_result", "tool_use_id": first, "content": content},
        {"type": "tool_result", "tool_use_id": second, "content": "no such index", "is_error": True},
        {"type": "text", "text": "Go on."},
    ]
    answer = {"role": "assistant", "content": got.answer.content}
    return asked | {"messages": [*asked["messages"], answer, {"role": "user", "content": results}]}


def reasoning(upstream: str) -> list[Fact]:
    """That of the first answer."""
    facts: dict[str, Any] = {
        "thinking": lambda part: ("thinking", part["text"], part["seal"]),
        "redacted": lambda part: ("redacted", part["seal"]),
        "item": lambda part: ("item", part["id"], part["text"], part["seal"]),
        "plain": lambda part: ("plain", part["text"]),
    }
    return [facts[part["kind"]](part) for part in FIRST[upstream].parts if part["kind"] != "call"]


def expected(client: str, upstream: str, thoughts: list[Fact]) -> list[Fact]:
    """All of the second turn that the upstream's format can say."""
    calls = [("call", id, name, arguments) for id, name, arguments in FIRST["chat"].calls]
    (first, second), error = (call[1] for call in calls), client == upstream == "messages"
    good, bad = ("result", first, "22 °C", False), ("result", second, "no such index", error)
    after: list[Fact] = [good, ("image", DATA_URL, first), bad]
    if upstream == "chat":  # whose results are text: the picture follows, after a line that names the call
        after = [good, bad, ("user", f"Attached to the result of tool call {first}:"), ("image", DATA_URL, "")]
    return [("system", "Be kind."), ("user", "Hello"), *thoughts, *calls, *after, ("user", "Go on.")]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream", FORMATS)
@pytest.mark.parametrize("client", FORMATS)
def test_what_is_handed_back_reaches_the_upstream(place: Place, client: str, upstream: str, stream: bool) -> None:
    """Thinking and signatures: litellm#38809 #31654, onyx#13691, any-llm#1312, ruby_llm#896, openai-agents#4155,
    bifrost#6342. Pictures in results: litellm#23712 #20403 #16195 #6953, claude-code-router#1678. Results of parallel
    calls in one user turn: kosong#45, pydantic-ai#653, OmniRoute#4882, hindsight#3910, adk-rust#279."""
    first, last = FIRST[upstream], LAST[upstream]
    answers = [(streamed(*r.events) if stream else whole(r.whole)) for r in (first, last)]
    place.upstream.scripts, place.upstream.seen = answers, []
    asked = request(client, upstream, tools=not client == upstream == "chat")  # test_pairs.SPARED
    got = place.clients.ask(client, asked, stream=stream)
    again = place.clients.ask(client, second_turn(client, asked, got), stream=stream)
    assert shown(client, again.document).text == "It is 22 °C."
    body = place.upstream.seen[1].json
    if client == upstream == "chat":  # the same bytes: pictures stand in the tool's message, as they came
        assert body["messages"][2]["reasoning_content"] == "I weigh it."
        assert body["messages"][3]["content"][1]["image_url"]["url"] == DATA_URL
    else:
        assert told(upstream, body) == expected(client, upstream, reasoning(upstream))
    unsaid = {"messages[2].content[1].is_error"} if client == "messages" != upstream else set()
    assert again.dropped == unsaid


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(FORMATS, 2)))
@pytest.mark.parametrize("client", FORMATS)
def test_another_upstream_is_not_told_what_it_cannot_read(place: Place, client: str, first: str, second: str) -> None:
    """Reasoning that the next turn's upstream has no word or no key for is left out and listed; nothing else is."""
    place.upstream.scripts, place.upstream.seen = [whole(FIRST[first].whole), whole(LAST[second].whole)], []
    asked = request(client, first)
    got = place.clients.ask(client, asked, stream=False)
    again = place.clients.ask(client, second_turn(client, asked, got) | {"model": f"to-{second}"}, stream=False)
    assert told(second, place.upstream.seen[1].json) == expected(client, second, [])
    thoughts = {"chat": "messages[2].reasoning_", "responses": "input[", "messages": "messages[1].content["}[client]
    listed = {path for path in again.dropped if path.startswith(thoughts)}
    assert len(listed) == len(reasoning(first))
    assert all(path.endswith(".is_error") for path in again.dropped - listed)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_call_s_id_that_is_illegal_on_the_other_side_comes_back_as_it_was(place: Place, stream: bool) -> None:
    odd = "functions.weather:0|ünï"
    calls = [recorded.call(odd, "weather", '{"city":"Zürich"}'), SEARCH]
    first = recorded.chat(calls, "tool_calls")
    place.upstream.scripts = [streamed(*first.events) if stream else whole(first.whole), whole(LAST["chat"].whole)]
    place.upstream.seen = []
    asked = request("messages", "chat")
    got = place.clients.ask("messages", asked, stream=stream)
    seen = [id for id, _, _ in shown("messages", got.document).calls]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", id) for id in seen)
    place.clients.ask("messages", second_turn("messages", asked, got), stream=False)
    facts = told("chat", place.upstream.seen[1].json)
    ids = {kind: [fact[1] for fact in facts if fact[0] == kind] for kind in ("call", "result")}
    assert ids["call"] == ids["result"]
    assert len(set(ids["call"])) == 2
