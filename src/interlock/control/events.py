"""POST /v1/events: CloudEvents of any product into the ledger. Reads the three framings, answers item by item.

POST /api/v1/events is the same as OpenMeter's clients speak it: 204 if everything is counted, else one problem for all.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import json, problem
from interlock.clock import Clock
from interlock.errors import CODES, LocalError, TransientError
from interlock.identity import Key
from interlock.intake import Event, Intake, Origin, Outcome, Quick, Refused, read_json

BODY_BYTES_MAX = 16 << 20
LIST_BYTES_MAX = 4 << 20
"""Of a JSON list, which has to be taken apart in one go, while nothing else of this process runs."""
EVENTS_MAX = 50_000
"""In one request."""
BODY_S = 60.0
"""How long a body may take to arrive: who sends slowly holds room."""
ROOM_BYTES = 256 << 20
"""For all requests that are being read and answered."""

Item = Event | Refused
Admit = Callable[[Origin, list[Item]], list[Item]]
"""A tenant's events as its meters take them: those that they cannot read are refused."""


def one(text: bytes, origin: Origin, now_s: float) -> list[Item]:
    """`application/cloudevents+json`."""
    return [read_json(text, origin, now_s)]


def batch(text: bytes, origin: Origin, now_s: float) -> list[Item]:
    """`application/cloudevents-batch+json`. Raises: LocalError: it is too long, no JSON, or no list."""
    if len(text) > LIST_BYTES_MAX:
        what = f"a list has at most {LIST_BYTES_MAX} bytes; send lines (application/x-ndjson) instead"
        raise LocalError(what, code="body_too_large", field="body")
    events = items_of(text, "events")
    _count(len(events))
    read = Quick(origin, now_s).read
    return [read(event) for event in events]


def items_of(text: bytes, what: str) -> list[bytes]:
    """The members of a JSON list, undecoded. Raises: LocalError: it is no list, or no JSON."""
    try:
        return [bytes(item) for item in msgspec.json.decode(text, type=list[msgspec.Raw])]
    except msgspec.ValidationError as error:
        raise LocalError(f"a batch is a JSON list of {what}", field="body") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LocalError(f"the body is not acceptable JSON: {error}", code="invalid_json", field="body") from error


def lines(text: bytes, origin: Origin, now_s: float) -> list[Item]:
    """`application/x-ndjson`: one event a line; blank lines are passed over. Raises: LocalError: too many."""
    _count(text.count(b"\n") + (text[-1:] not in (b"", b"\n")))
    read = Quick(origin, now_s).read
    return [read(line) for line in text.split(b"\n") if line and not line.isspace()]


Reader = Callable[[bytes, Origin, float], list[Item]]
READERS: dict[str, Reader] = {
    "application/cloudevents+json": one,
    "application/cloudevents-batch+json": batch,
    "application/x-ndjson": lines,
    "application/ndjson": lines,
}


def one_or_batch(text: bytes, origin: Origin, now_s: float) -> list[Item]:
    """`application/json`, as OpenMeter takes it. Raises: as `batch`."""
    return (batch if text.lstrip()[:1] == b"[" else one)(text, origin, now_s)


OPENMETER_READERS: dict[str, Reader] = {
    "application/cloudevents+json": one,
    "application/cloudevents-batch+json": batch,
    "application/json": one_or_batch,
}
TOLD_MAX = 5
"""Events that a problem names."""


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


def answer(outcomes: Sequence[Outcome], *, single: bool) -> Response:
    """Item by item. `single`: the status tells the outcome; else it is 200 unless none could be written."""
    counts = Counter(outcome.result for outcome in outcomes)
    status = 200
    if single and outcomes[0].code:
        status = CODES[outcomes[0].code].status
    elif outcomes and counts["unavailable"] == len(outcomes):
        status = 503
    return json({"counts": counts, "items": outcomes}, status)


