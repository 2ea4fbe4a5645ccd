"""A sandbox's own network, furnished from outside before its command begins: who listens in there, and who watches.

It has its loopback and no way out. A program of ours, outside of everything else of the sandbox, enters that network
for a moment, makes every address in the world lead to the loopback, and hands back sockets: for programs that know of
a proxy, for questions for names, for connections to the ports of listed hosts, and one that sees what is sent to
addresses where nobody listens. So what goes around the proxy is refused by the sandbox's own kernel, and is known.
"""

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Sequence

import msgspec

from interlock.runtime.hands.egress.report import NAMES_PORT, PROXY_PORT
from interlock.runtime.hands.elf import At, Program
from interlock.runtime.hands.prelude import tell

PACKET_BYTES = 576
"""Of each packet that is shown: the longest head, and a question for a name."""
PORTS_MAX = 240
"""Sockets go out in one message, which takes 253 (SCM_MAX_FD)."""
_NS_GET_USERNS = 0xB701
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_NETLINK, _ROUTE, _PACKET, _INET, _INET6 = 16, 0, 17, 2, 10
_STREAM, _DGRAM, _RAW = 1, 2, 3
_ROUTING, _FRAGMENT = 43, 44
"""Heads of IPv6 before the datagram's own."""
_LOOPBACK = 1
"""Its index: the first interface of every network namespace."""
_BUFFER_BYTES = 1 << 16
"""Of packets that wait to be looked at; more are counted by the kernel, and no more than counted."""


class Ways(msgspec.Struct, frozen=True):
    """What came back: sockets in the sandbox's network, ours to close."""

    packets: socket.socket
    """See `Seen`: what is sent to where nobody listens."""
    questions: socket.socket
    """127.0.0.1:53, datagrams."""
    streams: tuple[socket.socket, ...]
    """Listening: 127.0.0.1:53, then perhaps 127.0.0.1:3128."""
    ports: tuple[socket.socket, ...]
    """Listening: these ports of every address."""

    def close(self) -> None:
        """All of them."""
        for one in (self.packets, self.questions, *self.streams, *self.ports):
            one.close()


def ways_of(descriptors: Sequence[int], proxy: bool) -> Ways:
    """Sockets as `furnish` hands them out."""
    found = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for one in found:
        one.setblocking(False)
        one.set_inheritable(False)  # recv_fds takes no flags, whatever it says
    named = 4 if proxy else 3
    return Ways(found[0], found[1], tuple(found[2:named]), tuple(found[named:]))


def entered(pid: int) -> list[int]:
    """Descriptors of a process's network, and before it of the users' namespace that owns it where we are not root.

    Raises: OSError: EINVAL: it is in our own network, which is not to be furnished.
    """
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.path.samestat(os.fstat(network), os.stat("/proc/self/ns/net")):  # noqa: PTH116 - beside fstat
            raise OSError(errno.EINVAL, "it has no network of its own")
        return [network] if os.geteuid() == 0 else [fcntl.ioctl(network, _NS_GET_USERNS), network]
    except OSError:
        os.close(network)
        raise


def furnish(namespaces: Sequence[int], out: int, *, proxy: bool, ports: Sequence[int]) -> Program:
    """A program that enters a network and hands its sockets out, in the order of `Ways`.

    Args:
        namespaces: as `entered` gives them.
        out: descriptor of a Unix socket for them.
        proxy: listen on 127.0.0.1:3128.
        ports: to listen on at all addresses; at most PORTS_MAX.
    """
    program = Program()
    kinds = (_CLONE_NEWUSER, _CLONE_NEWNET)[-len(namespaces) :]
    for descriptor, kind in zip(namespaces, kinds, strict=True):
        program.call("setns", descriptor, kind, must="cannot enter the sandbox's network")
    _lead_here(program)
    made = [_watching(program), _bound(program, "127.0.0.1", NAMES_PORT, _DGRAM)]
    made += [_bound(program, "127.0.0.1", port, _STREAM) for port in (NAMES_PORT, PROXY_PORT)[: 1 + proxy]]
    made += [_bound(program, "0.0.0.0", port, _STREAM) for port in ports]  # noqa: S104 - in the sandbox's network
    tell(program, out, made)
    program.call("exit_group", 0)
    return program


