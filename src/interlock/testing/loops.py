"""Run an async test on the loops that matter: asyncio in debug mode, and uvloop.

A loop that complains fails the test: a callback that held it for more than 100 ms, an exception that nobody took, a
write to a lost connection. Time for which others had the core, other processes or the host, is not the callback's.
It does not patch time: pass a Clock.
"""

import asyncio
import contextlib
import logging
import os
import resource
import threading
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop

LOOPS = ("debug", "uvloop")
BLOCKING_S = 0.1
"""asyncio's own threshold; a call to a database or a resolver on the loop is past it when it matters."""

BEAT_S = 0.005
SAMPLE_S = 0.02
"""How old the figure of what was waited before a callback may be: it takes 100 µs to read."""

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


class Pulse:
    """Beats each BEAT_S while this process gets on: it stands still when the process does (its host took the cores, a
    disk is slow, another thread keeps the interpreter), and goes on while one thread computes or sleeps."""

    def __init__(self) -> None:
        self.beats = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._end.wait(BEAT_S):
            self.beats += 1


class DebugLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, whose slow callbacks are those that were slow by themselves.

    asyncio sets `_current_handle` before a callback and compares the time it took with `slow_callback_duration` after
    it. Here a callback is slow if the process got on for longer than is allowed while it ran, what was waited for a
    core (and up to SAMPLE_S before) taken off; not if its own code had to be read from the disk meanwhile.
    """

    def __init__(self, blocking_s: float, pulse: Pulse, waited_s: Callable[[], float]) -> None:
        """`waited_s`: how long has been waited for a core so far."""
        self._pulse = pulse
        self._waited_s = waited_s
        self._before_s = 0.0
        self._sampled_s = float("-inf")
        self._beats = self._faults = 0
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
            now_s = self.time()
            if now_s - self._sampled_s > SAMPLE_S:
                self._before_s, self._sampled_s = self._waited_s(), now_s
            self._beats, self._faults = self._pulse.beats, _faults()

    @property
    def slow_callback_duration(self) -> float:
        """What asyncio compares with: nothing, or more than any callback takes."""
        alive_s = (self._pulse.beats - self._beats) * BEAT_S
        if alive_s < self._blocking_s or _faults() > self._faults:
            return float("inf")
        return 0.0 if alive_s - (self._waited_s() - self._before_s) >= self._blocking_s else float("inf")

    @slow_callback_duration.setter
    def slow_callback_duration(self, value: float) -> None:
        self._blocking_s = value


def _faults() -> int:
    """Pages that this thread waited for a disk for."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_majflt


def waited_s() -> float:
    """How long, in seconds, threads of this process have been ready to run without a core (any of them may hold what
    the loop's needs, the interpreter first of all), and cores of this machine were taken by its host. What the kernel
    does not count is 0.

    Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat, the second figure (ns); proc(5),
    /proc/stat, `steal` (hundredths of a second).
    """
    waited = 0.0
    with contextlib.suppress(OSError):
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):  # it has ended
                waited += int((thread / "schedstat").read_text().split()[1]) / 1e9
        with Path("/proc/stat").open() as counts:
            waited += int(counts.readline().split()[8]) / os.sysconf("SC_CLK_TCK")
    return waited


def run_on(kind: str, main: Callable[[], Coroutine[Any, Any, T]], *, blocking_s: float = BLOCKING_S) -> T:
    """What `main()` returns, run on one of `LOOPS`.

    Raises: LoopError: the loop logged a warning or worse. Slow callbacks are watched on the debug loop only.
    """
    debug = kind == "debug"
    complaints, logger = _Complaints(), logging.getLogger("asyncio")
    logger.addHandler(complaints)
    try:
        with Pulse() as pulse:
            runner = asyncio.Runner(
                debug=debug,
                loop_factory=(lambda: DebugLoop(blocking_s, pulse, waited_s)) if debug else uvloop.new_event_loop,
            )
            try:
                result = runner.run(main())
            finally:
                runner.run(_hang_up())
                complaints.lines += _closed(runner)
    finally:
        logger.removeHandler(complaints)
    if complaints.lines:
        raise LoopError("\n".join(complaints.lines))
    return result


def _closed(runner: asyncio.Runner) -> list[str]:
    """Close it; what was left open. uvloop warns of that before it closes it, and, where a warning is an error, does
    not: it then waits for ever."""
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always")
        runner.close()
    return [str(warning.message) for warning in left]


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
