"""GET /v1/quotas on the control port: where the policy's limits stand, for whoever called in their windows."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import json, query
from interlock.control.service import Control
from interlock.entitlements import entitled_of, plans_of
from interlock.errors import LocalError
from interlock.instants import rfc3339
from interlock.limits import Caller, Counter, Entitled, Limit, Page, since_ns, survey
from interlock.units import usd

ROWS_MAX = 1_000
_PLACES = frozenset(("session", "deployment", "model"))
"""What is not known of somebody before they call."""
_COLUMNS = {
    "key": "key_id",
    "principal": "principal",
    "tenant": "tenant",
    "session": "session",
    "deployment": "deployment",
    "model": "model",
}


class QuotaPaths:
    """The handler."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def show(self, request: Request) -> Response:
        """`{"quotas": […], "more"}`, the fullest first; with `tenant` of that one only.

        Raises: LocalError `not_ready`: no gateway runs, so nobody counts.
        """
        params = query(request, ("tenant",))
        tenant = await self._control.known(params["tenant"]) if "tenant" in params else ""
        await self._control.fold()
        await self._control.entitlements.refresh()
        found = await asyncio.to_thread(counters, self._control, tenant)
        return json({"quotas": [counter_json(one) for one in found[:ROWS_MAX]], "more": max(len(found) - ROWS_MAX, 0)})


def limits_of(control: Control) -> tuple[Limit, ...]:
    """Of the policy in force."""
    policy = control.adoption.policy
    return policy.quotas if policy is not None else ()


def plans_now(control: Control, tenant: str = "") -> dict[str, Entitled]:
    """What plans let tenants use now, by tenant; of one only, or of all. As of `entitlements.refresh`."""
    book, now_ns = control.entitlements.book, control.clock.now_ns()
    if not tenant:
        return plans_of(book, now_ns)
    found = entitled_of(tenant, book.current(tenant, now_ns))
    return {tenant: found} if found.restricts else {}


def all_of(limits: Sequence[Limit], plans: Mapping[str, Entitled]) -> list[Limit]:
    """A policy's limits, and those of plans."""
    return [*limits, *(limit for plan in plans.values() for limit in plan.limits)]


def names_of(limits: Sequence[Limit]) -> dict[str, str]:
    """What these limits look at, and the ledger's columns. Sessions are many: only where a limit counts them."""
    by_session = any("session" in one.per for one in limits)
    return {name: column for name, column in _COLUMNS.items() if name != "session" or by_session}


def counters(control: Control, tenant: str, own: Caller | None = None) -> list[Counter]:
    """Where limits stand for whoever called in their windows, the fullest first. Blocking.

    Args:
        tenant: of this one only; empty: of all.
        own: of this key only, and before its first call, as far as it does not depend on where that goes.
    Raises: LocalError `not_ready`: no gateway runs, so nobody counts.
    """
    limits, plans = limits_of(control), plans_now(control, tenant)
    every = all_of(limits, plans)
    if not every:
        return []
    now_ns = control.clock.now_ns()
    names = names_of(every)
    rows = control.ledger.callers(since_ns(every, now_ns), list(names.values()), tenant)
    callers = [Caller(**dict(zip(names, row, strict=True))) for row in rows]
    try:
        page = Page(control.places.limits)
    except OSError as error:
        raise LocalError("no gateway counts here yet", code="not_ready") from error
    try:
        chosen = [one for one in callers if tenant in ("", one.tenant) and (own is None or one.key == own.key)]
        found = survey(page, limits, chosen, now_ns, plans)
        if own is not None:
            known = {(one.limit.name, one.scope) for one in found}
            general = [one for one in every if not (one.deployments or one.models or _PLACES & set(one.per))]
            found += [one for one in survey(page, general, [own], now_ns) if (one.limit.name, one.scope) not in known]
        return found
    finally:
        page.close()


def counter_json(one: Counter) -> dict[str, Any]:
    """A counter as people see it."""
    limit = one.limit
    figures = {"used": one.used, "held": one.held, "others": one.others, "amount": limit.amount, "left": one.left}
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
