"""The supervisor: holds the listening sockets, and keeps the workers, the control process and the local model alive.

It answers no request and decides nothing, so that it has no reason to die; if it is killed, its children die with it
(the kernel sees to that), and the next start settles what they left open. A worker's journal is settled before the
worker is started again, so an attempt is never open under an owner that did not open it.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from interlock.clock import SystemClock
from interlock.config import Config
from interlock.datadir import DataDir
from interlock.errors import InterlockError, LocalError
from interlock.identity.generation import WORKERS_MAX
from interlock.ids import new_id
from interlock.limits import Page
from interlock.limits.settings import Sharing
from interlock.local import KEY_ENV, LocalModel
from interlock.process import Child, Exit
from interlock.unixpath import short
from interlock.wiring.counters import clear_up, make_page
from interlock.wiring.settle import settle_all_lost, settle_lost

BACKLOG = 4096
PROBE_S = 0.1
SETTLE_AGAIN_S = 1.0
CHILD_GRACE_S = 40.0
"""Longer than a worker takes to drain (worker.GRACE_S)."""
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(4 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}
"""For glibc in a worker: it would map, fill with zeros and unmap every copy of a body over 128 KiB, which costs a long
prompt a third of its CPU. Up to 32 MiB of memory that is free for the moment are kept instead."""


OF_AGENTS = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV"})
"""What the process beside which agents work knows of our environment: no provider's credential, whatever its name."""


class Listen(msgspec.Struct, frozen=True, kw_only=True):
    """Where the three listeners are."""

    host: str
    port: int
    api_port: int
    control_port: int
    control_host: str = "127.0.0.1"


