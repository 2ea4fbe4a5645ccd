"""A running local model for tests, and the plainest HTTP client there can be: what it answers, byte for byte."""

import asyncio
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from tests.local.model import cache_directory, model_path

from interlock.local import LocalModel

PARAMETERS = {"temperature": 0, "seed": 1}


@contextmanager
def serving(**options: Any) -> Iterator[LocalModel]:
    """The model, loaded and ready; not under supervision."""
    model_path()
    model = LocalModel(cache_directory(), **options)
    with subprocess.Popen(model.argv(), env=model.env(), stderr=subprocess.DEVNULL) as process:
        try:
            asyncio.run(until_ready(model))
            yield model
        finally:
            process.terminate()
            model.close()


async def until_ready(model: LocalModel, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while await model.health() != "ready":
            await asyncio.sleep(0.02)


def request_bytes(model: LocalModel, path: str, body: object, headers: Mapping[str, str] | None = None) -> bytes:
    """One POST; the connection is to be closed after it."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    told = {"Host": "local", "Authorization": f"Bearer {model.api_key}", "Connection": "close", **(headers or {})}
    told |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value)
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + content


def post(model: LocalModel, path: str, body: object, headers: Mapping[str, str] | None = None) -> bytes:
    """The whole answer, as it came off the wire."""
    with socket.create_connection(("127.0.0.1", model.port), timeout=120) as connection:
        connection.sendall(request_bytes(model, path, body, headers))
        answer = b""
        while chunk := connection.recv(1 << 16):
            answer += chunk
    return answer


def status_and_json(answer: bytes) -> tuple[int, Any]:
    """Of an answer that is not streamed."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), msgspec.json.decode(body)


def events(answer: bytes) -> list[Any]:
    """The data of a stream's events, `[DONE]` as text. The chunked coding must be whole."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    text = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        text, body = text + body[: int(size, 16)], body[int(size, 16) + 2 :]
        if int(size, 16) == 0:
            data = [line[6:] for line in text.decode().splitlines() if line.startswith("data: ")]
            return ["[DONE]" if line == "[DONE]" else msgspec.json.decode(line) for line in data]
    raise AssertionError("the stream broke off")
