"""Whether a workspace is within its bytes, found by counting its files as seldom as that can be known.

No quota of the kernel's is to be had on any file system without its owner's help, so a directory is counted while
commands run. A count is made only when the file system's free space says that the limit may have been passed since the
last, or when that is long ago, and takes a twentieth of the time at most. So a program that writes as fast as the disk
is over its limit for about a twentieth of a second; one file is held to the limit by the kernel (RLIMIT_FSIZE).
"""

import asyncio
import os

from interlock.clock import Clock
from interlock.runtime.hands.trees import ENTRY_BYTES
from interlock.runtime.hands.workspace import Workspace

RESERVE_BYTES, RESERVE_PARTS = 256 << 20, 20
"""Of the file system that is left for logs, and what answers for them: so much, or the twentieth of a smaller one."""
COUNT_EVERY_NS = 10_000_000_000
UNSEEN_BYTES = 64 << 20
"""How much may have been written since the sandbox was made before its first count."""
_SHARE = 20


class Quota:
    """Of one sandbox."""

    def __init__(self, workspace: Workspace, bytes_max: int, clock: Clock) -> None:
        self.bytes_max = bytes_max
        self._workspace = workspace
        self._clock = clock
        self._counted: int | None = None
        self._free_then = self._free()
        self._counted_at_ns = clock.monotonic_ns() - COUNT_EVERY_NS
        self._not_before_ns = 0

    async def used(self, *, running: bool) -> int:
        """Bytes in use, counted anew if need be; 0 while nobody knows and nobody needs to.

        Args:
            running: commands have been running for a while, so that an old count means little.
        """
        if self._due(running):
            begun_ns, free = self._clock.monotonic_ns(), self._free()
            self._counted = await asyncio.to_thread(self._workspace.size, self.bytes_max * 4)
            self._counted_at_ns, self._free_then = self._clock.monotonic_ns(), free
            self._not_before_ns = self._counted_at_ns + _SHARE * (self._counted_at_ns - begun_ns)
        return self._counted or 0

    @property
    def known(self) -> int:
        """Bytes at the last count; 0: none was made."""
        return self._counted or 0

    def room(self, taken: int = 0) -> float:
        """How often the reserve is free, with so many bytes taken: under 1, nothing may take more.

        Of bytes or of files, whichever is less.
        """
        found = os.statvfs(self._workspace.files)
        kinds = (
            (found.f_bavail - taken / found.f_frsize, found.f_blocks, found.f_frsize),
            (found.f_favail, found.f_files, ENTRY_BYTES),  # of some file systems, without a bound
        )
        return min(free * unit / min(RESERVE_BYTES, of * unit / RESERVE_PARTS) for free, of, unit in kinds if of)

    def _due(self, running: bool) -> bool:
        now_ns = self._clock.monotonic_ns()
        grown = max(self._free_then - self._free(), 0)
        passed = grown > (UNSEEN_BYTES if self._counted is None else max(self.bytes_max - self._counted, 0))
        if not running:  # a command that is to make room must not be ended for what was there before it
            return passed
        return now_ns >= self._not_before_ns and (passed or now_ns - self._counted_at_ns > COUNT_EVERY_NS)

    def _free(self) -> int:
        """Bytes, and files as what each counts: empty ones take no byte."""
        found = os.statvfs(self._workspace.files)
        return found.f_bfree * found.f_frsize + found.f_ffree * ENTRY_BYTES
