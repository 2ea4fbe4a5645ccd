"""Whether a body is one message of JSON-RPC, and what is wrong with it, in words that name the field.

The SDK judges it after us; what it says of one that is none is meant for who wrote the SDK. What stands in `params` is
not looked at here.
"""

from typing import Any, Literal

import msgspec
from mcp_types import INVALID_REQUEST, PARSE_ERROR
from msgspec import UNSET, Raw, UnsetType
from pydantic import ValidationError

from interlock.shapes import mistake


class _Message(msgspec.Struct):
    jsonrpc: Literal["2.0"]
    id: int | str | UnsetType | None = UNSET
    method: str | UnsetType = UNSET
    params: dict[str, Raw] | UnsetType | None = UNSET
    result: dict[str, Raw] | UnsetType = UNSET
    error: dict[str, Raw] | UnsetType = UNSET


_DECODER = msgspec.json.Decoder(_Message)


def problem(body: bytes) -> bytes | None:
    """The error to answer a body with; None: it is a request, a notification or an answer."""
    try:
        message = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        what, where = mistake(error, _Message)
        return _error(INVALID_REQUEST, f"{where or 'the body'}: {what}")
    except (msgspec.DecodeError, RecursionError) as error:
        return _error(PARSE_ERROR, f"the body is not JSON: {error}")
    if message.method is UNSET and message.result is UNSET and message.error is UNSET:
        return _error(INVALID_REQUEST, "method: nothing here; it is required")
    return None


def parameter(error: ValidationError) -> str:
    """What the SDK found wrong with a request's parameters, in the same words."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:200] or "params"
    return f"{where}: " + (
        "nothing here; it is required" if first["type"] == "missing" else "not of the type that is expected"
    )


def _error(code: int, message: str) -> bytes:
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return msgspec.json.encode(answer)
