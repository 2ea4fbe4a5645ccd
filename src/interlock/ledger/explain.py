"""Everything recorded about one request: the records as stored, what stands, and how the amount was reckoned.

It shows where each record stands (stream and sequence number), so that it can be checked in the log itself. Asked for a
tenant it shows nothing of another's, not even that it exists.
"""

import sqlite3
from itertools import groupby
from typing import Any

import msgspec

from interlock.ledger import book
from interlock.ledger.event import Adjusted, Opened, Settled
from interlock.ledger.standing import PriceBooks, Row, Standing, adjusted, judge, standing

REFUSED = 0
"""Attempt number of a refused call's record in the view: it was not attempted."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A record where it stands in the log."""

    stream: str
    seq: int
    id: str
    type: str
    at_ns: int
    schema: int
    standing: Standing
    """Whether the entry is made from it, or it repeats or contradicts the one it is made from."""
    payload: Any
    """As stored, decoded; its text, if a part that the ledger does not read cannot be decoded."""


class ExplainedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt: its entry, with the priced lines, and every record about it."""

    attempt: int
    opened_at_ns: int | None
    settled_at_ns: int | None
    entry: book.Entry | None
    """None: it was settled, but its opening has not been seen."""
    records: tuple[Evidence, ...]
    metered: book.Amount | None = None
    """Where a provider's bill changed the figures: what was metered."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    request_id: str
    attempts: tuple[ExplainedAttempt, ...]
    refused: tuple[Evidence, ...]
    amount_nanousd: int | None
    """Of all attempts; None if one of them has no amount (it is open or unpriced), or there is none."""


def explain(db: sqlite3.Connection, request_id: str, tenant: str | None) -> Explanation | None:
    """Everything about a request; with `tenant`, only that tenant's part. None: nothing, or nothing of theirs."""
    rows = db.execute(
        "SELECT attempt, stream, seq, id, type, at_ns, schema, payload FROM records WHERE request_id = ? "
        "ORDER BY attempt, stream, seq",
        (request_id,),
    )
    prices = PriceBooks(db)
    attempts: list[ExplainedAttempt] = []
    refused: tuple[Evidence, ...] = ()
    for number, group in groupby(rows, key=lambda row: int(row[0])):
        found = [Row(*row[1:]) for row in group]
        if number == REFUSED:
            refused = _evidence(found, tenant)
        elif attempt := _attempt(number, found, prices, tenant):
            attempts.append(attempt)
    if not attempts and not refused:
        return None
    amounts = [attempt.entry.amount.amount_nanousd if attempt.entry else None for attempt in attempts]
    whole = [amount for amount in amounts if amount is not None]
    return Explanation(
        request_id=request_id,
        attempts=tuple(attempts),
        refused=refused,
        amount_nanousd=sum(whole) if attempts and len(whole) == len(amounts) else None,
    )


def _attempt(number: int, rows: list[Row], prices: PriceBooks, tenant: str | None) -> ExplainedAttempt | None:
    """The attempt, or None if it is not the tenant's: an attempt is whose its standing opening says."""
    change = adjusted(rows)
    if change is not None and change.tenant:
        return _adjusting(number, change, rows, tenant)
    opened, settled = standing(rows, Opened, {}), standing(rows, Settled, {})
    if tenant is not None and (opened.event is None or opened.event.tenant != tenant):
        return None
    return ExplainedAttempt(
        attempt=number,
        opened_at_ns=opened.row.at_ns if opened.row else None,
        settled_at_ns=settled.row.at_ns if settled.row else None,
        entry=prices.entry(opened.event, settled.event, change) if opened.event else None,
        metered=prices.entry(opened.event, settled.event).amount if change and opened.event else None,
        records=_evidence(rows, tenant),
    )


def _adjusting(number: int, change: Adjusted, rows: list[Row], tenant: str | None) -> ExplainedAttempt | None:
    """An adjustment that is an entry of its own."""
    if tenant not in (None, change.tenant):
        return None
    return ExplainedAttempt(
        attempt=number,
        opened_at_ns=change.period_start_ns,
        settled_at_ns=None,
        entry=book.adjusting_entry(change),
        records=_evidence(rows, tenant),
    )


def _evidence(rows: list[Row], tenant: str | None) -> tuple[Evidence, ...]:
    """The rows as evidence, without those that name another tenant (a settlement names none)."""
    return tuple(
        Evidence(
            stream=row.stream,
            seq=row.seq,
            id=row.id,
            type=row.type,
            at_ns=row.at_ns,
            schema=row.schema,
            standing=verdict,
            payload=_payload(row),
        )
        for row, verdict in judge(rows)
        if tenant is None or msgspec.json.decode(row.payload, type=_Owner).tenant in (None, tenant)
    )


class _Owner(msgspec.Struct):
    tenant: str | None = None


def _payload(row: Row) -> Any:
    try:
        return msgspec.json.decode(row.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return row.payload.decode(errors="backslashreplace")
