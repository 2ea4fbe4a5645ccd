"""The connections to upstreams: opened when needed, one for each holder, closed when idle, never too many.

A holder is a client's session, or a principal: state that an upstream keeps for a connection is never seen by another.
An upstream that cannot be reached is left alone for a while, by the principal who tried and nobody else.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import msgspec

from interlock.door.broker import Attached, Broker
from interlock.door.link import Era, Link, Listener
from interlock.door.sandbox import Sandboxes
from interlock.door.settings import ToolServer
from interlock.door.transports import Streams, Tell, over_http, over_pipes
from interlock.errors import InterlockError, LocalError, TransientError
from interlock.identity import Bearer

LINKS_MAX = 256
"""Kept open at once."""
LINKS_OF_TENANT_MAX, LINKS_OF_ONE_MAX = 192, 64
"""Of them, of one tenant and of one principal: whoever uses many servers at once does not take the others' places."""
IDLE_S = 300.0
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.5, 30.0
STAYS_KNOWN_S = 300.0
"""How long an upstream's answer to `server/discover` is taken as still true."""


class Key(NamedTuple):
    """Whose connection to which server."""

    server: str
    holder: str


class Rest(msgspec.Struct):
    """After a failure."""

    failures: int
    until_s: float
    why: str


class Links:
    """All of one door."""

    def __init__(self, broker: Broker, sandboxes: Sandboxes, now_s: Callable[[], float]) -> None:
        self._broker = broker
        self._sandboxes = sandboxes
        self._now_s = now_s
        self._links: dict[Key, Link] = {}
        self._resting: dict[tuple[str, str, str], Rest] = {}
        self._stateless: dict[str, tuple[float, Mapping[str, Any]]] = {}  # what those servers can do, and until when

    async def kept(
        self,
        server: ToolServer,
        holder: str,
        bearer: Bearer,
        listener: Listener,
        era: Era,
        capabilities: Mapping[str, Any],
    ) -> Link:
        """The holder's connection, opened if need be.

        Raises: InterlockError: there is none, or too many are open.
        """
        key = Key(server.name, holder)
        while (link := self._links.get(key)) is None or not link.live:
            self._check_rest(server, bearer)
            if not (full := self._full(bearer)):
                link = self._links[key] = self._made(server, bearer, listener, era, capabilities)
                break
            await self._make_room(*full)  # meanwhile others may have taken it, or opened this very connection
        link.used_s = self._now_s()
        await self._readied(link, bearer)
        return link

    async def single(
        self, server: ToolServer, bearer: Bearer, listener: Listener, capabilities: Mapping[str, Any]
    ) -> Link | None:
        """A connection for one request of the stateless revision, to be closed after it; None: the server has none."""
        if server.command:
            return None
        now_s = self._now_s()
        until_s, known = self._stateless.get(server.name, (0.0, {}))
        if until_s > now_s and not known:
            return None  # it is known to speak the older revision only
        self._check_rest(server, bearer)
        link = self._made(server, bearer, listener, "stateless", capabilities)
        if until_s > now_s:
            link.known(known)
        try:
            await self._readied(link, bearer)
        except asyncio.CancelledError:  # who asked has hung up, and nobody else holds it
            await link.close()
            raise
        if link.era != "stateless":
            self._stateless[server.name] = (now_s + STAYS_KNOWN_S, {})
            await link.close()
            return None
        if until_s <= now_s:
            self._stateless[server.name] = (now_s + STAYS_KNOWN_S, link.upstream or {"tools": {}})
        return link

    def of(self, holder: str) -> list[Link]:
        """Those of one holder that are open."""
        return [link for key, link in self._links.items() if key.holder == holder and link.live]

    async def end(self, holder: str) -> None:
        """The holder is gone."""
        await self._close([key for key in self._links if key.holder == holder])

    async def sweep(self) -> None:
        """Close what is idle or dead."""
        now_s = self._now_s()
        idle = [k for k, link in self._links.items() if not link.live or self._is_idle(link, now_s)]
        await self._close(idle)
        self._resting = {name: rest for name, rest in self._resting.items() if rest.until_s + BACKOFF_S_MAX > now_s}

    async def forget(self, servers: set[str]) -> None:
        """These servers are others now, or gone."""
        await self._close([key for key in self._links if key.server in servers])
        self._stateless = {name: known for name, known in self._stateless.items() if name not in servers}
        self._resting = {name: rest for name, rest in self._resting.items() if name[0] not in servers}

    async def close(self) -> None:
        """All of them."""
        await self._close(list(self._links))

    def _is_idle(self, link: Link, now_s: float) -> bool:
        return not link.calls and not link.kept and now_s - link.used_s > IDLE_S

    def _full(self, bearer: Bearer) -> tuple[str, list[Key]] | None:
        """The bound that is reached, in words, and the connections that it counts; None: there is room."""
        mine = [key for key, link in self._links.items() if link.who == (bearer.tenant, bearer.principal)]
        if len(mine) >= LINKS_OF_ONE_MAX:
            return f"a principal may have {LINKS_OF_ONE_MAX} connections to tool servers, and all of them", mine
        ours = [key for key, link in self._links.items() if link.who[0] == bearer.tenant]
        if len(ours) >= LINKS_OF_TENANT_MAX:
            return f"a tenant may have {LINKS_OF_TENANT_MAX} connections to tool servers, and all of them", ours
        if len(self._links) >= LINKS_MAX:
            return f"{LINKS_MAX} connections to tool servers", list(self._links)
        return None

    async def _make_room(self, bound: str, among: list[Key]) -> None:
        free = [key for key in among if not self._links[key].calls and not self._links[key].opening]
        if not free:
            raise LocalError(f"{bound} are in use; retry", code="busy")
        await self._close([min(free, key=lambda key: self._links[key].used_s)])

    async def _close(self, keys: list[Key]) -> None:
        links = [self._links.pop(key) for key in keys]
        async with asyncio.TaskGroup() as tasks:
            for link in links:
                tasks.create_task(link.close())

    def _made(
        self, server: ToolServer, bearer: Bearer, listener: Listener, era: Era, capabilities: Mapping[str, Any]
    ) -> Link:
        auth = self._broker.auth(server, bearer)
        link = Link(server, self._opener(server, auth), listener, era, capabilities)
        link.auth, link.who = auth, (bearer.tenant, bearer.principal)
        return link

    def _opener(
        self, server: ToolServer, auth: Attached | None
    ) -> Callable[[Tell], AbstractAsyncContextManager[Streams]]:
        if server.command:
            return lambda tell: over_pipes(server, self._sandboxes, self._broker.redactor, tell)
        return lambda tell: over_http(server, auth, self._broker.redactor, tell)

    async def _readied(self, link: Link, bearer: Bearer) -> None:
        name = (link.server.name, bearer.tenant, bearer.principal)
        try:
            await link.ready()
        except InterlockError as error:
            failures = self._resting[name].failures + 1 if name in self._resting else 1
            wait_s = min(BACKOFF_S_MIN * 2 ** min(failures - 1, 16), BACKOFF_S_MAX)
            refused = link.auth.refused if link.auth is not None else None
            why = f"tool server {link.server.name}: {refused.message}" if refused is not None else error.message
            self._resting[name] = Rest(failures, self._now_s() + wait_s, why)
            raise TransientError(why) from None
        self._resting.pop(name, None)

    def _check_rest(self, server: ToolServer, bearer: Bearer) -> None:
        rest = self._resting.get((server.name, bearer.tenant, bearer.principal))
        if rest is not None and rest.until_s > self._now_s():
            raise TransientError(f"{rest.why}; tried again in {rest.until_s - self._now_s():.1f} s")
