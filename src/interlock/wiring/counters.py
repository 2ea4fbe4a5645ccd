"""The page on which all workers of a machine count against limits: made at the start, and cleared up after a death.

At a start the page is made anew and each counter set from the ledger (of a prepaid account from what its calls came to
since it began), so that it holds what the log says, whatever
happened to the page. After a worker's death its calls are ended as the log says: settled with the figures there (what
was left open has been settled as lost before), or given back if the log has never heard of them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import cache

import msgspec

from interlock.clock import Clock
from interlock.credits import STREAM as CREDITS_STREAM
from interlock.credits import Account, Book, limits_of
from interlock.datadir import DataDir
from interlock.entitlements import STREAM as ENTITLEMENTS_STREAM
from interlock.entitlements import Book as Entitlements
from interlock.entitlements import plans_of
from interlock.gateway import Policy
from interlock.gateway.limiting import actual_of, named
from interlock.ledger import Ledger, Opened, Past, Price, Settled
from interlock.ledger.reading import decode
from interlock.limits import Actual, Entitled, Limit, Page, Spent, restore, since_ns, worker_died
from interlock.log.reader import JournalReader
from interlock.log.sqlite import SqliteLog


async def make_page(places: DataDir, limits: tuple[Limit, ...], slots: int, *, leased: bool, clock: Clock) -> Page:
    """The page, as the log has it. Raises: OSError: no room. InterlockError: the log cannot be read."""
    Page.create(places.limits, slots=slots, leased=leased)
    page = Page(places.limits)
    now_ns = clock.now_ns()
    with closing(SqliteLog(places.log)) as log:
        accounts = _accounts(log, now_ns)
        plans = _plans(log, now_ns)
        every = [*limits, *(limit for plan in plans.values() for limit in plan.limits)]
        if not every and not accounts:
            return page
        with closing(Ledger(places.ledger)) as ledger:
            await ledger.catch_up(JournalReader(places.journal), log)
            if every:
                with ledger.past(since_ns=since_ns(every, now_ns)) as rows:
                    restore(page, limits, _spent(rows), now_ns, plans)
            for account, limit in accounts:
                restore(page, [limit], [_burned(account, ledger, now_ns)], now_ns)
    return page


def clear_up(page: Page, places: DataDir, slot: int) -> int:
    """End the calls that a dead worker held; how many. What it left open has been settled in its stream. Blocking."""
    return worker_died(page, slot, _outcomes(places, f"usage/{slot}"))


def _accounts(log: SqliteLog, now_ns: int) -> list[tuple[Account, Limit]]:
    """The prepaid accounts."""
    book = Book()
    for stored in log.read_after(CREDITS_STREAM, 0):
        book.apply(stored)
    return limits_of(book, now_ns)


def _plans(log: SqliteLog, now_ns: int) -> dict[str, Entitled]:
    """What plans let tenants use."""
    book = Entitlements()
    for stored in log.read_after(ENTITLEMENTS_STREAM, 0):
        book.apply(stored)
    return plans_of(book, now_ns)


def _burned(account: Account, ledger: Ledger, now_ns: int) -> Spent:
    """What an account's calls came to since it began, as they were counted while they ran."""
    tenant, principal = account.owner
    _, metered = ledger.burned(tenant, principal, account.begin_ns or 0, now_ns)
    return Spent(at_ns=now_ns, tenant=tenant, principal=principal, nanousd=metered)


class _Model(msgspec.Struct):
    principal: str = ""
    session: str = ""
    model: str = ""
    answer_of: str = ""


def _spent(rows: Iterable[Past]) -> Iterator[Spent]:
    for row in rows:
        names = msgspec.json.decode(row.opened, type=_Model)
        if names.answer_of:
            continue  # given again: nothing was sent
        usage = msgspec.json.decode(row.usage, type=dict[str, int])
        yield Spent(
            at_ns=row.opened_at_ns,
            key=row.key_id,
            principal=names.principal,
            tenant=row.tenant,
            session=named(names.session),
            deployment=row.deployment,
            model=names.model,
            requests=int(row.attempt == 1),
            attempts=1,
            input_tokens=max(usage.get("input", 0), 0),
            output_tokens=max(usage.get("output", 0), 0),
            nanousd=row.amount_nanousd or 0,
        )


def _outcomes(places: DataDir, stream: str) -> Callable[[str], Actual | None]:
    """What a stream says of a call: read once, from the oldest record that recovery needs."""

    @cache
    def settled() -> dict[str, Actual]:
        reader = JournalReader(places.journal)
        opened: dict[str, Opened] = {}
        found: dict[str, Actual] = {}
        with closing(SqliteLog(places.log)) as log:
            prices = _prices(log)
        for stored in reader.scan(stream, after=reader.low_water(stream) - 1):
            match decode(stored.record):
                case Opened() as event:
                    opened[f"{event.request_id}/{event.attempt}"] = event
                case Settled() as event:
                    id = f"{event.request_id}/{event.attempt}"
                    if id in opened:
                        found[id] = actual_of(event, prices(opened[id].policy, opened[id].deployment))
        return found

    return lambda id: settled().get(id)


def _prices(log: SqliteLog) -> Callable[[str, str], Price | None]:
    policies: dict[str, Policy] = {}
    for stored in log.read_after("config", 0):
        if stored.record.type == "policy.adopted":
            policy = msgspec.json.decode(stored.record.payload, type=Policy)
            policies.setdefault(policy.version, policy)

    def of(version: str, deployment: str) -> Price | None:
        policy = policies.get(version)
        place = policy.deployments.get(deployment) if policy is not None else None
        return place.price if place is not None else None

    return of
