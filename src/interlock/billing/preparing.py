"""A draft's shell: which periods are asked about, what usage says of them, what stands already. It writes nothing."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import UNSET

from interlock.billing.counting import Counter, Cut, Found
from interlock.billing.drafting import Draft, book, difference, make_header
from interlock.billing.periods import bounds_ns, current, days_of, name_of, previous, segments
from interlock.billing.pricing import Priced, detail_of, named, price_period
from interlock.billing.state import Accounts, Held
from interlock.billing.value import Every, Line, PeriodSum, Segment
from interlock.clock import Clock
from interlock.errors import LocalError
from interlock.meters.windows import zone_of
from interlock.rating import Source, places_of
from interlock.units import NANO

CORRECTED = {"month": 24, "day": 62}
"""How many periods back late usage is looked for."""


SLACK_NS = 24 * 3600 * NANO
"""Clocks of those who write usage may differ by this much."""
_GONE = ("not_found", "not_retained")
"""Why what was billed cannot be counted again."""

Apart = Callable[..., Awaitable[Any]]
"""Runs a function where it holds nobody up: `asyncio.to_thread`."""


class Drafting:
    """What `Billing` asks for a draft."""

    def __init__(
        self, clock: Clock, counter: Counter, lines: Callable[[Held], Awaitable[list[Line]]], apart: Apart
    ) -> None:
        """`apart`: as `Billing`."""
        self._apart = apart
        self._clock = clock
        self._counter = counter
        self._lines = lines

    async def draft(self, accounts: Accounts, tenant: str, period: str, by: str) -> Draft:
        """What an invoice over the period would say now; nothing is written. No `period`: the one that runs.

        Raises: LocalError: no subscription or issuer, or a plan that cannot price the usage. TransientError.
        """
        subscriptions = accounts.subscriptions.get(tenant, [])
        if not subscriptions:
            how = f"`interlock subscriptions set {tenant} --plan NAME --since DAY`"
            raise LocalError(f"{tenant} has no subscription: say it with {how}", code="not_found", field="tenant")
        if accounts.issuer is None:
            how = "`interlock invoices issuer --name NAME`"
            raise LocalError(f"nobody is named who sells: say it with {how}", field="issuer")
        zone, every, now_ns = subscriptions[0].zone, subscriptions[0].every, self._clock.now_ns()
        period = period or _running(zone, every, now_ns)
        _, end = days_of(period, every)
        since_ns, until_ns = bounds_ns(period, every, zone)
        own = segments(subscriptions, period)
        if not own:
            raise LocalError(f"{tenant} has no subscription in {period}", field="period")
        if since_ns > now_ns:
            raise LocalError(f"{period} has not begun", field="period")
        earlier = [one for one in _back(period, every) if _billed(accounts, tenant, one)]
        parts = {period: own} | {one: segments(subscriptions, one) for one in earlier}
        cut = await self._counter.cut([source for of in parts.values() for source in _sources(accounts, of)])
        lines: list[Line] = []
        sums: list[PeriodSum] = []
        told: dict[str, Any] = {"unpriced": 0, "open": 0, "parameters": {}, "unseen": ()}
        for one, of in parts.items():
            if one == period:
                found, change = await self._priced(accounts, tenant, one, of, cut, now_ns, told, own=True)
            else:
                try:
                    if not await self._changed(accounts, tenant, one, of):
                        continue
                    found, change = await self._priced(accounts, tenant, one, of, cut, now_ns, told, own=False)
                except LocalError as error:
                    if error.code not in _GONE:
                        raise
                    told["unseen"] += (one,)
                    continue
            lines += found
            if one == period or found:
                sums.append(change)
        last = (end - timedelta(days=1)).isoformat()
        buyer = current([one for one in subscriptions if one.since < last], last) or subscriptions[-1]
        plan = accounts.plans[own[-1].plan, own[-1].version]
        touching = {held.header.id for one in sums for held in accounts.standing(tenant, one.period)}
        header = {
            "id": f"{tenant}:{period}:{1 + sum(held.header.period == period for held in accounts.of_tenant(tenant))}",
            "tenant": tenant,
            "period": period,
            "zone": zone,
            "every": every,
            "since_ns": since_ns,
            "until_ns": until_ns,
            "currency": plan.currency,
            "places": places_of(plan),
            "issuer": accounts.issuer,
            "buyer": buyer.buyer,
            "reference": buyer.reference,
            "segments": tuple(own),
            "basis": tuple(sorted(touching)),
            "interim": now_ns < until_ns,
            "due_days": plan.due_days if plan.due_days is not UNSET else None,
            "made_ns": now_ns,
            "by": by,
            **told,
        }
        draft: Draft = await self._apart(make_header, header, lines, sums)
        return draft

    async def _changed(self, accounts: Accounts, tenant: str, period: str, parts: Sequence[Segment]) -> bool:
        """Whether a period may come to something else than when an invoice that stands looked at it last."""
        looked_ns = _looked_ns(accounts, tenant, period)
        for part in parts:
            if looked_ns < part.until_ns:  # what is due once it has ended (commitments) is not charged yet
                return True
            for source in _sources(accounts, [part]):
                if await self._counter.changed(tenant, source, part.since_ns, part.until_ns, looked_ns - SLACK_NS):
                    return True
        return False

    async def _priced(
        self,
        accounts: Accounts,
        tenant: str,
        period: str,
        parts: Sequence[Segment],
        cut: Cut,
        now_ns: int,
        told: dict[str, Any],
        *,
        own: bool,
    ) -> tuple[list[Line], PeriodSum]:
        """A period's lines and sums that are to be charged now; `told` is added to."""
        zone = accounts.subscriptions[tenant][0].zone
        counts: dict[tuple[str, str], list[Found]] = {}
        for part in parts:
            for charge in accounts.plans[part.plan, part.version].charges:
                detail = detail_of(charge, zone, part)
                for name, source in charge.counts.items():
                    one = await self._counter.count(tenant, source, part.since_ns, part.until_ns, cut, detail)
                    counts.setdefault((part.key, charge.id), []).append(named(one, name))
                    if own:
                        told["unpriced"] = max(told["unpriced"], one.unpriced)
                        told["open"] = max(told["open"], one.open)
        plans = dict(accounts.plans)
        priced: Priced = await self._apart(price_period, period, zone, parts, plans, counts, now_ns)
        told["parameters"] |= priced.parameters
        before = [(await self._lines(held), held.header.periods) for held in accounts.standing(tenant, period)]
        found: tuple[list[Line], PeriodSum] = await self._apart(
            lambda: difference(priced, book(period, before), plans, own=own)
        )
        return found


def _billed(accounts: Accounts, tenant: str, period: str) -> bool:
    return any(held.standing and held.header.period == period for held in accounts.of_tenant(tenant))


def _looked_ns(accounts: Accounts, tenant: str, period: str) -> int:
    """When the last invoice was drafted that stands and looked at a period: its own, or one of a later period.

    Names of periods of one rhythm sort by time.
    """
    looked = (held.header for held in accounts.of_tenant(tenant) if held.standing and held.header.period >= period)
    return max((header.made_ns for header in looked if period not in header.unseen), default=0)


def _back(period: str, every: Every) -> list[str]:
    found: list[str] = []
    for one in previous(period, every):
        if len(found) >= CORRECTED[every]:
            break
        found.append(one)
    return found


def _running(zone: str, every: Every, now_ns: int) -> str:
    return name_of(datetime.fromtimestamp(now_ns // NANO, zone_of(zone)).date(), every)


def _sources(accounts: Accounts, parts: Sequence[Segment]) -> list[Source]:
    charges = [charge for part in parts for charge in accounts.plans[part.plan, part.version].charges]
    return [source for charge in charges for source in charge.counts.values()]
