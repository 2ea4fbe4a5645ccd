"""POST /v1/corrections: events taken back, and others put in their place. Answers item by item, as events do."""

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import check_json
from interlock.clock import Clock
from interlock.control.events import LIST_BYTES_MAX, Admit, Item, Room, answer, items_of, origin_of
from interlock.errors import LocalError
from interlock.intake import Correction, Intake, Origin, Refused, read_correction

CORRECTIONS_MAX = 1000
"""In one request."""


class Corrections:
    """The path of one process."""

    def __init__(self, intake: Intake, clock: Clock, room: Room, admit: Admit) -> None:
        """`room`: shared with events. `admit`: as they have it, for replacements."""
        self._admit = admit
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
                items = await asyncio.to_thread(self._read, text, single, origin)
            return answer(await self._intake.correct(origin, items), single=single)

    def _read(self, text: bytes, single: bool, origin: Origin) -> list[Correction | Refused]:
        """Those refused too whose replacement a meter cannot read."""
        items = _read(text, single, origin, self._clock.now_ns() / 1e9)
        new: list[Item] = [item.replacement for item in items if isinstance(item, Correction) and item.replacement]
        admitted = iter(self._admit(origin, new))
        for place, item in enumerate(items):
            if isinstance(item, Correction) and item.replacement:
                found = next(admitted)
                if isinstance(found, Refused):
                    field = f"replacement.{found.field}"
                    items[place] = msgspec.structs.replace(found, field=field, source=item.source, id=item.id)
        return items


def _read(text: bytes, single: bool, origin: Origin, now_s: float) -> list[Correction | Refused]:
    items = [text] if single else items_of(text, "corrections")
    if len(items) > CORRECTIONS_MAX:
        what = f"at most {CORRECTIONS_MAX} corrections in one request"
        raise LocalError(what, code="body_too_large", field="body")
    return [read_correction(item, origin, now_s) for item in items]
