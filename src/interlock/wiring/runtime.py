"""The process that runs agents: their sessions' paths on a Unix socket, their brains, and the hands of both.

    python -m interlock.wiring.runtime --data DIR --gateway URL --settings JSON

Started by the supervisor, and dies with it (interlock.process). What it holds may be lost at any instruction: sessions
are on the disk, and the next start goes on with those that have work.
"""

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import uvloop

from interlock.asgi import make_server
from interlock.clock import Clock, SystemClock
from interlock.datadir import DataDir, would_show
from interlock.errors import InterlockError, LocalError
from interlock.identity import Generation
from interlock.identity.tokens import Audience, Claims, mint
from interlock.ids import new_id
from interlock.ledger import Ledger, SessionAttempt, amount
from interlock.log.reader import JournalReader
from interlock.log.sqlite import SqliteLog
from interlock.runtime.api.app import make_app
from interlock.runtime.brain.host import Host
from interlock.runtime.brain.mcp import Behind, patterns_of
from interlock.runtime.brain.model import GatewayModel
from interlock.runtime.brain.parts import Parts
from interlock.runtime.brain.rack import Rack
from interlock.runtime.brain.rulings import Permissions
from interlock.runtime.brain.tools import BUILT_IN
from interlock.runtime.hands import Hands
from interlock.runtime.hands.bubblewrap import Bubblewrap
from interlock.runtime.hands.egress import Door, Egress
from interlock.runtime.hands.gvisor import Gvisor
from interlock.runtime.hands.process import Process
from interlock.runtime.hands.workspaces import Workspaces
from interlock.runtime.sessions.blobs import FileBlobs
from interlock.runtime.sessions.event import Created
from interlock.runtime.sessions.service import Sessions
from interlock.runtime.sessions.sqlite import SqliteStore
from interlock.runtime.sessions.state import State
from interlock.runtime.settings import RuntimeSettings
from interlock.unixpath import short
from interlock.wiring.policy_source import PolicySource

TOKEN_S = 900
"""A brain mints a token for each use: it is worth little to whoever finds one."""
BACKLOG = 1024
_log = logging.getLogger(__name__)
SWEEP_S = 3600.0
COPY_BYTES_MAX = 16 << 30
"""Of a workspace that a fork copies."""


