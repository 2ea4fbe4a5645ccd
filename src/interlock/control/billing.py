"""Plans, subscriptions, invoices and credit notes over HTTP. The control port changes them; a tenant reads its own."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from interlock import strictjson
from interlock.answers import body, check_json, decoded, json, query
from interlock.billing import (
    Billing,
    CreditNote,
    Document,
    Held,
    Party,
    Reports,
    Subscription,
    Wanted,
    focus_csv,
    invoice_json,
    line_json,
    lines_csv,
    note_json,
    note_page,
    page,
)
from interlock.billing.books import Posting
from interlock.errors import LocalError
from interlock.identity import Key, check_tenant
from interlock.instants import rfc3339
from interlock.rating import plan_hash, plan_record
from interlock.units import NANO

EVENTS_PAGE = 1000
INVOICES_PAGE = 1000
ID_CHARS_MAX = 128
_AMOUNT = re.compile(r"([0-9]{1,30})(?:\.([0-9]{0,9})0*)?")


class ReviewRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/invoices: freeze the draft of a tenant's period."""

    tenant: str
    period: str
    interim: bool = False
    unpriced: bool = False


class ApproveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/invoices/ID/approval: the very content that was looked at."""

    sha256: str


class ReasonRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/invoices/ID/return and /void."""

    reason: str


class CreditLineRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to give back of a line; no amount: all that is left."""

    n: int
    amount: str | None = None


class CreditRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/credit-notes. No lines: the whole invoice."""

    id: str
    invoice: str
    reason: str
    lines: tuple[CreditLineRequest, ...] = ()


