"""One bubblewrap while it runs: told when its command begins, killed as a whole, and over only when nothing is left.

Two of our descriptors hold it: the bubblewrap outside, our child, and the one inside that is the first process of the
sandbox, whose end is the end of all others there (pid_namespaces(7)). The inner one is let go on only when we have its
descriptor, so that it cannot end, and its number go to somebody else, before.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from interlock.errors import HandsUnavailable
from interlock.runtime.hands.cgroups import Usage
from interlock.runtime.hands.outlet import Outlet
from interlock.runtime.hands.tree import Ending, Watched, exit_code

_INFO_BYTES_MAX = 4096


class _Info(msgspec.Struct):
    child_pid: int = msgspec.field(name="child-pid")


class BwrapTree:
    """See `tree.Tree`. It owns the descriptors and sockets that it is given."""

    def __init__(
        self,
        pid: int,
        status: socket.socket,
        told: int,
        lets_go: int,
        outlet: Outlet | None,
        usage: Callable[[], Usage],
    ) -> None:
        """
        Args:
            status: where the prelude says that the command begins.
            told: where bubblewrap says its inner process's id; not blocking.
            lets_go: a byte on it, and the inner process goes on.
            outlet: furnishes its network before the command begins; the prelude waits for it.
        """
        self._loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = self._loop.create_future()
        self.started.add_done_callback(lambda future: future.cancelled() or future.exception())
        self.gone: asyncio.Future[Ending] = self._loop.create_future()
        self.out_of_memory = False
        self._status, self._told, self._lets_go = status, told, lets_go
        self._outlet = outlet
        self._furnishing: asyncio.Task[None] | None = None
        self._failure = "the sandbox could not be set up"
        self._usage, self._before = usage, usage()
        self._info = b""
        self._inner: int | None = None
        self._inner_pid = 0
        self._outer_status: int | None = None
        self._killed = False
        status.setblocking(False)
        self._loop.add_reader(told, self._hear)
        self._loop.add_reader(status, self._begin)
        self._outer = Watched(pid, self._outer_ended)

    def kill(self) -> None:
        """See `tree.Tree`."""
        self._killed = True
        self._kill_inner()
        self._outer.kill()

    def memory(self) -> int:
        """Bytes of memory that its processes hold now, what they share counted for each."""
        total, left = 0, [self._outer.pid]
        while left:
            pid = left.pop()
            with contextlib.suppress(OSError, ValueError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    left += [int(child) for child in (thread / "children").read_text().split()]
        return total

    def _hear(self) -> None:
        """Bubblewrap's word of its inner process."""
        with contextlib.suppress(BlockingIOError):
            piece = os.read(self._told, _INFO_BYTES_MAX)
            self._info += piece
            if b"}" not in self._info and piece and len(self._info) < _INFO_BYTES_MAX:
                return
            self._loop.remove_reader(self._told)
            with contextlib.suppress(msgspec.DecodeError, OSError):
                self._inner_pid = msgspec.json.decode(self._info, type=_Info).child_pid
                self._inner = os.pidfd_open(self._inner_pid)
                if self._killed:
                    self._kill_inner()
                os.write(self._lets_go, b"g")

    def _begin(self) -> None:
        """The prelude's word that all is ready in there."""
        try:
            word = self._status.recv(1)
        except OSError:
            word = b""
        self._loop.remove_reader(self._status)
        if not word or self.started.done() or self._furnishing is not None:
            return
        if self._outlet is None:
            self.started.set_result(None)
        elif self._inner is not None:
            self._furnishing = self._loop.create_task(self._furnish(self._outlet, self._inner))  # `_over` ends it

    async def _furnish(self, outlet: Outlet, inner: int) -> None:
        try:
            await outlet.open(self._inner_pid, inner)
            self._status.send(b"g")
        except (OSError, HandsUnavailable) as error:
            self._failure = f"the sandbox's network could not be set up: {error}"
            self.kill()
        else:
            self.started.set_result(None)

    def _outer_ended(self, status: int, cpu_s: float, memory: int) -> None:
        self._outer_status = status
        if self._inner is None:
            self._hear()
        if self._inner is None:
            self._over()
            return
        self._kill_inner()
        self._loop.add_reader(self._inner, self._inner_ended)

    def _kill_inner(self) -> None:
        if self._inner is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._inner, signal.SIGKILL)

    def _inner_ended(self) -> None:
        assert self._inner is not None
        with contextlib.suppress(ChildProcessError):  # as process 1 of a container we inherit it, and must bury it
            os.waitid(os.P_PIDFD, self._inner, os.WEXITED | os.WNOHANG)
        self._loop.remove_reader(self._inner)
        self._over()

    def _over(self) -> None:
        self._begin()
        self._loop.remove_reader(self._told)
        for descriptor in (self._told, self._lets_go, self._inner):
            if descriptor is not None:
                os.close(descriptor)
        self._inner = None
        self._status.close()
        if self._furnishing is not None:
            self._furnishing.cancel()
        if self._outlet is not None:
            self._outlet.close()
        if not self.started.done():
            self.started.set_exception(HandsUnavailable(self._failure))
        used, status = self._usage(), self._outer_status
        assert status is not None
        self.out_of_memory = used.oom_kills > self._before.oom_kills
        self.gone.set_result(
            Ending(
                exit_code=None if os.WIFSIGNALED(status) else exit_code(status),
                cpu_s=(used.cpu_ns - self._before.cpu_ns) / 1e9,
                memory_bytes_peak=used.memory_bytes_peak,
            )
        )
