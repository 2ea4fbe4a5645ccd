"""What there is: the lists of all servers that a caller may use, side by side. One that fails is named, and left out.

A tool is listed if the caller may call it and its description is the one that was approved. Lists of tools are read
anew each time somebody asks for them; a call trusts what was read up to LOOK_AGAIN_S before.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from mcp.shared.exceptions import MCPError

from interlock.door import names
from interlock.door.allowed import may_call, may_read
from interlock.door.approvals import Approvals
from interlock.door.link import Link
from interlock.door.reach import Reach
from interlock.door.settings import ToolServer
from interlock.door.visits import Context, prefix_of, scheme_of
from interlock.errors import InterlockError, RemoteError

LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
_MEMBERS = {
    "tools/list": ("tools", "tools"),
    "prompts/list": ("prompts", "prompts"),
    "resources/list": ("resources", "resources"),
    "resources/templates/list": ("resourceTemplates", "resources"),
}
"""The member of the result, and the capability that a server has it by."""
ITEMS_MAX = 1000
PAGES_MAX = 100
LIST_BYTES_MAX = 4 << 20
LOOK_AGAIN_S = 30.0
LISTINGS_MAX = 1024
NAME_CHARS_MAX = 128
UNAVAILABLE = "dev.interlock/unavailable"
"""In `_meta` of a list: which servers are missing from it, and why."""
OWN = "dev.interlock/tool"
"""In `_meta` of a listed tool: `server.tool`, by the server's own name for it, as rules name it."""

T = TypeVar("T")


class Tool(msgspec.Struct):
    """One tool of a server's list."""

    name: str
    """The server's own."""
    definition: dict[str, Any]
    refusal: str
    """Why it may not be used; empty: it may."""


class Listing(msgspec.Struct):
    """A server's tools, as one holder was shown them."""

    read_s: float
    tools: dict[str, Tool]
    """By the name under which they are listed."""


class Lists:
    """Reads lists, and remembers those of tools."""

    def __init__(self, reach: Reach, approvals: Approvals) -> None:
        self._reach = reach
        self._approvals = approvals
        self._listings: dict[tuple[str, str], Listing] = {}
        self._schemas: dict[str, Mapping[str, Any]] = {}

    async def merged(self, context: Context, method: str) -> dict[str, Any]:
        """One list of all servers."""
        member, _ = _MEMBERS[method]
        bearer = self._reach.bearer(context)
        servers = self._reach.servers(bearer)
        if method != "tools/list":
            servers = [server for server in servers if may_read(bearer, server)]
        ask = self._tools_of if method == "tools/list" else self._others_of
        found, failures = await gathered(servers, lambda server: ask(context, server, method))
        result: dict[str, Any] = {member: [item for items in found for item in items]}
        if failures:
            result["_meta"] = {UNAVAILABLE: failures}
        return result

    async def _tools_of(self, context: Context, server: ToolServer, method: str) -> list[dict[str, Any]]:
        bearer = self._reach.bearer(context)
        listing = await self.listing(context, server, age_s=0.0)
        return [
            {**tool.definition, "name": name, "_meta": {**_meta(tool.definition), OWN: f"{server.name}.{tool.name}"}}
            for name, tool in listing.tools.items()
            if not tool.refusal and may_call(bearer, server, tool.name)
        ]

    async def _others_of(self, context: Context, server: ToolServer, method: str) -> list[dict[str, Any]]:
        member, capability = _MEMBERS[method]
        async with self._reach.link(context, server) as link:
            if capability not in link.upstream:
                return []
            items = await pages(link, method, member)
        if method == "prompts/list":
            shown = {name: under for under, name in _own(server, items).items()}
            return [{**item, "name": shown[item["name"]]} for item in items if _named(item)]
        key = "uri" if method == "resources/list" else "uriTemplate"
        scheme = scheme_of(server)
        return [{**item, key: names.wrapped(scheme, item[key])} for item in items if isinstance(item.get(key), str)]

    async def prompts(self, context: Context, server: ToolServer) -> Mapping[str, str]:
        """A server's own names of its prompts, by those they are listed under. Raises: InterlockError, MCPError."""
        async with self._reach.link(context, server) as link:
            return _own(server, await pages(link, "prompts/list", "prompts") if "prompts" in link.upstream else [])

    async def listing(self, context: Context, server: ToolServer, *, age_s: float = LOOK_AGAIN_S) -> Listing:
        """A server's tools, read not longer ago than that.

        Raises: InterlockError, MCPError: the server did not say.
        """
        session, bearer = self._reach.session(context), self._reach.bearer(context)
        holder = session.id if session else f"{bearer.tenant} {bearer.principal}"
        known = self._listings.get((server.name, holder))
        stale = session is not None and server.name in session.stale
        if known is not None and not stale and self._reach.now_s() - known.read_s < age_s:
            return await self._judged(server, known)
        if session is not None:
            session.stale.discard(server.name)
        try:
            async with self._reach.link(context, server) as link:
                items = await pages(link, "tools/list", "tools") if "tools" in link.upstream else []
        except (InterlockError, MCPError) as error:
            self._reach.absences.failed(server.name, bearer, _why(error), self._reach.now_s())
            raise
        self._reach.absences.answered(server.name, bearer)
        tools = {item["name"]: item for item in items if _named(item) and isinstance(item.get("inputSchema"), dict)}
        shown = names.listed(prefix_of(server), tools)
        made = {u: Tool(n, tools[n], "not looked at") for u, n in shown.items()}
        listing = await self._judged(server, Listing(self._reach.now_s(), made))
        if len(self._listings) >= LISTINGS_MAX:
            self._listings.pop(next(iter(self._listings)))
        self._listings[server.name, holder] = listing
        self._schemas |= {u: tool.definition["inputSchema"] for u, tool in made.items() if not tool.refusal}
        return listing

    async def _judged(self, server: ToolServer, listing: Listing) -> Listing:
        """Anew each time: an approval counts from the moment that it was answered."""
        definitions = [tool.definition for tool in listing.tools.values()]
        refusals = await self._approvals.judge(server.name, definitions, self._reach.settings.first_seen)
        for tool in listing.tools.values():
            tool.refusal = refusals[tool.name]
        return listing

    def schema(self, name: str) -> Mapping[str, Any] | None:
        """The input schema of an approved tool, if it was ever listed: the SDK compares headers with it."""
        return self._schemas.get(name)

    def forget(self) -> None:
        """The configuration is another."""
        self._listings.clear()
        self._schemas.clear()


