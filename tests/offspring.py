"""Which processes descend from the one that runs the tests, but for what other tests leave there on purpose."""

import contextlib
import os
from pathlib import Path


def children(pid: int) -> list[int]:
    """Of its main thread, the oldest first. multiprocessing starts a tracker once, which lives as long as we do."""
    with contextlib.suppress(OSError):  # it has ended
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [child for child in found if b"multiprocessing.resource_tracker" not in command_line(child)]
    return []


def below(pid: int | None = None) -> list[int]:
    """All below a process, or below this one."""
    found = children(pid or os.getpid())
    return [*found, *(grandchild for child in found for grandchild in below(child))]


def command_line(pid: int) -> bytes:
    """Its arguments, each with a NUL behind it; empty: it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
