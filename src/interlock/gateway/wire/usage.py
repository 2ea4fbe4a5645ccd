"""A provider's usage object as our kinds (interlock.ledger.Settled.usage). Pure, total: nothing it is given can raise.

Ours: `input` includes everything cached or written, `output` includes reasoning, and the children of a kind never sum
to more than it, so that rating can subtract them. A figure that is not an integer from 0 to 2^53, or that breaks the
rule, is left out and the result says `inconsistent`.
"""

from typing import Any, NamedTuple

from interlock.ledger import PARENTS

COUNT_MAX = 1 << 53
"""The largest integer that every JSON reader holds exactly."""


class Figures(NamedTuple):
    """Kinds and their quantities; children of 0 are left out."""

    usage: dict[str, int]
    inconsistent: bool


class _Reader:
    """Takes counts out of a provider's objects and notes what is absurd."""

    def __init__(self) -> None:
        self.inconsistent = False

    def count(self, holder: object, *path: str) -> int | None:
        for name in path:
            holder = holder.get(name) if isinstance(holder, dict) else None
        if holder is None:
            return None
        if type(holder) is int and 0 <= holder <= COUNT_MAX:
            return holder
        self.inconsistent = True
        return None

    def figures(self, counts: dict[str, int | None]) -> Figures:
        usage = {kind: count for kind, count in counts.items() if count is not None and kind not in PARENTS}
        room = dict(usage)
        for kind, parent in PARENTS.items():
            count = counts.get(kind)
            if not count:
                continue
            if count > room.get(parent, 0):
                self.inconsistent = True
                continue
            usage[kind] = count
            room[parent] -= count
        if not usage.get("web_search", 1):
            del usage["web_search"]
        return Figures(usage, self.inconsistent)


def chat_usage(usage: object) -> Figures:
    """Chat Completions' `usage`, and DeepSeek's `prompt_cache_hit_tokens`."""
    read = _Reader()
    cached = read.count(usage, "prompt_tokens_details", "cached_tokens")
    return read.figures(
        {
            "input": read.count(usage, "prompt_tokens"),
            "cache_read": read.count(usage, "prompt_cache_hit_tokens") if cached is None else cached,
            "cache_write": read.count(usage, "prompt_tokens_details", "cache_write_tokens"),
            "audio_input": read.count(usage, "prompt_tokens_details", "audio_tokens"),
            "output": read.count(usage, "completion_tokens"),
            "reasoning": read.count(usage, "completion_tokens_details", "reasoning_tokens"),
            "audio_output": read.count(usage, "completion_tokens_details", "audio_tokens"),
        }
    )


def responses_usage(usage: object) -> Figures:
    """Responses' `usage`."""
    read = _Reader()
    return read.figures(
        {
            "input": read.count(usage, "input_tokens"),
            "cache_read": read.count(usage, "input_tokens_details", "cached_tokens"),
            "cache_write": read.count(usage, "input_tokens_details", "cache_write_tokens"),
            "audio_input": read.count(usage, "input_tokens_details", "audio_tokens"),
            "output": read.count(usage, "output_tokens"),
            "reasoning": read.count(usage, "output_tokens_details", "reasoning_tokens"),
            "audio_output": read.count(usage, "output_tokens_details", "audio_tokens"),
        }
    )


def messages_usage(usage: object) -> Figures:
    """Messages' `usage`, whose input_tokens leaves out what was read from and written to the cache."""
    read = _Reader()
    fresh = read.count(usage, "input_tokens")
    cache_read = read.count(usage, "cache_read_input_tokens")
    written = read.count(usage, "cache_creation_input_tokens")
    five_minutes = read.count(usage, "cache_creation", "ephemeral_5m_input_tokens") or 0
    hour = read.count(usage, "cache_creation", "ephemeral_1h_input_tokens") or 0
    if written is None:
        written = five_minutes + hour
    if five_minutes + hour > written:
        read.inconsistent = True
        five_minutes = hour = 0
    return read.figures(
        {
            "input": None if fresh is None else fresh + (cache_read or 0) + written,
            "cache_read": cache_read,
            "cache_write": written - five_minutes - hour,
            "cache_write_5m": five_minutes,
            "cache_write_1h": hour,
            "output": read.count(usage, "output_tokens"),
            "reasoning": read.count(usage, "output_tokens_details", "thinking_tokens"),
            "web_search": read.count(usage, "server_tool_use", "web_search_requests"),
        }
    )


def merged(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Messages' cumulative usage: what the later object gives replaces what the earlier one gave."""
    return earlier | {name: value for name, value in later.items() if value is not None}
