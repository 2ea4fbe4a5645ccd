"""What runs inside gVisor around a command: its own first process, which nobody outlives, and the change of user.

The program that gVisor is told to execute is root in there and has the few capabilities that this takes; it makes a
namespace of processes, whose first process starts the command as the agent's user and ends with it, and so does
everything that the command has started, however it tried to be somebody else's child.
"""

import struct
from collections.abc import Callable, Mapping, Sequence

from interlock.runtime.hands.elf import Program
from interlock.runtime.hands.filters import no_users_of_its_own
from interlock.runtime.hands.prelude import EXIT_NOT_FOUND, PATH, candidates, limits

AGENT = 1000
"""User and group of the command inside."""
CAPABILITIES = ("CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_SYS_ADMIN")
_NUMBERS = (6, 7, 8, 21)  # of the same: Linux, include/uapi/linux/capability.h
_NAMESPACES = 0x20000000 | 0x20000  # CLONE_NEWPID, CLONE_NEWNS
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _SIGKILL, _SIGCHLD = 1, 24, 38, 9, 17
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_EXIT_WITH = bytes.fromhex(
    "89c1" "83e17f"  # mov ecx, eax; and ecx, 0x7f: the signal, 0 if it exited
    "7408"  # jz exited
    "8db980000000" "eb06"  # lea edi, [rcx+128]; jmp done
    "c1e808" "0fb6f8"  # exited: shr eax, 8; movzx edi, al
    "b8e7000000" "0f05"  # done: mov eax, exit_group; syscall
)  # fmt: skip
"""With wait(2)'s status in eax: end as the child did."""


class Parent(Program):
    """A program that forks, and waits for one child."""

    def fork(self, child: Callable[[], None]) -> None:
        """Fork; `child` adds what the child does, and must end the process. The parent goes on behind it."""
        self.call("clone", _SIGCHLD, 0, 0, 0, 0, must="cannot fork")
        before, self._code = self._code, bytearray()
        child()
        body, self._code = self._code, before
        self._code += b"\x48\x85\xc0\x0f\x85" + struct.pack("<i", len(body)) + body  # test rax, rax; jnz behind it

    def wait(self) -> None:
        """Wait until the child just forked has ended, burying all others, and end as it did."""
        child, status = self.data(bytes(8)), self.data(bytes(8))
        self.keep(child)
        begin = len(self._code)
        self.call("wait4", -1, status, 0, 0)
        self._code += (
            b"\x48\x8b\x1c\x25" + struct.pack("<i", child) + b"\x48\x39\xd8\x0f\x85"
        )  # mov rbx, [child]; cmp; jne
        self._code += struct.pack("<i", begin - len(self._code) - 4)
        self._code += b"\x8b\x04\x25" + struct.pack("<i", status) + _EXIT_WITH  # mov eax, [status]


def command(argv: Sequence[str], env: Mapping[str, str], *, cwd: str, rlimits: Mapping[int, int]) -> Program:
    """A program that becomes the command, as AGENT, among processes of its own.

    Args:
        cwd: where it begins, absolute.
    """
    program = Parent()
    program.call("unshare", _NAMESPACES, must="cannot have processes of its own")

    def become() -> None:
        limits(program, rlimits)
        program.call("setgroups", 0, 0, must="cannot leave groups")
        program.call("setresgid", AGENT, AGENT, AGENT, must="cannot become the agent's group")
        for number in _NUMBERS:
            program.call("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0, must="cannot drop a capability")
        program.call("setresuid", AGENT, AGENT, AGENT, must="cannot become the agent's user")
        program.call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, must="cannot forgo privileges")
        code = no_users_of_its_own()
        given = program.data(struct.pack("<H6xQ", len(code) // 8, program.data(code)))
        program.call("prctl", _PR_SET_SECCOMP, _MODE_FILTER, given, 0, 0, must="cannot forgo users of its own")
        program.call("umask", 0o022)
        program.call("chdir", program.text(cwd), must=f"cannot go to {cwd}", exits=EXIT_NOT_FOUND)
        program.call("close_range", 3, 0xFFFFFFFF, 0)
        arguments, environment = program.array(argv), program.array([f"{name}={value}" for name, value in env.items()])
        for path in candidates(argv[0], env.get("PATH", PATH)):
            program.call("execve", program.text(path), arguments, environment)
        program.fail(f"{argv[0][:200]}: not found, or not to be executed", EXIT_NOT_FOUND)

    def first() -> None:
        program.call("prctl", _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0, must="cannot be tied to its parent")
        proc = program.text("proc")
        program.call("mount", proc, program.text("/proc"), proc, 0, 0, must="cannot mount /proc")
        program.fork(become)
        program.wait()

    program.fork(first)
    program.wait()
    return program
