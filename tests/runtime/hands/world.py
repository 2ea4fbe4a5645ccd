"""What is there to be got at from a sandbox: secrets, a process, listeners, kernel objects, each told from outside."""

import contextlib
import ctypes
import os
import secrets
import selectors
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

from interlock.clock import SystemClock
from interlock.runtime.hands import Sandbox
from interlock.runtime.hands.egress.allowed import own_addresses
from interlock.runtime.hands.workspaces import Workspaces

LIBC = ctypes.CDLL(None, use_errno=True)
_VICTIM = """
import ctypes, os, sys
secret = sys.stdin.readline().strip().encode()
buffer = ctypes.create_string_buffer(secret, 100)
file = open(sys.argv[1]); os.chdir(os.path.dirname(sys.argv[1]))
print(ctypes.addressof(buffer), flush=True)
sys.stdin.read()
"""
_CHANGED = ("/proc/sys/kernel/core_pattern",)


class World:
    """Made once for an adapter; `clean` between attempts, `close` at the end."""

    def __init__(self, directory: Path, *, own_users: bool | None) -> None:
        """directory: not below what sandboxes may see, and with no directory above it that others cannot enter."""
        self.token = f"token-{secrets.token_hex(12)}"
        self.mark = f"interlock-{secrets.token_hex(6)}"
        self.directory = directory
        self.data, self.open = directory / "data", directory / "open"
        self.workspaces = Workspaces(self.data / "workspaces", SystemClock(), own_users=own_users)
        self._made = 0
        self.own = sorted(str(a) for a in own_addresses() if a.version == 4 and not a.is_loopback)
        self.free = _free_port()
        self._lay_out()
        self._listen()
        self._share()
        self._start()
        self._was = {path: Path(path).read_bytes() for path in _CHANGED}

    def _lay_out(self) -> None:
        (self.data / ".ssh").mkdir(mode=0o700, parents=True)
        self.data.chmod(0o700)
        for path in (self.data / "secret", self.data / ".ssh/id_ed25519"):
            path.write_text(f"{self.token}\n")
            path.chmod(0o600)
        self.open.mkdir()
        self.open.chmod(0o777)
        (self.open / "secret").write_text(f"{self.token}\n")
        other = self.workspaces.open("other")
        other.write("secret", f"{self.token}\n".encode())
        self.other = other.path
        for name, mode in (("setuid", 0o4755), ("capable", 0o755)):
            path = Path("/usr/local/bin") / f"{self.mark}-{name}"
            shutil.copy("/usr/bin/cat", path)
            path.chmod(mode)
            if (
                name == "capable"
            ):  # cap_dac_override and cap_dac_read_search, as linux/capability.h has them in version 2
                os.setxattr(path, "security.capability", struct.pack("<5I", 0x02000001, 6, 0, 0, 0))

    def _listen(self) -> None:
        self._listeners = []
        for family, kind, where in (
            (socket.AF_INET, socket.SOCK_STREAM, ("0.0.0.0", 0)),
            (socket.AF_INET, socket.SOCK_DGRAM, ("0.0.0.0", 0)),
            (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{self.mark}-abstract"),
            (socket.AF_UNIX, socket.SOCK_STREAM, str(self.open / "socket")),
        ):
            one = socket.socket(family, kind)
            one.bind(where)
            if kind == socket.SOCK_STREAM:
                one.listen()
            self._listeners.append(one)
        (self.open / "socket").chmod(0o777)

    def _share(self) -> None:
        self.shm_key = secrets.randbelow(1 << 30) + 1
        LIBC.shmat.restype = ctypes.c_void_p
        self._shm = LIBC.shmget(self.shm_key, 4096, 0o1000 | 0o666)
        where = LIBC.shmat(self._shm, None, 0)
        ctypes.memmove(where, self.token.encode(), len(self.token))
        LIBC.shmdt(ctypes.c_void_p(where))
        queue = LIBC.syscall(240, f"{self.mark}-queue".encode(), os.O_RDWR | os.O_CREAT, 0o666, None)
        for _ in range(5):
            LIBC.syscall(242, queue, self.token.encode(), len(self.token), 0, None)
        os.close(queue)
        LIBC.syscall(248, b"user", self.mark.encode(), self.token.encode(), len(self.token), -4)
        self.left_open = os.open(self.data / "secret", os.O_RDONLY)
        os.set_inheritable(self.left_open, True)
        os.environ[f"SECRET_{self.mark}"] = self.token
        with contextlib.suppress(OSError):
            Path("/dev/kmsg").write_text(f"{self.token}\n")

    def _start(self) -> None:
        argv = [sys.executable, "-I", "-c", _VICTIM, str(self.data / "secret"), self.token]
        self.victim = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"SECRET": self.token}
        )
        assert self.victim.stdin is not None and self.victim.stdout is not None
        self.victim.stdin.write(f"{self.token}\n")
        self.victim.stdin.flush()
        self.address = int(self.victim.stdout.readline())

    def filled(self, text: str) -> str:
        """A script with the world's names in it. The token is never among them."""
        for name, value in self.names().items():
            text = text.replace(f"@{name}@", value)
        return text

    def names(self) -> dict[str, str]:
        """What scripts may know: an agent could guess most of it."""
        return {
            "DATA": str(self.data), "OPEN": str(self.open), "OTHER": str(self.other), "MARK": self.mark,
            "SETUID": f"/usr/local/bin/{self.mark}-setuid", "CAPABLE": f"/usr/local/bin/{self.mark}-capable",
            "VICTIM": str(self.victim.pid), "ADDRESS": str(self.address), "SHM_KEY": str(self.shm_key),
            "TCP": str(self._listeners[0].getsockname()[1]), "UDP": str(self._listeners[1].getsockname()[1]),
            "OWN": " ".join(self.own), "FREE": str(self.free), "TOKEN_OUT": "x",
            "VERSION": Path("/proc/version").read_text().strip(),
            "NAMESERVERS": " ".join(_name_servers()), "TMP": "/tmp", "ROOT": "/root",
            "INTERFACES": " ".join(name for _, name in socket.if_nameindex() if name != "lo"),
        }  # fmt: skip

    def workspace(self) -> str:
        """The id of a new one."""
        self._made += 1
        return f"attempt-{self._made}"

    def files(self, sandbox: Sandbox) -> Path:
        """Where the files of the workspace that was made last are."""
        return self.workspaces.root / f"attempt-{self._made}" / "files"

    def heard(self) -> bool:
        """Whether somebody came to a listener since this was asked last."""
        with selectors.DefaultSelector() as waiting:
            for listener in self._listeners:
                waiting.register(listener, selectors.EVENT_READ)
            found = {key.fd for key, _ in waiting.select(0)}
        ready = [listener for listener in self._listeners if listener.fileno() in found]
        for one in ready:
            if one.type == socket.SOCK_STREAM:
                one.accept()[0].close()
            else:
                one.recv(100)
        return bool(ready)

    def changed(self, path: str) -> bool:
        """Whether a setting of the machine is another than it was; it is put back."""
        now = Path(path).read_bytes()
        if now != self._was[path]:
            Path(path).write_bytes(self._was[path])
        return now != self._was[path]

    def clean(self) -> None:
        """After an attempt: what it may have left, and what it may have killed."""
        for place in ("/tmp", "/dev/shm", "/etc/cron.d", str(self.open)):
            for left in Path(place).glob(f"*{self.mark}*"):
                left.unlink()
        Path("/usr/local/bin", self.mark).unlink(missing_ok=True)
        self.heard()
        if self.victim.poll() is not None:
            self.victim.communicate()
            self._start()

    def close(self) -> None:
        """The end."""
        self.victim.kill()
        self.victim.communicate()
        for one in self._listeners:
            one.close()
        os.close(self.left_open)
        os.environ.pop(f"SECRET_{self.mark}")
        LIBC.shmctl(self._shm, 0, None)
        LIBC.syscall(241, f"{self.mark}-queue".encode())
        for name in ("setuid", "capable"):
            Path("/usr/local/bin", f"{self.mark}-{name}").unlink(missing_ok=True)
        self._remove()

    def _remove(self) -> None:
        """Everything made for it on the disk."""
        shutil.rmtree(self.directory, ignore_errors=True)


def _name_servers() -> list[str]:
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith("nameserver ")]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
