"""Every adapter against the contract suite of the log's port."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

from interlock.log import Appended, Conflict, Log, Record, Stored
from interlock.log.check import check_stream
from interlock.log.journal import Journal
from interlock.log.memory import MemoryLog
from interlock.log.reader import JournalReader
from interlock.log.sqlite import SqliteLog
from interlock.testing.clock import ManualClock
from interlock.testing.faults import FaultyLog
from interlock.testing.log_contract import LogContract


class TestMemoryLog(LogContract):
    def open_log(self, directory: Path) -> AbstractAsyncContextManager[Log]:
        return _memory()


class TestSqliteLog(LogContract):
    def open_log(self, directory: Path) -> AbstractAsyncContextManager[Log]:
        return _sqlite(directory / "log.sqlite")


class TestFaultyLogWithoutFaults(LogContract):
    def open_log(self, directory: Path) -> AbstractAsyncContextManager[Log]:
        return _faultless()


class TestJournal(LogContract):
    ids_indexed = False
    own_records = 1

    def open_log(self, directory: Path) -> AbstractAsyncContextManager[Log]:
        return _journals(directory)


class Journals(Log):
    """A journal a stream, opened when first written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.open: dict[str, Journal] = {}
        self.reader = JournalReader(root)

    async def append(self, stream: str, records: Sequence[Record], *, expect: int | None = None) -> Appended | Conflict:
        check_stream(stream)
        if not records:
            return Appended((), 0)
        if stream not in self.open:
            self.open[stream] = Journal.open(self.root / stream, stream, clock=ManualClock(), segment_bytes=100_000)
        return await self.open[stream].append(stream, records, expect=expect)

    async def head(self, stream: str) -> int:
        return await self.reader.head(stream)

    def read(self, stream: str, *, after: int = 0) -> AsyncIterator[Stored]:
        return self.reader.read(stream, after=after)

    def follow(self, stream: str, *, after: int) -> AsyncIterator[Stored]:
        return self.reader.follow(stream, after=after)

    async def streams(self) -> list[str]:
        return await self.reader.streams()


@asynccontextmanager
async def _memory() -> AsyncIterator[Log]:
    yield MemoryLog()


@asynccontextmanager
async def _faultless() -> AsyncIterator[Log]:
    yield FaultyLog(MemoryLog(), iter(()), pause=_never)


async def _never() -> None:
    raise AssertionError("no fault was asked for")


@asynccontextmanager
async def _sqlite(path: Path) -> AsyncIterator[Log]:
    with closing(SqliteLog(path)) as log:
        yield log


@asynccontextmanager
async def _journals(root: Path) -> AsyncIterator[Log]:
    journals = Journals(root)
    try:
        yield journals
    finally:
        for journal in journals.open.values():
            journal.close()
