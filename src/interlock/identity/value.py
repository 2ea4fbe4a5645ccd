"""Who may do what: the values of the `identity` stream and of the Directory folded from it.

The stream's record types: `tenant.created`, `agreement.accepted`, `agreement.left`, `key.issued`, `key.revoked`. A
key's secret is shown once and never stored;
the stream has its SHA-256 (32 random bytes need no slow hash).
"""

from typing import Literal

import msgspec

Scope = Literal[
    "inference",
    "usage:read",
    "events:write",
    "events:correct",
    "periods:close",
    "events:erase",
    "meters:write",
    "sessions:run",
    "sessions:approve",
    "tools",
    "admin",
]
"""inference: call models on the data port. usage:read: own tenant's usage and meters on the api port. events:write:
send usage events there, for the own tenant. events:correct: take events back that were counted, and put others in their
place. periods:close: close the own tenant's months and days, and list them. events:erase: have its customers erased.
meters:write: define and retire its meters. sessions:run: the own tenant's agents: create, talk to, read, fork, cancel.
sessions:approve: answer what they ask people. tools: use tools through /mcp on the data port. admin: all of control."""

KEY_PREFIX = "ilk_"
STREAM = "identity"


class Tenant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Type `tenant.created`. Its boundary and each of its keys' boundaries intersect."""

    name: str
    boundary: str = ""


class Accepted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Type `agreement.accepted`: a tenant has accepted terms under which its data may go somewhere."""

    tenant: str
    agreement: str
    at_ns: int
    by: str = ""
    """Who accepted, by opaque id."""


class Left(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Type `agreement.left`: it does not accept them any more."""

    tenant: str
    agreement: str
    at_ns: int
    reason: str = ""


class Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Type `key.issued`. What a bearer of the secret is."""

    id: str
    """`key_…`: public, names the key in logs and commands."""
    sha256: str
    """Hex, of the whole secret as the client sends it (`ilk_…`)."""
    name: str
    tenant: str
    principal: str
    """The person or agent, by opaque id; the key's name if not told."""
    scopes: tuple[Scope, ...]
    created_at_ns: int
    expires_at_ns: int | None = None
    """First moment at which it is no longer admitted; None: never."""
    boundary: str = ""
    """Name of a profile; empty: the tenant's alone."""
    labels: dict[str, str] = {}
    """`application` and `installation` stand on the events that the key sends."""
    subjects: tuple[str, ...] = ()
    """Customers that the key may send events for; a trailing `*` stands for anything; empty: all."""


class Revoked(msgspec.Struct, frozen=True, kw_only=True):
    """Type `key.revoked`."""

    key_id: str
    at_ns: int
    reason: str = ""
