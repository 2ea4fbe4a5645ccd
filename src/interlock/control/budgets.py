"""GET /v1/budgets on both ports: how long limits and prepaid balances last, at the rate so far and of lately."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import json, query
from interlock.control.quotas import all_of, counters, limits_of, names_of, plans_now
from interlock.control.service import Control
from interlock.credits import PREFIX, Account, Owner, Reckoned
from interlock.identity import Key
from interlock.instants import rfc3339
from interlock.ledger import Spent
from interlock.limits import (
    Caller,
    Counter,
    Course,
    Entitled,
    Forecast,
    Limit,
    Matcher,
    Recent,
    begin_ns,
    end_ns,
    forecast,
)
from interlock.units import usd

ROWS_MAX = 1_000
_MINUTE_NS = 60_000_000_000
RECENT_NS = {
    "minute": _MINUTE_NS,
    "hour": 10 * _MINUTE_NS,
    "day": 60 * _MINUTE_NS,
    "month": 24 * 60 * _MINUTE_NS,
}
"""What "lately" is, by window."""
KNOWN_PARTS = 10
"""If usage is known for less than a tenth of that, it is no rate."""
SOON_NS = 30 * 24 * 60 * _MINUTE_NS
"""A balance has no end to compare with: `short` is what is used up sooner than that."""


class BudgetPaths:
    """The handler."""

    def __init__(self, control: Control, *, own: bool) -> None:
        """`own`: only what is the asking key's tenant's alone is shown."""
        self._control = control
        self._own = own

    async def show(self, request: Request) -> Response:
        """`{"budgets": […], "more"}`, what is used up first comes first; `tenant` (control port): of that one only.

        Raises: LocalError `not_ready`: no gateway runs, so nobody counts.
        """
        params = query(request, () if self._own else ("tenant",))
        key: Key = request.state.key
        tenant = key.tenant if self._own else await self._control.known(params["tenant"]) if "tenant" in params else ""
        await self._control.fold()
        await self._control.entitlements.refresh()
        accounts = await self._control.credits.reckoned(tenant=tenant)
        found = await asyncio.to_thread(self._found, tenant, accounts)
        return json({"budgets": found[:ROWS_MAX], "more": max(len(found) - ROWS_MAX, 0)})

    def _found(self, tenant: str, accounts: Sequence[tuple[Account, Reckoned | None]]) -> list[dict[str, Any]]:
        now_ns = self._control.clock.now_ns()
        standing = [one for one in counters(self._control, tenant) if one.limit.window is not None]
        if self._own:
            standing = [one for one in standing if of_one(one, tenant)]
        lately = self._lately(tenant, {one.limit.window or "": None for one in standing}, now_ns)
        first_ns = self._control.ledger.first_ns()
        rows = []
        for one in standing:
            found = foreseen(one, lately.get((one.limit.name, one.scope)), first_ns, now_ns)
            rows.append((_urgency(found, now_ns), shown(one, found, now_ns)))
        begun = [(account, reckoned) for account, reckoned in accounts if reckoned is not None]
        calls = self._calls(now_ns) if begun else {}
        for account, reckoned in begun:
            sums = self._burned(account.owner, now_ns), calls.get(account.owner, 0)
            found = balance_foreseen(account.begin_ns or 0, reckoned, sums, first_ns, now_ns)
            rows.append((_urgency(found, now_ns), balance_shown(account, reckoned, found)))
        return [row for _, row in sorted(rows, key=lambda pair: pair[0])]

    def _lately(self, tenant: str, windows: Sequence[str] | dict[str, None], now_ns: int) -> dict[Any, list[int]]:
        """By limit and scope: what was used lately of its measure, and in how many calls. A request that was sent to
        two deployments is two here: this is a rate."""
        found: dict[Any, list[int]] = {}
        plans = plans_now(self._control, tenant)
        for window in windows:
            limits = [one for one in limits_of(self._control) if one.window == window]
            own = _in_window(plans, window)
            names, matcher = names_of(all_of(limits, own)), Matcher(limits, plans=own)
            since_ns = max(now_ns - RECENT_NS[window], 0)
            for row in self._control.ledger.spent(since_ns, now_ns, list(names.values())):
                for target in matcher.targets(Caller(**dict(zip(names, row.values, strict=True)))):
                    sums = found.setdefault((target.limit.name, target.scope), [0, 0])
                    sums[0] += measured(row, target.limit, sends=target.sends)
                    sums[1] += row.requests
        return found

    def _burned(self, owner: Owner, now_ns: int) -> int:
        """What calls cost lately, answers given again included."""
        since_ns = max(now_ns - RECENT_NS["month"], 0)
        return self._control.ledger.burned(owner.tenant, owner.principal, since_ns, now_ns)[0]

    def _calls(self, now_ns: int) -> dict[Owner, int]:
        """How many there were lately, by tenant and by principal."""
        found: dict[Owner, int] = {}
        for row in self._control.ledger.spent(max(now_ns - RECENT_NS["month"], 0), now_ns, ["tenant", "principal"]):
            tenant, principal = row.values
            for owner in {Owner(tenant, ""), Owner(tenant, principal)}:
                found[owner] = found.get(owner, 0) + row.requests
        return found


def _in_window(plans: Mapping[str, Entitled], window: str) -> dict[str, Entitled]:
    """Plans with their limits of one window alone."""
    return {
        tenant: msgspec.structs.replace(plan, limits=tuple(one for one in plan.limits if one.window == window))
        for tenant, plan in plans.items()
    }


def of_one(counter: Counter, tenant: str) -> bool:
    """Whether nobody else counts against it."""
    return dict(counter.scope).get("tenant") == tenant or counter.limit.tenants == (tenant,)


def measured(row: Spent, limit: Limit, *, sends: bool) -> int:
    """What of a row a limit counts. `sends`: attempts, not requests."""
    match limit.measure:
        case "requests":
            return row.attempts if sends else row.requests
        case "input_tokens":
            return row.input
        case "output_tokens":
            return row.output
        case "tokens":
            return row.input + row.output
        case "nanousd":
            return row.amount_nanousd
        case "concurrency":
            return 0


def foreseen(one: Counter, sums: Sequence[int] | None, first_ns: int | None, now_ns: int) -> Forecast:
    """What becomes of one.

    Args:
        sums: used lately, and in how many calls; None: nothing was.
        first_ns: since when usage is known: no rate is reckoned over a time before; None: it is not yet.
    """
    window = one.limit.window
    ends_ns, known_ns = end_ns(window, now_ns), _known_ns(first_ns, now_ns)
    return forecast(
        used=one.used + one.others,
        amount=one.limit.amount,
        since_ns=min(max(begin_ns(window, now_ns), known_ns), ends_ns - 1),
        ends_ns=ends_ns,
        now_ns=now_ns,
        recent=_recent(RECENT_NS[window or ""], sums or (0, 0), known_ns, now_ns),
    )


def balance_foreseen(
    begin_ns: int, reckoned: Reckoned, sums: Sequence[int], first_ns: int | None, now_ns: int
) -> Forecast:
    """What becomes of a prepaid balance; that grants end or come again is not reckoned with.

    Args:
        begin_ns: since when calls burn it.
        sums, first_ns: as of `foreseen`.
    """
    known_ns = _known_ns(first_ns, now_ns)
    found = forecast(
        used=reckoned.cost,
        amount=max(reckoned.cost + reckoned.state.balance, 0),
        since_ns=max(begin_ns, known_ns),
        ends_ns=None,
        now_ns=now_ns,
        recent=_recent(RECENT_NS["month"], sums, known_ns, now_ns),
    )
    if found.state not in ("short", "uncertain"):
        return found
    ends = [one.exhausted_at_ns for one in (found.average, found.recent) if one is not None]
    soon = [at_ns is not None and at_ns - now_ns < SOON_NS for at_ns in ends]
    return msgspec.structs.replace(found, state="short" if all(soon) else "uncertain" if any(soon) else "enough")


def _known_ns(first_ns: int | None, now_ns: int) -> int:
    return now_ns if first_ns is None else min(first_ns, now_ns)


def _recent(whole_ns: int, sums: Sequence[int], known_ns: int, now_ns: int) -> Recent | None:
    used, calls = sums
    length_ns = min(whole_ns, now_ns - known_ns)
    return Recent(length_ns=length_ns, used=used, calls=calls) if length_ns >= whole_ns // KNOWN_PARTS else None


def shown(one: Counter, found: Forecast, now_ns: int) -> dict[str, Any]:
    """As API JSON: money in dollars, everything else as it is counted, all as strings."""
    limit, money = one.limit, one.limit.measure == "nanousd"
    return {
        "name": limit.name,
        "measure": "usd" if money else limit.measure,
        "window": limit.window,
        "scope": dict(one.scope),
        "used": _figure(one.used + one.others, money),
        "amount": _figure(limit.amount, money),
        "since": _moment(begin_ns(limit.window, now_ns)),
        "ends": _moment(end_ns(limit.window, now_ns)),
        **_expected(found, money),
    }


def balance_shown(account: Account, reckoned: Reckoned, found: Forecast) -> dict[str, Any]:
    """A prepaid balance in the same shape, without window and end; `amount` is what was granted and not forfeited."""
    tenant, principal = account.owner
    return {
        "name": PREFIX + account.owner.name,
        "measure": "usd",
        "window": None,
        "scope": {"tenant": tenant} | ({"principal": principal} if principal else {}),
        "used": usd(reckoned.cost),
        "amount": usd(reckoned.cost + found.left),
        "since": _moment(account.begin_ns),
        "ends": None,
        **_expected(found, money=True),
    }


def _expected(found: Forecast, money: bool) -> dict[str, Any]:
    def course(of: Course | None) -> dict[str, Any] | None:
        if of is None:
            return None
        return {
            "per_hour": _figure(of.per_hour, money),
            "at_end": _figure(of.at_end, money),
            "exhausted_at": _moment(of.exhausted_at_ns),
        }

    return {
        "left": _figure(found.left, money),
        "state": found.state,
        "exhausted_at": _moment(found.exhausted_at_ns),
        "average": course(found.average),
        "recent": course(found.recent),
        "says": found.says,
    }


def _figure(value: int | None, money: bool) -> str | None:
    return None if value is None else usd(value) if money else str(value)


def _moment(at_ns: int | None) -> str | None:
    return None if at_ns is None else rfc3339(at_ns)


def _urgency(found: Forecast, now_ns: int) -> tuple[int, int]:
    """What is used up, or will be first, comes first."""
    order = ("exhausted", "short", "uncertain", "unknown", "enough", "unused", "ended")
    moments = [one.exhausted_at_ns for one in (found.recent, found.average) if one and one.exhausted_at_ns]
    return order.index(found.state), min(moments, default=0)
