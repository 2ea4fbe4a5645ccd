"""The seccomp filter: which system calls a sandboxed process may not make, as BPF for x86-64.

It takes away what widens a sandbox or has been the way out of one: mounts, new namespaces, tracing, keys, BPF,
performance counters, io_uring, modules, handles. What the filter does not know, because a later kernel has it, does
not exist (ENOSYS). It allows the rest: a filter by allow-list of what compilers and browsers need is as long as the
table, and breaks with each release of glibc. It does *not* look at paths: that is Landlock's and the mounts'.

Source: seccomp(2); Linux, include/uapi/linux/{seccomp,filter,audit}.h.
"""

import errno
import struct

from interlock.runtime.hands.syscalls import NUMBERS

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _GREATER, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG = 0, 4, 16
_X86_64, _X32 = 0xC000003E, 0x40000000

LAST_KNOWN = 467
"""open_tree_attr, of Linux 6.15."""

REFUSED = (
    *("mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick"),
    *("mount_setattr", "open_tree_attr", "statmount", "listmount", "swapon", "swapoff", "quotactl", "quotactl_fd"),
    *("setns", "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise"),
    *("keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd"),
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module"),
    *("query_module", "get_kernel_syms", "open_by_handle_at", "name_to_handle_at", "fanotify_init", "lookup_dcookie"),
    *("acct", "reboot", "sethostname", "setdomainname", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime"),
    *("iopl", "ioperm", "modify_ldt", "syslog", "vhangup", "uselib", "ustat", "sysfs", "_sysctl", "nfsservctl"),
    *("vserver", "vmsplice", "mbind", "set_mempolicy", "set_mempolicy_home_node", "migrate_pages", "move_pages"),
    *("memfd_secret", "lsm_set_self_attr"),
)
ABSENT = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
"""Programs that find these missing do without: glibc makes threads with clone, whose flags a filter can read."""

_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW{USER,PID,NET,NS,CGROUP,UTS,IPC,TIME}
_NEW_USERS = 0x10000000
_UNIX, _INET, _INET6, _NETLINK, _NETLINK_ROUTE = 1, 2, 10, 16, 0
_PROTOCOLS = (0, 1, 6, 17, 58, 255, 262)
"""The usual one, ICMP, TCP, UDP, ICMPv6, raw (for which one needs a capability), MPTCP. Others (SCTP, DCCP, UDP-Lite,
SMC) are modules that are loaded for whoever asks, and go past what watches the sandbox's network."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_QUERY = 0xFFFFFFFF


class _Filter:
    """Instructions so far. Each rule is closed in itself: jumps are a few instructions long."""

    def __init__(self) -> None:
        self.code: list[tuple[int, int, int, int]] = []

    def load(self, offset: int) -> None:
        self.code.append((_LOAD, 0, 0, offset))

    def when(self, test: int, value: int, verdict: int) -> None:
        """Return the verdict if the loaded word passes the test."""
        self.code += [(test, 0, 1, value), (_RETURN, 0, 0, verdict)]

    def unless_one_of(self, values: tuple[int, ...], verdict: int) -> None:
        for behind, value in enumerate(reversed(values)):
            self.code.insert(len(self.code) - behind, (_EQUAL, behind + 1, 0, value))
        self.code.append((_RETURN, 0, 0, verdict))

    def rule(self, name: str, body: "_Filter") -> None:
        """Instructions for one system call; the number is loaded before and after."""
        self.code += [(_EQUAL, 0, len(body.code) + 1, NUMBERS[name]), *body.code, (_LOAD, 0, 0, _NR)]

    def written(self) -> bytes:
        """It allows the rest."""
        self.code.append((_RETURN, 0, 0, _ALLOW))
        return b"".join(struct.pack("<HBBI", *instruction) for instruction in self.code)


def _refuse(code: int) -> int:
    return _ERRNO | code


def seccomp_filter() -> bytes:
    """The program, as `bwrap --seccomp` reads it: an array of struct sock_filter."""
    made = _Filter()
    made.load(_ARCH)
    made.unless_one_of((_X86_64,), _KILL)
    made.load(_NR)
    made.when(_AT_LEAST, _X32, _KILL)
    made.when(_GREATER, LAST_KNOWN, _refuse(errno.ENOSYS))
    for name in ABSENT:
        made.when(_EQUAL, NUMBERS[name], _refuse(errno.ENOSYS))
    for name in REFUSED:
        made.when(_EQUAL, NUMBERS[name], _refuse(errno.EPERM))
    for name, body in _by_argument():
        made.rule(name, body)
    return made.written()


def no_users_of_its_own() -> bytes:
    """The program for commands in gVisor, as seccomp(2) reads it: no namespace of users can be made.

    Who makes one is root there, and gVisor asks only for that when the sandbox's network is to be changed or heard.
    Source: gVisor, pkg/sentry/socket/netlink/route, pkg/sentry/socket/netstack: HasCapability.
    """
    made = _Filter()
    made.load(_NR)
    made.when(_EQUAL, NUMBERS["clone3"], _refuse(errno.ENOSYS))
    for name in ("clone", "unshare"):
        body = _Filter()
        body.load(_ARG)
        body.when(_ANY_BIT, _NEW_USERS, _refuse(errno.EPERM))
        made.rule(name, body)
    return made.written()


def _by_argument() -> list[tuple[str, _Filter]]:
    """Those that are refused for what they are asked. Arguments are read as the kernel reads them: 32 bits wide."""
    names = ("clone", "unshare", "ioctl", "personality", "socket", "socketpair")
    rules = {name: _Filter() for name in names}
    for name in ("clone", "unshare"):
        rules[name].load(_ARG)
        rules[name].when(_ANY_BIT, _NEW_NAMESPACES, _refuse(errno.EPERM))
    rules["ioctl"].load(_ARG + 8)
    for request in (_TIOCSTI, _TIOCLINUX):
        rules["ioctl"].when(_EQUAL, request, _refuse(errno.EPERM))
    rules["personality"].load(_ARG)
    rules["personality"].unless_one_of((0, _QUERY), _refuse(errno.EPERM))
    rules["socketpair"].load(_ARG)
    rules["socketpair"].unless_one_of((_UNIX,), _refuse(errno.EAFNOSUPPORT))
    family, routes, protocols = rules["socket"], _Filter(), _Filter()
    routes.load(_ARG + 16)
    routes.unless_one_of((_NETLINK_ROUTE,), _refuse(errno.EAFNOSUPPORT))  # for getifaddrs(3); the others are doors
    routes.code.append((_RETURN, 0, 0, _ALLOW))
    family.load(_ARG)
    family.code += [(_EQUAL, 0, len(routes.code), _NETLINK), *routes.code]
    protocols.load(_ARG + 16)
    protocols.unless_one_of(_PROTOCOLS, _refuse(errno.EPROTONOSUPPORT))
    protocols.code.append((_RETURN, 0, 0, _ALLOW))
    family.code += [(_EQUAL, 1, 0, _INET), (_EQUAL, 0, len(protocols.code), _INET6), *protocols.code]
    family.unless_one_of((_UNIX,), _refuse(errno.EAFNOSUPPORT))
    return list(rules.items())