class BillingPaths:
    """The handlers of one port."""

    def __init__(
        self, billing: Billing, reports: Reports, calls: Callable[[], Awaitable[Sequence[Posting]]], *, own: bool
    ) -> None:
        """`calls`: what the gateway's calls post. `own`: only the asking key's tenant is shown."""
        self._billing = billing
        self._reports = reports
        self._calls = calls
        self._own = own

    # terms

    async def put_plan(self, request: Request) -> Response:
        """201: a new version; 200: it stands. Raises: LocalError."""
        query(request, ())
        check_json(request)
        document = strictjson.loads(await body(request), exact=True)
        if not isinstance(document, dict):
            raise LocalError("a plan is a JSON object", field="body")
        plan, new = await self._billing.adopt_plan(document, _who(request))
        return json({**plan_record(plan), "sha256": plan_hash(plan), "new": new}, 201 if new else 200)

    async def plans(self, request: Request) -> Response:
        """The newest version of each."""
        query(request, ())
        accounts = await self._billing.refresh()
        found = []
        for name, version in sorted(accounts.newest.items()):
            plan, at_ns = accounts.plans[name, version], accounts.adopted_ns[name, version]
            row = {"name": name, "version": version, "currency": plan.currency, "charges": len(plan.charges)}
            found.append({**row, "adopted_at": rfc3339(at_ns), "sha256": plan_hash(plan)})
        return json({"plans": found})

    async def plan(self, request: Request) -> Response:
        """One, as it was adopted, every default named. Raises: LocalError `not_found`."""
        params = query(request, ("version",))
        accounts = await self._billing.refresh()
        plan = accounts.plan(request.path_params["name"], _whole(params.get("version", "0"), "version"))
        return json({**plan_record(plan), "sha256": plan_hash(plan)})

    async def issuer(self, request: Request) -> Response:
        """Who sells; null: nobody is named."""
        query(request, ())
        return json({"issuer": (await self._billing.refresh()).issuer})

    async def set_issuer(self, request: Request) -> Response:
        """Raises: LocalError."""
        query(request, ())
        issuer = await decoded(request, Party)
        new = await self._billing.set_issuer(issuer, _who(request))
        return json({"issuer": issuer, "new": new})

    async def subscribe(self, request: Request) -> Response:
        """201: it changes; 200: it stands so. Raises: LocalError."""
        query(request, ())
        tenant = check_tenant(request.path_params["tenant"])
        made, new = await self._billing.subscribe(tenant, await decoded(request, Wanted), _who(request))
        return json({**_subscription(made), "new": new}, 201 if new else 200)

    async def subscriptions(self, request: Request) -> Response:
        """All of a tenant, or of all tenants, in the order in which they were set."""
        tenant = self._tenant(request)
        accounts = await self._billing.refresh()
        every = [one for of, ones in sorted(accounts.subscriptions.items()) if tenant in (None, of) for one in ones]
        return json({"subscriptions": [_subscription(one) for one in every]})

    # invoices

    async def draft(self, request: Request) -> Response:
        """What an invoice would say now. Raises: LocalError."""
        params = query(request, ("tenant", "period", "format"))
        tenant = check_tenant(params.get("tenant", ""))
        draft = await self._billing.draft(tenant, params.get("period", ""), by=_who(request))
        return await _shown(Document(draft.header, draft.lines), params.get("format", "json"))

    async def review(self, request: Request) -> Response:
        """201: frozen now; 200: one stands. Raises: LocalError."""
        query(request, ())
        wanted = await decoded(request, ReviewRequest)
        held, new = await self._billing.review(
            check_tenant(wanted.tenant),
            wanted.period,
            _who(request),
            interim=wanted.interim,
            unpriced=wanted.unpriced,
        )
        return json({**await self._whole(held, lines=False), "new": new}, 201 if new else 200)

    async def approve(self, request: Request) -> Response:
        """Raises: LocalError."""
        query(request, ())
        wanted = await decoded(request, ApproveRequest)
        held = await self._billing.approve(request.path_params["id"], wanted.sha256, _who(request))
        return json(await self._whole(held, lines=False))

    async def send_back(self, request: Request) -> Response:
        """Raises: LocalError."""
        query(request, ())
        wanted = await decoded(request, ReasonRequest)
        held = await self._billing.send_back(request.path_params["id"], wanted.reason, _who(request))
        return json(await self._whole(held, lines=False))

    async def finalize(self, request: Request) -> Response:
        """It has its number when this is answered. Raises: LocalError."""
        query(request, ())
        held = await self._billing.finalize(request.path_params["id"], _who(request))
        return json(await self._whole(held, lines=False))

    async def void(self, request: Request) -> Response:
        """Raises: LocalError."""
        query(request, ())
        wanted = await decoded(request, ReasonRequest)
        held = await self._billing.void(request.path_params["id"], wanted.reason, _who(request))
        return json(await self._whole(held, lines=False))

    async def invoices(self, request: Request) -> Response:
        """Without their lines, the newest first; a tenant sees what was issued to it."""
        tenant = self._tenant(request)
        accounts = await self._billing.refresh()
        every = accounts.of_tenant(tenant) if tenant else list(accounts.invoices.values())
        mine = [held for held in reversed(every) if self._sees(held)]
        shown = [invoice_json(Document(held.header, (), held), lines=False) for held in mine[:INVOICES_PAGE]]
        return json({"invoices": shown, "more": max(len(mine) - INVOICES_PAGE, 0)})

    async def invoice(self, request: Request) -> Response:
        """One with its lines, in the format asked for: json, csv, html or focus; by a credit note's number that note:
        json, html or focus. Raises: LocalError."""
        params = query(request, ("format",))
        held, note = await self._found(request)
        document = Document(held.header, tuple(await self._billing.lines(held)), held)
        form = params.get("format", "json")
        if note is not None:
            return await asyncio.to_thread(_note_written, document, note, form)
        return await _shown(document, form)

    async def events(self, request: Request) -> Response:
        """What a line counts, by id, `limit` from `after` on; `next` asks for the rest. Raises: LocalError."""
        params = query(request, ("after", "limit"))
        after, limit = _whole(params.get("after", "0"), "after"), _whole(params.get("limit", "1000"), "limit")
        if not 1 <= limit <= EVENTS_PAGE:
            raise LocalError(f"limit is 1 to {EVENTS_PAGE}", field="limit")
        held, n = await self._held(request), _whole(request.path_params["n"], "n")
        lines = await self._billing.lines(held)
        if not 1 <= n <= len(lines):
            raise LocalError(f"the invoice has lines 1 to {len(lines)}", code="not_found", field="n")
        line, rows, place = lines[n - 1], list[dict[str, Any]](), 0
        async for evidence, item in self._billing.events(line, held.header.tenant):
            place += 1
            if place > after + limit:
                break
            if place > after:
                row = {"id": item.id, "at": rfc3339(item.at_ns), "quantity": item.quantity}
                counted_by = {"source": evidence.source, "meter": evidence.meter or None}
                rows.append({**row, **counted_by, "group": dict(item.group)})
        told = line_json(line, held.header.places)
        counted = {name: told[name] for name in ("n", "description", "quantity", "unit", "evidence")}
        return json({"line": counted, "events": rows, "next": after + limit if place > after + limit else None})

    async def check(self, request: Request) -> Response:
        """As `Reports.check`."""
        query(request, ())
        return json(await self._reports.check())

    async def books(self, request: Request) -> Response:
        """As `Reports.books`."""
        query(request, ())
        return json(await self._reports.books(await self._calls()))

    async def credit(self, request: Request) -> Response:
        """201: issued; 200: it stands. Raises: LocalError."""
        query(request, ())
        wanted = await decoded(request, CreditRequest)
        if not 0 < len(wanted.id) <= ID_CHARS_MAX or not wanted.id.isprintable():
            raise LocalError(f"an id is 1 to {ID_CHARS_MAX} printable characters", field="id")
        asked = {one.n: None if one.amount is None else _nano(one.amount) for one in wanted.lines}
        if len(asked) < len(wanted.lines):
            raise LocalError("a line is named twice", field="lines")
        note, new = await self._billing.credit(wanted.id, wanted.invoice, asked, wanted.reason, _who(request))
        places = self._billing.accounts.invoices[note.invoice].header.places
        return json({**note_json(note, places), "new": new}, 201 if new else 200)

    async def notes(self, request: Request) -> Response:
        """All credit notes of the tenant, or of all, in order."""
        tenant = self._tenant(request)
        accounts = await self._billing.refresh()
        found = []
        for note in accounts.notes.values():
            header = accounts.invoices[note.invoice].header
            if tenant in (None, header.tenant):
                shown = note_json(note, header.places)
                found.append({**shown, "tenant": header.tenant, "currency": header.currency})
        return json({"credit_notes": found})

    # inside

    def _tenant(self, request: Request) -> str | None:
        if self._own:
            query(request, ())
            key: Key = request.state.key
            return key.tenant
        params = query(request, ("tenant",))
        return check_tenant(params["tenant"]) if "tenant" in params else None

    def _sees(self, held: Held) -> bool:
        return not self._own or held.final is not None

    async def _held(self, request: Request) -> Held:
        return (await self._found(request, notes=False))[0]

    async def _found(self, request: Request, *, notes: bool = True) -> tuple[Held, CreditNote | None]:
        """An invoice by its id or number, or the one that a credit note of that number is of."""
        accounts = await self._billing.refresh()
        asked = request.path_params["id"]
        held, note = (notes and accounts.credited(asked)) or (accounts.find(asked), None)
        if self._own and (held.header.tenant != request.state.key.tenant or not self._sees(held)):
            raise LocalError(f"there is no invoice {asked[:100]!r}", code="not_found", field="invoice")
        return held, note

    async def _whole(self, held: Held, *, lines: bool) -> dict[str, Any]:
        found = tuple(await self._billing.lines(held)) if lines else ()
        return invoice_json(Document(held.header, found, held), lines=lines)


