"""Sessions in SQLite keep the contract, whichever way they are synced."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interlock.clock import Clock
from interlock.runtime.sessions import sqlite
from interlock.runtime.sessions.sqlite import SqliteStore
from interlock.runtime.sessions.tables import Sync
from interlock.testing.sessions_contract import SessionsContract


class TestProcess(SessionsContract):
    sync: Sync = "process"

    @asynccontextmanager
    async def open_store(self, directory: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(directory / "sessions.sqlite", clock, sync=self.sync)
        try:
            yield store
        finally:
            await store.close()


class TestPower(TestProcess):
    sync = "power"


class TestThreads(TestProcess):
    """Everything that may be done by the thread is, and the WAL is copied all the time."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite, "INLINE_BYTES_MAX", 0)
        monkeypatch.setattr(sqlite, "WAL_BYTES", 1)
        monkeypatch.setattr(sqlite, "GROUP_MAX", 3)
