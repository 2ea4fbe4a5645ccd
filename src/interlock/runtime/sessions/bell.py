"""A doorbell between processes: a file that writers touch after a commit and that the kernel watches for who waits.

Nobody is registered anywhere, and waiting costs nothing: inotify wakes a watcher some 50 µs after the write. Who dies
between commit and ring leaves a commit unannounced, so whoever waits also looks by himself now and then.
"""

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

QUIET_S = 0.005
"""At most once in this time is a watcher woken, however fast others write."""
LOOK_S = 1.0
"""How often a watcher is woken without a ring."""
POLL_S = 0.05
"""The same where the kernel gives no watch (`fs.inotify.max_user_instances` is used up)."""

_IN_MODIFY = 0x2
_IN_NONBLOCK, _IN_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


class Bell:
    """One file's. For one event loop; `ring` from any thread."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._path = path
        if os.fstat(self._fd).st_size == 0:
            os.pwrite(self._fd, b"\0", 0)  # so that a ring never needs room on a full disk

    def ring(self) -> None:
        """Wake who watches, in every process."""
        with contextlib.suppress(OSError):  # what is rung for stands, and watchers look by themselves too
            os.pwrite(self._fd, b"\0", 0)

    def close(self) -> None:
        """Watchers have to be closed by themselves."""
        os.close(self._fd)
        self._fd = -1  # a late ring must not write into whatever gets the number next

    def watch(self, heard: Callable[[], None]) -> Callable[[], None]:
        """Call `heard` in the running loop after rings, and each LOOK_S; returns what ends that."""
        return _Watch(asyncio.get_running_loop(), self._path, heard).end


class _Watch:
    def __init__(self, loop: asyncio.AbstractEventLoop, path: Path, heard: Callable[[], None]) -> None:
        self._loop, self._heard = loop, heard
        self._fd = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        if self._fd >= 0 and _libc.inotify_add_watch(self._fd, os.fsencode(path), _IN_MODIFY) < 0:
            os.close(self._fd)
            self._fd = -1
        self._look_s = POLL_S if self._fd < 0 else LOOK_S
        if self._fd >= 0:
            loop.add_reader(self._fd, self._rung)
        self._timer = loop.call_later(self._look_s, self._look)

    def _rung(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 1 << 16)  # equal events that nobody has read yet are one to the kernel
        self._loop.remove_reader(self._fd)
        self._timer.cancel()
        self._timer = self._loop.call_later(QUIET_S, self._listen)
        self._heard()

    def _listen(self) -> None:
        self._loop.add_reader(self._fd, self._rung)
        self._timer = self._loop.call_later(self._look_s, self._look)

    def _look(self) -> None:
        self._timer = self._loop.call_later(self._look_s, self._look)
        self._heard()

    def end(self) -> None:
        self._timer.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