def _lead_here(program: Program) -> None:
    """Every address is the loopback's: what nobody listens for is refused there, instead of having no route."""
    where = program.data(bytes(8))
    program.call("socket", _NETLINK, _RAW, _ROUTE, must="cannot ask for routes")
    program.keep(where)
    for family, source in ((_INET, b"\x7f\0\0\x01"), (_INET6, bytes(15) + b"\x01")):
        message = _local_route(family, source)
        # Without IPv6 here there is no IPv6 in there either.
        program.call("sendto", At(where), program.data(message), len(message), 0, 0, 0)


def _local_route(family: int, source: bytes) -> bytes:
    """RTM_NEWROUTE: `local default dev lo src SOURCE table local`. Source: rtnetlink(7)."""
    route = struct.pack("<BBBBBBBBI", family, 0, 0, 0, 255, 2, 254, 2, 0)
    route += struct.pack("<HHI", 8, 4, _LOOPBACK) + struct.pack("<HH", 4 + len(source), 7) + source
    return struct.pack("<IHHII", 16 + len(route), 24, 0x401, 1, 0) + route  # NLM_F_REQUEST | NLM_F_CREATE


def _watching(program: Program) -> int:
    """A socket that sees what the filter lets through, from its first packet on. Source: packet(7)."""
    where, code = program.data(bytes(8)), packet_filter()
    program.call("socket", _PACKET, _DGRAM, 0, must="cannot watch the sandbox's network")
    program.keep(where)
    given = program.data(struct.pack("<H6xQ", len(code) // 8, program.data(code)))
    program.call("setsockopt", At(where), socket.SOL_SOCKET, 26, given, 16, must="cannot choose what to watch")
    size = program.data(struct.pack("<i", _BUFFER_BYTES))
    program.call("setsockopt", At(where), socket.SOL_SOCKET, socket.SO_RCVBUF, size, 4)
    every = program.data(struct.pack("<H", _PACKET) + struct.pack(">H", 3) + struct.pack("<i12x", _LOOPBACK))
    program.call("bind", At(where), every, 20, must="cannot watch the loopback")
    return where


def _bound(program: Program, host: str, port: int, kind: int) -> int:
    """A socket of the sandbox's that listens; where its descriptor will stand."""
    where, address = program.data(bytes(8)), program.data(struct.pack("<H", _INET) + _place(host, port))
    program.call("socket", _INET, kind, 0, must=f"cannot make the socket of port {port}")
    program.keep(where)
    one = program.data(struct.pack("<i", 1))
    program.call("setsockopt", At(where), socket.SOL_SOCKET, socket.SO_REUSEADDR, one, 4)
    program.call("bind", At(where), address, 16, must=f"cannot bind port {port}")
    if kind == _STREAM:
        program.call("listen", At(where), 64, must=f"cannot listen on port {port}")
    return where


def _place(host: str, port: int) -> bytes:
    return struct.pack(">H4s8x", port, socket.inet_aton(host))


class Seen(msgspec.Struct, frozen=True):
    """A packet to where nobody may be: a datagram, or the first of a connection."""

    protocol: str
    """`udp` or `tcp`."""
    address: str
    port: int
    payload: bytes
    """Of a datagram, as much of it as was shown."""
    length: int
    """All of it, in bytes."""


def packet_filter() -> bytes:
    """Which packets are shown: UDP, and TCP that begins a connection, to anywhere but 127.0.0.0/8 and ::1.

    Of IPv6 also what has another head between, which anybody may send in pieces or by way of others: `seen` reads it.

    Classic BPF over what a cooked packet socket sees: the IP head first. Source: Linux, net/packet, filter.h.
    """
    word, byte, follows, equal = 0x20, 0x30, 0x50, 0x15
    mask, shift, head = 0x54, 0x74, 0xB1
    lines: list[tuple[int, int, str, str]] = [
        (word, 0xFFFFF004, "", ""), (equal, 4, "", "no"),  # as it is sent, not again as it arrives
        (byte, 0, "", ""), (shift, 4, "", ""), (equal, 6, "six", ""), (equal, 4, "", "no"),
        (byte, 16, "", ""), (equal, 127, "no", ""),
        (byte, 9, "", ""), (equal, 17, "yes", ""), (equal, 6, "", "no"),
        (head, 0, "", ""), (follows, 13, "", ""), (mask, 0x12, "", ""), (equal, 2, "yes", "no"),
    ]  # fmt: skip
    six = len(lines)
    lines += [
        (word, 24, "", ""), (equal, 0, "", "away"), (word, 28, "", ""), (equal, 0, "", "away"),
        (word, 32, "", ""), (equal, 0, "", "away"), (word, 36, "", ""), (equal, 1, "no", "away"),
    ]  # fmt: skip
    away = len(lines)
    lines += [
        (byte, 6, "", ""), (equal, 17, "yes", ""), (equal, _ROUTING, "yes", ""), (equal, _FRAGMENT, "yes", ""),
        (equal, 6, "", "no"), (byte, 53, "", ""), (mask, 0x12, "", ""), (equal, 2, "yes", "no"),
        (0x06, PACKET_BYTES, "", ""), (0x06, 0, "", ""),
    ]  # fmt: skip
    at = {"six": six, "away": away, "yes": len(lines) - 2, "no": len(lines) - 1}

    def behind(label: str, here: int) -> int:
        return at[label] - here - 1 if label else 0

    return b"".join(
        struct.pack("<HBBI", code, behind(yes, here), behind(no, here), value)
        for here, (code, value, yes, no) in enumerate(lines)
    )


def seen(packet: bytes) -> Seen | None:
    """What the filter let through, read; None: cut short, or not the beginning of anything."""
    if not packet:
        return None
    four = packet[0] >> 4 == 4
    protocol, head = (packet[9:10], (packet[0] & 15) * 4) if four else _behind_heads(packet)
    if len(packet) < head + 8 or protocol not in (b"\x11", b"\x06"):
        return None
    udp = protocol == b"\x11"
    if not udp and packet[head + 13 : head + 14] and packet[head + 13] & 0x12 != 2:
        return None
    address = socket.inet_ntop(_INET, packet[16:20]) if four else socket.inet_ntop(_INET6, packet[24:40])
    port, length = struct.unpack_from(">HH", packet, head + 2)
    body = packet[head + 8 :] if udp else b""
    return Seen("udp" if udp else "tcp", address, port, body, max(length - 8, 0) if udp else 0)


def _behind_heads(packet: bytes) -> tuple[bytes, int]:
    """What a packet of IPv6 carries, and where that begins; empty: nothing, or a later piece of something.

    Source: RFC 8200, 4.
    """
    protocol, head = packet[6:7], 40
    while protocol in (b"\0", bytes((_ROUTING,)), bytes((_FRAGMENT,)), b"\x3c") and len(packet) >= head + 8:
        if protocol == bytes((_FRAGMENT,)):
            if int.from_bytes(packet[head + 2 : head + 4], "big") & 0xFFF8:
                return b"", head
            length = 8
        else:
            length = (packet[head + 1] + 1) * 8
        protocol, head = packet[head : head + 1], head + length
    return protocol, head


def lost(packets: socket.socket) -> int:
    """How many packets since the last time were not kept for us, because too many came. Source: packet(7)."""
    return int(struct.unpack("<II", packets.getsockopt(263, 6, 8))[1])  # SOL_PACKET, PACKET_STATISTICS
