"""Responses requests that tests of reading and of writing share."""

from typing import Any

from interlock.gateway.translate.neutral import (
    Ask,
    Text,
    Turn,
)

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
ENCRYPTED = ["reasoning.encrypted_content"]


def ask(**fields: Any) -> Ask:
    turns = (Turn(role="user", parts=(Text(text="Hi", path="input"),), path="input"),)
    return Ask(**{"format": "responses", "stream": False, "turns": turns, **fields})


def turn(role: Any, *parts: Any) -> dict[str, Any]:
    return {"turns": (Turn(role=role, parts=parts, path="messages[0]"),)}
