"""What sandboxes this machine can have, found by having each kind run a command; why not more, and what would help.

A file that exists proves nothing: user namespaces are tried, /dev/kvm is asked for a machine, and a kind of sandbox is
usable when `true` came back from one within the deadline.
"""

import asyncio
import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from interlock.clock import Clock
from interlock.errors import InterlockError
from interlock.runtime.hands import syscalls
from interlock.runtime.hands.cgroups import Cgroups
from interlock.runtime.hands.elf import Program
from interlock.runtime.hands.ports import Command, Hands, Stop
from interlock.runtime.hands.resources import Resources

DEADLINE_S = 30.0
_KVM_GET_API_VERSION, _KVM_CREATE_VM, _KVM_API = 0xAE00, 0xAE01, 12
_CLONE_NEWUSER = 0x10000000


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Something of this machine."""

    name: str
    found: str
    good: bool
    helps: str = ""
    """What would make it good."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of sandbox, tried."""

    name: str
    strength: str
    usable: bool
    command_ms: float | None = None
    """One `true`, the second of two: what a session's commands will cost."""
    missing: tuple[str, ...] = ()
    weaker: tuple[str, ...] = ()
    """What holds less than it should."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    machine: tuple[Fact, ...]
    kinds: tuple[Kind, ...]


@runtime_checkable
class _Weaker(Protocol):
    async def weaker(self) -> list[str]:
        """Which limits hold less than they should here."""
        ...


async def examine(kinds: Sequence[Hands], clock: Clock, *, deadline_s: float = DEADLINE_S) -> Report:
    """Look at the machine, and try every kind, one after the other."""
    machine = await asyncio.to_thread(facts)
    return Report(machine=tuple(machine), kinds=tuple([await _tried(hands, clock, deadline_s) for hands in kinds]))


async def _tried(hands: Hands, clock: Clock, deadline_s: float) -> Kind:
    def kind(*missing: str, took_ms: float | None = None, weaker: Sequence[str] = ()) -> Kind:
        return Kind(
            name=hands.name,
            strength=hands.strength,
            usable=not missing,
            command_ms=took_ms,
            missing=missing,
            weaker=tuple(weaker),
        )

    try:
        async with asyncio.timeout(deadline_s):
            if missing := await hands.missing():
                return kind(*missing)
            took_ms = await _command_ms(hands, clock)
            return kind(took_ms=took_ms, weaker=await hands.weaker() if isinstance(hands, _Weaker) else ())
    except TimeoutError:
        return kind(f"no answer within {deadline_s:g} s: it hangs on this machine")
    except (InterlockError, OSError) as error:
        return kind(f"it cannot run a command: {error}")


async def _command_ms(hands: Hands, clock: Clock) -> float:
    box = await hands.provision("doctor", "doctor", Resources())
    took_ms = 0.0
    try:
        for _ in range(2):
            begun_ns = clock.monotonic_ns()
            async for output in box.execute(Command(argv=("true",))):
                if isinstance(output, Stop) and output.exit_code != 0:
                    raise OSError(f"`true` ended with {output.exit_code}: {output.reason or output.status}")
            took_ms = (clock.monotonic_ns() - begun_ns) / 1e6
    finally:
        await box.destroy()
    return took_ms


def facts() -> list[Fact]:
    """What the kinds are made of, each found by use where that can be."""
    return [_kernel(), _user_namespaces(), _seccomp(), _landlock(), _control_groups(), *_programs(), _kvm()]


def _kernel() -> Fact:
    return Fact(
        name="kernel",
        found=f"{platform.system()} {platform.release()}, {platform.machine()}, user id {os.geteuid()}",
        good=syscalls.supported(),
        helps="" if syscalls.supported() else "bubblewrap and process are for Linux on x86-64",
    )


def _user_namespaces() -> Fact:
    """Made by a program as a user who is not root, as bubblewrap does; in a child of its own."""
    name, user = "user namespaces", 65534 if os.geteuid() == 0 else None
    program = Program()
    program.call("unshare", _CLONE_NEWUSER, must="refused")
    program.call("exit_group", 0)
    descriptor = program.memfd("probe")
    try:
        ran = subprocess.run(
            ["probe"],
            executable=f"/proc/self/fd/{descriptor}",
            pass_fds=[descriptor],
            stderr=subprocess.DEVNULL,
            user=user,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Fact(name=name, found=f"cannot be tried: {error}", good=False)
    finally:
        os.close(descriptor)
    if ran.returncode == 0:
        return Fact(name=name, found="allowed", good=True)
    return Fact(
        name=name,
        found="refused",
        good=False,
        helps="sysctl user.max_user_namespaces=10000; Ubuntu 24.04: kernel.apparmor_restrict_unprivileged_userns=0 or "
        "a profile for bwrap; Debian 10: kernel.unprivileged_userns_clone=1; Docker: --security-opt seccomp=unconfined",
    )


def _seccomp() -> Fact:
    path = Path("/proc/sys/kernel/seccomp/actions_avail")
    with contextlib.suppress(OSError):
        actions = path.read_text().split()
        return Fact(name="seccomp", found=" ".join(actions), good={"errno", "kill_process"} <= set(actions))
    return Fact(name="seccomp", found="none", good=False, helps="a kernel with CONFIG_SECCOMP_FILTER")


def _landlock() -> Fact:
    abi = syscalls.landlock_abi()
    helps = "" if abi else "Linux 5.13 or later, with landlock in the kernel's lsm= list"
    return Fact(name="landlock", found=f"version {abi}" if abi else "none", good=abi > 0, helps=helps)


def _control_groups() -> Fact:
    try:
        versions = Cgroups.find().versions
    except OSError as error:
        return Fact(
            name="control groups",
            found=f"not ours to make: {error.strerror or error}",
            good=False,
            helps="run as root, or in a systemd unit with Delegate=yes",
        )
    found = ", ".join(f"{name} v{versions[name]}" for name in ("memory", "pids", "cpu") if name in versions)
    return Fact(name="control groups", found=found, good=True)


def _programs() -> list[Fact]:
    helps = {
        "bwrap": "install bubblewrap (Debian: apt-get install bubblewrap)",
        "runsc": "put gVisor's runsc of 2024 or later into PATH (Debian's: deploy/gvisor.sh DIRECTORY)",
    }
    return [_program(name, how) for name, how in helps.items()]


def _program(name: str, helps: str) -> Fact:
    path = shutil.which(name)
    if path is None:
        return Fact(name=name, found="not installed", good=False, helps=helps)
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Fact(name=name, found=f"{path} does not run: {error}", good=False, helps=helps)
    return Fact(name=name, found=f"{path}, {(said.splitlines() or ['?'])[0][:80]}", good=True)


def _kvm() -> Fact:
    """Whether a virtual machine can be made, and whether the processor has anything to do with it."""
    name, path = "/dev/kvm", Path("/dev/kvm")
    if not path.exists():
        return Fact(name=name, found="none", good=False, helps="bare metal, or nested virtualisation by the host")
    try:
        device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return Fact(name=name, found=f"not to be opened: {error.strerror}", good=False, helps="membership of group kvm")
    try:
        version = fcntl.ioctl(device, _KVM_GET_API_VERSION, 0)
        os.close(fcntl.ioctl(device, _KVM_CREATE_VM, 0))
    except OSError as error:
        return Fact(name=name, found=f"makes no machine: {error.strerror}", good=False)
    finally:
        os.close(device)
    flags = set(_cpu_flags())
    if version != _KVM_API or not {"vmx", "svm"} & flags:
        found = "there, but not the processor's (no vmx, no svm): a guest will hang or crawl"
        return Fact(name=name, found=found, good=False, helps="bare metal, or nested virtualisation by the host")
    return Fact(name=name, found="makes machines", good=True)


def _cpu_flags() -> list[str]:
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as file:
        for line in file:
            if line.startswith("flags"):
                return line.partition(":")[2].split()
    return []
