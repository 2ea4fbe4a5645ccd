"""Whom a sandbox may connect to: patterns, and which addresses a name may stand for. Decisions only, no socket.

A pattern is `host:port`. The host is a name, `*.name` (any name below it, not itself), an IPv4 address, or an IPv6
address in brackets; the port is a number or `*`. A name that resolves to an address of this machine or its network is
no way in: such an address has to be listed itself.
"""

import contextlib
import ipaddress
import itertools
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from interlock.errors import LocalError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
PATTERNS_MAX = 256
NAME_BYTES_MAX = 253  # RFC 1035, 2.3.4
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_CLOUD = (ipaddress.ip_network("168.63.129.16/32"), ipaddress.ip_network("192.0.0.0/24"))
"""Services of the cloud one runs in that look like anybody's: Azure's wire server; Oracle's metadata among the
addresses of protocols (RFC 6890)."""

_EMBEDDING = (
    (ipaddress.ip_network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (ipaddress.ip_network("2002::/16"), 80),  # 6to4, RFC 3056
    (ipaddress.ip_network("::/96"), 0),  # IPv4-compatible, RFC 4291
)
"""IPv6 ranges that hold an IPv4 address, and how many bits stand behind it."""


class Pattern(msgspec.Struct, frozen=True):
    """One entry of the list."""

    host: str
    """Lower case; without the `*.`; an address in its shortest form."""
    below: bool
    port: int | None
    """None: any."""

    def has_host(self, host: str) -> bool:
        """Whether `host` (normal) is meant, whatever the port."""
        return host.endswith("." + self.host) if self.below else host == self.host


class Allowed(msgspec.Struct, frozen=True):
    """The list of one sandbox."""

    patterns: tuple[Pattern, ...]

    def permits(self, host: str, port: int) -> bool:
        """Whether a connection to `host` (as `normal` gives it) and port is listed."""
        return any(p.has_host(host) and p.port in {None, port} for p in self.patterns)

    def knows(self, host: str) -> bool:
        """Whether any port of this name is listed: a question for its address may be answered."""
        return any(p.has_host(host) for p in self.patterns)

    def ports(self) -> frozenset[int]:
        """Ports that the list names; 80 and 443 for a list that says `*`."""
        named = {p.port for p in self.patterns if p.port is not None}
        return frozenset(named | ({80, 443} if any(p.port is None for p in self.patterns) else set()))


def parse(patterns: Iterable[str]) -> Allowed:
    """The list that these patterns make.

    Raises: LocalError: field `resources.egress[n]`: not a pattern; or more than PATTERNS_MAX of them.
    """
    every = tuple(patterns)
    if len(every) > PATTERNS_MAX:
        raise LocalError(f"{len(every)} patterns; at most {PATTERNS_MAX}", field="resources.egress")
    found = []
    for number, text in enumerate(every):
        pattern = _pattern(text)
        if pattern is None:
            raise LocalError(
                f"{text[:300]!r} is not host:port, *.host:port, address:port or [address]:port (port may be *)",
                field=f"resources.egress[{number}]",
            )
        found.append(pattern)
    return Allowed(tuple(found))


def _pattern(text: str) -> Pattern | None:
    host, colon, port = text.rpartition(":")
    if not colon or not (port == "*" or (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536)):
        return None
    below = host.startswith("*.")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return None
    name = normal(host[2:] if below else host)
    if name is None or (below and address(name) is not None):
        return None
    return Pattern(name, below, None if port == "*" else int(port))


def normal(host: str) -> str | None:
    """A host as the list compares it: lower case, no dot at the end, ASCII; an address in its shortest form, without
    brackets. None: neither a name nor an address. `127.1` and `0x7f000001` are neither: they mean different things to
    different programs."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if "%" in bare:
        return None
    if ":" in bare or bare.replace(".", "").isdigit():
        found = address(bare)
        return str(found) if found is not None else None
    if not bare.isascii():
        try:
            bare = bare.encode("idna").decode()
        except UnicodeError:
            return None
    name = bare.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > NAME_BYTES_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    # WHATWG URL, "ends in a number": such a host is an address in disguise
    return None if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]) else name


def address(text: str) -> Address | None:
    """The address that the text is; None: it is a name."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def why_not(found: Address, own: frozenset[Address] = frozenset()) -> str:
    """Why a listed name may not lead to this address; empty: it may.

    own: addresses of this machine.
    """
    for real in _meanings(found):
        if real.is_loopback or real.is_unspecified:
            return f"{found} is loopback"
        if real in own:
            return f"{found} is this machine"
        if real.is_link_local:
            return f"{found} is link-local"
        if real.is_multicast:
            return f"{found} is multicast"
        if any(real in network for network in _CLOUD):
            return f"{found} is a service of the cloud"
        if not real.is_global:
            return f"{found} is not a public address"
    return ""


def _meanings(found: Address) -> list[Address]:
    """The address itself and, for IPv6, the IPv4 address that it holds."""
    if found.version == 4:
        return [found]
    assert isinstance(found, ipaddress.IPv6Address)
    if found.ipv4_mapped is not None:
        return [found.ipv4_mapped]
    if found.teredo is not None:
        return [found, *found.teredo]
    held: list[Address] = [found]
    for network, behind in _EMBEDDING:
        if found in network:
            held.append(ipaddress.IPv4Address((int(found) >> behind) & 0xFFFFFFFF))
    return held


def own_addresses(proc: Path = Path("/proc/net")) -> frozenset[Address]:
    """Addresses of this machine's interfaces. Source: proc(5), net/fib_trie (`/32 host LOCAL`), net/if_inet6."""
    found: set[Address] = set()
    with contextlib.suppress(OSError):
        for before, line in itertools.pairwise((proc / "fib_trie").read_text().splitlines()):
            if line.strip() == "/32 host LOCAL":
                found.add(ipaddress.ip_address(before.split()[-1]))
    with contextlib.suppress(OSError):  # no IPv6 here
        for line in (proc / "if_inet6").read_text().splitlines():
            found.add(ipaddress.IPv6Address(int(line.split()[0], 16)))
    return frozenset(found)
