"""The rows of the table: how each proxy is found or installed, configured for the mock upstream, and started.

Each peer runs as its own documentation starts it for one process, with access logs off. One that cannot be had here
raises BenchError, and the table says why.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.machine import (
    LOAD_CORE,
    PROXY_CORE,
    BenchError,
    answers,
    free_port,
    pin,
    settled_tree,
    started,
    tree,
    wait_for,
)
from bench.policed import AGREEMENT, config_text

HERE = Path(__file__).parent
INSTALLED = HERE / ".peers"
PORTKEY = "@portkey-ai/gateway@1.15.2"
KEY = "sk-bench"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where the load goes, and whose CPU time is read."""

    port: int
    headers: Mapping[str, str] = field(default_factory=dict)
    model: str = "bench-model"
    translates: bool = False
    """Whether calls are put to it whose upstream speaks another format."""
    worker_pids: tuple[int, ...] = ()
    """The processes that requests pass through."""
    all_pids: tuple[int, ...] = ()
    """Those and all that runs beside them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """One row: `start(directory, upstream_port)` yields a Target that answers. `scale` divides the number of calls."""

    name: str
    start: Callable[[Path, int], contextlib.AbstractContextManager[Target]]
    scale: int = 1


@contextlib.contextmanager
def direct(directory: Path, upstream_port: int) -> Iterator[Target]:
    """No proxy: what the load generator and the upstream cost each other."""
    yield Target(port=upstream_port)


@contextlib.contextmanager
def nginx(directory: Path, upstream_port: int) -> Iterator[Target]:
    """proxy_pass: one worker, upstream connections kept, buffering off, no access log."""
    binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None:
        raise BenchError("nginx is not installed (Debian: nginx-light)")
    port, log, config = free_port(), directory / "nginx.log", directory / "nginx.conf"
    config.write_text(
        (HERE / "nginx.conf").read_text().replace("18099", str(upstream_port)).replace("18098", str(port))
    )
    with started([binary, "-p", directory, "-c", config, "-e", "stderr"], core=PROXY_CORE, log=log) as process:
        wait_for("nginx", lambda: answers(f"http://127.0.0.1:{port}/"), process, log, 10)
        pids = tuple(tree(process.pid))
        yield Target(port=port, worker_pids=pids, all_pids=pids)


@contextlib.contextmanager
def bare(directory: Path, upstream_port: int) -> Iterator[Target]:
    """The floor of our own stack: bench/bare_proxy.py."""
    port, log = free_port(), directory / "bare.log"
    command = [sys.executable, "-m", "bench.bare_proxy", str(port), str(upstream_port)]
    with started(command, core=PROXY_CORE, log=log, cwd=HERE.parent) as process:
        wait_for("the bare proxy", lambda: answers(f"http://127.0.0.1:{port}/"), process, log, 10)
        yield Target(port=port, worker_pids=(process.pid,), all_pids=(process.pid,))


def interlock_config(directory: Path, upstream_port: int) -> Path:
    """bench/interlock.toml with the mock upstream's port."""
    config = directory / "interlock.toml"
    config.write_text((HERE / "interlock.toml").read_text().replace("18099", str(upstream_port)))
    return config


@dataclass(frozen=True, kw_only=True, slots=True)
class Serve:
    """An `interlock serve` that is about to be started."""

    command: tuple[str, ...]
    data: Path
    port: int
    control_port: int

    @property
    def env(self) -> dict[str, str]:
        """What the server and the command line against it need beside the machine's environment."""
        return {"BENCH_UPSTREAM_KEY": KEY, "INTERLOCK_URL": f"http://127.0.0.1:{self.control_port}"}

    def cli(self, *arguments: str) -> str:
        """The output of one `interlock` command against this server."""
        command = [*self.command[:1], *arguments]
        key = (self.data / "admin.key").read_text().strip()
        env = {**os.environ, **self.env, "INTERLOCK_KEY": key}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise BenchError(f"`interlock {' '.join(arguments)}`: {done.stderr.strip()[-300:]}")
        return done.stdout


def serve_command(directory: Path, *, config: Path | None) -> Serve:
    """`interlock serve` on free ports with its data under `directory`; without `config`, the built-in default."""
    binary = Path(sys.executable).with_name("interlock")
    if not binary.exists():
        raise BenchError("interlock is not installed beside this Python")
    data, ports = directory / "data", [free_port() for _ in range(3)]
    options = ["--data", data, "--port", ports[0], "--api-port", ports[1], "--control-port", ports[2], "--workers", 1]
    if config is not None:
        options += ["--config", config]
    return Serve(command=(str(binary), "serve", *map(str, options)), data=data, port=ports[0], control_port=ports[2])


@contextlib.contextmanager
def interlock(directory: Path, upstream_port: int) -> Iterator[Target]:
    """One worker on the proxy's core, everything beside it on the other; key, signals, rules, boundary, metering on."""
    with worker_of(directory, interlock_config(directory, upstream_port)) as (serve, worker, pids):
        key = serve.cli("keys", "issue", "--tenant", "bench", "--name", "bench").strip()
        session = {"x-interlock-session": "bench"}
        yield interlock_target(serve, key, worker, pids, session, translates=True)


