"""The sandboxes of sessions whose brains run in this process. A session has one at most, and gets it when it needs it.

A sandbox outlives the brain that provisioned it by a while, so that a turn that goes on finds it as it left it. After
that it is put away: a session that waits for a person costs nothing. The workspace stays in any case.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from interlock.clock import Clock
from interlock.errors import HandsUnavailable, InterlockError
from interlock.runtime.hands import Hands, Sandbox
from interlock.runtime.hands.egress import Admission
from interlock.runtime.sessions.event import Connected, Created

IDLE_S = 120.0
TOLD_MAX = 1000
"""Connections that wait to be written down; of more than these, how many there were."""
MODEL_HOST = "interlock.internal"
MODEL_ENDPOINT = f"{MODEL_HOST}:80"
"""The gateway as a program in a sandbox sees it: the egress proxy leads it there."""
Admit = Callable[[str, str], Awaitable[Admission]]
"""What is said of a request to the gateway, by its method and its target."""
_log = logging.getLogger(__name__)


class Rack:
    """Sandboxes by session."""

    def __init__(self, hands: Mapping[str, Hands], clock: Clock, *, idle_s: float = IDLE_S) -> None:
        self._hands, self._clock, self._idle_ns = hands, clock, int(idle_s * 1e9)
        self._held: dict[str, Sandbox] = {}
        self._idle_since_ns: dict[str, int] = {}
        self._told: dict[str, list[Connected]] = {}
        self._untold: dict[str, int] = {}
        self._created: dict[str, Created] = {}
        self._admits: dict[str, tuple[Admit, set[asyncio.Future[None]]]] = {}
        """Whom to ask, and who is being answered."""

    def held(self, session: str) -> Sandbox | None:
        """The session's sandbox, if it has one here."""
        return self._held.get(session)

    async def provision(self, session: str, created: Created) -> Sandbox:
        """A new one. Raises: HandsUnavailable."""
        hands = self._hands.get(created.agent.hands)
        if hands is None:
            known = ", ".join(sorted(self._hands)) or "none"
            raise HandsUnavailable(f"there are no hands of the kind {created.agent.hands!r} here; there are: {known}")
        resources = created.agent.resources
        if created.agent.program:  # it asks its model from inside
            resources = msgspec.structs.replace(resources, egress=(*resources.egress, MODEL_ENDPOINT))
        self._created[session] = created
        try:
            sandbox = await hands.provision(session, created.workspace, resources)
        except BaseException:
            del self._created[session]
            raise
        self._held[session] = sandbox
        return sandbox

    def created(self, session: str) -> Created | None:
        """Of a session that was given a sandbox here."""
        return self._created.get(session)

    @asynccontextmanager
    async def admitting(self, session: str, admit: Admit) -> AsyncIterator[None]:
        """While the block lasts, `admit` is asked about requests to the gateway out of the session's sandbox; behind
        it, nobody is being answered any more."""
        asking = set[asyncio.Future[None]]()
        self._admits[session] = admit, asking
        try:
            yield
        finally:
            del self._admits[session]
        while asking:
            await asyncio.wait(asking)

    async def admit(self, session: str, method: str, target: str) -> Admission:
        """What is said of a request to the gateway."""
        if session not in self._admits:
            return Admission(why_not="no run of a program is under way")
        admit, asking = self._admits[session]
        answered = asyncio.get_running_loop().create_future()
        asking.add(answered)
        try:
            return await admit(method, target)
        finally:
            asking.remove(answered)
            answered.set_result(None)

    def report(self, session: str, connected: Any) -> None:
        """A connection out of a sandbox was asked for: what hands are to call (`Connected` of the egress proxy, or
        anything with its fields). It goes into the session's log with the result of what runs."""
        told = self._told.setdefault(session, [])
        if len(told) >= TOLD_MAX:
            self._untold[session] = self._untold.get(session, 0) + 1
        else:
            told.append(msgspec.convert(connected, Connected, from_attributes=True))

    def told(self, session: str) -> list[Connected]:
        """Connections since the last time this was asked."""
        told = self._told.pop(session, [])
        if count := self._untold.pop(session, 0):
            why = f"{count} more attempts, which are not told one by one"
            told.append(Connected(sandbox=told[-1].sandbox, host="", port=0, allowed=False, why=why))
        return told

    def take(self, session: str) -> None:
        """A brain works on it."""
        self._idle_since_ns.pop(session, None)

    def leave(self, session: str) -> None:
        """No brain works on it any more."""
        if session in self._held:
            self._idle_since_ns[session] = self._clock.monotonic_ns()

    async def drop(self, session: str) -> None:
        """Destroy the session's sandbox."""
        self._idle_since_ns.pop(session, None)
        self._created.pop(session, None)
        sandbox = self._held.pop(session, None)
        if sandbox is not None:
            try:
                await sandbox.destroy()
            except InterlockError as error:  # it is gone, or cannot be reached: its adapter's sweep ends it
                _log.warning("a sandbox could not be destroyed: %s", error)

    async def sweep(self) -> None:
        """Put away what has been idle for too long."""
        now_ns = self._clock.monotonic_ns()
        for session in [name for name, since in self._idle_since_ns.items() if now_ns - since >= self._idle_ns]:
            await self.drop(session)

    async def close(self) -> None:
        """Destroy all."""
        for session in list(self._held):
            await self.drop(session)
