"""The kept inputs of each target, and the words that its language is made of.

A target's inputs are one file, a msgpack list of byte strings: hundreds of tiny files say no more.
"""

import hashlib
from pathlib import Path

import msgspec

PLACE = Path(__file__).parent / "corpus"
BYTES_MAX = 40_000
"""Of one target's file: they are read in every run of the tests."""

_HTTP = [
    "\r\n", "\r\n\r\n", "\n", "\r", " HTTP/1.1\r\n", " HTTP/1.0\r\n", "Host: a\r\n", "Content-Length: ",
    "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n", "Connection: keep-alive\r\n", "Upgrade: h2c\r\n",
    "Connection: close\r\n", "0\r\n\r\n", "3\r\nabc\r\n", ";a=b", ": ", "\t", ", ",
]  # fmt: skip
_REQUEST = ["GET / HTTP/1.1\r\nHost: a\r\n", "POST /x HTTP/1.1\r\nHost: a\r\n", "http://a/", "?q", "upgrade\r\n"]
_RESPONSE = ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 204 No\r\n", "HTTP/1.1 101 S\r\n"]
_NAMES = (
    "usage choices delta content finish_reason type message model id error role user input messages stream tools "
    "tool_calls function arguments index text output item response system null true false"
)
_JSON = [*"{}[],:", *(f'"{name}"' for name in _NAMES.split())]
_STREAM = [
    "data: ", "\n\n", "\r\n\r\n", "event: ", "data: [DONE]\n\n", ": comment\n\n", "message_start",
    "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop", "ping", "stop",
    "response.created", "response.output_text.delta", "response.completed", "response.output_item.added",
    "text_delta", "input_json_delta",
]  # fmt: skip
_WORDS = {
    "http-request": _HTTP + _REQUEST,
    "http-response": _HTTP + _RESPONSE,
    "stream-tap": _JSON + _STREAM,
    "translated-stream": _JSON + _STREAM,
}


def inputs(target: str) -> list[bytes]:
    """The kept inputs; none if there is no file."""
    path = PLACE / f"{target}.msgpack"
    return msgspec.msgpack.decode(path.read_bytes(), type=list[bytes]) if path.exists() else []


def unpack(target: str, directory: Path) -> None:
    """Each kept input as a file, named by its content."""
    for content in inputs(target):
        (directory / hashlib.sha1(content, usedforsecurity=False).hexdigest()).write_bytes(content)


def pack(target: str, directory: Path) -> int:
    """Keep what is in the directory, the shortest first, as far as there is room. How many that was."""
    kept: list[bytes] = []
    size = 0
    for content in sorted((path.read_bytes() for path in directory.iterdir()), key=lambda found: (len(found), found)):
        size += len(content) + 5
        if size <= BYTES_MAX:
            kept.append(content)
    PLACE.mkdir(exist_ok=True)
    (PLACE / f"{target}.msgpack").write_bytes(msgspec.msgpack.encode(kept))
    return len(kept)


def dictionary(target: str) -> str:
    """In libFuzzer's syntax."""
    words = _WORDS.get(target, _JSON)
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"\n' for word in words)
