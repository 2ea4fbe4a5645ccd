"""A real Redis in a process of its own, with a password or a certificate if asked. It keeps nothing on the disk."""

import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.server import free_port, until

BINARY = shutil.which("redis-server") or shutil.which("valkey-server")


class Redis:
    """The process. It can be killed, stopped for a while, and started again on its port (empty)."""

    def __init__(self, directory: Path, *options: str, tls: bool = False) -> None:
        assert BINARY, "no redis-server here: apt-get install redis-server (make test does)"
        self.port = free_port()
        self._directory = directory
        port = ["--port", "0", "--tls-port", str(self.port)] if tls else ["--port", str(self.port)]
        self._argv = [BINARY, *port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *options]
        self._process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> "Redis":
        """Returns once it listens."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "redis.out").open("ab") as said:
            self._process = subprocess.Popen(self._argv, cwd=self._directory, stdout=said, stderr=said)
        until(self._listens, "redis listens")
        return self

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait(10)

    def freeze(self) -> None:
        """It stays connected and says nothing any more."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def says(self, *command: str) -> bytes:
        """The raw answer to one inline command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(" ".join(command).encode() + b"\r\n")
            return connection.recv(1 << 20)

    def names(self) -> list[str]:
        """All of them."""
        lines = self.says("KEYS", "*").decode().split("\r\n")
        return sorted(line for line in lines[1:] if line and not line.startswith("$"))

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._directory / "redis.out").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True
        return False


@contextlib.contextmanager
def redis(directory: Path, *options: str, tls: bool = False) -> Iterator[Redis]:
    """A server that listens, killed at the end."""
    server = Redis(directory, *options, tls=tls).start()
    try:
        yield server
    finally:
        server.kill()
