"""The two ports' paths: control (operators, an admin key) and api (tenants' programs, with the scope of the path).

A handler reads its input, asks, and answers; it decides nothing. Amounts and nanoseconds are strings in JSON.
"""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

from interlock.answers import body, decoded, json, on_error, query
from interlock.control import views
from interlock.control.anomalies import AnomalyPaths
from interlock.control.billing import BillingPaths, control_routes, tenant_routes
from interlock.control.budgets import BudgetPaths
from interlock.control.corrections import Corrections
from interlock.control.credits import CreditPaths
from interlock.control.entitlements import EntitlementPaths
from interlock.control.entries import EntryPaths
from interlock.control.erasures import Erasures
from interlock.control.events import Events
from interlock.control.gate import Gate
from interlock.control.meters import MeterPaths
from interlock.control.periods import Periods
from interlock.control.quotas import QuotaPaths
from interlock.control.reconciling import Reconciliations
from interlock.control.relay import Relay
from interlock.control.retention import RetentionPaths
from interlock.control.service import Control
from interlock.control.tenants import Tenants
from interlock.control.tools import ToolPaths
from interlock.errors import InterlockError, LocalError
from interlock.identity import Key, Revoked, Scope
from interlock.instants import rfc3339
from interlock.log.verify import StreamReport
from interlock.proof.check import read_kept
from interlock.proof.keys import read_public_key


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/keys; the fields are `Identity.issue`'s."""

    tenant: str
    name: str
    principal: str = ""
    scopes: tuple[str, ...] = ("inference",)
    boundary: str = ""
    expires: str = ""
    labels: dict[str, str] = {}
    subjects: tuple[str, ...] = ()


class VerifyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/verify: what the caller has from elsewhere."""

    public_key: str | None = None
    checkpoint: str | None = None


def control_app(control: Control) -> Starlette:
    """The control port: every path needs a key with scope `admin`, but for /healthz and /metrics."""
    at, tenants = _ControlPort(control, own=False), Tenants(control)
    tools = ToolPaths(control.approvals, control.places.door, control.clock)
    routes: list[BaseRoute] = [
        Route("/healthz", _healthz),
        Route("/metrics", at.metrics),
        Route("/v1/keys", at.list_keys, methods=["GET"]),
        Route("/v1/keys", at.issue_key, methods=["POST"]),
        Route("/v1/keys/{key_id}", at.revoke_key, methods=["DELETE"]),
        Route("/v1/tenants", tenants.show, methods=["GET"]),
        Route("/v1/tenants", tenants.create, methods=["POST"]),
        Route("/v1/tenants/{tenant}/agreements", tenants.accept, methods=["POST"]),
        Route("/v1/tenants/{tenant}/agreements/{agreement:path}", tenants.leave, methods=["DELETE"]),
        Route("/v1/withdrawals", control.withdrawals.show, methods=["GET"]),
        Route("/v1/withdrawals", control.withdrawals.take, methods=["POST"]),
        Route("/v1/withdrawals/{kind}/{name:path}", control.withdrawals.undo, methods=["DELETE"]),
        Route("/v1/tools", tools.list, methods=["GET"]),
        Route("/v1/tools/{server}/{name}", tools.show, methods=["GET"]),
        Route("/v1/tools/{server}/{name}/approval", tools.approve, methods=["POST"]),
        Route("/v1/usage", at.usage),
        Route("/v1/costs", at.costs),
        Route("/v1/savings", at.savings),
        Route("/v1/explain/{request_id}", at.explain),
        Route("/v1/verify", at.verify, methods=["GET"]),
        Route("/v1/verify", at.verify_against, methods=["POST"]),
        Route("/v1/checkpoint", at.checkpoint, methods=["POST"]),
        Route("/v1/config", at.config),
        Route("/v1/config/check", at.check_config, methods=["POST"]),
        Route("/v1/config/reload", at.reload_config, methods=["POST"]),
        Route("/v1/status", at.status),
        Route("/v1/events", EntryPaths(control, own=False).find, methods=["GET"]),
        Route("/v1/retention", RetentionPaths(control).show),
        Route("/v1/quotas", QuotaPaths(control).show),
        *control_routes(BillingPaths(control.billing, control.reports, control.call_postings, own=False)),
        *CreditPaths(control).control_routes(),
        *EntitlementPaths(control).control_routes(),
        Route("/v1/budgets", BudgetPaths(control, own=False).show),
        Route("/v1/anomalies", AnomalyPaths(control.anomalies, control.clock, control.known, own=False).show),
        Route("/v1/reconciliations", Reconciliations(control).list, methods=["GET"]),
        Route("/v1/reconciliations", Reconciliations(control).reconcile, methods=["POST"]),
        *_meter_routes(MeterPaths(control, own=False)),
        *_agent_routes(Relay(control.places.runtime_socket, every_tenant=True)),
    ]
    return _app(control, routes, "admin", ("/healthz", "/metrics"))


def api_app(control: Control) -> Starlette:
    """The api port, for a key's own tenant: what it used and may still use, what its meters say, events that are to be
    counted, their corrections, closed periods, customers to be erased, and the meters. `usage:read`, but for what
    `scopes` names."""
    at, meters, entries = _ApiPort(control, own=True), MeterPaths(control, own=True), EntryPaths(control, own=True)
    erasures = Erasures(control)
    routes: list[BaseRoute] = [
        Route("/healthz", _healthz),
        Route("/v1/usage", at.usage),
        Route("/v1/costs", at.costs),
        Route("/v1/savings", at.savings),
        Route("/v1/explain/{request_id}", at.explain),
        Route("/v1/budgets", BudgetPaths(control, own=True).show),
        Route("/v1/anomalies", AnomalyPaths(control.anomalies, control.clock, control.known, own=True).show),
        Route("/v1/events", entries.find, methods=["GET"]),
        Route("/v1/events", at.take_events, methods=["POST"]),
        Route("/api/v1/events", entries.find_openmeter, methods=["GET"]),
        Route("/api/v1/events", at.take_openmeter_events, methods=["POST"]),
        Route("/v1/corrections", at.correct, methods=["POST"]),
        Route("/v1/periods", at.list_periods, methods=["GET"]),
        Route("/v1/periods", at.close_period, methods=["POST"]),
        Route("/v1/erasures", erasures.list, methods=["GET"]),
        Route("/v1/erasures", erasures.ask, methods=["POST"]),
        Route("/v1/erasures/{id}", erasures.show, methods=["GET"]),
        *CreditPaths(control).api_routes(),
        *EntitlementPaths(control).api_routes(),
        *tenant_routes(BillingPaths(control.billing, control.reports, control.call_postings, own=True)),
        *_meter_routes(meters),
        Route("/api/v1/meters", meters.openmeter_list, methods=["GET"]),
        Route("/api/v1/meters", meters.openmeter_define, methods=["POST"]),
        Route("/api/v1/meters/{slug}", meters.openmeter_show, methods=["GET"]),
        Route("/api/v1/meters/{slug}", meters.openmeter_retire, methods=["DELETE"]),
        Route("/api/v1/meters/{slug}/query", meters.openmeter_ask, methods=["GET", "POST"]),
        *_agent_routes(Relay(control.places.runtime_socket, every_tenant=False)),
    ]
    scopes: dict[str, Scope] = {
        "POST /v1/events": "events:write",
        "POST /api/v1/events": "events:write",
        "POST /v1/corrections": "events:correct",
        "GET /v1/periods": "periods:close",
        "POST /v1/periods": "periods:close",
        "GET /v1/erasures": "events:erase",
        "GET /v1/erasures/*": "events:erase",
        "POST /v1/erasures": "events:erase",
        "POST /v1/meters": "meters:write",
        "DELETE /v1/meters/*": "meters:write",
        "POST /api/v1/meters": "meters:write",
        "DELETE /api/v1/meters/*": "meters:write",
        **{f"{method} /v1/{what}": "sessions:run" for method in _METHODS for what in _AGENT_PATHS},
        "POST /v1/approvals/*": "sessions:approve",
    }
    return _app(control, routes, "usage:read", ("/healthz",), scopes)


_METHODS: Sequence[str] = ("GET", "POST", "PUT", "DELETE")
_AGENT_PATHS = ("sessions", "sessions/*", "approvals", "approvals/*")


def _agent_routes(relay: Relay) -> list[BaseRoute]:
    """What the runtime's process answers (runtime.api)."""
    return [
        route
        for path in ("/v1/sessions", "/v1/approvals")
        for route in (Route(path, endpoint=relay), Mount(path, app=relay))
    ]


