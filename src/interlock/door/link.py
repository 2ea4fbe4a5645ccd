"""One connection to one upstream: the handshake of either revision, then requests as they came and results as they are.

It speaks the revision that its holder prefers if the upstream speaks that, else the other. A connection that ends, for
whatever reason, ends by itself: whoever waits for an answer hears that it is lost, and nobody else notices.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import anyio
import httpx2
from mcp.shared.dispatcher import CallOptions, ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
    mcp_param_headers,
    x_mcp_header_map,
)
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    PROTOCOL_VERSION_META_KEY,
    REQUEST_TIMEOUT,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION

from interlock import __version__
from interlock.door.broker import Attached
from interlock.door.settings import ToolServer
from interlock.door.transports import CONNECT_S, Streams, Tell, patience_s
from interlock.errors import InterlockError, RemoteError, TransientError

Era = Literal["handshake", "stateless"]
CLIENT = {"name": "interlock", "version": __version__}
META = "io.modelcontextprotocol/"
"""How keys of `_meta` begin that belong to one connection, and are not passed to the next."""
PASSED_META = frozenset({f"{META}logLevel", f"{META}related-task"})
TOLD_MAX = 64
"""Messages of an upstream's own accord that wait for a slow client; it misses those beyond."""
_OF_HTTP = ("Server returned an error", "Unexpected content type", "Redirect to", "server answered a request with 202")
"""How the SDK's own words for what is no answer begin."""

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who hears what an upstream says of its own accord."""

    async def notified(self, link: "Link", method: str, params: Mapping[str, Any]) -> None:
        """A notification."""

    async def asked(self, link: "Link", method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """A request of the upstream's to the client. Raises: MCPError."""
        ...


