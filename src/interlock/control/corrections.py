"""POST /v1/corrections: events taken back, and others put in their place. Answers item by item, as events do."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from interlock.clock import Clock
from interlock.control.answers import check_json
from interlock.control.events import LIST_BYTES_MAX, Room, answer, items_of, origin_of
from interlock.errors import LocalError
from interlock.intake import Correction, Intake, Origin, Refused, read_correction

CORRECTIONS_MAX = 1000
"""In one request."""


class Corrections:
    """The path of one process. `room`: shared with events."""

    def __init__(self, intake: Intake, clock: Clock, room: Room) -> None:
        self._intake = intake
        self._clock = clock
        self._room = room

    async def take(self, request: Request) -> Response:
        """Make a request's corrections, and say what became of each, in order.

        Raises: LocalError: it is no correction and no list of some: none was made. TransientError: none was; retry.
        """
        check_json(request)
        self._intake.check()
        async with self._room.body(request, LIST_BYTES_MAX) as text:
            origin = origin_of(request.state.key)
            single = text.lstrip()[:1] != b"["
            async with self._room.reading:
                items = await asyncio.to_thread(_read, text, single, origin, self._clock.now_ns() / 1e9)
            return answer(await self._intake.correct(origin, items), single=single)


def _read(text: bytes, single: bool, origin: Origin, now_s: float) -> list[Correction | Refused]:
    items = [text] if single else items_of(text, "corrections")
    if len(items) > CORRECTIONS_MAX:
        what = f"at most {CORRECTIONS_MAX} corrections in one request"
        raise LocalError(what, code="body_too_large", field="body")
    return [read_correction(item, origin, now_s) for item in items]
