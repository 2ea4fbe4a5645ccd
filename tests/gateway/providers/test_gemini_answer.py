"""Answers of Gemini judged by anthropic's types and its stream accumulator: ends, usage, errors, bytes."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.providers.gemini_said import (
    CALL,
    FIGURES,
    NEW,
    PICTURE,
    SIGNATURE,
    TEXT,
    USAGE,
    body,
    chunk,
    events,
    final,
    sse,
    streamed,
    whole,
)

from interlock.errors import LocalError, RemoteError
from interlock.gateway.providers.gemini import Gemini
from interlock.gateway.wire.reading import read_whole
from interlock.gateway.wire.tap import StreamTap

STOPS = [
    ("STOP", "end_turn"),
    ("MAX_TOKENS", "max_tokens"),
    *(
        (reason, "refusal")
        for reason in ("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "LANGUAGE")
    ),
]


@pytest.mark.parametrize(("finish", "stop"), STOPS)
def test_stop_reasons(finish: str, stop: str) -> None:
    assert whole(chunk(TEXT, finish=finish))["stop_reason"] == stop
    assert final(streamed(sse(chunk(TEXT), chunk(finish=finish))))["stop_reason"] == stop
    expected = "tool_use" if stop == "end_turn" else stop
    assert whole(chunk(TEXT, CALL, finish=finish))["stop_reason"] == expected


def test_a_blocked_prompt_is_a_refusal() -> None:
    said = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}}
    for message in (whole(said), final(streamed(sse(said)))):
        assert message["stop_reason"] == "refusal"
        assert message["content"] == []
        assert message["stop_details"]["explanation"] == "PROHIBITED_CONTENT"
        assert message["usage"]["input_tokens"] == 9


@pytest.mark.parametrize("finish", ["MALFORMED_FUNCTION_CALL", "OTHER", "UNEXPECTED_TOOL_CALL", "NEWEST"])
def test_other_ends_are_errors_that_cost(finish: str) -> None:
    said = chunk(TEXT, finish="OTHER", usage=USAGE)
    said["candidates"][0] |= {"finishReason": finish, "finishMessage": "look("}
    reading = read_whole("messages", Gemini(NEW).whole(200, json.dumps(said).encode()))
    tap = StreamTap("messages")
    out = tap.feed(streamed(sse(said))) + tap.finish()
    for seen in (reading, tap):
        assert (seen.errored, seen.error_type, seen.usage) == (True, "api_error", FIGURES)
    assert events(out)[-1]["error"]["message"] == f"Gemini ended with {finish}: look("
    assert not tap.complete


def test_usage_is_the_last_that_was_said() -> None:
    early = {**USAGE, "candidatesTokenCount": 1, "thoughtsTokenCount": 0}
    tap = StreamTap("messages")
    tap.feed(
        streamed(sse(chunk(TEXT, usage=early), chunk(finish="STOP"), {"usageMetadata": {"trafficType": "ON_DEMAND"}}))
    )
    assert tap.finish() == b""
    assert (tap.usage, tap.complete) == (FIGURES, True)
    assert (
        read_whole("messages", Gemini(NEW).whole(200, json.dumps(chunk(TEXT, finish="STOP")).encode())).usage == FIGURES
    )


def test_vertex_counts_at_the_end() -> None:
    out = streamed(sse(chunk(TEXT, usage={"trafficType": "ON_DEMAND"}), chunk(finish="STOP")), estimate=33)
    assert events(out)[0]["message"]["usage"] == {"input_tokens": 33, "output_tokens": 0}
    assert final(out)["usage"]["input_tokens"] == 67


@pytest.mark.parametrize("absurd", [-1, True, 2**60, "9", 1.5])
def test_absurd_or_missing_usage_is_not_reported(absurd: object) -> None:
    said = chunk(TEXT, finish="STOP", usage=None) | {"usageMetadata": {"promptTokenCount": absurd}}
    assert read_whole("messages", Gemini(NEW).whole(200, json.dumps(said).encode())).source == "estimated"
    tap = StreamTap("messages")
    tap.feed(streamed(sse(said), estimate=33))
    assert tap.complete
    assert (tap.source, tap.estimate()[0]["input"]) == ("counted", 33)


@pytest.mark.parametrize(
    "data",
    [
        sse(chunk(TEXT)),
        sse(chunk(TEXT, finish="STOP"), chunk(TEXT)),
        sse(chunk(TEXT), chunk(finish="STOP"))[:-30],
        b"",
    ],
    ids=["no reason", "it went on", "cut", "nothing"],
)
def test_a_stream_that_did_not_end_is_not_complete(data: bytes) -> None:
    assert b"message_stop" not in streamed(data)


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert final(streamed(sse(chunk(TEXT, finish="STOP")).rstrip()))["stop_reason"] == "end_turn"


BUSY = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    "framed", [sse(BUSY), json.dumps([BUSY], indent=1).encode(), json.dumps(BUSY).encode(), sse([BUSY])]
)
def test_an_error_ends_a_stream(framed: bytes) -> None:
    for before in (b"", sse(chunk(TEXT))):
        said = events(streamed(before + framed + b"\r\n\r\n" + sse(chunk(TEXT, finish="STOP"))))
        assert said[-1]["type"] == "error"
        assert said[-1]["error"]["type"] == "overloaded_error"
        assert said[-1]["error"]["message"] == "The model is overloaded."


@pytest.mark.parametrize(
    ("status", "said", "type"),
    [
        (429, {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}, "rate_limit_error"),
        (
            400,
            [{"error": {"code": 400, "message": "slow down", "status": "INVALID_ARGUMENT"}}],
            "invalid_request_error",
        ),
        (200, {"error": {"code": 503, "message": "slow down"}}, "overloaded_error"),
        (500, {"error": "slow down"}, "api_error"),
    ],
)
def test_whole_errors(status: int, said: object, type: str) -> None:
    error = msgspec.json.decode(Gemini(NEW).whole(status, json.dumps(said).encode()))
    assert error["type"] == "error"
    assert (error["error"]["type"], error["error"]["message"]) == (type, "slow down")


def test_what_cannot_be_read_comes_back_as_it_is() -> None:
    assert Gemini(NEW).whole(502, b"<html>error</html>") == b"<html>error</html>"


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "image/png", "data": PICTURE}},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"functionCall": {"name": "look", "args": [1]}},
        {"text": 1},
    ],
)
def test_what_messages_has_no_word_for_is_an_error(part: dict[str, Any]) -> None:
    said = {"candidates": [{"content": {"parts": [TEXT, part]}, "finishReason": "STOP"}]}
    assert read_whole("messages", Gemini(NEW).whole(200, json.dumps(said).encode())).errored
    with pytest.raises(RemoteError) as raised:
        Gemini(NEW).decoder().feed(sse(said))
    assert raised.value.code == "upstream_invalid"


def test_what_stood_before_a_fault_is_given_out_and_the_fault_is_raised_next() -> None:
    decoder = Gemini(NEW).decoder()
    assert b"Hello" in decoder.feed(sse(chunk(TEXT)) + b"data: {]\n\n")
    with pytest.raises(RemoteError):
        decoder.feed(b"data")
    with pytest.raises(RemoteError):
        decoder.finish()


def test_an_endless_event_is_refused() -> None:
    decoder = Gemini(NEW).decoder()
    with pytest.raises(RemoteError):
        for _ in range(200):
            decoder.feed(b"x" * 65536)


MANY = sse(
    chunk({"text": "I thínk", "thought": True}),
    chunk(TEXT),
    chunk({**CALL, "thoughtSignature": SIGNATURE}, CALL),
    chunk(finish="STOP"),
)


@pytest.mark.parametrize(
    "data", [MANY, MANY.replace(b"\r\n", b"\n"), b": hello\n\n" + MANY + sse(BUSY), MANY[:-9] + b"\n\n" + MANY]
)
def test_cut_anywhere_it_says_the_same(data: bytes) -> None:
    expected = _fed(data)
    for at in range(len(data)):
        assert _fed(data[:at], data[at:]) == expected
    assert _fed(*(data[i : i + 1] for i in range(len(data)))) == expected


def _fed(*pieces: bytes) -> bytes:
    """What comes out, up to a fault if there is one."""
    decoder, out = Gemini(NEW).decoder(), b""
    try:
        for piece in pieces:
            out += decoder.feed(piece)
        return out + decoder.finish()
    except RemoteError:
        return out


NAMES = """candidates content parts text thought thoughtSignature functionCall args name id error finishReason
    usageMetadata promptTokenCount promptFeedback blockReason responseId code message messages role type source url
    tools system thinking signature input_schema input"""
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(NAMES.split()),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_garbage_raises_only_our_errors(value: object) -> None:
    text = json.dumps(value).encode()
    gemini = Gemini(NEW)
    gemini.whole(200, text)
    gemini.whole(500, text)
    assert b"message_stop" not in _fed(sse(value), text) or b"finishReason" in text or b"blockReason" in text
    try:
        gemini.request(text, False)
        gemini.request(body(**{"messages": value}), False)
    except LocalError:
        pass


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"data: ", b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"a","args":']),
)
def test_bytes_raise_only_our_errors(data: bytes, before: bytes) -> None:
    Gemini(NEW).whole(200, before.removeprefix(b"data: ") + data)
    _fed(before + data + b"\n\n")
    _fed(before + b"[" * 5000 + b"\n\n")