def _meter_routes(at: MeterPaths) -> list[Route]:
    return [
        Route("/v1/meters", at.show_all, methods=["GET"]),
        Route("/v1/meters", at.define, methods=["POST"]),
        Route("/v1/meters/{slug}", at.show, methods=["GET"]),
        Route("/v1/meters/{slug}", at.retire, methods=["DELETE"]),
        Route("/v1/meters/{slug}/query", at.ask, methods=["GET", "POST"]),
    ]


def _app(
    control: Control,
    routes: Sequence[BaseRoute],
    scope: Scope,
    open_paths: tuple[str, ...],
    scopes: Mapping[str, Scope] = MappingProxyType({}),
) -> Starlette:
    """`scopes`: of what needs another scope than the port's, as `Gate`."""
    own = scope != "admin"
    gate = Middleware(Gate, admit=control.admit, scope=scope, scopes=scopes, open_paths=open_paths, own=own)
    handlers: Mapping[Any, Any] = {InterlockError: on_error, HTTPException: on_error, Exception: on_error}
    app = Starlette(routes=routes, middleware=[gate], exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


async def _healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n")


class _Questions:
    """What both ports answer from the ledger; `problem` in an answer says why it is not complete."""

    def __init__(self, control: Control, *, own: bool) -> None:
        self._control = control
        self._own = own
        """Whether only the asking key's tenant is shown."""

    async def usage(self, request: Request) -> Response:
        params, tenant = await self._asked(request, "by", *views.WINDOW)
        return await self._answer(views.usage(self._control.ledger, params, tenant, self._control.clock))

    async def costs(self, request: Request) -> Response:
        params, tenant = await self._asked(request, "by", *views.WINDOW)
        return await self._answer(views.costs(self._control.ledger, params, tenant, self._control.clock))

    async def savings(self, request: Request) -> Response:
        params, tenant = await self._asked(request, *views.WINDOW)
        return await self._answer(views.savings(self._control.ledger, params, tenant, self._control.clock))

    async def explain(self, request: Request) -> Response:
        _, tenant = await self._asked(request)
        return await self._answer(views.explain(self._control.ledger, request.path_params["request_id"], tenant))

    async def _asked(self, request: Request, *names: str) -> tuple[dict[str, str], str | None]:
        if self._own:
            key: Key = request.state.key
            return query(request, names), key.tenant
        params = query(request, (*names, "tenant"))
        return params, await self._control.known(params["tenant"]) if "tenant" in params else None

    async def _answer(self, question: Awaitable[dict[str, Any]]) -> Response:
        await self._control.fold()  # so that what was settled before the question is in the answer
        return json({**await question, "problem": self._control.problem or None})


class _ApiPort(_Questions):
    def __init__(self, control: Control, *, own: bool) -> None:
        super().__init__(control, own=own)
        self._events = Events(control.intake, control.clock, control.meters.admit)
        self._corrections = Corrections(control.intake, control.clock, self._events.room, control.meters.admit)
        self._periods = Periods(control.intake)

    async def take_events(self, request: Request) -> Response:
        query(request, ())
        return await self._events.take(request)

    async def take_openmeter_events(self, request: Request) -> Response:
        query(request, ())
        return await self._events.take_openmeter(request)

    async def correct(self, request: Request) -> Response:
        query(request, ())
        return await self._corrections.take(request)

    async def list_periods(self, request: Request) -> Response:
        query(request, ())
        return await self._periods.list(request)

    async def close_period(self, request: Request) -> Response:
        query(request, ())
        return await self._periods.close(request)


class _ControlPort(_Questions):
    async def metrics(self, request: Request) -> Response:
        text = await self._control.metrics()
        return Response(text, media_type="text/plain; version=0.0.4")

    async def list_keys(self, request: Request) -> Response:
        params = query(request, ("tenant",))
        tenant = await self._control.known(params["tenant"]) if "tenant" in params else None
        listed = await self._control.identity.list(tenant)
        now_ns = self._control.clock.now_ns()
        return json({"keys": [key_json(key, revoked, now_ns) for key, revoked in listed]})

    async def issue_key(self, request: Request) -> Response:
        query(request, ())
        wanted = await decoded(request, KeyRequest)
        issued = await self._control.identity.issue(**msgspec.structs.asdict(wanted), profiles=self._control.profiles)
        shown = key_json(issued.key, None, self._control.clock.now_ns())
        return json({**shown, "secret": issued.secret}, 201)

    async def revoke_key(self, request: Request) -> Response:
        params = query(request, ("reason",))
        key_id = request.path_params["key_id"]
        revoked = await self._control.identity.revoke(key_id, params.get("reason", ""))
        key = self._control.identity.directory.keys[key_id]
        return json(key_json(key, revoked, self._control.clock.now_ns()))

    async def verify(self, request: Request) -> Response:
        query(request, ())
        return _reports(self._control.verify())

    async def verify_against(self, request: Request) -> Response:
        query(request, ())
        given = await decoded(request, VerifyRequest)
        key = None if given.public_key is None else read_public_key(given.public_key, "public_key")
        kept = None if given.checkpoint is None else read_kept(given.checkpoint)
        return _reports(self._control.verify(key, kept))

    async def checkpoint(self, request: Request) -> Response:
        query(request, ())
        found = await self._control.checkpoint()
        return Response(found.document + b"\n", media_type="application/json")

    async def config(self, request: Request) -> Response:
        query(request, ())
        return json(self._control.adoption.view())

    async def check_config(self, request: Request) -> Response:
        query(request, ())
        try:
            text = (await body(request)).decode()
        except UnicodeDecodeError as error:
            raise LocalError(f"the body is not UTF-8: {error}", field="body") from error
        loaded = await asyncio.to_thread(self._control.adoption.check, text)
        return json({"version": loaded.policy.version, "warnings": loaded.warnings})

    async def reload_config(self, request: Request) -> Response:
        query(request, ())
        await self._control.adoption.adopt()
        return json(self._control.adoption.view())

    async def status(self, request: Request) -> Response:
        query(request, ())
        return json(self._control.status())


def _reports(reports: Iterator[StreamReport]) -> Response:
    """A line each, as they come."""
    lines = (msgspec.json.encode(report) + b"\n" for report in reports)
    return StreamingResponse(iterate_in_threadpool(lines), media_type="application/x-ndjson")


def key_json(key: Key, revoked: Revoked | None, now_ns: int) -> dict[str, Any]:
    """A key as people see it: no digest, times in RFC 3339, and `state`: live, expired or revoked."""
    expired = key.expires_at_ns is not None and now_ns >= key.expires_at_ns
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "principal": key.principal,
        "scopes": key.scopes,
        "boundary": key.boundary,
        "labels": key.labels,
        "subjects": key.subjects,
        "state": "revoked" if revoked else "expired" if expired else "live",
        "created_at": rfc3339(key.created_at_ns),
        "expires_at": None if key.expires_at_ns is None else rfc3339(key.expires_at_ns),
        "revoked_at": rfc3339(revoked.at_ns) if revoked else None,
        "reason": revoked.reason if revoked else None,
    }
