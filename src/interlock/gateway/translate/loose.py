"""What an upstream says, in whatever shape: nothing here raises, and what may be kept is bounded.

Errors too: providers' types of errors do not contradict one another, so one table has the status of each.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from interlock.gateway.translate.neutral import Failed

NAME_CHARS_MAX = 256
"""Ids, models and types beyond are cut."""
MESSAGE_CHARS_MAX = 2_000
STATUS: Mapping[str, int] = MappingProxyType(
    {
        "invalid_request_error": 400,
        "invalid_prompt": 400,
        "context_length_exceeded": 400,
        "authentication_error": 401,
        "billing_error": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "rate_limit_exceeded": 429,
        "insufficient_quota": 429,
        "api_error": 500,
        "server_error": 500,
        "timeout_error": 504,
        "overloaded_error": 529,
    }
)
"""The HTTP status of an error that came within a stream."""


def string(value: object) -> str:
    """The string; empty if it is none."""
    return value if isinstance(value, str) else ""


def name(value: object) -> str:
    """A short string, cut where it is not short; empty if it is none."""
    return string(value)[:NAME_CHARS_MAX]


def whole_number(value: object) -> int:
    """A time in Unix seconds; 0 if there is none."""
    return int(value) if isinstance(value, int | float) and 0 < value < 1 << 53 else 0


def mapping(value: object) -> dict[str, Any]:
    """The object; an empty one if it is none."""
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[dict[str, Any]]:
    """The objects in a list; of anything else none."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def failed(error: object) -> Failed:
    """What a provider's error object says, in any of the three formats' words."""
    holder = error if isinstance(error, dict) else {"message": error}
    type, code = name(holder.get("type")), holder.get("code")
    type = "" if type == "error" else type  # that is the event's, not the error's
    message = string(holder.get("message"))[:MESSAGE_CHARS_MAX] or "the upstream reported an error"
    words = [word for word in (name(code), type) if word]
    status = next((STATUS[word] for word in words if word in STATUS), 502)
    if isinstance(code, int) and 400 <= code <= 599:
        status = int(code)
    return Failed(type or name(code) or "error", message, status)
