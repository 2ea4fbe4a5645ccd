"""Past attempts as the view holds them, for who decides them once more. It reads; what they mean is the reader's."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from interlock.ledger.anomaly import HOUR_NS, Spend
from interlock.ledger.report import Window
from interlock.units import NANO

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


def callers(db: sqlite3.Connection, since_ns: int, columns: Sequence[str], tenant: str = "") -> list[tuple[str, ...]]:
    """Each combination of these columns of `entries` that an attempt since then has, a tenant's or any; at most
    CALLERS_MAX."""
    listed, whose = ", ".join(columns), "tenant = ? AND " if tenant else ""
    rows = db.execute(
        f"SELECT DISTINCT {listed} FROM entries WHERE {whose}at_ns >= ? LIMIT {CALLERS_MAX}",  # noqa: S608 - our own names
        (tenant, since_ns) if tenant else (since_ns,),
    )
    return rows.fetchall()


class Spent(NamedTuple):
    """What callers that share `values` used; what an answer given again would have cost is not in it."""

    values: tuple[str, ...]
    requests: int
    attempts: int
    input: int
    output: int
    amount_nanousd: int


def spent(db: sqlite3.Connection, since_ns: int, until_ns: int, columns: Sequence[str]) -> list[Spent]:
    """What was used by attempts opened in [since_ns, until_ns) and settled, by these columns of `entries`; at most
    CALLERS_MAX rows."""
    listed = ", ".join(columns)
    rows = db.execute(
        f"SELECT {listed}, count(DISTINCT request_id), count(*), sum(input), sum(output), "  # noqa: S608 - our own names
        f"coalesce(sum(amount_nanousd / {NANO}), 0), coalesce(sum(amount_nanousd % {NANO}), 0) FROM entries "
        f"WHERE at_ns >= ? AND at_ns < ? AND state = 'settled' AND source != 'cached' GROUP BY {listed} "
        f"LIMIT {CALLERS_MAX}",
        (since_ns, until_ns),
    )
    return [
        Spent(tuple(values), requests, attempts, input_, output, whole * NANO + nanos)
        for *values, requests, attempts, input_, output, whole, nanos in rows
    ]


SPENDS_MAX = 200_000
"""Rows of one answer of `spends` (some 80 MB): what clients name is bounded. The dearest come first."""


def spends(db: sqlite3.Connection, since_ns: int, until_ns: int) -> list[Spend]:
    """What was settled in [since_ns, until_ns) and cost something, by hour and all that anomalies look at."""
    rows = db.execute(
        f"SELECT settled_at_ns / {HOUR_NS}, tenant, team, mode, session, task, principal, "  # noqa: S608 - constants
        f"sum(amount_nanousd / {NANO}), sum(amount_nanousd % {NANO}) FROM entries "
        "WHERE settled_at_ns >= ? AND settled_at_ns < ? AND settled_at_ns > 0 AND amount_nanousd > 0 "
        f"GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 8 DESC, 9 DESC LIMIT {SPENDS_MAX}",
        (since_ns, until_ns),
    )
    return [Spend._make((*row[:-2], row[-2] * NANO + row[-1])) for row in rows]


def first_ns(db: sqlite3.Connection) -> int | None:
    """When the earliest attempt was opened; None: there is none."""
    found: int | None = db.execute("SELECT min(at_ns) FROM entries").fetchone()[0]
    return found


_FIRST = (
    "SELECT rowid FROM records WHERE request_id = e.request_id AND attempt = e.attempt AND type = '{}' "
    "ORDER BY stream, seq LIMIT 1"
)
"""The record of a type that stands (`standing.judge`)."""
