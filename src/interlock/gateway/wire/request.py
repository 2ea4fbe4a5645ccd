"""What the gateway reads of a request, in one pass, so that it can be routed, metered and passed through.

It checks what it reads and nothing else: an unknown field, a value out of a provider's range, a wrong order of messages
are the upstream's to judge. It changes nothing (splice.py does).
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from interlock import strictjson
from interlock.errors import LocalError
from interlock.gateway.wire import results
from interlock.gateway.wire.content import (
    Seen,
    bounded,
    look_through_items,
    look_through_messages,
    look_through_parts,
    name_of,
)
from interlock.gateway.wire.opening import opening
from interlock.ledger import Format

ESTIMATE_RULE = "json-bytes/4.v1"
"""`input_estimate`: a quarter of the body's bytes, rounded up; an attachment's inline data (image, document, audio,
file) counts ATTACHMENT_TOKENS instead."""
ATTACHMENT_TOKENS = 1_600
"""What Anthropic's rule, width x height / 750, gives for an image at the size it scales down to (1.15 megapixels)."""
CHORE_OUTPUT_MAX = 256
"""Largest output limit, in tokens, of a chore."""
CHOICES_MAX = 1_000
"""More answers than any provider gives at once; such a number is the upstream's to judge."""
MODEL_CHARS_MAX = 256
SESSION_CHARS_MAX = 256

_INT_MAX = 1 << 53
_SCHEMA = ("json_schema", "json_object")
# Claude Code's metadata.user_id: `user_…_account_…_session_UUID`, later a JSON object with `session_id`
_CLAUDE_CODE_SESSION = re.compile(r"_session_([0-9a-fA-F-]{36})\Z")


class Call(msgspec.Struct, frozen=True, gc=False):
    """What routing, metering and splicing know of a request. All scalars, so the garbage collector need not look."""

    format: Format
    model: str
    stream: bool
    max_output: int | None
    """Tokens; None: no limit given."""
    tools: bool
    tool_result: bool
    """The last message or item is a tool's result."""
    images: bool
    """Anywhere, also inside tool results."""
    reasoning: bool
    schema: bool
    """Output is to be JSON."""
    chore: bool
    """No tools, images or reasoning, exactly one message that is not system's, an output limit of at most 256."""
    messages: int
    session: str
    """The client's own session or conversation id; empty if it names none."""
    input_estimate: int
    """Tokens, by ESTIMATE_RULE."""
    includes_usage: bool
    """Chat: the client itself asked for usage in the stream."""
    stream_options: bool
    """Chat: the body has the member `stream_options`."""
    sealed: bool
    """Holds reasoning of an earlier turn, so its seal may be another family's (translate/carrier.py)."""
    opening: str
    """The conversation, by how it begins (opening.py); empty: there is none."""
    choices: int = 1
    """Chat: how many answers are asked for (`n`)."""
    tool: str = ""
    """Names of the tools whose results it carries, with commas between (results.py)."""


def parse(body: bytes) -> dict[str, Any]:
    """A request body, decoded. Raises: LocalError: `invalid_json`, `duplicate_key`, `invalid_request`: no object."""
    document = strictjson.loads(body)
    if type(document) is not dict:
        raise LocalError(f"the body must be a JSON object, not {name_of(document)}", field="body")
    return document


def read_document(format: Format, document: dict[str, Any], size: int) -> Call:
    """Read a decoded request of that format; `size`: bytes of its body.

    Raises: LocalError `invalid_request`, whose `field` is a path (`messages[2].role`).
    """
    return _READERS[format](document, size)


def read(format: Format, body: bytes) -> Call:
    """Read a request body of that format. Raises: as `parse` and `read_document`."""
    return read_document(format, parse(body), len(body))


def _chat(document: dict[str, Any], size: int) -> Call:
    messages = _list(document, "messages")
    seen = Seen()
    asked = look_through_messages(messages, seen)
    tool_result = messages[-1]["role"] in ("tool", "function")
    options = _object(document, "stream_options")
    limit = _limit(document, "max_completion_tokens")
    effort, reasoning = document.get("reasoning_effort"), document.get("reasoning")
    shape = _object(document, "response_format")
    return _call(
        "chat",
        document,
        size,
        seen,
        asked=asked,
        count=len(messages),
        limit=_limit(document, "max_tokens") if limit is None else limit,
        tools=bool(_tools(document, "tools") or _tools(document, "functions")),
        tool_result=tool_result,
        tool=results.chat(messages) if tool_result else "",
        reasoning=(effort is not None and effort != "none") or (reasoning is not None and _reasons(reasoning)),
        schema=bool(shape) and shape.get("type") in _SCHEMA,
        session=_session(document.get("session_id")) or _metadata_session(document),
        includes_usage=_flag(options, "include_usage", "stream_options."),
        stream_options="stream_options" in document,
        choices=n if type(n := document.get("n")) is int and 1 <= n <= CHOICES_MAX else 1,
    )


def _messages_format(document: dict[str, Any], size: int) -> Call:
    messages = _list(document, "messages")
    seen = Seen()
    asked = look_through_messages(messages, seen)
    system = document.get("system")
    if type(system) is list:
        look_through_parts(system, "system", seen)
    content = messages[-1].get("content")
    tool_result = type(content) is list and any(part.get("type") == "tool_result" for part in content)
    thinking = _object(document, "thinking")
    metadata = document.get("metadata")
    return _call(
        "messages",
        document,
        size,
        seen,
        asked=asked,
        count=len(messages),
        limit=_limit(document, "max_tokens"),
        tools=bool(_tools(document, "tools")),
        tool_result=tool_result,
        tool=results.messages(messages) if tool_result else "",
        reasoning=bool(thinking) and thinking.get("type") not in (None, "disabled"),
        schema=_object(document, "output_config").get("format") is not None,
        session=_claude_code_session(metadata.get("user_id")) if type(metadata) is dict else "",
    )


