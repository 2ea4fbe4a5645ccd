"""What a sandbox sends around its proxy, as it is told: a place, and how much. It never got anywhere."""

import socket
import struct

import msgspec

from interlock.runtime.hands.egress.dns import asked
from interlock.runtime.hands.egress.report import NAMES_PORT

MARK = 3
"""First byte of a message of `inside.py` to the proxy; no other protocol spoken there begins with it."""
MESSAGE_BYTES_MAX = 1024
_HEAD = struct.Struct(">BB16sHIQ")
_UDP = 17
_DATAGRAM_BYTES_MAX = 65535
"""So whoever makes figures up tells none that readers of the log cannot hold."""


class Place(msgspec.Struct, frozen=True):
    """Where something was sent, as it is told."""

    protocol: str
    """`udp`; `tcp`; `dns`, a question for a name to a name server asked by address."""
    host: str
    """The address, or the name that was asked for."""
    port: int
    address: str = ""
    """The name server's."""


class Stray(msgspec.Struct, frozen=True):
    """All that was sent to one place in a while: the sandbox's own kernel refused it."""

    place: Place
    packets: int
    sent_bytes: int


def place_of(protocol: str, address: str, port: int, payload: bytes) -> Place:
    """What a packet was for. `payload`: of a datagram, its beginning."""
    name = asked(payload) if protocol == "udp" and port == NAMES_PORT else None
    return Place("dns", name, port, address) if name else Place(protocol, address, port)


def read(message: bytes) -> Stray | None:
    """A message of `inside.py`, without mark and length; None: it is none. Anybody inside may write one."""
    if len(message) < _HEAD.size:
        return None
    number, version, where, port, packets, sent = _HEAD.unpack_from(message)
    if version not in (4, 6) or sent > packets * _DATAGRAM_BYTES_MAX:
        return None
    packed = where[:4] if version == 4 else where
    address = socket.inet_ntop(socket.AF_INET if version == 4 else socket.AF_INET6, packed)
    protocol = "udp" if number == _UDP else "tcp"
    return Stray(place_of(protocol, address, port, message[_HEAD.size :]), packets, sent)
