"""Recorded and typed streams, and what a client reads of them."""

import json
from pathlib import Path
from typing import Any

import msgspec

from interlock.gateway.wire import StreamTap
from interlock.ledger import Format

SAMPLES = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "samples").glob("*.sse"))}
READ = [
    *("complete", "errored", "error_type", "usage", "raw", "inconsistent", "finish_reason", "upstream_id"),
    *("upstream_model", "content_events", "sequence_number", "source", "created_at"),
]


def format_of(name: str) -> Format:
    format: Format = msgspec.convert(name.split("_")[0], Format)
    return format


def run(format: Format, pieces: list[bytes], *, hide_usage: bool = False) -> tuple[bytes, dict[str, Any]]:
    tap = StreamTap(format, hide_usage=hide_usage)
    out = b"".join([tap.feed(piece) for piece in pieces]) + tap.finish()
    return out, {name: getattr(tap, name) for name in READ} | {"estimate": tap.estimate()}


def seen(stream: bytes) -> list[Any]:
    """What a client reads, told without any of the code under test: documents, and lines that are none."""
    lines = [line for line in stream.replace(b"\r\n", b"\n").split(b"\n") if line]
    return [json.loads(line[5:]) if b"{" in line else line for line in lines]  # noqa: TID251 - an oracle of its own


def hidden(stream: bytes) -> list[Any]:
    """What a client that did not ask for usage is to read."""
    shown: list[Any] = []
    for entry in seen(stream):
        if isinstance(entry, dict):
            if entry.get("choices") == [] and entry.get("usage") is not None:
                continue
            entry.pop("usage", None)
        shown.append(entry)
    return shown
