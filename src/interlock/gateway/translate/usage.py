"""The ledger's kinds as a provider's usage object: the inverses of wire/usage.py.

OpenAI has one figure for tokens written to a cache, whatever their lifetime, and none for web searches.
"""

from collections.abc import Mapping
from typing import Any

_WRITTEN = ("cache_write", "cache_write_5m", "cache_write_1h")


def write_chat_usage(kinds: Mapping[str, int]) -> dict[str, Any]:
    """Chat Completions' `usage`."""
    read, written = kinds.get("input", 0), kinds.get("output", 0)
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {
            "cached_tokens": kinds.get("cache_read", 0),
            "cache_write_tokens": _cached(kinds),
            "audio_tokens": kinds.get("audio_input", 0),
        },
        "completion_tokens_details": {
            "reasoning_tokens": kinds.get("reasoning", 0),
            "audio_tokens": kinds.get("audio_output", 0),
        },
    }


def write_responses_usage(kinds: Mapping[str, int]) -> dict[str, Any]:
    """Responses' `usage`."""
    read, written = kinds.get("input", 0), kinds.get("output", 0)
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": kinds.get("cache_read", 0), "cache_write_tokens": _cached(kinds)},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": kinds.get("reasoning", 0)},
        "total_tokens": read + written,
    }


def write_messages_usage(kinds: Mapping[str, int]) -> dict[str, Any]:
    """Messages' `usage`, whose `input_tokens` leaves out what was read from and written to the cache."""
    read, written = kinds.get("cache_read", 0), _cached(kinds)
    five_minutes, hour = kinds.get("cache_write_5m", 0), kinds.get("cache_write_1h", 0)
    usage: dict[str, Any] = {
        "input_tokens": max(kinds.get("input", 0) - read - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": kinds.get("output", 0),
    }
    if five_minutes or hour:
        split = {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": hour}
        usage["cache_creation"] = split
    if kinds.get("reasoning"):
        usage["output_tokens_details"] = {"thinking_tokens": kinds["reasoning"]}
    if kinds.get("web_search"):
        usage["server_tool_use"] = {"web_search_requests": kinds["web_search"], "web_fetch_requests": 0}
    return usage


def _cached(kinds: Mapping[str, int]) -> int:
    return sum(kinds.get(kind, 0) for kind in _WRITTEN)