class Room:
    """What bodies that are being read and answered hold together, bounded."""

    def __init__(self) -> None:
        self.held = 0
        """Bytes."""
        self.reading = asyncio.Semaphore(1)
        """Parsing takes the process's one core: two at once would only wait."""

    @asynccontextmanager
    async def body(self, request: Request, bytes_max: int) -> AsyncIterator[bytes]:
        """A body, in the room until the end. Raises: LocalError: too long or too slow. TransientError `busy`."""
        parts: list[bytes] = []
        try:
            try:
                async with asyncio.timeout(BODY_S):
                    await self._received(request, parts, bytes_max)
            except TimeoutError as error:
                what = f"the body did not arrive within {BODY_S:g} s"
                raise LocalError(what, code="request_timeout", field="body") from error
            yield b"".join(parts)
        finally:
            self.held -= sum(map(len, parts))

    async def _received(self, request: Request, parts: list[bytes], bytes_max: int) -> None:
        """The body into `parts`, which count as held from here on."""
        size = 0
        async for part in request.stream():
            parts.append(part)
            size, self.held = size + len(part), self.held + len(part)
            if size > bytes_max:
                raise LocalError(f"the body is larger than {bytes_max} bytes", code="body_too_large", field="body")
            if self.held > ROOM_BYTES:
                raise TransientError("the server holds as many events as it may; retry", code="busy")


class Events:
    """The path of one process."""

    def __init__(self, intake: Intake, clock: Clock, admit: Admit) -> None:
        self._intake = intake
        self._clock = clock
        self._admit = admit
        self.room = Room()

    async def take(self, request: Request) -> Response:
        """Read a request's events, commit them, and say what became of each, in order.

        A single event's status tells its outcome; of several it is 200 once they were looked at, whatever became of
        each. Raises: LocalError: the framing is wrong: nothing was counted. TransientError: nothing was; retry.
        """
        reader = _reader_of(request, READERS)
        outcomes = await self._outcomes(request, reader)
        return answer(outcomes, single=reader is one)

    async def take_openmeter(self, request: Request) -> Response:
        """The same for OpenMeter's clients: those counted are counted, whatever the status says of the others."""
        outcomes = await self._outcomes(request, _reader_of(request, OPENMETER_READERS))
        wrong = [(place, one) for place, one in enumerate(outcomes) if one.code]
        if not wrong:
            return Response(status_code=204)
        statuses = {CODES[outcome.code].status for _, outcome in wrong}
        status = 503 if 503 in statuses else statuses.pop() if len(statuses) == 1 else 400
        told = [f"[{place}] {one.code}: {_placed(one)}" for place, one in wrong[:TOLD_MAX]]
        more = f"; and {len(wrong) - TOLD_MAX} more" if len(wrong) > TOLD_MAX else ""
        detail = f"{len(outcomes) - len(wrong)} of {len(outcomes)} events are counted: {'; '.join(told)}{more}"
        return problem(status, detail)

    async def _outcomes(self, request: Request, reader: Reader) -> list[Outcome]:
        self._intake.check()
        async with self.room.body(request, BODY_BYTES_MAX) as text:
            origin = origin_of(request.state.key)
            async with self.room.reading:
                items = await asyncio.to_thread(self._read, reader, text, origin)
            return await self._intake.take(origin, items) if items else []

    def _read(self, reader: Reader, text: bytes, origin: Origin) -> list[Item]:
        return self._admit(origin, reader(text, origin, self._clock.now_ns() / 1e9))


def _reader_of(request: Request, readers: Mapping[str, Reader]) -> Reader:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in readers:
        what = f"content-type {media or 'none'!r}; there are: {', '.join(readers)}"
        raise LocalError(what, code="unsupported_media_type", field="content-type")
    return readers[media]


def _placed(outcome: Outcome) -> str:
    """What is wrong, and of which field, once."""
    return outcome.message if outcome.field in outcome.message else f"{outcome.field}: {outcome.message}"


def _count(count: int) -> None:
    if count > EVENTS_MAX:
        raise LocalError(f"at most {EVENTS_MAX} events in one request", code="body_too_large", field="body")
