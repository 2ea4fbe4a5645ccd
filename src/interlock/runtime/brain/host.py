"""Brains of one process: wakes one for each session that wants one, up to a bound, until the process is to end.

It asks the store who is due, each time that something was written and at least each second, since leases run out and
times come without anybody writing. A session whose brain failed is left alone for a while, longer each time.
"""

import asyncio
import logging

from interlock.errors import InterlockError
from interlock.runtime.brain.loop import Brain
from interlock.runtime.brain.parts import Parts

PARALLEL = 64
POLL_S = 1.0
SWEEP_S = 15.0
GRACE_S = 20.0
"""For steps that are under way when the process is to end; after that they are cut off, as by a crash."""
SULK_S, SULK_S_MAX = 1.0, 60.0
_log = logging.getLogger(__name__)


class Host:
    """Runs brains over one store."""

    def __init__(
        self, parts: Parts, *, parallel: int = PARALLEL, poll_s: float = POLL_S, grace_s: float = GRACE_S
    ) -> None:
        self._parts, self._brain = parts, Brain(parts)
        self._parallel, self._poll_s, self._grace_s = parallel, poll_s, grace_s
        self._running: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, tuple[int, int]] = {}
        """Of sessions whose brain failed: how often in a row, and until when they are left alone."""
        self._draining = False
        self._swept_ns = 0

    @property
    def running(self) -> tuple[str, ...]:
        """Sessions that are worked on now."""
        return tuple(self._running)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set: then steps under way are finished, as far as there is time, and sandboxes put away."""
        try:
            async with asyncio.TaskGroup() as group:
                stopping = group.create_task(stop.wait())
                while not stop.is_set():
                    await self._round(group)
                    await self._wait(group, stopping)
                self._draining = True
                if self._running:
                    await asyncio.wait(self._running.values(), timeout=self._grace_s)
                for task in self._running.values():
                    task.cancel()
        finally:
            await self._parts.rack.close()

    async def _round(self, group: asyncio.TaskGroup) -> None:
        """Wake whom there is room for."""
        parts, now_ns = self._parts, self._parts.clock.monotonic_ns()
        if now_ns - self._swept_ns >= SWEEP_S * 1e9:
            self._swept_ns = now_ns
            await parts.rack.sweep()
            self._failures = {
                name: failed for name, failed in self._failures.items() if failed[1] > now_ns - 600 * 10**9
            }
        room = self._parallel - len(self._running)
        if room <= 0:
            return
        try:
            due = await parts.store.due(limit=self._parallel + len(self._failures))
        except InterlockError as error:
            _log.warning("it cannot be said which sessions are due: %s", error)
            return
        for session in due:
            if session not in self._running and self._failures.get(session, (0, 0))[1] <= now_ns and room > 0:
                room -= 1
                task = group.create_task(self._work(session), name=f"brain of {session}")
                self._running[session] = task

    async def _wait(self, group: asyncio.TaskGroup, stopping: "asyncio.Task[bool]") -> None:
        """Until something may have changed: somebody wrote, a brain is done, time has passed, or it is to stop."""
        stirring = group.create_task(self._stirred())
        full = len(self._running) >= self._parallel
        waited = [stopping, *self._running.values()] if full else [stopping, stirring, *self._running.values()]
        await asyncio.wait(waited, timeout=self._poll_s, return_when=asyncio.FIRST_COMPLETED)
        stirring.cancel()

    async def _stirred(self) -> None:
        try:
            await self._parts.store.stirred(wait_s=self._poll_s)
        except InterlockError:
            await asyncio.sleep(self._poll_s)

    async def _work(self, session: str) -> None:
        try:
            stopped = await self._brain.run(session, draining=lambda: self._draining)
        except Exception:  # one session's trouble is not another's
            count = self._failures.get(session, (0, 0))[0] + 1
            pause_s = min(SULK_S * 2 ** min(count, 10), SULK_S_MAX)
            self._failures[session] = (count, self._parts.clock.monotonic_ns() + int(pause_s * 1e9))
            _log.exception("the brain of %s failed; the next one tries in %.0f s", session, pause_s)
        else:
            if stopped == "rest":
                self._failures.pop(session, None)
        finally:
            self._running.pop(session, None)
