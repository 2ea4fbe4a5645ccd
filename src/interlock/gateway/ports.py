"""What the gateway asks of others: who may come in, where usage is written down, whom an answer is told to."""

from collections.abc import Callable
from typing import Protocol

from interlock.errors import LogUnavailable
from interlock.identity import Denied, Key, Scope


class Admits(Protocol):
    """The Directory, as new as the last change anybody was told of."""

    def admit(self, secret: str, now_ns: int, scope: Scope) -> Key | Denied:
        """The key, or why not."""
        ...

    def admit_id(self, key_id: str, now_ns: int, scope: Scope) -> Key | Denied:
        """The same of a key that a session's token names."""
        ...

    @property
    def seq(self) -> int:
        """The last change that it knows."""
        ...

    def stands(self, key: Key, seq: int, now_ns: int) -> bool:
        """Whether a key that was admitted when `seq` was the last change would be admitted now; False: ask `admit`."""
        ...

    def boundaries(self, key: Key) -> tuple[str, ...]:
        """Names of the profiles the key is under."""
        ...

    def agreements(self, key: Key) -> tuple[str, ...]:
        """What its tenant has accepted, as of now."""
        ...


class UsageJournal(Protocol):
    """The hot path's log: what is staged in one tick of the loop is written at once at its end."""

    @property
    def writable(self) -> bool:
        """Whether the last write went well."""
        ...

    @property
    def seq(self) -> int:
        """The last number that stands; what is staged comes after it."""
        ...

    def stage(
        self,
        id: str,
        type: str,
        at_ns: int,
        payload: bytes,
        done: Callable[[LogUnavailable | None], None] | None = None,
        *,
        reserved: bool = False,
    ) -> None:
        """Write at the end of this tick, then call `done`. `reserved`: may use the room that is set aside."""
        ...


class Client(Protocol):
    """Whom the answer is told to: a connection, or all who wait for the same answer (sharing.py)."""

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """A whole answer."""

    def start(self, status: int, headers: bytes) -> None:
        """A stream begins."""

    def send(self, data: bytes) -> None:
        """A part of it."""

    def end(self) -> None:
        """It is over."""
