"""What is told of a sandbox's connections."""

import msgspec

from interlock.runtime.hands.egress.allowed import Allowed


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to reach somebody, told once, when it is over. Nothing of it is believed: a program asked for it."""

    sandbox: str
    host: str
    """Empty: it did not come so far as to name one."""
    port: int
    allowed: bool
    protocol: str = "tcp"
    """`tcp`, `http` (through the proxy, plain), `dns`, `udp`, `model` (the door to the gateway)."""
    address: str = ""
    """What it was connected to."""
    sent_bytes: int = 0
    received_bytes: int = 0
    why: str = ""
    """Why it was refused, or what ended it before its time."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one sandbox may ask of the proxy."""

    connections: int = 64
    """At once."""
    attempts: int = 10_000
    """In all, questions for names among them: each is a line in the session's log. Then nobody is let out any more."""
    bytes: int = 10 << 30
    """In all, both ways."""
    head_s: float = 10.0
    """To say whom a connection is for."""
    connect_s: float = 10.0
    """To resolve a name and connect."""
    idle_s: float = 600.0
    """Without a byte either way: a model may think for some minutes."""


PROXY_PORT = 3128
"""Where programs inside find the proxy."""
NAMES_PORT = 53
"""Where they ask for names."""
RESOLV_CONF = "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n"
"""/etc/resolv.conf inside."""
NSSWITCH_CONF = "passwd: files\ngroup: files\nhosts: files dns\n"
"""/etc/nsswitch.conf inside."""


def environment() -> dict[str, str]:
    """What tells programs in a sandbox of the proxy."""
    proxy, local = f"http://127.0.0.1:{PROXY_PORT}", "localhost,127.0.0.1,::1"
    named = {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": local}
    return named | {name.upper(): value for name, value in named.items()}


def ports(allowed: Allowed, door: bool) -> list[int]:
    """Those at which programs that know of no proxy are listened for, inside."""
    return sorted((allowed.ports() | ({80} if door else set())) - {PROXY_PORT, NAMES_PORT})


def arguments(socket: str, allowed: Allowed, door: bool) -> list[str]:
    """Those of `inside.py`, which the sandbox runs: socket as it is seen inside, and ports."""
    return [socket, str(PROXY_PORT), *(str(port) for port in ports(allowed, door))]
