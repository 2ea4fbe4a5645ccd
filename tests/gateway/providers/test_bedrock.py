"""Bedrock's paths, frames and errors, and Anthropic's bodies there."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.answers import EVENTS, MESSAGES
from tests.gateway.providers import frames
from tests.gateway.providers.bedrock_said import BEGIN, CLAUDE, SERVICE, answer, converse, documents, fed

from interlock.errors import LocalError, RemoteError
from interlock.gateway.providers.bedrock import AnthropicOnBedrock, Converse
from interlock.gateway.providers.ports import Dialect
from interlock.gateway.wire.reading import read_whole


def test_paths() -> None:
    arn = "arn:aws:bedrock:eu-central-1:1:inference-profile/eu.anthropic.claude-v1:0"
    dialects: list[Dialect] = [AnthropicOnBedrock(arn), Converse(arn, anthropic=True)]
    quoted = "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Ainference-profile%2Feu.anthropic.claude-v1%3A0"
    assert [dialect.path(stream) for dialect in dialects for stream in (False, True)] == [
        f"{quoted}/invoke",
        f"{quoted}/invoke-with-response-stream",
        f"{quoted}/converse",
        f"{quoted}/converse-stream",
    ]
    assert {dialect.format for dialect in dialects} == {"messages"}


# Anthropic's bodies


@pytest.mark.parametrize(
    ("body", "betas", "expected"),
    [
        (b'{"model":"m","max_tokens":1.0e2,"stream":true}', (), b'"max_tokens":1.0e2'),
        (b'{ "stream" : false , "a" : {"model": 1} }', (), b'"a" : {"model": 1}'),
        (b'{"mod\\u0065l":"m","anthropic_version":"x","a":[]}', (), b'"a":[]'),
        (b'{"a":1}', ("b-1", "b-2"), b'"anthropic_beta":["b-1","b-2"],"a":1'),
        (b'{"anthropic_beta":["own"]}', ("b-1",), b'"anthropic_beta":["own"]'),
    ],
)
def test_an_anthropic_body_stays_but_for_what_bedrock_says_elsewhere(
    body: bytes, betas: tuple[str, ...], expected: bytes
) -> None:
    written = AnthropicOnBedrock(CLAUDE).request(body, False, betas)
    assert written == b'{"anthropic_version":"bedrock-2023-05-31",%b}' % expected


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"a":1,"a":2}', b'"\xff"', b"", b"1"])
def test_an_anthropic_body_must_be_an_object(body: bytes) -> None:
    with pytest.raises(LocalError):
        AnthropicOnBedrock(CLAUDE).request(body, False)


def test_anthropic_answers_and_events_pass_unchanged() -> None:
    dialect = AnthropicOnBedrock(CLAUDE)
    assert dialect.whole(200, MESSAGES) is MESSAGES
    events = EVENTS["messages"]
    data = b"".join(frames.chunk(event.split(b"data: ")[1].rstrip()) for event in events)
    for cut in range(len(data) + 1):
        assert fed(dialect.decoder(), data, cut) == b"".join(events)
    assert fed(dialect.decoder(), data, *range(len(data))) == b"".join(events)


def test_an_anthropic_event_on_several_lines_becomes_one() -> None:
    data = frames.chunk(b'{\r"type": "ping"}') + frames.chunk(b'{\n"type": "ping"}')
    assert fed(AnthropicOnBedrock(CLAUDE).decoder(), data) == b'event: ping\ndata: { "type": "ping"}\n\n' * 2


def test_frames_of_an_unknown_kind_say_nothing() -> None:
    data = frames.event("novelty", {"a": 1})
    assert fed(AnthropicOnBedrock(CLAUDE).decoder(), data) == b""
    assert fed(converse().decoder(), data) == b""


@pytest.mark.parametrize(
    "data",
    [
        frames.event("chunk", {"bytes": "?"}),
        frames.event("chunk", {"bytes": "ä"}),
        frames.event("chunk", {}),
        frames.chunk(b"no json"),
        frames.chunk(b'{"type": "a\\nb"}'),
        frames.chunk(b'{"type": 1}'),
        frames.frame({":message-type": frames.text("novelty")}, b""),
        frames.frame({}, b""),
    ],
)
def test_frames_without_an_event_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteError) as caught:
        fed(AnthropicOnBedrock(CLAUDE).decoder(), data)
    assert caught.value.code == "upstream_invalid"


# Errors

EXCEPTIONS = [
    ("throttlingException", "rate_limit_error"),
    ("serviceUnavailableException", "overloaded_error"),
    ("modelTimeoutException", "timeout_error"),
    ("validationException", "invalid_request_error"),
    ("internalServerException", "api_error"),
    ("modelStreamErrorException", "api_error"),
    ("somethingNewException", "api_error"),
]


@pytest.mark.parametrize("dialect", [AnthropicOnBedrock(CLAUDE), converse()])
@pytest.mark.parametrize(("name", "type"), EXCEPTIONS)
def test_an_exception_in_a_stream_is_its_error_and_its_end(dialect: Dialect, name: str, type: str) -> None:
    data = frames.exception(name, {"message": "Too many"}) + frames.exception(name, {"message": "again"})
    decoder = dialect.decoder()
    (document,) = documents(fed(decoder, data))
    assert (document["type"], document["error"]["type"], document["error"]["message"]) == ("error", type, "Too many")
    assert decoder.feed(data) == b""


def test_every_exception_of_the_service_model_has_its_status() -> None:
    for operation in ("ConverseStream", "InvokeModelWithResponseStream"):
        stream = SERVICE.operation_model(operation).get_event_stream_output()
        for name, shape in stream.members.items():
            if not shape.metadata.get("exception"):
                continue
            status = shape.metadata["error"]["httpStatusCode"]
            (document,) = documents(fed(converse().decoder(), frames.exception(name, {"message": "m"})))
            whole = msgspec.json.decode(converse().whole(status, b'{"message":"m"}'))
            assert document["error"]["type"] == whole["error"]["type"], name


def test_an_error_frame_and_an_exception_without_a_message() -> None:
    headers = {":message-type": "error", ":error-code": "InternalError", ":error-message": "It broke"}
    data = frames.frame({name: frames.text(value) for name, value in headers.items()}, b"")
    assert documents(fed(converse().decoder(), data))[0]["error"]["message"] == "It broke"
    data = frames.exception("modelStreamErrorException", {"originalMessage": "deep"})
    assert documents(fed(converse().decoder(), data))[0]["error"]["message"] == "deep"
    data = frames.exception("throttlingException", {})
    assert documents(fed(converse().decoder(), data))[0]["error"]["message"] == "throttlingException"


@pytest.mark.parametrize("dialect", [AnthropicOnBedrock(CLAUDE), converse()])
@pytest.mark.parametrize(
    ("status", "body", "type"),
    [
        (400, b'{"message":"The provided model identifier is invalid."}', "invalid_request_error"),
        (403, b'{"Message":"User is not authorized"}', "permission_error"),
        (404, b'{"message":"m"}', "not_found_error"),
        (408, b'{"message":"m"}', "timeout_error"),
        (424, b'{"message":"m","originalStatusCode":500}', "api_error"),
        (429, b'{"message":"Too many tokens"}', "rate_limit_error"),
        (500, b'{"message":"m"}', "api_error"),
        (503, b'{"message":"m"}', "overloaded_error"),
    ],
)
def test_error_bodies(dialect: Dialect, status: int, body: bytes, type: str) -> None:
    document = msgspec.json.decode(dialect.whole(status, body))
    assert document["type"] == "error"
    assert document["error"]["type"] == type
    assert document["error"]["message"] in body.decode()
    assert read_whole("messages", dialect.whole(status, body)).error_type == type


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"{}", b'{"message":1}', b"\xff"])
def test_bodies_that_cannot_be_read_come_back(body: bytes) -> None:
    assert converse().whole(502, body) is body
    assert converse().whole(200, body) is body


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]
SHAPES = st.fixed_dictionaries(
    {},
    optional={
        "contentBlockIndex": st.integers(-1, 3) | JSON,
        "delta": st.fixed_dictionaries({}, optional={"text": JSON, "toolUse": JSON, "reasoningContent": JSON}) | JSON,
        "start": st.fixed_dictionaries({}, optional={"toolUse": JSON}) | JSON,
        "stopReason": JSON,
        "usage": JSON,
        "bytes": JSON,
    },
)


@given(st.lists(st.tuples(st.sampled_from([*NAMES, "chunk"]), SHAPES | JSON), max_size=5), st.binary(max_size=20))
def test_garbage_is_never_anything_but_a_remote_error(events: list[tuple[str, Any]], tail: bytes) -> None:
    data = b"".join(frames.event(*event) for event in events)
    exceptions = b"".join(frames.exception(*event) for event in events)
    for dialect in (AnthropicOnBedrock(CLAUDE), converse()):
        for stream in (data + tail, exceptions + tail, frames.event(*BEGIN) + data):
            try:
                fed(dialect.decoder(), stream)
            except RemoteError as error:
                assert error.code == "upstream_invalid"


@given(JSON.map(lambda document: json.dumps(document).encode()) | st.binary(max_size=30), st.sampled_from([200, 400]))
def test_whole_garbage_raises_nothing(body: bytes, status: int) -> None:
    assert isinstance(converse().whole(status, body), bytes)
    assert isinstance(AnthropicOnBedrock(CLAUDE).whole(status, body), bytes)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"novelty":' + b"[" * 100_000, answer([{"text": "\ud800"}])])
def test_bodies_that_are_hard_to_read_raise_nothing(body: bytes) -> None:
    assert converse().whole(200, body) is body


def test_ids_are_made_anew() -> None:
    dialect = Converse(CLAUDE, anthropic=True)
    made = {msgspec.json.decode(dialect.whole(200, answer([])))["id"] for _ in range(10)}
    made |= {documents(dialect.decoder().feed(frames.event(*BEGIN)))[0]["message"]["id"] for _ in range(10)}
    assert len(made) == 20


def test_anthropics_own_reading_of_a_frame_is_ours() -> None:
    from anthropic.lib.bedrock._stream_decoder import AWSEventStreamDecoder

    data = b"".join(frames.chunk(event.split(b"data: ")[1].rstrip()) for event in EVENTS["messages"])
    theirs = list(AWSEventStreamDecoder().iter_bytes(iter([data])))
    ours = documents(fed(AnthropicOnBedrock(CLAUDE).decoder(), data))
    assert [(event.event, msgspec.json.decode(event.data)) for event in theirs] == [(d["type"], d) for d in ours]
