"""What a batch of records does to the view: rows of `records`, entries of the attempts they touch, the running cost.

It runs inside a transaction that it neither begins nor ends. An attempt's entry is made again from all of its records
each time one is added; what was folded earlier is read back only for attempts that have more than the batch holds.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from interlock.ledger import book, explain
from interlock.ledger.event import Opened, Refused, Settled
from interlock.ledger.reading import (
    ADJUSTED,
    POLICY_ADOPTED,
    USAGE_TYPES,
    Event,
    decode,
    decode_adjusted,
    decode_policy,
)
from interlock.ledger.standing import PriceBooks, Row, Seen, adjusted, adjusting, standing
from interlock.log import Stored
from interlock.units import NANO

Key = tuple[str, int]
"""Request id and attempt."""

_encode = msgspec.json.Encoder(order="deterministic").encode


def fold_usage(db: sqlite3.Connection, batch: Sequence[Stored]) -> None:
    """Fold records of one usage stream that were not folded before."""
    seen: dict[tuple[str, int], Event] = {}
    records: dict[Key, list[Row]] = {}
    unread, rows = [], []
    for stored in batch:
        record = stored.record
        event = decode(record)
        if event is None:
            if record.type.startswith(USAGE_TYPES):
                unread.append(stored)
            continue
        key = (event.request_id, explain.REFUSED if isinstance(event, Refused) else event.attempt)
        row = Row(stored.stream, stored.seq, record.id, record.type, record.at_ns, record.schema, record.payload)
        rows.append(key + row)
        if key[1] != explain.REFUSED:
            records.setdefault(key, []).append(row)
            seen[stored.stream, stored.seq] = event
    _put_unread(db, unread)
    db.executemany("INSERT INTO touched VALUES (?, ?)", records)
    for key, earlier in _touched(db):  # before the new ones are put there: those are at hand
        records[key] = sorted([*earlier, *records[key]], key=itemgetter(0, 1))
    db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    _refresh(db, records.items(), seen)


def fold_policies(db: sqlite3.Connection, batch: Sequence[Stored]) -> None:
    """Keep the prices of each version (the first record of one stands), and price what waited for them."""
    adopted = [(stored, decode_policy(stored.record)) for stored in batch if stored.record.type == POLICY_ADOPTED]
    _put_unread(db, [stored for stored, prices in adopted if prices is None])
    for prices in (prices for _, prices in adopted if prices is not None):
        db.execute("INSERT OR IGNORE INTO policies VALUES (?, ?)", (prices.version, _encode(prices)))
        db.execute(
            "INSERT OR IGNORE INTO touched SELECT request_id, attempt FROM entries "
            "WHERE policy = ? AND unpriced = 'policy_unknown'",
            (prices.version,),
        )
    _refresh(db, _touched(db), {})


def fold_adjustments(db: sqlite3.Connection, batch: Sequence[Stored]) -> None:
    """Keep what providers' bills changed, and make the entries concerned again."""
    unread, rows = [], []
    for stored in batch:
        record = stored.record
        if record.type != ADJUSTED:
            continue
        event = decode_adjusted(record)
        if event is None:
            unread.append(stored)
            continue
        row = Row(stored.stream, stored.seq, record.id, record.type, record.at_ns, record.schema, record.payload)
        rows.append((event.request_id, event.attempt, *row))
    _put_unread(db, unread)
    db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    db.executemany("INSERT OR IGNORE INTO touched VALUES (?, ?)", (row[:2] for row in rows))
    _refresh(db, _touched(db), {})


def _put_unread(db: sqlite3.Connection, records: Iterable[Stored]) -> None:
    rows = ((stored.stream, stored.seq, stored.record.id, stored.record.type) for stored in records)
    db.executemany("INSERT INTO unread VALUES (?, ?, ?, ?)", rows)


