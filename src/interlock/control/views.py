"""The questions that both ports answer from the ledger, as API JSON. A port for tenants passes its key's tenant."""

import asyncio
from collections.abc import Mapping
from typing import Any

from interlock.clock import Clock
from interlock.errors import LocalError
from interlock.instants import instant_ns, rfc3339
from interlock.ledger import Ledger, to_api

WINDOW = ("since", "until")


async def usage(ledger: Ledger, params: Mapping[str, str], tenant: str | None, clock: Clock) -> dict[str, Any]:
    """`{"by": […], "rows": […]}`; `params`: `by` (comma-separated), `since`, `until`. Raises: LocalError."""
    by = params["by"].split(",") if "by" in params else []
    since_ns, until_ns = window(params, clock)
    rows = await asyncio.to_thread(ledger.usage, by, since_ns=since_ns, until_ns=until_ns, tenant=tenant)
    return {"by": by, "rows": [to_api(row) for row in rows]}


async def savings(ledger: Ledger, params: Mapping[str, str], tenant: str | None, clock: Clock) -> dict[str, Any]:
    """Both figures, in all and by tier; `params`: `since`, `until`. Raises: LocalError."""
    since_ns, until_ns = window(params, clock)
    return to_api(await asyncio.to_thread(ledger.savings, since_ns=since_ns, until_ns=until_ns, tenant=tenant))


COSTS_NS = 30 * 86_400_000_000_000
"""The window of costs that are asked for without a beginning: 30 days."""


async def costs(ledger: Ledger, params: Mapping[str, str], tenant: str | None, clock: Clock) -> dict[str, Any]:
    """A statement (`ledger.costs`), moments in RFC 3339; `params`: `by`, `since` (default: 30 days before the end),
    `until` (default: now). Raises: LocalError."""
    by = params["by"].split(",") if "by" in params else []
    since_ns, until_ns = window(params, clock)
    ends_ns = clock.now_ns() if until_ns is None else until_ns
    begins_ns = max(ends_ns - COSTS_NS, 0) if since_ns is None else since_ns
    found = to_api(await asyncio.to_thread(ledger.costs, by, begins_ns, ends_ns, tenant))
    times = {name: rfc3339(int(found.pop(f"{name}_ns"))) for name in ("since", "until", "previous_since")}
    return {**times, **found}


async def explain(ledger: Ledger, request_id: str, tenant: str | None) -> dict[str, Any]:
    """Everything about one request. Raises: LocalError `not_found`, also if it is another tenant's."""
    found = await asyncio.to_thread(ledger.explain, request_id, tenant)
    if found is None:
        raise LocalError(f"nothing is recorded about {request_id[:100]!r}", code="not_found", field="request_id")
    return to_api(found)


def window(params: Mapping[str, str], clock: Clock) -> tuple[int | None, int | None]:
    """`since` (inclusive) and `until` (exclusive) in nanoseconds. Raises: LocalError."""
    now_ns = clock.now_ns()
    since_ns, until_ns = (instant_ns(params[name], now_ns, name) if name in params else None for name in WINDOW)
    if since_ns is not None and until_ns is not None and since_ns >= until_ns:
        raise LocalError("since is not before until", field="since")
    return since_ns, until_ns
