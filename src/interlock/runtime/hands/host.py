"""What this machine offers to bubblewrap: looked for once, before the first sandbox, and told to who asks why not.

It also lays out what sandboxes see of it: the few files of /etc that programs need, copied, so that nothing of the
machine's own is shown that is not named here.
"""

import contextlib
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from interlock.runtime.hands import landlock, syscalls, trees
from interlock.runtime.hands.cgroups import Cgroups
from interlock.runtime.hands.egress import NSSWITCH_CONF, RESOLV_CONF
from interlock.runtime.hands.filters import seccomp_filter
from interlock.runtime.hands.prelude import Hung

SHM_BYTES = 64 << 20
STAGES = Path("/run/interlock-hands")
_ETC_BYTES_MAX, _ETC_PART = 32 << 20, "etc.part"
_STAGING = threading.Lock()  # two of one process would lay out the same directory
_SHOWN = (
    *("alternatives", "ca-certificates", "ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "pki/ca-trust"),
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "protocols", "services"),
    *("os-release", "debian_version", "python3", "perl", "java-17-openjdk", "magic", "inputrc", "terminfo"),
)
_WRITTEN = {
    "passwd": "agent:x:1000:1000:agent:/workspace:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "group": "agent:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "nsswitch.conf": NSSWITCH_CONF,
    "resolv.conf": RESOLV_CONF,
}
_NAMESPACES = (
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
    *("--uid", "1000", "--gid", "1000", "--hostname", "sandbox"),
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"),
)


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    program: str
    missing: tuple[str, ...]
    weaker: tuple[str, ...]
    cgroups: Cgroups | None
    landlock: int
    """The version in use."""
    rules: Mapping[str, int]
    seccomp: bytes
    stage: Path
    """Where users other than we can reach what is hung there, each in mounts of its own."""
    view: tuple[str, ...]
    """bubblewrap's arguments, but for the workspace."""


def look(program: str, root: Path, also_read: tuple[str, ...]) -> Host:
    """Look for all of it, and lay out /etc. What it takes to be sure is to run a command."""
    missing, found, abi = [], shutil.which(program), syscalls.landlock_abi()
    if not syscalls.supported():
        missing.append("this kind of sandbox is for Linux on x86-64: use gVisor's")
    if found is None:
        missing.append(f"no {program}: install bubblewrap (Debian: apt-get install bubblewrap)")
    if abi == 0:
        missing.append("no Landlock: Linux 5.13 or later, with landlock in the kernel's `lsm=` list")
    if Path("/proc/sys/user/max_user_namespaces").exists() and _read("/proc/sys/user/max_user_namespaces") == "0":
        missing.append("user namespaces are off: sysctl user.max_user_namespaces=10000")
    if _read("/proc/sys/vm/memfd_noexec") == "2":
        missing.append("programs in memory are off: sysctl vm.memfd_noexec=1")
    missing += [f"{path} is no directory here (also_read)" for path in also_read if not Path(path).is_dir()]
    cgroups, weaker = _cgroups()
    stage = lay_out(root) if not missing else root
    readable = dict.fromkeys(also_read, landlock.RUN)
    return Host(
        program=found or program,
        missing=tuple(missing),
        weaker=tuple(weaker),
        cgroups=cgroups,
        landlock=min(abi, 7),
        rules={**landlock.RULES, **readable},
        seccomp=seccomp_filter(),
        stage=stage,
        view=tuple(_view(stage / "etc", also_read)),
    )


def explain(message: str) -> str:
    """bubblewrap's complaint, with what would help, where that is known."""
    if "max_user_namespaces" in message or "setting up uid map" in message or "No permissions to create" in message:
        return (
            f"{message}: user namespaces are not allowed here. Ubuntu 24.04: sysctl "
            "kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for bwrap; Debian 10: sysctl "
            "kernel.unprivileged_userns_clone=1; Docker: --security-opt seccomp=unconfined (or a profile that allows "
            "unshare and mount) and --security-opt apparmor=unconfined"
        )
    if "Can't mount proc" in message:
        return (
            f"{message}: a container that hides parts of /proc lets nobody mount another. Docker: --security-opt "
            "systempaths=unconfined; Kubernetes: procMount: Unmasked with user namespaces"
        )
    if "cannot have mounts" in message or "cannot mount" in message:
        return f"{message}: root without CAP_SYS_ADMIN; run as another user, or allow it (Docker: --cap-add SYS_ADMIN)"
    return message


