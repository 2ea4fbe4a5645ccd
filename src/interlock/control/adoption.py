"""Which policy is in force: the newest `policy.adopted` of the `config` stream, and how a file becomes one.

A file that does not load changes nothing but what `rejected` says. What a configuration means is interlock.config's
business.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from interlock import config
from interlock.clock import Clock
from interlock.config import Loaded, Watch
from interlock.errors import ConfigError, InterlockError
from interlock.gateway.policy import Policy
from interlock.instants import rfc3339
from interlock.ledger import Watching
from interlock.limits.settings import Warned
from interlock.log import Log, Record
from interlock.meters import Settings

STREAM = "config"
TYPE = "policy.adopted"
_TRIES = 32


class Rejected(msgspec.Struct, frozen=True):
    """A file that was not adopted."""

    at_ns: int
    problems: tuple[str, ...]


class Adoption:
    """The policy in force and the file it is taken from."""

    def __init__(
        self,
        log: Log,
        path: Path | None,
        clock: Clock,
        committed: Callable[[int], None] = lambda head: None,
        data: Path | None = None,
    ) -> None:
        """
        Args:
            path: None is the built-in configuration.
            committed: called with the stream's head when an adoption is durable, before it is answered.
            data: the data directory, which no configuration may show to sandboxes.
        """
        self.policy: Policy | None = None
        self.warnings: tuple[str, ...] = ()
        self.rejected: Rejected | None = None
        self.ledger: Settings | None = None
        """Of the last file that was good; None: there was none since the start."""
        self.anomalies: Watching | None = None
        """The same."""
        self.warned: Warned | None = None
        """The same."""
        self.seq = 0
        """The record that `policy` is."""
        self._head = 0
        self._sources: dict[str, dict[str, tuple[str, ...]]] = {}
        """Of every profile that was ever adopted with any, by its name."""
        self._log = log
        self._path = path
        self._watch = Watch(path, clock) if path else None
        self._clock = clock
        self._data = data
        self._committed = committed
        self._turn = asyncio.Lock()  # one adoption at a time: a slow load of an old file must not win over a new one

    async def adopt(self) -> Policy:
        """Load the file; if its policy is another than the one in force, append it. The policy then in force.

        Raises: ConfigError: the file has mistakes; they are kept in `rejected`, and the policy stays as it was.
        """
        async with self._turn:
            await self._refresh()
            try:
                loaded = await asyncio.to_thread(self._load)
                self._check_sources(loaded)
            except ConfigError as error:
                self.rejected = Rejected(self._clock.now_ns(), tuple(error.problems))
                raise
            self.ledger, self.anomalies = loaded.config.ledger, loaded.config.anomalies
            self.warned = loaded.config.server.webhook
            await self._append(loaded.policy)
            self.warnings, self.rejected = tuple(loaded.warnings), None
            return loaded.policy

    def _check_sources(self, loaded: Loaded) -> None:
        """A list of sources and destinations keeps its name for ever: contracts and proofs are written of it.

        Raises: ConfigError.
        """
        problems = [
            f"{loaded.file}: boundaries.{name}.sources: another list was adopted under this name, and one never "
            f'changes; give the new one another name, e.g. "{name}-2"'
            for name, profile in loaded.policy.profiles.items()
            if profile.sources is not None and profile.sources != self._sources.get(name, profile.sources)
        ]
        if problems:
            raise ConfigError(problems)

    def changed(self) -> bool:
        """Whether the file has other content than at the last call."""
        return self._watch is not None and self._watch.poll()

    def check(self, text: str) -> Loaded:
        """What `text` would be in place of the file. Blocking. Raises: ConfigError."""
        folder = self._path.parent if self._path else Path.cwd()
        return self._priced(config.parse(text, file="interlock.toml", folder=folder, env=os.environ, data=self._data))

    def view(self) -> dict[str, Any]:
        """The policy in force and what became of the file, for API JSON."""
        rejected = self.rejected
        return {
            "version": self.policy.version if self.policy else None,
            "seq": self.seq,
            "path": str(self._path) if self._path else None,
            "warnings": self.warnings,
            "rejected": {"at": rfc3339(rejected.at_ns), "problems": rejected.problems} if rejected else None,
            "policy": self.policy,
        }

    async def _append(self, policy: Policy) -> None:
        for _ in range(_TRIES):
            await self._refresh()
            if self.policy is not None and self.policy.version == policy.version:
                self._committed(self._head)
                return
            record = Record(
                id=f"{policy.version}:{self._head + 1}",
                type=TYPE,
                at_ns=self._clock.now_ns(),
                payload=msgspec.json.encode(policy),
            )
            await self._log.append(STREAM, [record], expect=self._head)  # a conflict shows in the next round
        raise InterlockError(f"the config stream moved on {_TRIES} times in a row; retry", code="conflict")

    async def _refresh(self) -> None:
        async for stored in self._log.read(STREAM, after=self._head):
            self._head = stored.seq
            if stored.record.type == TYPE:
                self.policy, self.seq = msgspec.json.decode(stored.record.payload, type=Policy), stored.seq
                for name, profile in self.policy.profiles.items():
                    if profile.sources is not None:
                        self._sources.setdefault(name, profile.sources)

    def _load(self) -> Loaded:
        return self._priced(config.load(self._path, data=self._data))

    def _priced(self, loaded: Loaded) -> Loaded:
        """Once, now: what the record holds is what the ledger prices by, however the tables change later."""
        return config.resolve_prices(loaded, now_ns=self._clock.now_ns())
