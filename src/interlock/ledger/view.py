"""The ledger: a view of the usage, config and adjustments streams, and the questions asked of it.

It owns nothing: delete its file and the logs make it again, byte for byte. That holds because every row is a function
of the *set* of records folded, not of the order in which streams were read: an attempt's entry is made from its own
records, of which the one lowest in (stream, seq) stands, and a policy that arrives late prices what waited for it.
Streams are folded exactly once because a stream's position is committed with what was folded. It does not follow the
logs: call `catch_up`.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from interlock.errors import InterlockError
from interlock.ledger import billable as billing_rows
from interlock.ledger import costs, explain, folding, report, savings, spending
from interlock.ledger.anomaly import Spend
from interlock.ledger.attempts import SessionAttempt, attempts_of
from interlock.ledger.metered import Metered, metered
from interlock.ledger.past import Past, Spent, callers, first_ns, past, spends, spent
from interlock.ledger.reading import ADJUSTMENTS, CONFIG_STREAM, USAGE_STREAMS
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
_Before = Callable[[], Awaitable[int]]


class Ledger:
    """The view in one SQLite file. Queries may run in any thread, beside a fold; none of them waits for it."""

    def __init__(self, path: Path) -> None:
        """Open the view, or begin an empty one, also in place of one of another version.

        Raises: TransientError `view_unavailable`.
        """
        self._store = Store(path)

    async def catch_up(self, log_usage: Readable, log_config: Readable) -> int:
        """Fold what the streams `usage/*`, `config` and `adjustments` hold beyond what was folded. Returns how many
        records that was.

        Cancelled or killed, it has folded a prefix of each stream; calling it twice at once is harmless.
        Raises: InterlockError: `log_corrupt`: a stream does not hold, or does not continue what was folded from it;
        `not_found`: it was dropped before it was folded (the other streams are folded all the same). TransientError
        `view_unavailable`. And what the logs raise.
        """

        folded = -1

        async def policies() -> int:
            nonlocal folded
            head = await log_config.head(CONFIG_STREAM)
            if head == folded:  # as before nearly every batch, which must not cost a look at the view
                return 0
            count = await self._fold(log_config, [CONFIG_STREAM], folding.fold_policies)
            folded = head
            return count

        count = await policies()
        streams = [name for name in await log_usage.streams() if name.startswith(USAGE_STREAMS)]
        # A policy stands in `config` before it is used, but may have been adopted since the look at it.
        count += await self._fold(log_usage, streams, folding.fold_usage, before=policies)
        return count + await self._fold(log_config, [ADJUSTMENTS], folding.fold_adjustments)

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

    def costs(self, by: Sequence[str], since_ns: int, until_ns: int, tenant: str | None = None) -> costs.Statement:
        """Who cost what in a window, against the one before. See `costs.statement`."""
        with self._store.read() as db:
            return costs.statement(db, by, report.Window(since_ns, until_ns, tenant))

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

    @contextmanager
    def past(
        self, *, since_ns: int | None = None, until_ns: int | None = None, tenant: str | None = None
    ) -> Iterator[Iterator[Past]]:
        """The window's attempts, of one moment, while the block lasts. See `past.past`."""
        with self._store.read() as db:
            yield past(db, report.Window(since_ns, until_ns, tenant))

    @contextmanager
    def metered(
        self, providers: Collection[str], *, since_ns: int | None = None, until_ns: int | None = None
    ) -> Iterator[Iterator[Metered]]:
        """What was metered of these providers, of one moment, while the block lasts. See `metered.metered`."""
        with self._store.read() as db:
            yield metered(db, providers, report.Window(since_ns, until_ns, None))

    @contextmanager
    def billable(self, question: billing_rows.Question) -> Iterator[Iterator[billing_rows.Billable]]:
        """Attempts to be billed, of one moment, while the block lasts. See `billable.billable`."""
        with self._store.read() as db:
            yield billing_rows.billable(db, question)

    def changed(self, tenant: str, since_ns: int, until_ns: int, recorded_ns: int) -> bool:
        """Whether anything of a window was recorded since then. See `billable.changed`."""
        with self._store.read() as db:
            return billing_rows.changed(db, tenant, since_ns, until_ns, recorded_ns)

    def open_attempts(self, question: billing_rows.Question) -> int:
        """How many of a question's attempts have not ended."""
        with self._store.read() as db:
            return billing_rows.open_attempts_of(db, question)

    def callers(self, since_ns: int, columns: Sequence[str], tenant: str = "") -> list[tuple[str, ...]]:
        """Who called since then, of a tenant or of all. See `past.callers`."""
        with self._store.read() as db:
            return callers(db, since_ns, columns, tenant)

    def burned(self, tenant: str, principal: str, since_ns: int, until_ns: int) -> tuple[int, int]:
        """What attempts cost, and what of that limits counted. See `spending.burned`."""
        with self._store.read() as db:
            return spending.burned(db, tenant, principal, since_ns, until_ns)

    def attempts_of(self, tenant: str, session: str, since_ns: int) -> list[SessionAttempt]:
        """What an agent's session has called models for since then. See `attempts.attempts_of`."""
        with self._store.read() as db:
            return attempts_of(db, tenant, session, since_ns)

    def first_open_ns(self, tenant: str) -> int | None:
        """When the oldest open attempt was opened. See `spending.first_open_ns`."""
        with self._store.read() as db:
            return spending.first_open_ns(db, tenant)

    def last_ns(self, tenant: str, principal: str, since_ns: int) -> int | None:
        """When the newest entry since then is dated. See `spending.last_ns`."""
        with self._store.read() as db:
            return spending.last_ns(db, tenant, principal, since_ns)

    def spent(self, since_ns: int, until_ns: int, columns: Sequence[str]) -> list[Spent]:
        """What was used then, by callers. See `past.spent`."""
        with self._store.read() as db:
            return spent(db, since_ns, until_ns, columns)

    def spends(self, since_ns: int, until_ns: int) -> list[Spend]:
        """What was settled then, for who looks for anomalies. See `past.spends`."""
        with self._store.read() as db:
            return spends(db, since_ns, until_ns)

    def first_ns(self) -> int | None:
        """When the earliest attempt was opened."""
        with self._store.read() as db:
            return first_ns(db)

    def explain(self, request_id: str, tenant: str | None = None) -> explain.Explanation | None:
        """Everything recorded about one request; None if nothing is, or not of that tenant. See `explain.explain`."""
        with self._store.read() as db:
            return explain.explain(db, request_id, tenant)

    def counts(self) -> report.Counts:
        """What the view holds, and what it could not count. One pass over the entries."""
        with self._store.read() as db:
            return report.counts(db)

    def cost_nanousd(self) -> int:
        """Of every priced attempt; kept while folding, so that asking costs the same however much was used."""
        with self._store.read() as db:
            return folding.cost_nanousd(db)

    def dump(self) -> bytes:
        """The whole content, canonically: two views of the same logs are equal exactly if their dumps are."""
        return b"\n".join(self._store.rows())

    def rows(self) -> Iterator[bytes]:
        """The lines of `dump`, one by one."""
        return self._store.rows()

    def positions(self) -> dict[str, int]:
        """The last record folded of each stream."""
        with self._store.read() as db:
            return dict(db.execute("SELECT stream, seq FROM positions").fetchall())

    def close(self) -> None:
        """Close the file. A fold under way ends first."""
        self._store.close()

    async def _fold(self, log: Readable, streams: Iterable[str], fold: _Fold, before: _Before | None = None) -> int:
        """Fold each stream to its head; one that is corrupt, or was dropped before it was folded, stops itself only."""
        count = 0
        broken: list[InterlockError] = []
        for stream in streams:
            try:
                count += await self._fold_stream(log, stream, fold, before)
            except InterlockError as error:
                if error.code not in ("log_corrupt", "not_found"):
                    raise
                broken.append(error)
        if broken:
            raise InterlockError("; ".join(error.message for error in broken), code=broken[0].code) from broken[0]
        return count

    async def _fold_stream(self, log: Readable, stream: str, fold: _Fold, before: _Before | None) -> int:
        """
        Args:
            before: folds what has to be in the view before anybody sees a batch there; called when that has been read.
        """
        position = await asyncio.to_thread(self._position, stream)
        if position > await log.head(stream):
            raise _not_continued(stream, position)

        async def put(batch: Sequence[Stored]) -> int:
            count = await before() if before else 0
            return count + await asyncio.to_thread(self._commit, stream, batch, fold)

        count, batch = 0, []
        async for stored in log.read(stream, after=position):
            batch.append(stored)
            if len(batch) == BATCH:
                count += await put(batch)
                batch = []
        return count + await put(batch) if batch else count

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
            head = head_json(first.seq, first.record, first.payload_sha256)
            if first.seq != position + 1 or first.chain != chain_next(chain, head):
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
