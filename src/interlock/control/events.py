"""POST /v1/events: CloudEvents of any product into the ledger. Reads the three framings, answers item by item."""

import asyncio
from collections import Counter
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from interlock.clock import Clock
from interlock.control.answers import body, json
from interlock.errors import CODES, LocalError
from interlock.identity import Key
from interlock.intake import Event, Intake, Origin, Refused, read_event, read_json
from interlock.strictjson import loads

BODY_BYTES_MAX = 16 << 20
EVENTS_MAX = 50_000
"""In one request."""

Item = Event | Refused


def one(text: bytes, origin: Origin, now_s: float) -> list[Item]:
    """`application/cloudevents+json`."""
    return [read_json(text, origin, now_s)]


def batch(text: bytes, origin: Origin, now_s: float) -> list[Item]:
    """`application/cloudevents-batch+json`. Raises: LocalError: it is no JSON, or no list."""
    documents = loads(text, exact=True)
    if type(documents) is not list:
        raise LocalError("a batch is a JSON list of events", field="body")
    _count(len(documents))
    return [read_event(document, origin, now_s) for document in documents]


def lines(text: bytes, origin: Origin, now_s: float) -> list[Item]:
    """`application/x-ndjson`: one event a line; blank lines are passed over. Raises: LocalError: too many."""
    _count(text.count(b"\n"))
    return [read_json(line, origin, now_s) for line in text.split(b"\n") if line and not line.isspace()]


READERS: dict[str, Callable[[bytes, Origin, float], list[Item]]] = {
    "application/cloudevents+json": one,
    "application/cloudevents-batch+json": batch,
    "application/x-ndjson": lines,
    "application/ndjson": lines,
}


def origin_of(key: Key) -> Origin:
    """Whom a key's events are from."""
    return Origin(
        tenant=key.tenant,
        principal=key.principal,
        key_id=key.id,
        application=key.labels.get("application", ""),
        installation=key.labels.get("installation", ""),
        subjects=key.subjects,
    )


async def take(request: Request, intake: Intake, clock: Clock) -> Response:
    """Read a request's events, commit them, and say what became of each, in order.

    A single event's status tells its outcome; of several it is 200 once they were looked at, whatever became of each.
    Raises: LocalError: the framing is wrong: nothing was counted. TransientError: nothing was counted; retry.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    reader = READERS.get(media)
    if reader is None:
        what = f"content-type {media or 'none'!r}; there are: {', '.join(READERS)}"
        raise LocalError(what, code="unsupported_media_type", field="content-type")
    text = await body(request, BODY_BYTES_MAX)
    items = await asyncio.to_thread(reader, text, origin_of(request.state.key), clock.now_ns() / 1e9)
    outcomes = await intake.take(origin_of(request.state.key), items) if items else []
    counts = Counter(outcome.result for outcome in outcomes)
    status = 200
    if reader is one and outcomes[0].code:
        status = CODES[outcomes[0].code].status
    elif outcomes and counts["unavailable"] == len(outcomes):
        status = 503
    return json({"counts": counts, "items": outcomes}, status)


def _count(count: int) -> None:
    if count > EVENTS_MAX:
        raise LocalError(f"at most {EVENTS_MAX} events in one request", code="body_too_large", field="body")
