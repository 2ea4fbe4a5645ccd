"""Run an async test on the loops that matter: asyncio in debug mode, and uvloop.

A loop that complains fails the test: a callback that held it for more than 100 ms, an exception that nobody took, a
write to a lost connection. It does not patch time: pass a Clock.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

LOOPS = ("debug", "uvloop")
BLOCKING_S = 0.1
"""asyncio's own threshold; a call to a database or a resolver on the loop is past it when it matters."""

TICKS_TO_ACCEPT = 5
"""From a connection's arrival to its `connection_made`, with one to spare."""

T = TypeVar("T")


class LoopError(AssertionError):
    """What the loop logged while the test ran."""


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def run_on(kind: str, main: Callable[[], Coroutine[Any, Any, T]], *, blocking_s: float = BLOCKING_S) -> T:
    """What `main()` returns, run on one of `LOOPS`.

    Raises: LoopError: the loop logged a warning or worse. Slow callbacks are watched on the debug loop only.
    """
    debug = kind == "debug"
    complaints, logger = _Complaints(), logging.getLogger("asyncio")
    logger.addHandler(complaints)
    try:
        with asyncio.Runner(
            debug=debug, loop_factory=asyncio.new_event_loop if debug else uvloop.new_event_loop
        ) as runner:
            runner.get_loop().slow_callback_duration = blocking_s
            try:
                result = runner.run(main())
            finally:
                runner.run(_hang_up())
    finally:
        logger.removeHandler(complaints)
    if complaints.lines:
        raise LoopError("\n".join(complaints.lines))
    return result


async def _hang_up() -> None:
    """Close what the test left open. asyncio forgets a connection that it accepted in its last tick, and the collector
    then complains of the socket in whichever test it happens to run."""
    for _ in range(TICKS_TO_ACCEPT):
        await asyncio.sleep(0)
    for transport in list(getattr(asyncio.get_running_loop(), "_transports", {}).values()):
        transport.abort()
    await asyncio.sleep(0)


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main()` once on every loop; what the last run returned."""
    for kind in LOOPS[:-1]:
        run_on(kind, main)
    return run_on(LOOPS[-1], main)
