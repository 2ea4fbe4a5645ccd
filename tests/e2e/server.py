"""A server as a user starts it: `interlock serve` in a process of its own, its commands, and what the machine shows.

Every wait is bounded. It imports nothing of the server but its clock and the names in a data directory.
"""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

import msgspec
from tests.local.model import model_path

from interlock.clock import SystemClock
from interlock.datadir import DataDir

INTERLOCK = str(Path(sys.executable).parent / "interlock")
Done = subprocess.CompletedProcess[str]

_clock = SystemClock()
_never = threading.Event()
_given: set[int] = set()


def until(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """What `condition` returns once it is true. Raises: AssertionError: it never was."""
    deadline_ns = _clock.monotonic_ns() + int(seconds * 1e9)
    while not (found := condition()):
        assert _clock.monotonic_ns() < deadline_ns, f"not within {seconds:g} s: {what}"
        _never.wait(0.01)
    return found


def free_port() -> int:
    """A loopback port that nobody listens on, given out once."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return int(port)


def alive(pid: int) -> bool:
    """Whether the process still runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def provide_model(data: Path) -> None:
    """Have the real model in a data directory, so that no server has to fetch it."""
    source = model_path()
    (data / "models").mkdir(parents=True, exist_ok=True)
    place = data / "models" / source.name
    if not place.exists():
        place.symlink_to(source)


class Server:
    """One data directory and the server on it. Ports stay the same from start to start."""

    def __init__(
        self,
        data: Path,
        *,
        config: Path | None = None,
        workers: int = 1,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`data` should stand in a directory of the test's own: what the server says goes to a file beside it."""
        self.places = DataDir(data)
        self.config = config
        self.workers = workers
        self.port, self.api_port, self.control_port = free_port(), free_port(), free_port()
        self.said_path = data.parent / f"{data.name}.out"
        self._env = _environment() | dict(env or {})
        self.process: subprocess.Popen[bytes]

    def argv(self) -> list[str]:
        """The command, as typed."""
        argv = [INTERLOCK, "serve", "--data", str(self.places.root), "--workers", str(self.workers)]
        argv += ["--port", str(self.port), "--api-port", str(self.api_port), "--control-port", str(self.control_port)]
        return argv + (["--config", str(self.config)] if self.config else [])

    def start(self, *, ready: bool = True) -> "Server":
        """Start it; by default return once calls are answered. Raises: AssertionError with what it said."""
        with self.said_path.open("ab") as said:
            self.process = subprocess.Popen(
                self.argv(), env=self._env, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        if ready:
            try:
                self.wait_ready()
            except AssertionError as error:
                self.kill()
                raise AssertionError(f"{error}\n{self.said}") from error
        return self

    def wait_ready(self, seconds: float = 30.0) -> None:
        """Until /readyz says so, every process has its pid file, and the control port answers."""

        def ready() -> bool:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}"
            wanted = {"supervisor", "control", *(f"worker-{slot}" for slot in range(self.workers))}
            return (
                wanted <= self.pids().keys()
                and self.answers(self.port, "/readyz")
                and self.answers(self.control_port, "/healthz")
            )

        until(ready, "the server is ready", seconds)

    def answers(self, port: int, path: str, tls: ssl.SSLContext | None = None) -> bool:
        """Whether `path` is answered with 200."""
        connection = (
            HTTPSConnection("localhost", port, timeout=5, context=tls)
            if tls
            else HTTPConnection("127.0.0.1", port, timeout=5)
        )
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    # what it is

    @property
    def said(self) -> str:
        """All output of all starts so far."""
        return self.said_path.read_text() if self.said_path.exists() else ""

    @property
    def url(self) -> str:
        """Of the data port, without `/v1`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        """The admin's key."""
        return self.places.admin_key.read_text().strip()

    def pids(self) -> dict[str, int]:
        """By process name: those that live and that this server's run directory names."""
        found = {}
        for path in self.places.run.glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(path.read_text())
                if alive(pid):
                    found[path.stem] = pid
        return found

    # its commands

    def cli(self, *args: str, env: Mapping[str, str] | None = None) -> Done:
        """`interlock ARGS…`, pointed at this server."""
        here = {"INTERLOCK_URL": f"http://127.0.0.1:{self.control_port}"}
        here |= {"INTERLOCK_KEY": self.admin} if self.places.admin_key.exists() else {}
        return run_cli(*args, env=here | dict(env or {}))

    def json(self, *args: str) -> Any:
        """What a command says with `--format json`. It must succeed."""
        done = self.cli(*args, "--format", "json")
        assert done.returncode == 0, done.stderr
        return msgspec.json.decode(done.stdout)

    def control(self, path: str) -> Any:
        """What the control port answers to the admin's GET, without a process for it; None: it knows no such thing."""
        connection = HTTPConnection("127.0.0.1", self.control_port, timeout=20)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {self.admin}"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status in (200, 404), body
        return msgspec.json.decode(body) if answer.status == 200 else None

    def explained(self, request_id: str) -> Any:
        """What `explain` says of a call, once every attempt is settled; a stream's end may precede that."""

        def settled() -> Any:
            found = self.control(f"/v1/explain/{request_id}")
            return found if found and all(attempt["entry"]["outcome"] for attempt in found["attempts"]) else None

        return until(settled, f"{request_id} is settled")

    def issue(self, *args: str) -> tuple[str, str]:
        """(id, secret) of a new key of tenant `acme`."""
        found = self.json("keys", "issue", "--tenant", "acme", "--name", "agent", *args)
        return found["id"], found["secret"]

    # its end

    def stop(self, seconds: float = 20.0) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL to the supervisor alone; no process may stay. May be called when it has ended."""
        pids = self.pids()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        until(lambda: not any(map(alive, pids.values())), f"no orphan is left of {pids}", 2.0)


@contextlib.contextmanager
def running(data: Path, **options: Any) -> Iterator[Server]:
    """A server that answers; ended at the end whatever happened."""
    server = Server(data, **options).start()
    try:
        yield server
    finally:
        server.kill()


def run_cli(*args: str, env: Mapping[str, str] | None = None, seconds: float = 60.0) -> Done:
    """`interlock ARGS…` with nothing of the caller's own environment that leads to a server or a key."""
    return subprocess.run(
        [INTERLOCK, *args],
        env=_environment() | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
    )


def _environment() -> dict[str, str]:
    dropped = ("INTERLOCK_", "XDG_DATA", "OPENAI_", "ANTHROPIC_", "LLM_")
    proxies = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
    return {k: v for k, v in os.environ.items() if not k.startswith(dropped) and k.lower() not in proxies}
