"""Control groups: what all processes of a sandbox together may use, as version 1, version 2, or a mixture of both.

Groups are made below the one this process is in, so that limits which others set for us hold too. Each controller is
taken from where it is mounted; killing and freezing need version 2, which every system with version 1 has beside it.
Source: Linux, Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

import contextlib
import errno
import os
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path

import msgspec

from interlock.runtime.hands.resources import Resources

PERIOD_US = 100_000
OWN_PROCESSES = 2
"""Beside the sandbox's: bwrap outside and bwrap as its first process."""
_NEEDED = ("memory", "pids", "cpu")
_LEAF, _MOVES = "interlock", 100


class Usage(msgspec.Struct, frozen=True):
    """What a group has used since it was made."""

    cpu_ns: int = 0
    memory_bytes_peak: int = 0
    oom_kills: int = 0
    forks_refused: int = 0


class Group:
    """One sandbox's group: a directory in each hierarchy."""

    def __init__(self, directories: Mapping[str, Path], versions: Mapping[str, int]) -> None:
        self._directories = directories
        self._versions = versions

    @property
    def joins(self) -> list[Path]:
        """Files into which a process writes 0 to enter."""
        return [path / "cgroup.procs" for path in dict.fromkeys(self._directories.values())]

    def limit(self, resources: Resources) -> None:
        """Set the limits. Raises: OSError."""
        quota, processes = int(resources.cpus * PERIOD_US), resources.processes + OWN_PROCESSES
        memory, swap = resources.memory_bytes, ("memory.memsw.limit_in_bytes", "memory.swap.max")
        one: dict[str, list[tuple[str, object]]] = {
            "memory": [("memory.limit_in_bytes", memory)],
            "pids": [("pids.max", processes)],
            "cpu": [("cpu.cfs_period_us", PERIOD_US), ("cpu.cfs_quota_us", quota)],
        }
        two: dict[str, list[tuple[str, object]]] = {
            "memory": [("memory.max", memory)],
            "pids": [("pids.max", processes)],
            "cpu": [("cpu.max", f"{quota} {PERIOD_US}")],
        }
        for controller in _NEEDED:
            for name, value in (one if self._versions[controller] == 1 else two)[controller]:
                _write(self._directories[controller] / name, str(value))
        with contextlib.suppress(OSError):  # a kernel that does not account swap has no such file
            if self._versions["memory"] == 1:
                _write(self._directories["memory"] / swap[0], str(memory))
            else:
                _write(self._directories["memory"] / swap[1], "0")

    def usage(self) -> Usage:
        """So far."""
        memory, cpu = self._directories["memory"], self._directories.get("cpuacct")
        if self._versions["memory"] == 1:
            peak, kills = _number(memory / "memory.max_usage_in_bytes"), _field(memory / "memory.oom_control")
        else:
            peak, kills = _number(memory / "memory.peak"), _field(memory / "memory.events")
        refused = _field(self._directories["pids"] / "pids.events", "max")
        if cpu is not None:
            return Usage(_number(cpu / "cpuacct.usage"), peak, kills, refused)
        cpu_us = _field(self._directories["cpu"] / "cpu.stat", "usage_usec")
        return Usage(cpu_us * 1000, peak, kills, refused)

    def kill(self) -> None:
        """SIGKILL everything in it at once."""
        if "unified" in self._directories:
            with contextlib.suppress(OSError):
                _write(self._directories["unified"] / "cgroup.kill", "1")

    def freeze(self, still: bool) -> None:
        """Have everything in it stop where it is, which takes a moment (`frozen`), or go on."""
        with contextlib.suppress(OSError, KeyError):
            _write(self._directories["unified"] / "cgroup.freeze", "1" if still else "0")

    def frozen(self) -> bool:
        """Whether all of it stands still."""
        return "unified" in self._directories and _field(self._directories["unified"] / "cgroup.events", "frozen") == 1

    def remove(self) -> bool:
        """Whether it is gone: not while the last of its processes is being buried."""
        gone = True
        for path in dict.fromkeys(self._directories.values()):
            try:
                path.rmdir()
            except OSError as error:
                gone = gone and error.errno == errno.ENOENT
        return gone


