"""What the kernel knows about processes: CPU time, memory, children, cores; and how to start and end them.

Linux only. Not about HTTP, and not about what is measured.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

PROXY_CORE, LOAD_CORE = 0, 1


class BenchError(Exception):
    """Something the benchmark needs did not work; the message is for the table."""


def cpu_ns(pids: Iterable[int]) -> int:
    """CPU time that these processes' threads have used, also those that ended, in nanoseconds."""
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids)  # clock_getcpuclockid(3), for a process


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread may end while it is looked at
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def settled_tree(pid: int) -> list[int]:
    """As `tree`, once none comes and goes any more: a server that starts tries what sandboxes can be had."""
    found = tree(pid)
    for _ in range(100):
        time.sleep(0.2)
        before, found = found, tree(pid)
        if before == found:
            return found
    raise BenchError(f"process {pid} starts and ends others without end")


def pss_bytes(pid: int) -> int:
    """Proportional set size: shared pages count by share, so that processes can be summed."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"no Pss for process {pid}")


def pin(pid: int, core: int) -> None:
    """Bind every thread of a process to one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {core})


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(
    command: Sequence[str | Path],
    *,
    core: int,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on one core, in its own process group, until the block ends, or we do. Its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), "setpriv", "--pdeathsig", "TERM", *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and after ten seconds SIGKILL, to the whole group."""
    for step, wait_s in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, step)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)
            break


def answers(url: str) -> bool:
    """Whether GET answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def wait_for(
    what: str, holds: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, within_s: float
) -> None:
    """Poll until `holds()`; a process that ends, or time that runs out, is an error that quotes the log's end."""
    deadline_ns = time.monotonic_ns() + int(within_s * 1e9)
    while not holds():
        if process.poll() is not None or time.monotonic_ns() > deadline_ns:
            said = re.sub(r"\s+", " ", log.read_text(errors="replace")[-300:])
            raise BenchError(f"{what} not up after {within_s:.0f} s (exit {process.poll()}): {said}")
        time.sleep(0.02)
