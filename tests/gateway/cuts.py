"""What tests of joined streams share: beginnings of streams, upstreams that break off, and the SDKs as judges."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from anthropic.lib.streaming._messages import accumulate_event
from openai import omit
from openai._models import construct_type
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from tests.gateway.answers import EVENTS, ask, chat_delta, data, named
from tests.gateway.rig import (
    PATHS,
    SSE_HEAD,
    Answer,
    Rig,
    Script,
    Seen,
    Upstream,
    chunk,
    policy,
    read_answer,
    rig,
)
from tests.gateway.test_faults import reset

from interlock.gateway import Timeouts
from interlock.ledger import Settled

Run = Callable[..., Any]
FAST = Timeouts(connect_s=1, first_byte_s=1, first_token_s=1, idle_s=0.3, total_s=8, keep_alive_s=0)
ERROR = b'{"error":{"message":"no","type":"x","param":null,"code":"content_filter"}}'
PARTS: dict[str, list[bytes]] = {
    "chat": [chat_delta("A"), chat_delta("B ")],
    "responses": [
        EVENTS["responses"][0],
        named({"type": "response.output_text.delta", "sequence_number": 1, "delta": "A", "item_id": "m"}),
        named({"type": "response.output_text.delta", "sequence_number": 2, "delta": "B ", "item_id": "m"}),
    ],
    "messages": [
        *EVENTS["messages"][:2],
        named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "A"}}),
        named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "B "}}),
    ],
}
"""The beginning of a stream that says "AB ". EVENTS go on with "hi"."""
MID_ERROR = {
    "chat": data({"error": {"message": "busy", "type": "server_error", "code": None}}),
    "responses": named({"type": "error", "sequence_number": 3, "code": "server_error", "message": "busy"}),
    "messages": named({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
}


def play(run: Run, tmp_path: Path, test: Any, *upstreams: Upstream, edit: Any = None, **options: Any) -> None:
    async def main() -> None:
        ports = [await upstream.start() for upstream in upstreams]
        made = policy(ports, **{"on_cut": "continue", "timeouts": FAST, **options})
        made = edit(made) if edit else made
        try:
            async with asyncio.timeout(20), rig(tmp_path / "data", made) as on:
                await test(on)
                async with asyncio.timeout(2):
                    while on.gateway.exchanges:
                        await asyncio.sleep(0.01)
        finally:
            for upstream in upstreams:
                await upstream.stop()

    run(main, blocking_s=1.0)


def speaking(*formats: str) -> list[tuple[str, ...]]:
    return [(format,) for format in formats]


def asked(format: str, **more: Any) -> dict[str, Any]:
    body = {**ask(format, stream=True), **more}
    return {**body, "stream_options": {"include_usage": True}} if format == "chat" else body


def gated(heard: asyncio.Event, before: list[bytes], *after: bytes, by_reset: bool = False) -> Script:
    """Send `before`; `after`, and the end, once the client has heard it."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(SSE_HEAD + b"".join(map(chunk, before)))
        await asyncio.wait_for(heard.wait(), 5)
        heard.clear()
        if by_reset:
            await reset(reader, writer, seen)
        else:
            writer.write(b"".join(map(chunk, after)) + b"0\r\n\r\n")

    return script


async def listen(on: Rig, format: str, heard: asyncio.Event, mark: bytes) -> Answer:
    """Call, and tell the upstream when `mark` was heard."""
    reader, writer = await on.connect()
    writer.write(on.request(PATHS[format], msgspec.json.encode(asked(format))))
    came = asyncio.StreamReader()
    came.feed_data(await reader.readuntil(mark))
    heard.set()
    came.feed_data(await reader.readuntil(b"\r\n0\r\n\r\n"))
    writer.close()
    return await read_answer(came)