def _responses(document: dict[str, Any], size: int) -> Call:
    given = document.get("input")
    seen = Seen()
    last: dict[str, Any] = {}
    if given is None and any(document.get(name) for name in ("prompt", "previous_response_id", "conversation")):
        given = []
    if type(given) is str:
        count = asked = 1
    elif type(given) is list:
        bounded(given, "input")
        count, asked, last = len(given), look_through_items(given, seen), given[-1] if given else last
    else:
        raise LocalError(f"input must be a string or a list of items, not {name_of(given)}", field="input")
    text = _object(_object(document, "text"), "format", "text.")
    tool_result = str(last.get("type")).endswith("_call_output")
    conversation = document.get("conversation")
    return _call(
        "responses",
        document,
        size,
        seen,
        asked=asked,
        count=count,
        limit=_limit(document, "max_output_tokens"),
        tools=bool(_tools(document, "tools")) or seen.tools,
        tool_result=tool_result,
        tool=results.responses(given) if tool_result and type(given) is list else "",
        reasoning=_reasons(document.get("reasoning")),
        schema=text.get("type") in _SCHEMA,
        session=_session(conversation.get("id") if type(conversation) is dict else conversation)
        or _metadata_session(document),
    )


def _counted(document: dict[str, Any], size: int) -> Call:
    """A Messages request whose tokens are to be counted; an output limit or a stream means nothing there."""
    return msgspec.structs.replace(_messages_format(document, size), format="count_tokens", stream=False, chore=False)


def _embeddings(document: dict[str, Any], size: int) -> Call:
    given = document.get("input")
    if type(given) is list:
        bounded(given, "input")
    elif type(given) is not str:
        raise LocalError(f"input must be a string or a list, not {name_of(given)}", field="input")
    call = _call(
        "embeddings",
        document,
        size,
        Seen(),
        asked=0,
        count=len(given) if type(given) is list else 1,
        limit=None,
        tools=False,
        tool_result=False,
        reasoning=False,
        schema=False,
        session="",
    )
    return msgspec.structs.replace(call, stream=False)  # nobody streams them


_READERS: dict[Format, Callable[[dict[str, Any], int], Call]] = {
    "chat": _chat,
    "messages": _messages_format,
    "responses": _responses,
    "embeddings": _embeddings,
    "count_tokens": _counted,
}


def _call(
    format: Format,
    document: dict[str, Any],
    size: int,
    seen: Seen,
    *,
    asked: int,
    count: int,
    limit: int | None,
    tools: bool,
    tool_result: bool,
    reasoning: bool,
    schema: bool,
    session: str,
    includes_usage: bool = False,
    stream_options: bool = False,
    choices: int = 1,
    tool: str = "",
) -> Call:
    model = document.get("model")
    if type(model) is not str or not 0 < len(model) <= MODEL_CHARS_MAX:
        raise LocalError(f"model must be a string of 1 to {MODEL_CHARS_MAX} characters", field="model")
    small = limit is not None and limit <= CHORE_OUTPUT_MAX
    return Call(
        format,
        model,
        _flag(document, "stream"),
        limit,
        tools,
        tool_result,
        seen.images,
        reasoning,
        schema,
        small and asked == 1 and not (tools or reasoning or seen.images),
        count,
        session,
        (max(size - seen.inline_bytes, 0) + 3) // 4 + seen.attachments * ATTACHMENT_TOKENS,
        includes_usage,
        stream_options,
        seen.sealed,
        opening(format, document),
        choices,
        tool,
    )


def _reasons(reasoning: object) -> bool:
    if type(reasoning) is not dict:
        return bool(reasoning)
    if reasoning.get("effort") == "none" or reasoning.get("enabled") is False:
        return False
    return any(value is not None for value in reasoning.values())


def _session(value: object) -> str:
    return value if type(value) is str and len(value) <= SESSION_CHARS_MAX else ""


def _metadata_session(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    return _session(metadata.get("session_id")) if type(metadata) is dict else ""


def _claude_code_session(user_id: object) -> str:
    if type(user_id) is not str:
        return ""
    if user_id.startswith("{"):
        try:
            return _session(msgspec.json.decode(user_id, type=dict[str, Any]).get("session_id"))
        except msgspec.DecodeError:
            return ""
    match = _CLAUDE_CODE_SESSION.search(user_id)
    return match[1] if match else ""


def _flag(document: dict[str, Any], name: str, prefix: str = "") -> bool:
    value = document.get(name)
    if value is None or type(value) is bool:
        return bool(value)
    raise LocalError(f"{name} must be true or false, not {name_of(value)}", field=prefix + name)


def _limit(document: dict[str, Any], name: str) -> int | None:
    """An output limit; below 0 some servers read as none."""
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not int or abs(value) > _INT_MAX:
        raise LocalError(f"{name} must be a whole number of tokens, not {name_of(value)}", field=name)
    return value if value >= 0 else None


def _object(document: dict[str, Any], name: str, prefix: str = "") -> dict[str, Any]:
    value = document.get(name)
    if value is None:
        return {}
    if type(value) is not dict:
        raise LocalError(f"{name} must be an object, not {name_of(value)}", field=prefix + name)
    return value


def _tools(document: dict[str, Any], name: str) -> list[Any]:
    return [] if document.get(name) is None else _list(document, name)


def _list(document: dict[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    if type(value) is not list:
        raise LocalError(f"{name} must be a list, not {name_of(value)}", field=name)
    return bounded(value, name)
