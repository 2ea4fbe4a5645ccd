"""The sessions' store: many small hash-chained logs, leases, and an index of who has work. docs/runtime.md.

`interlock.testing.sessions_contract` is its proof.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from interlock.runtime.sessions.event import Event, Seen

Status = Literal["idle", "runnable", "waiting"]
"""Nothing to do; a brain is wanted; a person (or a time) is waited for."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A session's row in the index: a view of its log, written in the same transaction."""

    status: Status
    wake_at_ns: int | None = None
    """When a waiting session is to be looked at although nobody answered."""
    title: str = ""
    detail: str = ""
    """How the last turn ended, or what is waited for."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of sessions shows."""

    session: str
    tenant: str
    principal: str
    standing: Standing
    head: int
    created_at_ns: int
    changed_at_ns: int
    owner: str = ""
    """Who holds its lease now; empty: nobody."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to act for a session. `epoch` fences: an append under an older one writes nothing, ever."""

    session: str
    owner: str
    epoch: int
    expires_at_ns: int


class Wrote(msgspec.Struct, frozen=True):
    """The head after the append."""

    head: int


class Moved(msgspec.Struct, frozen=True):
    """Nothing was written: the log has grown past `expect`. Read on from there, decide again."""

    head: int


class Fenced(msgspec.Struct, frozen=True):
    """Nothing was written: another brain holds the session."""

    epoch: int


def is_due(row: Row, now_ns: int) -> bool:
    """Whether a session wants a brain and has none."""
    at_ns = row.standing.wake_at_ns
    wanted = row.standing.status == "runnable" or (
        row.standing.status == "waiting" and at_ns is not None and at_ns <= now_ns
    )
    return wanted and not row.owner


class Store(Protocol):
    """Sessions of all tenants on this machine; several processes use it at once.

    A cancelled call may have happened, or not: the log says.
    """

    async def create(
        self,
        session: str,
        tenant: str,
        principal: str,
        events: Sequence[Event],
        standing: Standing,
        *,
        at_ns: Sequence[int] = (),
    ) -> bool:
        """A new log. False: it exists already, and nothing was written. `at_ns`: of each event; empty: now."""
        ...

    async def append(
        self,
        session: str,
        events: Sequence[Event],
        standing: Standing,
        *,
        expect: int,
        lease: Lease | None = None,
        at_ns: int | None = None,
    ) -> Wrote | Moved | Fenced:
        """All or nothing, durable against a kill of this process when it returns (power: by the store's `sync`).

        No events: only the index's row is written. `lease`: the brain's; None: a person's event, which needs none. A
        lease that was given back is fenced too; one that has run out is not, until another takes it.
        `at_ns`: the events' time; None: the store's clock.
        Raises: LogUnavailable: nothing was written. UnknownOutcome: the disk failed while it was. LocalError: no such
        session; an event over 1 MiB.
        """
        ...

    async def events(
        self, session: str, *, after: int = 0, limit: int = 1000, bytes_max: int | None = None
    ) -> list[Seen]:
        """Events with `seq > after`, in order, their chain checked. Raises: LogCorrupt. LocalError: no such session.

        `bytes_max`: fewer than `limit` where they are larger than that together by more than their last; at least one.
        """
        ...

    async def changed(self, session: str, *, after: int, wait_s: float) -> bool:
        """Wait until the log has grown past `after` by anybody's hand, at most so long; whether it has."""
        ...

    async def stirred(self, *, wait_s: float) -> bool:
        """Wait until `due` may say something else because anybody wrote; False: nobody did in that time.

        It may be true for nothing. Times that come (`wake_at_ns`, leases that run out) are the caller's to wait for.
        """
        ...

    async def take(self, session: str, owner: str, *, ttl_s: float) -> Lease | None:
        """The lease, unless another holds one that has not expired. The owner's own is taken anew, with a new epoch."""
        ...

    async def renew(self, lease: Lease, *, ttl_s: float) -> Lease | None:
        """None: it was taken by another."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give it back; no effect if it was taken by another."""
        ...

    async def evict(self) -> int:
        """End every lease, whoever holds it and for however long; how many. Who comes first takes a session then.

        For one who knows that whoever held them is gone (they died with the process before this one), so that nobody
        waits for time to run out; one that is alive after all is fenced.
        """
        ...

    async def due(self, *, limit: int = 100) -> list[str]:
        """Sessions that want a brain now: runnable, or waiting past their time, and held by nobody."""
        ...

    async def rows(self, tenant: str | None = None, *, before: str = "", limit: int = 100) -> list[Row]:
        """Newest first; `before`: the last session of the page before."""
        ...

    async def row(self, session: str) -> Row | None:
        """One of them."""
        ...

    async def close(self) -> None:
        """Write what is on its way, and let go of the files."""
        ...


class Blobs(Protocol):
    """Content-addressed bytes."""

    async def put(self, data: bytes) -> str:
        """Its SHA-256, hex, once it is as durable as an event."""
        ...

    async def get(self, sha256: str) -> bytes:
        """Raises: LocalError: not there. LogCorrupt: not what its name says."""
        ...
