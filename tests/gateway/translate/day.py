"""A day of an agent's work as each format's client would hold it, written from that format's documentation.

Nothing here uses the translators, but for the answers that Interlock itself has translated earlier in the day
(`_earlier`), which a client hands back as it got them.
"""

import base64
import json
from dataclasses import replace
from random import Random
from typing import Any

from tests.gateway.translate.story import CACHE, TOOLS, Message, Piece, Told, Writer

from interlock.gateway.translate import chat, messages, responses
from interlock.gateway.translate.neutral import Answer, Ask, Envelope, Part, Reasoning, Refusal, Text, ToolCall
from interlock.ledger import Format


def a_day(client: Format, random: Random, turns: int = 60) -> Told:
    """A conversation of so many answers, as a client of that format would send it with its next message."""
    story = Writer(random, client, turns).story()
    return {"chat": _tell_chat, "messages": _tell_messages, "responses": _tell_responses}[client](story)


def answer_of(message: Message, key: str) -> Answer:
    """An assistant's message as neutral values."""
    parts: list[Part] = []
    for piece in message.pieces:
        if piece.kind == "text":
            parts.append(Text(text=piece.text))
        elif piece.kind == "call":
            parts.append(ToolCall(id=piece.id, name=piece.name, arguments=json.dumps(piece.arguments)))
        elif piece.kind == "refusal":
            parts.append(Refusal(text=piece.text))
        elif piece.kind in ("thinking", "redacted", "item", "plain"):
            parts.append(Reasoning(kind=piece.kind, text=piece.text, seal=piece.seal, id=piece.id))  # type: ignore[arg-type]  # one of these four
        else:
            raise AssertionError(piece)
    return Answer(id=f"a{key}", model="m", parts=tuple(parts), finish="stop")


def _earlier(message: Message, client: Format, number: int) -> dict[str, Any]:
    """What Interlock told the client when another family's model said this."""
    key = f"{number:032x}"
    envelope = Envelope(
        key=key,
        created_at=1,
        ask=Ask(format=client, stream=False, turns=()),
        family=message.family,
        model="m",
        input_estimate=1,
    )
    write = {"chat": chat.write_answer, "messages": messages.write_answer, "responses": responses.write_answer}[client]
    refusals = [piece for piece in message.pieces if piece.kind == "refusal"]
    kept = replace(message, pieces=tuple(piece for piece in message.pieces if piece.kind != "refusal"))
    assert not refusals or client != "messages"
    document: dict[str, Any] = write(answer_of(kept, key), envelope)
    return document  # its type


# Chat Completions


def _tell_chat(story: list[Message]) -> Told:
    said: list[dict[str, Any]] = []
    told: list[Message] = []
    ids: dict[int, str] = {}
    for number, message in enumerate(story):
        pieces = message.pieces
        if message.speaker == "assistant":
            entry, pieces = _chat_answer(message, number, len(said), ids)
            said.append(entry)
        else:
            results = [piece for piece in pieces if piece.kind == "result"]
            rest = [piece for piece in pieces if piece.kind != "result"]
            placed = []
            for result in results:
                inner = _placed(result.inner, f"messages[{len(said)}].content")
                placed.append(replace(result, inner=inner, path=f"messages[{len(said)}]"))
                content = [_chat_part(piece) for piece in inner]
                said.append({"role": "tool", "tool_call_id": ids[result.number], "content": content})
            if rest:
                at = f"messages[{len(said)}].content"
                role = message.speaker if number % 2 or message.speaker == "user" else "developer"
                if len(rest) == 1 and rest[0].kind == "text":
                    placed.append(replace(rest[0], path=at))
                    said.append({"role": role, "content": rest[0].text})
                else:
                    placed += _placed(tuple(rest), at)
                    said.append({"role": role, "content": [_chat_part(piece) for piece in rest]})
            pieces = tuple(placed)
        told.append(replace(message, pieces=pieces))
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in TOOLS]
    return Told("chat", {"model": "m", "messages": said, "tools": tools}, told)


