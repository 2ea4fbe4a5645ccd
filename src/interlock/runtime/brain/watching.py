"""Work while the log is watched: what a person cancels stops at once, not at the next step."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from interlock.errors import InterlockError
from interlock.runtime.sessions.event import Cancelled
from interlock.runtime.sessions.ports import Store

WATCH_S = 30.0
AFTER_S = 0.05
"""Most calls are over by then, and need no watch."""
_PAUSE_S = 1.0
_log = logging.getLogger(__name__)


async def cancel_on_word(
    store: Store,
    session: str,
    after: int,
    tasks: Sequence[asyncio.Task[Any]],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Wait for a `session.cancelled` behind `after`, then cancel the tasks. To be cancelled when they are done."""
    await sleep(AFTER_S)
    while True:
        try:
            if not await store.changed(session, after=after, wait_s=WATCH_S):
                continue
            events = await store.events(session, after=after)
        except InterlockError as error:  # the work goes on; the next append meets the trouble
            _log.warning("the log of %s cannot be watched: %s", session, error)
            await sleep(_PAUSE_S)
            continue
        if any(isinstance(seen.event, Cancelled) for seen in events):
            for task in tasks:
                task.cancel()
            return
        after = events[-1].seq if events else after
