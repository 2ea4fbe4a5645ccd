"""What tests of chat streams share."""

from typing import Any

import jiter
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from interlock.gateway.translate.chat import StreamReader, StreamWriter
from interlock.gateway.translate.neutral import (
    Ask,
    BlockEnd,
    CallBegin,
    CallDelta,
    Envelope,
    Event,
    Finished,
    Part,
    Reasoning,
    ReasoningDelta,
    ReasoningEnd,
    Refusal,
    RefusalDelta,
    Text,
    TextDelta,
    Tool,
    ToolCall,
)

KEY = "ab" * 16


def envelope(*, usage: bool = True, legacy: bool = False) -> Envelope:
    tools = (Tool(name="f", path="functions[0]" if legacy else "tools[0]"),)
    ask = Ask(format="chat", stream=True, turns=(), tools=tools, includes_usage=usage)
    return Envelope(key=KEY, created_at=77, ask=ask, family="claude", model="asked", input_estimate=9)


def written(events: list[Event], env: Envelope | None = None) -> bytes:
    writer = StreamWriter(env or envelope())
    return b"".join(writer.write(event) for event in events)


def payloads(stream: bytes) -> list[Any]:
    """The decoded payloads, `[DONE]` as the string; every event is one line `data: …` and a blank one."""
    assert stream == b"" or stream.endswith(b"\n\n")
    lines = stream.split(b"\n\n")[:-1]
    assert all(line.startswith(b"data: ") and b"\n" not in line for line in lines)
    return ["[DONE]" if line == b"data: [DONE]" else jiter.from_json(line[6:]) for line in lines]


TEXT = st.text(max_size=12) | st.sampled_from(['"\\\n\u2028', "\x00\x1f", "ü" * 5])
NAMES = st.from_regex("[a-z]{1,5}", fullmatch=True)
IDS = st.sampled_from(["call_1", "toolu_ü", "ilkid_x", ""]) | st.text(max_size=50)


def part_of_events(events: list[Event]) -> tuple[Part, ...]:
    """The answer's parts, put together from its events; arguments that are none are `{}`."""
    parts: list[Any] = []
    calls: dict[int, int] = {}
    kind = ""
    for event in events:
        match event:
            case TextDelta(text) | RefusalDelta(text):
                made = Text if isinstance(event, TextDelta) else Refusal
                parts += [] if kind == made.__name__ else [made(text="")]
                kind = made.__name__
                parts[-1] = made(text=parts[-1].text + text)
            case ReasoningDelta(_, text):
                parts += [] if kind == "Reasoning" else [Reasoning(kind="plain")]
                kind = "Reasoning"
                parts[-1] = Reasoning(kind="plain", text=parts[-1].text + text)
            case BlockEnd() | ReasoningEnd():
                assert kind
                kind = ""
            case CallBegin(slot, id, name):
                assert not kind
                assert slot == len(calls)
                calls[slot] = len(parts)
                parts.append(ToolCall(id=id, name=name, arguments=""))
            case CallDelta(slot, fragment):
                call = parts[calls[slot]]
                parts[calls[slot]] = ToolCall(id=call.id, name=call.name, arguments=call.arguments + fragment)
            case Finished():
                assert not kind
    return tuple(
        p if not isinstance(p, ToolCall) or p.arguments else ToolCall(id=p.id, name=p.name, arguments="{}")
        for p in parts
    )


def read_all(documents: list[Any]) -> list[Event]:
    reader, events = StreamReader(), []
    for document in documents:
        events += reader.done() if document == "[DONE]" else reader.read(document)
    return events + reader.end()


SLOTS = st.integers(0, 3)


def judge(documents: list[Any], *, usage: bool) -> None:
    """Assert that the payloads are the beginning of a legal stream."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    finished, calls, details = False, set[int](), set[int]()
    for number, document in enumerate(documents):
        last = number == len(documents) - 1
        if document == "[DONE]":
            assert last
            assert finished
            continue
        if "error" in document:
            assert last
            assert isinstance(document["error"]["message"], str)
            continue
        list(state.handle_chunk(ChatCompletionChunk.model_validate(document, strict=True)))
        assert ("usage" in document) == usage
        if not document["choices"]:
            assert finished
            assert document["usage"]
            assert documents[number + 1] == "[DONE]"
            continue
        assert document.get("usage") is None
        (choice,) = document["choices"]
        assert not finished
        assert ("role" in choice["delta"]) == (number == 0)
        finished = choice["finish_reason"] is not None
        for call in choice["delta"].get("tool_calls", []):
            if call["index"] in calls:
                assert set(call) == {"index", "function"}
                assert set(call["function"]) == {"arguments"}
            else:
                assert call["index"] == len(calls)
                assert call["id"]
                calls.add(call["index"])
        for detail in choice["delta"].get("reasoning_details", []):
            assert detail["index"] in details or detail["index"] == len(details)
            details.add(detail["index"])


# reading


def chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **rest: Any) -> dict[str, Any]:
    return {
        "id": "i",
        "model": "m",
        "created": 5,
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": reason}],
        **rest,
    }


def call(index: int | None, id: str | None = None, name: str | None = None, arguments: Any = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [entry | ({} if index is None else {"index": index}) | ({} if id is None else {"id": id})]}
