"""A request as Gemini's generateContent has it.

Written from `neutral.Ask`, so that every field is said, listed as dropped or refused by its path. Thoughts go back with
their signatures (gemini_marks.py); those of another provider are dropped. A system message between others becomes text
of the user's turn, where it stands: Gemini has one system instruction, before everything.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from interlock.errors import LocalError
from interlock.gateway.providers.gemini_marks import Mark, gemini_id, unmarked
from interlock.gateway.translate.fields import name_of_field, settle_fields, unsayable
from interlock.gateway.translate.neutral import (
    Ask,
    Document,
    Image,
    Part,
    Reasoning,
    Text,
    Thinks,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Written,
)

TARGET = "Gemini"
UNSIGNED = "skip_thought_signature_validator"
"""What Google wants in place of the signature of a call that Gemini did not make: without it Gemini 3 answers 400."""

_OLD = re.compile(r"gemini-[12](?!\d)")
"""Before Gemini 3: budgets instead of levels, no media in results, calls need no signature."""
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
"""Google's own table for OpenAI's `reasoning_effort`; higher efforts are not in it."""
_MODES = {"auto": "AUTO", "any": "ANY", "tool": "ANY", "none": "NONE"}
_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
}


def write_request(ask: Ask, model: str) -> Written:
    """The body, and the paths of what was dropped: hints, and thoughts that Gemini cannot read.

    Raises: LocalError: Gemini has no word for the field that is named.
    """
    return _Writer(ask, model).written()


class _Writer:
    def __init__(self, ask: Ask, model: str) -> None:
        self._ask = ask
        self._old = bool(_OLD.search(model))
        self._dropped: list[str] = []
        self._names: dict[str, str] = {}  # of the tools, by the ids of the calls so far

    def written(self) -> Written:
        ask = self._ask
        document: dict[str, Any] = {"contents": self._contents()}
        if instructions := [part for given in ask.instructions for part in self._said(given)]:
            document["systemInstruction"] = {"parts": instructions}
        document |= self._tools()
        if generation := self._generation():
            document["generationConfig"] = generation
        if ask.user:
            self._dropped.append(name_of_field(ask, "user"))
        settle_fields(ask, (), TARGET, self._dropped.append)
        return Written(document=document, dropped=tuple(self._dropped))

    # content

    def _contents(self) -> list[dict[str, Any]]:
        contents: list[dict[str, Any]] = []
        for turn in self._ask.turns:
            role = "model" if turn.role == "assistant" else "user"
            parts = list(self._model_parts(turn) if role == "model" else self._user_parts(turn))
            if parts and contents and contents[-1]["role"] == role:
                contents[-1]["parts"] += parts
            elif parts:
                contents.append({"role": role, "parts": parts})
        if not contents:
            raise unsayable(name_of_field(self._ask, "turns"), TARGET, "needs at least one message that is not empty")
        if not self._old:
            for content in contents:
                _excuse(content["parts"])
        return contents

    def _user_parts(self, turn: Turn) -> Iterator[dict[str, Any]]:
        for part in turn.parts:
            if isinstance(part, ToolResult):
                yield self._result(part)
            else:
                yield from self._said(part)

    def _model_parts(self, turn: Turn) -> Iterator[dict[str, Any]]:
        """Each signature goes to the part that its mark names; one whose part is gone, goes with it."""
        mark: Mark | None = None
        for part in turn.parts:
            if isinstance(part, Reasoning):
                mark = unmarked(part.seal) if part.kind == "thinking" else None
                if mark is None:
                    self._dropped.append(part.path)
                else:
                    yield from _thought(part.text, mark)
                continue
            owner = "c" if isinstance(part, ToolCall) else "t"
            signed = {"thoughtSignature": mark.signature} if mark and mark.owner == owner else {}
            mark = None
            if isinstance(part, ToolCall):
                yield {"functionCall": self._call(part), **signed}
            else:
                for said in self._said(part):
                    yield {**said, **signed}

    def _call(self, call: ToolCall) -> dict[str, Any]:
        self._uncached(call)
        self._names[call.id] = call.name
        return {**gemini_id(call.id), "name": call.name, "args": msgspec.Raw(call.arguments.encode() or b"{}")}

    def _result(self, result: ToolResult) -> dict[str, Any]:
        self._uncached(result)
        name = self._names.get(result.id)
        if name is None:
            field = f"{result.path}.tool_use_id"
            raise LocalError(f"{field}: no call of that id stands before it", field=field)
        texts: list[str] = []
        media: list[dict[str, Any]] = []
        for part in result.parts:
            for said in self._said(part):
                if "text" in said:
                    texts.append(said["text"])
                elif "inlineData" in said and not self._old:
                    media.append(said)
                else:
                    raise unsayable(part.path, TARGET, "takes text in a result, and from Gemini 3 on inline files")
        value: Any = texts if len(texts) > 1 else "".join(texts)
        response: dict[str, Any] = {
            **gemini_id(result.id),
            "name": name,
            "response": {"error" if result.error else "result": value},
        }
        if media:
            response["parts"] = media
        return {"functionResponse": response}

    def _said(self, part: Part) -> list[dict[str, Any]]:
        """The parts for text and files."""
        self._uncached(part)
        match part:
            case Text(text=text):
                return [{"text": text}] if text else []
            case Image(url="", media_type=media_type, data=data):
                return [{"inlineData": {"mimeType": media_type, "data": data}}]
            case Image(url=url):
                return [{"fileData": {"mimeType": _type_of(url, part.path), "fileUri": url}}]
            case Document():
                return [*([{"text": part.name}] if part.name else []), _document(part)]
        raise unsayable(part.path, TARGET)

    def _uncached(self, part: Part | Tool) -> None:
        if part.cache:
            self._dropped.append(f"{part.path}.cache_control")

    # what is asked of it

    def _tools(self) -> dict[str, Any]:
        ask, choice = self._ask, self._ask.tool_choice
        kind = choice.kind if choice else "auto"
        if not ask.tools:
            if kind in ("any", "tool"):
                raise LocalError("tool_choice: there are no tools", field="tool_choice")
            return {}
        if ask.parallel is False and kind != "none":
            raise unsayable(name_of_field(ask, "parallel"), TARGET)
        strict = kind == "auto" and any(tool.strict for tool in ask.tools)
        # VALIDATED is as AUTO, but calls keep to their schemas, which ANY makes sure of anyway
        calling: dict[str, Any] = {"mode": "VALIDATED" if strict else _MODES[kind]}
        if choice and kind == "tool":
            calling["allowedFunctionNames"] = [choice.name]
        said: dict[str, Any] = {"tools": [{"functionDeclarations": [self._declaration(tool) for tool in ask.tools]}]}
        if choice or strict:
            said["toolConfig"] = {"functionCallingConfig": calling}
        return said

    def _declaration(self, tool: Tool) -> dict[str, Any]:
        self._uncached(tool)
        declaration: dict[str, Any] = {"name": tool.name}
        if tool.description:
            declaration["description"] = tool.description
        return {**declaration, "parametersJsonSchema": tool.schema or {"type": "object", "properties": {}}}

    def _generation(self) -> dict[str, Any]:
        ask = self._ask
        said: dict[str, Any] = {
            "maxOutputTokens": ask.max_output,
            "temperature": ask.temperature,
            "topP": ask.top_p,
            "topK": ask.top_k,
            "stopSequences": ask.stop or None,
            "thinkingConfig": _thinking(ask.reasoning, self._old) if ask.reasoning else None,
        }
        if ask.schema:
            said |= {"responseMimeType": "application/json", "responseJsonSchema": ask.schema.schema}
        return {name: value for name, value in said.items() if value is not None}


def _thought(text: str, mark: Mark) -> Iterator[dict[str, Any]]:
    """The part of a thought, and the empty one that only carries a signature."""
    if text or mark.owner == "h":
        signed = {"thoughtSignature": mark.signature} if mark.owner == "h" else {}
        yield {"text": text, "thought": True, **signed}
    if mark.owner == "e":
        yield {"text": "", "thoughtSignature": mark.signature}


def _excuse(parts: list[dict[str, Any]]) -> None:
    """Calls of another model, or whose signature a client lost. Gemini signs the first of parallel calls only."""
    if any("thoughtSignature" in part for part in parts):
        return
    for part in parts:
        if "functionCall" in part:
            part["thoughtSignature"] = UNSIGNED
            return


def _document(document: Document) -> dict[str, Any]:
    if document.url:
        return {"fileData": {"mimeType": document.media_type or "application/pdf", "fileUri": document.url}}
    if document.data:
        return {"inlineData": {"mimeType": document.media_type, "data": document.data}}
    return {"text": document.text}


def _type_of(url: str, path: str) -> str:
    """A picture's media type, which Gemini asks for, by the URL's ending."""
    try:
        ending = urlsplit(url).path.rpartition(".")[2].lower()
    except ValueError as error:
        raise LocalError(f"{path}: the URL cannot be read", field=path) from error
    if ending not in _TYPES:
        raise unsayable(path, TARGET, f"wants a picture's type, and the URL ends in none of {', '.join(_TYPES)}")
    return _TYPES[ending]


def _thinking(said: Thinks, old: bool) -> dict[str, Any] | None:
    """`thinkingConfig`. From Gemini 3 on thinking cannot be turned off: `disabled` asks for the lowest level that all
    its models have, and shows nothing of it. An effort goes before a budget there, and the other way round before."""
    if said.off:
        return {"thinkingBudget": 0} if old else {"thinkingLevel": "LOW"}
    config: dict[str, Any] = {}
    if (said.adaptive or said.budget_tokens is not None) and said.summary != "omitted":
        config["includeThoughts"] = True
    if not old and said.effort in _LEVELS:
        config["thinkingLevel"] = _LEVELS[said.effort]
    elif said.budget_tokens is not None:
        config["thinkingBudget"] = said.budget_tokens
    elif old and said.effort in _BUDGETS:
        config["thinkingBudget"] = _BUDGETS[said.effort]
    return config or None
