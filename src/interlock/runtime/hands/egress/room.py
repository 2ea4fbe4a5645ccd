"""What the proxy keeps of one sandbox: its list, what it has used, and who is told."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import msgspec

from interlock.runtime.hands.egress.allowed import Allowed
from interlock.runtime.hands.egress.dns import Names
from interlock.runtime.hands.egress.report import Connected, Limits
from interlock.runtime.hands.egress.stray import Stray

Resolve = Callable[[str, int], Awaitable[list[str]]]
Report = Callable[[Connected], None]


def _nothing() -> None:
    """Nobody wants to know."""


class Admission(msgspec.Struct, frozen=True):
    """What is said of one request to the gateway before it is sent."""

    why_not: str = ""
    """Empty: it may pass."""
    status: int = 403
    """With which it is refused."""
    body: bytes = b""
    """JSON of the refusal, in the format that was asked in; empty: `why_not` is told as text."""
    over: Callable[[], None] = _nothing
    """Called once when a request that passed is over, however it ended."""


async def everything(method: str, target: str) -> Admission:
    """Lets every request pass."""
    return Admission()


class Door(msgspec.Struct, frozen=True):
    """The gateway's data port, to which `http://interlock.internal/` leads. What a program shows as its key is taken
    off, and `credential()` is put in its place out here."""

    host: str
    port: int
    credential: Callable[[], str]
    """Asked at each request: a session's token that lives some minutes."""
    admit: Callable[[str, str], Awaitable[Admission]] = everything
    """Asked at each request, by its method and its target (a path, perhaps with a query)."""


async def resolved(host: str, port: int) -> list[str]:
    """Addresses of a name, by this machine's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Room:
    """What the proxy keeps of one sandbox."""

    def __init__(
        self, sandbox: str, allowed: Allowed, report: Report, limits: Limits, door: Door | None, resolve: Resolve
    ) -> None:
        self.sandbox, self.allowed, self.limits, self.door, self.resolve = sandbox, allowed, limits, door, resolve
        self.names = Names()
        self.tasks: set[asyncio.Task[None]] = set()
        self.server: asyncio.Server | None = None
        self._report = report
        self._attempts = self._bytes = self._untold = 0

    def spend(self, count: int) -> bool:
        """Whether so many more bytes may pass."""
        self._bytes += count
        return self._bytes <= self.limits.bytes

    @property
    def spent(self) -> bool:
        """Whether as many attempts were made as may be."""
        return self._attempts >= self.limits.attempts

    def why_not(self) -> str:
        """Why a connection that has just come is not looked at; empty: it is."""
        if self.spent:
            return f"{self.limits.attempts} attempts were made: nobody is let out any more"
        if len(self.tasks) >= self.limits.connections:
            return f"{self.limits.connections} connections are open"
        return ""

    def tell(
        self, host: str, port: int, *, allowed: bool, protocol: str = "tcp", address: str = "",
        sent: int = 0, received: int = 0, why: str = "",
    ) -> None:  # fmt: skip
        """One attempt is over. Beyond the limit they are only counted."""
        self._attempts += 1
        if self._attempts > self.limits.attempts:
            self._untold += 1
            return
        printable = "".join(c if c.isprintable() else "?" for c in host[:253])
        self._report(
            Connected(
                sandbox=self.sandbox, host=printable, port=port, allowed=allowed, protocol=protocol, address=address,
                sent_bytes=sent, received_bytes=received, why=why,
            )
        )  # fmt: skip

    def strayed(self, stray: Stray) -> None:
        """Something was sent around the proxy."""
        to, count = stray.place, stray.packets
        packets = "a packet" if count == 1 else f"{count} packets"
        self.tell(
            to.host, to.port, allowed=False, protocol=to.protocol, address=to.address, sent=stray.sent_bytes,
            why=f"{packets} around the proxy, which went nowhere",
        )  # fmt: skip

    def end(self) -> None:
        """Tell of what was only counted."""
        if self._untold:
            why = f"{self._untold} more attempts, after {self.limits.attempts}"
            self._report(Connected(sandbox=self.sandbox, host="", port=0, allowed=False, why=why))