@contextlib.contextmanager
def policed(directory: Path, upstream_port: int) -> Iterator[Target]:
    """The same with the whole policy plane on: bench/policed.py."""
    config = directory / "interlock.toml"
    config.write_text(config_text(upstream_port))
    with worker_of(directory, config) as (serve, worker, pids):
        serve.cli("tenants", "create", "bench", "--boundary", "by-source")
        serve.cli("tenants", "accept", "bench", AGREEMENT)
        under = ("--boundary", "careful", "--label", "env=prod")
        key = serve.cli("keys", "issue", "--tenant", "bench", "--name", "bench", *under).strip()
        yield interlock_target(serve, key, worker, pids, {}, translates=False)


@contextlib.contextmanager
def worker_of(directory: Path, config: Path) -> Iterator[tuple[Serve, int, tuple[int, ...]]]:
    """A server that is ready: it, its worker, and all its processes."""
    serve = serve_command(directory, config=config)
    log, worker_file = directory / "interlock.log", serve.data / "run/worker-0.pid"
    with started(serve.command, core=LOAD_CORE, log=log, env=serve.env) as process:
        ready_url = f"http://127.0.0.1:{serve.port}/readyz"
        wait_for("interlock", lambda: worker_file.exists() and answers(ready_url), process, log, 20)
        worker = int(worker_file.read_text())
        pin(worker, PROXY_CORE)
        yield serve, worker, tuple(settled_tree(process.pid))


def interlock_target(
    serve: Serve, key: str, worker: int, pids: tuple[int, ...], headers: Mapping[str, str], *, translates: bool
) -> Target:
    """What the load needs to know of it."""
    return Target(
        port=serve.port,
        headers={"authorization": f"Bearer {key}", "x-interlock-mode": "edit", **headers},
        model="auto",
        translates=translates,
        worker_pids=(worker,),
        all_pids=pids,
    )


@contextlib.contextmanager
def litellm(directory: Path, upstream_port: int) -> Iterator[Target]:
    """LiteLLM's proxy with a master key, one worker, no database."""
    home = INSTALLED / "litellm"
    if not (home / "bin/litellm").exists():
        venv.create(home, with_pip=True, clear=True)
        pip: list[str | Path] = [
            home / "bin/pip",
            "install",
            "-q",
            "-c",
            HERE / "constraints-peers.txt",
            "litellm[proxy]",
        ]
        install(pip, home / "bin/litellm")
    port, log, config = free_port(), directory / "litellm.log", directory / "litellm.yaml"
    config.write_text((HERE / "litellm.yaml").read_text().replace("18099", str(upstream_port)))
    command: list[str | Path] = [
        home / "bin/litellm",
        "--config",
        config,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--num_workers",
        "1",
    ]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    with started(command, core=PROXY_CORE, log=log, env=env) as process:
        wait_for("LiteLLM", lambda: answers(f"http://127.0.0.1:{port}/health/liveliness"), process, log, 90)
        pids = tuple(tree(process.pid))
        yield Target(port=port, headers={"authorization": f"Bearer {KEY}"}, worker_pids=pids, all_pids=pids)


@contextlib.contextmanager
def portkey(directory: Path, upstream_port: int) -> Iterator[Target]:
    """Portkey's open-source gateway on Node, the upstream named by header."""
    home = INSTALLED / "portkey"
    script = home / "node_modules/@portkey-ai/gateway/build/start-server.js"
    if not script.exists():
        if shutil.which("npm") is None:
            raise BenchError("npm is not installed")
        install(
            ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", home, PORTKEY],
            script,
        )
    port, log = free_port(), directory / "portkey.log"
    command: list[str | Path] = ["node", script, f"--port={port}", "--headless"]
    with started(command, core=PROXY_CORE, log=log, env={"NODE_ENV": "production"}) as process:
        wait_for("Portkey", lambda: answers(f"http://127.0.0.1:{port}/"), process, log, 20)
        headers = {
            "authorization": f"Bearer {KEY}",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{upstream_port}/v1",
        }
        yield Target(port=port, headers=headers, worker_pids=(process.pid,), all_pids=(process.pid,))


def install(command: list[str | Path], wanted: Path) -> None:
    """Run an installer, at most ten minutes. Raises: BenchError: `wanted` is not there afterwards."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
        said = done.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if not wanted.exists():
        raise BenchError(f"could not be installed: {' '.join(said.split())[-200:]}")


PEERS = (
    Peer(name="direct", start=direct),
    Peer(name="nginx", start=nginx),
    Peer(name="bare", start=bare),
    Peer(name="interlock", start=interlock),
    Peer(name="policed", start=policed),
    Peer(name="portkey", start=portkey, scale=3),
    Peer(name="litellm", start=litellm, scale=30),
)
