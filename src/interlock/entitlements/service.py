"""The writer of the stream `entitlements`: it follows what subscriptions say, and tells every worker before it returns.

The subscription's record is the decision, and stands first. Whoever dies before this one was written told nobody, and
the next look writes it: what is missing is what the two folds differ in.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from interlock.clock import Clock
from interlock.entitlements.book import Book, missing
from interlock.entitlements.records import STREAM, TYPE, Standing, encoded
from interlock.errors import InterlockError
from interlock.log import Conflict, Log, Record

_TRIES = 32
_BATCH_MAX = 500


class Entitling:
    """One writer."""

    def __init__(
        self,
        log: Log,
        clock: Clock,
        wanted: Callable[[str], Awaitable[Sequence[Standing]]],
        committed: Callable[[int], None] = lambda head: None,
    ) -> None:
        """
        Args:
            wanted: what a tenant's subscriptions say by now, in the order in which they were set; of all for "".
            committed: called with the stream's head when a change is durable, before it is answered.
        """
        self.book = Book()
        self.due = True
        """Whether a look may have left something unwritten."""
        self._log = log
        self._clock = clock
        self._wanted = wanted
        self._committed = committed
        self._turn = asyncio.Lock()  # protects the book, and the order of comparing and writing

    async def refresh(self) -> Book:
        """Fold what has been appended since."""
        async for stored in self._log.read(STREAM, after=self.book.seq):
            self.book.apply(stored)
        return self.book

    async def follow(self, tenant: str = "") -> None:
        """Write what a tenant's subscriptions (all tenants') say and the stream does not yet; when this returns, every
        later admission of every worker knows it.

        Raises: what the log raises; InterlockError `conflict`. What was not written is due.
        """
        try:
            async with self._turn:
                if not tenant:
                    self.due = False  # before it looks: who fails meanwhile may have been looked past
                await self._follow(tenant)
        except BaseException:  # also of who was cancelled
            self.due = True
            raise

    async def _follow(self, tenant: str) -> None:
        conflicts = 0
        while lacking := list(missing(await self.refresh(), await self._wanted(tenant)))[:_BATCH_MAX]:
            records = self._records(lacking)
            if isinstance(await self._log.append(STREAM, records, expect=self.book.seq), Conflict):
                conflicts += 1
            if conflicts == _TRIES:
                message = f"the stream {STREAM!r} moved on {_TRIES} times in a row; retry"
                raise InterlockError(message, code="conflict")
        self._committed(self.book.seq)

    def _records(self, lacking: Sequence[Standing]) -> list[Record]:
        counts = dict[str, int]()
        made: list[Record] = []
        for one in lacking:
            counts[one.tenant] = counts.get(one.tenant, self.book.counts.get(one.tenant, 0)) + 1
            record_id = f"{one.tenant}/{counts[one.tenant]}"
            made.append(Record(id=record_id, type=TYPE, at_ns=self._clock.now_ns(), payload=encoded(one)))
        return made
