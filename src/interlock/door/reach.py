"""From a request to the upstream that is to answer it: who asks, which servers are theirs, over which connection."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from interlock.door.absences import Absences
from interlock.door.allowed import may_reach
from interlock.door.link import Link
from interlock.door.links import Links
from interlock.door.settings import Tools, ToolServer
from interlock.door.visits import Context, Nobody, Session, Visit
from interlock.identity import Bearer

SCOPE_KEY = "interlock.bearer"
"""Where the application puts who asks, in a request's ASGI scope."""
TASKS = "io.modelcontextprotocol/tasks"
"""The extension of 2026-07-28; before, tasks were a capability."""
SESSION_IDLE_S = 1800.0
"""The SDK's own default, after which it forgets a session."""
SESSIONS_MAX = 2048
SESSIONS_OF_ONE_MAX = 256
"""Of one principal: one agent that opens sessions without end does not take the others' places."""


class Reach:
    """The servers of the configuration, and the sessions of clients."""

    def __init__(self, settings: Tools, links: Links, now_s: Callable[[], float]) -> None:
        self.settings = settings
        self.links = links
        self.now_s = now_s
        self.absences = Absences()
        self.sessions: dict[str, Session] = {}
        self._nobody = Nobody()

    async def adopt(self, settings: Tools) -> None:
        """Another configuration: connections to servers that are not the same any more end."""
        before = {server.name: server for server in self.settings.servers}
        after = {server.name: server for server in settings.servers}
        self.settings = settings
        others = {name for name, server in before.items() if after.get(name) != server}
        self.absences.forget(others)
        await self.links.forget(others)

    def bearer(self, context: Context) -> Bearer:
        """Who asks."""
        assert context.request is not None
        bearer: Bearer = context.request.scope[SCOPE_KEY]
        return bearer

    def servers(self, bearer: Bearer) -> list[ToolServer]:
        """Those that the caller may use anything of."""
        return [server for server in self.settings.servers if may_reach(bearer, server)]

    def session(self, context: Context) -> Session | None:
        """The client's session; None: its revision has none."""
        assert context.request is not None
        id_ = context.request.headers.get("mcp-session-id", "")
        if context.session.client_params is None or not id_ or context.protocol_version >= "2026":
            return None
        session = self.sessions.get(id_)
        if session is None:
            session = self.sessions[id_] = Session(id_, self.bearer(context), self.now_s())
        session.visited(context, self.now_s())
        return session

    def opened(self, session_id: str, bearer: Bearer) -> None:
        """A client has said `initialize`."""
        self.sessions[session_id] = Session(session_id, bearer, self.now_s())

    def full(self, bearer: Bearer) -> bool:
        """Whether a principal has as many sessions as it may."""
        who = (bearer.tenant, bearer.principal)
        mine = [one for one in self.sessions.values() if (one.bearer.tenant, one.bearer.principal) == who]
        return len(mine) >= SESSIONS_OF_ONE_MAX

    @asynccontextmanager
    async def link(self, context: Context, server: ToolServer) -> AsyncIterator[Link]:
        """The connection over which this request is to be answered. Raises: InterlockError: there is none."""
        bearer, session = self.bearer(context), self.session(context)
        capabilities = capabilities_of(context)
        single = None
        if session is not None:
            link = await self.links.kept(server, session.id, bearer, session, "handshake", capabilities)
            await self._tell_level(session, link)
        else:
            single = await self.links.single(server, bearer, Visit(context), capabilities)
            holder = msgspec.json.encode([bearer.tenant, bearer.principal]).decode()
            link = single or await self.links.kept(server, holder, bearer, self._nobody, "stateless", {})
        link.calls.append(context)
        try:
            yield link
        finally:
            link.calls.remove(context)
            link.used_s = self.now_s()
            if single is not None:
                await single.close()

    async def _tell_level(self, session: Session, link: Link) -> None:
        if session.level and id(link) not in session.told and "logging" in link.upstream:
            session.told.add(id(link))
            await link.request("logging/setLevel", {"level": session.level})

    async def end(self, session_id: str) -> None:
        """The client has ended its session."""
        if self.sessions.pop(session_id, None) is not None:
            await self.links.end(session_id)

    async def sweep(self) -> None:
        """Forget what nobody uses any more."""
        now_s = self.now_s()
        ended = [id_ for id_, session in self.sessions.items() if now_s - session.used_s > SESSION_IDLE_S]
        for id_ in ended:
            if any(link.calls for link in self.links.of(id_)):
                continue
            await self.end(id_)
        await self.links.sweep()


def capabilities_of(context: Context) -> Mapping[str, Any]:
    """What the client can do, as it said; an upstream is told the same, but for tasks, which are not passed on."""
    found = context.session.client_capabilities
    said = found.model_dump(by_alias=True, mode="json", exclude_none=True) if found is not None else {}
    said.pop("tasks", None)
    said.get("extensions", {}).pop(TASKS, None)
    return said
