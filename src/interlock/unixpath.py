"""Unix sockets however deep they stand: the kernel takes names of 107 bytes (unix(7)), and paths may be longer."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short(path: Path) -> Iterator[str]:
    """A short name of `path` for this process, good until the block ends: to bind to it, or connect.

    Raises: OSError: its directory is not there.
    """
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
