"""The door as an application: workers speak to it over a Unix socket, and it believes them who asks.

A session belongs to the principal who opened it: with anybody else's key its id is that of no session. Pages that a
browser has loaded from elsewhere may not call (their Origin says so), unless the configuration names them.
"""

from base64 import urlsafe_b64decode
from binascii import Error
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from interlock.door import envelope
from interlock.door.reach import SCOPE_KEY, SESSION_IDLE_S, SESSIONS_MAX, Reach
from interlock.identity import Bearer

CALLER_HEADER = "x-interlock-caller"
"""Set by the worker (gateway/doorway.py), never passed on from a client."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Mcp:
    """What stands before the SDK's session manager."""

    def __init__(self, sessions: StreamableHTTPSessionManager, reach: Reach) -> None:
        self._sessions = sessions
        self._reach = reach

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of a worker's."""
        request = Request(scope, receive)
        bearer = _bearer(request.headers.get(CALLER_HEADER, ""))
        if bearer is None:
            await PlainTextResponse("workers alone are served here", 403)(scope, receive, send)
            return
        if not self._welcome(request.headers.get("origin", "")):
            await PlainTextResponse("requests of pages from this origin are refused", 403)(scope, receive, send)
            return
        session_id = request.headers.get("mcp-session-id", "")
        opens = not session_id and request.headers.get("mcp-protocol-version", "") not in MODERN_PROTOCOL_VERSIONS
        if opens and self._reach.full(bearer):
            await PlainTextResponse("this principal has too many sessions open", 503)(scope, receive, send)
            return
        if request.method == "POST":
            body = await request.body()
            if wrong := envelope.problem(body):
                await Response(wrong, 400, media_type="application/json")(scope, receive, send)
                return
            receive = _again(body, receive)
        scope[SCOPE_KEY] = bearer
        scope["user"] = _user(bearer)
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                made = Headers(raw=message["headers"]).get("mcp-session-id", "")
                if opens and status == 200 and made:
                    self._reach.opened(made, bearer)
            await send(message)

        await self._sessions.handle_request(scope, receive, noting)
        if scope["method"] == "DELETE" and status == 200:  # the session's own principal has ended it
            await self._reach.end(session_id)
        elif status < 400 and session_id in self._reach.sessions:
            self._reach.sessions[session_id].used_s = self._reach.now_s()

    def _welcome(self, origin: str) -> bool:
        if not origin or origin in self._reach.settings.origins:
            return True
        try:
            return urlsplit(origin).hostname in _LOOPBACK
        except ValueError:
            return False


def make_app(server: Server[Any], reach: Reach) -> Starlette:
    """The application; its lifespan runs the sessions."""
    sessions = StreamableHTTPSessionManager(
        server, session_idle_timeout=SESSION_IDLE_S, max_sessions=SESSIONS_MAX, security_settings=None
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with sessions.run():
            yield
        await reach.links.close()

    async def unavailable(request: Request) -> Response:  # of the control process: workers hand on /mcp alone
        return JSONResponse({"unavailable": reach.absences.told(reach.now_s())})

    routes = [Route("/mcp", Mcp(sessions, reach)), Route("/unavailable", unavailable)]
    return Starlette(routes=routes, lifespan=lifespan)


def _again(body: bytes, receive: Receive) -> Receive:
    """What was read, for who reads after us."""
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_() -> Message:
        return unread.pop() if unread else await receive()

    return next_


def _bearer(header: str) -> Bearer | None:
    try:
        return msgspec.json.decode(urlsafe_b64decode(header), type=Bearer)
    except (msgspec.DecodeError, Error, ValueError):
        return None


def _user(bearer: Bearer) -> AuthenticatedUser:
    """Who the SDK compares with the session's opener: the tenant's principal, and of tokens the session."""
    token = AccessToken(
        token="-",  # noqa: S106 - nobody reads it: the worker has verified the real one
        client_id=bearer.tenant,
        scopes=[],
        subject=bearer.principal,
        claims={"iss": bearer.session},
    )
    return AuthenticatedUser(token)
