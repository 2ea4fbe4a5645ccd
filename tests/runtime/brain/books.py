"""A session's attempts in a real ledger, over a log that a test writes as a gateway would."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.ledger.logs import SONNET, adopted, log_of, opened, record, settled
from tests.runtime.brain.rig import SESSION

from interlock.errors import TransientError
from interlock.ledger import Ledger, SessionAttempt

TOKENS = 15
"""Of an attempt that says nothing else: 10 in, 5 out."""
AMOUNT = 105_000


class Books:
    """`attempts` is what `Parts` wants."""

    def __init__(self, directory: Path) -> None:
        self._usage = log_of()
        self._config = log_of(config=[adopted("sha256:1", {"sonnet": SONNET, "free": None})])
        self._ledger = Ledger(directory / "ledger.sqlite")
        self.asked = 0
        self.away = False
        """It cannot be asked."""

    def open(self, name: str, attempt: int = 1, at_ns: int = 1_000, **fields: Any) -> None:
        """An attempt is sent."""
        fields = {"tenant": "t", "session": SESSION} | fields
        self._usage.put("usage/0", record(opened(f"req_{name}", attempt, **fields), at_ns))

    def settle(self, name: str, attempt: int = 1, **fields: Any) -> None:
        """It is over."""
        self._usage.put("usage/0", record(settled(f"req_{name}", attempt, **fields), 2_000))

    def call(self, name: str, **fields: Any) -> None:
        """Both."""
        self.open(name, **fields)
        self.settle(name)

    async def attempts(self, tenant: str, session: str, since_ns: int) -> Sequence[SessionAttempt]:
        self.asked += 1
        if self.away:
            raise TransientError("no view", code="view_unavailable")
        await self._ledger.catch_up(self._usage, self._config)
        return await asyncio.to_thread(self._ledger.attempts_of, tenant, session, since_ns)

    def close(self) -> None:
        self._ledger.close()
