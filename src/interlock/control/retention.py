"""GET /v1/retention on the control port: what leaves the tables, what has, and what would by another rule."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import json, query
from interlock.config.ledger import DAYS_MAX
from interlock.control.service import Control
from interlock.errors import LocalError
from interlock.identity import check_tenant
from interlock.instants import rfc3339
from interlock.meters.keeper import Wish
from interlock.meters.kept import Kept

TABLES = ("events", "rollups")


class RetentionPaths:
    """The handler."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def show(self, request: Request) -> Response:
        """`{"problem","looked_at","tables": […]}`; with `table` and `keep_days`: what that rule would do."""
        params = query(request, ("table", "keep_days", "tenant"))
        meters = self._control.meters
        found = await meters.kept([_wish(params)] if params else ())
        looked_at_ns = meters.keeper.looked_at_ns
        return json(
            {
                "problem": meters.keeper.problem or None,
                "looked_at": rfc3339(looked_at_ns) if looked_at_ns else None,
                "tables": [_shown(one) for one in found],
            }
        )


def _wish(params: dict[str, str]) -> Wish:
    """Raises: LocalError."""
    if params.get("table") not in TABLES:
        raise LocalError(f"table is one of {', '.join(TABLES)}", field="table")
    days = params.get("keep_days", "")
    if not (days.isascii() and days.isdigit() and len(days) < 6 and 0 < int(days) <= DAYS_MAX):
        raise LocalError(f"keep_days is a whole number from 1 to {DAYS_MAX}", field="keep_days")
    tenant = check_tenant(params["tenant"]) if "tenant" in params else ""
    return Wish(params["table"], tenant, int(days), "drop")


def _shown(one: Kept) -> dict[str, Any]:
    told = {name: None if value == "" else value for name, value in msgspec.structs.asdict(one).items()}
    left_at_ns = told.pop("left_at_ns")
    return {**told, "left_at": rfc3339(left_at_ns) if left_at_ns else None}
