"""What a request says, as an upstream of each format reads it, in one list of plain facts.

An independent reader: it shares nothing with the translation that it judges, and fails on what it does not know.
"""

from itertools import pairwise
from typing import Any

import msgspec

Fact = tuple[Any, ...]
"""("system" | "user" | "said" | "plain", text), ("image", url, where), ("thinking", text, seal), ("redacted", seal),
("item", id, text, seal), ("call", id, name, arguments), ("result", id, text, is an error). `where` is the id of the
call in whose result an image stands, or empty."""


def told(format: str, body: dict[str, Any]) -> list[Fact]:
    """The facts of the conversation, in order."""
    return {"chat": _chat, "responses": _responses, "messages": _messages}[format](body)


def _parts(content: Any, text_type: str) -> list[dict[str, Any]]:
    return [{"type": text_type, "text": content}] if isinstance(content, str) else list(content or ())


def _chat(body: dict[str, Any]) -> list[Fact]:
    facts: list[Fact] = []
    for message in body["messages"]:
        role, parts = message["role"], _parts(message.get("content"), "text")
        if role == "assistant":
            facts += [("plain", message["reasoning_content"])] if "reasoning_content" in message else []
            facts += [("said", part["text"]) for part in parts]
            for call in message.get("tool_calls", ()):
                function = call["function"]
                facts.append(("call", call["id"], function["name"], msgspec.json.decode(function["arguments"])))
        elif role == "tool":
            facts.append(("result", message["tool_call_id"], "".join(part["text"] for part in parts), False))
        else:
            for part in parts:
                image = part["type"] == "image_url"
                facts.append(("image", part["image_url"]["url"], "") if image else (role, part["text"]))
    return facts


def _responses(body: dict[str, Any]) -> list[Fact]:
    facts: list[Fact] = [("system", body["instructions"])] if body.get("instructions") else []
    for item in body["input"]:
        match item.get("type", "message"):
            case "message":
                role = {"assistant": "said", "developer": "system"}.get(item["role"], item["role"])
                for part in _parts(item["content"], "input_text"):
                    image = part["type"] == "input_image"
                    facts.append(("image", part["image_url"], "") if image else (role, part["text"]))
            case "reasoning":
                text = "\n\n".join(part["text"] for part in item["summary"])
                facts.append(("item", item["id"], text, item["encrypted_content"]))
            case "function_call":
                arguments = msgspec.json.decode(item["arguments"])
                facts.append(("call", item["call_id"], item["name"], arguments))
            case "function_call_output":
                parts = _parts(item["output"], "input_text")
                said = "".join(part["text"] for part in parts if part["type"] == "input_text")
                facts.append(("result", item["call_id"], said, False))
                images = [part for part in parts if part["type"] == "input_image"]
                facts += [("image", image["image_url"], item["call_id"]) for image in images]
            case other:
                raise AssertionError(f"an item of type {other}")
    return facts


def _messages(body: dict[str, Any]) -> list[Fact]:
    facts: list[Fact] = [("system", part["text"]) for part in _parts(body.get("system"), "text")]
    roles = [message["role"] for message in body["messages"]]
    assert all(a != b for a, b in pairwise(roles)), "neighbours of one role"
    for message in body["messages"]:
        results_over = False
        for block in _parts(message["content"], "text"):
            assert not (results_over and block["type"] == "tool_result"), "a result behind other content"
            results_over = block["type"] != "tool_result"
            facts += _block(block, message["role"])
    return facts


def _block(block: dict[str, Any], role: str) -> list[Fact]:
    match block["type"]:
        case "text":
            return [("said" if role == "assistant" else role, block["text"])]
        case "image":
            return [("image", _url(block["source"]), "")]
        case "thinking":
            return [("thinking", block["thinking"], block["signature"])]
        case "redacted_thinking":
            return [("redacted", block["data"])]
        case "tool_use":
            return [("call", block["id"], block["name"], block["input"])]
        case "tool_result":
            parts, id = _parts(block.get("content"), "text"), block["tool_use_id"]
            said = "".join(part["text"] for part in parts if part["type"] == "text")
            images = [("image", _url(part["source"]), id) for part in parts if part["type"] == "image"]
            return [("result", id, said, block.get("is_error", False)), *images]
    raise AssertionError(f"a block of type {block['type']}")


def _url(source: dict[str, Any]) -> str:
    if source["type"] == "url":
        return str(source["url"])
    return f"data:{source['media_type']};base64,{source['data']}"
