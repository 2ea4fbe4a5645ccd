"""A worker's plans: at every admission as new as the last change that anybody was told of (docs/adr/0039)."""

from interlock.entitlements.book import Book
from interlock.entitlements.records import STREAM, Standing
from interlock.identity import ENTITLEMENTS, Following, Generation, Tail
from interlock.limits import PLAN_PREFIX, Entitled, Limit
from interlock.rating import EntitledLimit
from interlock.units import NANO


def entitled_of(tenant: str, one: Standing | None) -> Entitled:
    """As limits see it. The name of a limit does not say of which plan it is: what was used of it in a window stays
    used when the tenant gets another plan."""
    if one is None or one.entitlements is None:
        return Entitled(tenant=tenant)
    wanted = one.entitlements
    return Entitled(
        tenant=tenant,
        plan=one.title,
        models=wanted.models,
        limits=tuple(_limit(tenant, limit) for limit in wanted.limits),
    )


def plans_of(book: Book, now_ns: int) -> dict[str, Entitled]:
    """By tenant, of those that are restricted now."""
    every = (entitled_of(tenant, book.current(tenant, now_ns)) for tenant in list(book.tenants))
    return {one.tenant: one for one in every if one.restricts}


def _limit(tenant: str, limit: EntitledLimit) -> Limit:
    money = limit.measure == "usd"
    return Limit(
        name=PLAN_PREFIX + limit.name,
        measure="nanousd" if limit.measure == "usd" else limit.measure,
        amount=int(limit.amount * NANO) if money else int(limit.amount),
        window=limit.window,
        per=("tenant", *sorted(limit.per)),  # counters are named by it, and no order means anything
        tenants=(tenant,),
        warn_at=limit.warn_at,
    )


class SharedPlans(Following[str, Entitled]):
    """For one worker; the port `limits.Plans`."""

    def __init__(self, log: Tail, generation: Generation) -> None:
        """Nothing is read before the first admission."""
        self.book = Book()
        super().__init__(log, generation, ENTITLEMENTS, STREAM, self.book)

    def look(self, tenant: str, now_ns: int) -> tuple[Entitled, int]:
        """See `Following`."""
        return entitled_of(tenant, self.book.current(tenant, now_ns)), self.book.next_change_ns(tenant, now_ns)