def _cgroups() -> tuple[Cgroups | None, list[str]]:
    try:
        return Cgroups.find(), []
    except OSError as error:
        why = error.strerror or str(error)
        return None, [
            f"no control groups ({why}): memory is held to the limit for each process, and looked at four times a "
            "second for all, but for files in memory, which nothing limits; processes are limited for each command; "
            "CPU is not limited. Run as root, or in a systemd unit with Delegate=yes"
        ]


def lay_out(root: Path) -> Path:
    """A directory that sandboxes' users can reach: as root outside our own, which nobody else can enter."""
    with _STAGING:
        return _staged(root)


def others() -> bool:
    """Whether what runs in sandboxes can run as another user than we are."""
    return os.geteuid() == 0


def _stages(root: Path) -> Path:
    return STAGES if others() else root / ".stages"


def _staged(root: Path) -> Path:
    stages = _stages(root)
    stages.mkdir(mode=0o755, parents=True, exist_ok=True)
    for left in stages.iterdir():  # of processes that are no more
        pid = left.name.partition("-")[0]
        if pid.isdigit() and left.name != process(pid):
            with contextlib.suppress(FileNotFoundError):  # another process of ours took it to remove it
                trees.remove(left.rename(stages / f".{secrets.token_hex(8)}"))
    stage = stages / process(str(os.getpid()))
    if (stage / "etc").is_dir():
        return stage
    stage.mkdir(mode=0o755, exist_ok=True)
    for name in ("files", "temporary", _ETC_PART):
        (stage / name).mkdir(mode=0o755, exist_ok=True)
    for name in _SHOWN:
        with contextlib.suppress(OSError, shutil.Error):
            _show(Path("/etc", name), stage / _ETC_PART / name)
    for name, text in _WRITTEN.items():
        (stage / _ETC_PART / name).write_text(text)
    (stage / _ETC_PART).rename(stage / "etc")
    return stage


def show(found: Host, paths: Sequence[str], *, hang: bool) -> tuple[list[str], dict[str, int], list[Hung]]:
    """Show files and directories of this machine, read only, behind `found.view`.

    Args:
        paths: absolute.
        hang: the sandbox's user may be unable to reach them; what they are to whom is still their modes' to say.
    Returns: bubblewrap's arguments, Landlock's rules, and what is to be hung before.
    Raises: FileNotFoundError: a path is not there.
    """
    of_etc = any(Path(path).is_relative_to("/etc") for path in paths)
    given = _apart(found.stage / "etc") if of_etc else []
    rules, hung = dict[str, int](), list[Hung]()
    for number, path in enumerate(paths):
        directory = stat.S_ISDIR(Path(path).stat().st_mode)
        rules[path] = landlock.RUN if directory else landlock.RUN_FILE
        at = found.stage / f"shown-{'directory' if directory else 'file'}-{number}"
        if hang:
            at.mkdir(mode=0o755, exist_ok=True) if directory else at.touch(mode=0o644)
            hung.append(Hung(path, str(at)))
        given += ["--ro-bind", str(at) if hang else path, path]
    return given + (["--remount-ro", "/etc"] if of_etc else []), rules, hung


def _apart(etc: Path) -> list[str]:
    """/etc as a directory to which more can be added, with each of its entries by itself."""
    given = ["--tmpfs", "/etc"]
    for path in sorted(etc.iterdir()):
        kind = ("--symlink", str(path.readlink())) if path.is_symlink() else ("--ro-bind", str(path))
        given += [*kind, f"/etc/{path.name}"]
    return given


def process(pid: str) -> str:
    """A process's id with the time it began at, so that a later one of the same id is another; no process: ``."""
    found = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return f"{pid}-{found[19]}" if found else ""


def _show(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if source.is_dir() and not source.is_symlink():
        trees.copy(source, target, bytes_max=_ETC_BYTES_MAX)
        target.chmod(0o755)
    else:
        shutil.copy(source, target, follow_symlinks=False)


def _view(etc: Path, also_read: tuple[str, ...]) -> list[str]:
    given = [*_NAMESPACES, "--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            given += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            given += ["--ro-bind", str(path), str(path)]
    for directory in also_read:
        given += ["--ro-bind", directory, directory]
    given += ["--ro-bind", str(etc), "/etc", "--proc", "/proc", "--dev", "/dev"]
    return [*given, "--size", str(SHM_BYTES), "--tmpfs", "/dev/shm", "--dir", "/run"]  # noqa: S108 - the sandbox's own


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text().strip()
    return ""
