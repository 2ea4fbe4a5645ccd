"""Run an async test on the loops that matter: asyncio in debug mode, and uvloop.

A loop that complains fails the test: a callback that held it for more than 100 ms, an exception that nobody took, a
write to a lost connection. Time for which the thread could run and other processes had its core is not the callback's.
It does not patch time: pass a Clock.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Iterator
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


class DebugLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, whose slow callbacks are those that were slow by themselves.

    asyncio sets `_current_handle` before a callback and compares the time it took with `slow_callback_duration` after
    it: here that is what is allowed, and what the thread waited for a core meanwhile.
    """

    def __init__(self, blocking_s: float, waited_s: Callable[[], float]) -> None:
        """`waited_s`: how long this thread has waited for a core, since it began."""
        self._waited_s = waited_s
        self._before_s = 0.0
        self._handle: object = None
        super().__init__()
        self._blocking_s = blocking_s  # after asyncio has set its own

    @property
    def _current_handle(self) -> object:
        return self._handle

    @_current_handle.setter
    def _current_handle(self, handle: object) -> None:
        self._handle = handle
        if handle is not None:
            self._before_s = self._waited_s()

    @property
    def slow_callback_duration(self) -> float:
        return self._blocking_s + self._waited_s() - self._before_s

    @slow_callback_duration.setter
    def slow_callback_duration(self, value: float) -> None:
        self._blocking_s = value


@contextlib.contextmanager
def waiting_time() -> Iterator[Callable[[], float]]:
    """How long this thread has been ready to run without a core, in seconds; 0 where the kernel does not count it.

    Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat, the second figure (ns).
    """
    try:
        fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield lambda: 0.0
        return
    try:
        yield lambda: int(os.pread(fd, 100, 0).split()[1]) / 1e9
    finally:
        os.close(fd)


def run_on(kind: str, main: Callable[[], Coroutine[Any, Any, T]], *, blocking_s: float = BLOCKING_S) -> T:
    """What `main()` returns, run on one of `LOOPS`.

    Raises: LoopError: the loop logged a warning or worse. Slow callbacks are watched on the debug loop only.
    """
    debug = kind == "debug"
    complaints, logger = _Complaints(), logging.getLogger("asyncio")
    logger.addHandler(complaints)
    try:
        with (
            waiting_time() as waited_s,
            asyncio.Runner(
                debug=debug,
                loop_factory=(lambda: DebugLoop(blocking_s, waited_s)) if debug else uvloop.new_event_loop,
            ) as runner,
        ):
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