class Cgroups:
    """Where groups can be made."""

    def __init__(self, own: Mapping[str, Path], versions: Mapping[str, int]) -> None:
        """
        Args:
            own: per controller (and `unified`, version 2 itself) the directory below which groups are made.
        """
        self.own = own
        self.versions = versions

    @classmethod
    def find(cls, proc: Path = Path("/proc/self")) -> "Cgroups":
        """Where they can be made, and clear away what processes that are no more left. Raises: OSError: why not."""
        own, versions = _hierarchies(proc)
        missing = [name for name in _NEEDED if name not in own]
        if missing:
            raise OSError(errno.ENOENT, f"no {', '.join(missing)} controller for this process's group")
        found = cls(own, versions)
        for path in dict.fromkeys(own.values()):
            _sweep(path)
        probe = found.make(f"probe-{secrets.token_hex(8)}")  # several of one process may look at once
        try:
            probe.limit(Resources())
        finally:
            probe.remove()
        return found

    def make(self, name: str) -> Group:
        """A group without limits. Raises: OSError."""
        directories = {controller: path / f"hands-{os.getpid()}-{name}" for controller, path in self.own.items()}
        group = Group(directories, self.versions)
        try:
            for path in dict.fromkeys(directories.values()):
                path.mkdir(exist_ok=True)
        except OSError:
            group.remove()
            raise
        return group


def _hierarchies(proc: Path) -> tuple[dict[str, Path], dict[str, int]]:
    """Of each controller the directory of this process's group, and its version."""
    groups = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
    mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
    own: dict[str, Path] = {}
    versions: dict[str, int] = {}
    for _, controllers, path in groups:
        for mount in mounts:
            kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
            wanted = [name for name in controllers.split(",") if name]
            if kind == ("cgroup" if wanted else "cgroup2") and all(name in options for name in wanted):
                root = "" if mount[3] == "/" else mount[3]
                directory = Path(mount[4]) / path.removeprefix(root).lstrip("/")
                for name in wanted or ["unified"]:
                    own.setdefault(name, directory)
                    versions.setdefault(name, 1 if wanted else 2)
    unified = own.get("unified")
    if unified is not None and any(name not in own for name in _NEEDED):
        own["unified"] = unified = _delegated(unified)
        for name in (unified / "cgroup.subtree_control").read_text().split():
            own.setdefault(name, unified)
            versions.setdefault(name, 2)
    return {name: own[name] for name in (*_NEEDED, "cpuacct", "unified") if name in own}, versions


def _delegated(own: Path) -> Path:
    """The directory below which groups with controllers can be made; we move into a leaf if that is what it takes.

    Version 2 gives controllers to the children of a group only if no process is in the group itself.
    """
    if own.name == _LEAF:  # another process of ours moved us, and is perhaps not done yet
        own = own.parent
    wanted = {name for name in _NEEDED if name in (own / "cgroup.controllers").read_text().split()}
    if wanted <= set((own / "cgroup.subtree_control").read_text().split()):
        return own
    enable = " ".join(f"+{name}" for name in sorted(wanted))
    for _ in range(_MOVES):  # who forks meanwhile leaves a child behind
        try:
            _write(own / "cgroup.subtree_control", enable)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        else:
            return own
        (own / _LEAF).mkdir(exist_ok=True)
        for pid in (own / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):  # it has ended
                _write(own / _LEAF / "cgroup.procs", pid)
    raise OSError(errno.EBUSY, f"processes are started in {own} without end")


def _sweep(path: Path) -> None:
    for left in path.glob("hands-*"):
        pid = left.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            _bury(left)


def _bury(left: Path) -> None:
    """End who is still in a dead process's group: a bubblewrap that was killed between its two halves leaves the inner
    one waiting for a word that nobody will say. The directory goes when they are gone, perhaps the next time."""
    with contextlib.suppress(OSError, ValueError):
        for pid in map(int, (left / "cgroup.procs").read_text().split()):
            if pid > 1:
                os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        left.rmdir()


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _number(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return 0


def _field(path: Path, name: str = "oom_kill") -> int:
    with contextlib.suppress(OSError, ValueError):
        return {key: int(value) for key, value in (line.split() for line in path.read_text().splitlines())}[name]
    return 0
