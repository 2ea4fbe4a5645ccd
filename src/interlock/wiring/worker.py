"""One gateway worker: a process that owns one usage journal and answers on the data port.

    python -m interlock.wiring.worker --slot 0 --data DIR --listen-fd 5 …

Started by the supervisor, and dies with it (interlock.process). The listening socket is inherited: it belongs to all
workers, so what waits in its queue when one of them dies is answered by the next.
"""

import argparse
import asyncio
import contextlib
import gc
import signal
import socket
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import uvloop

from interlock.clock import Clock, SystemClock
from interlock.credentials import read_credential
from interlock.credits import SharedAccounts
from interlock.datadir import DataDir
from interlock.entitlements import SharedPlans
from interlock.errors import InterlockError, LocalError
from interlock.gateway import Gateway
from interlock.gateway.conversations import Conversations
from interlock.gateway.http import ServerConnection
from interlock.identity import ACKNOWLEDGED, Generation, SharedDirectory
from interlock.limits import Crossing, Leases, Lessee, Limiter, Notice, Page, Webhook
from interlock.limits.settings import Sharing, Warned
from interlock.local.child import KEY_ENV
from interlock.log.journal import Journal
from interlock.log.sqlite import SqliteLog
from interlock.wiring.policy_source import PolicySource

SWEEP_S = 0.25
ACKNOWLEDGE_S = 0.05
METRICS_S = 1.0
LOADING_PROBE_S = 0.2
READY_PROBE_S = 2.0
BACKLOG = 1024
HANDSHAKE_S = 10.0
GRACE_S = 30.0
"""How long calls that run may take to finish after SIGTERM."""


