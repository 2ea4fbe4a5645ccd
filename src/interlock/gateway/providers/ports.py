"""What a provider asks beside its wire format: its own paths and framing, and credentials that are made, not kept.

A provider that speaks a format of its own is reached through one of ours (`Dialect.format`): the gateway translates to
that format, meters in it, and the dialect does the rest.
"""

from collections.abc import Sequence
from typing import Protocol

from interlock.ledger import Format


class Decoder(Protocol):
    """One streamed answer of the provider, as server-sent events of the dialect's format."""

    def feed(self, data: bytes) -> bytes:
        """Bytes came, cut anywhere; the whole events that they complete.

        Raises: RemoteError: they are not what the provider's framing allows. What stood before the fault is given out
            first, wherever the bytes were cut: the fault is then raised by the next call.
        """
        ...

    def finish(self) -> bytes:
        """The body ended; what is left to say. An answer that was not complete stays so: nothing is made up.

        Raises: RemoteError: as `feed`.
        """
        ...


class Dialect(Protocol):
    """How one deployment is spoken to. Pure: no I/O, no clock."""

    @property
    def format(self) -> Format:
        """The format of the bodies that `request` takes, and of the answers that come out."""
        ...

    def path(self, stream: bool) -> str:
        """The request's target on the deployment's host: path and query."""
        ...

    def request(self, body: bytes, stream: bool, betas: Sequence[str] = ()) -> bytes:
        """The provider's body for a body of `format`.

        Args:
            betas: of the client's header `anthropic-beta`.
        Raises: LocalError: it cannot be said there; `field` names it.
        """
        ...

    def hints(self, body: bytes) -> tuple[str, ...]:
        """Paths of the hints in a body that `request` leaves out."""
        ...

    def whole(self, status: int, body: bytes) -> bytes:
        """A whole answer or error of the provider, in `format`; bytes that cannot be read come back as they are."""
        ...

    def decoder(self, input_estimate: int = 0) -> Decoder:
        """For one streamed answer. `input_estimate`: tokens, shown until the provider has counted."""
        ...


class Auth(Protocol):
    """Header lines that let a request in. Lines end in CRLF; secrets stand in nothing else that this returns."""

    def ready(self, target: str, body: bytes) -> bytes | None:
        """The lines, if they are at hand; None: `fetch` them. Never blocks."""
        ...

    async def fetch(self, target: str, body: bytes) -> bytes:
        """The lines, after asking whoever makes them (in a thread; bounded in time; one question at a time).

        Raises: LocalError: `credential_missing: …` in the message; TransientError: nobody answered.
        """
        ...
