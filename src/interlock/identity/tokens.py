"""Short-lived tokens of sessions: what a session's processes hold instead of a key. Pure: secret and time are given.

    ils_ base64url(claims as JSON) . base64url(HMAC-SHA256 of what stands before the dot)

A token names the key that it stands in for, and is worth no more than that key is worth now: whoever reads one asks the
directory for the key next. It opens one door only, its `audience`.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import sha256
from typing import Literal

import msgspec

from interlock.identity.directory import Denied

TOKEN_PREFIX = "ils_"  # noqa: S105 - how every token begins, not one
TOKEN_CHARS_MAX = 8192
SECRET_BYTES = 32

Audience = Literal["inference", "mcp"]


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token says."""

    session: str
    key_id: str
    """The key that it stands in for."""
    audience: Audience
    expires_at_ns: int
    """First moment at which it is no longer admitted."""
    tools: tuple[str, ...] = ()
    """Patterns of tools, `server.tool` with `*` for anything; empty: none."""


class Bearer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who asks, as a worker that has verified it tells the door."""

    key_id: str
    tenant: str
    principal: str
    session: str = ""
    """Of a token."""
    tools: tuple[str, ...] | None = None
    """As a token's; None: a key, which is bound by nothing but what its principal may use."""


def mint(secret: bytes, claims: Claims) -> str:
    """The token. `secret`: SECRET_BYTES random bytes."""
    body = TOKEN_PREFIX + _encoded(msgspec.json.encode(claims))
    return f"{body}.{_encoded(_mac(secret, body))}"


def read(secret: bytes, token: str, now_ns: int) -> Claims | Denied:
    """What a token says, if it was minted with `secret` and its time is not over."""
    body, dot, mac = token.partition(".")
    if not (dot and token.startswith(TOKEN_PREFIX) and len(token) <= TOKEN_CHARS_MAX and token.isascii()):
        return _UNKNOWN
    if not hmac.compare_digest(mac.encode(), _encoded(_mac(secret, body)).encode()):
        return _UNKNOWN
    try:
        claims = msgspec.json.decode(_decoded(body.removeprefix(TOKEN_PREFIX)), type=Claims)
    except (msgspec.DecodeError, ValueError):  # of a version that said other things
        return _UNKNOWN
    return claims if now_ns < claims.expires_at_ns else _EXPIRED


_UNKNOWN = Denied("key_unknown")
_EXPIRED = Denied("key_expired")


def _mac(secret: bytes, body: str) -> bytes:
    assert len(secret) == SECRET_BYTES, "a shorter secret could be guessed"
    return hmac.digest(secret, body.encode(), sha256)


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except Error as error:
        raise ValueError("not base64url") from error
