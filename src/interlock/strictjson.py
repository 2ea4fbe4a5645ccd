"""JSON from outside: one reading only.

RFC 8259 leaves open what a repeated key means, and two parsers then read two things; here it is refused, as are
NaN, Infinity, invalid UTF-8 and nesting past jiter's limit of 200. Our own files and records are read with msgspec.
"""

import math
from typing import Any

import jiter

from interlock.errors import LocalError


def loads(data: bytes, *, what: str = "body", finite: bool = False, exact: bool = False) -> Any:
    """Decode one JSON document.

    `finite`: also refuse a number that no double holds (1e400 reads as infinity, which encoders write as null). It is
    for what will be written anew; where bytes pass as they came nothing changes it, and the walk costs half as much
    again as the parse. `exact`: numbers that are not whole come as `Decimal`, as they were written.

    Raises: LocalError: `invalid_json` (the message says line and column) or `duplicate_key` (it says which).
    """
    try:
        value = jiter.from_json(
            data,
            allow_inf_nan=False,
            cache_mode="none",
            catch_duplicate_keys=True,
            float_mode="decimal" if exact else "float",
        )
    except ValueError as error:
        text = str(error)
        code = "duplicate_key" if text.startswith("Detected duplicate key") else "invalid_json"
        raise LocalError(f"the {what} is not acceptable JSON: {text}", code=code, field=what) from error
    if finite and not is_finite(value):
        raise LocalError(f"the {what} is not acceptable JSON: a number is too large", code="invalid_json", field=what)
    return value


def is_finite(value: object) -> bool:
    """Whether every number in a decoded document is one that can be written again."""
    waiting = [value]
    while waiting:
        entry = waiting.pop()
        if type(entry) is float and not math.isfinite(entry):
            return False
        if type(entry) is dict:
            waiting += entry.values()
        elif type(entry) is list:
            waiting += entry
    return True