async def gathered(
    servers: Sequence[ToolServer], ask: Callable[[ToolServer], Coroutine[Any, Any, T]]
) -> tuple[list[T], dict[str, str]]:
    """(answers in the order of the servers, why others gave none), all asked at once."""
    answers: dict[str, T] = {}
    failures: dict[str, str] = {}

    async def one(server: ToolServer) -> None:
        try:
            answers[server.name] = await ask(server)
        except (InterlockError, MCPError) as error:
            failures[server.name] = _why(error)

    async with asyncio.TaskGroup() as tasks:
        for server in servers:
            tasks.create_task(one(server))
    return [answers[server.name] for server in servers if server.name in answers], failures


def _why(error: InterlockError | MCPError) -> str:
    return error.message if isinstance(error, InterlockError) else f"it answers with an error: {error.message[:300]}"


async def pages(link: Link, method: str, member: str) -> list[dict[str, Any]]:
    """All pages of a list, as one. Raises: RemoteError: it is no list, or too long."""
    items: list[dict[str, Any]] = []
    cursor, size = None, 0
    for _ in range(PAGES_MAX):
        page = await link.request(method, {"cursor": cursor} if cursor else {})
        found = page.get(member)
        size += len(msgspec.json.encode(page))
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise RemoteError(f"its answer to {method} is no list", code="upstream_invalid")
        items += found
        if len(items) > ITEMS_MAX or size > LIST_BYTES_MAX:
            raise RemoteError(
                f"it lists more than {ITEMS_MAX} items or {LIST_BYTES_MAX} bytes", code="upstream_invalid"
            )
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str):
            return items
    raise RemoteError(f"its list has more than {PAGES_MAX} pages", code="upstream_invalid")


def _own(server: ToolServer, items: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    return names.listed(prefix_of(server), [item["name"] for item in items if _named(item)])


def _meta(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = definition.get("_meta")
    return meta if isinstance(meta, Mapping) else {}


def _named(item: Mapping[str, Any]) -> bool:
    name = item.get("name")
    return isinstance(name, str) and 0 < len(name) <= NAME_CHARS_MAX and name.isprintable()