class Worker:
    """The gateway and what it stands on."""

    def __init__(self, options: argparse.Namespace, loop: asyncio.AbstractEventLoop) -> None:
        self._options = options
        self._loop = loop
        self._places = DataDir(options.data)
        clock = SystemClock()
        generation = Generation(options.data)
        log = SqliteLog(self._places.log)
        self._acknowledged = generation.slots
        self._acknowledged[ACKNOWLEDGED + options.slot] = 0  # what the worker before us knew, we do not know yet
        self._source = PolicySource(log, generation, options.local_url)
        stream = f"usage/{options.slot}"
        self._journal = Journal.open(
            self._places.journal / stream,
            stream,
            clock=clock,
            sync=options.sync,
            low_water=lambda: self.gateway.metering.low_water(),  # noqa: PLW0108 - the gateway is made after its journal
        )
        directory = SharedDirectory(log, generation)
        conversations = Conversations(self._places.conversations)
        self._webhook, below = _webhook(options.webhook, clock)
        self._limiter = Limiter(Page(self._places.limits), options.slot, clock, (), self._warn)
        self._limiter.below, self._limiter.on_low = below, self._warn
        self._limiter.funds = SharedAccounts(log, generation)
        self._limiter.plans = SharedPlans(log, generation)
        with contextlib.suppress(InterlockError):  # read what there is before the first call has to wait for it
            self._limiter.entitled("")
        self._leases = _leases(options.sharing, self._limiter)
        self.gateway = Gateway(
            loop,
            clock,
            directory,
            self._journal,
            None,
            self._adopt_newer,
            self._limiter,
            conversations,
            options.region,
            self._places.read_session_secret,
            options.door,
        )
        self._stopping = asyncio.Event()

    def _warn(self, what: Crossing | Notice) -> None:
        if self._webhook is not None:
            self._webhook.send(what)

    def _adopt_newer(self) -> None:
        if self._source.newer() and self._source.policy is not None:
            self.gateway.adopt(self._source.policy, list(self._source.withdrawals.values()))
            self._watch_local()
        # From here on, in this thread, nothing is sent that the newest record forbids.
        self._acknowledged[ACKNOWLEDGED + self._options.slot] = self._source.seen

    async def run(self) -> None:
        """Serve until SIGTERM, then answer what was begun, within the grace."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        servers = [await self._listen(self._options.listen_fd, self._tls())]
        if self._options.own_fd is not None:
            servers.append(await self._listen(self._options.own_fd, None))
        try:
            async with (
                asyncio.TaskGroup() as tasks
            ):  # one that fails ends the worker, and the supervisor starts another
                loops = [
                    self._sweep_for_ever(),
                    self._report_for_ever(),
                    self._probe_for_ever(),
                    self._acknowledge_for_ever(),
                    *([self._webhook.run()] if self._webhook else []),
                    *([self._leases.run()] if self._leases else []),
                ]
                background = [tasks.create_task(each) for each in loops]
                await self._stopping.wait()
                for server in servers:
                    server.close()
                await self._drain()
                for task in background:
                    task.cancel()
            if self._leases is not None:
                await self._leases.close()
        finally:
            self._journal.close()

    async def _listen(self, descriptor: int, tls: ssl.SSLContext | None) -> asyncio.Server:
        return await self._loop.create_server(
            lambda: ServerConnection(self.gateway, self._loop),
            sock=socket.socket(fileno=descriptor),
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE_S if tls else None,
            backlog=BACKLOG,
        )

    async def _drain(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                self.gateway.drain()
                while not self.gateway.drained:
                    await asyncio.sleep(0.02)
                    self.gateway.drain()  # again: a connection accepted in the last tick was made after the first time
        for exchange in list(self.gateway.exchanges):
            exchange.cancel()

    def _tls(self) -> ssl.SSLContext | None:
        if not self._options.tls_certificate:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._options.tls_certificate, self._options.tls_key)
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.gateway.sweep()

    async def _acknowledge_for_ever(self) -> None:
        """A worker without calls has to say, too, that it knows the newest record."""
        while True:
            await asyncio.sleep(ACKNOWLEDGE_S)
            with contextlib.suppress(InterlockError):
                self._adopt_newer()

    async def _report_for_ever(self) -> None:
        path = self._places.metrics(self._options.slot)
        beside = path.with_suffix(".new")
        while True:
            with contextlib.suppress(OSError):  # a full disk costs the figures of that second
                beside.write_bytes(msgspec.json.encode(self._snapshot()))
                beside.replace(path)
            await asyncio.sleep(METRICS_S)

    def _snapshot(self) -> dict[str, int]:
        gateway = self.gateway
        numbers = {
            **_series("interlock_requests_total", ("format", "code"), gateway.requests),
            **_series("interlock_attempts_total", ("deployment", "outcome"), gateway.metering.attempts),
            **_series("interlock_tokens_total", ("deployment", "kind"), gateway.metering.tokens),
            **_series("interlock_cache_answers_total", ("format", "result"), gateway.cache.answers),
            "interlock_cache_bytes": gateway.cache.memory.bytes,
            "interlock_cache_entries": len(gateway.cache.memory),
            "interlock_cache_server_away": int(gateway.cache.shelf is not None and gateway.cache.shelf.away),
            "interlock_open_attempts": len(gateway.exchanges),
            "interlock_connections": len(gateway.connections),
            "interlock_journal_bytes_total": self._journal.written_bytes,
        }
        if gateway.upstreams or gateway.not_ready:
            numbers[f'interlock_policy_info{{version="{gateway.policy.version}"}}'] = 1
            for name in gateway.policy.deployments:
                ready = int(name not in gateway.not_ready)
                numbers[f'interlock_deployment_ready{{deployment="{name}"}}'] = ready
                numbers[f'interlock_deployment_resting{{deployment="{name}"}}'] = int(name in gateway.resting)
        return numbers

    # the managed local model

    def _managed(self) -> list[str]:
        return [name for name, d in self.gateway.policy.deployments.items() if d.provider == "local"]

    def _watch_local(self) -> None:
        for name in self._managed():
            if not self._local_ready:
                self.gateway.set_loading(name, "the local model is loading")

    _local_ready = False

    async def _probe_for_ever(self) -> None:
        """Ask the local model whether it is ready: it is a child of ours, so asking costs nothing."""
        while True:
            managed = self._managed() if self.gateway.upstreams or self.gateway.not_ready else []
            if managed:
                self._local_ready = await self._local_answers()
                for name in managed:
                    self.gateway.set_loading(name, "" if self._local_ready else "the local model is loading")
            await asyncio.sleep(READY_PROBE_S if self._local_ready else LOADING_PROBE_S)

    async def _local_answers(self) -> bool:
        host, _, port = self._options.local_url.removeprefix("http://").rpartition(":")
        try:
            async with asyncio.timeout(1.0):
                reader, writer = await asyncio.open_connection(host, int(port))
                try:
                    writer.write(b"GET /health HTTP/1.0\r\n\r\n")
                    return b" 200 " in await reader.readline()
                finally:
                    writer.close()
        except (OSError, ValueError, TimeoutError):
            return False


def _webhook(settings: str, clock: Clock) -> tuple[Webhook | None, tuple[int, ...]]:
    """Who is warned, and of which prepaid balances."""
    if not settings:
        return None, ()
    told = msgspec.json.decode(settings, type=Warned)
    try:
        return Webhook(told.url, read_credential(told.secret), clock), told.below_nanousd
    except LocalError as error:  # nobody is warned, and calls go on
        print(f"interlock: server.webhook: {error.message}", file=sys.stderr)
        return None, ()


def _leases(settings: str, limiter: Limiter) -> Leases | None:
    if not settings:
        return None
    from interlock.limits.valkey_authority import ValkeyAuthority

    told = msgspec.json.decode(settings, type=Sharing)
    lessee = Lessee(told.machine, str(limiter.page.run), limiter.slot)
    try:
        password = read_credential(told.credential) if told.credential is not None else None
    except LocalError as error:  # then the authority refuses, which is as if it were away
        print(f"interlock: server.sharing: {error.message}", file=sys.stderr)
        password = None
    return Leases(limiter, ValkeyAuthority(told.url, lessee, password=password))


def _series(name: str, labels: tuple[str, str], counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """As Prometheus writes them; the values are names of ours, with nothing to escape."""
    first, second = labels
    return {f'{name}{{{first}="{a}",{second}="{b}"}}': count for (a, b), count in counts.items()}


def main(argv: list[str] | None = None) -> int:
    """Run one worker; the process's exit status."""
    options = _options(argv)

    async def run() -> None:
        await Worker(options, asyncio.get_running_loop()).run()

    # What was imported stays: leave it out of every collection. And collect rarely: requests leave no cycles behind,
    # but a hundred of them at once are more new objects than the usual 700.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    try:
        uvloop.run(run())
    except (InterlockError, OSError) as error:
        print(f"interlock: worker {options.slot}: {error}", file=sys.stderr)
        return 1
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m interlock.wiring.worker", description=__doc__.splitlines()[0])
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--own-fd", type=int, help="of a plain listener on loopback, for processes of this server")
    parser.add_argument("--sync", default="1000", type=lambda text: int(text) if text.isdigit() else text)
    parser.add_argument("--region", default="", help="where this machine is")
    parser.add_argument("--sharing", default="", help="limits.settings.Sharing as JSON")
    parser.add_argument("--webhook", default="", help="limits.settings.Warned as JSON")
    parser.add_argument("--local-url", default="", help=f"the managed model; its key is in {KEY_ENV}")
    parser.add_argument("--door", default="", help="the socket of the process that serves tools")
    parser.add_argument("--tls-certificate", default="")
    parser.add_argument("--tls-key", default="")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
