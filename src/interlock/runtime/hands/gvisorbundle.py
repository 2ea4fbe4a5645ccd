"""The OCI bundle of one gVisor sandbox: what it sees of this machine, and as whom. Source: OCI runtime-spec 1.0.

config.json
root        the skeleton of /: links, and directories to mount on
files       the workspace is hung here
temporary   /tmp
run         /run/interlock: what is executed for commands, the part of egress that runs inside
egress      /run/egress: the proxy's socket
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from interlock.runtime.hands.gvisorinit import AGENT, CAPABILITIES
from interlock.runtime.hands.prelude import PATH
from interlock.runtime.hands.workspace import WITHIN

ROOT_UID = 65534
"""Who root in a sandbox is out here, and whose gVisor's access to files is: nobody."""
SHM_BYTES = 64 << 20
RUN, EGRESS = "/run/interlock", "/run/egress"
INIT_CAPABILITIES = ("CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN", "CAP_NET_RAW")
"""Of the first process, over the sandbox's own network, which leads nowhere: to listen, and to see what goes astray."""
_DIRECTORIES = ("proc", "dev", "sys", "tmp", "usr", "etc", "run/interlock", "run/egress", "workspace", "mnt", "var/tmp")
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def lay_out(
    directory: Path,
    at: Path,
    *,
    etc: Path,
    uid: int,
    init: Sequence[str],
    also_read: Sequence[str],
) -> None:
    """Write a bundle.

    Args:
        at: where the directory will be seen when gVisor starts.
        etc: what is shown as /etc.
        uid: who the agent's user is out here.
        init: the first process's argv; it is root inside.
        also_read: directories of this machine that are shown too.
    """
    for name in ("files", "temporary", "run", "egress"):
        (directory / name).mkdir(mode=0o755)
    root = directory / "root"
    for name in (*_DIRECTORIES, *(path.lstrip("/") for path in also_read)):
        (root / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    shown = ["/usr", *also_read]
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            (root / name).symlink_to(path.readlink())
        elif path.is_dir():
            (root / name).mkdir(mode=0o755)
            shown.append(str(path))
    mounts = [
        _mount("/proc", "proc"),
        _mount("/dev", "tmpfs"),
        _mount("/dev/shm", "tmpfs", options=[f"size={SHM_BYTES}", "mode=1777", "nosuid", "nodev"]),  # noqa: S108 - inside
        _mount("/sys", "tmpfs", options=["mode=755", "nosuid", "nodev", "noexec"]),
        *(_mount(path, "bind", path, ["ro", "rbind", "nosuid", "nodev"]) for path in shown),
        _mount("/etc", "bind", str(etc), ["ro", "bind", "nosuid", "nodev"]),
        _mount(WITHIN, "bind", str(at / "files"), ["rw", "bind", "nosuid", "nodev"]),
        _mount("/tmp", "bind", str(at / "temporary"), ["rw", "bind", "nosuid", "nodev"]),  # noqa: S108 - inside
        _mount(RUN, "bind", str(at / "run"), ["ro", "bind", "nosuid", "nodev"]),
        _mount(EGRESS, "bind", str(at / "egress"), ["ro", "bind", "nosuid", "nodev", "noexec"]),
    ]
    mapped = [
        {"containerID": 0, "hostID": ROOT_UID, "size": 1},
        {"containerID": AGENT, "hostID": uid, "size": 1},
    ]
    kinds = ("pid", "network", "ipc", "uts", "mount", "user")
    config = {
        "ociVersion": "1.0.0",
        "process": process(init, capabilities=INIT_CAPABILITIES),
        "root": {"path": str(at / "root"), "readonly": True},
        "hostname": "sandbox",
        "mounts": mounts,
        "linux": {"namespaces": [{"type": kind} for kind in kinds], "uidMappings": mapped, "gidMappings": mapped},
    }
    (directory / "config.json").write_bytes(msgspec.json.encode(config))


def process(
    argv: Sequence[str], *, capabilities: Sequence[str] = CAPABILITIES, terminal: bool = False
) -> dict[str, Any]:
    """A process of root's in a sandbox, as `config.json` and `runsc exec --process` take it."""
    held = {kind: list(capabilities) for kind in ("bounding", "effective", "permitted")}
    return {
        "terminal": terminal,
        "user": {"uid": 0, "gid": 0},
        "args": list(argv),
        "env": [f"PATH={PATH}"],
        "cwd": "/",
        "capabilities": held,
        "noNewPrivileges": False,
    }


def _mount(destination: str, kind: str, source: str = "", options: Sequence[str] = ()) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source or kind, "options": list(options)}
