"""Which descriptions of tools may be shown to a model: a fold of the `tools` stream. Pure.

A tool is pinned by the hash of all that a client is shown of it. A definition that has another hash is `seen`, and is
neither listed nor called until an operator has approved that very hash.

The stream's record types: `tool.seen` (a definition that was not known), `tool.approved` (by an operator, or as the
first that was ever seen).
"""

from hashlib import sha256
from typing import Any

import msgspec

from interlock.errors import TransientError
from interlock.log import Stored

STREAM = "tools"
SEEN, APPROVED = "tool.seen", "tool.approved"

DEFINITION_BYTES_MAX = 128 * 1024
TOOLS_MAX = 1024
"""Of one server, ever pinned or waiting: one that invents names for ever stops here."""
WAITING_MAX = 8
"""Definitions of one tool that wait for an operator: of one that changes with every look, the first are kept."""
BY_FIRST_SEEN = "first_seen"
"""Who approved what nobody was asked about."""


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """Type `tool.seen`."""

    server: str
    name: str
    """By the server's own name for it."""
    sha256: str
    at_ns: int
    definition: dict[str, Any]
    """As the server gave it, without `_meta`."""


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """Type `tool.approved`."""

    server: str
    name: str
    sha256: str
    at_ns: int
    by: str


class Pin(msgspec.Struct):
    """What is known of one tool."""

    approved: Approved | None = None
    seen: dict[str, Definition] = {}
    """By hash; what is approved, and what has been seen since."""

    @property
    def waiting(self) -> list[Definition]:
        """Definitions that nobody has approved, in the order they were seen."""
        return [one for hash_, one in self.seen.items() if self.approved is None or hash_ != self.approved.sha256]


def defined(tool: dict[str, Any]) -> dict[str, Any]:
    """What of a listed tool is pinned: everything but `_meta`, which clients do not show to models."""
    return {key: value for key, value in tool.items() if key != "_meta"}


def hash_of(definition: dict[str, Any]) -> str:
    """Hex. Of the definition with its keys in order: the same whoever encodes it."""
    return sha256(msgspec.json.encode(definition, order="deterministic")).hexdigest()


class Pins:
    """Every tool that was ever seen. `seq` is the last record folded."""

    def __init__(self) -> None:
        self.seq = 0
        self.tools: dict[tuple[str, str], Pin] = {}
        """By server and the server's own name."""
        self._count: dict[str, int] = {}

    def apply(self, stored: Stored) -> None:
        """Fold the next record. Raises: TransientError: it cannot be read, so nothing may be allowed by it."""
        if stored.seq <= self.seq:
            return
        try:
            match stored.record.type:
                case "tool.seen":
                    seen = msgspec.json.decode(stored.record.payload, type=Definition)
                    self._pin(seen.server, seen.name).seen[seen.sha256] = seen
                case "tool.approved":
                    approved = msgspec.json.decode(stored.record.payload, type=Approved)
                    pin = self._pin(approved.server, approved.name)
                    pin.approved = approved
                    pin.seen = {h: d for h, d in pin.seen.items() if h == approved.sha256}
                case other:
                    raise ValueError(f"type {other!r} is not known here")
        except (msgspec.DecodeError, ValueError) as error:
            why = f"record {stored.seq} of stream {STREAM!r} cannot be folded: {error}"
            raise TransientError(why, code="tools_unavailable") from error
        self.seq = stored.seq

    def _pin(self, server: str, name: str) -> Pin:
        pin = self.tools.get((server, name))
        if pin is None:
            pin = self.tools[server, name] = Pin(seen={})
            self._count[server] = self._count.get(server, 0) + 1
        return pin

    def refusal(self, server: str, name: str, hash_: str) -> str:
        """Why a tool with a definition of this hash may not be used; empty: it may."""
        pin = self.tools.get((server, name))
        if pin is None or pin.approved is None:
            return "nobody has approved it yet: `interlock tools approve`"
        if pin.approved.sha256 != hash_:
            return "its description has changed since it was approved: `interlock tools show`, then `approve`"
        return ""

    def news(self, server: str, name: str, hash_: str) -> bool:
        """Whether a definition is to be written down: it is not known, and there is room."""
        pin = self.tools.get((server, name))
        if pin is None:
            return self._count.get(server, 0) < TOOLS_MAX
        return hash_ not in pin.seen and len(pin.waiting) < WAITING_MAX
