"""What an operator says once for a machine: who divides limits among machines, and who is warned. Names credentials."""

import msgspec

from interlock.credentials import Credential


class Sharing(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that several machines have together, and who divides them."""

    url: str
    """Of a Valkey or Redis server."""
    machine: str = ""
    """A name that no other has; empty: one that is made up at the first start, and kept."""
    credential: Credential | None = None
    """The server's password."""


class Warned(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told of thresholds, and of which of prepaid balances."""

    url: str
    secret: Credential
    """What warnings are signed with."""
    below_nanousd: tuple[int, ...] = ()
    """Descending: what of a prepaid balance is so little that it is told."""
