"""Figures of whole answers in their documented shape, read in one typed pass: a fraction of the cost of the long way.

The caller has parsed the answer strictly: a key twice is not noticed here. It reads only what it is sure of. An error,
an odd figure, a field of another type: `read` says no, and the answer goes the long way (reading.py), which is total.
`test_quick.py` holds the two against each other.
"""

from typing import Annotated, Protocol

import msgspec

from interlock.ledger import Format

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Name = Annotated[str, msgspec.Meta(max_length=256)]


class Quick(msgspec.Struct, frozen=True):
    """What such an answer says."""

    id: str
    model: str
    finish_reason: str
    usage: dict[str, int]
    raw: bytes
    created_at: int = 0
    """Responses only; seconds, Unix epoch."""


class _Usage(Protocol):
    def kinds(self) -> dict[str, int] | None:
        """The ledger's kinds; None if a part is larger than its whole."""


class _Cached(msgspec.Struct, gc=False):
    cached_tokens: Count = 0
    cache_write_tokens: Count = 0
    audio_tokens: Count = 0


class _Reasoned(msgspec.Struct, gc=False):
    reasoning_tokens: Count = 0
    audio_tokens: Count = 0


_NONE_CACHED, _NONE_REASONED = _Cached(), _Reasoned()


class _ChatUsage(msgspec.Struct, gc=False):
    prompt_tokens: Count
    completion_tokens: Count
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Reasoned | None = None
    prompt_cache_hit_tokens: None = None  # DeepSeek's: the long way

    def kinds(self) -> dict[str, int] | None:
        return _kinds(
            self.prompt_tokens, self.prompt_tokens_details, self.completion_tokens, self.completion_tokens_details
        )


class _ResponsesUsage(msgspec.Struct, gc=False):
    input_tokens: Count
    output_tokens: Count
    input_tokens_details: _Cached | None = None
    output_tokens_details: _Reasoned | None = None

    def kinds(self) -> dict[str, int] | None:
        return _kinds(self.input_tokens, self.input_tokens_details, self.output_tokens, self.output_tokens_details)


class _MessagesUsage(msgspec.Struct, gc=False):
    input_tokens: Count
    output_tokens: Count
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Annotated[int, msgspec.Meta(ge=0, le=0)] | None = None  # writes: the long way
    cache_creation: None = None
    output_tokens_details: None = None
    server_tool_use: None = None

    def kinds(self) -> dict[str, int] | None:
        read = self.cache_read_input_tokens or 0
        usage = {"input": self.input_tokens + read, "output": self.output_tokens}
        if read:
            usage["cache_read"] = read
        return usage


def _kinds(input: int, cached: _Cached | None, output: int, reasoned: _Reasoned | None) -> dict[str, int] | None:
    into, out = cached or _NONE_CACHED, reasoned or _NONE_REASONED
    usage = {"input": input, "output": output}
    if into.cached_tokens:
        usage["cache_read"] = into.cached_tokens
    if into.cache_write_tokens:
        usage["cache_write"] = into.cache_write_tokens
    if into.audio_tokens:
        usage["audio_input"] = into.audio_tokens
    if out.reasoning_tokens:
        usage["reasoning"] = out.reasoning_tokens
    if out.audio_tokens:
        usage["audio_output"] = out.audio_tokens
    fits = into.cached_tokens + into.cache_write_tokens + into.audio_tokens <= input
    return usage if fits and out.reasoning_tokens + out.audio_tokens <= output else None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: Name


class _Chat(msgspec.Struct, gc=False):
    id: Name
    model: Name
    choices: list[_Choice]
    usage: msgspec.Raw
    error: None = None

    @property
    def finish_reason(self) -> str:
        return next((choice.finish_reason for choice in self.choices if choice.finish_reason), "")


class _Responses(msgspec.Struct, gc=False):
    id: Name
    model: Name
    usage: msgspec.Raw
    status: Annotated[str, msgspec.Meta(pattern="^completed$")]
    error: None = None
    created_at: int = 0

    @property
    def finish_reason(self) -> str:
        return self.status


class _Messages(msgspec.Struct, gc=False):
    id: Name
    model: Name
    usage: msgspec.Raw
    stop_reason: Name
    type: Annotated[str, msgspec.Meta(pattern="^message$")]
    error: None = None

    @property
    def finish_reason(self) -> str:
        return self.stop_reason


_chat, _chat_usage = msgspec.json.Decoder(_Chat).decode, msgspec.json.Decoder(_ChatUsage).decode
_responses, _responses_usage = msgspec.json.Decoder(_Responses).decode, msgspec.json.Decoder(_ResponsesUsage).decode
_messages, _messages_usage = msgspec.json.Decoder(_Messages).decode, msgspec.json.Decoder(_MessagesUsage).decode


def read(format: Format, body: bytes) -> Quick | None:
    """What the answer says; None if it is to be read the long way."""
    answer: _Chat | _Responses | _Messages
    usage: _Usage
    try:
        if format == "chat":
            answer = _chat(body)
            usage = _chat_usage(answer.usage)
        elif format == "messages":
            answer = _messages(body)
            usage = _messages_usage(answer.usage)
        else:
            answer = _responses(body)
            usage = _responses_usage(answer.usage)
    except msgspec.DecodeError:
        return None
    kinds = usage.kinds()
    if kinds is None:
        return None
    created_at = answer.created_at if isinstance(answer, _Responses) else 0
    return Quick(answer.id, answer.model, answer.finish_reason, kinds, bytes(answer.usage), created_at)
