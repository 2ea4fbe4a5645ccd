"""A real file system that is small: mounted here, or where that is not permitted in a namespace of our own."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(directory: Path, mib: int) -> Iterator[Path]:
    """A file system of so many MiB. Raises: pytest.fail: neither way of having one is permitted."""
    mounted = directory / "disk"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "small", str(mounted)]
    done = subprocess.run(mount, capture_output=True, timeout=20)
    if done.returncode == 0:
        try:
            yield mounted
        finally:
            subprocess.run(["umount", "--lazy", str(mounted)], check=True, timeout=20)
        return
    # A process that holds a namespace in which it may mount; its view of the disk is reached through /proc.
    holder = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f"{' '.join(mount)} && echo yes && exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert holder.stdout is not None
    try:
        if holder.stdout.readline() != b"yes\n":
            pytest.fail(f"neither mount nor unshare is permitted here: {done.stderr!r}, {holder.communicate()[1]!r}")
        yield Path(f"/proc/{holder.pid}/root{mounted}")
    finally:
        holder.kill()
        holder.communicate(timeout=10)
