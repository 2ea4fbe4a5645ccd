"""What Gemini answers, as far as it is read. A part with a member that is not known here is not one that can be said.

Source: the v1beta discovery document; google-genai's types.
"""

from typing import Any

import msgspec

from interlock.gateway.wire.usage import COUNT_MAX


class _Struct(msgspec.Struct, frozen=True, rename="camel"):
    pass


class Call(_Struct, frozen=True, forbid_unknown_fields=True):
    """`functionCall`; partial arguments are only sent to who asks for them."""

    name: str
    args: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None


class Part(_Struct, frozen=True, forbid_unknown_fields=True):
    """Text, a thought or a call. Media, code and the like are sent to who asks for them."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: Call | None = None
    part_metadata: Any = None


class Content(_Struct, frozen=True):
    """Of one candidate."""

    parts: list[Part] | None = None


class Candidate(_Struct, frozen=True):
    """The answer: there is one, as no more are asked for."""

    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None


class Feedback(_Struct, frozen=True):
    """Why nothing was answered."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class Chunk(_Struct, frozen=True):
    """A whole answer, or one event of a stream."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: dict[str, Any] | None = None
    model_version: str | None = None
    response_id: str | None = None


def messages_usage(said: dict[str, Any]) -> dict[str, Any]:
    """Messages' `usage`; empty where the prompt was not counted (Vertex, until the last event).

    Gemini's prompt includes what was read from a cache, its candidates leave out thoughts, and what tools of its own
    fed into the prompt is counted beside. A figure that is absurd counts as not said.
    """
    prompt, cached = _count(said, "promptTokenCount"), _count(said, "cachedContentTokenCount") or 0
    if prompt is None:
        return {}
    thoughts = _count(said, "thoughtsTokenCount") or 0
    fresh = max(prompt + (_count(said, "toolUsePromptTokenCount") or 0) - cached, 0)
    usage: dict[str, Any] = {"input_tokens": fresh, "cache_read_input_tokens": cached}
    usage["output_tokens"] = (_count(said, "candidatesTokenCount") or 0) + thoughts
    if thoughts:
        usage["output_tokens_details"] = {"thinking_tokens": thoughts}
    return usage


def _count(said: dict[str, Any], name: str) -> int | None:
    value = said.get(name)
    return value if type(value) is int and 0 <= value <= COUNT_MAX else None
