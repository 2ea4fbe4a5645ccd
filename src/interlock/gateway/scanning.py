"""Sensitive content: whether a call is to be scanned, and what was found, by kind.

Only where a boundary in force asks. A short request is scanned where it is read; a long one on another thread, so that
the loop does not wait (the automaton gives up the interpreter's lock while it runs).
"""

import asyncio
from collections.abc import Sequence

from interlock.gateway.policy import Policy
from interlock.guard import Detector

INLINE_BYTES_MAX = 4 * 1024
"""Of bodies that are scanned on the loop: some 0.02 ms; one made to be slow takes 8."""


class Scanner:
    """For one policy."""

    def __init__(self, policy: Policy) -> None:
        self._asks = frozenset(name for name, profile in policy.profiles.items() if profile.sensitive)
        self._always = policy.boundary in self._asks
        guard = policy.guard
        self._detector = Detector(guard.patterns, guard.kinds) if self._asks else None

    def asks(self, boundaries: Sequence[str]) -> bool:
        """Whether a call under these profiles is to be scanned."""
        return self._always or (bool(self._asks) and not self._asks.isdisjoint(boundaries))

    def scan(self, document: object) -> tuple[str, ...]:
        """The kinds that a decoded request holds, sorted."""
        assert self._detector is not None, "a profile asks"
        return tuple(found.kind for found in self._detector.scan_document(document))

    async def scan_aside(self, document: object) -> tuple[str, ...]:
        """As `scan`, on another thread."""
        return await asyncio.to_thread(self.scan, document)