def _chat_answer(
    message: Message, number: int, index: int, ids: dict[int, str]
) -> tuple[dict[str, Any], tuple[Piece, ...]]:
    at = f"messages[{index}]"
    if message.family:
        entry = _earlier(message, "chat", number)["choices"][0]["message"]
        assert entry["refusal"] is None
    else:
        entry = {"role": "assistant", "content": None}
        texts = [piece.text for piece in message.pieces if piece.kind == "text"]
        calls = [piece for piece in message.pieces if piece.kind == "call"]
        for piece in message.pieces:
            if piece.kind == "plain":
                entry["reasoning_content"] = piece.text
        entry["content"] = "".join(texts) or None
        if calls:
            entry["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.name,
                        "arguments": json.dumps(call.arguments) if call.arguments else "",
                    },
                }
                for call in calls
            ]
    if refusal := "".join(piece.text for piece in message.pieces if piece.kind == "refusal"):
        entry["refusal"] = refusal
    placed, details, calls_seen = [], 0, 0
    for piece in message.pieces:
        if piece.kind == "text":
            placed.append(replace(piece, path=f"{at}.content"))
        elif piece.kind == "refusal":
            placed.append(replace(piece, path=f"{at}.refusal"))
        elif piece.kind == "call":
            ids[piece.number] = entry["tool_calls"][calls_seen]["id"]
            placed.append(replace(piece, path=f"{at}.tool_calls[{calls_seen}]"))
            calls_seen += 1
        elif piece.kind == "plain":
            # without a seal there is no carrier: what comes back is the text alone
            placed.append(replace(piece, path=f"{at}.reasoning_content", family=""))
        else:
            placed.append(replace(piece, path=f"{at}.reasoning_details[{details}]"))
            details += 1
    return entry, tuple(placed)


def _chat_part(piece: Piece) -> dict[str, Any]:
    match piece.kind:
        case "text" | "blank":
            return {"type": "text", "text": piece.text}
        case "image":
            image = {"url": piece.url or f"data:{piece.name};base64,{piece.text}"}
            return {"type": "image_url", "image_url": image | ({"detail": piece.detail} if piece.detail else {})}
        case "pdf":
            data = f"data:application/pdf;base64,{piece.text}"
            return {"type": "file", "file": {"filename": piece.name, "file_data": data}}
        case "note":
            data = f"data:text/plain;base64,{base64.b64encode(piece.text.encode()).decode()}"
            return {"type": "file", "file": {"filename": piece.name, "file_data": data}}
    raise AssertionError(piece)


# Messages


def _tell_messages(story: list[Message]) -> Told:
    said: list[dict[str, Any]] = []
    told: list[Message] = []
    ids: dict[int, str] = {}
    document: dict[str, Any] = {"model": "m", "max_tokens": 1000, "messages": said}
    for number, message in enumerate(story):
        if message.speaker == "system" and not said:
            pieces = _placed(message.pieces, "system")
            document["system"] = [_block(piece, ids) for piece in pieces]
        else:
            pieces = _placed(message.pieces, f"messages[{len(said)}].content")
            if message.family:
                # Anthropic's own blocks are shown as they are, so nothing tells which of its models wrote them
                pieces = tuple(replace(p, family="") if p.kind in ("thinking", "redacted") else p for p in pieces)
                content = _earlier(message, "messages", number)["content"]
                found = iter([block["id"] for block in content if block["type"] == "tool_use"])
                ids |= {piece.number: next(found) for piece in pieces if piece.kind == "call"}
            else:
                ids |= {piece.number: piece.id for piece in pieces if piece.kind == "call"}
                content = [_block(piece, ids) for piece in pieces]
            said.append({"role": message.speaker, "content": content})
        told.append(replace(message, pieces=pieces))
    document["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in TOOLS]
    return Told("messages", document, told)


def _block(piece: Piece, ids: dict[int, str]) -> dict[str, Any]:
    block: dict[str, Any]
    match piece.kind:
        case "text" | "blank":
            block = {"type": "text", "text": piece.text}
        case "image" if piece.url:
            block = {"type": "image", "source": {"type": "url", "url": piece.url}}
        case "image":
            block = {"type": "image", "source": {"type": "base64", "media_type": piece.name, "data": piece.text}}
        case "pdf":
            source = {"type": "base64", "media_type": "application/pdf", "data": piece.text}
            block = {"type": "document", "source": source, "title": piece.name}
        case "note":
            source = {"type": "text", "media_type": "text/plain", "data": piece.text}
            block = {"type": "document", "source": source, "title": piece.name}
        case "call":
            block = {"type": "tool_use", "id": piece.id, "name": piece.name, "input": piece.arguments}
        case "result":
            content = [_block(inner, ids) for inner in piece.inner]
            block = {"type": "tool_result", "tool_use_id": ids[piece.number], "content": content}
            block |= {"is_error": True} if piece.error else {}
        case "thinking":
            block = {"type": "thinking", "thinking": piece.text, "signature": piece.seal}
        case "redacted":
            block = {"type": "redacted_thinking", "data": piece.seal}
        case _:
            raise AssertionError(piece)
    return block | ({"cache_control": CACHE} if piece.cached else {})


# Responses


def _tell_responses(story: list[Message]) -> Told:
    items: list[dict[str, Any]] = []
    told: list[Message] = []
    ids: dict[int, str] = {}
    document: dict[str, Any] = {"model": "m", "input": items}
    for number, message in enumerate(story):
        if message.speaker == "assistant":
            pieces = _items_of_answer(message, number, items, ids)
        else:
            placed = []
            for result in [piece for piece in message.pieces if piece.kind == "result"]:
                at = f"input[{len(items)}]"
                inner = _placed(result.inner, f"{at}.output")
                placed.append(replace(result, path=at, inner=inner))
                output: Any = [_input_part(piece) for piece in inner]
                if len(inner) == 1 and inner[0].kind == "text":
                    output = inner[0].text
                    placed[-1] = replace(placed[-1], inner=(replace(inner[0], path=f"{at}.output"),))
                items.append({"type": "function_call_output", "call_id": ids[result.number], "output": output})
            rest = tuple(piece for piece in message.pieces if piece.kind != "result")
            if rest:
                placed += _placed(rest, f"input[{len(items)}].content")
                role = "developer" if message.speaker == "system" else "user"
                items.append({"type": "message", "role": role, "content": [_input_part(piece) for piece in rest]})
            pieces = tuple(placed)
        told.append(replace(message, pieces=pieces))
    document["tools"] = [{"type": "function", "name": n, "parameters": {"type": "object"}} for n in TOOLS]
    return Told("responses", document, told)


def _items_of_answer(
    message: Message, number: int, items: list[dict[str, Any]], ids: dict[int, str]
) -> tuple[Piece, ...]:
    first = len(items)
    if message.family:
        # the SDK hands back items as they came
        items += _earlier(message, "responses", number)["output"]
        if refusal := "".join(piece.text for piece in message.pieces if piece.kind == "refusal"):
            items.append({"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": refusal}]})
    else:
        items += [_item(piece) for piece in message.pieces]
    placed: list[Piece] = []
    order = sorted(message.pieces, key=lambda piece: piece.kind == "refusal") if message.family else message.pieces
    for index, piece in enumerate(order):
        at = f"input[{first + index}]"
        if piece.kind == "call":
            ids[piece.number] = items[first + index]["call_id"]
        placed.append(replace(piece, path=f"{at}.content[0]" if piece.kind in ("text", "refusal") else at))
    return tuple(placed)


