"""A command's output as it comes: two pipes read by the loop, bounded in what is kept and what waits to be taken."""

import asyncio
import contextlib
import os
from collections import deque
from typing import Literal

from interlock.runtime.hands.ports import Delta

CHUNK_BYTES = 1 << 16
WAITING_BYTES_MAX = 1 << 18
"""What is not taken stays in the pipes beyond this, and the command waits."""
_LEFT_BYTES_MAX = 1 << 22

Name = Literal["stdout", "stderr"]


class Streams:
    """Both of one command. `inner` are the ends to give to it; close them with `begun` once it has them."""

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max`: what is beyond is read, counted and thrown away."""
        self.thrown_away = 0
        self._left = bytes_max
        self._waiting: deque[Delta] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Event()
        self._ended = False
        self._scratch = bytearray(CHUNK_BYTES)
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, Name] = {}
        self._reading: set[int] = set()
        inner = []
        for name in ("stdout", "stderr"):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(reader, False)
            self._open[reader] = name
            inner.append(writer)
        self.inner = (inner[0], inner[1])

    def begun(self) -> None:
        """The command has its ends."""
        for descriptor in self.inner:
            os.close(descriptor)
        self._resume()

    async def next(self) -> Delta | None:
        """The next piece; None: no more will come."""
        while not self._waiting:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        delta = self._waiting.popleft()
        self._waiting_bytes -= len(delta.data)
        self._resume()
        return delta

    def end(self) -> None:
        """The command is gone: take what is left in the pipes, and close them."""
        for descriptor in list(self._open):
            self._pause(descriptor)
            taken = 0
            while descriptor in self._open and taken < _LEFT_BYTES_MAX:  # a bound: somebody may have kept an end
                count = self._read(descriptor)
                if not count:
                    break
                taken += count
            self._close(descriptor)
        self._ended = True
        self._changed.set()

    def _resume(self) -> None:
        if self._waiting_bytes < WAITING_BYTES_MAX and not self._ended:
            for descriptor in self._open:
                if descriptor not in self._reading:
                    self._reading.add(descriptor)
                    self._loop.add_reader(descriptor, self._readable, descriptor)

    def _pause(self, descriptor: int) -> None:
        if descriptor in self._reading:
            self._reading.discard(descriptor)
            self._loop.remove_reader(descriptor)

    def _readable(self, descriptor: int) -> None:
        self._read(descriptor)
        if self._waiting_bytes >= WAITING_BYTES_MAX:
            for each in list(self._open):
                self._pause(each)

    def _read(self, descriptor: int) -> int:
        """Bytes read; 0: nothing there, or the end."""
        with contextlib.suppress(BlockingIOError):
            count = os.readv(descriptor, [self._scratch])
            if count == 0:
                self._close(descriptor)
                return 0
            kept = min(count, self._left)
            self._left -= kept
            self.thrown_away += count - kept
            if kept:
                self._waiting.append(Delta(stream=self._open[descriptor], data=bytes(self._scratch[:kept])))
                self._waiting_bytes += kept
                self._changed.set()
            return count
        return 0

    def _close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._pause(descriptor)
            del self._open[descriptor]
            os.close(descriptor)
