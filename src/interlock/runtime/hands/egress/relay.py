"""Bytes both ways between a sandbox and whom it is connected to, counted, bounded, nothing held back."""

import asyncio
import contextlib
from collections.abc import Callable

CHUNK_BYTES = 64 * 1024
END_S = 10.0
"""How long the far end may take to accept what was sent when the connection is over."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Over(Exception):
    """The connection ends here; `str()` says why."""


class Relay:
    """One connection. `sent` and `received` are the sandbox's: bytes that went out, bytes that came in."""

    def __init__(
        self,
        *,
        idle_s: float,
        spend: Callable[[int], bool],
        look: Callable[[bytes], bytes],
        look_s: float,
        ended: Callable[[], None],
    ) -> None:
        """
        Args:
            idle_s: seconds without a byte either way, after which it ends.
            spend: asked before so many bytes are passed on; False ends the connection.
            look: given what the sandbox sends; returns what may be sent on, raises to end the connection.
            look_s: how long `look` may hold bytes back.
            ended: called when who is outside has sent its last byte.
        """
        self.sent = self.received = 0
        self._idle_s, self._spend, self._look, self._look_s = idle_s, spend, look, look_s
        self._ended = ended
        self._last_s = 0.0

    async def run(self, inside: Stream, outside: Stream, first: bytes = b"", *, waiting: Callable[[], bool]) -> None:
        """Until both ends are through. `first`: what the sandbox has sent already.

        Raises: Over, or what `look` raised: it was cut.
        """
        self._last_s = asyncio.get_running_loop().time()
        tasks = [
            asyncio.ensure_future(self._out(inside[0], outside[1], first, waiting)),
            asyncio.ensure_future(self._in(outside[0], inside[1])),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _out(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes, waiting: Callable[[], bool]
    ) -> None:
        begun_s, data = asyncio.get_running_loop().time(), first
        while True:
            if data:
                passed = self._look(data)
                self.sent += len(passed)
                await self._pass(writer, passed)
            data = await self._read(reader, begun_s + self._look_s if waiting() else None)
            if not data:
                break
        if waiting():
            raise Over("it ended before it said what it is")
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await self._read(reader, None):
            self.received += len(data)
            await self._pass(writer, data)
        self._ended()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _pass(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if not data:
            return
        if not self._spend(len(data)):
            raise Over("as many bytes as the sandbox may send and receive")
        writer.write(data)
        try:
            async with asyncio.timeout(self._idle_s):
                await writer.drain()
        except TimeoutError:
            raise Over(f"nobody took a byte for {self._idle_s:g} s") from None

    async def _read(self, reader: asyncio.StreamReader, until_s: float | None) -> bytes:
        """The next bytes; empty at the end. Quiet is measured over both directions."""
        loop = asyncio.get_running_loop()
        while True:
            end_s = self._last_s + self._idle_s
            try:
                async with asyncio.timeout_at(end_s if until_s is None else min(end_s, until_s)):
                    data = await reader.read(CHUNK_BYTES)
                self._last_s = loop.time()
                return data
            except TimeoutError:
                if until_s is not None and loop.time() >= until_s:
                    raise Over(f"it did not say in {self._look_s:g} s what it is") from None
                if loop.time() >= self._last_s + self._idle_s:
                    raise Over(f"not a byte for {self._idle_s:g} s") from None
            except ConnectionError:
                return b""


async def shut(writer: asyncio.StreamWriter, *, gently: bool) -> None:
    """Close a connection, after what was written was taken (for at most END_S), or at once."""
    if not gently:
        writer.transport.abort()
        return
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(END_S):
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    writer.transport.abort()
