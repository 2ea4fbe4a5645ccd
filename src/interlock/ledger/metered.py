"""What was metered, as a provider's bill is held against it: attempts with their priced lines, earlier adjustments.

It reads and adds nothing up. Answers given again are left out: no provider counted anything for them.
"""

import sqlite3
from collections.abc import Collection, Iterator
from typing import NamedTuple

import msgspec

from interlock.ledger import book
from interlock.ledger.event import Adjusted
from interlock.ledger.pricing import Price
from interlock.ledger.reading import ADJUSTED
from interlock.ledger.report import Window
from interlock.ledger.standing import PriceBooks
from interlock.units import TOKENS_PER_PRICE

BATCH = 2_000


class Metered(NamedTuple):
    """One entry."""

    request_id: str
    attempt: int
    at_ns: int
    """When it was opened; of an adjustment: the start of its period."""
    settled_at_ns: int
    """0: it is open, or an adjustment."""
    state: str
    tenant: str
    deployment: str
    provider: str
    model: str
    """As it was asked for; of an adjustment: as the bill names it."""
    upstream_model: str
    """As the answer names it; empty: it did not."""
    outcome: str
    source: str
    usage: dict[str, int]
    amount_nanousd: int | None
    price: Price | None
    """That `amount_nanousd` was reckoned with."""
    adjusted: Adjusted | None
    """Of an adjustment that is an entry of its own."""
    statement: str = ""
    """That a bill's figures were booked with, if any were."""
    team: str = ""
    principal: str = ""
    session: str = ""


def metered(db: sqlite3.Connection, providers: Collection[str], window: Window) -> Iterator[Metered]:
    """The window's entries of these providers, by time. Raises: LocalError: a time out of range."""
    where, parameters = window.where()
    named = ", ".join("?" * len(providers))
    prices = PriceBooks(db)
    rows = db.execute(
        "SELECT e.request_id, e.attempt, e.at_ns, coalesce(e.settled_at_ns, 0), e.state, e.tenant, e.deployment, "  # noqa: S608 - where has no values
        "e.provider, e.model, e.upstream_model, e.outcome, e.source, e.team, e.principal, e.session, e.usage, "
        "e.amount_nanousd, e.policy, "
        "iif(e.booked_at_ns IS NOT NULL, "
        f"(SELECT payload FROM records WHERE request_id = e.request_id AND attempt = e.attempt AND type = '{ADJUSTED}' "
        "ORDER BY seq DESC LIMIT 1), NULL) "
        f"FROM entries e WHERE {where} AND e.provider IN ({named}) AND e.source != 'cached' "
        "ORDER BY e.at_ns, e.request_id, e.attempt",
        [*parameters, *providers],
    )
    while batch := rows.fetchmany(BATCH):
        for *plain, team, principal, session, usage, amount, policy, adjustment in batch:
            change = msgspec.json.decode(adjustment, type=Adjusted) if adjustment else None
            statement, change = (change.statement, change if change.tenant else None) if change else ("", None)
            price = None if change else prices.price(policy, plain[6])[0]
            used = msgspec.json.decode(usage, type=dict[str, int])
            yield Metered._make((*plain, used, amount, price, change, statement, team, principal, session))


def shares(usage: dict[str, int], price: Price | None, amount_nanousd: int | None) -> list[tuple[str, int, int, int]]:
    """An entry by kind: (kind, exclusive quantity, numerator, nano-USD). The nano-USD sum to the entry's amount.

    Each numerator counts 1e-15 USD, exactly; what the entry's one division rounds goes by largest remainder. All are 0
    where the entry has no amount.
    """
    lines = book.price(usage, price).lines
    if amount_nanousd is None:
        return [(line.kind, line.quantity, 0, 0) for line in lines]
    numerators = [line.numerator or 0 for line in lines]
    whole = [numerator // TOKENS_PER_PRICE for numerator in numerators]
    over = amount_nanousd - sum(whole)
    most = sorted(range(len(lines)), key=lambda i: (-(numerators[i] % TOKENS_PER_PRICE), i))
    for i in most[:over]:
        whole[i] += 1
    return [
        (line.kind, line.quantity, numerator, nanousd)
        for line, numerator, nanousd in zip(lines, numerators, whole, strict=True)
    ]
