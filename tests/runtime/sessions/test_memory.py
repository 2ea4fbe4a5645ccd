"""Sessions in memory keep the contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from interlock.clock import Clock
from interlock.runtime.sessions.memory import MemoryStore
from interlock.testing.sessions_contract import SessionsContract


class TestMemory(SessionsContract):
    @asynccontextmanager
    async def open_store(self, directory: Path, clock: Clock) -> AsyncIterator[MemoryStore]:
        yield MemoryStore(clock)
