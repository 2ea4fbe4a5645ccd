"""Programs that run between us and a command: what the command's process does to itself before it becomes the command.

`launcher` runs outside, as we do: it joins control groups, hangs a workspace where another user can reach it, becomes
that user, and becomes bubblewrap. `prelude` runs inside, when bubblewrap is done: Landlock, the terminal, and at last
the command itself. Its arguments and environment are in the program, so that no variable an agent chose is
ever seen by a program outside.
"""

import posixpath
import resource
import struct
from collections.abc import Mapping, Sequence

import msgspec

from interlock.runtime.hands import landlock
from interlock.runtime.hands.elf import At, Program

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EXIT_NOT_FOUND = 127
STARTED = b"s"
_O_WRONLY, _AT_FDCWD, _CLONE_NEWNS = 0x80001, -100, 0x20000  # closed on exec
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 0x80000
_PR_SET_PDEATHSIG, _SIGKILL, _TIOCSCTTY = 1, 9, 0x540E
_SOL_SOCKET, _SCM_RIGHTS, _MSG_NOSIGNAL = 1, 1, 0x4000


class Hung(msgspec.Struct, frozen=True):
    """A file or directory that is to be seen at another, existing path in the launcher's own mounts."""

    path: str
    at: str


def limits(program: Program, values: Mapping[int, int]) -> None:
    """Resource limits, soft and hard alike."""
    for number, value in values.items():
        given = program.data(struct.pack("<QQ", value, value))
        program.call("prlimit64", 0, number, given, 0, must="cannot set a resource limit")


def launcher(
    argv: Sequence[str],
    *,
    parent: int,
    joins: Sequence[str] = (),
    hung: Sequence[Hung] = (),
    uid: int | None = None,
    rlimits: Mapping[int, int],
    terminal: bool = False,
) -> Program:
    """A program that becomes `argv[0]`, a path, as another user and in control groups.

    Args:
        joins: `cgroup.procs` files.
        uid: user and group to become; None: stay.
        terminal: make the terminal on standard input its own.
    """
    program = Program()
    if terminal:
        program.call("ioctl", 0, _TIOCSCTTY, 0, must="cannot have the terminal")
    for path in joins:
        program.call("openat", _AT_FDCWD, program.text(path), _O_WRONLY, 0, must=f"cannot open {path}")
        descriptor = program.data(bytes(8))
        program.keep(descriptor)
        program.call("write", At(descriptor), program.data(b"0"), 1, must=f"cannot join {path}")
    if hung:
        root, nothing = program.text("/"), program.text("none")
        program.call("unshare", _CLONE_NEWNS, must="cannot have mounts of its own")
        program.call("mount", nothing, root, 0, _MS_REC | _MS_SLAVE, 0, must="cannot keep mounts to itself")
        for one in hung:
            source = program.text(one.path)
            program.call("mount", source, program.text(one.at), 0, _MS_BIND | _MS_REC, 0, must=f"cannot mount {one.at}")
    limits(program, rlimits)
    if uid is not None:
        program.call("setgroups", 0, 0, must="cannot leave groups")
        program.call("setresgid", uid, uid, uid, must="cannot become another group")
        program.call("setresuid", uid, uid, uid, must="cannot become another user")
    # After the change of user, which would undo it.
    program.call("prctl", _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0, must="cannot be tied to its parent")
    program.call("getppid")
    program.expect(parent, "the parent is gone")
    program.call("umask", 0o022)
    program.call("execve", program.text(argv[0]), program.array(argv), program.array([f"PATH={PATH}"]))
    program.fail(f"cannot execute {argv[0]}", EXIT_NOT_FOUND)
    return program


def prelude(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    cwd: str,
    status: int | None,
    abi: int = 0,
    rules: Mapping[str, int] = landlock.RULES,
    processes: int | None = None,
    rlimits: Mapping[int, int] | None = None,
    terminal: bool = False,
    waits: bool = False,
) -> Program:
    """A program that becomes the command.

    Args:
        cwd: where it begins, absolute.
        status: descriptor of a socket that is told when all is ready; None: nobody is.
        abi: Landlock's version; 0: without it.
        processes: how many its user may have here.
        terminal: make the terminal on standard input its own.
        waits: for a byte on that socket, when all is ready.
    """
    program = Program()
    if terminal:
        program.call("setsid")
        program.call("ioctl", 0, _TIOCSCTTY, 0, must="cannot have the terminal")
    program.call("chdir", program.text(cwd), must=f"cannot go to {cwd}", exits=EXIT_NOT_FOUND)
    given = dict(rlimits or {})
    if processes is not None:
        given[resource.RLIMIT_NPROC] = processes
    limits(program, given)
    _prefer_for_oom(program)
    if abi:
        landlock.restrict(program, abi, rules)
    if status is not None:
        tell(program, status)
        if waits:
            program.call("read", status, program.data(bytes(8)), 1)
            program.expect(1, "the sandbox's network could not be set up")
    program.call("close_range", 3, 0xFFFFFFFF, 0)
    arguments, environment = program.array(argv), program.array([f"{name}={value}" for name, value in env.items()])
    for path in candidates(argv[0], env.get("PATH", PATH)):
        program.call("execve", program.text(path), arguments, environment)
    program.fail(f"{argv[0][:200]}: not found, or not to be executed", EXIT_NOT_FOUND)
    return program


def candidates(name: str, path: str) -> list[str]:
    """Where a program of that name may be, in order: as execvp(3), at most 64 places."""
    if "/" in name:
        return [name]
    return [posixpath.join(directory or ".", name) for directory in path.split(":")[:64]]


def _prefer_for_oom(program: Program) -> None:
    """Of a sandbox out of memory, the command is to go and not bubblewrap."""
    program.call("openat", _AT_FDCWD, program.text("/proc/self/oom_score_adj"), _O_WRONLY, 0)
    descriptor = program.data(bytes(8))
    program.keep(descriptor)
    program.call("write", At(descriptor), program.data(b"500"), 3)


def tell(program: Program, out: int, sockets: Sequence[int] = ()) -> None:
    """Steps that say STARTED on a Unix socket, and hand descriptors out. Source: sendmsg(2), cmsg(3).

    Args:
        sockets: where the descriptors will stand.
    """
    vector = program.data(struct.pack("<QQ", program.data(STARTED), len(STARTED)))
    length = 16 + 4 * len(sockets)
    control = program.data(struct.pack("<Qii", length, _SOL_SOCKET, _SCM_RIGHTS) + bytes(-(-4 * len(sockets) // 8) * 8))
    for position, where in enumerate(sockets):
        program.copy(where, control + 16 + 4 * position)
    control_at, control_bytes = (control, -(-length // 8) * 8) if sockets else (0, 0)
    message = program.data(struct.pack("<QI4xQQQQi4x", 0, 0, vector, 1, control_at, control_bytes, 0))
    program.call("sendmsg", out, message, _MSG_NOSIGNAL, must="nobody waits for the command")
