"""Judged by Anthropic's own Vertex client and by google-genai's: what they send is what we send."""

import json

import anthropic
import msgspec
import pytest
from google import genai
from tests.gateway.answers import EVENTS, MESSAGES
from tests.gateway.providers.endpoint import endpoint

from interlock.errors import LocalError
from interlock.gateway.providers.gemini import Gemini
from interlock.gateway.providers.google import API_KEY_HEADER
from interlock.gateway.providers.ports import Dialect
from interlock.gateway.providers.vertex import ANTHROPIC_VERSION, AnthropicOnVertex, google_prefix, vertex_origin

MODEL = "claude-sonnet-4@20250514"


def test_requests_are_the_sdk_s() -> None:
    dialect: Dialect = AnthropicOnVertex(MODEL, "my-project", "europe-west1")
    with (
        endpoint(msgspec.json.decode(MESSAGES)) as server,
        anthropic.AnthropicVertex(
            region="europe-west1", project_id="my-project", access_token="t", base_url=f"{server.url}/v1", max_retries=0
        ) as client,
    ):
        client.messages.create(model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "hi"}])
        client.messages.create(
            model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "hi"}], stream=True
        ).close()
    for asked, stream in zip(server.asked, (False, True), strict=True):
        assert asked.target.replace("%40", "@") == dialect.path(stream)
        sent = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
        ours = dialect.request(json.dumps(sent | ({"stream": True} if stream else {})).encode(), stream)
        version = {"anthropic_version": ANTHROPIC_VERSION}  # its own: the newest of the API
        assert msgspec.json.decode(ours) == msgspec.json.decode(asked.body) | version


def test_the_gemini_sdk_asks_the_same_place() -> None:
    with endpoint({"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}) as server:
        client = genai.Client(
            api_key="k", vertexai=False, http_options={"base_url": server.url, "api_version": "v1beta"}
        )
        client.models.generate_content(model="gemini-3-pro", contents="hi")
        client.close()
    assert server.asked[0].target == Gemini("gemini-3-pro").path(False)
    assert server.asked[0].headers[API_KEY_HEADER] == "k"


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"model":"m","a":1.0}', b'{"anthropic_version":"vertex-2023-10-16","a":1.0}'),
        (b'{"a":[1, 2] , "model":"m"}', b'{"anthropic_version":"vertex-2023-10-16","a":[1, 2]}'),
        (b' { "model" : "m" } ', b'{"anthropic_version":"vertex-2023-10-16"  } '),
        (
            b'{"model":"m","anthropic_version":"x","m":{"model":1}}',
            b'{"anthropic_version":"vertex-2023-10-16","m":{"model":1}}',
        ),
    ],
)
def test_all_else_stays_as_it_was_written(body: bytes, sent: bytes) -> None:
    assert AnthropicOnVertex(MODEL, "p", "l").request(body, False) == sent


@pytest.mark.parametrize("body", [b"[]", b"", b"{", b"1"])
def test_bodies_that_are_none(body: bytes) -> None:
    with pytest.raises(LocalError):
        AnthropicOnVertex(MODEL, "p", "l").request(body, False)


def test_answers_pass_and_google_s_errors_do_not() -> None:
    dialect = AnthropicOnVertex(MODEL, "p", "l")
    anthropic_s = b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}'
    for status, body in ((200, MESSAGES), (400, anthropic_s), (502, b"<html>")):
        assert dialect.whole(status, body) == body
    google_s = b'[{"error":{"code":403,"message":"Permission denied","status":"PERMISSION_DENIED"}}]'
    error = msgspec.json.decode(dialect.whole(403, google_s))["error"]
    assert (error["type"], error["message"]) == ("permission_error", "Permission denied")
    decoder = dialect.decoder()
    stream = b"".join(EVENTS["messages"])
    assert decoder.feed(stream[:50]) + decoder.feed(stream[50:]) + decoder.finish() == stream


def test_places() -> None:
    assert google_prefix("p", "global") == "/v1/projects/p/locations/global/publishers/google"
    for region in ("global", "us", "eu", "europe-west1"):
        client = anthropic.AnthropicVertex(region=region, project_id="p", access_token="t")
        assert str(client.base_url) == f"{vertex_origin(region)}/v1/"
        client.close()
