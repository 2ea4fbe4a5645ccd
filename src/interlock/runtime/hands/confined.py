"""A program started in a bubblewrap of its own: an agent's command, or a tool server. The one place that knows how.

Whoever starts one says what it sees beside the machine's own programs, as whom it runs and what it may use (`Cell`);
the walls are the same for all (docs/hands.md).
"""

import asyncio
import os
import resource
import socket
from collections.abc import Mapping

import msgspec

from interlock.runtime.hands.bwraptree import BwrapTree
from interlock.runtime.hands.cgroups import Group, Usage
from interlock.runtime.hands.host import Host
from interlock.runtime.hands.outlet import Outlet
from interlock.runtime.hands.prelude import PATH, Hung, launcher, prelude
from interlock.runtime.hands.tree import Stdio, fork

OPEN_FILES_MAX = 4096
_GROUP_GONE_S, _GROUP_TRIES = 0.05, 100


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What is started, and what differs from one to the next."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    """Where it begins, absolute."""
    mounts: tuple[str, ...]
    """bubblewrap's arguments for what it sees beside the host's view."""
    rules: Mapping[str, int]
    """Landlock's, of all that it sees."""
    uid: int | None
    """User and group that it runs as here, and that own what it is given; None: ours."""
    hung: tuple[Hung, ...] = ()
    """What that user could not reach by its path."""
    file_bytes: int
    """The largest file that it may write."""
    processes: int | None
    """How many it may have in its namespace, bubblewrap's own included; None: as its group says."""
    memory_bytes: int
    """Of each process where no control group holds all of them."""


def start(found: Host, cell: Cell, stdio: Stdio, group: Group | None, outlet: Outlet | None = None) -> BwrapTree:
    """Start it.

    Args:
        group: what holds all of it; it must be removed by whoever made it (`bury`), once nothing is left in it.
        outlet: furnishes its network before it begins; None: it has a loopback and nothing else.
    Raises: OSError: no process, descriptor or memory to be had.
    """
    fds = dict[str, int]()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    told, tells = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    waits, lets_go = os.pipe2(os.O_CLOEXEC)
    try:
        fds = {"status": theirs.detach(), "info": tells, "block": waits}
        if cell.uid is not None:  # so that /dev/stdout can be opened by its name
            for descriptor in {stdio.stdout, stdio.stderr}:
                os.fchown(descriptor, cell.uid, cell.uid)
        fds["seccomp"] = _in_memory("seccomp", found.seccomp)
        inner = prelude(
            cell.argv,
            cell.env,
            cwd=cell.cwd,
            status=fds["status"],
            abi=found.landlock,
            rules=cell.rules,
            processes=cell.processes,
            rlimits={} if group else {resource.RLIMIT_DATA: cell.memory_bytes},
            terminal=stdio.terminal,
            waits=outlet is not None,
        )
        fds["prelude"] = inner.memfd("prelude")
        outer = launcher(
            arguments(found, cell, fds),
            parent=os.getpid(),
            joins=[str(path) for path in group.joins] if group else (),
            hung=cell.hung,
            uid=cell.uid,
            rlimits=_rlimits(cell),
        )
        fds["launcher"] = executable = outer.memfd("launcher")
        pid = fork(["bwrap"], executable, {"PATH": PATH}, stdio, list(fds.values()), "/")
    except BaseException:
        ours.close()
        for descriptor in (told, lets_go):
            os.close(descriptor)
        raise
    finally:
        for descriptor in fds.values():
            os.close(descriptor)
    return BwrapTree(pid, ours, told, lets_go, outlet, group.usage if group else Usage)


def arguments(found: Host, cell: Cell, fds: Mapping[str, int]) -> list[str]:
    """bubblewrap's, with the descriptors `seccomp`, `info`, `block` and `prelude`."""
    given = [found.program, *found.view, *cell.mounts, "--remount-ro", "/dev", "--remount-ro", "/"]
    given += ["--seccomp", str(fds["seccomp"]), "--info-fd", str(fds["info"]), "--block-fd", str(fds["block"])]
    return [*given, "--", f"/proc/self/fd/{fds['prelude']}"]


def bury(group: Group, tries: int = _GROUP_TRIES) -> None:
    """Remove a group once the kernel has forgotten the last process in it. On a running loop.

    A bubblewrap that was killed between its two halves leaves the inner one waiting for a word that nobody will say.
    """
    if not group.remove() and tries:
        group.kill()
        asyncio.get_running_loop().call_later(_GROUP_GONE_S, bury, group, tries - 1)


def out_of_memory(memory_bytes: int) -> str:
    """Why something was ended."""
    return f"out of memory: the sandbox may have {memory_bytes} bytes"


def _rlimits(cell: Cell) -> dict[int, int]:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: cell.file_bytes,
        resource.RLIMIT_NOFILE: OPEN_FILES_MAX,
    }
    return {number: _at_most(number, value) for number, value in wanted.items()}


def _at_most(number: int, value: int) -> int:
    hard = resource.getrlimit(number)[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _in_memory(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
