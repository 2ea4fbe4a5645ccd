"""GET /v1/quotas on the control port: where the policy's limits stand, for whoever called in their windows."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from interlock.control.answers import json, query
from interlock.control.instants import rfc3339
from interlock.control.service import Control
from interlock.errors import LocalError
from interlock.identity import check_tenant
from interlock.limits import Caller, Counter, Limit, Page, since_ns, survey
from interlock.units import usd

ROWS_MAX = 1_000
_COLUMNS = {
    "key": "key_id",
    "principal": "principal",
    "tenant": "tenant",
    "session": "session",
    "deployment": "deployment",
    "model": "model",
}
"""What limits look at, and the ledger's columns. Sessions are many: asked for only where a limit counts them."""


class QuotaPaths:
    """The handler."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def show(self, request: Request) -> Response:
        """`{"quotas": […], "more"}`, the fullest first; with `tenant` of that one only.

        Raises: LocalError `not_ready`: no gateway runs, so nobody counts.
        """
        params = query(request, ("tenant",))
        tenant = check_tenant(params["tenant"]) if "tenant" in params else ""
        await self._control.fold()
        found = await asyncio.to_thread(self._found, tenant)
        return json({"quotas": [_shown(one) for one in found[:ROWS_MAX]], "more": max(len(found) - ROWS_MAX, 0)})

    def _found(self, tenant: str) -> list[Counter]:
        policy = self._control.adoption.policy
        limits: tuple[Limit, ...] = policy.quotas if policy is not None else ()
        if not limits:
            return []
        now_ns = self._control.clock.now_ns()
        wanted = [name for name in _COLUMNS if name != "session" or any("session" in one.per for one in limits)]
        rows = self._control.ledger.callers(since_ns(limits, now_ns), [_COLUMNS[name] for name in wanted])
        callers = [Caller(**dict(zip(wanted, row, strict=True))) for row in rows]
        try:
            page = Page(self._control.places.limits)
        except OSError as error:
            raise LocalError("no gateway counts here yet", code="not_ready") from error
        try:
            return survey(page, limits, [one for one in callers if tenant in ("", one.tenant)], now_ns)
        finally:
            page.close()


def _shown(one: Counter) -> dict[str, Any]:
    limit = one.limit
    figures = {"used": one.used, "held": one.held, "others": one.others, "amount": limit.amount}
    money = limit.measure == "nanousd"
    return {
        "name": limit.name,
        "measure": "usd" if money else limit.measure,
        "window": limit.window,
        "scope": dict(one.scope),
        **{name: usd(figure) if money else str(figure) for name, figure in figures.items()},
        "percent": round(100 * one.part, 1),
        "ends": rfc3339(one.ends_ns) if one.ends_ns and limit.window is not None else None,
    }
