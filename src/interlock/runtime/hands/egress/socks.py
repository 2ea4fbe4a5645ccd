"""SOCKS5 as the proxy speaks it: no authentication, CONNECT only, names resolved outside. Source: RFC 1928."""

import asyncio
import ipaddress

import msgspec

from interlock.errors import LocalError

VERSION = 5
GRANTED, FAILED, NOT_ALLOWED, UNREACHABLE, NO_SUCH_COMMAND = 0, 1, 2, 4, 7
NO_METHOD = b"\x05\xff"


class Asked(msgspec.Struct, frozen=True):
    """What a client asks for."""

    command: int
    """1 CONNECT, 2 BIND, 3 UDP ASSOCIATE."""
    host: str
    """As it came: a name or an address."""
    port: int


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Asked:
    """Greeting and request, after the version's byte was read.

    Raises: LocalError: not SOCKS5, or no method that we have; asyncio.IncompleteReadError.
    """
    methods = await reader.readexactly((await reader.readexactly(1))[0])
    if 0 not in methods:
        writer.write(NO_METHOD)
        raise LocalError("the client wants to authenticate; none is needed", field="methods")
    writer.write(b"\x05\x00")
    version, command, _, kind = await reader.readexactly(4)
    if version != VERSION:
        raise LocalError(f"version {version} in a request", field="version")
    if kind == 1:
        host = str(ipaddress.IPv4Address(await reader.readexactly(4)))
    elif kind == 4:
        host = str(ipaddress.IPv6Address(await reader.readexactly(16)))
    elif kind == 3:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode("latin-1")
    else:
        raise LocalError(f"address type {kind}", field="address type")
    return Asked(command, host, int.from_bytes(await reader.readexactly(2), "big"))


def reply(code: int) -> bytes:
    """The answer; what we are bound to is nobody's business."""
    return bytes((5, code, 0, 1)) + bytes(6)