class Supervisor:
    """One per data directory."""

    def __init__(self, data: Path, config: Config, config_path: Path | None, listen: Listen, workers: int) -> None:
        self._places = DataDir(data)
        self._config = config
        self._config_path = config_path
        self._listen = listen
        self._workers = workers
        self._clock = SystemClock()
        self._control: Child | None = None
        self._door: Child | None = None
        self._local: LocalModel | None = None
        self._own: socket.socket | None = None
        """Where agents ask the gateway if its data port speaks TLS: on loopback, in the clear."""
        self._runtime: Child | None = None
        """Where agents run, if they do."""
        self._page: Page
        """Where workers count against limits."""
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Until SIGTERM or SIGINT. Raises: LocalError: a port or the data directory is taken."""
        os.umask(0o077)  # what is written here and by every child is for this user alone
        self._places.create()
        self._own_data_dir()
        data, api, control = self._bind()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        settled = await settle_all_lost(self._places.journal, self._clock)
        for stream, count in settled.items():
            if count:
                _say(f"{count} calls that the last run left open were settled as lost ({stream})")
        self._page = await make_page(
            self._places,
            self._config.policy.quotas,
            self._workers,
            leased=self._config.server.sharing is not None,
            clock=self._clock,
        )
        workers, others = self._make_children(data, api, control)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(worker.run()) for worker in workers]
            for other in others:
                tasks.create_task(other.run())
            announcing = tasks.create_task(self._announce())
            await self._stopping.wait()
            announcing.cancel()
            _say("stopping: calls that run may finish")
            if self._runtime is not None:
                self._runtime.stop()  # first of all: its brains are clients of the workers
            # Workers first: while they drain, the control side still folds what they write.
            for worker in workers:
                worker.stop()
            data.close()  # with the workers' own copies: new connections are refused, not left waiting for nobody
            await asyncio.wait(running)
            for other in others:
                other.stop()
        return 0

    def _own_data_dir(self) -> None:
        self._lock = os.open(self._places.supervisor_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalError(f"another server runs on {self._places.root}", code="conflict") from error
        self._places.pid("supervisor").write_text(f"{os.getpid()}\n")
        for leftover in self._places.run.glob("metrics-*"):
            leftover.unlink()

    def _bind(self) -> tuple[socket.socket, socket.socket, socket.socket]:
        listen = self._listen
        data, api, control = _bound(listen)
        ports = [each.getsockname()[1] for each in (data, api, control)]  # not as wanted where that was 0
        self._listen = msgspec.structs.replace(listen, port=ports[0], api_port=ports[1], control_port=ports[2])
        return data, api, control

    # children

    def _make_children(
        self, data: socket.socket, api: socket.socket, control: socket.socket
    ) -> tuple[list[Child], list[Child]]:
        """(workers, others)."""
        environment = dict(os.environ)
        others = []
        settings = self._config.server.local
        if settings.enabled:
            self._local = LocalModel(
                self._places.root, model=settings.model, context=settings.context, threads=settings.threads
            )
            environment[KEY_ENV] = self._local.api_key
            others.append(self._child("local", self._local.argv(), self._local.env()))
        if self._config.server.tls is not None and self._config.runtime.enabled:
            self._own = _listening("--port", "127.0.0.1", 0)
        of_worker = MALLOC | environment  # whoever set these knows better
        workers = [
            self._child(
                f"worker-{slot}",
                self._worker_argv(slot, data),
                of_worker,
                [data, *([self._own] if self._own else [])],
                settle=f"usage/{slot}",
            )
            for slot in range(self._workers)
        ]
        if self._config.runtime.enabled:
            bare = {name: value for name, value in environment.items() if name in OF_AGENTS or name[:3] == "LC_"}
            self._runtime = self._child("runtime", self._runtime_argv(), bare)
            others.append(self._runtime)
        argv = _module("interlock.control", "--data", str(self._places.root))
        argv += ["--api-fd", str(api.fileno()), "--control-fd", str(control.fileno())]
        argv += ["--config", str(self._config_path)] if self._config_path else []
        self._control = self._child("control", argv, environment, [api, control])
        if self._config.tools.servers:
            others.append(self._door_child(environment))
        return workers, [*others, self._control]

    def _door_child(self, environment: Mapping[str, str]) -> Child:
        """The process that serves tools. Its socket is ours, so that workers wait while it starts again."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        place = self._places.door
        place.unlink(missing_ok=True)
        self._places.door_starts.unlink(missing_ok=True)
        with short(place) as name:
            listening.bind(name)
        listening.listen(BACKLOG)
        listening.setblocking(False)
        self._door_socket = listening
        argv = _module(
            "interlock.wiring.door", "--data", str(self._places.root), "--listen-fd", str(listening.fileno())
        )
        argv += ["--config", str(self._config_path)] if self._config_path else []
        self._door = self._child("door", argv, environment, [listening])
        return self._door

    def _worker_argv(self, slot: int, data: socket.socket) -> list[str]:
        server = self._config.server
        argv = _module("interlock.wiring.worker", "--slot", str(slot), "--data", str(self._places.root))
        argv += ["--listen-fd", str(data.fileno()), "--sync", str(server.journal_sync)]
        argv += ["--region", server.region] if server.region else []
        argv += ["--local-url", self._local.url] if self._local else []
        argv += ["--door", str(self._places.door)] if self._config.tools.servers else []
        if server.sharing is not None:
            sharing = msgspec.structs.replace(server.sharing, machine=self._machine(server.sharing))
            argv += ["--sharing", msgspec.json.encode(sharing).decode()]
        if server.webhook is not None:
            argv += ["--webhook", msgspec.json.encode(server.webhook).decode()]
        argv += ["--own-fd", str(self._own.fileno())] if self._own else []
        if server.tls is not None:
            argv += ["--tls-certificate", server.tls.certificate, "--tls-key", server.tls.key]
        return argv

    def _runtime_argv(self) -> list[str]:
        gateway = f"http://127.0.0.1:{self._own.getsockname()[1]}" if self._own else self._data_url()
        argv = _module("interlock.wiring.runtime", "--data", str(self._places.root), "--gateway", gateway)
        return [*argv, "--settings", msgspec.json.encode(self._config.runtime).decode()]

    def _data_url(self) -> str:
        scheme = "https" if self._config.server.tls else "http"
        return f"{scheme}://{_reachable(self._listen.host)}:{self._listen.port}"

    def _machine(self, sharing: Sharing) -> str:
        """The configured name, or one that is made up once and kept."""
        if sharing.machine:
            return sharing.machine
        if not self._places.machine.exists():
            self._places.machine.write_text(f"{new_id('m', self._clock.now_ns())}\n")
        return self._places.machine.read_text().strip()

    def _child(
        self,
        name: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        sockets: Sequence[socket.socket] = (),
        settle: str = "",
    ) -> Child:
        async def started(child: Child) -> None:
            with contextlib.suppress(OSError):  # a full disk
                self._places.pid(name).write_text(f"{child.pid}\n")
                if name == "door":
                    with self._places.door_starts.open("ab") as starts:
                        starts.write(b".")

        async def ended(child: Child, end: Exit) -> None:
            with contextlib.suppress(OSError):
                self._places.pid(name).unlink(missing_ok=True)
            if not end.stopping:
                _say(f"{name} ended ({end.reason}); starting it again")
            if settle:
                await self._settle(name, settle)

        return Child(
            argv,
            name=name,
            clock=self._clock,
            env=environment,
            pass_fds=[s.fileno() for s in sockets],
            grace_s=CHILD_GRACE_S,
            on_start=started,
            on_exit=ended,
        )

    async def _settle(self, name: str, stream: str) -> None:
        """Settle what the dead worker left open. While that fails its slot stays down, and the others go on."""
        while True:
            try:
                count = await settle_lost(self._places.journal, stream, self._clock)
            except InterlockError as error:
                _say(f"what {name} left open cannot be settled: {error.message}")
                if self._stopping.is_set():
                    return  # the next start settles it
                await asyncio.sleep(SETTLE_AGAIN_S)
            else:
                if count:
                    _say(f"{count} calls that {name} left open were settled as lost")
                await asyncio.to_thread(clear_up, self._page, self._places, int(stream.rpartition("/")[2]))
                return

    def _reload(self) -> None:
        """SIGHUP. A control process that still starts reads the file anyway."""
        if self._control is not None and self._control.pid is not None and self._places.admin_key.exists():
            os.kill(self._control.pid, signal.SIGHUP)

    # what the operator sees

    async def _announce(self) -> None:
        """Say once that calls are answered, with a line to paste."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        shown = ""
        while (state := await self._readiness()) != "ready":
            if state != shown and loop.time() - begun > 2.0:
                shown = state
                _say(f"waiting: {state}")
            await asyncio.sleep(PROBE_S)
        base = self._data_url()
        control = f"http://{self._listen.control_host}:{self._listen.control_port}"
        body = '{"model":"auto","messages":[{"role":"user","content":"Say hello in five words."}]}'
        print(
            f"Interlock answers on {base} (OpenAI SDKs: {base}/v1; Anthropic SDKs: {base}); control on {control}.\n"
            f"Paste this into another terminal:\n\n"
            f"curl -s {base}/v1/chat/completions -H 'content-type: application/json' \\\n"
            f'  -H "authorization: Bearer $(cat {self._places.admin_key})" \\\n'
            f"  -d '{body}'\n",
            flush=True,
        )

    async def _readiness(self) -> str:
        """`ready`, or what is still missing."""
        if not self._places.admin_key.exists():
            return "the control process is starting"
        host, tls = _reachable(self._listen.host), None
        if self._config.server.tls is not None:
            tls = ssl.create_default_context()
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE  # it is our own socket that we ask
        try:
            async with asyncio.timeout(2.0):
                reader, writer = await asyncio.open_connection(host.strip("[]"), self._listen.port, ssl=tls)
                try:
                    writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
                    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return "the workers are starting"
        if b" 200 " in head.split(b"\r\n", 1)[0]:
            return "ready"
        try:
            return "; ".join(msgspec.json.decode(body)["reasons"])
        except (msgspec.DecodeError, KeyError, TypeError):
            return "the workers are starting"


def check_ports(listen: Listen) -> None:
    """Raises: LocalError `conflict`: one is taken."""
    for each in _bound(listen):
        each.close()


def _bound(listen: Listen) -> tuple[socket.socket, socket.socket, socket.socket]:
    """Data, api, control."""
    return (
        _listening("--port", listen.host, listen.port),
        _listening("--api-port", listen.host, listen.api_port),
        _listening("--control-port", listen.control_host, listen.control_port),
    )


def _listening(option: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        why = getattr(error, "strerror", None) or str(error)
        what = f"{option}: cannot listen on {host}:{port}: {why}"
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        raise LocalError(f"{what}; give it another: {option} N" if taken else what, code="conflict") from error
    listening.listen(BACKLOG)
    listening.setblocking(False)
    return listening


def _reachable(host: str) -> str:
    """An address of this machine under which a listener on `host` is reached."""
    usual = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - not bound here, only read
    return usual.get(host, f"[{host}]" if ":" in host else host)


def _module(name: str, *arguments: str) -> list[str]:
    # -P: nothing of the directory that it is started in is imported, whatever lies there
    return [sys.executable, "-P", "-m", name, *arguments]


def _say(text: str) -> None:
    print(f"interlock: {text}", file=sys.stderr, flush=True)


def run(data: Path, config: Config, config_path: Path | None, listen: Listen, workers: int) -> int:
    """Run a server in the foreground; the process's exit status.

    Raises: InterlockError: it could not start; nothing runs.
    """
    if not 1 <= workers <= WORKERS_MAX:
        raise LocalError(f"--workers: {workers} is not between 1 and {WORKERS_MAX}", field="--workers")
    supervisor = Supervisor(data, config, config_path, listen, workers)
    try:
        return asyncio.run(supervisor.run())
    except OSError as error:
        raise InterlockError(f"the server could not start: {error}") from error
