"""An auditor of translations: what is in a request or answer of each format, read from that format's documentation.

It shares nothing with the translators. It knows what each format can express, and so what must be there; what a target
cannot express must be listed by its path, and nothing else may be listed.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from tests.gateway.translate.story import Message, Piece, Told

from interlock.ledger import Format

Fact = tuple[Any, ...]
"""Something said: (kind, …). Reasoning: (kind, text, seal, id). Calls: ("call", number, name, canonical JSON)."""
Round = tuple[str, list[Fact]]
"""All that was said before the other side spoke again: ("asked" | "answered", facts)."""

READABLE: dict[Format, dict[str, str]] = {
    "chat": {"plain": "qwen3"},
    "messages": {"thinking": "claude-opus", "redacted": "claude-opus"},
    "responses": {"item": "gpt-5"},
}
"""The reasoning that each target's own servers take back, and the family that the tests' target of it is."""
CAN: dict[Format, frozenset[str]] = {
    "chat": frozenset({"text", "blank", "refusal", "image", "detail", "pdf", "note", "call", "result"}),
    "messages": frozenset({"text", "refusal", "image", "pdf", "note", "call", "result", "error", "cache"}),
    "responses": frozenset({"text", "blank", "refusal", "image", "detail", "pdf", "note", "call", "result"}),
}
"""What else a target has a place for. Messages refuses text without a visible character; OpenAI's formats have no flag
for a result that is an error, and no cache breakpoints."""
LEGAL_IDS: dict[Format, str] = {"chat": r"[!-~]{1,40}", "messages": r"[a-zA-Z0-9_-]+", "responses": r"[!-~]{1,64}"}
_ATTACHED = "Attached to the result of tool call "


def expected_drops(told: Told, target: Format) -> list[str]:
    """The paths that a translation to the target must list, and no others."""
    can, paths = CAN[target], []
    for piece in pieces_of(told.story):
        if piece.cached and "cache" not in can:
            paths.append(f"{piece.path}.cache_control")
        if piece.detail and "detail" not in can:
            paths.append(f"{piece.path}.detail")
        if piece.error and "error" not in can:
            paths.append(f"{piece.path}.is_error")
        if not _is_expressed(piece, told, target):
            paths.append(piece.path)
    if told.format == "chat" and target != "chat":
        # the same text again, in the words of other servers
        paths += [
            f"messages[{n}].reasoning_details" for n, entry in enumerate(told.document["messages"]) if _spare(entry)
        ]
    return paths


def _spare(entry: dict[str, Any]) -> bool:
    details: list[dict[str, Any]] = entry.get("reasoning_details", [])
    return bool(details) and not any(detail.get("signature") or detail.get("data") for detail in details)


def pieces_of(story: Iterable[Message]) -> Iterator[Piece]:
    """Every piece, those in results too."""
    for message in story:
        for piece in message.pieces:
            yield piece
            yield from piece.inner


def _is_expressed(piece: Piece, told: Told, target: Format) -> bool:
    if piece.kind in ("thinking", "redacted", "item", "plain"):
        family = READABLE[target].get(piece.kind)
        return family is not None and piece.family in ("", family)
    return piece.kind in CAN[target]


# what was said


def said_rounds(told: Told, target: Format) -> list[Round]:
    """What the target must be told, as facts."""
    rounds: list[Round] = []
    leading = True
    for message in told.story:
        leading = leading and message.speaker == "system"
        kind = "leading" if leading else "answered" if message.speaker == "assistant" else "asked"
        facts = [fact for piece in message.pieces for fact in _facts(piece, message.speaker, told, target)]
        _add(rounds, kind, facts)
    return [(kind, _joined(facts)) for kind, facts in rounds]


def _add(rounds: list[Round], kind: str, facts: list[Fact]) -> None:
    if not rounds or rounds[-1][0] != kind:
        rounds.append((kind, []))
    rounds[-1][1].extend(facts)


def _facts(piece: Piece, speaker: str, told: Told, target: Format) -> list[Fact]:
    if not _is_expressed(piece, told, target):
        return []
    match piece.kind:
        case "text" | "blank":
            return [("system" if speaker == "system" else "text", piece.text)]
        case "refusal":
            return [("refusal" if target != "messages" else "text", piece.text)]
        case "image":
            return [("image", piece.url or (piece.name, piece.text), piece.detail if "detail" in CAN[target] else "")]
        case "pdf":
            return [("document", "application/pdf", base64.b64decode(piece.text), piece.name)]
        case "note":
            if target == "chat" and told.format == "messages":  # chat's servers read no text files: it is text there
                return [("text", f"{piece.name}\n\n{piece.text}")]
            return [("document", "text/plain", piece.text.encode(), piece.name)]
        case "call":
            return [("call", piece.number, piece.name, canonical(piece.arguments))]
        case "result":
            inner = [fact for part in piece.inner for fact in _facts(part, speaker, told, target)]
            error = piece.error and "error" in CAN[target]
            return [("result", piece.number, error, tuple(_joined(inner)))]
        case "thinking" | "redacted" | "item":
            return [(piece.kind, piece.text, piece.seal, piece.id)]
        case "plain":
            return [("plain", piece.text)]
    raise AssertionError(piece)


def canonical(arguments: object) -> str:
    """JSON that is the same for the same value."""
    return json.dumps(arguments, sort_keys=True)


def _joined(facts: list[Fact]) -> list[Fact]:
    """Reasoning text that stands side by side is one text in chat."""
    joined: list[Fact] = []
    for fact in facts:
        if fact[0] == "plain" and joined and joined[-1][0] == "plain":
            joined[-1] = ("plain", f"{joined[-1][1]}\n\n{fact[1]}")
        else:
            joined.append(fact)
    return joined


# what is in a request


class Reader:
    """Reads a target's request as rounds. `numbers`: which call an id is of, in order of calling."""

    def __init__(self, format: Format, legal: str = "") -> None:
        self.format = format
        self._legal = legal or LEGAL_IDS[format]
        self.rounds: list[Round] = []
        self._numbers: dict[str, int] = {}
        self._answered: set[int] = set()

    def read(self, document: dict[str, Any]) -> list[Round]:
        {"chat": self._chat, "messages": self._messages, "responses": self._responses}[self.format](document)
        return [(kind, _joined(facts)) for kind, facts in self.rounds]

    def _call(self, id: str, name: str, arguments: object) -> Fact:
        assert re.fullmatch(self._legal, id), id
        assert type(arguments) is dict
        assert id not in self._numbers, f"two calls are named {id}"
        number = self._numbers[id] = len(self._numbers) + 1
        return ("call", number, name, canonical(arguments))

    def _number(self, id: str) -> int:
        number = self._numbers[id]
        assert number not in self._answered, f"call {id} has two results"
        self._answered.add(number)
        return number

    # chat

    def _chat(self, document: dict[str, Any]) -> None:
        results: list[tuple[str, int, list[Fact]]] = []
        for message in document["messages"]:
            role = message["role"]
            if role == "tool":
                id = message["tool_call_id"]
                results.append((id, self._number(id), self.chat_content(message["content"], "text")))
                continue
            facts = self.chat_content(message["content"], "system" if role in ("system", "developer") else "text")
            if results and role == "user":
                facts = self._attached(facts, results)
            elif results:
                _add(self.rounds, "asked", self._results(results))
            results = []
            if role == "assistant":
                facts = self.chat_answer(message, facts)
            leading = role in ("system", "developer") and (not self.rounds or self.rounds[-1][0] == "leading")
            _add(self.rounds, "answered" if role == "assistant" else "leading" if leading else "asked", facts)
        if results:
            _add(self.rounds, "asked", self._results(results))

    def _results(self, results: list[tuple[str, int, list[Fact]]]) -> list[Fact]:
        return [("result", number, False, tuple(facts)) for _, number, facts in results]

    def _attached(self, facts: list[Fact], results: list[tuple[str, int, list[Fact]]]) -> list[Fact]:
        """Pictures in results follow in the user's message, behind a line that names the call: one each in a day."""
        by_id = {id: inner for id, _, inner in results}
        rest = list(facts)
        while rest and rest[0][0] == "text" and rest[0][1].startswith(_ATTACHED):
            line, attached = rest.pop(0), rest.pop(0)
            by_id[line[1].removeprefix(_ATTACHED).removesuffix(":")].append(attached)
        return [*self._results(results), *rest]

    def chat_answer(self, message: dict[str, Any], facts: list[Fact]) -> list[Fact]:
        thought = message.get("reasoning_content")
        facts = ([("plain", thought)] if thought else []) + facts
        if message.get("refusal"):
            facts.append(("refusal", message["refusal"]))
        for call in message.get("tool_calls") or ():
            assert call["type"] == "function"
            arguments = call["function"]["arguments"]
            facts.append(self._call(call["id"], call["function"]["name"], msgspec.json.decode(arguments)))
        return facts

    def chat_content(self, content: Any, text: str) -> list[Fact]:
        if content is None:
            return []
        parts: list[dict[str, Any]] = content
        if isinstance(content, str):
            parts = [{"type": "text", "text": content}]
        facts: list[Fact] = []
        for part in parts:
            if part["type"] == "text":
                facts += [(text, part["text"])] if part["text"] else []
            elif part["type"] == "image_url":
                facts.append(_image(part["image_url"]["url"], part["image_url"].get("detail", "")))
            else:
                assert part["type"] == "file"
                facts.append(_file(part["file"]["file_data"], part["file"]["filename"]))
        return facts

    # messages

    def _messages(self, document: dict[str, Any]) -> None:
        system = document.get("system", [])
        if system:
            blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
            _add(self.rounds, "leading", [("system", block["text"]) for block in blocks])
        last = ""
        for message in document["messages"]:
            assert message["role"] != last, "neighbours of one role"
            last = message["role"]
            blocks = message["content"]
            kinds = [block["type"] for block in blocks]
            assert kinds and kinds == sorted(kinds, key=lambda kind: kind != "tool_result"), "results come first"
            facts = [self.block(block, last) for block in blocks]
            _add(self.rounds, "answered" if last == "assistant" else "asked", facts)

    def block(self, block: dict[str, Any], role: str) -> Fact:
        match block["type"]:
            case "text":
                assert block["text"].strip()
                return ("system" if role == "system" else "text", block["text"])
            case "image":
                source = block["source"]
                given = source["url"] if source["type"] == "url" else (source["media_type"], source["data"])
                return ("image", given, "")
            case "document":
                source = block["source"]
                if source["type"] == "text":
                    return ("document", "text/plain", source["data"].encode(), block["title"])
                return ("document", source["media_type"], base64.b64decode(source["data"]), block["title"])
            case "tool_use":
                assert role == "assistant"
                return self._call(block["id"], block["name"], block["input"])
            case "tool_result":
                inner = tuple(self.block(part, "user") for part in block.get("content", ()))
                return ("result", self._number(block["tool_use_id"]), block.get("is_error", False), inner)
            case "thinking":
                return ("thinking", block["thinking"], block["signature"], "")
        assert block["type"] == "redacted_thinking"
        return ("redacted", "", block["data"], "")

    # responses

    def _responses(self, document: dict[str, Any]) -> None:
        if document.get("instructions"):
            _add(self.rounds, "leading", [("system", document["instructions"])])
        self.items(document["input"])

    def items(self, items: list[dict[str, Any]]) -> None:
        """Input or output."""
        for item in items:
            kind = item.get("type", "message")
            if kind == "message":
                role = item["role"]
                text = "system" if role in ("system", "developer") else "text"
                facts = [_input(part, text) for part in item["content"]]
                leading = text == "system" and (not self.rounds or self.rounds[-1][0] == "leading")
                speaker = "answered" if role == "assistant" else "leading" if leading else "asked"
                _add(self.rounds, speaker, facts)
            elif kind == "function_call":
                arguments = msgspec.json.decode(item["arguments"])
                _add(self.rounds, "answered", [self._call(item["call_id"], item["name"], arguments)])
            elif kind == "function_call_output":
                output = item["output"]
                parts = [{"type": "input_text", "text": output}] if isinstance(output, str) else output
                inner = tuple(_input(part, "text") for part in parts if part.get("text") != "")
                _add(self.rounds, "asked", [("result", self._number(item["call_id"]), False, inner)])
            else:
                assert kind == "reasoning"
                text = "\n\n".join(part["text"] for part in item["summary"])
                _add(self.rounds, "answered", [("item", text, item["encrypted_content"], item["id"])])


