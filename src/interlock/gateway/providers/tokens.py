"""Tokens that somebody else makes: kept while they are good, renewed before they end, one question at a time.

Whom to ask, and how, is a function of google.py or azure.py; it runs in a thread. Here nothing blocks and nothing waits
longer than it may. A token that is still good is never given up because its renewal failed.
"""

import asyncio
from collections.abc import Callable

import msgspec

from interlock.clock import Clock
from interlock.errors import InterlockError, LocalError, TransientError

EARLY_S = 225
"""How long before its end a token is renewed. Metadata servers and the libraries' own caches give out the same token
until 4 to 5 minutes before it ends; google-auth's own threshold is this one."""
AGAIN_S = 30
"""How long after an answer the next question is asked at the earliest, while the token is good."""
TIMEOUT_S = 20.0
"""Longer than the libraries' own bound for one exchange, which ends the thread."""
MESSAGE_CHARS_MAX = 500

_S = 1_000_000_000


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What a question was answered with."""

    headers: dict[str, str]
    """Names and values, as they are sent."""
    expires_at_ns: int
    """Unix epoch, UTC."""


class TokenAuth:
    """Keeps one token. An `Auth`; for one event loop."""

    def __init__(self, ask: Callable[[], Token], clock: Clock, *, timeout_s: float = TIMEOUT_S) -> None:
        """ask: blocks until it has a token; raises LocalError where nobody will ever give one, else TransientError."""
        self._ask = ask
        self._clock = clock
        self._timeout_s = timeout_s
        self._asking: asyncio.Task[Token | InterlockError] | None = None
        self._lines = b""
        self._expires_at_ns = 0
        self._again_at_ns = 0

    def ready(self, target: str, body: bytes) -> bytes | None:
        """The lines, unless it is time to ask."""
        now_ns = self._clock.now_ns()
        return self._lines if now_ns < self._expires_at_ns and now_ns < self._again_at_ns else None

    async def fetch(self, target: str, body: bytes) -> bytes:
        """The lines. Whoever comes while a question is out waits for its answer.

        Raises: LocalError: `credential_missing: …`; TransientError: nobody answered, or not in time.
        """
        ready = self.ready(target, body)
        if ready is not None:
            return ready
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._question())
        asking = self._asking
        await asyncio.wait({asking}, timeout=self._timeout_s)  # leaves the question alone when its asker is cancelled
        if asking.done() and isinstance(asking.result(), Token):
            return self._lines
        if self._clock.now_ns() < self._expires_at_ns:
            return self._lines
        if not asking.done():
            raise TransientError(f"no token within {self._timeout_s:g} s", code="upstream_timeout")
        raise asking.result()  # type: ignore[misc]  # not a Token, so an error

    def _outcome(self) -> Token | InterlockError:
        """In a thread. An error is a value here: a future that nobody waits for any more would log it."""
        try:
            token = self._ask()
            _checked(token.headers)
        except InterlockError as error:
            return error
        except Exception as error:  # libraries that read JSON from the network raise anything
            return TransientError(f"no token: {type(error).__name__}: {error}"[:MESSAGE_CHARS_MAX])
        return token

    async def _question(self) -> Token | InterlockError:
        """Ask, and keep what was answered: when this is done, it is kept."""
        token = await asyncio.get_running_loop().run_in_executor(None, self._outcome)
        self._again_at_ns = self._clock.now_ns() + AGAIN_S * _S
        if isinstance(token, Token):
            self._lines = "".join(f"{name}: {value}\r\n" for name, value in token.headers.items()).encode()
            self._expires_at_ns = token.expires_at_ns
            self._again_at_ns = max(self._again_at_ns, token.expires_at_ns - EARLY_S * _S)
        return token


class StaticHeader:
    """A key that stays as it is. An `Auth`."""

    def __init__(self, name: str, secret: str) -> None:
        """name: of the header: `x-goog-api-key` (Gemini API), `api-key` (Azure).

        Raises: LocalError: the secret holds what no header may.
        """
        _checked({name: secret})
        self._lines = f"{name}: {secret}\r\n".encode()

    def ready(self, target: str, body: bytes) -> bytes:
        """The line."""
        return self._lines

    async def fetch(self, target: str, body: bytes) -> bytes:
        """The line."""
        return self._lines


def _checked(headers: dict[str, str]) -> None:
    for name, value in headers.items():
        if not value or not value.isascii() or not value.isprintable():
            raise LocalError(f"credential_missing: {name} is empty or holds what no header may", field="credential")
