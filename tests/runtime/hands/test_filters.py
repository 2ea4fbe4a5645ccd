"""The seccomp filter, run by an interpreter of its own here, and by the kernel in test_walls.py."""

import errno
import struct
from collections.abc import Callable

import pytest

from interlock.runtime.hands.filters import ABSENT, LAST_KNOWN, REFUSED, no_users_of_its_own, seccomp_filter
from interlock.runtime.hands.syscalls import NUMBERS

ALLOW, KILL = 0x7FFF0000, 0x80000000
X86_64 = 0xC000003E


def verdict(number: int, *args: int, arch: int = X86_64, made: Callable[[], bytes] = seccomp_filter) -> int:
    """What the program returns for a call. Source: classic BPF, Linux, Documentation/networking/filter.rst."""
    given = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *args, *(0,) * (6 - len(args)))
    program = list(struct.iter_unpack("<HBBI", made()))
    at = word = 0
    for _ in range(10_000):
        code, yes, no, value = program[at]
        at += 1
        if code == 0x20:
            (word,) = struct.unpack_from("<I", given, value)
        elif code == 0x06:
            return int(value)
        else:
            tests = {0x15: word == value, 0x25: word > value, 0x35: word >= value, 0x45: bool(word & value)}
            at += yes if tests[code] else no
    raise AssertionError("it does not end")


def refused(code: int) -> int:
    return 0x00050000 | code


def test_it_is_a_program_the_kernel_takes() -> None:
    program = list(struct.iter_unpack("<HBBI", seccomp_filter()))
    assert len(program) < 4096
    for at, (code, yes, no, _) in enumerate(program):
        assert code in {0x20, 0x06, 0x15, 0x25, 0x35, 0x45}
        assert code == 0x06 or at + 1 + max(yes, no) < len(program)
    assert program[-1][0] == 0x06


def test_every_number_has_the_verdict_of_the_lists() -> None:
    lists = {NUMBERS[name]: refused(errno.EPERM) for name in REFUSED}
    lists |= {NUMBERS[name]: refused(errno.ENOSYS) for name in ABSENT}
    by_argument = {NUMBERS[name] for name in ("clone", "unshare", "ioctl", "personality", "socket", "socketpair")}
    for number in range(600):
        if number not in by_argument:
            wanted = lists.get(number, ALLOW if number <= LAST_KNOWN else refused(errno.ENOSYS))
            assert verdict(number) == wanted, number
    assert len(lists) == len(REFUSED) + len(ABSENT)


@pytest.mark.parametrize("number", [0x40000000, 0x40000000 | 59, 0xFFFFFFFF, 0x80000000])
def test_numbers_of_another_interface_kill(number: int) -> None:
    assert verdict(number) == KILL


@pytest.mark.parametrize("arch", [0x40000003, 0xC00000B7, 0])
def test_another_architecture_kills(arch: int) -> None:
    assert verdict(39, arch=arch) == KILL


@pytest.mark.parametrize(
    ("name", "args", "wanted"),
    [
        ("clone", (0x01200011,), ALLOW),
        ("clone", (0x003D0F00,), ALLOW),
        ("clone", (0x10000011,), refused(errno.EPERM)),
        ("clone", (0x00000080,), refused(errno.EPERM)),
        ("clone", (0x10000011 | 1 << 40,), refused(errno.EPERM)),
        ("unshare", (0x400,), ALLOW),
        ("unshare", (0x00020000,), refused(errno.EPERM)),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x540E), ALLOW),
        ("ioctl", (0, 0x5412), refused(errno.EPERM)),
        ("ioctl", (0, 0x5412 | 7 << 32), refused(errno.EPERM)),
        ("ioctl", (0, 0x541C), refused(errno.EPERM)),
        ("personality", (0,), ALLOW),
        ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x40000,), refused(errno.EPERM)),
        ("personality", (8,), refused(errno.EPERM)),
        ("socket", (1, 1, 0), ALLOW),
        ("socket", (2, 2, 17), ALLOW),
        ("socket", (10, 1, 0), ALLOW),
        ("socket", (10, 1, 262), ALLOW),
        ("socket", (2, 2, 136), refused(errno.EPROTONOSUPPORT)),
        ("socket", (10, 1, 132 | 1 << 32), refused(errno.EPROTONOSUPPORT)),
        ("socket", (16, 3, 0), ALLOW),
        ("socket", (16, 3, 12), refused(errno.EAFNOSUPPORT)),
        ("socket", (17, 3, 0), refused(errno.EAFNOSUPPORT)),
        ("socket", (40, 1, 0), refused(errno.EAFNOSUPPORT)),
        ("socket", (40 | 1 << 32, 1, 0), refused(errno.EAFNOSUPPORT)),
        ("socket", (0, 1, 0), refused(errno.EAFNOSUPPORT)),
        ("socketpair", (1, 1, 0), ALLOW),
        ("socketpair", (2, 1, 0), refused(errno.EAFNOSUPPORT)),
    ],
)
def test_some_are_refused_for_what_they_ask(name: str, args: tuple[int, ...], wanted: int) -> None:
    assert verdict(NUMBERS[name], *args) == wanted


@pytest.mark.parametrize(
    ("name", "args", "wanted"),
    [
        ("clone3", (), refused(errno.ENOSYS)),
        ("clone", (0x003D0F00,), ALLOW),
        ("clone", (0x10000011,), refused(errno.EPERM)),
        ("unshare", (0x00020000,), ALLOW),
        ("unshare", (0x50000000,), refused(errno.EPERM)),
        ("socket", (17, 3, 0), ALLOW),
    ],
)
def test_in_gvisor_only_users_of_ones_own_are_refused(name: str, args: tuple[int, ...], wanted: int) -> None:
    assert verdict(NUMBERS[name], *args, made=no_users_of_its_own) == wanted
