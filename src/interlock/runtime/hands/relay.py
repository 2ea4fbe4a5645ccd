"""The ways out of a sandbox, served from outside: bytes between sockets in its network and the proxy's socket.

What may go where is the proxy's to say: this carries bytes, and tells of what went around the proxy and so nowhere.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from interlock.runtime.hands import network
from interlock.runtime.hands.egress.dns import MESSAGE_BYTES_MAX
from interlock.runtime.hands.egress.stray import Place, Stray, place_of
from interlock.runtime.hands.network import Seen, Ways
from interlock.unixpath import short

CONNECTIONS_MAX = 64
FLOWS_MAX = 256
"""Of one command, told by name; of more than these how many packets there were."""
LOOKS, REST_S = 64, 0.1
"""So many packets, questions, connections are taken of a socket in so long, however they are spaced, and then none for
a while: a flood must not take our time."""
_CHUNK_BYTES = 1 << 16
_REPLY_BYTES = 12
"""The proxy's two answers to a SOCKS5 request."""


class _Turn(msgspec.Struct):
    """How much of a socket was taken lately."""

    begun_s: float = 0.0
    """Of the loop's clock."""
    taken: int = 0
    resting: asyncio.TimerHandle | None = None


class Relay:
    """Of one command."""

    def __init__(self, door: Path, stray: Callable[[Stray], None]) -> None:
        """
        Args:
            door: the proxy's Unix socket.
            stray: told of each place once, when the command is over.
        """
        self._door, self._stray = door, stray
        self._tasks = set[asyncio.Task[None]]()  # each ends with its connection; `close` ends them all
        self._ways: Ways | None = None
        self._turns: dict[socket.socket, _Turn] = {}
        self._taken = set[int]()
        self._flows: dict[Place, list[int]] = {}
        self._unnamed = 0
        self._loop = asyncio.get_running_loop()

    def serve(self, ways: Ways) -> None:
        """Serve sockets, which are ours from now on."""
        self._ways = ways
        self._taken = {one.getsockname()[1] for one in ways.ports}
        for one in ways.streams:
            self._hear(one, partial(self._accept, one, False))
        for one in ways.ports:
            self._hear(one, partial(self._accept, one, True))
        self._hear(ways.questions, partial(self._ask, ways.questions))
        self._hear(ways.packets, partial(self._count, ways.packets))

    def close(self) -> None:
        """Accept no more, cut what is open, and tell what strayed."""
        ways, self._ways = self._ways, None
        for turn in self._turns.values():
            if turn.resting is not None:
                turn.resting.cancel()
        self._turns.clear()
        if ways is not None:
            for one in (ways.packets, ways.questions, *ways.streams, *ways.ports):
                self._loop.remove_reader(one)
            self._count(ways.packets, FLOWS_MAX)
            self._unnamed += network.lost(ways.packets)
            # The kernel waits for all of its cores before it lets go of a packet socket: milliseconds, so not here.
            try:
                self._loop.run_in_executor(None, ways.close)
            except RuntimeError:  # no thread is to be had: the loop is about to end, or there are too many
                ways.close()
        for task in self._tasks:
            task.cancel()
        for place, (packets, sent) in self._flows.items():
            self._stray(Stray(place, packets, sent))
        self._flows.clear()
        if self._unnamed:
            self._stray(Stray(Place("udp", "", 0), self._unnamed, 0))
            self._unnamed = 0

    def _hear(self, one: socket.socket, take: Callable[[int], int]) -> None:
        """Serve a socket, LOOKS times in REST_S. `take`: so many at most of what waits there; how many it were."""
        turn = self._turns[one] = _Turn()

        def ready() -> None:
            if (now := self._loop.time()) - turn.begun_s >= REST_S:
                turn.begun_s, turn.taken = now, 0
            turn.taken += take(LOOKS - turn.taken)
            if turn.taken >= LOOKS:
                self._loop.remove_reader(one)
                turn.begun_s = 0.0
                turn.resting = self._loop.call_later(REST_S, self._loop.add_reader, one, ready)

        self._loop.add_reader(one, ready)

    # what goes through

    def _accept(self, listener: socket.socket, transparent: bool, _most: int) -> int:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            if not self._spawn(self._carry(connection, transparent)):
                connection.close()
        return 1

    def _ask(self, questions: socket.socket, _most: int) -> int:
        with contextlib.suppress(OSError):
            query, sender = questions.recvfrom(MESSAGE_BYTES_MAX + 1)
            self._spawn(self._answer(questions, query, sender))
        return 1

    def _spawn(self, work: Coroutine[Any, Any, None]) -> bool:
        if len(self._tasks) >= CONNECTIONS_MAX:
            work.close()
            return False
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _carry(self, connection: socket.socket, transparent: bool) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError), connection:
            connection.setblocking(False)
            with await self._outside() as outside:
                if transparent:
                    await self._name(connection, outside)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._copy(connection, outside))
                    group.create_task(self._copy(outside, connection))

    async def _name(self, connection: socket.socket, outside: socket.socket) -> None:
        """Tell the proxy, in SOCKS5, whom somebody connects to who knows of no proxy. Raises: OSError: it refused."""
        host, port = connection.getsockname()
        request = b"\x05\x01\x00\x05\x01\x00\x01" + socket.inet_aton(host) + port.to_bytes(2, "big")
        await self._loop.sock_sendall(outside, request)
        reply = b""
        while len(reply) < _REPLY_BYTES:
            piece = await self._loop.sock_recv(outside, _REPLY_BYTES - len(reply))
            reply += piece
            if not piece or (len(reply) > 3 and reply[3]):
                raise ConnectionRefusedError("the proxy refused")

    async def _answer(self, questions: socket.socket, query: bytes, sender: Any) -> None:
        """A datagram with a question goes to the proxy as a message with its length before it, and the answer back."""
        with contextlib.suppress(OSError, asyncio.CancelledError), await self._outside() as outside:
            await self._loop.sock_sendall(outside, len(query).to_bytes(2, "big") + query)
            answer = b""
            while len(answer) < 2 or len(answer) < 2 + int.from_bytes(answer[:2], "big"):
                piece = await self._loop.sock_recv(outside, _CHUNK_BYTES)
                if not piece:
                    return
                answer += piece
            questions.sendto(answer[2:], sender)

    async def _outside(self) -> socket.socket:
        """A connection to the proxy."""
        outside = socket.socket(socket.AF_UNIX)
        try:
            outside.setblocking(False)
            with short(self._door) as name:
                await self._loop.sock_connect(outside, name)
        except BaseException:
            outside.close()
            raise
        return outside

    async def _copy(self, source: socket.socket, target: socket.socket) -> None:
        """Until the source says its end, which is passed on."""
        with contextlib.suppress(OSError):
            while data := await self._loop.sock_recv(source, _CHUNK_BYTES):
                await self._loop.sock_sendall(target, data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    # what goes around

    def _count(self, packets: socket.socket, most: int) -> int:
        """Look at packets that wait; how many there were."""
        for done in range(most):
            try:
                packet = packets.recv(network.PACKET_BYTES)
            except OSError:
                return done
            found = network.seen(packet)
            if found is not None and not self._is_served(found):
                self._add(found)
        return most

    def _is_served(self, found: Seen) -> bool:
        """Whether it comes to one of `ways.ports`, and so to the proxy, which tells of it."""
        return found.protocol == "tcp" and found.port in self._taken and ":" not in found.address

    def _add(self, found: Seen) -> None:
        where = place_of(found.protocol, found.address, found.port, found.payload)
        flow = self._flows.get(where)
        if flow is not None:
            flow[0] += 1
            flow[1] += found.length
        elif len(self._flows) < FLOWS_MAX:
            self._flows[where] = [1, found.length]
        else:
            self._unnamed += 1