def _refresh(db: sqlite3.Connection, touched: Iterable[tuple[Key, Sequence[Row]]], seen: Seen) -> None:
    """Make the entries of the touched attempts again, each from all of its records."""
    entries, waiting = [], []
    prices = PriceBooks(db)
    for key, rows in touched:
        row = entry_row(rows, seen, prices)
        if row is None:
            waiting.append(key)
        else:
            entries.append(row)
    before = _amounts(db)
    if entries:
        marks = ", ".join("?" * len(entries[0]))
        db.executemany(f"INSERT OR REPLACE INTO entries VALUES ({marks})", entries)  # noqa: S608 - question marks
    if change := _amounts(db) - before:
        total = cost_nanousd(db) + change
        db.execute("DELETE FROM cost")
        if total:  # not a row of 0: whoever folds the same in one go never had one
            db.execute("INSERT INTO cost VALUES ('all', ?)", (str(total),))
    db.execute("DELETE FROM waiting WHERE (request_id, attempt) IN (SELECT request_id, attempt FROM touched)")
    db.executemany("INSERT INTO waiting VALUES (?, ?)", waiting)
    db.execute("DELETE FROM touched")


def cost_nanousd(db: sqlite3.Connection) -> int:
    """Of every entry that has an amount."""
    row = db.execute("SELECT nanousd FROM cost").fetchone()
    return int(row[0]) if row else 0


def _amounts(db: sqlite3.Connection) -> int:
    """What the touched attempts' entries come to. Whole dollars and nanos apart: the sum may be past int64."""
    whole, nanos = db.execute(
        f"SELECT coalesce(sum(amount_nanousd / {NANO}), 0), coalesce(sum(amount_nanousd % {NANO}), 0) "  # noqa: S608 - a constant
        "FROM touched CROSS JOIN entries USING (request_id, attempt)"
    ).fetchone()
    return int(whole) * NANO + int(nanos)


def _touched(db: sqlite3.Connection) -> Iterator[tuple[Key, list[Row]]]:
    """The records that the view holds of each touched attempt; nothing for one that it does not know yet."""
    rows = db.execute(
        "SELECT request_id, attempt, stream, seq, id, type, at_ns, schema, payload "
        "FROM touched CROSS JOIN records USING (request_id, attempt) ORDER BY request_id, attempt, stream, seq"
    )
    for key, group in groupby(rows, key=itemgetter(0, 1)):
        yield key, [Row(*row[2:]) for row in group]


def entry_row(rows: Sequence[Row], seen: Seen, prices: PriceBooks) -> tuple[Any, ...] | None:
    """One attempt's row of `entries`, columns as in `store`; None if its opening has not been seen."""
    change, booked = adjusted(rows), adjusting(rows)
    if change is not None and change.tenant:
        return _columns(book.adjusting_entry(change), change.period_start_ns, 0, 0, 0, "", 0, booked)
    opened, settled = standing(rows, Opened, seen), standing(rows, Settled, seen)
    if opened.event is None or opened.row is None:
        return None
    entry = prices.entry(opened.event, settled.event, change)
    metered = prices.entry(opened.event, settled.event) if change else entry
    return _columns(
        entry,
        opened.row.at_ns,
        settled.row.at_ns if settled.row else 0,
        opened.duplicates + settled.duplicates,
        opened.conflicts + settled.conflicts,
        settled.event.upstream_model if settled.event else "",
        metered.amount.amount_nanousd,
        booked,
    )


def _columns(
    entry: book.Entry,
    at_ns: int,
    settled_at_ns: int,
    duplicates: int,
    conflicts: int,
    upstream_model: str,
    metered_nanousd: int | None,
    booked: Row | None,
) -> tuple[Any, ...]:
    return (
        entry.request_id,
        entry.attempt,
        at_ns,
        entry.state,
        entry.tenant,
        entry.principal,
        entry.key_id,
        entry.session,
        entry.mode,
        entry.tier,
        entry.deployment,
        entry.provider,
        entry.model,
        entry.policy,
        entry.outcome,
        entry.source,
        _encode(entry.usage),
        _encode(entry.avoided),
        entry.inconsistent,
        *book.entry_totals(entry).values(),
        entry.amount.amount_nanousd,
        entry.amount.unpriced,
        duplicates,
        conflicts,
        entry.team,
        entry.task,
        entry.tool,
        settled_at_ns,
        upstream_model,
        metered_nanousd,
        booked.at_ns if booked else None,
    )
