"""The auditor of answers: what a client was told of what its upstream said."""

from typing import Any

from tests.gateway.translate.audit import Fact, Reader, by_kind, canonical
from tests.gateway.translate.story import Message, Piece

from interlock.ledger import Format


def audit_answer(message: Message, client: Format, document: dict[str, Any]) -> None:
    """A client was told everything that the upstream said, in order, with ids that its format allows."""
    found, said = _heard(client, document), [fact for piece in message.pieces for fact in _told_of(piece, client)]
    if client == "chat":
        assert by_kind(_one_thought(found)) == by_kind(_one_thought(said))
    else:
        assert found == said


def _told_of(piece: Piece, client: Format) -> list[Fact]:
    if piece.kind in ("thinking", "redacted", "item", "plain"):
        return [("thought", piece.text)] if piece.text else []
    if piece.kind == "call":
        return [("call", piece.name, canonical(piece.arguments))]
    return [("text" if client == "messages" else piece.kind, piece.text)]


def _one_thought(facts: list[Fact]) -> list[Fact]:
    thoughts = [fact[1] for fact in facts if fact[0] == "thought"]
    return [("thought", "\n\n".join(thoughts)), *(fact for fact in facts if fact[0] != "thought")]


def _heard(client: Format, document: dict[str, Any]) -> list[Fact]:
    reader = Reader(client, "" if client == "messages" else ".+")  # OpenAI's clients bound nothing
    if client == "chat":
        (choice,) = document["choices"]
        message = choice["message"]
        facts = reader.chat_answer(message, reader.chat_content(message["content"], "text"))
        assert choice["finish_reason"] == ("tool_calls" if message.get("tool_calls") else "stop")
    elif client == "messages":
        facts = [reader.block(block, "assistant") for block in document["content"]]
        assert document["stop_reason"] in ("tool_use", "end_turn", "refusal")
    else:
        reader.items([_given(item) for item in document["output"]])
        facts = [fact for _, round in reader.rounds for fact in round]
        assert document["status"] == "completed"
    return [_without_number(fact) for fact in facts if fact[0] not in _THOUGHTS or fact[1]]


_THOUGHTS = ("thinking", "redacted", "item", "plain")


def _given(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"encrypted_content": item.get("encrypted_content", "")} if item["type"] == "reasoning" else item


def _without_number(fact: Fact) -> Fact:
    if fact[0] in _THOUGHTS:
        return ("thought", fact[1])
    return ("call", *fact[2:]) if fact[0] == "call" else fact
