"""Models without tool calls: an answer held to a JSON schema is either words or one call. Pure.

The schema goes out as `response_format`, which llama.cpp's server turns into a grammar: what comes back is of that
shape whatever the model is like. The history is told in the same shape, and results as fenced data in a user's turn,
since such a model's template has no other place for them. A fence is the hash of what is inside: nothing can close it.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from interlock.errors import LocalError
from interlock.runtime.brain.arguments import read_arguments
from interlock.runtime.brain.context import Piece, Result, Turn, View
from interlock.runtime.brain.offer import Offer
from interlock.runtime.brain.wires import Heard
from interlock.runtime.sessions.event import Call, Text, Thought

_encode = msgspec.json.Encoder().encode


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    say: str


class _Called(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tool: str
    arguments: dict[str, Any] = {}


def schema(offers: Iterable[Offer]) -> dict[str, Any]:
    """`{"say": words}`, or `{"tool": name, "arguments": {…}}` with the arguments that this tool takes."""
    words = _object({"say": {"type": "string"}})
    calls = [
        _object({"tool": {"const": offer.name}, "arguments": offer.schema or {"type": "object"}}) for offer in offers
    ]
    return {"anyOf": [*calls, words]} if calls else words


def plain(shown: View) -> View:
    """The view for a model that knows neither tools nor their results."""
    turns = tuple(Turn(role=turn.role, pieces=tuple(map(_told, turn.pieces))) for turn in shown.turns)
    return View(instructions="\n\n".join(filter(None, (shown.instructions, _manual(shown.offers)))), turns=turns)


def heard(answer: Heard) -> Heard:
    """The answer as words or a call. What is of neither shape (it was cut off) is a call that is told to be none."""
    text = "".join(part.text for part in answer.parts if isinstance(part, Text)).strip()
    thoughts = tuple(part for part in answer.parts if isinstance(part, Thought))
    try:
        said: _Said | _Called | None = msgspec.json.decode(text, type=_Said)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        said = None
    try:
        said = said or msgspec.json.decode(text, type=_Called)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return msgspec.structs.replace(answer, parts=(*thoughts, Call(id="", name="", arguments=text)))
    if isinstance(said, _Said):
        words = (Text(text=said.say),) if said.say else ()
        return msgspec.structs.replace(answer, parts=(*thoughts, *words))
    # the text again and not what was decoded: what the model wrote is what is bound, shown and judged
    arguments = _encode(said.arguments).decode()
    return msgspec.structs.replace(
        answer, parts=(*thoughts, Call(id="", name=said.tool, arguments=arguments)), finish="tool_calls"
    )


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _manual(offers: Iterable[Offer]) -> str:
    lines = ['Answer with one JSON object. To speak: {"say": "…"}. To use a tool: {"tool": "…", "arguments": {…}}.']
    lines += [
        f"Tool `{offer.name}`: {offer.description} Arguments: {_encode(offer.schema.get('properties', {})).decode()}"
        for offer in offers
    ]
    return "\n".join(lines)


def _told(piece: Piece) -> Piece:
    match piece:
        case Call(name=name, arguments=arguments):
            try:
                return Text(text=_encode({"tool": name, "arguments": read_arguments(arguments)}).decode())
            except LocalError:
                return Text(text=arguments)
        case Result(name=name, text=text, error=error):
            fence = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
            what = "failed with" if error else "gave back"
            return Text(text=f"The tool {name} {what} this data, up to the line {fence}:\n{text}\n{fence}")
    return piece
