"""Prepaid credit on both ports: grants and balances for operators, what a caller may still use for its own key.

What calls hold this moment is read from the page on which workers count; what grants have left, from the log.
"""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from interlock.answers import decoded, json, query
from interlock.control.quotas import counter_json, counters
from interlock.control.service import Control
from interlock.credits import Account, Book, Owner, Reckoned, Resetting, Standing, Wanted, WantedReset, limit_of
from interlock.credits.burning import NEVER_NS, State
from interlock.identity import Key
from interlock.instants import rfc3339
from interlock.limits import Caller, Page, survey
from interlock.units import usd

ROWS_MAX = 1_000


class CreditPaths:
    """The handlers of one process."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def control_routes(self) -> list[Route]:
        """Of the control port."""
        return [
            Route("/v1/credits", self.show, methods=["GET"]),
            Route("/v1/credits", self.grant, methods=["POST"]),
            Route("/v1/credits/{id:path}", self.void, methods=["DELETE"]),
            Route("/v1/credits/{tenant}/reset", self.reset, methods=["POST"]),
            Route("/v1/balances", self.balances, methods=["GET"]),
        ]

    def api_routes(self) -> list[Route]:
        """Of the api port."""
        return [Route("/v1/balance", self.balance, methods=["GET"])]

    async def grant(self, request: Request) -> Response:
        """201: from now on the credit can be used (once it is effective); 200: it stood so already.

        `tenant_created`: whether the tenant is there; it may come later.
        Raises: LocalError: a field is wrong; `conflict`.
        """
        query(request, ())
        standing, is_new = await self._control.credits.grant(await decoded(request, Wanted))
        created = standing.owner.tenant in (await self._control.identity.refresh()).tenants
        return json({**await self._one(standing), "tenant_created": created}, 201 if is_new else 200)

    async def show(self, request: Request) -> Response:
        """Every grant (of one tenant), the newest first; `more` were left out."""
        tenant = await self._tenant(query(request, ("tenant",)))
        found = await self._control.credits.reckoned(tenant=tenant)
        every = [(one, reckoned) for account, reckoned in found for one in account.grants.values()]
        every.sort(key=lambda pair: (pair[0].at_ns, pair[0].grant.created), reverse=True)
        now_ns = self._control.clock.now_ns()
        rows = await asyncio.to_thread(lambda: [grant_json(*pair, now_ns) for pair in every[:ROWS_MAX]])
        return json({"credits": rows, "more": max(len(every) - ROWS_MAX, 0)})

    async def void(self, request: Request) -> Response:
        """The grant: no call is admitted against it any more. Raises: LocalError `not_found`."""
        reason = query(request, ("reason",)).get("reason", "")
        standing, _ = await self._control.credits.void(request.path_params["id"], reason)
        return json(await self._one(standing))

    async def reset(self, request: Request) -> Response:
        """201: the tenant's (or principal's) usage period has ended; 200: it had already by this id.

        Raises: LocalError: a field is wrong; `conflict`; `not_found`. TransientError `busy`.
        """
        query(request, ())
        wanted = await decoded(request, WantedReset)
        reset, state, is_new = await self._control.credits.reset(request.path_params["tenant"], wanted)
        return json(reset_json(reset, state, self._control.credits.book), 201 if is_new else 200)

    async def balances(self, request: Request) -> Response:
        """Every account (of one tenant): what it was granted, used, holds, lost and has left."""
        tenant = await self._tenant(query(request, ("tenant",)))
        found = await self._control.credits.reckoned(tenant=tenant)
        shown = await asyncio.to_thread(lambda: [self._account(*one) for one in found[:ROWS_MAX]])
        return json({"balances": shown, "more": max(len(found) - ROWS_MAX, 0)})

    async def balance(self, request: Request) -> Response:
        """What the asking key may still use: its accounts, and every limit that counts its calls."""
        query(request, ())
        key: Key = request.state.key
        await self._control.fold()
        await self._control.entitlements.refresh()
        book = await self._control.credits.refresh()
        owners = dict.fromkeys((Owner(key.tenant), Owner(key.tenant, key.principal)))
        accounts = [book.accounts[owner] for owner in owners if owner in book.accounts]
        begun = [account for account in accounts if account.begin_ns is not None]
        own = Caller(key=key.id, principal=key.principal, tenant=key.tenant)

        def found() -> dict[str, Any]:
            limits = counters(self._control, key.tenant, own)
            return {
                "tenant": key.tenant,
                "principal": key.principal,
                "credit": [{"account": one.owner.name, **self._counted(one)} for one in begun],
                "limits": [counter_json(one) for one in limits[:ROWS_MAX]],
            }

        return json(await asyncio.to_thread(found))

    async def _tenant(self, params: dict[str, str]) -> str:
        return await self._control.known(params["tenant"]) if "tenant" in params else ""

    async def _one(self, standing: Standing) -> dict[str, Any]:
        ((_, reckoned),) = await self._control.credits.reckoned(standing.owner)
        return grant_json(standing, reckoned, self._control.clock.now_ns())

    def _account(self, account: Account, reckoned: Reckoned | None) -> dict[str, Any]:
        state = reckoned.state if reckoned is not None else None
        invoices = [lot.balance for one in account.of("invoices") for lot in one.lots]
        return {
            "tenant": account.owner.tenant,
            "principal": account.owner.principal,
            "since": None if account.begin_ns is None else rfc3339(account.begin_ns),
            "granted": usd(state.granted) if state else "0.00",
            "used": usd(reckoned.cost) if reckoned else "0.00",
            "forfeited": usd(state.forfeited) if state else "0.00",
            "forgiven": usd(state.forgiven) if state else "0.00",
            "overage": usd(max(state.overage, 0)) if state else "0.00",
            "balance": usd(state.balance) if state else "0.00",
            "for_invoices": usd(sum(invoices)),
            **(self._counted(account) if account.begin_ns is not None else {"held": None, "left": None}),
        }

    def _counted(self, account: Account) -> dict[str, str | None]:
        """As workers count: what running calls hold, and what the next may cost at most; None: no gateway runs."""
        tenant, principal = account.owner
        now_ns = self._control.clock.now_ns()
        limit = limit_of(account, now_ns)
        try:
            page = Page(self._control.places.limits)
        except OSError:
            return {"held": None, "left": None}
        try:
            (one,) = survey(page, [limit], [Caller(tenant=tenant, principal=principal)], now_ns)
            return {"held": usd(one.held), "left": usd(one.left)}
        finally:
            page.close()


def grant_json(one: Standing, reckoned: Reckoned | None, now_ns: int) -> dict[str, Any]:
    """A grant as people see it: amounts in USD, moments in RFC 3339."""
    granted, grant = one.granted, one.grant
    if granted.applies == "invoices":
        balance = sum(lot.balance for lot in one.lots if lot.from_ns <= now_ns)
    else:
        balance = reckoned.state.balances.get(granted.id, 0) if reckoned is not None else 0
        balance = grant.amount if reckoned is None and grant.active(now_ns) else balance
    ends = reckoned.state.ends if reckoned is not None else ()
    mine = [end for end in ends if end.grant == granted.id]
    forfeited = sum(end.forfeited for end in mine)
    state = "pending" if now_ns < grant.effective_at_ns else "active"
    state = "expired" if now_ns >= grant.expires_at_ns else state
    return {
        "id": granted.id,
        "tenant": granted.tenant,
        "principal": granted.principal,
        "amount": usd(granted.amount_nanousd),
        "balance": usd(balance),
        "forfeited": usd(one.total_forfeited if granted.applies == "invoices" else forfeited),
        "forfeited_by_resets": usd(sum(end.forfeited for end in mine if end.reset)),
        "state": "voided" if one.voided else state,
        "applies": granted.applies,
        "priority": granted.priority,
        "effective": rfc3339(grant.effective_at_ns),
        "expires": None if grant.expires_at_ns >= NEVER_NS else rfc3339(grant.expires_at_ns),
        "every": granted.every or None,
        "period": one.lots[-1].period if one.lots else max(one.forfeited, default=0),
        "rollover_min": usd(granted.rollover_min_nanousd),
        "rollover_max": usd(granted.rollover_max_nanousd),
        "note": granted.note,
        "reason": one.voided.reason if one.voided else "",
        "at": rfc3339(one.at_ns),
    }


def reset_json(reset: Resetting, state: State, book: Book) -> dict[str, Any]:
    """A reset as people see it, with what it took by what is settled; `final`: no call that runs can change that."""
    asked = reset.asked
    ends = [end for end in state.ends if end.reset == asked.id]
    final = reset.forgiven is not None and all(end.period in book.grants[end.grant].forfeited for end in ends)
    return {
        "id": asked.id,
        "tenant": asked.tenant,
        "principal": asked.principal,
        "at": rfc3339(asked.at_ns),
        "cut": rfc3339(asked.cut_ns),
        "keep_overage": asked.keep_overage,
        "anchor": asked.anchor,
        "forfeited": usd(sum(end.forfeited for end in ends)),
        "forgiven": usd(sum(drop.forgiven for drop in state.drops if drop.reset == asked.id)),
        "final": final,
        "balance": usd(state.balance),
        "reason": asked.reason,
    }
