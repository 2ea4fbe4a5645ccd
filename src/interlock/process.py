"""One child process kept running: started, restarted when it ends, stopped, and never left behind.

The supervisor runs one `Child` for each gateway worker, for the control side and for the local model, each in its own
task. What a child is for, what its end means and where that is logged is the caller's: see `on_start` and `on_exit`.
Needs Linux: a process file descriptor tells of the end without threads, signals or a process id that may be reused.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from interlock import tether
from interlock.clock import Clock
from interlock.tether import die_with_parent as die_with_parent  # for a child that was started otherwise

BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 5.0
HEALTHY_NS = 10_000_000_000
"""A child that ran this long counts as having worked: its next restart waits the least again."""


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How one run of a child ended."""

    pid: int
    """0: it could not even be forked."""
    status: int
    """0 to 255: what it exited with. Negative: the signal that ended it."""
    ran_ns: int
    stopping: bool
    """Whether it was asked to stop; if not, it will be started again."""

    @property
    def reason(self) -> str:
        """For people: `exit status 1`, `killed by SIGKILL`."""
        if self.status >= 0:
            return f"exit status {self.status}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-self.status).name}"
        return f"killed by signal {-self.status}"


def failures_after(failures: int, ran_ns: int) -> int:
    """How many quick ends in a row there have been, with one more that came after `ran_ns`."""
    return 1 if ran_ns >= HEALTHY_NS else failures + 1


def backoff_s(failures: int) -> float:
    """Seconds to wait before the restart after that many quick ends: 0.1, 0.2, 0.4 … 5.

    >>> [backoff_s(n) for n in (1, 2, 6, 7, 1000)]
    [0.1, 0.2, 3.2, 5.0, 5.0]
    """
    return min(BACKOFF_S_MIN * (1 << min(failures - 1, 16)), BACKOFF_S_MAX)


async def _nothing(*_: object) -> None:
    """The callback of a caller who does not ask."""


class Child:
    """One supervised child. `run` is its whole life; `stop` asks for the end.

    It dies with its parent (`interlock.tether`), has its own process group, so that a terminal's Ctrl-C reaches only
    the supervisor, which then decides, and no standard input. Standard output and error are the parent's.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        clock: Clock,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        grace_s: float = 10.0,
        on_start: Callable[["Child"], Awaitable[None]] = _nothing,
        on_exit: Callable[["Child", Exit], Awaitable[None]] = _nothing,
    ) -> None:
        """
        Args:
            argv: the program and its arguments; never a secret (any user can read them).
            env: the whole environment; None: the parent's.
            pass_fds: descriptors the child inherits under the same numbers.
            grace_s: seconds between SIGTERM and SIGKILL.
            on_start: awaited after each start, with `pid` set.
            on_exit: awaited after each end, before the restart; by then nothing of the run is left.
        """
        self.name = name
        self.argv = tuple(argv)
        self.pid: int | None = None
        """Of the run under way."""
        self._env = env
        self._pass_fds = tuple(pass_fds)
        self._grace_s = grace_s
        self._clock = clock
        self._on_start = on_start
        self._on_exit = on_exit
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after the grace; `run` returns when the child is gone. May be called at any time."""
        self._stop.set()

    async def run(self) -> None:
        """Start the child and keep it running until `stop`. A cancelled `run` kills it at once.

        Raises: what a callback raised; the child has been killed then.
        """
        failures = 0
        while not self._stop.is_set():
            end = await self._run_once()
            await self._on_exit(self, end)
            failures = failures_after(failures, end.ran_ns)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), backoff_s(failures))

    async def _run_once(self) -> Exit:
        started_ns = self._clock.monotonic_ns()
        try:
            process = self._spawn()
        except OSError:  # no process or no memory to be had now: as if it had ended at once
            return Exit(pid=0, status=tether.EXIT_CANNOT_START, ran_ns=0, stopping=self._stop.is_set())
        try:
            self.pid = process.pid
            await self._on_start(self)
            await self._until_ended(process.pid)
        finally:
            self.pid = None
            _kill_group(process.pid)
            process.wait()  # it has ended, or SIGKILL is on its way: no wait worth the name
        ran_ns = self._clock.monotonic_ns() - started_ns
        return Exit(pid=process.pid, status=process.returncode, ran_ns=ran_ns, stopping=self._stop.is_set())

    def _spawn(self) -> subprocess.Popen[bytes]:
        assert threading.current_thread() is threading.main_thread(), "the tie would be to a thread that may end"
        prelude = [sys.executable, "-I", "-S", str(Path(tether.__file__)), str(os.getpid())]
        return subprocess.Popen(
            [*prelude, *self.argv],
            env=self._env,
            pass_fds=self._pass_fds,
            stdin=subprocess.DEVNULL,
            process_group=0,
        )

    async def _until_ended(self, pid: int) -> None:
        """Wait for the end, which `stop` brings about. The child is not reaped yet."""
        ended = asyncio.Event()
        with _end_of(pid, ended) as pidfd:
            async with asyncio.TaskGroup() as group:
                stopper = group.create_task(self._terminate_on_stop(pid, pidfd))
                await ended.wait()
                stopper.cancel()

    async def _terminate_on_stop(self, pid: int, pidfd: int) -> None:
        await self._stop.wait()
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        await asyncio.sleep(self._grace_s)
        _kill_group(pid)


@contextlib.contextmanager
def _end_of(pid: int, ended: asyncio.Event) -> Iterator[int]:
    """Set `ended` when the process ends. Yields: a descriptor of the process, for signals."""
    pidfd = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    try:
        yield pidfd
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def _kill_group(pid: int) -> None:
    """SIGKILL a child and what it started. Only before it is reaped: until then nobody else can have its number."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
