"""Starting a program that speaks MCP, in a sandbox. The one place that knows how: `spawn`.

bubblewrap: no network, /usr and the paths that the configuration names read only, its own /tmp and process tree, no
capability, no environment but its own, and nothing of the data directory. Without bubblewrap nothing is started.
"""

import asyncio
import resource
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from interlock.errors import HandsUnavailable, LocalError

TMP_BYTES = 64 << 20
MEMORY_BYTES = 4 << 30
"""Of addresses: a program that asks for all there is fails by itself."""
FILES_MAX = 256
PATH = "/usr/local/bin:/usr/bin:/bin"
_LINKS = ("bin", "sbin", "lib", "lib64")


async def spawn(
    argv: Sequence[str], env: Mapping[str, str], *, read: Sequence[str] = (), hidden: Path
) -> asyncio.subprocess.Process:
    """The program, with pipes for its standard streams. Killing it ends everything that it started.

    Args:
        read: absolute paths that it sees, read only.
        hidden: the data directory: no path of `read` may show it.
    Raises: HandsUnavailable: no sandbox can be had here. LocalError: `read` shows what is hidden. OSError.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise HandsUnavailable("bubblewrap (bwrap) is not installed: tool servers that are programs need it")
    check(read, hidden)
    return await asyncio.create_subprocess_exec(
        *(bwrap, *wrap(argv, env, read)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
        start_new_session=True,
        preexec_fn=_limit,
    )


def check(read: Sequence[str], hidden: Path) -> None:
    """Raises: LocalError: a path would show what is hidden."""
    secret = hidden.resolve()
    for path in read:
        real = Path(path).resolve()
        if real.is_relative_to(secret) or secret.is_relative_to(real):
            raise LocalError(f"read: {path!r} would show the data directory", field="read")


def wrap(argv: Sequence[str], env: Mapping[str, str], read: Sequence[str]) -> list[str]:
    """bubblewrap's arguments."""
    words = ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    words += ["--uid", "65534", "--gid", "65534", "--hostname", "tools"]
    words += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
    words += ["--size", str(TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108 - the sandbox's own
    for name in _LINKS:
        path = Path("/") / name
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    words += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    words += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]
    for shown in read:
        words += ["--ro-bind", shown, shown]
    words += ["--remount-ro", "/", "--chdir", "/tmp"]  # noqa: S108 - the sandbox's own
    for name, value in {"PATH": PATH, "HOME": "/tmp", "LANG": "C.UTF-8", **env}.items():  # noqa: S108 - the same
        words += ["--setenv", name, value]
    return [*words, "--", *argv]


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
