"""An encoder of AWS event streams, written from the framing's description and from nothing in src."""

import base64
import json
import struct
import uuid
import zlib
from typing import NamedTuple


class Typed(NamedTuple):
    """A header's value, with its type.

    0 true, 1 false, 2 byte, 3 short, 4 int, 5 long, 6 bytes, 7 text, 8 time, 9 UUID.
    """

    kind: int
    value: bool | int | str | bytes


def text(value: str) -> Typed:
    return Typed(7, value)


def header(name: str, typed: Typed) -> bytes:
    kind, value = typed
    encoded = b""
    if kind in (2, 3, 4, 5, 8):
        encoded = struct.pack({2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q"}[kind], value)
    elif kind in (6, 7):
        raw = value.encode() if isinstance(value, str) else bytes(value)
        encoded = struct.pack(">H", len(raw)) + raw
    elif kind == 9:
        assert isinstance(value, bytes)
        encoded = uuid.UUID(bytes=value).bytes
    return bytes([len(name.encode())]) + name.encode() + bytes([kind]) + encoded


def packed(headers: bytes, payload: bytes) -> bytes:
    """A frame around encoded headers."""
    prelude = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    body = prelude + headers + payload
    return body + struct.pack(">I", zlib.crc32(body))


def frame(headers: dict[str, Typed], payload: bytes) -> bytes:
    return packed(b"".join(header(name, typed) for name, typed in headers.items()), payload)


def event(kind: str, document: object) -> bytes:
    """An event as Bedrock sends it: padded, so that its length says nothing about the tokens in it."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    document = {**document, "p": "abcdefghijk"} if isinstance(document, dict) else document
    return frame({name: text(value) for name, value in headers.items()}, json.dumps(document).encode())


def exception(kind: str, document: object) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame({name: text(value) for name, value in headers.items()}, json.dumps(document).encode())


def chunk(document: bytes) -> bytes:
    """A Messages event in a frame of `invoke-with-response-stream`."""
    return event("chunk", {"bytes": base64.b64encode(document).decode()})
