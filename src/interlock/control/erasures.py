"""POST and GET /v1/erasures: customers of a tenant are erased, and how far that is."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import decoded, json, query
from interlock.control.events import origin_of
from interlock.control.service import Control
from interlock.instants import rfc3339
from interlock.intake import Erasure


class ErasureRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/erasures."""

    subjects: tuple[str, ...]
    reason: str
    forget: tuple[str, ...] = ()


class Erasures:
    """The paths of one process."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def ask(self, request: Request) -> Response:
        """202: it is written down, and will be done. Raises: as `Control.erase`."""
        query(request, ())
        wanted = await decoded(request, ErasureRequest)
        origin = origin_of(request.state.key)
        return json(self._json(await self._control.erase(origin, wanted.subjects, wanted.reason, wanted.forget)), 202)

    async def list(self, request: Request) -> Response:
        """All of the key's tenant, in order."""
        query(request, ())
        return json({"erasures": [self._json(one) for one in self._control.eraser.of(request.state.key.tenant)]})

    async def show(self, request: Request) -> Response:
        """One. Raises: LocalError `not_found`."""
        query(request, ())
        return json(self._json(self._control.eraser.find(request.state.key.tenant, request.path_params["id"])))

    def _json(self, one: Erasure) -> dict[str, Any]:
        """No name that goes is in it."""
        running, eraser = one.state == "running", self._control.eraser
        return {
            "id": one.id,
            "state": one.state,
            "reason": one.reason,
            "asked_at": rfc3339(one.asked_at_ns),
            "done_at": None if running else rfc3339(one.done_at_ns),
            "subjects": len(one.pseudonyms),
            "pseudonyms": one.pseudonyms,
            "events": one.events,
            "records": one.records,
            "seq": one.seq or None,
            "first_seq": one.first_seq or None,
            "principal": one.principal,
            "key_id": one.key_id,
            "searched": eraser.searched if running else one.seq,
            "problem": (eraser.problem or None) if running else None,
        }
