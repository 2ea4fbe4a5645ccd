"""The nine pairs of a client's format and an upstream's, through `interlock serve`; the official clients are judges.

Of every answer in recorded.py: what the client's own stream helper puts together is the whole answer; both say what was
recorded; the usage that they show is what was settled. Second turns are in test_pairs_turns.py.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from tests.e2e import recorded
from tests.e2e.clients import Clients, Got, shown
from tests.e2e.configs import three_formats
from tests.e2e.recorded import Recording
from tests.e2e.server import Server, running
from tests.e2e.upstream import scripted_upstream
from tests.gateway.rig import FORMATS, Upstream, streamed, whole

UNICODE = 'Grüße aus 東京 🗼👩‍👩‍👧: e\u0301 \u2028 \\ "q" </s> {"not": [json'
LONG = "All work and no play makes Jack a dull boy. ünïcode\n" * 120
SECRET = "gAAAAABo5uPq-encrypted_reasoning=="
SIGNATURE = "EqQBCkYIBxgCKkBsignature+of/thinking=="
WEATHER = recorded.call("call_1weather", "weather", '{"city":"Zürich","days":[1,2,{"unit":"°C"}]}')
SEARCH = recorded.call("call_2search", "search", '{"query":"interlocking \\"railway\\"","limit":10}')
NOW = recorded.call("call_3now", "now", "{}")
NOW_EMPTY = recorded.call("call_3now", "now", "")
CALLS = [recorded.text("I will look."), WEATHER, SEARCH]
THINKS = [
    recorded.thinking("First I weigh it. ", SIGNATURE),
    recorded.redacted("EmwKAhgBEgyredacted"),
    recorded.thinking("Then I decide. ", SIGNATURE + "2"),
]
REASONS = [recorded.item("**Weighing**\n\nI weigh it.", SECRET, "rs_68af_1")]

RECORDINGS: dict[str, Recording] = {
    "chat-text": recorded.chat([recorded.text("Hello there.")]),
    "chat-unicode": recorded.chat([recorded.text(UNICODE)]),
    "chat-long": recorded.chat([recorded.text(LONG)]),
    "chat-calls": recorded.chat(CALLS, "tool_calls"),
    "chat-no-arguments": recorded.chat([NOW], "tool_calls"),
    "chat-empty-arguments": recorded.chat([NOW_EMPTY, WEATHER], "tool_calls"),
    "chat-calls-said-stop": recorded.chat([WEATHER], "tool_calls", said="stop"),
    "chat-reasoning": recorded.chat([recorded.plain("I weigh it."), recorded.text("Done.")]),
    "chat-refusal": recorded.chat([recorded.refusal("I can't help with that.")], "refusal", said="stop"),
    "chat-filtered": recorded.chat([recorded.text("The first")], "refusal"),
    "chat-cut": recorded.chat([recorded.text("Once upon a")], "length"),
    "chat-stop": recorded.chat([recorded.text("one two ")], "stop_sequence", stop="three"),
    "responses-text": recorded.responses([recorded.text("Hello there.")]),
    "responses-unicode": recorded.responses([recorded.text(UNICODE)]),
    "responses-long": recorded.responses([recorded.text(LONG)]),
    "responses-calls": recorded.responses(CALLS, "tool_calls"),
    "responses-no-arguments": recorded.responses([NOW, WEATHER], "tool_calls"),
    "responses-reasoning": recorded.responses([*REASONS, recorded.text("Done.")]),
    "responses-reasoning-calls": recorded.responses([*REASONS, WEATHER, SEARCH], "tool_calls"),
    "responses-refusal": recorded.responses([recorded.refusal("I can't help with that.")], "refusal-said"),
    "responses-filtered": recorded.responses([recorded.text("The first")], "refusal"),
    "responses-cut": recorded.responses([recorded.text("Once upon a")], "length"),
    "messages-text": recorded.messages([recorded.text("Hello there.")]),
    "messages-unicode": recorded.messages([recorded.text(UNICODE)]),
    "messages-long": recorded.messages([recorded.text(LONG)]),
    "messages-calls": recorded.messages(CALLS, "tool_calls"),
    "messages-no-arguments": recorded.messages([NOW_EMPTY, WEATHER], "tool_calls"),
    "messages-thinking": recorded.messages([*THINKS, recorded.text("Done.")]),
    "messages-thinking-calls": recorded.messages([*THINKS, WEATHER, SEARCH], "tool_calls"),
    "messages-refusal": recorded.messages([recorded.text("I can")], "refusal"),
    "messages-cut": recorded.messages([recorded.text("Once upon a")], "length"),
    "messages-stop": recorded.messages([recorded.text("one two ")], "stop_sequence", stop="three"),
}
FINISHES = {
    "chat": {"stop": "stop", "tool_calls": "tool_calls", "length": "length", "stop_sequence": "stop"}
    | {"refusal": "content_filter"},
    "responses": {"stop": "completed", "tool_calls": "completed", "length": "max_output_tokens"}
    | {"stop_sequence": "completed", "refusal": "content_filter"},
    "messages": {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}
    | {"stop_sequence": "stop_sequence:three", "refusal": "refusal"},
}
"""What each client is told of the finishes in recorded.py."""
ODD = {
    ("chat", "chat-refusal"): "stop",
    ("chat", "chat-calls-said-stop"): "stop",  # passed through as it came
    ("chat", "responses-refusal"): "stop",
    ("responses", "chat-refusal"): "completed",
    ("responses", "responses-refusal"): "completed",
    ("messages", "responses-refusal"): "refusal",
}
"""A refusal in words is an answer to OpenAI's clients, and a reason to stop to Anthropic's."""

SPARED = (("chat", "chat-calls"), ("chat", "chat-empty-arguments"))
"""OpenAI's helper parses a strict tool's arguments when another call begins, and fails on those that interleave. They
pass through here; without the tools it puts them together all the same."""


class Place(NamedTuple):
    """What a test has."""

    server: Server
    upstream: Upstream
    clients: Clients


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("pairs")
    with scripted_upstream() as (upstream, port):
        config = three_formats(directory / "interlock.toml", port)
        with running(directory / "data", config=config) as server:
            clients = Clients(server.url, server.admin)
            yield Place(server, upstream, clients)
            clients.close()


def request(client: str, upstream: str, *, tools: bool = True) -> dict[str, Any]:
    """A first turn for the deployment that speaks `upstream`."""
    parameters = {"type": "object", "properties": {}, "additionalProperties": False}
    asked = [{"role": "user", "content": "Hello"}]
    model = f"to-{upstream}"
    if client == "messages":
        made: dict[str, Any] = {"model": model, "max_tokens": 2000, "system": "Be kind.", "messages": asked}
        offered: list[Any] = [{"name": name, "input_schema": parameters} for name in ("weather", "search", "now")]
    elif client == "responses":
        made = {"model": model, "instructions": "Be kind.", "input": asked}
        function = {"type": "function", "parameters": parameters, "strict": True}
        offered = [function | {"name": name} for name in ("weather", "search", "now")]
    else:
        made = {"model": model, "messages": [{"role": "system", "content": "Be kind."}, *asked]}
        function = {"parameters": parameters, "strict": True}
        offered = [{"type": "function", "function": function | {"name": name}} for name in ("weather", "search", "now")]
    return made | ({"tools": offered} if tools else {})


def answers(place: Place, client: str, recording: Recording, asked: dict[str, Any]) -> tuple[Got, Got]:
    """The recording as the client gets it: whole, streamed."""
    place.upstream.scripts = [whole(recording.whole), streamed(*recording.events)]
    return place.clients.ask(client, asked, stream=False), place.clients.ask(client, asked, stream=True)


def settled(place: Place, got: Got) -> dict[str, Any]:
    """The entry of the call's one attempt."""
    explained = place.server.explained(got.request_id)
    [attempt] = explained["attempts"]
    entry: dict[str, Any] = attempt["entry"]
    return entry


