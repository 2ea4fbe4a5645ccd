"""A usage the client did not ask for is hidden, and nothing else is, whatever the stream."""

import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.gateway.wire.streams import hidden, run, seen

from interlock.gateway.wire import StreamTap
from interlock.gateway.wire import tap as tap_module
from interlock.ledger import Format

NASTY = st.lists(
    st.sampled_from(['"', "\\", "}", "{", ",", '"usage":null', ',"usage":null', '"finish_reason":null', "é", "\n", "a"])
).map("".join)
DELTAS = st.fixed_dictionaries(
    {}, optional={"content": NASTY | st.none(), "role": st.just("assistant"), "usage": st.none(), 'x","usage': NASTY}
)
CHOICES = st.lists(
    st.fixed_dictionaries(
        {"delta": DELTAS, "finish_reason": st.sampled_from([None, None, None, "stop"])},
        optional={"usage": st.none(), "index": st.just(0)},
    ),
    max_size=2,
)
FIGURES = st.fixed_dictionaries({"prompt_tokens": st.integers(0, 9), "completion_tokens": st.integers(0, 9)})
CHUNKS = st.fixed_dictionaries(
    {"choices": CHOICES}, optional={"usage": st.none() | FIGURES, "id": NASTY, "obfuscation": NASTY, 'a"usage': NASTY}
)


@settings(max_examples=at_least(300), deadline=None)
@given(
    chunks=st.lists(CHUNKS, min_size=1, max_size=6),
    reorder=st.randoms(use_true_random=False),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")]),
    end=st.sampled_from(["\n\n", "\r\n\r\n"]),
    cuts=st.lists(st.integers(0, 2_000), max_size=5),
)
@example(
    chunks=[{"choices": [{"delta": {"usage": None}, "finish_reason": None}]}] * 2,
    reorder=__import__("random").Random(1),
    separators=(",", ":"),
    end="\n\n",
    cuts=[],
)
def test_hiding_on_any_stream(
    chunks: list[dict[str, Any]], reorder: Any, separators: tuple[str, str], end: str, cuts: list[int]
) -> None:
    lines = []
    for chunk in chunks:
        keys = list(chunk)
        reorder.shuffle(keys)
        lines.append(f"data: {json.dumps({key: chunk[key] for key in keys}, separators=separators)}{end}")
    stream = "".join(lines).encode()
    places = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    out, readings = run("chat", pieces, hide_usage=True)
    assert seen(out) == hidden(stream)
    assert run("chat", lines_of(stream, end), hide_usage=True) == (out, readings)
    assert run("chat", pieces)[0] == stream
    reported = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    if reported:
        want = {"input": reported[-1]["prompt_tokens"], "output": reported[-1]["completion_tokens"]}
        assert readings["usage"] == want


def lines_of(stream: bytes, end: str) -> list[bytes]:
    return [event + end.encode() for event in stream.split(end.encode())[:-1]]