def _item(piece: Piece) -> dict[str, Any]:
    match piece.kind:
        case "text":
            content = {"type": "output_text", "text": piece.text, "annotations": []}
            return {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": [content]}
        case "refusal":
            content = {"type": "refusal", "refusal": piece.text}
            return {"type": "message", "role": "assistant", "content": [content]}
        case "call":
            arguments = json.dumps(piece.arguments)
            return {"type": "function_call", "call_id": piece.id, "name": piece.name, "arguments": arguments}
        case "item":
            summary = [{"type": "summary_text", "text": piece.text}] if piece.text else []
            return {"type": "reasoning", "id": piece.id, "summary": summary, "encrypted_content": piece.seal}
    raise AssertionError(piece)


def _input_part(piece: Piece) -> dict[str, Any]:
    match piece.kind:
        case "text" | "blank":
            return {"type": "input_text", "text": piece.text}
        case "image":
            url = piece.url or f"data:{piece.name};base64,{piece.text}"
            return {"type": "input_image", "image_url": url} | ({"detail": piece.detail} if piece.detail else {})
        case "pdf":
            data = f"data:application/pdf;base64,{piece.text}"
            return {"type": "input_file", "filename": piece.name, "file_data": data}
        case "note":
            data = f"data:text/plain;base64,{base64.b64encode(piece.text.encode()).decode()}"
            return {"type": "input_file", "filename": piece.name, "file_data": data}
    raise AssertionError(piece)


def _placed(pieces: tuple[Piece, ...], at: str) -> tuple[Piece, ...]:
    return tuple(replace(piece, path=f"{at}[{index}]") for index, piece in enumerate(pieces))


def as_answer(format: Format, message: Message) -> dict[str, Any]:
    """An assistant's message as the upstream of that format answers."""
    assert not message.family
    usage: dict[str, Any] = {"input_tokens": 9, "output_tokens": 4}
    called = any(piece.kind == "call" for piece in message.pieces)
    if format == "chat":
        entry, _ = _chat_answer(message, 0, 0, {})
        choice = {"index": 0, "message": entry, "finish_reason": "tool_calls" if called else "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        return {"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
    if format == "messages":
        content = [_block(piece, {}) for piece in message.pieces]
        stop = {"stop_reason": "tool_use" if called else "end_turn", "stop_sequence": None}
        return {"id": "msg_1", "type": "message", "role": "assistant", "content": content, **stop, "usage": usage}
    output = [_item(piece) for piece in message.pieces]
    return {"id": "resp_1", "object": "response", "status": "completed", "output": output, "usage": usage}
