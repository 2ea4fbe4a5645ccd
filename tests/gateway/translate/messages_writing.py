"""What tests of writing Messages requests share."""

from typing import Any

from interlock.gateway.translate.messages import write_request
from interlock.gateway.translate.neutral import (
    Ask,
    Part,
    Target,
    Turn,
)

TARGET = Target(model="claude", family="claude")


def turn(role: Any, *parts: Part, path: str = "messages[1]") -> Turn:
    return Turn(role=role, parts=parts, path=path)


def document(ask: Ask, target: Target = TARGET) -> dict[str, Any]:
    written = write_request(ask, target)
    assert written.dropped == ()
    return written.document


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


LEAST: dict[str, Any] = {"model": "claude", "max_tokens": 8192, "messages": [{"role": "user", "content": [text("Hi")]}]}


def block(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind} | more
