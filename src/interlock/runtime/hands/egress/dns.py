"""Questions for names that a sandbox asks, and what it is told. No question leaves the machine from here.

A listed name is answered with an address inside the sandbox's own loopback, one for each name, so that programs that
know of no proxy connect to a place whose listener knows which name they mean. Every other name does not exist.
"""

import msgspec

from interlock.runtime.hands.egress.allowed import NAME_BYTES_MAX, Allowed, normal

MESSAGE_BYTES_MAX = 512  # RFC 1035, 4.2.1: what a datagram may hold
NAMES_MAX = 4096
_A, _AAAA, _ANY = 1, 28, 255
_TTL_S = 5


class Names:
    """Which address stands for which name in one sandbox: 127.64.0.1 and on. A name keeps its address."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def address_for(self, name: str) -> str | None:
        """None: as many names as there may be have one."""
        if name not in self._addresses and len(self._addresses) < NAMES_MAX:
            number = len(self._addresses) + 1
            made = f"127.64.{number >> 8}.{number & 255}"
            self._addresses[name], self._names[made] = made, name
        return self._addresses.get(name)

    def name_of(self, address: str) -> str | None:
        """The name that was told this address."""
        return self._names.get(address)


class Answer(msgspec.Struct, frozen=True):
    """What goes back, and what is to be reported of it."""

    message: bytes
    """Empty: nothing is sent."""
    name: str
    allowed: bool
    why: str = ""


def asked(query: bytes) -> str | None:
    """The name that a question is for, printable; None: it is no question."""
    question = _question(query)
    return (normal(question[0]) or question[0])[:NAME_BYTES_MAX] if question else None


def answer(query: bytes, allowed: Allowed, names: Names, also: frozenset[str] = frozenset()) -> Answer:
    """The answer to one message. `also`: names that are answered beside the listed ones."""
    question = _question(query)
    if question is None:
        formerr = query[:2] + b"\x80\x01" + bytes(8) if len(query) >= 12 else b""
        return Answer(formerr, "", False, "not a question")
    name, kind, end = question
    shown = normal(name) or name
    if shown not in also and not allowed.knows(shown):
        return Answer(_reply(query, end, code=3), shown[:NAME_BYTES_MAX], False, "not listed")
    if kind not in {_A, _ANY}:
        return Answer(_reply(query, end), shown, True)
    made = names.address_for(shown)
    if made is None:
        return Answer(_reply(query, end, code=2), shown, False, f"{NAMES_MAX} names are known already")
    return Answer(_reply(query, end, address=made), shown, True)


def _question(query: bytes) -> tuple[str, int, int] | None:
    """Name, type and where the question ends; None: it is not one standard question."""
    if not 12 < len(query) <= MESSAGE_BYTES_MAX or query[2] & 0xF8 or query[4:6] != b"\x00\x01":
        return None
    labels, at = [], 12
    while at < len(query) and (length := query[at]):
        if length > 63 or at + 1 + length > len(query):
            return None
        labels.append(query[at + 1 : at + 1 + length].decode("latin-1"))
        at += 1 + length
    if at + 5 > len(query) or not labels:
        return None
    name = ".".join(labels)
    printable = "".join(c if c.isascii() and c.isprintable() else "?" for c in name)
    return printable, int.from_bytes(query[at + 1 : at + 3], "big"), at + 5


def _reply(query: bytes, end: int, *, code: int = 0, address: str = "") -> bytes:
    flags = bytes((0x84 | (query[2] & 1), 0x80 | code))  # an answer, authoritative; recursion as it was asked for
    counts = b"\x00\x01" + (b"\x00\x01" if address else b"\x00\x00") + bytes(4)
    head = query[:2] + flags + counts + query[12:end]
    if not address:
        return head
    data = bytes(int(part) for part in address.split("."))
    return head + b"\xc0\x0c\x00\x01\x00\x01" + _TTL_S.to_bytes(4, "big") + b"\x00\x04" + data
