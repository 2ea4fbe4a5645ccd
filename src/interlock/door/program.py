"""One tool server's program, from its start to its end: its standard streams, its limits, and why it ended.

What it writes on standard error is for the operator: the end of it is in the log when the program ends by itself, and
no caller sees it.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from typing import BinaryIO

from interlock.door.settings import ToolServer
from interlock.errors import HandsUnavailable
from interlock.runtime.hands.bwraptree import BwrapTree
from interlock.runtime.hands.cgroups import Group
from interlock.runtime.hands.confined import out_of_memory
from interlock.runtime.hands.host import explain
from interlock.runtime.hands.tree import Ending, Stdio

GRACE_S = 1.0
"""What a program has to end by itself once its input is closed."""
WATCH_EVERY_S, WATCH_ALL_EVERY_S = 1.0, 0.25
"""Where the kernel holds the limits, and where nobody else looks at all of the memory."""
STDERR_BYTES_A_SECOND = 8 << 20
"""A program that writes more floods, and is ended."""
_READ_BYTES, _LAST_BYTES = 64 * 1024, 1000

_log = logging.getLogger(__name__)


class Program:
    """Made on a running loop; `begin` it, and `end` it whatever happens."""

    def __init__(self, server: ToolServer, launch: Callable[[Stdio], BwrapTree], group: Group | None) -> None:
        """
        Args:
            launch: starts it with these standard streams. OSError: it cannot.
            group: what it is in, alone.
        """
        self._server, self._group, self._why = server, group, ""
        (given, into), (out, said), (errors, complained) = _pipe(), _pipe(), _pipe()
        try:
            self._tree = launch(Stdio(given.fileno(), said.fileno(), complained.fileno()))
        except BaseException:
            for pipe in (into, out, errors):
                pipe.close()
            raise
        finally:
            for pipe in (given, said, complained):
                pipe.close()
        self.gone = self._tree.gone
        """Done when nothing of it is left."""
        self.gone.add_done_callback(self._note)  # before its group is removed, which knows the limits that were passed
        self._pipes = (into, out, errors)
        self._output, self._taken = _Stream(), _Stream()
        self._errors = _Errors(lambda: self.fail("it floods standard error"))
        self._input: asyncio.StreamWriter | None = None
        self._transports: list[asyncio.BaseTransport] = []
        self._watching = asyncio.get_running_loop().create_task(self._watch())  # ends with the program

    async def begin(self) -> None:
        """Wait until it runs. Raises: HandsUnavailable: it could not be brought to that, which the log explains."""
        loop, (into, out, errors) = asyncio.get_running_loop(), self._pipes
        reading, _ = await loop.connect_read_pipe(lambda: self._output, out)
        complaining, _ = await loop.connect_read_pipe(lambda: self._errors, errors)
        writing, _ = await loop.connect_write_pipe(lambda: self._taken, into)
        self._transports = [reading, complaining, writing]
        self._input = asyncio.StreamWriter(writing, self._taken, None, loop)
        try:
            await asyncio.shield(self._tree.started)
        except HandsUnavailable as error:
            self._why = error.message
            await self.ended()
            raise HandsUnavailable("it cannot be started here; the server's log says why") from error

    async def read(self) -> bytes:
        """Some of its standard output; empty: no more will come."""
        return await self._output.reader.read(_READ_BYTES)

    async def write(self, data: bytes) -> None:
        """Onto its standard input. Raises: OSError: it takes none any more."""
        assert self._input is not None
        self._input.write(data)
        await self._input.drain()

    def fail(self, why: str) -> None:
        """End it, at once; the first reason counts."""
        self._why = self._why or why
        self._tree.kill()

    async def ended(self) -> str:
        """It is about to end by itself, or was failed: wait for that, log it, and say why in words for its callers."""
        await asyncio.wait([self.gone], timeout=GRACE_S)
        self._tree.kill()
        await asyncio.shield(self.gone)
        await asyncio.wait([self._errors.lost], timeout=GRACE_S)
        last = explain(self._errors.last.decode(errors="replace").strip())
        _log.warning(
            "tool server %s: %s%s", self._server.name, self._why, f"; its last words: {last!a}" if last else ""
        )
        return self._why

    async def end(self) -> None:
        """Close its input, give it a moment, then kill it; wait until nothing of it is left."""
        if self._input is not None:
            self._input.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE_S):
                    while await self.read():  # it may want to get rid of something
                        pass
        self._tree.kill()
        await asyncio.shield(self.gone)
        for transport in self._transports:
            transport.close()
        if self._transports:
            await asyncio.wait([self._output.lost, self._errors.lost, self._taken.lost])
        else:
            for pipe in self._pipes:
                pipe.close()
        await self._watching

    async def _watch(self) -> None:
        every_s = WATCH_EVERY_S if self._group else WATCH_ALL_EVERY_S
        while not self.gone.done():
            await asyncio.wait([self.gone], timeout=every_s)
            if not self.gone.done() and (over := self._over()):
                self.fail(over)

    def _note(self, gone: "asyncio.Future[Ending]") -> None:
        code = gone.result().exit_code
        self._why = self._why or self._over() or ("it was killed" if code is None else f"it ended with status {code}")

    def _over(self) -> str:
        """Which limit it ran into."""
        most = self._server.resources
        if self._group is None:
            return out_of_memory(most.memory_bytes) if self._tree.memory() > most.memory_bytes else ""
        used = self._group.usage()
        if used.oom_kills:
            return out_of_memory(most.memory_bytes)
        return f"it may have {most.processes} processes and threads, and wants more" if used.forks_refused else ""


class _Stream(asyncio.StreamReaderProtocol):
    """One of its pipes, whose end can be waited for."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        super().__init__(self.reader)
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set_result(None)


class _Errors(asyncio.Protocol):
    """The end of what came on standard error."""

    def __init__(self, flooded: Callable[[], None]) -> None:
        self.last = b""
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._flooded = flooded
        self._second = self._bytes = 0

    def data_received(self, data: bytes) -> None:
        self.last = (self.last + data)[-_LAST_BYTES:]
        second = int(self._loop.time())
        self._bytes = len(data) + (self._bytes if second == self._second else 0)
        self._second = second
        if self._bytes > STDERR_BYTES_A_SECOND:
            self._flooded()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    return os.fdopen(reader, "rb", 0), os.fdopen(writer, "wb", 0)
