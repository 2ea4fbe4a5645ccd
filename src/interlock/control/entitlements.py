"""What plans let tenants use, on both ports: any tenant's for operators, its own for a key.

What is used and held this moment is read from the page on which workers count, as for every limit.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from interlock.answers import json, query
from interlock.control.quotas import counter_json, counters
from interlock.control.service import Control
from interlock.entitlements import Standing
from interlock.errors import LocalError
from interlock.identity import Key
from interlock.instants import rfc3339
from interlock.limits import PLAN_PREFIX, Caller, Counter
from interlock.rating import EntitledLimit, Entitlements, text_of
from interlock.units import NANO, usd

ROWS_MAX = 1_000
_FIGURES = ("used", "held", "left", "ends")


class EntitlementPaths:
    """The handlers of one process."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def control_routes(self) -> list[Route]:
        """Of the control port."""
        return [Route("/v1/entitlements", self.show, methods=["GET"])]

    def api_routes(self) -> list[Route]:
        """Of the api port."""
        return [
            Route("/v1/entitlements", self.own, methods=["GET"]),
            Route("/v1/entitlements/{feature:path}", self.feature, methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        """Of every tenant that has a plan now (of one, whatever it has), by name; `more` were left out."""
        params = query(request, ("tenant",))
        tenant = await self._control.known(params["tenant"]) if "tenant" in params else ""
        await self._control.fold()
        book, now_ns = await self._control.entitlements.refresh(), self._control.clock.now_ns()
        if tenant:
            chosen = [(tenant, book.current(tenant, now_ns))]
        else:
            every = [(of, book.current(of, now_ns)) for of in sorted(book.tenants)]
            chosen = [(of, one) for of, one in every if one is not None and one.plan]

        def found() -> list[dict[str, Any]]:
            counted = self._counters(tenant)
            by_tenant: dict[str, list[Counter]] = {}
            for one in counted or ():
                by_tenant.setdefault(dict(one.scope)["tenant"], []).append(one)
            none: Sequence[Counter] | None = None if counted is None else ()
            return [standing_json(of, one, by_tenant.get(of, none)) for of, one in chosen[:ROWS_MAX]]

        rows = await asyncio.to_thread(found)
        return json({"entitlements": rows, "more": max(len(chosen) - ROWS_MAX, 0)})

    async def own(self, request: Request) -> Response:
        """Of the asking key's tenant, with the counters that its own calls count against."""
        query(request, ())
        key: Key = request.state.key
        await self._control.fold()
        book = await self._control.entitlements.refresh()
        one = book.current(key.tenant, self._control.clock.now_ns())
        caller = Caller(key=key.id, principal=key.principal, tenant=key.tenant)
        found = await asyncio.to_thread(self._counters, key.tenant, caller)
        return json(standing_json(key.tenant, one, found))

    async def feature(self, request: Request) -> Response:
        """Whether a feature comes with the plan of the asking key's tenant, and as what."""
        query(request, ())
        key: Key = request.state.key
        book = await self._control.entitlements.refresh()
        one = book.current(key.tenant, self._control.clock.now_ns())
        name = request.path_params["feature"]
        value = (
            one.entitlements.features.get(name, False) if one is not None and one.entitlements is not None else False
        )
        entitled = value is not False
        return json({"feature": name, "entitled": entitled, "value": value if entitled else None})

    def _counters(self, tenant: str, own: Caller | None = None) -> Sequence[Counter] | None:
        """Those of plans' limits; None: no gateway runs, so nobody counts."""
        try:
            found = counters(self._control, tenant, own)
        except LocalError as error:
            if error.code != "not_ready":
                raise
            return None
        return [one for one in found if one.limit.name.startswith(PLAN_PREFIX)]


def standing_json(tenant: str, one: Standing | None, found: Sequence[Counter] | None) -> dict[str, Any]:
    """What a tenant is entitled to, as people see it. A limit has a row for each counter that is known of it.

    Args:
        found: counters of the tenant's plan; None: nobody counts.
    """
    shown: dict[str, Any] = {"tenant": tenant, "plan": None, "version": None, "since": None, "models": None}
    if one is None or not one.plan:
        return {**shown, "features": {}, "limits": []}
    shown |= {"plan": one.plan, "version": one.version, "since": rfc3339(one.since_ns)}
    wanted = one.entitlements or Entitlements()
    rows = [row for limit in wanted.limits for row in _rows(tenant, limit, found)]
    return {**shown, "models": wanted.models, "features": wanted.features, "limits": rows}


def _rows(tenant: str, limit: EntitledLimit, found: Sequence[Counter] | None) -> list[dict[str, Any]]:
    amount = usd(int(limit.amount * NANO)) if limit.measure == "usd" else text_of(limit.amount)
    said = {"name": limit.name, "measure": limit.measure, "window": limit.window, "per": limit.per, "amount": amount}
    mine = [counter_json(one) for one in found or () if one.limit.name == PLAN_PREFIX + limit.name]
    if mine:
        return [{**said, "scope": one["scope"], **{name: one[name] for name in _FIGURES}} for one in mine]
    scope = {} if limit.per else {"tenant": tenant}
    zero = usd(0) if limit.measure == "usd" else "0"
    unused = dict.fromkeys(_FIGURES) if found is None else {"used": zero, "held": zero, "left": amount, "ends": None}
    return [{**said, "scope": scope, **unused}]
