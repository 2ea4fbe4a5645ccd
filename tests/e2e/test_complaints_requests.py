"""Complaints about requests: what a format has no word for is refused by its name, or listed; never silently lost.

Each test names the public threads (`project#N`), as in test_complaints.py.
"""

from collections.abc import Mapping
from typing import Any

import anthropic
import openai
import pytest
from tests.e2e import recorded
from tests.e2e.server import until
from tests.e2e.test_pairs import Place, place, request
from tests.gateway.rig import FORMATS, streamed, whole

__all__ = ["place"]
ANSWER = {
    "chat": recorded.chat([recorded.text("Hello.")]),
    "responses": recorded.responses([recorded.text("Hello.")]),
    "messages": recorded.messages([recorded.text("Hello.")]),
}
SEARCH_TOOL = {"type": "web_search_20250305", "name": "web_search"}
PDF: dict[str, Any] = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
CACHE = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("messages", "chat", {"top_k": 5}, "top_k"),
    ("messages", "chat", {"tools": [SEARCH_TOOL]}, "tools[0].type"),
    ("messages", "chat", {"messages": [{"role": "user", "content": [PDF]}]}, "messages[0].content[0]"),
    ("messages", "chat", {"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "m"}]}, "mcp_servers"),
    ("messages", "chat", {"frobnicate": 1}, "frobnicate"),
    ("messages", "responses", {"top_k": 5}, "top_k"),
    ("messages", "responses", {"stop_sequences": ["END"]}, "stop_sequences"),
    ("messages", "responses", {"frobnicate": 1}, "frobnicate"),
    ("chat", "responses", {"stop": ["END"]}, "stop"),
    ("chat", "responses", {"logit_bias": {"1": 5}}, "logit_bias"),
    ("chat", "responses", {"frequency_penalty": 0.5}, "frequency_penalty"),
    ("chat", "responses", {"n": 2}, "n"),
    ("chat", "messages", {"n": 2}, "n"),
    ("chat", "messages", {"logprobs": True}, "logprobs"),
    ("chat", "messages", {"presence_penalty": 0.5}, "presence_penalty"),
    ("chat", "messages", {"temperature": 1.5}, "temperature"),
    ("chat", "messages", {"response_format": {"type": "json_object"}}, "response_format"),
    ("chat", "messages", {"frobnicate": 1}, "frobnicate"),
    ("responses", "chat", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("responses", "chat", {"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ("responses", "chat", {"max_tool_calls": 3}, "max_tool_calls"),
    ("responses", "messages", {"background": True}, "background"),
    (
        "responses",
        "messages",
        {"tools": [{"type": "image_generation"}]},
        "tools[0].type",
    ),
    ("responses", "messages", {"top_logprobs": 3}, "top_logprobs"),
    ("responses", "messages", {"frobnicate": 1}, "frobnicate"),
]
HINTS: list[tuple[str, str, dict[str, Any], set[str]]] = [
    ("chat", "messages", {"seed": 7, "store": True}, {"seed", "store"}),
    ("chat", "messages", {"prompt_cache_key": "k", "verbosity": "low"}, {"prompt_cache_key", "verbosity"}),
    ("chat", "responses", {"seed": 7}, {"seed"}),
    ("responses", "messages", {"truncation": "auto", "text": {"verbosity": "low"}}, {"truncation", "text.verbosity"}),
    ("responses", "chat", {"include": ["message.output_text.logprobs"]}, {"include"}),
    (
        "messages",
        "chat",
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"thinking.budget_tokens"},
    ),
    ("messages", "responses", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"thinking.budget_tokens"}),
    ("messages", "chat", {"service_tier": "standard_only"}, {"service_tier"}),
]


def asked_with(client: str, upstream: str, more: dict[str, Any]) -> dict[str, Any]:
    """A request with these fields, also such as the SDK does not know."""
    return request(client, upstream, tools=False) | {"extra_body": more}


@pytest.mark.parametrize(
    ("client", "upstream", "more", "field"), REFUSED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_parameter_that_cannot_be_said_is_refused_by_name(
    place: Place, client: str, upstream: str, more: dict[str, Any], field: str
) -> None:
    """litellm#40470 #10108 #14225 #11921 #38842; the upstream is not asked."""
    place.upstream.scripts, place.upstream.seen = [whole(ANSWER[upstream].whole)], []
    with pytest.raises((openai.BadRequestError, anthropic.BadRequestError)) as caught:
        place.clients.ask(client, asked_with(client, upstream, more), stream=False)
    raised: Any = caught.value
    error = raised.body["error"] if client == "messages" else raised.body
    assert error["param"] == field
    assert field.partition("[")[0] in error["message"]
    assert place.upstream.seen == []
    explained = until(lambda: _explained(place, raised.response.headers), "the refusal is on the record", 5.0)
    assert explained["attempts"] == []
    assert [refused["payload"]["code"] for refused in explained["refused"]] == ["invalid_request"]


def _explained(place: Place, headers: Mapping[str, str]) -> Any:
    """None: not yet; a refusal is answered in the tick in which it is written down."""
    path = f"/v1/explain/{headers['x-interlock-request-id']}"
    return place.server.control(path)


@pytest.mark.parametrize(
    ("client", "upstream", "more", "listed"), HINTS, ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_hint_that_cannot_be_said_is_listed(
    place: Place, client: str, upstream: str, more: dict[str, Any], listed: set[str], stream: bool
) -> None:
    """litellm#40470 #10108 #14225: to the client in a header, and on the record."""
    place.upstream.scripts = [streamed(*ANSWER[upstream].events) if stream else whole(ANSWER[upstream].whole)]
    got = place.clients.ask(client, asked_with(client, upstream, more), stream=stream)
    assert got.dropped == listed
    [attempt] = place.server.explained(got.request_id)["attempts"]
    splices = attempt["records"][0]["payload"]["decision"]["splices"]
    assert {splice for splice in splices if splice.startswith("dropped:")} == {f"dropped:{path}" for path in listed}


def cached(client: str, upstream: str) -> dict[str, Any]:
    """A request with cache breakpoints on a system prompt, a tool and a message, as far as the client can set them."""
    asked = request(client, upstream, tools=True)
    text: list[Any] = [{"type": "text", "text": "Hello", **CACHE}]
    if client == "messages":
        tools = [*asked["tools"][:-1], asked["tools"][-1] | CACHE]
        system: list[Any] = [{"type": "text", "text": "Be kind.", **CACHE}]
        return asked | {"system": system, "tools": tools, "messages": [{"role": "user", "content": text}]}
    system = [{"role": "system", "content": [{"type": "text", "text": "Be kind.", **CACHE}]}]
    return asked | {"messages": [*system, {"role": "user", "content": text}]}


@pytest.mark.parametrize("upstream", FORMATS)
@pytest.mark.parametrize("client", ["chat", "messages"])
def test_cache_control_is_kept_where_it_can_be_said_and_listed_where_not(
    place: Place, client: str, upstream: str
) -> None:
    """litellm#6784 #28427 #40776, agentgateway#2572 #2628, hindsight#3271 (hit rate 0.085 %), denkeeper#194; sent where
    it is not known it is a 400 (mattermost#910)."""
    place.upstream.scripts, place.upstream.seen = [whole(ANSWER[upstream].whole)], []
    got = place.clients.ask(client, cached(client, upstream), stream=False)
    body = place.upstream.seen[0].json
    points = 3 if client == "messages" else 2
    if upstream == "messages" or client == upstream:
        assert place.upstream.seen[0].body.count(b'"cache_control"') == points
        assert got.dropped == set()
        if upstream == "messages":
            assert body["system"][0]["cache_control"] == CACHE["cache_control"]
            assert body["messages"][0]["content"][0]["cache_control"] == CACHE["cache_control"]
            assert client == "chat" or body["tools"][-1]["cache_control"] == CACHE["cache_control"]
    else:
        assert b"cache_control" not in place.upstream.seen[0].body
        assert len(got.dropped) == points
        assert all(path.endswith(".cache_control") for path in got.dropped)