def documents(stream: bytes) -> list[Any]:
    """The payloads of a stream, in order; `[DONE]` as it stands."""
    assert stream.endswith(b"\n\n")
    found: list[Any] = []
    for event in stream.split(b"\n\n")[:-1]:
        lines = event.split(b"\n")
        payload = lines[-1].removeprefix(b"data: ")
        found.append("[DONE]" if payload == b"[DONE]" else json.loads(payload))  # noqa: TID251 - an oracle of its own
        if len(lines) == 2:
            assert lines[0] == b"event: " + found[-1]["type"].encode()
    return found


def judged(format: str, stream: bytes) -> tuple[str, dict[str, int]]:
    """(text, usage in the ledger's kinds) as the official SDK puts the stream together; it must be one legal stream."""
    found = documents(stream)
    if format == "chat":
        assert found.pop() == "[DONE]" and "[DONE]" not in found
        assert len({chunk["id"] for chunk in found}) == 1
        assert sum("role" in choice["delta"] for chunk in found for choice in chunk["choices"]) == 1
        state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
        for chunk in found:
            list(state.handle_chunk(ChatCompletionChunk.model_validate(chunk, strict=True)))
        made = state.current_completion_snapshot
        assert made.choices[0].finish_reason == "stop" and made.usage is not None
        cached = made.usage.prompt_tokens_details
        usage = {"input": made.usage.prompt_tokens, "output": made.usage.completion_tokens}
        usage["cache_read"] = (cached and cached.cached_tokens) or 0
        return made.choices[0].message.content or "", usage
    if format == "responses":
        assert [d["sequence_number"] for d in found] == list(range(len(found)))
        kinds = [d["type"] for d in found]
        assert kinds.count("response.created") == kinds.count("response.completed") == 1
        assert kinds[-1] == "response.completed"
        responses: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
        for document in found:
            responses.handle_event(construct_type(type_=ResponseStreamEvent, value=document))  # type: ignore[arg-type]  # it is one
        final = found[-1]["response"]
        said = "".join(p["text"] for item in final["output"] for p in item["content"])
        assert said == "".join(d["delta"] for d in found if d["type"] == "response.output_text.delta")
        figures = final["usage"]
        usage = {"input": figures["input_tokens"], "output": figures["output_tokens"]}
        return said, usage | {"cache_read": figures["input_tokens_details"]["cached_tokens"]}
    kinds = [d["type"] for d in found]
    assert kinds.count("message_start") == kinds.count("message_stop") == 1
    assert kinds[-1] == "message_stop"
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in found:
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    assert snapshot.stop_reason == "end_turn"
    figures = snapshot.usage
    read, write = figures.cache_read_input_tokens or 0, figures.cache_creation_input_tokens or 0
    usage = {"input": figures.input_tokens + read + write, "output": figures.output_tokens, "cache_read": read}
    return "".join(block.text for block in snapshot.content), usage


def failed(format: str, stream: bytes) -> str:
    """The code or type of the error event that the stream ends with, and with nothing after it."""
    *before, last = documents(stream)
    assert not any(d == "[DONE]" or "error" in d or d.get("type") == "error" for d in before)
    if format == "responses":
        assert last["type"] == "response.failed"
        return str(last["response"]["error"].get("type") or last["response"]["error"]["code"])
    return str(last["error"]["type"])


def total(settled: list[Settled]) -> dict[str, int]:
    kinds = {kind for s in settled for kind in s.usage}
    return {"cache_read": 0} | {kind: sum(s.usage.get(kind, 0) for s in settled) for kind in kinds}


TOOL = {
    "chat": [
        chat_delta("A"),
        data(
            {
                "id": "c",
                "object": "chat.completion.chunk",
                "model": "m",
                "choices": [
                    {
                        "index": 0,
                        "delta": {
                            "tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": '{"a"'}}]
                        },
                        "finish_reason": None,
                    }
                ],
            }
        ),
    ],
    "messages": [
        *EVENTS["messages"][:3],
        EVENTS["messages"][4],
        named(
            {
                "type": "content_block_start",
                "index": 1,
                "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
            }
        ),
        named(
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": '{"a"'},
            }
        ),
    ],
}
