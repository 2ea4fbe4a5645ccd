"""The log in memory: the reference that the contract suite is written against. It survives nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from interlock.log.check import check_count, check_record, check_stream
from interlock.log.decide import decide_append
from interlock.log.ports import Log
from interlock.log.record import Appended, Conflict, Record, Stored, chain_start


class MemoryLog(Log):
    """Every stream in a list. For one event loop."""

    def __init__(self) -> None:
        self._streams: dict[str, list[Stored]] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._grown = asyncio.Event()  # replaced at every append, so that each follower wakes once for it

    async def append(self, stream: str, records: Sequence[Record], *, expect: int | None = None) -> Appended | Conflict:
        check_stream(stream)
        check_count(len(records))
        for record in records:
            check_record(record)
        rows = self._streams.get(stream, [])
        ids = {r.id: self._ids[stream, r.id] for r in records if (stream, r.id) in self._ids}
        stands = {id: (seq, rows[seq - 1].record) for id, seq in ids.items()}
        chain = rows[-1].chain if rows else chain_start(stream)
        decided = decide_append(stream, len(rows), chain, records, stands, expect)
        if isinstance(decided, Conflict):
            return decided
        for stored, _ in decided.new:
            self._streams.setdefault(stream, []).append(stored)
            self._ids[stream, stored.record.id] = stored.seq
        self._grown.set()
        self._grown = asyncio.Event()
        return decided.answer

    async def head(self, stream: str) -> int:
        check_stream(stream)
        return len(self._streams.get(stream, []))

    async def read(self, stream: str, *, after: int = 0) -> AsyncIterator[Stored]:
        check_stream(stream)
        for stored in self._streams.get(stream, [])[after:]:
            yield stored

    async def follow(self, stream: str, *, after: int) -> AsyncIterator[Stored]:
        check_stream(stream)
        while True:
            grown = self._grown
            for stored in self._streams.get(stream, [])[after:]:
                after = stored.seq
                yield stored
            if len(self._streams.get(stream, [])) <= after:
                await grown.wait()

    async def streams(self) -> list[str]:
        return sorted(self._streams)
