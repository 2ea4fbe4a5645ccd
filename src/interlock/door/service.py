"""The door: MCP's methods, answered from many upstreams as if they were one server.

Results pass as the upstreams gave them, but for names and addresses (names.py), what is too large, and what the
client's revision does not have. One upstream that fails is left out of a list, and is a tool error to who calls it.
"""

from collections.abc import Mapping
from typing import Any

from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, SERVER_INFO_META_KEY, methods
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from interlock import __version__
from interlock.door.calls import Calls
from interlock.door.envelope import parameter
from interlock.door.lists import LISTS, Lists
from interlock.door.reach import Reach
from interlock.door.visits import Context

_METHODS = (
    *LISTS,
    "tools/call",
    "prompts/get",
    "resources/read",
    "completion/complete",
    "resources/subscribe",
    "resources/unsubscribe",
    "logging/setLevel",
)
_LATER = ("resultType", "ttlMs", "cacheScope", "inputRequests", "requestState")
"""Of the stateless revision's results; the others have none of them."""
_CACHEABLE = frozenset((*LISTS, "resources/read"))


class Door:
    """One server to its clients."""

    def __init__(self, reach: Reach, lists: Lists, calls: Calls) -> None:
        self._reach = reach
        self._lists = lists
        self._calls = calls
        self.server: Server[Any] = Server(
            "interlock",
            version=__version__,
            title="Interlock",
            get_tool_input_schema=lists.schema,
        )
        for method in _METHODS:
            self.server.add_request_handler(method, methods.MONOLITH_REQUESTS[method], self._handle)
        self.server.middleware = [self._as_it_came]

    async def _handle(self, context: Context, params: Any) -> dict[str, Any]:
        return await self.answer(context)

    async def _as_it_came(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """The SDK's own way out drops what its models do not know: a result that is passed on goes around it."""
        context, method, version = ctx, ctx.method, ctx.protocol_version
        if method not in _METHODS or context.request_id is None:
            return await call_next(context)
        stateless = version in MODERN_PROTOCOL_VERSIONS
        try:
            methods.validate_client_request(method, version, context.params)
        except KeyError:
            return await call_next(context)  # not of this revision, and told so there
        except ValidationError as error:
            raise MCPError(code=INVALID_PARAMS, message=parameter(error)) from error
        if not stateless and context.session.client_params is None:
            return await call_next(context)  # nor before the handshake
        return self._shaped(await self.answer(context), method, stateless=stateless)

    async def answer(self, context: Context) -> dict[str, Any]:
        """The result of one request. Raises: MCPError."""
        params = context.params or {}
        match context.method:
            case "tools/call":
                return await self._calls.call(context, params)
            case "prompts/get":
                return await self._calls.prompt(context, params)
            case "resources/read" | "resources/subscribe" | "resources/unsubscribe":
                return await self._calls.resource(context, params)
            case "completion/complete":
                return await self._calls.complete(context, params)
            case "logging/setLevel":
                return await self._calls.set_level(context, str(params["level"]))
            case method:
                if params.get("cursor") is not None:
                    raise MCPError(code=INVALID_PARAMS, message="a list has one page here: no cursor was given out")
                return await self._lists.merged(context, method)

    def _shaped(self, result: dict[str, Any], method: str, *, stateless: bool) -> dict[str, Any]:
        if not stateless:
            return {key: value for key, value in result.items() if key not in _LATER}
        meta = result.get("_meta")
        stamp = {SERVER_INFO_META_KEY: self.server.server_info_stamp}
        result = {**result, "_meta": {**(meta if isinstance(meta, Mapping) else {}), **stamp}}
        result.setdefault("resultType", "complete")
        if method in _CACHEABLE and result["resultType"] == "complete":
            result.setdefault("ttlMs", 0)
            result["cacheScope"] = "private"  # what one caller may see is not for another
        return result