@settings(max_examples=at_least(200), deadline=None)
@given(texts=st.lists(NASTY | st.text(max_size=5), max_size=12), hide_usage=st.booleans())
def test_alike_events_are_all_shown_and_counted(texts: list[str], hide_usage: bool) -> None:
    """The learned head and tail must never swallow or change an event that differs elsewhere."""
    chunks = [
        {"choices": [{"delta": {"content": text}, "finish_reason": "stop" if "é" in text else None}], "usage": None}
        for text in texts
    ]
    lines = [b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n" for chunk in chunks]
    out, readings = run("chat", lines, hide_usage=hide_usage)
    assert seen(out) == (hidden(b"".join(lines)) if hide_usage else seen(b"".join(lines)))
    assert readings["content_events"] == sum("é" not in text for text in texts)
    assert readings["complete"] == any("é" in text for text in texts)


def test_the_learned_shape_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A common stream leaves the searching path after its second event."""
    studied: list[bytes] = []
    plain = tap_module._ChatTap._unlike

    def counting(self: Any, event: bytes) -> bytes:
        studied.append(event)
        return plain(self, event)

    monkeypatch.setattr(tap_module._ChatTap, "_unlike", counting)
    chunk = b'data: {"choices":[{"delta":{"content":"%b"},"finish_reason":null}],"usage":null}\n\n'
    tap = StreamTap("chat", hide_usage=True)
    for number in range(20):
        assert b"usage" not in tap.feed(chunk % str(number).encode())
    assert len(studied) == 2
    assert tap.content_events == 20


PLAIN = b'data: {"choices":[{"delta":{"content":"%b"},"finish_reason":null}]%b}\n\n'


@pytest.mark.parametrize(
    "chunk",
    [
        PLAIN % (b'a"},"finish_reason":"stop"},{"delta":{"content":"b', b""),  # two choices between the learned ends
        PLAIN % (b'a","usage":{"prompt_tokens":7},"x":"', b""),
        PLAIN % (b"a", b',"x\\"usage":null'),  # a key that ends so
        PLAIN % (b"a", b', "usage":null'),
        PLAIN % (b'a","usage":null,"x":"b', b""),
        PLAIN % (b"a", b',"usage":null,"usages":{"usage":null}'),
        PLAIN % (b"a", b',"error":{"message":"m","type":"overloaded"}'),
        PLAIN.replace(b"null}", b'null,"usage":null}') % (b"a", b',"usage":{"prompt_tokens":7}'),
        b'data: {"usage":null,"choices":[{"delta":{},"finish_reason":null}]}\n\n',
    ],
)
@pytest.mark.parametrize("hide_usage", [False, True])
def test_chunks_that_look_ordinary(chunk: bytes, hide_usage: bool) -> None:
    """Each comes after ordinary chunks, and reads as it does alone, where it is parsed."""
    tap, alone = StreamTap("chat", hide_usage=hide_usage), StreamTap("chat", hide_usage=hide_usage)
    for text in (b"x", b"y", b"z"):
        tap.feed(PLAIN % (text, b""))
    wanted = hidden(chunk) if hide_usage else seen(chunk)
    assert seen(tap.feed(chunk)) == seen(alone.feed(chunk)) == wanted
    for name in ("usage", "errored", "error_type", "finish_reason", "raw"):
        assert getattr(tap, name) == getattr(alone, name)


def test_a_usage_before_the_content_is_hidden_each_time() -> None:
    chunk = b'data: {"choices":[{"finish_reason":null}],"usage":null,"content":"%b"}\n\n'
    tap = StreamTap("chat", hide_usage=True)
    for text in (b"a", b"b", b"c", b"long"):
        assert seen(tap.feed(chunk % text)) == hidden(chunk % text)


def test_a_messages_error_without_its_type() -> None:
    """As llama.cpp sends it."""
    _, got = run("messages", [b'data: {"error":{"code":500,"message":"m","type":"server_error"}}\n\n'])
    assert (got["errored"], got["error_type"]) == (True, "server_error")


LOCAL = Path(__file__).parents[2] / "data" / "local"


def recorded(name: str) -> list[bytes]:
    """The chunks of a response that the local server sent."""
    rest, chunks = (LOCAL / f"{name}.txt").read_bytes().split(b"\r\n\r\n", 1)[1], []
    while size := int(rest.split(b"\r\n", 1)[0], 16):
        start = rest.index(b"\r\n") + 2
        chunks.append(rest[start : start + size])
        rest = rest[start + size + 2 :]
    return chunks


@pytest.mark.parametrize("name", ["chat-stream-usage", "messages-stream", "responses-stream"])
def test_the_local_server(name: str) -> None:
    format: Format = msgspec.convert(name.split("-")[0], Format)
    chunks = recorded(name)
    out, got = run(format, chunks)
    assert out == b"".join(chunks)
    assert (got["complete"], got["source"], got["inconsistent"]) == (True, "reported", False)
    assert (got["usage"]["input"], got["usage"]["output"]) == (33, 4)
    assert got["usage"].get("cache_read", 0) < 33
    assert got["upstream_model"] == "smollm2-135m-instruct"
    assert got["content_events"] in (4, 5)
    assert got["finish_reason"] in ("length", "max_tokens", "completed")
    shown, _ = run(format, chunks, hide_usage=format == "chat")
    assert seen(shown) == (hidden(out) if format == "chat" else seen(out))
