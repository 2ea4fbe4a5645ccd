"""What a hostile client or upstream may send: it costs no more than its size, and ends in an error of ours."""

import base64
import sys
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.gateway.translate import story
from tests.gateway.translate.day import a_day
from tests.gateway.translate.story import FORMATS

from interlock.errors import LocalError, RemoteError
from interlock.gateway.translate import chat, messages, read_request, responses, write_request
from interlock.gateway.translate.carrier import PREFIX
from interlock.gateway.translate.neutral import (
    Answer,
    Ask,
    Begin,
    CallBegin,
    CallDelta,
    CallEnd,
    Done,
    Envelope,
    Event,
    Failed,
    Finished,
    Target,
    TextDelta,
    ToolCall,
)
from interlock.ledger import Format

PACKAGES: dict[Format, Any] = {"chat": chat, "messages": messages, "responses": responses}
PAIRS = [(client, target) for client in FORMATS for target in FORMATS]
DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000


def envelope(client: Format) -> Envelope:
    ask = Ask(format=client, stream=True, turns=())
    return Envelope(key="0" * 32, created_at=1, ask=ask, family="f", model="m", input_estimate=1)


# requests


def with_arguments(client: Format, arguments: str) -> dict[str, Any]:
    if client == "chat":
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
        return {"model": "m", "messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": arguments}
    return {"model": "m", "input": [call]}


@pytest.mark.parametrize("arguments", [DEEP, '{"a":1e400}', '{"a":[-1e999]}', "[]", "{", '{"a":NaN}', "1"])
@pytest.mark.parametrize(("client", "path"), [("chat", "messages[0].tool_calls[0]"), ("responses", "input[0]")])
def test_arguments_that_no_object_can_hold_are_refused(client: Format, path: str, arguments: str) -> None:
    ask = PACKAGES[client].read_request(with_arguments(client, arguments))
    with pytest.raises(LocalError) as caught:
        messages.write_request(ask, Target(model="m", family="f"))
    assert caught.value.field == path


@pytest.mark.parametrize("inside", [DEEP, "[" * 5_000, '{"family":1}', "\x00"])
def test_a_carrier_that_is_none_is_a_seal_like_any_other(inside: str) -> None:
    seal = PREFIX + base64.urlsafe_b64encode(inside.encode()).decode()
    block = {"type": "thinking", "thinking": "", "signature": seal}
    ask = messages.read_request({"messages": [{"role": "assistant", "content": [block]}]})
    written = messages.write_request(ask, Target(model="m", family="f"))
    assert written.document["messages"][0]["content"] == [block]


def steps(act: Callable[[], object]) -> int:
    """How much is done, whatever the machine: lines that are run, each turn of a loop once."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += 1
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(("client", "target"), PAIRS)
def test_work_grows_with_the_request_and_no_faster(
    client: Format, target: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(turns: int) -> float:
        told = a_day(client, Random(7), turns)
        body = msgspec.json.encode(told.document)
        goal = Target(model="m", family="f")
        return steps(lambda: write_request(read_request(client, body), target, goal)) / len(
            told.document["input" if client == "responses" else "messages"]
        )

    few = work(60)
    assert work(240) < few * 1.15
    monkeypatch.setattr(story, "PNG", story.PNG * 100_000)
    assert work(60) < few * 1.01


ODD = [
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    '""',
    '"x"',
    '"ilk1.x"',
    "[]",
    "[null]",
    "[[]]",
    "{}",
    '{"type":"text"}',
    '{"a b":1}',
]
NAMES = ["x", "name", "type", "a.b", "é", "", "citations", "x" * 200]


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """(holder, key) of every value within."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            waiting.append(holder[key])
    return found


@settings(deadline=None, max_examples=at_least(300))
@given(st.sampled_from(FORMATS), st.integers(0, 50), st.data())
def test_a_request_with_anything_in_it_is_translated_or_refused(client: Format, seed: int, data: st.DataObject) -> None:
    document = msgspec.json.decode(msgspec.json.encode(a_day(client, Random(seed), 4).document))  # nothing in it shared
    for _ in range(data.draw(st.integers(1, 3))):
        found = nodes(document)
        holder, key = found[data.draw(st.integers(0, len(found) - 1))]
        if isinstance(holder, dict) and data.draw(st.booleans()):
            holder[data.draw(st.sampled_from(NAMES))] = holder.pop(key)
        else:
            holder[key] = msgspec.json.decode(data.draw(st.sampled_from(ODD)))
    for target in FORMATS:
        try:
            ask = read_request(client, msgspec.json.encode(document))
            body, dropped = write_request(ask, target, Target(model="m", family="claude-opus"))
        except LocalError as error:
            assert error.field
            assert len(error.field) < 500
            assert error.status == 400
        else:
            assert msgspec.json.decode(body)["model"] == "m"
            assert all(dropped)


# streams


def chat_chunk(delta: dict[str, Any]) -> dict[str, Any]:
    return {"id": "a", "choices": [{"index": 0, "delta": delta}]}


