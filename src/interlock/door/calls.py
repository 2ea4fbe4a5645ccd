"""One thing of one server: a tool called, a prompt or a resource read. What fails is told to the caller, and bounded.

A failure of a tool is the tool's result, marked as an error, so that a model sees it and can go on; only what is not
there for the caller is an error of the protocol.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS

from interlock.door import names
from interlock.door.allowed import may_call, may_read
from interlock.door.arguments import checker
from interlock.door.link import Link
from interlock.door.lists import Lists, Tool
from interlock.door.reach import Reach, capabilities_of
from interlock.door.settings import ToolServer
from interlock.door.visits import Context, prefix_of, scheme_of
from interlock.errors import InterlockError, RemoteError, TransientError

ROUNDS_MAX = 10
"""How often a server may ask before it answers."""
FORGOTTEN_TRIES = 2
"""A request that an upstream refused because it has forgotten the session did nothing: it is sent once more."""


class Calls:
    """Asks the server that is meant."""

    def __init__(self, reach: Reach, lists: Lists) -> None:
        self._reach = reach
        self._lists = lists

    async def call(self, context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
        """tools/call. Raises: MCPError: there is no such tool for the caller, or the server's own error."""
        name = str(params["name"])
        try:
            server, tool = await self._tool(context, name)
            if tool.refusal:
                return _failed(f"{name} is refused: {tool.refusal}")
            if _only_as_a_task(tool):
                return _failed(f"{name} is not called: it runs only as a task, and tasks are not offered here")
            schema = tool.definition["inputSchema"]
            problem = await asyncio.to_thread(_problem, schema, params.get("arguments") or {})
            if problem:
                return _failed(f"{name} is not called: {problem}")
            asked = {key: value for key, value in params.items() if key != "task"}  # as who offers no tasks has to
            result = await self._ask(context, server, "tools/call", {**asked, "name": tool.name}, schema)
        except InterlockError as error:
            return _failed(error.message)
        return _addressed(scheme_of(server), result)

    async def _tool(self, context: Context, name: str) -> tuple[ToolServer, Tool]:
        bearer = self._reach.bearer(context)
        for server in self._among(context, name):
            tool = (await self._lists.listing(context, server)).tools.get(name)
            if tool is not None and may_call(bearer, server, tool.name):
                return server, tool
        raise _unknown("tool", name)

    def _among(self, context: Context, name: str) -> list[ToolServer]:
        """The servers that a name may be of, the longest prefix first."""
        found = [s for s in self._reach.servers(self._reach.bearer(context)) if name.startswith(prefix_of(s))]
        return sorted(found, key=lambda server: len(prefix_of(server)), reverse=True)

    async def prompt(self, context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
        """prompts/get. Raises: MCPError."""
        server, name = await self._prompt(context, str(params["name"]))
        result = await self._told(context, server, "prompts/get", {**params, "name": name})
        return _addressed(scheme_of(server), result)

    async def _prompt(self, context: Context, name: str) -> tuple[ToolServer, str]:
        bearer = self._reach.bearer(context)
        for server in self._among(context, name):
            if not may_read(bearer, server):
                continue
            if server.prefix == "":
                return server, name
            try:
                own = await self._lists.prompts(context, server)
            except InterlockError as error:
                raise MCPError(code=INTERNAL_ERROR, message=f"interlock: {error.message}") from None
            if name in own:
                return server, own[name]
        raise _unknown("prompt", name)

    async def resource(self, context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
        """resources/read, /subscribe and /unsubscribe. Raises: MCPError."""
        server, uri = self._holder(context, str(params["uri"]))
        result = await self._told(context, server, context.method, {**params, "uri": uri})
        session = self._reach.session(context)
        if context.method == "resources/subscribe" and session is not None:
            for link in self._reach.links.of(session.id):
                link.kept = link.kept or link.server is server
        return _addressed(scheme_of(server), result)

    def _holder(self, context: Context, uri: str) -> tuple[ToolServer, str]:
        bearer = self._reach.bearer(context)
        scheme, own = names.unwrapped(uri)
        for server in self._reach.servers(bearer):
            if may_read(bearer, server) and scheme_of(server) == scheme:
                return server, own
        for server in self._reach.servers(bearer):  # a plus sign of the address's own
            if may_read(bearer, server) and scheme_of(server) == "":
                return server, uri
        raise MCPError(code=INVALID_PARAMS, message="no such resource", data={"uri": uri})

    async def complete(self, context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
        """completion/complete. Raises: MCPError."""
        ref = dict(params["ref"])
        if "uri" in ref:
            server, ref["uri"] = self._holder(context, str(ref["uri"]))
        else:
            server, ref["name"] = await self._prompt(context, str(ref.get("name", "")))
        return await self._told(context, server, "completion/complete", {**params, "ref": ref})

    async def set_level(self, context: Context, level: str) -> dict[str, Any]:
        """logging/setLevel: of this session, for servers that are connected and those to come."""
        session = self._reach.session(context)
        if session is not None:
            session.level, session.told = level, set()
        return {}

    async def _told(
        self, context: Context, server: ToolServer, method: str, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """As `_ask`; where there is no result that could be marked as an error, an error of the protocol."""
        try:
            return await self._ask(context, server, method, params)
        except InterlockError as error:
            raise MCPError(code=INTERNAL_ERROR, message=f"interlock: {error.message}") from None

    async def _ask(
        self,
        context: Context,
        server: ToolServer,
        method: str,
        params: Mapping[str, Any],
        schema: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The server's result. Raises: InterlockError: it was not to be had, or is too large. MCPError: its own."""
        token = (context.meta or {}).get("progress_token")

        async def report(progress: float, total: float | None, message: str | None) -> None:
            await context.session.report_progress(progress, total, message)

        for tries in range(1, FORGOTTEN_TRIES + 1):
            async with self._reach.link(context, server) as link:
                try:
                    result = await self._answered(
                        context,
                        link,
                        method,
                        params,
                        capabilities=capabilities_of(context),
                        schema=schema,
                        on_progress=report if token is not None else None,
                    )
                    break
                except TransientError as error:
                    if error.code != "upstream_unreachable" or tries == FORGOTTEN_TRIES:
                        raise
        if (size := len(msgspec.json.encode(result))) > server.result_bytes:
            told = f"the result of {server.name} is {size} bytes, and {server.result_bytes} are allowed"
            raise RemoteError(told, code="upstream_invalid")
        return result

    async def _answered(
        self, context: Context, link: Link, method: str, params: Mapping[str, Any], **options: Any
    ) -> dict[str, Any]:
        """The result; what a server of the stateless revision asks in it, a client with a session is asked directly."""
        session = self._reach.session(context)
        for _ in range(ROUNDS_MAX):
            result = await link.request(method, params, **options)
            requests = result.get("inputRequests")
            if session is None or result.get("resultType") != "input_required":
                return result
            answers = {}
            for name, request in requests.items() if isinstance(requests, dict) else ():
                answers[name] = await session.asked(link, str(request["method"]), request.get("params") or {})
            params = {**params, "inputResponses": answers, "requestState": result.get("requestState")}
            if result.get("requestState") is None:
                params.pop("requestState")
        raise RemoteError(f"{link.server.name} asked more than {ROUNDS_MAX} times", code="upstream_invalid")


def _problem(schema: Mapping[str, Any], arguments: Any) -> str:
    return checker(msgspec.json.encode(schema)).problem(arguments)


def _only_as_a_task(tool: Tool) -> bool:
    execution = tool.definition.get("execution")
    return isinstance(execution, dict) and execution.get("taskSupport") == "required"


def _failed(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": f"interlock: {text}"}], "isError": True}


def _unknown(what: str, name: str) -> MCPError:
    return MCPError(code=INVALID_PARAMS, message=f"Unknown {what}: {name[:128]}")


def _addressed(scheme: str, result: dict[str, Any]) -> dict[str, Any]:
    """The result with its resources' addresses as they are known here."""
    if not scheme:
        return result
    found = dict(result)
    for member in ("content", "contents", "messages"):
        if isinstance(items := result.get(member), list):
            found[member] = [_addressed_item(scheme, item) for item in items]
    return found


def _addressed_item(scheme: str, item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    item = dict(item)
    if isinstance(item.get("uri"), str):
        item["uri"] = names.wrapped(scheme, item["uri"])
    for inner in ("resource", "content"):
        if isinstance(item.get(inner), dict):
            item[inner] = _addressed_item(scheme, item[inner])
    return item
