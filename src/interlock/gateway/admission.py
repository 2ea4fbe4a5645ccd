"""Who is let in: an API key, or a session's token in its place. One answer for every path of the data port."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from interlock.clock import Clock
from interlock.errors import LocalError
from interlock.gateway.http import Head
from interlock.gateway.ports import Admits
from interlock.identity import TOKEN_PREFIX, Bearer, Claims, Denied, Key, Scope, read
from interlock.identity.tokens import Audience

SCOPES: dict[Audience, Scope] = {"inference": "inference", "mcp": "tools"}
"""What a key needs to be let in there, or to have a token stand in for it."""


class Admitted(NamedTuple):
    """Who asks. With a token, the key's time is over no later than the token's."""

    key: Key
    claims: Claims | None = None

    @property
    def session(self) -> str:
        """Of the token; empty: it came with a key."""
        return self.claims.session if self.claims is not None else ""

    @property
    def bearer(self) -> Bearer:
        """The same, for the door."""
        key, claims = self.key, self.claims
        tools = None if claims is None else claims.tools
        return Bearer(key_id=key.id, tenant=key.tenant, principal=key.principal, session=self.session, tools=tools)


class Keeper(Protocol):
    """Who lets in: the gateway."""

    directory: Admits
    clock: Clock


class Admission:
    """Reads who asks from the headers, and has the directory judge."""

    def __init__(self, keeper: Keeper, secret: Callable[[], bytes] | None = None) -> None:
        """`secret`: what tokens are signed with, asked for when the first one comes; None: no token is let in."""
        self._keeper = keeper
        self._ask_secret = secret
        self._secret = b""

    def admit(self, head: Head, audience: Audience = "inference") -> Admitted | LocalError:
        """Who asks, or why they are not let in."""
        shown = head.headers.get(b"x-api-key", b"")
        bearer = head.headers.get(b"authorization", b"")
        if bearer[:7].lower() == b"bearer ":
            shown = bearer[7:].strip()
        if not shown:
            return LocalError("send a key: Authorization: Bearer ilk_… or x-api-key: ilk_…", code="key_missing")
        secret, now_ns = shown.decode("latin-1"), self._keeper.clock.now_ns()
        key = self._keeper.directory.admit(secret, now_ns, SCOPES[audience])
        if isinstance(key, Key):
            return Admitted(key)
        if secret.startswith(TOKEN_PREFIX):
            return self._by_token(secret, now_ns, audience)
        return _refusal(key, SCOPES[audience])

    def stands(self, head: Head, admitted: Admitted, seq: int, audience: Audience) -> bool:
        """Whether who was let in when `seq` was the directory's last change would be let in now."""
        if self._keeper.directory.stands(admitted.key, seq, self._keeper.clock.now_ns()):
            return True
        return isinstance(self.admit(head, audience), Admitted)

    def _by_token(self, token: str, now_ns: int, audience: Audience) -> Admitted | LocalError:
        if not self._secret and self._ask_secret is not None:
            try:
                self._secret = self._ask_secret()
            except OSError:
                return _refusal(Denied("directory_unavailable"), SCOPES[audience])
        claims = read(self._secret, token, now_ns) if self._secret else Denied("key_unknown")
        if isinstance(claims, Denied):
            return LocalError(_TOKEN.get(claims.code, "no such token"), code=claims.code)
        if claims.audience != audience:
            return LocalError(f"the token is for {claims.audience}, and opens nothing else", code="scope_missing")
        key = self._keeper.directory.admit_id(claims.key_id, now_ns, SCOPES[audience])
        if isinstance(key, Denied):
            return _refusal(key, SCOPES[audience])
        until_ns = min(claims.expires_at_ns, key.expires_at_ns or claims.expires_at_ns)
        return Admitted(msgspec.structs.replace(key, expires_at_ns=until_ns), claims)


_TOKEN = {"key_expired": "the token has expired"}


def _refusal(denied: Denied, scope: Scope) -> LocalError:
    message = {
        "key_expired": "the key has expired",
        "scope_missing": f"the key does not hold the scope {scope!r}",
        "directory_unavailable": "the key directory cannot be read now; retry",
    }.get(denied.code, "no such key, or it was revoked")
    return LocalError(message, code=denied.code)