def block(index: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


LONG = "x" * 10
TOO_MUCH: dict[str, tuple[Format, Callable[[int], dict[str, Any]]]] = {
    "chat text": ("chat", lambda n: chat_chunk({"content": LONG})),
    "chat reasoning": ("chat", lambda n: chat_chunk({"reasoning_content": LONG})),
    "chat refusal": ("chat", lambda n: chat_chunk({"refusal": LONG})),
    "chat arguments": (
        "chat",
        lambda n: chat_chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": LONG}}]}),
    ),
    "chat arguments of nothing": (
        "chat",
        lambda n: chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": LONG}}]}),
    ),
    "chat calls": (
        "chat",
        lambda n: chat_chunk({"tool_calls": [{"index": n, "id": str(n), "function": {"name": "f"}}]}),
    ),
    "chat calls without names": ("chat", lambda n: chat_chunk({"tool_calls": [{"index": n, "function": {}}]})),
    "messages blocks": ("messages", lambda n: block(n, {"type": "text"})),
    "messages unknown blocks": ("messages", lambda n: block(n, {"type": f"new{n}"})),
    "messages calls": ("messages", lambda n: block(n, {"type": "tool_use", "id": f"t{n}", "name": "f"})),
    "messages input": ("messages", lambda n: block(0, {"type": "tool_use", "input": {"a": LONG}})),
    "messages signatures": (
        "messages",
        lambda n: (
            {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": LONG}}
            if n
            else block(0, {"type": "thinking"})
        ),
    ),
    "messages text": (
        "messages",
        lambda n: (
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": LONG}}
            if n
            else block(0, {"type": "text"})
        ),
    ),
    "responses text": ("responses", lambda n: {"type": "response.output_text.delta", "delta": LONG, "output_index": 0}),
    "responses reasoning": ("responses", lambda n: {"type": "response.reasoning_text.delta", "delta": LONG}),
    "responses items": (
        "responses",
        lambda n: {"type": "response.output_item.added", "output_index": n, "item": {"type": "message", "id": f"m{n}"}},
    ),
    "responses names of an item": (
        "responses",
        lambda n: {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": f"m{n}"}},
    ),
    "responses parts": (
        "responses",
        lambda n: {"type": "response.output_text.delta", "delta": "a", "output_index": 0, "content_index": n},
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_an_upstream_says_is_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.gateway.translate.stream.CHARS_MAX", 1_000)
    monkeypatch.setattr("interlock.gateway.translate.stream.THINGS_MAX", 100)
    format, payload = TOO_MUCH[name]
    reader = PACKAGES[format].StreamReader()
    events: list[Event] = [event for n in range(2_000) for event in reader.read(payload(n))]
    assert events[-1] == Failed("upstream_invalid", "the upstream's answer is too long")
    assert len(events) < 600
    assert reader.end() == []


def test_arguments_nested_to_the_edge_end_the_stream() -> None:
    arguments: Any = {}
    for _ in range(sys.getrecursionlimit() * 2):
        arguments = {"a": arguments}
    reader = chat.StreamReader()
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": arguments}}
    events = reader.read(chat_chunk({"tool_calls": [call]}))
    assert events == [Failed("upstream_invalid", "the upstream's answer is nested too deeply")]
    assert reader.read(chat_chunk({"content": "a"})) == []


@pytest.mark.parametrize("arguments", [DEEP, '{"a":1e400}', "[1]"])
def test_arguments_of_an_answer_that_no_object_can_hold(arguments: str) -> None:
    answer = Answer(id="a", model="m", parts=(ToolCall(id="c", name="f", arguments=arguments),), finish="tool_calls")
    with pytest.raises(RemoteError) as caught:
        messages.write_answer(answer, envelope("messages"))
    assert caught.value.code == "upstream_invalid"
    writer = messages.StreamWriter(envelope("messages"))
    for event in (CallBegin(0, "c", "f"), CallDelta(0, arguments), CallEnd(0), Finished("tool_calls"), Done()):
        writer.write(event)
    assert writer.failed


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize(("last", "failed"), [(Failed("e", "m"), True), (Done(), False)])
def test_a_writer_knows_whether_it_failed(client: Format, last: Event, failed: bool) -> None:
    writer = PACKAGES[client].StreamWriter(envelope(client))
    for event in (Begin("a", "m"), TextDelta("a")):
        writer.write(event)
        assert not writer.failed
    assert writer.write(last)
    assert writer.failed is failed
    assert writer.write(Failed("e", "m")) == b""
    assert writer.failed is failed


@pytest.mark.parametrize("client", FORMATS)
def test_calls_without_ids_or_with_one_id_are_told_apart(client: Format) -> None:
    given = ["c", "", "c", ""]
    calls = tuple(ToolCall(id=id, name="f", arguments="{}") for id in given)
    document = PACKAGES[client].write_answer(
        Answer(id="a", model="m", parts=calls, finish="tool_calls"), envelope(client)
    )
    writer = PACKAGES[client].StreamWriter(envelope(client))
    stream = writer.write(Begin("a", "m"))
    for slot, id in enumerate(given):
        stream += writer.write(CallBegin(slot, id, "f")) + writer.write(CallEnd(slot))
    stream += writer.write(Done())
    for id in ("c", *(f"call_{'0' * 32}_{n}" for n in (1, 2, 3))):
        assert f'"{id}"'.encode() in msgspec.json.encode(document)
        assert f'"{id}"'.encode() in stream
