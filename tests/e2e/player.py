"""A model server that plays a recorded session: its answers are the recording's, in order, whoever asks, however often.

    python -m tests.e2e.player --port 9000 --script steps.json --log asked.jsonl [--pause-ms 5]

It keeps nothing between requests: how far the session is, is read from the request, so a question that was lost and
asked again gets the same answer. A step is `{"text": "…", "calls": [["shell", {"command": "…"}]], "until": "…"}`; with
`until`, a regular expression, it is played again until what its calls gave back matches, as an agent would look again
after a call whose outcome nobody knows. Several recordings have names: a session plays the one that it was told, as
`[name]`, in its first message. It speaks Messages and chat completions, streamed or whole.
"""

import argparse
import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tests.e2e.server import free_port

ROOT = Path(__file__).parents[2]
Step = dict[str, Any]


class Player:
    """The process."""

    def __init__(
        self, directory: Path, steps: Sequence[Step] | Mapping[str, Sequence[Step]], *, pause_ms: int = 5
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log = directory / "asked.jsonl"
        self._script = directory / "steps.json"
        self._script.write_bytes(msgspec.json.encode(steps if isinstance(steps, Mapping) else {"": steps}))
        self._pause_ms = pause_ms

    def start(self) -> "Player":
        """Returns once it listens."""
        self.log.touch()
        argv = [sys.executable, "-m", "tests.e2e.player", "--port", str(self.port), "--script", str(self._script)]
        argv += ["--log", str(self.log), "--pause-ms", str(self._pause_ms)]
        self._process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"listening\n"
        return self

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=10)

    def asked(self) -> list[int]:
        """Which answers were asked for, in order."""
        return [int(line) for line in self.log.read_text().splitlines()]


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--script", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--pause-ms", type=int, required=True)
    args = parser.parse_args()
    scripts: dict[str, list[Step]] = msgspec.json.decode(Path(args.script).read_bytes())
    app = Starlette(
        routes=[
            Route("/v1/messages", _answer("messages", scripts, args), methods=["POST"]),
            Route("/v1/chat/completions", _answer("chat", scripts, args), methods=["POST"]),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=args.port, log_level="error", lifespan="off"))

    async def serve() -> None:
        task = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        print("listening", flush=True)
        await task

    asyncio.run(serve())


def _answer(format: str, scripts: Mapping[str, Sequence[Step]], args: argparse.Namespace) -> Any:
    async def answer(request: Request) -> Response:
        asked: dict[str, Any] = msgspec.json.decode(await request.body())
        told = msgspec.json.encode(asked["messages"]).decode()
        steps = next((found for name, found in scripts.items() if not name or f"[{name}]" in told), [])
        place, number = _progress(steps, asked["messages"])
        with Path(args.log).open("a") as log:  # noqa: ASYNC230 - one line of a local file
            log.write(f"{place}\n")
        step = steps[place] if place < len(steps) else {"text": "There is nothing more to do."}
        events = _messages(step, number) if format == "messages" else _chat(step, number)
        if not asked.get("stream"):
            return JSONResponse(_whole(format, step, number))

        async def said() -> AsyncIterator[bytes]:
            for event in events:
                yield event
                await asyncio.sleep(args.pause_ms / 1000)

        return StreamingResponse(said(), media_type="text/event-stream")

    return answer


def _progress(steps: Sequence[Step], messages: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """(the step to be played, how many answers there were)."""
    place = number = 0
    given = ""
    for message in [*messages, {"role": "assistant"}]:
        if message["role"] != "assistant":
            given += msgspec.json.encode(message.get("content")).decode()
            continue
        if number and (place >= len(steps) or re.search(steps[place].get("until", ""), given)):
            place += 1
        number, given = number + 1, ""
    return place, number - 1


def _calls(step: Step, number: int) -> list[tuple[str, str, Any]]:
    return [(f"call_{number}_{index}", name, given) for index, (name, given) in enumerate(step.get("calls", []))]


def _messages(step: Step, number: int) -> list[bytes]:
    usage = {"input_tokens": 100 + number, "output_tokens": 1}
    message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": "m", "content": []}
    told: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "usage": usage}}
    ]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if text := step.get("text"):
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(text)]
        blocks.append(({"type": "text", "text": ""}, deltas))
    for id, name, given in _calls(step, number):
        pieces = _pieces(msgspec.json.encode(given).decode())
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        blocks.append(({"type": "tool_use", "id": id, "name": name, "input": {}}, deltas))
    for index, (block, deltas) in enumerate(blocks):
        told.append({"type": "content_block_start", "index": index, "content_block": block})
        told += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        told.append({"type": "content_block_stop", "index": index})
    reason = "tool_use" if step.get("calls") else "end_turn"
    told.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 20}})
    told.append({"type": "message_stop"})
    return [b"event: %s\ndata: %s\n\n" % (one["type"].encode(), msgspec.json.encode(one)) for one in told]


def _chat(step: Step, number: int) -> list[bytes]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in _pieces(step.get("text", ""))]
    for index, (id, name, given) in enumerate(_calls(step, number)):
        deltas.append({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name}}]})
        for piece in _pieces(msgspec.json.encode(given).decode()):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    reason = "tool_calls" if step.get("calls") else "stop"
    chunks: list[dict[str, Any]] = [
        *({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas),
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        {**head, "choices": [], "usage": _chat_usage(number)},
    ]
    return [*(b"data: %s\n\n" % msgspec.json.encode(one) for one in chunks), b"data: [DONE]\n\n"]


def _whole(format: str, step: Step, number: int) -> dict[str, Any]:
    calls = _calls(step, number)
    if format == "messages":
        content: list[dict[str, Any]] = [{"type": "text", "text": step["text"]}] if step.get("text") else []
        content += [{"type": "tool_use", "id": id, "name": name, "input": given} for id, name, given in calls]
        return {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": content,
            "stop_reason": "tool_use" if calls else "end_turn",
            "usage": {"input_tokens": 100 + number, "output_tokens": 20},
        }
    message: dict[str, Any] = {"role": "assistant", "content": step.get("text", "")}
    if calls:
        message["tool_calls"] = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": msgspec.json.encode(given).decode()}}
            for id, name, given in calls
        ]
    reason = "tool_calls" if calls else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": "m"}
    return {**head, "choices": [choice], "usage": _chat_usage(number)}


def _chat_usage(number: int) -> dict[str, int]:
    return {"prompt_tokens": 100 + number, "completion_tokens": 20, "total_tokens": 120 + number}


def _pieces(text: str) -> list[str]:
    size = max(1, len(text) // 4)
    return [text[start : start + size] for start in range(0, len(text), size)]


if __name__ == "__main__":
    _main()
