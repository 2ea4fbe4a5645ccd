"""A child that cannot outlive its parent: run as a script, it ties itself to the parent and becomes the real program.

    python -I -S tether.py PARENT_PID PROGRAM [ARGUMENT]...

Linux forgets the tie on fork and keeps it over exec, so the child must ask for it, and nobody can forget to ask if it
is asked before the program starts. The tie is to the thread that forked: `interlock.process` forks from the main one.
It imports nothing of Interlock, because it runs on every start and 20 ms is what it may cost.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2); in linux/prctl.h

EXIT_CANNOT_START = 127
"""As a shell's: the program could not be executed, or its parent was gone before it could be tied."""


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel send this process SIGKILL when `parent_pid` dies, and end it now if that has happened already.

    The order makes it free of races: a parent that dies before the request has changed `getppid`, one that dies after
    it sends the signal.
    Raises: SystemExit: the parent is gone. OSError: the kernel refused.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:
        sys.exit(EXIT_CANNOT_START)


def main(argv: list[str]) -> None:
    """Tie, then exec. Returns never."""
    die_with_parent(int(argv[1]))
    try:
        os.execvp(argv[2], argv[2:])  # noqa: S606 - no shell is the point
    except OSError as error:
        print(f"cannot start {argv[2]!r}: {error.strerror}", file=sys.stderr)
        sys.exit(EXIT_CANNOT_START)


if __name__ == "__main__":
    main(sys.argv)
