"""JSON from outside: one reading only.

RFC 8259 leaves open what a repeated key means, and two parsers then read two things; here it is refused, as are
NaN, Infinity, invalid UTF-8 and nesting past jiter's limit of 200. Our own files and records are read with msgspec.
"""

from typing import Any

import jiter

from interlock.errors import LocalError


def loads(data: bytes, *, what: str = "body") -> Any:
    """Decode one JSON document.

    Raises: LocalError: `invalid_json` (the message says line and column) or `duplicate_key` (it says which).
    """
    try:
        return jiter.from_json(data, allow_inf_nan=False, cache_mode="none", catch_duplicate_keys=True)
    except ValueError as error:
        text = str(error)
        code = "duplicate_key" if text.startswith("Detected duplicate key") else "invalid_json"
        raise LocalError(f"the {what} is not acceptable JSON: {text}", code=code, field=what) from error
