"""Authorities for tests: one in memory, and a real server of Debian's redis-server or valkey-server."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import valkey

from interlock.clock import SystemClock
from interlock.limits import Authority, Lessee, Times
from interlock.limits.memory_authority import MemoryAuthority, MemoryServer
from interlock.limits.valkey_authority import ValkeyAuthority
from interlock.testing.clock import ManualClock

START_NS = 20 * 10**9


class InMemory:
    """A server of this process, whose time is moved by hand."""

    def __init__(self, times: Times) -> None:
        self.clock = ManualClock()
        self.server = MemoryServer(self.clock, times)
        self.times = times
        self.now_ns = self.clock.now_ns

    def line(self, lessee: Lessee) -> Authority:
        return MemoryAuthority(self.server, lessee)

    async def wait(self, ns: int) -> None:
        self.clock.advance(ns)

    async def forget(self) -> None:
        self.server.forget()


class RealServer:
    """A server process on a port of its own. It keeps nothing on disk, so that a restart forgets."""

    def __init__(self, directory: Path, port: int = 0) -> None:
        program = shutil.which("valkey-server") or shutil.which("redis-server")
        assert program, "needs valkey-server or redis-server (Debian: apt-get install redis-server)"
        self._program = program
        self._directory = directory
        self.port = port or _free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.now_ns = SystemClock().now_ns
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Returns when it answers."""
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory)]
        self.process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "no", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        clock = SystemClock()
        deadline_ns = clock.monotonic_ns() + START_NS
        with valkey.Valkey.from_url(self.url) as client:
            while True:
                with contextlib.suppress(valkey.ValkeyError):
                    client.ping()
                    return
                assert self.process.poll() is None, "the server does not start"
                assert clock.monotonic_ns() < deadline_ns, "the server does not answer"

    def stop(self) -> None:
        """It answers nobody, and its connections stay."""
        assert self.process is not None, "it runs"
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """As if its machine lost power."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Real:
    """A real server as the suite sees one."""

    def __init__(self, server: RealServer, times: Times) -> None:
        self._server = server
        self.times = times
        self.now_ns = server.now_ns
        self.lines: list[Authority] = []

    def line(self, lessee: Lessee) -> Authority:
        self.lines.append(ValkeyAuthority(self._server.url, lessee, times=self.times))
        return self.lines[-1]

    async def wait(self, ns: int) -> None:
        await asyncio.sleep(ns / 1e9 + 0.005)

    async def forget(self) -> None:
        async with valkey.asyncio.Valkey.from_url(self._server.url) as client:
            await client.flushall()


@contextlib.contextmanager
def real_server(directory: Path) -> Iterator[RealServer]:
    server = RealServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.asynccontextmanager
async def real(directory: Path, times: Times) -> AsyncIterator[Real]:
    with real_server(directory) as server:
        suite = Real(server, times)
        try:
            yield suite
        finally:
            for line in suite.lines:
                await line.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


__all__ = ["InMemory", "Real", "RealServer", "real", "real_server"]
