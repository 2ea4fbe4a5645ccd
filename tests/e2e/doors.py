"""A server with tool servers behind it, and MCP's own client before it."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from tests.e2e.server import Server, free_port, until

ROOT = Path(__file__).parents[2]
MODEL = """default_tier = "main"

[deployments.scripted]
provider = "scripted"
base_url = "http://127.0.0.1:9/v1"
model = "model-0"
formats = ["chat"]
price = "free"

[tiers]
main = ["scripted"]

"""
PYTHON = (sys.prefix, sys.base_prefix, str(ROOT))
"""What a program of these tests has to see in its sandbox."""


def configured(path: Path, *servers: str, more: str = "") -> Path:
    """Write a configuration with these `[[tools.servers]]`."""
    tables = "".join(f"[[tools.servers]]\n{server}\n\n" for server in servers)
    path.write_text(f"{MODEL}[tools]\n{more}\n\n{tables}")
    return path


def over_http(name: str, url: str, *lines: str) -> str:
    """The table of a server with a URL that everybody may use."""
    return "\n".join([f'name = "{name}"', f'url = "{url}"', "allow = [{}]", *lines])


def program(name: str, *lines: str, argv: tuple[str, ...] = ("-m", "tests.door.everything", "--stdio")) -> str:
    """The table of the everything server as a program in a sandbox."""
    command = [sys.executable, *argv]
    read = list(dict.fromkeys(PYTHON))
    return "\n".join(
        [
            f'name = "{name}"',
            f"command = {command}",
            f"read = {read}",
            f'env = {{ PYTHONPATH = "{ROOT}" }}',
            "allow = [{}]",
            *lines,
        ]
    )


@contextmanager
def everything(log: Path, *options: str) -> Iterator[str]:
    """The everything server on a port; yields its URL."""
    port = free_port()
    with log.open("wb") as said:
        argv = [sys.executable, "-m", "tests.door.everything", "--port", str(port), *options]
        process = subprocess.Popen(argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=said, stderr=said)
    try:
        until(lambda: _listens(port), "the everything server listens")
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait(10)


def _listens(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status > 0
    except OSError:
        return False
    finally:
        connection.close()


@asynccontextmanager
async def client(
    server: Server, key: str = "", *, mode: str = "legacy", headers: Mapping[str, str] | None = None, **options: Any
) -> AsyncIterator[Client]:
    """The SDK's client, through the data port, with a key."""
    shown = {"authorization": f"Bearer {key or server.admin}", **(headers or {})}
    async with httpx2.AsyncClient(headers=shown, timeout=60, trust_env=False) as http:
        transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
        async with Client(transport, mode=mode, **options) as connected:
            yield connected


def told(result: types.CallToolResult) -> str:
    """The text of a result."""
    return "".join(block.text for block in result.content if isinstance(block, types.TextContent))


def failed(result: types.CallToolResult) -> str:
    """The text of a result that must be an error."""
    assert result.is_error, told(result)
    return told(result)


def send(server: Server, method: str, message: Any, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    """One request to /mcp, as bytes on a connection."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        body = message if message is None or isinstance(message, bytes) else json.dumps(message)
        accept = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        connection.request(method, "/mcp", body, accept | dict(headers))
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()
