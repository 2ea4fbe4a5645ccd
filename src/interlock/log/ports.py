"""The log's port. `interlock.testing.log_contract` is its proof."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from interlock.log.record import Appended, Conflict, Record, Stored


class Log(Protocol):
    """Append-only streams of records. Stream names: 1 to 128 of `[a-z0-9_/.-]`, neither starting nor ending in `/`."""

    async def append(self, stream: str, records: Sequence[Record], *, expect: int | None = None) -> Appended | Conflict:
        """Append all or nothing; the answer comes when they would survive a kill of this process.

        A record whose id stands with the same content is not written again. `expect`: the head the caller has seen.
        Raises: LocalError: a record or name outside the limits. LogUnavailable: nothing was written.
        """
        ...

    async def head(self, stream: str) -> int:
        """The last sequence number; 0 for a stream nobody wrote to."""
        ...

    def read(self, stream: str, *, after: int = 0) -> AsyncIterator[Stored]:
        """Records with `seq > after` in order, up to the head when the read began.

        Raises: InterlockError `log_corrupt`: the chain does not hold; the message names stream and sequence.
        """
        ...

    def follow(self, stream: str, *, after: int) -> AsyncIterator[Stored]:
        """As `read`, and then every record to come, for ever. Ends only by being closed."""
        ...

    async def streams(self) -> list[str]:
        """The names of all streams that hold a record, sorted."""
        ...
