"""Whether a configuration file has other content than before. Polled, cheap: one `stat` while nothing happens.

It loads nothing and knows no TOML. `stat` follows symbolic links, so a link that is swapped somewhere along the path
(as Kubernetes does with a ConfigMap) shows as another inode.
"""

from hashlib import sha256
from pathlib import Path

from interlock.clock import Clock
from interlock.config.load import FILE_BYTES_MAX

RACY_NS = 2_000_000_000
"""File times may be as coarse as 2 s (FAT; ext4 and xfs: 4 ms): a file written within this of being looked at may be
written again with nothing but the content changed, so until it is older the content is read at each poll."""

_Stamp = tuple[int, ...]


class Watch:
    """One file, which need not exist."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._stamp, self._racy = self._look()
        self._content = self._digest()

    def poll(self) -> bool:
        """True once for every new content. A file that is gone or unreadable is no change: there is nothing to load."""
        stamp, racy = self._look()
        if not stamp or (stamp == self._stamp and not self._racy):
            return False
        content = self._digest()
        if content is None:
            return False
        changed = content != self._content
        self._stamp, self._racy, self._content = stamp, racy, content
        return changed

    def _look(self) -> tuple[_Stamp, bool]:
        try:
            found = self._path.stat()
        except (OSError, ValueError):
            return (), True
        newest = max(found.st_mtime_ns, found.st_ctime_ns)
        stamp = (newest, found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)
        return stamp, self._clock.now_ns() - newest < RACY_NS

    def _digest(self) -> bytes | None:
        try:
            with self._path.open("rb") as file:
                return sha256(file.read(FILE_BYTES_MAX + 1)).digest()
        except (OSError, ValueError):
            return None