def control_routes(at: BillingPaths) -> list[BaseRoute]:
    """The operator's."""
    return [
        Route("/v1/plans", at.plans, methods=["GET"]),
        Route("/v1/plans", at.put_plan, methods=["POST"]),
        Route("/v1/plans/{name}", at.plan, methods=["GET"]),
        Route("/v1/issuer", at.issuer, methods=["GET"]),
        Route("/v1/issuer", at.set_issuer, methods=["PUT"]),
        Route("/v1/subscriptions", at.subscriptions, methods=["GET"]),
        Route("/v1/subscriptions/{tenant}", at.subscribe, methods=["PUT"]),
        Route("/v1/invoices", at.review, methods=["POST"]),
        Route("/v1/invoices/draft", at.draft, methods=["GET"]),
        Route("/v1/invoices/check", at.check, methods=["GET"]),
        Route("/v1/invoices/{id}/approval", at.approve, methods=["POST"]),
        Route("/v1/invoices/{id}/return", at.send_back, methods=["POST"]),
        Route("/v1/invoices/{id}/finalization", at.finalize, methods=["POST"]),
        Route("/v1/invoices/{id}/void", at.void, methods=["POST"]),
        Route("/v1/credit-notes", at.credit, methods=["POST"]),
        Route("/v1/books", at.books, methods=["GET"]),
        *tenant_routes(at),
    ]


def tenant_routes(at: BillingPaths) -> list[BaseRoute]:
    """What a tenant reads of its own, and the operator of all."""
    return [
        Route("/v1/invoices", at.invoices, methods=["GET"]),
        Route("/v1/invoices/{id}", at.invoice, methods=["GET"]),
        Route("/v1/invoices/{id}/lines/{n}/events", at.events, methods=["GET"]),
        Route("/v1/credit-notes", at.notes, methods=["GET"]),
    ]


async def _shown(document: Document, form: str) -> Response:
    return await asyncio.to_thread(_written, document, form)


def _written(document: Document, form: str) -> Response:
    match form:
        case "json":
            return json(invoice_json(document))
        case "csv":
            return Response(lines_csv(document), media_type="text/csv; charset=utf-8")
        case "html":
            return _html(page(document))
        case "focus":
            return Response(focus_csv(document), media_type="text/csv; charset=utf-8")
    raise LocalError(f"{form[:40]!r} is not json, csv, html or focus", field="format")


def _note_written(document: Document, note: CreditNote, form: str) -> Response:
    match form:
        case "json":
            return json(note_json(note, document.header.places))
        case "html":
            return _html(note_page(document, note))
        case "focus":
            return Response(focus_csv(document, of=note.number), media_type="text/csv; charset=utf-8")
    raise LocalError(f"a credit note is written as json, html or focus, not {form[:40]!r}", field="format")


def _html(text: str) -> Response:
    headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(text, media_type="text/html; charset=utf-8", headers=headers)


def _subscription(one: Subscription) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(one)
    defaults: Mapping[str, Any] = {"plan": "", "version": 0, "zone": "UTC", "every": "month", "reference": ""}
    return {**defaults, **found}


def _who(request: Request) -> str:
    key: Key = request.state.key
    return key.principal


def _whole(text: str, field: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise LocalError(f"{field} is a whole number, not {text[:20]!r}", field=field)
    return int(text)


def _nano(text: str) -> int:
    """An amount in nano-units. Raises: LocalError."""
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise LocalError(f"{text[:40]!r} is not an amount: write 12.50, with at most nine decimals", field="lines")
    return int(found[1]) * NANO + int((found[2] or "").ljust(9, "0"))
