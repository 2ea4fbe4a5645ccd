"""GET /v1/events: a tenant's single events as they count. `/api/v1/events` is the same for OpenMeter's clients."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import json, query
from interlock.control.meters import complete_from
from interlock.control.service import Control
from interlock.errors import LocalError
from interlock.identity import Key, check_tenant
from interlock.instants import instant_ns
from interlock.meters import Entry, Wanted
from interlock.meters.answer import Listed

NAMES = ("type", "subject", "source", "id")
OPENMETER = ("from", "to", "limit", "id", "subject")


class EntryPaths:
    """The handlers of one port."""

    def __init__(self, control: Control, *, own: bool) -> None:
        """`own`: a key's own tenant; else the parameter `tenant` names one."""
        self._control = control
        self._own = own

    async def find(self, request: Request) -> Response:
        names = (*NAMES, "from", "to", "limit")
        params = query(request, names if self._own else (*names, "tenant"))
        if not self._own and "tenant" not in params:
            raise LocalError("name the tenant whose events are meant", field="tenant")
        tenant = self._tenant(request) if self._own else check_tenant(params["tenant"])
        found, first_day = await self._found(params, tenant)
        return json({"events": [_shown(entry) for entry in found], "complete_from": complete_from(first_day)})

    async def find_openmeter(self, request: Request) -> Response:
        """Those taken back are left out: it has no word for them."""
        params = query(request, OPENMETER)
        found, _ = await self._found(params, self._tenant(request), standing=True)
        return json(
            [
                {"event": entry.event, "ingestedAt": _moment(entry.taken_at_us), "storedAt": _moment(entry.taken_at_us)}
                for entry in found
            ]
        )

    async def _found(self, params: dict[str, str], tenant: str, *, standing: bool = False) -> Listed:
        limit = params.get("limit", "100")
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
            raise LocalError(f"limit is a whole number, not {limit[:20]!r}", field="limit")
        named: dict[str, Any] = {name: params[name] for name in NAMES if name in params}
        wanted = Wanted(
            since_us=self._us(params, "from"),
            until_us=self._us(params, "to"),
            limit=int(limit),
            standing=standing,
            **named,
        )
        return await self._control.meters.events(tenant, wanted, await self._control.events_head())

    def _us(self, params: dict[str, str], name: str) -> int | None:
        return instant_ns(params[name], self._control.clock.now_ns(), name) // 1000 if name in params else None

    def _tenant(self, request: Request) -> str:
        key: Key = request.state.key
        return key.tenant


def _moment(us: int) -> str:
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{us % 1_000_000:06}Z"


def _shown(entry: Entry) -> dict[str, Any]:
    told = msgspec.structs.asdict(entry)
    return {
        "n": told.pop("n"),
        "counts_at": _moment(told.pop("counts_at_us")),
        "taken_at": _moment(told.pop("taken_at_us")),
        **told,
    }
