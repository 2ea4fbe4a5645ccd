"""Past attempts as the view holds them, for who decides them once more. It reads; what they mean is the reader's."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from interlock.ledger.report import Window

BATCH = 2_000


class Past(NamedTuple):
    """One attempt that was settled, or (`state`) is open."""

    request_id: str
    attempt: int
    opened_at_ns: int
    settled_at_ns: int
    """0: open."""
    state: str
    tenant: str
    key_id: str
    deployment: str
    policy: str
    """Version."""
    outcome: str
    usage: bytes
    """JSON, by kind."""
    amount_nanousd: int | None
    opened: bytes
    """The payload of its `usage.opened`; the decision is in it."""


def past(db: sqlite3.Connection, window: Window) -> Iterator[Past]:
    """The window's attempts in the order in which they were opened. Raises: LocalError: a time out of range."""
    where, parameters = window.where()
    where = where.replace("at_ns", "e.at_ns").replace("tenant", "e.tenant")
    rows = db.execute(
        "SELECT e.request_id, e.attempt, e.at_ns, coalesce(s.at_ns, 0), e.state, e.tenant, e.key_id, e.deployment, "  # noqa: S608 - where has no values
        "e.policy, e.outcome, e.usage, e.amount_nanousd, o.payload FROM entries e "
        f"JOIN records o ON o.rowid = ({_FIRST.format('usage.opened')}) "
        f"LEFT JOIN records s ON s.rowid = ({_FIRST.format('usage.settled')}) "
        f"WHERE {where} ORDER BY e.at_ns, e.request_id, e.attempt",
        parameters,
    )
    while batch := rows.fetchmany(BATCH):
        yield from map(Past._make, batch)


CALLERS_MAX = 100_000


def callers(db: sqlite3.Connection, since_ns: int, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Each combination of these columns of `entries` that an attempt since then has; at most CALLERS_MAX."""
    listed = ", ".join(columns)
    rows = db.execute(
        f"SELECT DISTINCT {listed} FROM entries WHERE at_ns >= ? LIMIT {CALLERS_MAX}",  # noqa: S608 - our own names
        (since_ns,),
    )
    return rows.fetchall()


_FIRST = (
    "SELECT rowid FROM records WHERE request_id = e.request_id AND attempt = e.attempt AND type = '{}' "
    "ORDER BY stream, seq LIMIT 1"
)
"""The record of a type that stands (`standing.judge`)."""
