"""One command's network, opened: the program that furnishes it runs, and what it hands out is served."""

import asyncio
import os
import signal
import socket
from collections.abc import Sequence

from interlock.errors import HandsUnavailable
from interlock.runtime.hands.network import PORTS_MAX, entered, furnish, ways_of
from interlock.runtime.hands.prelude import STARTED
from interlock.runtime.hands.relay import Relay
from interlock.runtime.hands.tree import Stdio, Watched, fork

OPEN_S = 10.0
_SAID_BYTES_MAX = 4096


class Outlet:
    """Of one command."""

    def __init__(self, relay: Relay, ports: Sequence[int], *, proxy: bool) -> None:
        """
        Args:
            relay: serves what is handed out, and is ended with this.
            ports: at which programs that know of no proxy are listened for; those beyond PORTS_MAX are not.
            proxy: whether programs that do know of one are.
        """
        self._relay, self._ports, self._proxy = relay, ports[:PORTS_MAX], proxy
        self._sockets = 3 + proxy + len(self._ports)
        self._watched: Watched | None = None
        self._loop = asyncio.get_running_loop()

    async def open(self, pid: int, process: int) -> None:
        """Furnish the network of a process that waits for it; `process`: a descriptor of the same.

        Raises: OSError, HandsUnavailable: it cannot be had.
        """
        namespaces = entered(pid)
        try:
            signal.pidfd_send_signal(process, 0)  # still there: so it was its network, and nobody's who came after it
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            with ours:
                with theirs:
                    ended = self._run(namespaces, theirs)
                ours.setblocking(False)
                async with asyncio.timeout(OPEN_S):
                    await ended
                said, descriptors, _, _ = socket.recv_fds(ours, _SAID_BYTES_MAX, PORTS_MAX + 4)
        except TimeoutError:
            raise HandsUnavailable(f"nothing came of it in {OPEN_S:g} s") from None
        finally:
            for descriptor in namespaces:
                os.close(descriptor)
        if len(descriptors) != self._sockets:  # fewer than were sent: we have as many files open as we may
            for descriptor in descriptors:
                os.close(descriptor)
            why = "" if said == STARTED else said.decode(errors="replace").strip()[:200]
            raise HandsUnavailable(why or f"{len(descriptors)} of {self._sockets} sockets were handed out")
        self._relay.serve(ways_of(descriptors, self._proxy))

    def close(self) -> None:
        """End what is served, and the program if it still runs."""
        if self._watched is not None:
            self._watched.kill()
        self._relay.close()

    def _run(self, namespaces: Sequence[int], out: socket.socket) -> "asyncio.Future[None]":
        """Done when the program is. What it complains of goes where its sockets go."""
        ended: asyncio.Future[None] = self._loop.create_future()

        def end(*_: object) -> None:
            if not ended.done():
                ended.set_result(None)

        program = furnish(namespaces, out.fileno(), proxy=self._proxy, ports=self._ports)
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        executable = program.memfd("network")
        try:
            stdio = Stdio(nothing, nothing, out.fileno())
            pid = fork(["network"], executable, {}, stdio, [*namespaces, out.fileno()], "/")
        finally:
            os.close(nothing)
            os.close(executable)
        self._watched = Watched(pid, end)
        return ended
