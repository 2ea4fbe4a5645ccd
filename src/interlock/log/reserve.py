"""Room set aside on a disk, so that what was begun can be settled when the disk is full.

A file of allocated blocks. Releasing it gives the blocks back to the file system, where the next small writes find them
unless another program is faster: it makes settling likely on a shared disk, certain on one of our own.
"""

import os
from pathlib import Path


class Reserve:
    """`size_bytes` of disk at `path`."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    def hold(self) -> bool:
        """Take the room; False if there is not enough. What an earlier process took still counts."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            if self._size_bytes and os.fstat(fd).st_blocks * 512 < self._size_bytes:
                os.posix_fallocate(fd, 0, self._size_bytes)
        except OSError:
            os.ftruncate(fd, 0)
            return False
        finally:
            os.close(fd)
        return True

    def release(self) -> None:
        """Give the room back."""
        os.truncate(self._path, 0)
