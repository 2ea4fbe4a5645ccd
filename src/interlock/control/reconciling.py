"""The control port's paths of providers' bills: one held against what was metered, and booked; which have been."""

import asyncio
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import decoded, json, query
from interlock.control.service import Control
from interlock.errors import InterlockError
from interlock.instants import rfc3339
from interlock.reconciling import STREAM, Statement, Window, book, checked, compare, to_api

BYTES_MAX = 32 << 20
"""Of a statement: some 50,000 lines."""


class ReconcileRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/reconciliations. Decimals are texts."""

    statement: Statement
    since_ns: int | None = None
    until_ns: int | None = None
    apply: bool = False


class Reconciliations:
    """The paths of one process."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def reconcile(self, request: Request) -> Response:
        """`{"report": …, "booked": … or null}`. With `apply` it is booked when it is answered; again, nothing is.

        Raises: LocalError. TransientError `busy`. LogUnavailable.
        """
        query(request, ())
        wanted = await decoded(request, ReconcileRequest, BYTES_MAX)
        control, statement = self._control, checked(wanted.statement)
        window = Window(since_ns=wanted.since_ns, until_ns=wanted.until_ns)
        if not wanted.apply:
            await control.fold()
            report = await asyncio.to_thread(compare, control.ledger, statement, window, now_ns=control.clock.now_ns())
            return json({"report": to_api(report), "booked": None, "problem": control.problem or None})
        report, booked = await book(control.ledger, control.log, control.clock, self._whole, statement, window)
        told = msgspec.structs.asdict(booked) | {"nanousd": str(booked.nanousd)}
        return json({"report": to_api(report), "booked": told, "problem": control.problem or None})

    async def _whole(self) -> None:
        """Fold; from a view that lacks something, nothing is booked. Raises: InterlockError `log_corrupt`."""
        await self._control.fold()
        if self._control.problem:
            raise InterlockError(f"nothing is booked: {self._control.problem}", code="log_corrupt")

    async def list(self, request: Request) -> Response:
        """Every statement that was booked, in order."""
        query(request, ())
        return json({"statements": [_shown(one) async for one in self._control.log.read(STREAM) if _is_one(one)]})


def _is_one(stored: Any) -> bool:
    return bool(stored.record.type == "statement.imported")


def _shown(stored: Any) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.json.decode(stored.record.payload)
    since_ns, until_ns = told.pop("since_ns"), told.pop("until_ns")
    return {
        "id": stored.record.id,
        "booked_at": rfc3339(stored.record.at_ns),
        "since": rfc3339(since_ns),
        "until": rfc3339(until_ns),
        **told,
    }