class Runtime:
    """Everything of one process. Made on a running loop."""

    def __init__(self, places: DataDir, gateway_url: str, settings: RuntimeSettings, clock: Clock) -> None:
        self._places, self._settings, self._clock = places, settings, clock
        self._secret = places.read_session_secret()
        self._log = SqliteLog(places.log)
        self._policy = PolicySource(self._log, Generation(places.root), local_url="")
        self._journals = JournalReader(places.journal)
        self._ledger: Ledger | None = None  # opened when it is first asked: no agent has a program, no view is needed
        self._opening = asyncio.Lock()  # of two sessions that ask at once one opens it
        self.store = SqliteStore(places.sessions, clock, sync=settings.sync)
        self._blobs = FileBlobs(places.blobs, sync=settings.sync)
        self._workspaces = Workspaces(places.workspaces, clock)
        self._gateway = urlsplit(gateway_url)
        self._egress = Egress(places.run / "egress", door_of=self._door_of)
        self._hands: dict[str, Hands] = {}
        self._rack = Rack(self._hands, clock)
        self._hands |= self._make_hands()
        self._model = GatewayModel(gateway_url)
        self.sessions = Sessions(self.store, self._blobs, clock, self._copy_workspace)
        self.parts = Parts(
            store=self.store,
            blobs=self._blobs,
            rack=self._rack,
            model=self._model,
            mint=self._mint,
            judge=Permissions(self._hands),
            price=self._price,
            attempts=self._attempts,
            clock=clock,
            built_in=BUILT_IN,
            door=Behind(gateway_url, self._mint, clock),
            owner=new_id("brn", clock.now_ns()),
        )

    async def serve(self) -> None:
        """Until SIGTERM or SIGINT. Raises: LocalError: another such process runs on this directory."""
        self._own()
        await self.store.evict()  # of the process before this one, which is gone
        app, terminals = make_app(self.sessions, self.store, self.parts.feed, self._hands)
        server = make_server(app)
        host = Host(self.parts, parallel=self._settings.brains)
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve([_listening(self._places.runtime_socket)]))
            working = group.create_task(host.run(stop))
            sweeping = group.create_task(self._sweep())
            looking = group.create_task(self._look())
            await stop.wait()
            server.should_exit = True
            for task in (sweeping, looking):
                task.cancel()
            await asyncio.wait((serving, working))
        await terminals.close()
        self._model.close()
        if self._ledger is not None:
            self._ledger.close()
        await self.store.close()

    def _own(self) -> None:
        """One such process a directory: the lock is the kernel's, and goes with the process however it ends."""
        self._lock = os.open(self._places.run / "runtime.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalError(f"agents run already on {self._places.root}", code="conflict") from error

    def _make_hands(self) -> Mapping[str, Hands]:
        made: dict[str, Hands] = {}
        read = self._settings.read
        for path in read:
            if would_show(path, self._places.root):
                raise LocalError(f"runtime.read: {path} would show agents this server's own secrets", field="read")
        for kind in self._settings.hands:
            if kind == "bubblewrap":
                made[kind] = Bubblewrap(
                    self._workspaces, self._clock, egress=self._egress, report=self._rack.report, also_read=read
                )
            elif kind == "gvisor":
                made[kind] = Gvisor(
                    self._workspaces, self._clock, egress=self._egress, report=self._rack.report, also_read=read
                )
            elif kind == "process":
                made[kind] = Process(Workspaces(self._places.workspaces, self._clock, own_users=False), self._clock)
        return made

    def _mint(self, session: str, state: State, audience: Audience) -> str:
        assert state.created is not None, "a session begins with session.created"
        return self._token(session, state.created, audience)

    def _token(self, session: str, created: Created, audience: Audience) -> str:
        claims = Claims(
            session=session,
            key_id=created.key_id,
            audience=audience,
            expires_at_ns=self._clock.now_ns() + TOKEN_S * 1_000_000_000,
            tools=patterns_of(created.agent) if audience == "mcp" else (),
        )
        return mint(self._secret, claims)

    def _door_of(self, session: str) -> Door | None:
        """An agent program's way to its model: the token is put on outside of the sandbox."""
        created, host = self._rack.created(session), self._gateway.hostname
        if created is None or not created.agent.program or host is None or self._gateway.port is None:
            return None
        return Door(
            host,
            self._gateway.port,
            credential=lambda: self._token(session, created, "inference"),
            admit=partial(self._rack.admit, session),
        )

    async def _attempts(self, tenant: str, session: str, since_ns: int) -> Sequence[SessionAttempt]:
        """By the ledger's view, which whoever asks brings up to date: settled attempts are in it at once."""
        async with self._opening:
            if self._ledger is None:
                self._ledger = await asyncio.to_thread(Ledger, self._places.ledger)
        await self._ledger.catch_up(self._journals, self._log)
        return await asyncio.to_thread(self._ledger.attempts_of, tenant, session, since_ns)

    def _price(self, deployment: str, usage: Mapping[str, int], at_ns: int) -> int | None:
        """As the ledger will, at the prices of the policy in force."""
        self._policy.newer()
        known = self._policy.policy.deployments.get(deployment) if self._policy.policy is not None else None
        return amount(usage, known.price) if known is not None else None

    async def _copy_workspace(self, source: str, target: str, snapshot: str) -> None:
        def copy() -> None:
            self._workspaces.remove(target)
            self._workspaces.fork(source, target, snapshot=snapshot, bytes_max=COPY_BYTES_MAX)

        await asyncio.to_thread(copy)

    async def _look(self) -> None:
        """Say at once if agents can have no hands here, not at their first command."""
        missing = {kind: await hands.missing() for kind, hands in self._hands.items()}
        if all(missing.values()):
            said = "; ".join(f"{kind}: {reasons[0]}" for kind, reasons in missing.items())
            _log.warning("agents can have no sandbox here (%s): see `interlock doctor`", said)

    async def _sweep(self) -> None:
        """Once an hour: workspaces that nobody used for `idle_days`."""
        while True:
            with contextlib.suppress(OSError):  # a full disk: the next hour may be better
                await asyncio.to_thread(self._workspaces.sweep, self._settings.idle_days)
            await asyncio.sleep(SWEEP_S)


def _listening(path: Path) -> socket.socket:
    """A Unix socket that only this user may open. What a killed process left is in the way and taken away."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short(path) as name:
        listening.bind(name)
    listening.listen(BACKLOG)
    listening.setblocking(False)
    return listening


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m interlock.wiring.runtime")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--gateway", required=True, help="URL of the data port")
    parser.add_argument("--settings", required=True, help="JSON")
    args = parser.parse_args(argv)
    settings = msgspec.json.decode(args.settings, type=RuntimeSettings)
    # What sandboxes see must be readable to their users, and what commands make is theirs to share. Files of ours stand
    # below the data directory, which nobody else may enter.
    os.umask(0o022)
    logging.basicConfig(format="interlock: %(message)s", level=logging.WARNING)

    async def run() -> None:
        await Runtime(DataDir(args.data), args.gateway, settings, SystemClock()).serve()

    try:
        uvloop.run(run())
    except InterlockError as error:
        print(f"interlock: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
