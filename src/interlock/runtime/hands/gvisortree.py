"""One command in a gVisor kernel: a client of runsc's outside, which ends when the command and all it started have.

The command's own first process (`gvisorinit`) is known by its number inside; killing it there is killing all of it. A
kernel that does not do so in time is ended whole.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from interlock.errors import HandsUnavailable
from interlock.runtime.hands.elf import Program
from interlock.runtime.hands.gvisorbundle import RUN, process
from interlock.runtime.hands.gvisorkernel import Kernel
from interlock.runtime.hands.tree import Ending, Stdio, Watched, exit_code

KILL_S = 5.0
_POLL_S = 0.005


class GvisorTree:
    """See `tree.Tree`."""

    def __init__(self, kernel: Callable[[], Awaitable[Kernel]], program: Program, stdio: Stdio, name: str) -> None:
        """
        Args:
            kernel: gives one that is up.
            program: what the sandbox is to execute.
            name: of this command, of its own in the sandbox.
        """
        self._loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = self._loop.create_future()
        self.started.add_done_callback(lambda future: future.cancelled() or future.exception())
        self.gone: asyncio.Future[Ending] = self._loop.create_future()
        self.ran_out_of = ""
        """`memory` or `processes`, if its kernel died for want of it."""
        self._name = name
        self._kernel: Kernel | None = None
        self._client: Watched | None = None
        self._killing: asyncio.Task[None] | None = None
        self._ending = False
        self._stdio = Stdio(os.dup(stdio.stdin), os.dup(stdio.stdout), os.dup(stdio.stderr), terminal=stdio.terminal)
        self._starting = self._loop.create_task(self._start(kernel, program.image()))  # `gone` waits for it

    def kill(self) -> None:
        """See `tree.Tree`."""
        self._ending = True
        if not self.gone.done() and self._killing is None and self._client is not None:
            self._killing = self._loop.create_task(self._kill())  # ends with the client, or with the kernel

    async def _start(self, kernel: Callable[[], Awaitable[Kernel]], image: bytes) -> None:
        """Not to be cancelled half way: whoever ends it sets `_ending`."""
        try:
            self._kernel = found = await kernel()
            self._before = found.usage()
            await asyncio.to_thread(self._write, image)
            if self._ending:
                raise HandsUnavailable("it was ended before it began")
            given = (f"--process={self._path('json')}", f"--internal-pid-file={self._path('pid')}", found.id)
            self._client = found.spawn(("exec", *given), self._stdio, self._ended)
        except HandsUnavailable as error:
            self._never(error)
        except OSError as error:
            self._never(HandsUnavailable(f"no command can be started now: {error.strerror}"))
        else:
            self.started.set_result(None)
        finally:
            self._close()

    def _never(self, error: HandsUnavailable) -> None:
        self.started.set_exception(error)
        self.gone.set_result(Ending(exit_code=137))

    def _close(self) -> None:
        for descriptor in (self._stdio.stdin, self._stdio.stdout, self._stdio.stderr):
            os.close(descriptor)

    def _path(self, kind: str) -> Path:
        assert self._kernel is not None
        return self._kernel.directory / f"{self._name}.{kind}"

    def _write(self, image: bytes) -> None:
        assert self._kernel is not None
        program = self._kernel.directory / "bundle/run" / self._name
        program.write_bytes(image)
        program.chmod(0o555)
        begun = process([f"{RUN}/{self._name}"], terminal=self._stdio.terminal)
        self._path("json").write_bytes(msgspec.json.encode(begun))

    async def _kill(self) -> None:
        """Kill the first process inside; the client tells the end."""
        assert self._kernel is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_S):
                while not self.gone.done():
                    if (number := self._number()) is not None:
                        await self._signal(number)
                        await asyncio.wait([self.gone], timeout=KILL_S / 4)
                    else:
                        await asyncio.wait([self.gone], timeout=_POLL_S)
        if not self.gone.done():
            await self._kernel.down()
            if self._client is not None:
                self._client.kill()

    def _number(self) -> str | None:
        with contextlib.suppress(OSError):
            return self._path("pid").read_text().strip() or None
        return None

    async def _signal(self, number: str) -> None:
        assert self._kernel is not None
        done: asyncio.Future[None] = self._loop.create_future()

        def ended(*_: object) -> None:
            if not done.done():
                done.set_result(None)

        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            arguments = ("kill", f"-pid={number}", self._kernel.id, "KILL")
            killer = self._kernel.spawn(arguments, Stdio(nothing, nothing, nothing), ended)
        finally:
            os.close(nothing)
        try:
            await done
        except asyncio.CancelledError:
            killer.kill()
            raise

    def _ended(self, status: int, cpu_s: float, memory: int) -> None:
        self._finishing = self._loop.create_task(self._finish(exit_code(status)))  # short: `gone` waits for it

    async def _finish(self, code: int) -> None:
        """The client has ended: of itself, or because the kernel has."""
        assert self._kernel is not None
        if self._kernel.dying:
            await asyncio.wait([self._kernel.gone], timeout=KILL_S)
        usage = self._kernel.usage()
        ending: int | None = code
        if self._kernel.died:
            self.ran_out_of = self._kernel.ran_out_of
            ending = 137 if self.ran_out_of else None
        with contextlib.suppress(OSError):
            for kind in ("json", "pid"):
                self._path(kind).unlink(missing_ok=True)
            (self._kernel.directory / "bundle/run" / self._name).unlink(missing_ok=True)
        cpu_s = max(usage.cpu_ns - self._before.cpu_ns, 0) / 1e9
        self.gone.set_result(Ending(exit_code=ending, cpu_s=cpu_s, memory_bytes_peak=usage.memory_bytes_peak))
