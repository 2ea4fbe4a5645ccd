"""Terminals in a sandbox that outlive the connections that look at them.

Output goes into a ring of 256 KiB, and each watcher has a place in it: one that is slow, or comes late, goes on from
the oldest byte there is. So a shell costs the same whoever looks at it, and never waits for anybody.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import AsyncIterator, Iterator

from interlock.errors import LocalError
from interlock.ids import new_id
from interlock.runtime.hands.tree import Tree

SHELLS_MAX = 10
RING_BYTES = 256 << 10
KEYS_BYTES_MAX = 64 << 10
"""Typed, and not yet taken by the program."""
_SIZE_MAX = 1000


class TerminalShell:
    """See `ports.Shell`."""

    def __init__(self, outer: int, tree: Tree) -> None:
        """`outer`: the terminal's end that is not the program's; it is closed when the shell ends."""
        self.id = new_id("shell", 0)
        self._outer = outer
        self._tree = tree
        self._ring = bytearray()
        self._end = 0
        """Bytes of output so far; the ring holds the last of them."""
        self._changed = asyncio.Event()
        self._closed = False
        self._keys = bytearray()
        self._loop = asyncio.get_running_loop()
        os.set_blocking(outer, False)
        self._loop.add_reader(outer, self._readable)
        tree.gone.add_done_callback(lambda _: self._finish())

    async def write(self, data: bytes) -> None:
        """See the port."""
        if self._closed:
            raise LocalError("the shell has ended", field="shell")
        if len(self._keys) + len(data) > KEYS_BYTES_MAX:
            raise LocalError("the shell does not take what is typed", field="data")
        self._keys += data
        self._writable()

    async def resize(self, columns: int, rows: int) -> None:
        """See the port."""
        if self._closed:
            raise LocalError("the shell has ended", field="shell")
        _resize(self._outer, columns, rows)

    async def attach(self) -> AsyncIterator[bytes]:
        """See the port."""
        at = 0
        while True:
            oldest = self._end - len(self._ring)
            if (at := max(at, oldest)) < self._end:
                piece, at = bytes(self._ring[at - oldest :]), self._end
                yield piece
            elif self._closed:
                return
            else:
                await self._changed.wait()

    async def close(self) -> None:
        """See the port."""
        self._tree.kill()
        await asyncio.shield(self._tree.gone)

    def _readable(self) -> None:
        try:
            data = os.read(self._outer, 1 << 16)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has the other end open
            data = b""
        if not data:
            self._loop.remove_reader(self._outer)
            return
        self._ring += data
        self._end += len(data)
        del self._ring[: max(len(self._ring) - RING_BYTES, 0)]
        self._wake()

    def _writable(self) -> None:
        try:
            while self._keys:
                del self._keys[: os.write(self._outer, self._keys)]
        except BlockingIOError:
            self._loop.add_writer(self._outer, self._writable)
            return
        except OSError:
            self._keys.clear()
        self._loop.remove_writer(self._outer)

    def _finish(self) -> None:
        for _ in range(RING_BYTES >> 12):  # what was said last; a bound, should anybody still have the other end
            before = self._end
            self._readable()
            if self._end == before:
                break
        self._loop.remove_reader(self._outer)
        self._loop.remove_writer(self._outer)
        os.close(self._outer)
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        """Everybody who waits now is woken; whoever waits later waits for the next time."""
        self._changed.set()
        self._changed = asyncio.Event()
        if self._closed:
            self._changed.set()


@contextlib.contextmanager
def terminal(columns: int, rows: int) -> Iterator[tuple[int, int]]:
    """A new terminal: our end, which stays open unless this fails, and the program's, which is closed."""
    outer, inner = os.openpty()
    try:
        _resize(outer, columns, rows)
        yield outer, inner
    except BaseException:
        os.close(outer)
        raise
    finally:
        os.close(inner)


def _resize(outer: int, columns: int, rows: int) -> None:
    if not (1 <= columns <= _SIZE_MAX and 1 <= rows <= _SIZE_MAX):
        raise LocalError(f"a terminal has 1 to {_SIZE_MAX} columns and rows", field="columns")
    fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
