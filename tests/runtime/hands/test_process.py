"""The plain process: the suite that also holds for what contains nothing."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import HandsUnavailable
from interlock.runtime.hands import Hands, Resources
from interlock.runtime.hands.process import Process
from interlock.runtime.hands.workspaces import Workspaces
from interlock.testing.hands_contract import on_hands
from interlock.testing.hands_files import FilesContract
from interlock.testing.hands_shells import ShellsContract


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Hands]:
    yield Process(Workspaces(directory / "workspaces", SystemClock(), own_users=False), SystemClock())


class TestProcess(FilesContract, ShellsContract):
    def open_hands(self, directory: Path) -> AbstractAsyncContextManager[Hands]:
        return opened(directory)

    @on_hands
    async def test_who_lists_egress_is_refused_rather_than_deceived(self, hands: Hands) -> None:
        with pytest.raises(HandsUnavailable):
            await hands.provision("s", "w", Resources(egress=("example.com:443",)))
