"""The ledger: a view of the usage and config streams, and the questions asked of it.

It owns nothing: delete its file and the logs make it again, byte for byte. That holds because every row is a function
of the *set* of records folded, not of the order in which streams were read: an attempt's entry is made from its own
records, of which the one lowest in (stream, seq) stands, and a policy that arrives late prices what waited for it.
Streams are folded exactly once because a stream's position is committed with what was folded. It does not follow the
logs: call `catch_up`.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import msgspec

from interlock.errors import InterlockError
from interlock.ledger import book, explain, report, savings
from interlock.ledger.event import Opened, Refused, Settled
from interlock.ledger.reading import (
    CONFIG_STREAM,
    POLICY_ADOPTED,
    USAGE_STREAMS,
    USAGE_TYPES,
    Event,
    decode,
    decode_policy,
)
from interlock.ledger.standing import PriceBooks, Row, Seen, standing
from interlock.ledger.store import Store
from interlock.log import Stored
from interlock.log.record import chain_next, chain_start, head_json

BATCH = 1000
"""Records a transaction: some 20 ms of work; larger is hardly faster and holds up whoever else waits for the file."""


class Readable(Protocol):
    """The half of `interlock.log.Log` that a fold needs; each method as there."""

    async def head(self, stream: str) -> int: ...

    def read(self, stream: str, *, after: int = 0) -> AsyncIterator[Stored]: ...

    async def streams(self) -> list[str]: ...


_Fold = Callable[[sqlite3.Connection, Sequence[Stored]], None]


class Ledger:
    """The view in one SQLite file. Queries may run in any thread, beside a fold; none of them waits for it."""

    def __init__(self, path: Path) -> None:
        """Open the view, or begin an empty one. Raises: TransientError `view_unavailable`."""
        self._store = Store(path)

    async def catch_up(self, log_usage: Readable, log_config: Readable) -> int:
        """Fold what the streams `usage/*` and `config` hold beyond what was folded. Returns how many records that was.

        Cancelled or killed, it has folded a prefix of each stream; calling it twice at once is harmless.
        Raises: InterlockError: `log_corrupt`: a stream does not hold, or does not continue what was folded from it;
        `not_found`: it was dropped before it was folded (the other streams are folded all the same). TransientError
        `view_unavailable`. And what the logs raise.
        """
        count = await self._fold(log_config, [CONFIG_STREAM], _fold_policies)
        streams = [name for name in await log_usage.streams() if name.startswith(USAGE_STREAMS)]
        count += await self._fold(log_usage, streams, _fold_usage)
        # A policy adopted since the first look may have been used already; it stood in `config` before it was used.
        return count + await self._fold(log_config, [CONFIG_STREAM], _fold_policies)

    async def rebuild(self, log_usage: Readable, log_config: Readable) -> int:
        """Throw the view's content away and fold everything again. Raises: as `catch_up`."""
        await asyncio.to_thread(self._store.clear)
        return await self.catch_up(log_usage, log_config)

    def usage(
        self,
        by: Sequence[str] = (),
        *,
        since_ns: int | None = None,
        until_ns: int | None = None,
        tenant: str | None = None,
    ) -> list[report.UsageRow]:
        """What was used, by DIMENSIONS. See `report.usage`."""
        with self._store.read() as db:
            return report.usage(db, by, report.Window(since_ns, until_ns, tenant))

    def savings(
        self,
        *,
        since_ns: int | None = None,
        until_ns: int | None = None,
        tenant: str | None = None,
        baseline: str | None = None,
    ) -> savings.Savings:
        """The same tokens at the baseline's price. See `savings.savings`."""
        with self._store.read() as db:
            return savings.savings(db, report.Window(since_ns, until_ns, tenant), baseline)

    def explain(self, request_id: str, tenant: str | None = None) -> explain.Explanation | None:
        """Everything recorded about one request; None if nothing is, or not of that tenant. See `explain.explain`."""
        with self._store.read() as db:
            return explain.explain(db, request_id, tenant)

    def counts(self) -> report.Counts:
        """What the view holds, and what it could not count. One pass over the entries."""
        with self._store.read() as db:
            return report.counts(db)

    def dump(self) -> bytes:
        """The whole content, canonically: two views of the same logs are equal exactly if their dumps are."""
        return self._store.dump()

    def close(self) -> None:
        """Close the file. A fold under way ends first."""
        self._store.close()

    async def _fold(self, log: Readable, streams: Iterable[str], fold: _Fold) -> int:
        """Fold each stream to its head; one that is corrupt, or was dropped before it was folded, stops itself only."""
        count = 0
        broken: list[InterlockError] = []
        for stream in streams:
            try:
                count += await self._fold_stream(log, stream, fold)
            except InterlockError as error:
                if error.code not in ("log_corrupt", "not_found"):
                    raise
                broken.append(error)
        if broken:
            raise InterlockError("; ".join(error.message for error in broken), code=broken[0].code) from broken[0]
        return count

    async def _fold_stream(self, log: Readable, stream: str, fold: _Fold) -> int:
        position = await asyncio.to_thread(self._position, stream)
        if position > await log.head(stream):
            raise _not_continued(stream, position)
        count, batch = 0, []
        async for stored in log.read(stream, after=position):
            batch.append(stored)
            if len(batch) == BATCH:
                count += await asyncio.to_thread(self._commit, stream, batch, fold)
                batch = []
        return count + await asyncio.to_thread(self._commit, stream, batch, fold) if batch else count

    def _position(self, stream: str) -> int:
        with self._store.read() as db:
            return _position(db, stream)[0]

    def _commit(self, stream: str, batch: Sequence[Stored], fold: _Fold) -> int:
        """Fold the records that nobody folded meanwhile, and the stream's position with them."""
        with self._store.write() as db:
            position, chain = _position(db, stream)
            fresh = [stored for stored in batch if stored.seq > position]
            if not fresh:
                return 0
            first = fresh[0]
            if first.seq != position + 1 or first.chain != chain_next(chain, head_json(first.seq, first.record)):
                raise _not_continued(stream, position)
            fold(db, fresh)
            place = (stream, fresh[-1].seq, fresh[-1].chain.hex())
            db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", place)
        return len(fresh)


