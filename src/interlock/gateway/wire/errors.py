"""Our errors in the client's own format: as a body, and as the last event of a stream that cannot be finished.

The code of interlock.errors always stands in `code`. What to say, and when, is the caller's; headers too.
"""

from typing import Any

import msgspec

from interlock.gateway.wire.reading import decoded
from interlock.gateway.wire.tap import StreamTap
from interlock.ledger import Format

_ANTHROPIC = ("messages", "count_tokens")
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_body(
    format: Format, *, status: int, code: str, message: str, request_id: str, field: str | None = None
) -> bytes:
    """The JSON body of an error answer; `field` is the offending input, if there is one."""
    return msgspec.json.encode(_error(format, status, code, message, request_id, field))


def error_event(
    format: Format,
    *,
    status: int,
    code: str,
    message: str,
    request_id: str,
    field: str | None = None,
    tap: StreamTap | None = None,
) -> bytes:
    """The server-sent event that ends a stream in an error; nothing may follow it, `[DONE]` neither.

    tap: of the stream so far. Responses clients check that the id stays and the sequence number goes on.
    """
    if format == "responses":
        name, content = "event: response.failed\n", _failed(code, message, request_id, tap)
    else:
        name = "event: error\n" if format == "messages" else ""
        content = _error(format, status, code, message, request_id, field)
    return b"%bdata: %b\n\n" % (name.encode(), msgspec.json.encode(content))


def in_format(format: Format, status: int, body: bytes, request_id: str, *, anew: bool = False) -> bytes:
    """An upstream's error answer in the client's format: as it came if it is so already, else with its message.

    `anew`: the upstream was spoken to in another format, so it is not.

    Servers that speak a format often have one shape of error for all (llama.cpp), and what stands before them answers
    in HTML.
    """
    document = decoded(body) or {}
    error = document.get("error")
    message = error.get("message") if isinstance(error, dict) else None
    if not anew and isinstance(message, str) and (format not in _ANTHROPIC or document.get("type") == "error"):
        return body
    said = (
        message if isinstance(message, str) else error if isinstance(error, str) else f"the upstream answered {status}"
    )
    code = error.get("code") if isinstance(error, dict) else None  # OpenAI's clients act on some of them
    known = code if isinstance(code, str) and 0 < len(code) <= 64 else "upstream_error"
    return error_body(format, status=status, code=known, message=said[:2000], request_id=request_id)


def _error(format: Format, status: int, code: str, message: str, request_id: str, field: str | None) -> dict[str, Any]:
    default = "api_error" if status >= 500 else "invalid_request_error"
    if format in _ANTHROPIC:
        error = {"type": _ANTHROPIC_TYPES.get(status, default), "message": message, "code": code, "param": field}
        return {"type": "error", "error": error, **({"request_id": request_id} if request_id else {})}
    default = "server_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": _OPENAI_TYPES.get(status, default), "param": field, "code": code}
    return {"error": error, "request_id": request_id}


def _failed(code: str, message: str, request_id: str, tap: StreamTap | None) -> dict[str, Any]:
    response = {
        "id": (tap and tap.upstream_id) or request_id,
        "object": "response",
        "created_at": tap.created_at if tap else 0,
        "status": "failed",
        "error": {"code": code, "message": message},
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": tap.upstream_model if tap else "",
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }
    number = tap.sequence_number + 1 if tap else 0
    return {"type": "response.failed", "sequence_number": number, "response": response}
