"""HTTP answers and inputs of all Starlette apps here: one error shape, bounded bodies, no unknown parameter."""

from collections.abc import Collection
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from interlock import strictjson
from interlock.errors import CODES, InterlockError, LocalError
from interlock.shapes import mistake

BODY_BYTES_MAX = 1 << 20
"""Of a key request or a configuration file: both are written by people."""
QUERY_BYTES_MAX = 4096

T = TypeVar("T")


def json(value: Any, status: int = 200) -> Response:
    """`value` as a JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def refusal(code: str, message: str, field: str | None = None) -> Response:
    """`{"error":{"code","message","field"}}` with the status of `code`."""
    answer = json({"error": {"code": code, "message": message, "field": field}}, CODES[code].status)
    if code in ("key_missing", "key_unknown", "key_expired"):
        answer.headers["www-authenticate"] = "Bearer"
    return answer


def problem(status: int, detail: str) -> Response:
    """RFC 9457, as OpenMeter's clients expect errors."""
    told = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(msgspec.json.encode(told), status, media_type="application/problem+json")


def query(request: HTTPConnection, allowed: Collection[str]) -> dict[str, str]:
    """The query parameters. Raises: LocalError: one that is unknown, repeated, empty, or all are too long."""
    if len(request.scope["query_string"]) > QUERY_BYTES_MAX:
        raise LocalError(f"the query is longer than {QUERY_BYTES_MAX} bytes", field="query")
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in allowed:
            known = ", ".join(sorted(allowed)) or "none"
            raise LocalError(f"unknown parameter {name!r}; there are: {known}", field=name)
        if name in found or not value:
            raise LocalError(f"parameter {name!r} is {'repeated' if value else 'empty'}", field=name)
        found[name] = value
    return found


async def body(request: Request, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The whole body. Raises: LocalError `body_too_large`."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > bytes_max:
            raise LocalError(f"the body is larger than {bytes_max} bytes", code="body_too_large", field="body")
        parts.append(part)
    return b"".join(parts)


def check_json(request: Request) -> None:
    """Raises: LocalError `unsupported_media_type`: the body is told to be another."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        message = f"the body is {media or 'of no type'!r}; send JSON with `content-type: application/json`"
        raise LocalError(message, code="unsupported_media_type", field="content-type")


async def decoded(request: Request, type_: type[T], bytes_max: int = BODY_BYTES_MAX) -> T:
    """The JSON body as `type_`. Raises: LocalError: its type, syntax or a field is wrong."""
    check_json(request)
    value = strictjson.loads(await body(request, bytes_max))
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise misshapen(error, type_, "body") from error


def misshapen(error: msgspec.ValidationError, kind: object, whole: str) -> LocalError:
    """What to raise where a value of a request is not a `kind`; `whole`: the field's name if it is all of it."""
    message, place = mistake(error, kind)
    return LocalError(message, field=place or whole)


async def on_error(request: Request, error: Exception) -> Response:
    """Every exception becomes the one shape (below /api/: OpenMeter's); one that nobody foresaw says nothing of us."""
    answer = _refused(request, error)
    if not request.url.path.startswith("/api/"):
        return answer
    told = msgspec.json.decode(answer.body)["error"]
    return problem(
        answer.status_code, f"{told['code']}: {told['message']}" + f" ({told['field']})" * bool(told["field"])
    )


def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, InterlockError):
        return refusal(error.code, error.message, error.field)
    if isinstance(error, HTTPException):
        if error.status_code == 405:
            return refusal("method_not_allowed", f"{request.method} is not for {request.url.path}", "method")
        return refusal("not_found", f"there is no {request.url.path} here", "path")
    return refusal("internal", "a defect in Interlock; the server's own output has the details")
