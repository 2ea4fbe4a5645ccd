"""A view as a request in one of the three wire formats, and a streamed answer as what the log keeps of it. Pure.

Everything goes through the gateway's own translation, so that a format is read and written by one piece of code. An
answer is bounded: what is longer than an event may be is no answer but a failure.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from interlock.errors import LocalError
from interlock.gateway.translate import chat, messages, neutral, responses, write_request
from interlock.runtime.brain.arguments import read_arguments
from interlock.runtime.brain.context import Piece, Result, View
from interlock.runtime.sessions.agent import Wire
from interlock.runtime.sessions.event import Call, Part, Text, Thought

ANSWER_BYTES_MAX = 768 * 1024
"""Of an answer as JSON: an event holds at most 1 MiB."""
CALL_ID_CHARS_MAX = 128
EVENT_BYTES_MAX = 4 << 20
"""Of one server-sent event (a Responses stream repeats the whole answer in its last)."""
PATHS: dict[Wire, str] = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
_READERS: dict[Wire, Callable[[], Any]] = {
    "chat": chat.StreamReader,
    "messages": messages.StreamReader,
    "responses": responses.StreamReader,
}
_END = re.compile(rb"\r?\n\r?\n")
_DATA = re.compile(rb"^data:[ ]?([^\r\n]*)", re.MULTILINE)
_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    parts: tuple[Part, ...]
    finish: str
    usage: dict[str, int]


class Broke(msgspec.Struct, frozen=True, kw_only=True):
    """No answer, or not a whole one. `status`: the HTTP status that says whether it helps to try again."""

    code: str
    message: str
    status: int = 502


def write(shown: View, wire: Wire, model: str, *, max_output: int, schema: dict[str, Any] | None = None) -> bytes:
    """The body of a request that is streamed. `schema`: what the answer is held to, in place of tools.

    Raises: LocalError: the format cannot say it.
    """
    ask = neutral.Ask(
        format=wire,
        stream=True,
        instructions=(neutral.Text(text=shown.instructions),) if shown.instructions else (),
        turns=tuple(neutral.Turn(role=turn.role, parts=tuple(map(_part, turn.pieces))) for turn in shown.turns),
        tools=() if schema else tuple(map(_tool, shown.offers)),
        max_output=max_output,
        schema=neutral.Schema(schema=schema, name="step", strict=True) if schema else None,
        temperature=0.0 if schema else None,  # a model that needs a grammar is small: its likeliest word is its best
        includes_usage=True,
    )
    body, _ = write_request(ask, wire, neutral.Target(model=model, family=""))
    return body


def wire_name(name: str) -> str:
    """A tool's name as every provider takes it; what a model made up may hold anything.

    >>> wire_name("shell"), wire_name("no such\\ntool")
    ('shell', 'no_such_tool')
    """
    return _NAME.sub("_", name)[:64] or "_"


def _tool(offer: Any) -> neutral.Tool:
    return neutral.Tool(name=wire_name(offer.name), description=offer.description, schema=offer.schema)


def _part(piece: Piece) -> neutral.Part:
    match piece:
        case Text(text=text):
            return neutral.Text(text=text)
        case Thought():
            return neutral.Reasoning(
                kind=piece.kind, text=piece.text, seal=piece.seal, id=piece.id, family=piece.family
            )
        case Call():
            return neutral.ToolCall(id=piece.id, name=wire_name(piece.name), arguments=_sayable(piece.arguments))
        case Result():
            return neutral.ToolResult(
                id=piece.call_id, parts=(neutral.Text(text=piece.text or "(nothing)"),), error=piece.error
            )


def _sayable(arguments: str) -> str:
    """Arguments as one JSON object: providers refuse others, and the model is to see what it wrote."""
    try:
        return _encode(read_arguments(arguments)).decode()
    except (LocalError, msgspec.MsgspecError, UnicodeError):
        shown = arguments.encode(errors="replace").decode()[:2000]
        return _encode({"not_json": shown}).decode()


class Listener:
    """One streamed answer: bytes in, then `heard` or `broke`. `tell` is called with each piece as it comes."""

    def __init__(self, wire: Wire, tell: Callable[[neutral.Event], None]) -> None:
        self._reader = _READERS[wire]()
        self._tell = tell
        self._buffer = b""
        self._parts: list[Any] = []
        self._open: list[str] = []
        self._kind = ""
        self._calls: dict[int, list[str]] = {}
        self._finish = "stop"
        self._usage: dict[str, int] = {}
        self._size = 0
        self.complete = False
        self.broke: Broke | None = None

    @property
    def over(self) -> bool:
        """Nothing more is wanted."""
        return self.complete or self.broke is not None

    def feed(self, data: bytes) -> None:
        """More of the body, cut anywhere."""
        *events, self._buffer = _END.split(self._buffer + data)
        if len(self._buffer) > EVENT_BYTES_MAX:
            self.broke = Broke(code="upstream_invalid", message="an event of the answer is longer than 4 MiB")
        for event in events:
            lines = _DATA.findall(event)
            if lines and not self.over:
                self._read(b"\n".join(lines))

    def end(self) -> Heard | Broke:
        """The body is over."""
        if not self.over:
            self._take(self._reader.end())
        if self.broke is not None:
            return self.broke
        if not self.complete:
            return Broke(code="upstream_closed", message="the answer ended before it was complete")
        heard = Heard(parts=tuple(self._closed()), finish=self._finish, usage=self._usage)
        if len(_encode(heard)) > ANSWER_BYTES_MAX:
            return Broke(code="upstream_invalid", message="the answer is longer than 768 KiB", status=413)
        return heard

    def _read(self, payload: bytes) -> None:
        if payload == b"[DONE]":
            self._take(self._reader.done())
            return
        try:
            document = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.broke = Broke(code="upstream_invalid", message="an event of the answer is not a JSON object")
            return
        self._take(self._reader.read(document))

    def _take(self, events: list[neutral.Event]) -> None:
        for event in events:
            if self.over:
                return
            self._one(event)
            self._tell(event)

    def _one(self, event: neutral.Event) -> None:
        match event:
            case neutral.TextDelta(text=text) | neutral.RefusalDelta(text=text):
                self._piece("text", text)
            case neutral.ReasoningDelta(kind=kind, text=text):
                self._piece(kind, text)
            case neutral.ReasoningEnd(kind=kind, seal=seal, id=id):
                text = "".join(self._open) if self._kind == kind else ""
                self._open, self._kind = [], ""
                self._parts.append(Thought(kind=kind, text=text, seal=seal, id=id))
            case neutral.BlockEnd():
                self._shut()
            case neutral.CallBegin(slot=slot, id=id, name=name):
                self._shut()
                self._calls[slot] = []
                self._parts.append((slot, id, name))
            case neutral.CallDelta(slot=slot, fragment=fragment):
                self._grown(fragment)
                self._calls.setdefault(slot, []).append(fragment)
            case neutral.Usage(usage=usage):
                self._usage = dict(usage)
            case neutral.Finished(finish=finish):
                self._finish = finish
            case neutral.Failed(type=type, message=message, status=status):
                self.broke = Broke(code=neutral.code_of(event), message=f"{type}: {message}"[:500], status=status)
            case neutral.Done():
                self.complete = True

    def _piece(self, kind: str, text: str) -> None:
        if self._kind != kind:
            self._shut()
            self._kind = kind
        self._grown(text)
        self._open.append(text)

    def _grown(self, text: str) -> None:
        self._size += len(text)
        if self._size > ANSWER_BYTES_MAX:
            self.broke = Broke(code="upstream_invalid", message="the answer is longer than 768 KiB", status=413)

    def _shut(self) -> None:
        text, kind = "".join(self._open), self._kind
        self._open, self._kind = [], ""
        if kind == "text" and text:
            self._parts.append(Text(text=text))
        elif text:
            self._parts.append(Thought(kind=kind, text=text))  # type: ignore[arg-type]  # a kind of the stream's own

    def _closed(self) -> list[Part]:
        self._shut()
        parts: list[Part] = []
        for part in self._parts:
            if isinstance(part, tuple):
                slot, id, name = part
                part = Call(id=id, name=name, arguments="".join(self._calls[slot]))
            parts.append(part)
        return parts


def with_own_ids(parts: tuple[Part, ...], step: int, taken: Callable[[str], bool]) -> tuple[Part, ...]:
    """The parts, each call with an id that no other call of the session has."""
    seen: set[str] = set()
    owned: list[Part] = []
    for number, part in enumerate(parts):
        if isinstance(part, Call):
            id = part.id if len(part.id) <= CALL_ID_CHARS_MAX else ""
            while not id or id in seen or taken(id):
                id = f"{id}_" if id.startswith(f"call_{step}_{number}_") else f"call_{step}_{number}_"
            part = msgspec.structs.replace(part, id=id)
            seen.add(id)
        owned.append(part)
    return tuple(owned)
