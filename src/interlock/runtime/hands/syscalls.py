"""Linux system calls that Python has no name for: numbers for x86-64, and the few that are called from here.

Numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl. Constants: its uapi headers, named as there.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping
from types import MappingProxyType

NUMBERS: Mapping[str, int] = MappingProxyType(
    {
        **{
            "read": 0,
            "write": 1,
            "ioctl": 16,
            "socket": 41,
            "sendto": 44,
            "sendmsg": 46,
            "bind": 49,
            "listen": 50,
            "setsockopt": 54,
            "wait4": 61,
        },
        **{"socketpair": 53, "clone": 56, "execve": 59, "getppid": 110, "chdir": 80, "umask": 95, "ptrace": 101},
        **{"setsid": 112, "setgroups": 116, "setresuid": 117, "setresgid": 119, "personality": 135},
        **{"modify_ldt": 154, "pivot_root": 155, "prctl": 157, "acct": 163, "settimeofday": 164, "mount": 165},
        **{"umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171},
        **{"iopl": 172, "ioperm": 173, "create_module": 174, "init_module": 175, "delete_module": 176},
        **{"get_kernel_syms": 177, "query_module": 178, "quotactl": 179, "nfsservctl": 180, "lookup_dcookie": 212},
        **{"_sysctl": 156, "chroot": 161, "adjtimex": 159, "clock_settime": 227, "exit_group": 231, "vserver": 236},
        **{"mbind": 237, "set_mempolicy": 238, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250},
        **{"migrate_pages": 256, "openat": 257, "mknod": 133, "mknodat": 259, "unshare": 272, "move_pages": 279},
        **{"vmsplice": 278, "fanotify_init": 300, "prlimit64": 302, "name_to_handle_at": 303},
        **{"open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310},
        **{"process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321},
        **{"perf_event_open": 298, "syslog": 103, "ustat": 136, "sysfs": 139, "uselib": 134, "vhangup": 153},
        **{"userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427},
        **{"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433},
        **{"clone3": 435, "close_range": 436, "openat2": 437, "pidfd_getfd": 438, "process_madvise": 440},
        **{"mount_setattr": 442, "quotactl_fd": 443, "landlock_create_ruleset": 444, "landlock_add_rule": 445},
        **{"landlock_restrict_self": 446, "memfd_secret": 447, "set_mempolicy_home_node": 450, "renameat2": 316},
        **{"statmount": 457, "listmount": 458, "lsm_set_self_attr": 460, "open_tree_attr": 467},
    }
)

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x01, 0x02, 0x04, 0x08
RENAME_EXCHANGE = 2


def supported() -> bool:
    """Whether the numbers are this machine's."""
    return platform.machine() == "x86_64" and platform.system() == "Linux" and struct.calcsize("P") == 8


def call(name: str, *args: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """The system call's result. Raises: OSError."""
    given = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    while True:
        result: int = _LIBC.syscall(ctypes.c_long(NUMBERS[name]), *given)
        if result >= 0:
            return result
        if (code := ctypes.get_errno()) != errno.EINTR:
            raise OSError(code, os.strerror(code))


def open_beneath(directory: int, path: str, flags: int, *, links: bool = True) -> int:
    """A descriptor of what `path` names below the directory, whatever links stand or are put in its way.

    `..`, absolute paths and links may be used as long as each step stays beneath; other mounts and /proc's links may
    not. The descriptor is not inherited. Raises: OSError: EXDEV where it leads out; as open(2).

    Args:
        links: whether links are followed at all.
    Source: openat2(2).
    """
    resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV | (0 if links else RESOLVE_NO_SYMLINKS)
    how = struct.pack("<QQQ", flags | os.O_CLOEXEC, 0, resolve)
    for _ in range(64):
        try:
            return call("openat2", directory, os.fsencode(path), how, len(how))
        except OSError as error:  # EAGAIN: something was renamed while the kernel looked, so it cannot be sure
            if error.errno != errno.EAGAIN:
                raise
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def exchange(one: str, other: str) -> None:
    """Two names for each other's, at once. Raises: OSError."""
    call("renameat2", -100, os.fsencode(one), -100, os.fsencode(other), RENAME_EXCHANGE)


def landlock_abi() -> int:
    """The version of Landlock that the kernel has; 0: none, or switched off."""
    try:
        return call("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0
