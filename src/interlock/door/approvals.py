"""The `tools` stream as the door sees it: what a server lists is compared, and what is new is written down.

It is as new as the last approval that an operator was told of: the shared page says so (identity/generation.py).
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from interlock.clock import Clock
from interlock.door.pins import (
    APPROVED,
    BY_FIRST_SEEN,
    DEFINITION_BYTES_MAX,
    SEEN,
    STREAM,
    Approved,
    Definition,
    Pins,
    defined,
    hash_of,
)
from interlock.errors import InterlockError, LocalError
from interlock.identity import TOOLS, Generation
from interlock.log import Conflict, Log, Record

_TRIES = 32


class Approvals:
    """One reader and writer of the stream; the control process is another."""

    def __init__(self, log: Log, generation: Generation, clock: Clock) -> None:
        self.pins = Pins()
        self._log = log
        self._generation = generation
        self._clock = clock

    async def refresh(self) -> Pins:
        """Fold what has been appended since."""
        async for stored in self._log.read(STREAM, after=self.pins.seq):
            self.pins.apply(stored)
        return self.pins

    async def judge(
        self, server: str, tools: Sequence[dict[str, Any]], first_seen: Literal["approve", "ask"]
    ) -> dict[str, str]:
        """Why each tool of a listing may not be used, by name; empty: it may. What is new has been written down.

        Raises: InterlockError: the stream cannot be read or written; nothing may be used then.
        """
        if self._generation.slots[TOOLS] > self.pins.seq or self.pins.seq == 0:
            await self.refresh()
        hashes = {tool["name"]: (hash_of(definition := defined(tool)), definition) for tool in tools}
        await self._note(server, hashes, first_seen)
        return {name: self._refusal(server, name, *found) for name, found in hashes.items()}

    def _refusal(self, server: str, name: str, hash_: str, definition: dict[str, Any]) -> str:
        if len(msgspec.json.encode(definition)) > DEFINITION_BYTES_MAX:
            return f"its definition exceeds {DEFINITION_BYTES_MAX} bytes"
        return self.pins.refusal(server, name, hash_)

    async def _note(
        self, server: str, hashes: dict[str, tuple[str, dict[str, Any]]], first_seen: Literal["approve", "ask"]
    ) -> None:
        for _ in range(_TRIES):
            records = []
            for name, (hash_, definition) in hashes.items():
                if not self.pins.news(server, name, hash_):
                    continue
                if len(msgspec.json.encode(definition)) > DEFINITION_BYTES_MAX:
                    continue
                records.append(self._seen(server, name, hash_, definition))
                if first_seen == "approve" and (server, name) not in self.pins.tools:
                    records.append(self.approved(server, name, hash_, BY_FIRST_SEEN))
            if not records:
                return
            written = await self._log.append(STREAM, records, expect=self.pins.seq)
            await self.refresh()
            if not isinstance(written, Conflict):
                self._generation.raise_to(TOOLS, self.pins.seq)
                return
        raise InterlockError(f"the tools stream moved on {_TRIES} times in a row; retry", code="conflict")

    async def approve(self, server: str, name: str, hash_: str, by: str) -> Approved:
        """From the moment this returns, the door lists and calls that very definition. Idempotent.

        Raises: LocalError `not_found`: no such tool, or no such definition of it was seen.
        """
        for _ in range(_TRIES):
            pin = (await self.refresh()).tools.get((server, name))
            if pin is None or hash_ not in pin.seen:
                raise LocalError(f"no definition {hash_[:16]!r} of {server}.{name} was seen", code="not_found")
            if pin.approved is not None and pin.approved.sha256 == hash_:
                self._generation.raise_to(TOOLS, self.pins.seq)
                return pin.approved
            record = self.approved(server, name, hash_, by)
            written = await self._log.append(STREAM, [record], expect=self.pins.seq)
            await self.refresh()
            if not isinstance(written, Conflict):
                self._generation.raise_to(TOOLS, self.pins.seq)
        raise InterlockError(f"the tools stream moved on {_TRIES} times in a row; retry", code="conflict")

    def _seen(self, server: str, name: str, hash_: str, definition: dict[str, Any]) -> Record:
        now_ns = self._clock.now_ns()
        seen = Definition(server=server, name=name, sha256=hash_, at_ns=now_ns, definition=definition)
        return self._record(SEEN, server, name, hash_, seen)

    def approved(self, server: str, name: str, hash_: str, by: str) -> Record:
        """The record of an approval."""
        approved = Approved(server=server, name=name, sha256=hash_, at_ns=self._clock.now_ns(), by=by)
        return self._record(APPROVED, server, name, hash_, approved)

    def _record(self, type_: str, server: str, name: str, hash_: str, value: msgspec.Struct) -> Record:
        # A definition may come, go and come again: each time is a fact of its own.
        id_ = f"{type_}/{server}/{hash_[:16]}/{self.pins.seq + 1}/{name[:64]}"
        return Record(id=id_, type=type_, at_ns=self._clock.now_ns(), payload=msgspec.json.encode(value))
