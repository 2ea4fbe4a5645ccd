"""Streams as they pass: the same bytes however cut, the readings of each format, a hidden usage only hidden."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.wire.streams import SAMPLES, format_of, hidden, run, seen

from interlock.gateway.wire import StreamTap
from interlock.gateway.wire import tap as tap_module
from interlock.ledger import Format


@pytest.mark.parametrize(
    ("name", "hide_usage"), [(name, hide) for name in SAMPLES for hide in (False, True) if name[0] == "c" or not hide]
)
def test_cut_at_every_position_changes_nothing(name: str, hide_usage: bool) -> None:
    stream, format = SAMPLES[name], format_of(name)
    events = [event + b"\n\n" for event in stream.split(b"\n\n")[:-1]]
    whole = run(format, events, hide_usage=hide_usage)
    assert hide_usage or whole[0] == stream
    assert run(format, [stream], hide_usage=hide_usage) == whole
    assert run(format, [bytes([byte]) for byte in stream], hide_usage=hide_usage) == whole
    for at in range(len(stream)):
        assert run(format, [stream[:at], stream[at:]], hide_usage=hide_usage) == whole, at


@pytest.mark.parametrize("name", SAMPLES)
def test_crlf_and_missing_spaces_and_comments_read_the_same(name: str) -> None:
    format, stream = format_of(name), SAMPLES[name]
    readings = run(format, [stream])[1]
    for other in (
        stream.replace(b"\n", b"\r\n"),
        stream.replace(b"data: ", b"data:"),
        b": keep-alive\n\n" + stream.replace(b"\n\n", b"\n\n: keep-alive\n\n"),
    ):
        events = [piece for line in other.splitlines(keepends=True) for piece in (line[:7], line[7:])]
        out, got = run(format, events)
        assert out == other
        got["estimate"] = readings["estimate"]  # in bytes, so it may differ by the envelope
        assert got == readings


def test_events_go_on_at_once() -> None:
    for name, stream in SAMPLES.items():
        tap = StreamTap(format_of(name))
        for event in stream.split(b"\n\n")[:-1]:
            assert tap.feed(event + b"\n\n") == event + b"\n\n"


@pytest.mark.parametrize("name", [name for name in SAMPLES if name.startswith("chat")])
def test_hidden_usage_is_all_that_is_hidden(name: str) -> None:
    stream = SAMPLES[name]
    out, readings = run("chat", [stream], hide_usage=True)
    assert seen(out) == hidden(stream)
    assert readings == run("chat", [stream])[1]


OPENAI = {"input": 1200, "cache_read": 1024, "output": 40, "reasoning": 16}


@pytest.mark.parametrize("name", ["chat_text", "chat_obfuscated", "chat_tools"])
def test_chat(name: str) -> None:
    _, got = run("chat", [SAMPLES[name]])
    assert (got["complete"], got["errored"], got["source"]) == (True, False, "reported")
    assert got["usage"] == OPENAI
    assert msgspec.json.decode(got["raw"])["completion_tokens_details"]["rejected_prediction_tokens"] == 0
    assert got["raw"] in SAMPLES[name]
    assert got["finish_reason"] == ("tool_calls" if name == "chat_tools" else "stop")
    assert (got["upstream_id"], got["upstream_model"]) == ("chatcmpl-A1", "gpt-5-mini-2025-08-07")
    assert got["content_events"] == (7 if name == "chat_tools" else 9)


def test_chat_usage_beside_choices_and_no_done() -> None:
    _, got = run("chat", [SAMPLES["chat_usage_in_choice_chunk"]])
    assert got["complete"]
    assert got["usage"] == {"input": 10, "cache_read": 4, "output": 3}


def test_chat_of_llama_cpp() -> None:
    _, got = run("chat", [SAMPLES["chat_llamacpp"]])
    assert got["usage"] == {"input": 31, "cache_read": 30, "output": 8}
    assert got["finish_reason"] == "length"


def test_chat_without_done_is_complete_only_after_finish() -> None:
    tap = StreamTap("chat")
    tap.feed(SAMPLES["chat_usage_in_choice_chunk"])
    assert not tap.complete
    tap.finish()
    assert tap.complete


def test_a_truncated_stream_is_not_complete() -> None:
    for name, stream in SAMPLES.items():
        events = stream.split(b"\n\n")
        _, got = run(format_of(name), [b"\n\n".join(events[:3]) + b"\n\n"])
        assert not got["complete"], name
        assert got["usage"] == {}


def test_a_broken_last_event_is_dropped_so_that_an_error_can_follow() -> None:
    stream = SAMPLES["chat_text"]
    at = stream.index(b"\n\n") + 2
    out, got = run("chat", [stream[: at + 40]])
    assert out == stream[:at]
    assert not got["complete"]


@pytest.mark.parametrize("name", ["chat_text", "messages_full", "responses_full"])
def test_a_last_event_without_its_blank_line_counts(name: str) -> None:
    stream = SAMPLES[name].rstrip(b"\n")
    out, got = run(format_of(name), [stream])
    assert out == stream
    assert got["complete"]


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("chat_error", "server_error"),
        ("messages_error", "overloaded_error"),
        ("responses_error", "rate_limit_exceeded"),
        ("responses_failed", "server_error"),
    ],
)
def test_errors(name: str, type: str) -> None:
    _, got = run(format_of(name), [SAMPLES[name]])
    assert (got["errored"], got["error_type"], got["usage"]) == (True, type, {})
    assert got["complete"] == (name == "responses_failed")


def test_done_after_an_error_does_not_complete() -> None:
    _, got = run("chat", [SAMPLES["chat_error"] + b"data: [DONE]\n\n"])
    assert not got["complete"]


def test_messages() -> None:
    _, got = run("messages", [SAMPLES["messages_full"]])
    assert got["complete"]
    assert got["usage"] == {
        "input": 101_010,
        "cache_read": 100_000,
        "cache_write_5m": 400,
        "cache_write_1h": 600,
        "output": 89,
        "reasoning": 21,
        "web_search": 2,
    }
    raw = msgspec.json.decode(got["raw"])
    assert raw["message_start"]["service_tier"] == "standard"
    assert raw["message_delta"]["output_tokens"] == 89
    assert (got["finish_reason"], got["upstream_id"]) == ("tool_use", "msg_1")
    assert got["upstream_model"] == "claude-sonnet-4-5-20250929"


def test_messages_hung_up_counts_the_input_that_was_reported() -> None:
    tap = StreamTap("messages")
    stream = SAMPLES["messages_full"]
    tap.feed(stream[: stream.index(b"event: message_delta")])
    usage, rule = tap.estimate()
    assert tap.source == "counted"
    assert tap.usage == {}
    assert usage["input"] == 101_010
    assert usage["output"] >= tap.content_events == 14
    assert rule == "stream-delta-bytes/1"


def test_the_output_of_message_start_is_never_final() -> None:
    stream = SAMPLES["messages_full"].replace(b'"output_tokens":89,', b"")
    _, got = run("messages", [stream])
    assert (got["usage"], got["source"]) == ({}, "counted")


def test_message_delta_replaces_the_input_figures_it_gives() -> None:
    stream = SAMPLES["messages_full"].replace(b'"output_tokens":89', b'"input_tokens":12,"output_tokens":89')
    assert run("messages", [stream])[1]["usage"]["input"] == 101_012


def test_responses() -> None:
    _, got = run("responses", [SAMPLES["responses_full"]])
    assert got["usage"] == {"input": 1200, "cache_read": 1024, "cache_write": 100, "output": 40, "reasoning": 16}
    assert (got["complete"], got["finish_reason"], got["created_at"]) == (True, "completed", 1757000000)
    assert (got["upstream_id"], got["upstream_model"]) == ("resp_1", "gpt-5-mini")
    assert got["sequence_number"] == 18
    assert got["raw"] in SAMPLES["responses_full"]
    _, got = run("responses", [SAMPLES["responses_incomplete"]])
    assert (got["complete"], got["finish_reason"], got["errored"]) == (True, "max_output_tokens", False)


def test_responses_without_event_lines() -> None:
    stream = b"\n".join(line for line in SAMPLES["responses_full"].split(b"\n") if not line.startswith(b"event:"))
    _, got = run("responses", [stream])
    assert (got["content_events"], got["complete"], got["usage"]["output"]) == (9, True, 40)


def test_the_estimate_by_hand() -> None:
    tap = StreamTap("messages")
    line = b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"%b"}}\n\n'
    for text in (b"", b"x" * 41, b"y" * 60):
        tap.feed(line % text)
    assert tap.estimate() == ({"output": 26}, "stream-delta-bytes/1")  # (41 + 60) / 4, rounded up
    assert tap.source == "estimated"
    for _ in range(30):
        tap.feed(line % b"")
    assert tap.estimate()[0] == {"output": 33}  # one an event


def test_an_event_too_long_passes_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_module, "EVENT_BYTES_MAX", 700)
    long = b'data: {"choices":[],"pad":"%b","usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n' % (b"x" * 800)
    stream = long + SAMPLES["chat_text"]
    whole = run("chat", [stream], hide_usage=True)
    assert whole[0].startswith(long)
    assert whole[1]["usage"] == OPENAI
    for at in range(len(long) + 4):
        assert run("chat", [stream[:at], stream[at:]], hide_usage=True) == whole, at
    tap = StreamTap("chat")
    assert len(tap.feed(long[:750])) >= 700  # not held back
    assert len(tap._carry) <= 2


@pytest.mark.parametrize("format", ["chat", "messages", "responses"])
@settings(deadline=None)
@given(data=st.binary(max_size=300) | st.text(alphabet='event:dat \r\n{}[]",\\0.', max_size=120).map(str.encode))
def test_garbage_passes_and_never_raises(format: Format, data: bytes) -> None:
    data += b"\n\n"
    tap = StreamTap(format)
    passed = tap.feed(data)
    if tap.malformed:  # it holds an event that is no JSON object, and ends there
        assert data.startswith(passed) and b"data" in data
    else:
        assert passed == data or b"\n\r\n" in data or b"\n\n" in data[:-1]
    assert run(format, [data]) == run(format, [bytes([byte]) for byte in data])
    assert not run(format, [data])[1]["complete"] or (format == "chat" and b"[DONE]" in data)


@pytest.mark.parametrize(("data", "complete"), [(b"data:[DONE]\n\n", True), (b"data:\x00\n\n", False)])
def test_garbage_that_says_something(data: bytes, complete: bool) -> None:
    """What the property above has to allow for: both were found by it."""
    tap = StreamTap("chat")
    assert tap.feed(data) == (data if complete else b"")
    assert (tap.complete, tap.malformed) == (complete, not complete)


def odd(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "document",
    [
        {"type": "message_start", "message": 3},
        {"type": "message_start", "message": {"usage": [], "id": 4, "model": {}}},
        {"type": "message_delta", "usage": {"output_tokens": -1}, "delta": 7},
        {"type": "message_delta", "usage": {"output_tokens": 2.5, "input_tokens": True}},
        {"type": [], "choices": [3, None, {"finish_reason": {}}], "usage": {"prompt_tokens": "x"}, "error": 1},
        {"choices": {}, "usage": 5, "id": None},
        {"type": "response.completed", "response": {"usage": {"input_tokens": 1e300}, "status": [], "error": "x"}},
        {"type": "response.failed", "response": {"error": None, "status": "failed", "created_at": 1e999}},
        {"type": "error", "error": "text"},
        {"type": "response.created", "response": {"usage": {}}, "message": 5, "sequence_number": -4},
        [],
        5,
    ],
)
def test_odd_documents_never_raise(document: object) -> None:
    for format in ("chat", "messages", "responses"):
        run(msgspec.convert(format, Format), [b"data: " + odd(document) + b"\n\n"], hide_usage=format == "chat")


def test_absurd_figures_are_left_out_and_flagged() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": -4, "prompt_tokens_details": {"cached_tokens": 11}}
    _, got = run("chat", [b"data: " + odd({"choices": [], "usage": usage}) + b"\n\n"])
    assert (got["usage"], got["inconsistent"]) == ({"input": 10}, True)


def test_a_giant_usage_object_is_not_recorded() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "pad": "x" * 20_000}
    _, got = run("chat", [b"data: " + odd({"choices": [], "usage": usage}) + b"\n\n"])
    assert (got["usage"], got["raw"]) == ({"input": 10, "output": 4}, b"null")
