"""Which calls may be answered with what was answered before, and when two of them are the same. Pure.

A call qualifies if its answer depends on nothing but what it says: `why_not` lists what else it may depend on. Two
calls are the same if they say the same bytes (but for members that only name the caller), of the same tenant, to the
same places, inside the same boundary. There is no likeness here: another space in a prompt is another question.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import msgspec

HEADERS = (b"anthropic-beta", b"anthropic-version", b"openai-beta", b"x-interlock-arguments")
"""What is passed on of a client's headers and may change the answer."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NAMES: Mapping[str, frozenset[str]] = {
    "chat": _words("user safety_identifier prompt_cache_key prompt_cache_retention metadata session_id"),
    "messages": _words("metadata"),
    "responses": _words(""),  # it shows its own in the answer: there they are part of it
    "embeddings": _words("user"),
}
"""Members that name the caller or the call, and change nothing in the answer."""
_SAMPLING = "temperature top_p top_k min_p"
_KNOWN: Mapping[str, frozenset[str]] = {
    "chat": _NAMES["chat"]
    | _words(
        f"""model messages {_SAMPLING} n stop seed max_tokens max_completion_tokens presence_penalty frequency_penalty
        repetition_penalty repeat_penalty logit_bias logprobs top_logprobs tools tool_choice parallel_tool_calls
        functions function_call response_format reasoning_effort reasoning thinking chat_template_kwargs verbosity
        prediction service_tier store stream stream_options modalities"""
    ),
    "messages": _NAMES["messages"]
    | _words(
        f"""model messages system max_tokens {_SAMPLING} stop_sequences tools tool_choice thinking output_config
        output_format service_tier cache_control inference_geo stream"""
    ),
    "responses": _words(
        f"""model input instructions {_SAMPLING} max_output_tokens max_tool_calls tools tool_choice parallel_tool_calls
        text reasoning include truncation top_logprobs service_tier store stream stream_options metadata user
        safety_identifier prompt_cache_key prompt_cache_retention"""
    ),
}
"""Members whose whole effect is known to lie in their own words. Any other might bring in what changes (a search, an
earlier turn, a container): a call that has one does not qualify."""
_UNSET: tuple[Any, ...] = (None, False, [], {})
_CLIENTS_TOOLS = frozenset({None, "function", "custom"})
"""Types of tools that the client runs. What a provider runs (a search, code) says something else each time."""
_ELSEWHERE = _words("url image_url file_url file_uri file_id")
"""Members of a part under which a string may name what is read from elsewhere, and may have changed since."""
_KEPT_ELSEWHERE = _words("item_reference additional_tools")
"""Items that name what the provider keeps, or bring in tools."""
_SPOKEN: Mapping[str, tuple[str, ...]] = {
    "chat": ("messages",),
    "messages": ("messages", "system"),
    "responses": ("input",),
}

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
Members = Mapping[str, msgspec.Raw]


def members_of(body: bytes) -> Members:
    """The members of a request's body, each as its bytes. The body was read strictly before: it is an object, no key
    stands in it twice."""
    return _decode(body)


def why_not(format: str, members: Members) -> str:
    """The member for which a call's answer may be another one next time; empty: there is none.

    Embeddings have no such member. Others must ask for temperature 0 themselves: it is the client's own word that it
    wants no chance in the answer. A `seed` alone is not enough: it chooses a sample, and is best effort by its own
    documentation.
    """
    if format == "embeddings":
        return ""
    if format not in _KNOWN:
        return "format"
    if not _is_zero(_value(members, "temperature")):
        return "temperature"
    if _value(members, "n") not in (None, 1):
        return "n"
    if not _unstored(format, members):
        return "store"
    if _value(members, "modalities") not in (None, ["text"]):
        return "modalities"
    for name in members.keys() - _KNOWN[format]:
        if _value(members, name) not in _UNSET:
            return name
    tools = _value(members, "tools") or []
    if not all(isinstance(tool, dict) and tool.get("type") in _CLIENTS_TOOLS for tool in tools):
        return "tools"
    return next((name for name in _SPOKEN[format] if _points_elsewhere(_value(members, name))), "")


def key_of(
    format: str,
    members: Members,
    *,
    stream: bool,
    headers: Mapping[bytes, bytes],
    tenant: str,
    principal: str,
    place: bytes,
) -> bytes:
    """What a question is kept under: SHA-256 of all that the answer depends on and of all who may see it.

    Args:
        headers: of the request, names in lower case; those of `HEADERS` count.
        principal: empty if the whole tenant shares.
        place: who may answer: the boundaries in force and the deployments within them, in their order.
    """
    unsaid = _NAMES[format] | ({"stream"} if stream else {"stream", "stream_options"})
    said = sorted((name, bytes(raw)) for name, raw in members.items() if name not in unsaid)
    parts = [b"interlock-cache/1", format.encode(), b"stream" if stream else b"whole", tenant.encode()]
    parts += [principal.encode(), place, *(headers.get(name, b"") for name in HEADERS)]
    for name, raw in said:
        parts += [name.encode(), raw]
    return sha256(b"".join(_framed(parts))).digest()


def _framed(parts: Iterable[bytes]) -> Iterable[bytes]:
    """Each with its length before it, so that no two lists of parts join to the same bytes."""
    for part in parts:
        yield b"%d:" % len(part)
        yield part


def _value(members: Members, name: str) -> Any:
    raw = members.get(name)
    return None if raw is None else msgspec.json.decode(raw)


def _is_zero(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 0


def _unstored(format: str, members: Members) -> bool:
    """Whether the provider keeps no copy of the answer, to be referred to later. Responses does unless told."""
    store = _value(members, "store")
    return store is False if format == "responses" else not store


def _points_elsewhere(value: Any) -> bool:
    """Whether a part of a conversation names something outside of it: a URL, a file's id, an item kept elsewhere."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            kind = one.get("type")
            if kind in _KEPT_ELSEWHERE:
                return True
            for name, inner in one.items():
                if name in _ELSEWHERE and isinstance(inner, str) and not inner.startswith("data:"):
                    return True
                if not (name == "input" and kind == "tool_use"):  # what a tool is told is only words
                    waiting.append(inner)
    return False
