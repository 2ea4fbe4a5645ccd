"""POST and GET /v1/periods: a tenant closes its months or days, for good, and sees which it closed."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import decoded, json
from interlock.control.events import origin_of
from interlock.instants import rfc3339
from interlock.intake import Intake, Standing, rfc3339_us


class PeriodRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/periods."""

    period: str
    zone: str = "UTC"


class Periods:
    """The paths of one process."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def close(self, request: Request) -> Response:
        """201 and where it stands; 200 if it was closed before. Raises: LocalError: it cannot be closed."""
        wanted = await decoded(request, PeriodRequest)
        standing, is_new = await self._intake.close_period(origin_of(request.state.key), wanted.period, wanted.zone)
        return json({"result": "closed" if is_new else "duplicate", **_json(standing)}, 201 if is_new else 200)

    async def list(self, request: Request) -> Response:
        """All that the key's tenant closed, in order."""
        return json({"periods": [_json(one) for one in await self._intake.periods(request.state.key.tenant)]})


def _json(standing: Standing) -> dict[str, Any]:
    closed = standing.closed
    return {
        "period": closed.period,
        "zone": closed.zone,
        "since": rfc3339_us(closed.since_us),
        "until": rfc3339_us(closed.until_us),
        "seq": standing.seq,
        "closed_at": rfc3339(standing.at_ns),
        "principal": closed.principal,
        "key_id": closed.key_id,
    }