class Link:
    """From `start` to its end."""

    def __init__(
        self,
        server: ToolServer,
        open_streams: Callable[[Tell], AbstractAsyncContextManager[Streams]],
        listener: Listener,
        era: Era,
        capabilities: Mapping[str, Any],
    ) -> None:
        """
        Args:
            era: the revision that is tried first.
            capabilities: the client's, which it is told in the handshake.
        """
        self.server = server
        self.era = era
        self.calls: list[Any] = []
        """Requests of clients that are under way on it, the newest last."""
        self.kept = False
        """Somebody waits for its notifications: it is not idle."""
        self.used_s = 0.0
        self.who = ("", "")
        """The tenant and the principal in whose name it is."""
        self.upstream: dict[str, Any] = {}
        """What the upstream says that it can do."""
        self._open = open_streams
        self._listener = listener
        self._capabilities = dict(capabilities)
        self._version = ""
        self._dispatcher: JSONRPCDispatcher[Any]
        self._closing = anyio.Event()
        self._opening = anyio.CancelScope()
        self._telling = 0
        self._ready: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.auth: Attached | None = None
        """What attaches the credential, and knows why there was none."""
        self.why = ""
        """Why it ended."""

    @property
    def live(self) -> bool:
        """Whether it can be used, or will be."""
        return self._task is None or not (self._task.done() or self._closing.is_set())

    @property
    def opening(self) -> bool:
        """Whether somebody waits for its handshake."""
        return self._ready is not None and not self._ready.done()

    async def ready(self) -> None:
        """Wait for the handshake; whoever comes first begins it. Raises: InterlockError: there is no connection."""
        if self._task is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"link to {self.server.name}")
        assert self._ready is not None
        await asyncio.wait([self._ready])
        if error := self._ready.exception():
            raise error

    async def close(self) -> None:
        """End it, and wait until nothing of it is left."""
        self._closing.set()
        self._opening.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        assert self._ready is not None
        try:
            async with self._open(self._tell) as (read, write), anyio.create_task_group() as tasks:
                self._dispatcher = JSONRPCDispatcher(read, write)
                await tasks.start(self._dispatch)
                with self._opening:
                    async with asyncio.timeout(patience_s(self.server)):
                        await self._shake_hands()
                    self._ready.set_result(None)
                if self._ready.done():
                    await self._closing.wait()
                tasks.cancel_scope.cancel()
        except Exception as error:
            self._tell(_reason(error))
            if not self.why:
                _log.exception("a connection to %s ended", self.server.name)
                self.why = "a defect in Interlock; its log has more"
        finally:
            self._closing.set()
            if not self._ready.done():
                why = self.why or "its connection was closed"
                self._ready.set_exception(TransientError(f"tool server {self.server.name}: {why}"))
                self._ready.exception()  # it is told to whoever waits, if anybody does

    def _tell(self, why: str) -> None:
        self.why = self.why or why  # what comes later follows from it

    async def _dispatch(self, *, task_status: Any) -> None:
        await self._dispatcher.run(self._on_request, self._on_notify, task_status=task_status)
        self._closing.set()

    # the handshake

    async def _shake_hands(self) -> None:
        first, second = (self._discover, self._initialize)
        if self.era == "handshake":
            first, second = second, first
        try:
            await first()
        except MCPError as error:
            if error.code in (CONNECTION_CLOSED, REQUEST_TIMEOUT) and self.era == "handshake":
                raise
            await second()

    async def _initialize(self) -> None:
        params = {
            "protocolVersion": LATEST_HANDSHAKE_VERSION,
            "capabilities": self._capabilities,
            "clientInfo": CLIENT,
        }
        options: CallOptions = {"cancel_on_abandon": False, "timeout": self.server.timeout_s}
        result = await self._dispatcher.send_raw_request("initialize", params, options)
        version = result.get("protocolVersion")
        if version not in HANDSHAKE_PROTOCOL_VERSIONS:
            raise RemoteError(f"it speaks revision {str(version)[:20]!r}, which is not known", code="upstream_invalid")
        self._adopt("handshake", str(version), result)
        await self._dispatcher.notify("notifications/initialized", None, {"headers": self._headers("", {})})

    async def _discover(self) -> None:
        self.era, self._version = "stateless", LATEST_MODERN_VERSION
        params, options = self._stamped("server/discover", {}, self._capabilities, None)
        options |= {"cancel_on_abandon": False, "timeout": min(CONNECT_S, self.server.timeout_s)}
        result = await self._dispatcher.send_raw_request("server/discover", params, options)
        if LATEST_MODERN_VERSION not in (result.get("supportedVersions") or ()):
            raise MCPError(code=METHOD_NOT_FOUND, message="it speaks no stateless revision")
        self._adopt("stateless", LATEST_MODERN_VERSION, result)

    def _adopt(self, era: Era, version: str, result: Mapping[str, Any]) -> None:
        self.era, self._version = era, version
        capabilities = result.get("capabilities")
        self.upstream = capabilities if isinstance(capabilities, dict) else {}

    def known(self, capabilities: Mapping[str, Any]) -> None:
        """A stateless upstream whose answer to `server/discover` is known: nothing need be asked before a request."""
        self._adopt("stateless", LATEST_MODERN_VERSION, {"capabilities": capabilities})
        self._shake_hands = _nothing  # type: ignore[method-assign]  # there is none

    # requests

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        capabilities: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
        on_progress: ProgressFnT | None = None,
    ) -> dict[str, Any]:
        """The upstream's result, as it is.

        Args:
            capabilities: of the client that asks, for an upstream that is told with each request.
            schema: of the tool that is called: it may name arguments that stand in headers too.
        Raises: MCPError: the upstream's own error. TransientError: the connection is lost, and it may or may not have
            happened (`upstream_closed`), or it did not (`upstream_unreachable`). RemoteError `upstream_timeout`.
        """
        await self.ready()
        params, options = self._stamped(method, params, capabilities or self._capabilities, schema)
        options["timeout"] = self.server.timeout_s
        if on_progress is not None:
            options["on_progress"] = lambda *progress: self._told(on_progress(*progress))
        try:
            return await self._dispatcher.send_raw_request(method, params, options)
        except MCPError as error:
            self._judge(error)
            raise

    def _judge(self, error: MCPError) -> None:
        name = self.server.name
        if error.code == CONNECTION_CLOSED and self.auth is not None and self.auth.refused is not None:
            self._closing.set()
            raise TransientError(f"tool server {name}: {self.auth.refused.message}") from None
        if error.code == INVALID_REQUEST and error.message == "Session terminated":  # the SDK's words for a 404
            self._closing.set()
            raise TransientError(f"tool server {name} has forgotten the session") from None
        if error.code == CONNECTION_CLOSED:
            self._closing.set()
            why = f": {self.why}" if self.why else ""
            raise TransientError(f"tool server {name} ended while it was asked{why}", code="upstream_closed") from None
        if error.code == PARSE_ERROR:  # the SDK quotes what it could not read
            why = "is longer than it may be, or no message"
            raise RemoteError(f"the answer of tool server {name} {why}", code="upstream_invalid") from None
        if error.message.startswith(_OF_HTTP):
            told = error.message.partition(";")[0].partition("\n")[0]
            raise RemoteError(f"tool server {name}: {told[:300]}", code="upstream_error") from None
        if error.code == REQUEST_TIMEOUT:
            raise RemoteError(f"tool server {name} did not answer in time", code="upstream_timeout") from None

    def _stamped(
        self,
        method: str,
        params: Mapping[str, Any],
        capabilities: Mapping[str, Any],
        schema: Mapping[str, Any] | None,
    ) -> tuple[dict[str, Any], CallOptions]:
        """Params and options as this connection's revision wants them; of the client's `_meta`, what is not its own."""
        given = params.get("_meta")
        meta = dict(given) if isinstance(given, Mapping) else {}
        meta = {k: v for k, v in meta.items() if k != "progressToken" and (not k.startswith(META) or k in PASSED_META)}
        out = {**params, "_meta": meta}
        if self.era == "stateless":
            meta |= {
                PROTOCOL_VERSION_META_KEY: self._version,
                CLIENT_INFO_META_KEY: CLIENT,
                CLIENT_CAPABILITIES_META_KEY: dict(capabilities),
            }
        else:
            out.pop("inputResponses", None)
            out.pop("requestState", None)
        headers = self._headers(method, out)
        if self.era == "stateless" and schema is not None and method == "tools/call":
            headers |= mcp_param_headers(x_mcp_header_map(schema), out.get("arguments") or {})
        return out, {"headers": headers}

    def _headers(self, method: str, params: Mapping[str, Any]) -> dict[str, str]:
        headers = {MCP_PROTOCOL_VERSION_HEADER: self._version}
        if self.era == "stateless":
            headers[MCP_METHOD_HEADER] = method
            name = params.get(NAME_BEARING_METHODS.get(method, ""))
            if isinstance(name, str):
                headers[MCP_NAME_HEADER] = encode_header_value(name)
        return headers

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Tell the upstream something."""
        await self._dispatcher.notify(method, params, {"headers": self._headers(method, params)})

    # what the upstream says of its own accord

    async def _on_request(self, context: Any, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        if method == "ping":
            return {}
        return await self._listener.asked(self, method, params or {})

    async def _on_notify(self, context: Any, method: str, params: Mapping[str, Any] | None) -> None:
        await self._told(self._listener.notified(self, method, params or {}))

    async def _told(self, telling: Coroutine[Any, Any, None]) -> None:
        if self._telling >= TOLD_MAX:
            telling.close()
            return
        self._telling += 1
        try:
            await telling
        finally:
            self._telling -= 1


async def _nothing() -> None:
    """The handshake of who needs none."""


def _reason(error: BaseException) -> str:
    """One line; of a group, its first. Never a URL's query or a header: only what kind of thing happened.

    Empty: nothing that an upstream can bring about.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, InterlockError):
        return error.message
    late = isinstance(error, MCPError) and error.code == REQUEST_TIMEOUT
    if late or isinstance(error, TimeoutError | httpx2.TimeoutException):  # which is an OSError too
        return "it did not answer in time"
    if isinstance(error, MCPError):
        return f"it refuses the handshake: {error.message[:200]}"
    if isinstance(error, httpx2.ConnectError | OSError):
        return "no connection can be made"
    if isinstance(error, httpx2.HTTPError | httpx2.StreamError | anyio.BrokenResourceError | anyio.ClosedResourceError):
        return f"the connection broke ({type(error).__name__})"
    return ""
