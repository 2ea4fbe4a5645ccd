"""Who is being served: a client's session of the handshake revisions, or one request of the stateless one.

Each is the listener of its own upstream connections, so what an upstream says of its own accord reaches the client that
it is for, and nobody else.
"""

from collections.abc import Mapping
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import METHOD_NOT_FOUND, methods
from pydantic import BaseModel, ConfigDict, ValidationError

from interlock.door.link import Era, Link
from interlock.door.names import wrapped
from interlock.door.settings import ToolServer
from interlock.identity import Bearer

Context = ServerRequestContext[Any, Any]

PASSED_ON = frozenset(
    {
        "notifications/message",
        "notifications/resources/updated",
        "notifications/resources/list_changed",
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/elicitation/complete",
    }
)
ASK_S = 600.0
"""How long a person may take to answer what an upstream asks."""


class Raw(BaseModel):
    """A client's answer, as it is: upstreams check it."""

    model_config = ConfigDict(extra="allow")


class Session:
    """A client that said `initialize`, from its first request to its DELETE or its long silence."""

    era: Era = "handshake"

    def __init__(self, id: str, bearer: Bearer, now_s: float) -> None:
        self.id = id
        self.bearer = bearer
        self.used_s = now_s
        self.level = ""
        """Of log messages, if the client set one."""
        self.told: set[int] = set()
        """Links that know the level."""
        self.stale: set[str] = set()
        """Servers whose list of tools has changed since it was read."""
        self._last: Context | None = None

    def visited(self, context: Context, now_s: float) -> None:
        """A request of the client's: through it, the client can be told things."""
        self._last, self.used_s = context, now_s

    async def notified(self, link: Link, method: str, params: Mapping[str, Any]) -> None:
        """An upstream's notification goes to the client, with the request that it is for, if there is one."""
        if method == "notifications/tools/list_changed":
            self.stale.add(link.server.name)
        context = _answering(link) or self._last
        if context is None or method not in PASSED_ON:
            return
        if method == "notifications/resources/updated":
            params = {**params, "uri": wrapped(scheme_of(link.server), str(params.get("uri", "")))}
        try:
            notification = methods.parse_server_notification(method, context.protocol_version, params)
        except (KeyError, ValidationError):
            return  # the client's revision does not know it
        related = context.request_id if link.calls and method == "notifications/message" else None
        await context.session.send_notification(notification, related_request_id=related)  # type: ignore[arg-type]  # it is one of the server's, which the parser cannot say

    async def asked(self, link: Link, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """An upstream's question goes to the client on the stream of the request that it belongs to."""
        context = _answering(link)
        if context is None:
            raise MCPError(code=METHOD_NOT_FOUND, message="nobody is asking for anything just now")
        try:
            request: Any = methods.parse_server_request(method, context.protocol_version, params)
        except KeyError:
            raise MCPError(code=METHOD_NOT_FOUND, message="the client's revision does not know it") from None
        related = ServerMessageMetadata(related_request_id=context.request_id)
        answer = await context.session.send_request(request, Raw, ASK_S, metadata=related)
        return answer.model_dump(by_alias=True, mode="json")


class Visit:
    """One request of the stateless revision: it can be told things while it runs, and asked nothing."""

    era: Era = "stateless"

    def __init__(self, context: Context) -> None:
        self._context = context

    async def notified(self, link: Link, method: str, params: Mapping[str, Any]) -> None:
        """Log messages, if the client wants them, ride on the answer; there is no other stream."""
        if method != "notifications/message":
            return
        session = self._context.session
        await session.send_log_message(
            params.get("level", "info"), params.get("data"), params.get("logger"), self._context.request_id
        )

    async def asked(self, link: Link, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Raises: MCPError: this revision has the answer ask, not the server."""
        raise MCPError(code=METHOD_NOT_FOUND, message="the client cannot be asked in its revision")


class Nobody:
    """For a principal's own connection, which serves many requests: what is said on it is for none in particular."""

    async def notified(self, link: Link, method: str, params: Mapping[str, Any]) -> None:
        """It cannot be told whose it is."""

    async def asked(self, link: Link, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Raises: MCPError."""
        raise MCPError(code=METHOD_NOT_FOUND, message="the client cannot be asked in its revision")


def scheme_of(server: ToolServer) -> str:
    """What stands before its resources' addresses."""
    return "" if server.prefix == "" else server.name


def prefix_of(server: ToolServer) -> str:
    """What stands before the names of its tools and prompts."""
    return f"{server.name}__" if server.prefix is None else server.prefix


def _answering(link: Link) -> Context | None:
    return link.calls[-1] if link.calls else None
