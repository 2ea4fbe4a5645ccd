"""Sessions in memory: the reference that the contract suite is written against. It survives nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from interlock.clock import Clock
from interlock.log.record import chain_start
from interlock.runtime.sessions.codec import Stored as Kept
from interlock.runtime.sessions.codec import chained, check_session, encoded, head_of, restore, stream_of, unknown
from interlock.runtime.sessions.event import Event, Seen
from interlock.runtime.sessions.ports import Fenced, Lease, Moved, Row, Standing, Store, Wrote, is_due


@dataclass(slots=True, kw_only=True)
class _Session:
    tenant: str
    principal: str
    standing: Standing
    created_at_ns: int
    changed_at_ns: int
    rows: list[Kept] = field(default_factory=list)
    owner: str = ""
    epoch: int = 0
    expires_at_ns: int = 0

    def row(self, session: str, now_ns: int) -> Row:
        return Row(
            session=session,
            tenant=self.tenant,
            principal=self.principal,
            standing=self.standing,
            head=len(self.rows),
            created_at_ns=self.created_at_ns,
            changed_at_ns=self.changed_at_ns,
            owner=self.owner if self.expires_at_ns > now_ns else "",
        )

    def fenced(self, lease: Lease) -> bool:
        return (self.owner, self.epoch) != (lease.owner, lease.epoch)


class MemoryStore(Store):
    """For one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._grown = asyncio.Event()  # replaced at every write, so that each who waits wakes once for it

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
        check_session(session)
        entries = encoded(events)
        if session in self._sessions:
            return False
        now_ns = self._clock.now_ns()
        new = _Session(
            tenant=tenant, principal=principal, standing=standing, created_at_ns=now_ns, changed_at_ns=now_ns
        )
        self._sessions[session] = new
        _write(session, new, entries, at_ns or [now_ns] * len(entries))
        self._wake()
        return True

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
        entries = encoded(events)
        found = self._of(session)
        if lease is not None and found.fenced(lease):
            return Fenced(found.epoch)
        if len(found.rows) != expect:
            return Moved(len(found.rows))
        now_ns = self._clock.now_ns()
        _write(session, found, entries, [now_ns if at_ns is None else at_ns] * len(entries))
        found.standing, found.changed_at_ns = standing, now_ns
        self._wake()
        return Wrote(len(found.rows))

    async def events(
        self, session: str, *, after: int = 0, limit: int = 1000, bytes_max: int | None = None
    ) -> list[Seen]:
        rows = self._of(session).rows
        anchor = rows[after - 1].chain if 0 < after <= len(rows) else None
        wanted, size = rows[after : after + limit], 0
        for number, row in enumerate(wanted if bytes_max is not None else (), 1):
            size += len(row.payload)
            if bytes_max is not None and size >= bytes_max:
                wanted = wanted[:number]
                break
        return restore(session, after, anchor, wanted)[0]

    async def changed(self, session: str, *, after: int, wait_s: float) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                while len(self._of(session).rows) <= after:
                    await self._grown.wait()
        except TimeoutError:
            return False
        return True

    async def stirred(self, *, wait_s: float) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                await self._grown.wait()
        except TimeoutError:
            return False
        return True

    async def take(self, session: str, owner: str, *, ttl_s: float) -> Lease | None:
        found, now_ns = self._of(session), self._clock.now_ns()
        if found.owner not in ("", owner) and found.expires_at_ns > now_ns:
            return None
        found.owner, found.epoch, found.expires_at_ns = owner, found.epoch + 1, now_ns + int(ttl_s * 1e9)
        return Lease(session=session, owner=owner, epoch=found.epoch, expires_at_ns=found.expires_at_ns)

    async def renew(self, lease: Lease, *, ttl_s: float) -> Lease | None:
        found = self._of(lease.session)
        if found.fenced(lease):
            return None
        found.expires_at_ns = self._clock.now_ns() + int(ttl_s * 1e9)
        return Lease(session=lease.session, owner=lease.owner, epoch=lease.epoch, expires_at_ns=found.expires_at_ns)

    async def release(self, lease: Lease) -> None:
        found = self._of(lease.session)
        if not found.fenced(lease):
            found.owner, found.expires_at_ns = "", 0
            self._wake()

    async def evict(self) -> int:
        held = [found for found in self._sessions.values() if found.owner]
        for found in held:
            found.owner, found.expires_at_ns = "", 0
        self._wake()
        return len(held)

    async def due(self, *, limit: int = 100) -> list[str]:
        now_ns = self._clock.now_ns()
        rows = (one.row(session, now_ns) for session, one in self._sessions.items())
        return [row.session for row in rows if is_due(row, now_ns)][:limit]

    async def rows(self, tenant: str | None = None, *, before: str = "", limit: int = 100) -> list[Row]:
        names = [session for session, one in self._sessions.items() if tenant in (None, one.tenant)]
        if before:
            every = list(self._sessions)
            if before not in self._sessions:
                raise unknown(before)
            earlier = set(every[: every.index(before)])
            names = [session for session in names if session in earlier]
        now_ns = self._clock.now_ns()
        return [self._sessions[session].row(session, now_ns) for session in reversed(names)][:limit]

    async def row(self, session: str) -> Row | None:
        found = self._sessions.get(session)
        return found.row(session, self._clock.now_ns()) if found else None

    async def close(self) -> None:
        pass

    def _of(self, session: str) -> _Session:
        found = self._sessions.get(session)
        if found is None:
            raise unknown(session)
        return found

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def _write(session: str, into: _Session, entries: Sequence[tuple[str, bytes, str]], at_ns: Sequence[int]) -> None:
    chain = into.rows[-1].chain if into.rows else chain_start(stream_of(session))
    for (kind, payload, digest), at in zip(entries, at_ns, strict=True):
        seq = len(into.rows) + 1
        chain = chained(chain, head_of(seq, kind, at, digest))
        into.rows.append(Kept(seq, at, kind.encode(), payload, digest, chain))
