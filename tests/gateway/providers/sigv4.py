"""What AWS does with a signed request, written from its description of SigV4 and from nothing of botocore's."""

import asyncio
import contextlib
import hashlib
import hmac
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import pytest

KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token+with=signs"


def emptied(environment: pytest.MonkeyPatch, directory: Path) -> None:
    """An AWS configuration with nothing in it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        environment.delenv(name)
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
    environment.setenv("AWS_CONFIG_FILE", str(directory / "config"))
    environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(directory / "credentials"))


def keys(environment: pytest.MonkeyPatch, token: str = "") -> None:
    environment.setenv("AWS_ACCESS_KEY_ID", KEY)
    environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    if token:
        environment.setenv("AWS_SESSION_TOKEN", token)


def verified(request: bytes, secret: str, region: str) -> dict[str, str]:
    """The request's headers, once its signature is found to be AWS's over what arrived."""
    head, body = request.split(b"\r\n\r\n", 1)
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert len(headers) == len(lines)
    match = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d{8}/([\w-]+)/bedrock/aws4_request), "
        r"SignedHeaders=([\w;-]+), Signature=([0-9a-f]{64})",
        headers["authorization"],
    )
    assert match and match[3] == region
    names = match[4].split(";")
    assert names == sorted(names)
    canonical = "\n".join(
        [
            method,
            quote(target, safe="/-_.~"),  # every service but S3 encodes the path twice
            "",
            *(f"{name}:{headers[name]}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    said = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], match[2], digest])
    key = f"AWS4{secret}".encode()
    for part in match[2].split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    assert hmac.new(key, said.encode(), hashlib.sha256).hexdigest() == match[5]
    return headers | {"signed": match[4], "key": match[1]}


Answer = Callable[[bytes], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[int]:
    """The port of a server that answers each connection's request with a JSON body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", request, re.IGNORECASE)
        request += await reader.readexactly(int(length[1]) if length else 0)
        with contextlib.suppress(ConnectionError):
            body = await answer(request)
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