def _input(part: dict[str, Any], text: str) -> Fact:
    match part["type"]:
        case "input_text" | "output_text":
            return (text, part["text"])
        case "refusal":
            return ("refusal", part["refusal"])
        case "input_image":
            return _image(part["image_url"], part.get("detail", ""))
    assert part["type"] == "input_file"
    return _file(part["file_data"], part["filename"])


def _image(url: str, detail: str) -> Fact:
    match = re.fullmatch(r"data:([^;,]+);base64,(.*)", url)
    return ("image", (match[1], match[2]) if match else url, "" if detail == "auto" else detail)


def _file(url: str, name: str) -> Fact:
    match = re.fullmatch(r"data:([^;,]+);base64,(.*)", url)
    assert match is not None
    return ("document", match[1], base64.b64decode(match[2]), name)


# the judgement


def audit(told: Told, target: Format, document: dict[str, Any], dropped: Iterable[str]) -> None:
    """Everything that the target can express is there, in order; what it cannot is listed, and nothing else is."""
    assert Counter(dropped) == Counter(expected_drops(told, target))
    found, said = Reader(target).read(document), said_rounds(told, target)
    said = [(kind, facts) for kind, facts in said if facts]
    found = [(kind, facts) for kind, facts in found if facts]
    assert [kind for kind, _ in found] == [kind for kind, _ in said]
    for (kind, there), (_, expected) in zip(found, said, strict=True):
        if kind == "leading":
            assert "\n\n".join(fact[1] for fact in there) == "\n\n".join(fact[1] for fact in expected)
        elif kind == "answered" and target != "chat":
            assert there == expected
        else:
            # a chat answer has one place for each kind; results and system text have their own place among the rest
            assert by_kind(there) == by_kind(expected)


def by_kind(facts: list[Fact]) -> dict[str, list[Fact]]:
    """The facts of each kind, in order."""
    kinds: dict[str, list[Fact]] = {}
    for fact in facts:
        kinds.setdefault(fact[0], []).append(fact)
    return kinds
