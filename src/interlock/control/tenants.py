"""The control port's paths of tenants: who there is, under which boundary, and which terms they have accepted."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import decoded, json, query
from interlock.control.service import Control
from interlock.identity import Directory, Tenant
from interlock.instants import rfc3339


class TenantRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/tenants."""

    name: str
    boundary: str = ""


class AcceptRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/tenants/TENANT/agreements."""

    agreement: str
    by: str = ""


class Tenants:
    """The paths of one process."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def show(self, request: Request) -> Response:
        """All, in the order in which they came."""
        query(request, ())
        directory = await self._control.identity.refresh()
        return json({"tenants": [_json(one, directory) for one in directory.tenants.values()]})

    async def create(self, request: Request) -> Response:
        """201, also if it stands so already. Raises: as `Identity.create_tenant`."""
        query(request, ())
        wanted = await decoded(request, TenantRequest)
        identity, profiles = self._control.identity, self._control.profiles
        made = await identity.create_tenant(wanted.name, wanted.boundary, profiles=profiles)
        return json(_json(made, identity.directory), 201)

    async def accept(self, request: Request) -> Response:
        """Raises: as `Identity.accept`."""
        query(request, ())
        wanted = await decoded(request, AcceptRequest)
        await self._control.identity.accept(request.path_params["tenant"], wanted.agreement, wanted.by)
        return self._one(request)

    async def leave(self, request: Request) -> Response:
        """No call is sent under the agreement once this is answered. Raises: as `Identity.leave`."""
        params = query(request, ("reason",))
        tenant, agreement = request.path_params["tenant"], request.path_params["agreement"]
        await self._control.identity.leave(tenant, agreement, params.get("reason", ""))
        return self._one(request)

    def _one(self, request: Request) -> Response:
        directory = self._control.identity.directory
        return json(_json(directory.tenants[request.path_params["tenant"]], directory))


def _json(tenant: Tenant, directory: Directory) -> dict[str, Any]:
    accepted = directory.accepted.get(tenant.name, {})
    return {
        "name": tenant.name,
        "boundary": tenant.boundary,
        "agreements": [
            {"agreement": one.agreement, "at": rfc3339(one.at_ns), "by": one.by} for one in accepted.values()
        ],
    }
