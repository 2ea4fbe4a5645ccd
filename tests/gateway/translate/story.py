"""A day of an agent's work: what was said, in words of its own. day.py writes it in the formats."""

import base64
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from interlock.ledger import Format

FORMATS: tuple[Format, ...] = ("chat", "messages", "responses")
FAMILIES: dict[str, tuple[Format, tuple[str, ...]]] = {
    "qwen3": ("chat", ("plain",)),
    "claude-opus": ("messages", ("thinking", "redacted")),
    "gpt-5": ("responses", ("item",)),
    "deepseek": ("chat", ("plain",)),
    "claude-haiku": ("messages", ("thinking", "redacted")),
    "o3": ("responses", ("item",)),
}
"""Families of models: the format that each speaks, and the kinds of reasoning that its own servers give."""
NATIVE = {"chat": "qwen3", "messages": "claude-opus", "responses": "gpt-5"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n day").decode()
PDF = base64.b64encode(b"%PDF-1.7 day").decode()
CACHE = {"type": "ephemeral", "ttl": "1h"}


@dataclass(frozen=True)
class Piece:
    """Something that was said. `kind`: text, blank, refusal, image, pdf, note, pdf_url, docx, call, result, or a kind
    of reasoning. `number`: of a call and its result, in order of calling."""

    kind: str
    text: str = ""
    url: str = ""
    detail: str = ""
    name: str = ""
    seal: str = ""
    id: str = ""
    number: int = -1
    arguments: Any = None
    error: bool = False
    cached: bool = False
    family: str = ""
    """Of the model that thought so, where Interlock translated its answer; else it is the client format's own."""
    inner: tuple["Piece", ...] = ()
    path: str = ""
    """Where it stands in the client's request; set by the one who wrote it."""


@dataclass(frozen=True)
class Message:
    """`speaker`: system, user, or assistant. Results are a user's pieces. `family`: as in Piece."""

    speaker: str
    pieces: tuple[Piece, ...]
    family: str = ""


@dataclass
class Told:
    """A request, and the story as it stands in it."""

    format: Format
    document: dict[str, Any]
    story: list[Message] = field(default_factory=list)


IDS = (
    "call_{n}",
    "toolu_{n}",
    "functions.read:{n}",  # Kimi
    "call-{n}|fc_{n}",
    "x" * 70 + "{n}",
    "ünïcode {n}",
    "ilkid_{n}",
)
TOOLS = ("read_file", "list", "now", "search")
WORDS = (
    "alpha",
    "beta  gamma\n",
    "δελτα",
    '"quoted" \\ ',
    "🙂 emoji",
    "x = {1: [2]}",
    "data: [DONE]",
    " lead",
    "tail ",
)


class Writer:
    """Makes up one day."""

    def __init__(self, random: Random, client: Format, turns: int) -> None:
        self._random, self._client = random, client
        self._calls = 0
        self._texts = 0
        self._turns = turns

    def story(self) -> list[Message]:
        leading = [self.text() for _ in range(self._random.randint(0, 2))]
        told = [Message("system", tuple(leading))] if leading else []
        open_calls: list[Piece] = []
        for turn in range(self._turns):
            told.append(Message("user", (*self._results(open_calls), *self._said(bool(open_calls)))))
            if (self._client != "messages" and self._chance(0.1)) or self._chance(0.05):
                told.append(Message("system", (self.text(),)))
            told.append(self._answer(last=turn == self._turns - 1))
            open_calls = [piece for piece in told[-1].pieces if piece.kind == "call"]
        told.append(Message("user", (*self._results(open_calls), self.text())))
        return told

    def text(self) -> Piece:
        self._texts += 1
        words = " ".join(self._random.choices(WORDS, k=self._random.randint(1, 3)))
        return Piece("text", text=f"{self._texts}: {words}.", cached=self._cached())

    def _said(self, may_be_silent: bool) -> list[Piece]:
        pieces = [self.text() for _ in range(self._random.randint(0 if may_be_silent else 1, 2))]
        if self._chance(0.25):
            pieces.insert(self._random.randint(0, len(pieces)), self._image())
        if self._chance(0.2):
            pieces.append(self._document())
        if self._chance(0.05):
            pieces.append(Piece("blank", text=" \n"))
        return pieces

    def _image(self) -> Piece:
        self._texts += 1
        detail = self._random.choice(["", "", "low", "high"]) if self._client != "messages" else ""
        if self._chance(0.5):
            return Piece("image", url=f"https://pictures.test/{self._texts}.png", detail=detail, cached=self._cached())
        return Piece("image", text=PNG, name="image/png", detail=detail, cached=self._cached())

    def _document(self) -> Piece:
        self._texts += 1
        if self._chance(0.5):
            return Piece("pdf", text=PDF, name=f"report {self._texts}.pdf", cached=self._cached())
        return Piece(
            "note", text=f"note {self._texts}\nof two lines", name=f"note {self._texts}", cached=self._cached()
        )

    def _results(self, calls: list[Piece]) -> list[Piece]:
        results = []
        for call in self._random.sample(calls, len(calls)):
            inner = [self.text() for _ in range(self._random.randint(0, 2))]
            inner += [self._image()] if self._chance(0.3) else []
            error = self._client == "messages" and self._chance(0.3)
            plain = tuple(replace(piece, cached=False) for piece in inner)
            results.append(Piece("result", number=call.number, id=call.id, inner=plain, error=error))
        return results

    def _answer(self, *, last: bool) -> Message:
        family = self._random.choice(["", *FAMILIES])
        speaks = FAMILIES[family][0] if family else self._client
        kinds = FAMILIES[family or NATIVE[self._client]][1]
        pieces = [self._thought(kind, family) for kind in kinds if self._chance(0.6)]
        if self._chance(0.7):
            pieces.append(replace(self.text(), cached=not family and self._cached()))
        if self._chance(0.25) and speaks != "messages" and self._client != "messages":
            pieces.append(Piece("refusal", text=f"I will not {self._texts}."))
        if not last and self._chance(0.7):
            pieces += [self._call() for _ in range(self._random.randint(1, 3))]
        if not any(piece.kind in ("text", "call", "refusal") for piece in pieces):
            pieces.append(self.text() if not family else replace(self.text(), cached=False))
        return Message("assistant", tuple(pieces), family)

    def _thought(self, kind: str, family: str) -> Piece:
        self._texts += 1
        text = f"thought {self._texts}" if self._chance(0.8) or kind == "plain" else ""
        seal = f"SEAL{self._texts}+/=" if kind != "plain" else ""
        id = f"rs_{self._texts}" if kind == "item" else ""
        return Piece(kind, text="" if kind == "redacted" else text, seal=seal, id=id, family=family)

    def _call(self) -> Piece:
        self._calls += 1
        id = self._random.choice(IDS).format(n=self._calls)
        if self._client == "messages":
            id = self._random.choice(["toolu_{n}", "call_{n}", "a-b_{n}"]).format(n=self._calls)
        arguments = self._random.choice([{}, {"path": f"/a/{self._calls}"}, {"q": ["é", 1.5, None, True], "n": 10**18}])
        return Piece("call", name=self._random.choice(TOOLS), id=id, number=self._calls, arguments=arguments)

    def _cached(self) -> bool:
        return self._client == "messages" and self._chance(0.15)

    def _chance(self, of: float) -> bool:
        return self._random.random() < of
