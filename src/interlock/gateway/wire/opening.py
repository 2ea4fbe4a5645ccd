"""How a conversation begins: the part of a request that stays the same from turn to turn, as a short hash.

A client that names no session is told apart by it, and so are the conversations within one session: an agent's, and
those of the helpers and chores that it runs beside. Two conversations that begin alike are one to this hash.
"""

from hashlib import blake2b
from typing import Any

from interlock.ledger import Format

TEXT_CHARS = 1024
"""Read of the system's text and of the first message each: what differs later is not looked at."""
_SYSTEM = ("system", "developer")


def opening(format: Format, document: dict[str, Any]) -> str:
    """24 hex digits; empty where there is no conversation. `document` was looked through (content.py)."""
    match format:
        case "chat":
            system, first = _first_of(document["messages"])
        case "messages" | "count_tokens":
            system, first = _text(document.get("system")), _first_of(document["messages"])[1]
        case "responses":
            given = document.get("input")
            system, first = _first_of(given) if type(given) is list else ("", _text(given))
            system = _text(document.get("instructions")) or system
        case "embeddings":
            return ""
    text = f"{system}\0{first}\0{'tools' if document.get('tools') else ''}"
    return blake2b(text.encode(), digest_size=12).hexdigest() if system or first else ""


def _first_of(messages: list[dict[str, Any]]) -> tuple[str, str]:
    """The text of the first message that is the system's, and of the first that is not."""
    system = ""
    for message in messages:
        text = _text(message.get("content"))
        if message.get("role") not in _SYSTEM:
            return system, text
        system = system or text
    return system, ""


def _text(content: object) -> str:
    if type(content) is str:
        return content[:TEXT_CHARS]
    if type(content) is not list:
        return ""
    texts = (part.get("text") for part in content if type(part) is dict)
    return "".join(text for text in texts if type(text) is str)[:TEXT_CHARS]
