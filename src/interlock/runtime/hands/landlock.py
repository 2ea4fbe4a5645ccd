"""Landlock rules as steps of a program: what a process may do with files that its mounts show it, and whom to signal.

The second wall behind the mounts: should one of these be wrong, a rule still says no. It leaves TCP alone (a sandbox's
only network is its own loopback, on which tests start servers), and cannot see UDP. Source: landlock(7).
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType

from interlock.runtime.hands.elf import At, Program

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK, _REFER, _TRUNCATE, _IOCTL_DEV = 1 << 6, 1 << 11, 1 << 13, 1 << 14, 1 << 15
_SINCE = {1: (1 << 13) - 1, 2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
_SCOPE_ABSTRACT_UNIX, _SCOPE_SIGNAL = 1, 2
_OPEN_PATH, _AT_FDCWD, _RULE_PATH_BENEATH, _PR_SET_NO_NEW_PRIVS = 0x280000, -100, 1, 38

LIST = _READ_DIR
READ = _READ_FILE | _READ_DIR
RUN = READ | _EXECUTE
RUN_FILE = _READ_FILE | _EXECUTE
"""The same of what is no directory, which the kernel wants told apart."""
DEVICES = READ | _WRITE_FILE | _IOCTL_DEV
PROC = READ | _WRITE_FILE
OWN = _SINCE[1] & ~_MAKE_CHAR & ~_MAKE_BLOCK | _REFER | _TRUNCATE

RULES: Mapping[str, int] = MappingProxyType(
    {
        **{"/": LIST, "/usr": RUN, "/etc": READ, "/proc": PROC, "/dev": DEVICES},
        **{"/workspace": OWN, "/tmp": OWN, "/dev/shm": OWN},  # noqa: S108 - the sandbox's own
    }
)
"""Path in the sandbox, and what may be done below it."""


def handled(abi: int) -> int:
    """Rights over files that this version of Landlock knows."""
    return sum(bits for since, bits in _SINCE.items() if since <= abi)


def restrict(program: Program, abi: int, rules: Mapping[str, int] = RULES) -> None:
    """Add the steps: from then on the process and all that it starts are held to the rules."""
    known = handled(abi)
    scoped = _SCOPE_ABSTRACT_UNIX | _SCOPE_SIGNAL if abi >= 6 else 0
    attribute = struct.pack("<QQQ", known, 0, scoped)[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = program.data(bytes(8))
    program.call(
        "landlock_create_ruleset", program.data(attribute), len(attribute), 0, must="cannot make a Landlock ruleset"
    )
    program.keep(ruleset)
    for path, rights in rules.items():
        beneath = program.data(struct.pack("<Qi", rights & known, -1))
        program.call("openat", _AT_FDCWD, program.text(path), _OPEN_PATH, 0, must=f"cannot open {path}")
        program.keep(beneath + 8, wide=False)
        program.call(
            "landlock_add_rule", At(ruleset), _RULE_PATH_BENEATH, beneath, 0, must=f"cannot add a rule for {path}"
        )
    program.call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, must="cannot give up privileges")
    program.call("landlock_restrict_self", At(ruleset), 0, must="cannot restrict itself with Landlock")