def folded(kinds: dict[str, int], client: str) -> dict[str, int]:
    """Kinds as a client's format can tell them: OpenAI's have one figure for what was written to a cache."""
    kept = dict(kinds)
    if client != "messages":
        split = [kept.pop(kind, 0) for kind in ("cache_write_5m", "cache_write_1h")]
        kept["cache_write"] = kept.get("cache_write", 0) + sum(split)
    return {kind: count for kind, count in kept.items() if count}


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("client", FORMATS)
def test_a_stream_is_its_whole_answer_and_both_say_what_was_recorded(place: Place, client: str, name: str) -> None:
    """Tool arguments and second tools: litellm#25561 #25836 #29491 #29286 #18238, bifrost#3441 #4890 #6342. Responses
    streams: litellm#22102 #19368 #37852 #17246, llm-rosetta#56, openai/codex#12798. Cached tokens: litellm#9812."""
    recording = RECORDINGS[name]
    asked = request(client, recording.upstream, tools=bool(recording.calls) and (client, name) not in SPARED)
    of_whole, of_stream = answers(place, client, recording, asked)
    assert of_stream.comparable() == of_whole.comparable()
    for got in (of_whole, of_stream):
        _check_words(client, name, got)
        entry = settled(place, got)
        assert (entry["state"], entry["outcome"], entry["source"]) == ("settled", "completed", "reported")
        assert entry["usage"] == recording.usage
        kinds = shown(client, got.document).usage
        assert folded(kinds, client) == folded(entry["usage"], client)


def _check_words(client: str, name: str, got: Got) -> None:
    recording, says = RECORDINGS[name], shown(client, got.document)
    refused = recording.said("refusal")
    in_words = client != "messages"  # which has no part for it, but a stop reason
    assert says.text == recording.said("text") + ("" if in_words else refused)
    assert says.refusal == (refused if in_words else "")
    thoughts = [part["text"] for part in recording.parts if part["kind"] in ("thinking", "item", "plain")]
    same = client == recording.upstream
    assert says.thoughts == "\n\n".join(thoughts)
    assert says.calls == recording.calls
    assert says.finish == ODD.get((client, name), FINISHES[client].get(recording.finish))
    if not same:
        assert got.dropped == set()
