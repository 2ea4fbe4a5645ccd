"""The store that several workers share: what the cache asks of it, and what it may count on."""

from typing import Literal, Protocol

Claim = Literal["lead", "wait", "away"]
"""lead: nothing is kept, and whoever asked is to send the call; the others wait. wait: somebody else sends it. away:
the store does not answer, or is left alone just now."""


class Shelf(Protocol):
    """Entries as bytes, by tenant and key, each for a time; and who is about to make one.

    It may lose anything at any time. It never raises: what fails is `away`, and costs no more than the time that was
    set for it, and that rarely (a store that does not answer is left alone for a while).
    """

    async def claim(self, tenant: str, key: bytes, token: bytes) -> bytes | Claim:
        """What is kept; else the leave to make it, for `LEASE_MS` unless renewed, and to one at a time: `token`."""
        ...

    async def renew(self, tenant: str, key: bytes, token: bytes) -> None:
        """The one who leads is still at it."""
        ...

    async def put(self, tenant: str, key: bytes, token: bytes, data: bytes, lifetime_ms: int) -> None:
        """Keep it, and end `token`'s lead. A token that never led, or no longer does, ends nobody else's."""
        ...

    async def give_up(self, tenant: str, key: bytes, token: bytes) -> None:
        """There is nothing to keep: another may lead."""
        ...

    @property
    def away(self) -> bool:
        """Whether it is left alone just now."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


LEASE_MS = 3_000
"""How long others wait for one who leads and is not heard of: a worker that was killed."""