def _position(db: sqlite3.Connection, stream: str) -> tuple[int, bytes]:
    """The last record folded of a stream, and the chain value after it."""
    row = db.execute("SELECT seq, chain FROM positions WHERE stream = ?", (stream,)).fetchone()
    return (row[0], bytes.fromhex(row[1])) if row else (0, chain_start(stream))


def _not_continued(stream: str, position: int) -> InterlockError:
    return InterlockError(
        f"stream {stream!r} does not continue record {position}, which the ledger folded last: the log was cut off, "
        "changed or replaced; if it is right as it stands, rebuild the ledger",
        code="log_corrupt",
    )


def _fold_usage(db: sqlite3.Connection, batch: Sequence[Stored]) -> None:
    seen = {(stored.stream, stored.seq): event for stored in batch if (event := decode(stored.record))}
    readable = [(stored, seen.get((stored.stream, stored.seq))) for stored in batch]
    _put_unread(db, [s for s, event in readable if event is None and s.record.type.startswith(USAGE_TYPES)])
    records = [_record_row(stored, event) for stored, event in readable if event]
    db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", records)
    touched = {row[:2] for row in records if row[1] != explain.REFUSED}
    db.executemany("INSERT INTO touched VALUES (?, ?)", touched)
    _refresh(db, seen)


def _fold_policies(db: sqlite3.Connection, batch: Sequence[Stored]) -> None:
    """Keep the prices of each version (the first record of one stands), and price what waited for them."""
    adopted = [(stored, decode_policy(stored.record)) for stored in batch if stored.record.type == POLICY_ADOPTED]
    _put_unread(db, [stored for stored, prices in adopted if prices is None])
    for prices in (prices for _, prices in adopted if prices is not None):
        body = msgspec.json.encode(prices, order="deterministic")
        db.execute("INSERT OR IGNORE INTO policies VALUES (?, ?)", (prices.version, body))
        db.execute(
            "INSERT OR IGNORE INTO touched SELECT request_id, attempt FROM entries "
            "WHERE policy = ? AND unpriced = 'policy_unknown'",
            (prices.version,),
        )
    _refresh(db, {})


def _put_unread(db: sqlite3.Connection, records: Iterable[Stored]) -> None:
    rows = ((stored.stream, stored.seq, stored.record.id, stored.record.type) for stored in records)
    db.executemany("INSERT INTO unread VALUES (?, ?, ?, ?)", rows)


def _record_row(stored: Stored, event: Event) -> tuple[Any, ...]:
    record = stored.record
    attempt = explain.REFUSED if isinstance(event, Refused) else event.attempt
    head = (record.id, record.type, record.at_ns, record.schema)
    return (event.request_id, attempt, stored.stream, stored.seq, *head, record.payload)


def _refresh(db: sqlite3.Connection, seen: Seen) -> None:
    """Make the entries of the touched attempts again, each from all of its records."""
    entries, waiting = [], []
    prices = PriceBooks(db)
    for key, rows in _touched(db):
        row = _entry_row(rows, seen, prices)
        if row is None:
            waiting.append(key)
        else:
            entries.append(row)
    if entries:
        marks = ", ".join("?" * len(entries[0]))
        db.executemany(f"INSERT OR REPLACE INTO entries VALUES ({marks})", entries)  # noqa: S608 - question marks
    db.execute("DELETE FROM waiting WHERE (request_id, attempt) IN (SELECT request_id, attempt FROM touched)")
    db.executemany("INSERT INTO waiting VALUES (?, ?)", waiting)
    db.execute("DELETE FROM touched")


def _touched(db: sqlite3.Connection) -> Iterator[tuple[tuple[str, int], list[Row]]]:
    rows = db.execute(
        "SELECT request_id, attempt, stream, seq, id, type, at_ns, schema, payload "
        "FROM touched CROSS JOIN records USING (request_id, attempt) ORDER BY request_id, attempt, stream, seq"
    )
    for key, group in groupby(rows, key=itemgetter(0, 1)):
        yield key, [Row(*row[2:]) for row in group]


def _entry_row(rows: Sequence[Row], seen: Seen, prices: PriceBooks) -> tuple[Any, ...] | None:
    """One attempt's row of `entries`, columns as in `store`; None if its opening has not been seen."""
    opened, settled = standing(rows, Opened, seen), standing(rows, Settled, seen)
    if opened.event is None or opened.row is None:
        return None
    entry = prices.entry(opened.event, settled.event)
    return (
        entry.request_id,
        entry.attempt,
        opened.row.at_ns,
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
        msgspec.json.encode(entry.usage, order="deterministic"),
        entry.inconsistent,
        *book.totals(entry.amount.lines).values(),
        entry.amount.amount_nanousd,
        entry.amount.unpriced,
        opened.duplicates + settled.duplicates,
        opened.conflicts + settled.conflicts,
    )
