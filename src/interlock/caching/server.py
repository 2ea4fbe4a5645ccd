"""A Valkey or Redis server as the shelf. It maps the client's types and exceptions; what is kept is not its business.

Two keys a question, in one slot of a cluster: `interlock:cache:1:TENANT:{HEX}` holds the answer, the same with `:lead`
the token of whoever makes it. An operator deletes a tenant's entries by that prefix.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from valkey.asyncio import Connection, ConnectionPool, SSLConnection, Valkey
from valkey.asyncio.connection import parse_url
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import ConnectionError as NotConnected
from valkey.exceptions import ValkeyError

from interlock.caching.fuse import Fuse
from interlock.caching.ports import LEASE_MS, Claim
from interlock.caching.settings import Settings
from interlock.credentials import read_credential

CONNECTIONS_MAX = 32
SLICES = 5
"""Patience is counted in so many turns of the loop: while this worker itself is busy, the server has time."""
PUT_PATIENCE = 10
"""Writing an answer is waited for by nobody, and may be large: it has so many times as long."""
PREFIX = "interlock:cache:1"

_log = logging.getLogger(__name__)

# KEYS: answer, lead. ARGV: token, lease in ms.
_CLAIM = """
local kept = redis.call('GET', KEYS[1])
if kept then return kept end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
"""
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
# KEYS: answer, lead. ARGV: token, the answer, its lifetime in ms.
_PUT = """
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
"""
_GIVE_UP = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class ServerShelf:
    """ports.Shelf over the network. Connects when it is first asked."""

    def __init__(self, settings: Settings, now_s: Callable[[], float]) -> None:
        """Raises: LocalError: its password is not where the settings say; OSError: nor is the `ca_bundle`."""
        password = read_credential(settings.credential) if settings.credential else None
        options: dict[str, Any] = {
            **parse_url(settings.url),
            "password": password,
            "socket_timeout": None,  # `_ask` keeps the time
            "socket_connect_timeout": None,
            "retry": Retry(NoBackoff(), 0),
            "max_connections": CONNECTIONS_MAX,
        }
        if options.get("connection_class") is SSLConnection:
            context = ssl.create_default_context(cafile=settings.ca_bundle or None)
            options |= {"connection_class": _Tls, "context": context}
        self._client = Valkey.from_pool(ConnectionPool(**options))
        self._scripts = {text: self._client.register_script(text) for text in (_CLAIM, _RENEW, _PUT, _GIVE_UP)}
        self._name = settings.url.rpartition("@")[2]
        self._patience_s = settings.timeout_ms / 1000
        self._now_s = now_s
        self._fuse = Fuse()
        self._turns = asyncio.Semaphore(CONNECTIONS_MAX)  # so that waiting for a connection is not the server's time

    @property
    def away(self) -> bool:
        """Whether it is left alone just now."""
        return self._fuse.blown

    async def claim(self, tenant: str, key: bytes, token: bytes) -> bytes | Claim:
        answer, lead = _places(tenant, key)
        found = await self._ask(_CLAIM, [answer, lead], [token, LEASE_MS])
        if isinstance(found, bytes):
            return found
        return "away" if found is None else "lead" if found else "wait"

    async def renew(self, tenant: str, key: bytes, token: bytes) -> None:
        await self._ask(_RENEW, [_places(tenant, key)[1]], [token, LEASE_MS])

    async def put(self, tenant: str, key: bytes, token: bytes, data: bytes, lifetime_ms: int) -> None:
        await self._ask(_PUT, list(_places(tenant, key)), [token, data, lifetime_ms], PUT_PATIENCE)

    async def give_up(self, tenant: str, key: bytes, token: bytes) -> None:
        await self._ask(_GIVE_UP, [_places(tenant, key)[1]], [token])

    async def close(self) -> None:
        with contextlib.suppress(ValkeyError, OSError):
            await self._client.aclose()
            await self._client.connection_pool.disconnect()

    async def _ask(self, script: str, keys: list[str], args: list[Any], times: int = 1) -> bytes | int | None:
        """What a script answers; None: nobody did."""
        async with self._turns:
            if not self._fuse.lets(self._now_s()):
                return None
            try:
                found = await _within(self._scripts[script](keys=keys, args=args), self._patience_s * times)
            except (ValkeyError, OSError) as error:  # TimeoutError is an OSError
                sure = isinstance(error, NotConnected | ConnectionError)
                if self._fuse.failed(self._now_s(), sure=sure):
                    _log.warning("the cache server %s is left alone: %s", self._name, _said(error))
                return None
        if self._fuse.worked():
            _log.warning("the cache server %s answers again", self._name)
        return found if isinstance(found, bytes | int) else None


class _Tls(Connection):
    """The client's own makes a context for each connection, and reads all authorities for it: 20 ms on the loop."""

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self._context = context

    def _connection_arguments(self) -> dict[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._context}


async def _within(asked: Awaitable[Any], patience_s: float) -> Any:
    """What is asked for. Raises: TimeoutError: the loop has turned often enough, and it is not there.

    Cancelled in between, the client closes its connection: a late answer is never another question's.
    """
    asking = asyncio.ensure_future(asked)
    try:
        for _ in range(SLICES):
            done, _pending = await asyncio.wait({asking}, timeout=patience_s / SLICES)
            if done:
                return asking.result()
        raise TimeoutError("no answer in time")
    finally:
        if not asking.done():
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError, ValkeyError, OSError):
                await asking


def _places(tenant: str, key: bytes) -> tuple[str, str]:
    """Where the answer and its lead stand."""
    place = f"{PREFIX}:{tenant}:{{{key.hex()}}}"
    return place, f"{place}:lead"


def _said(error: Exception) -> str:
    """An error for the log: of the server's own words only the first, which is its kind (NOAUTH, OOM, READONLY)."""
    text = str(error) or type(error).__name__
    return text if isinstance(error, NotConnected | OSError) else text.partition(" ")[0]
