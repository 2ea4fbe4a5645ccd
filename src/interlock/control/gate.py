"""Who may ask: everything on a port is closed but for the paths that are named open."""

from collections.abc import Callable, Collection, Mapping

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from interlock.answers import refusal
from interlock.errors import CODES
from interlock.identity import Denied, Key, Scope

Admit = Callable[[str, Scope], Key | Denied]


TENANT_HEADER = "x-interlock-tenant"


class Gate:
    """ASGI middleware: admits by key, or answers 401, 403 or 503 itself. The key is then in `scope["state"]["key"]`.

    WebSockets too: they are refused before they are accepted, with the same answer. Whoever answers for longer than a
    moment asks `scope["state"]["stands"]()` whether the key would still be let in.
    """

    def __init__(
        self,
        app: ASGIApp,
        admit: Admit,
        scope: Scope,
        scopes: Mapping[str, Scope],
        open_paths: Collection[str],
        *,
        own: bool = False,
    ) -> None:
        """`scope` is needed, but for what `scopes` names: `POST /v1/events`, `DELETE /v1/meters/*`.

        `own`: answers are of the key's own tenant, and say in TENANT_HEADER which that is.
        """
        self._own = own
        self._app = app
        self._admit = admit
        self._scope = scope
        self._scopes = scopes
        self._open_paths = open_paths

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        secret = secret_of(HTTPConnection(scope))
        method = scope.get("method", "GET")  # a WebSocket begins as a GET
        method = "GET" if method == "HEAD" else method
        needed = self._needed(f"{method} {scope['path']}")
        found = self._admit(secret, needed) if secret else Denied("key_missing")
        if isinstance(found, Denied):
            message = f"{CODES[found.code].meaning} (needed: {needed})"
            if found.code == "scope_missing":
                message += f"; keys get theirs when they are issued: interlock keys issue --scope {needed}"
            await refusal(found.code, message)(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["key"] = found
        state["stands"] = lambda: isinstance(self._admit(secret, needed), Key)
        await self._app(scope, receive, _naming(send, found.tenant) if self._own else send)

    def _needed(self, what: str) -> Scope:
        for name, scope in self._scopes.items():
            if what == name or (name[-1] == "*" and what.startswith(name[:-1])):
                return scope
        return self._scope


def _naming(send: Send, tenant: str) -> Send:
    async def named(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (TENANT_HEADER.encode(), tenant.encode())]
        await send(message)

    return named


def secret_of(request: HTTPConnection) -> str:
    """What `Authorization: Bearer` or, without it, `x-api-key` holds; empty if there is neither."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    return request.headers.get("x-api-key", "").strip()
