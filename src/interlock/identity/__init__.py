"""Tenants, principals, keys, scopes: the `identity` stream, the Directory folded from it, and who may change it."""

from interlock.identity.directory import Denied, Directory
from interlock.identity.following import Following
from interlock.identity.generation import (
    ACKNOWLEDGED,
    CONFIG,
    CREDITS,
    ENTITLEMENTS,
    IDENTITY,
    TOOLS,
    Generation,
    SharedDirectory,
    Tail,
)
from interlock.identity.rules import SCOPES, UNATTRIBUTED, check_name, check_reason, check_tenant, duration_ns
from interlock.identity.service import Identity, Issued, Listed, ensure_admin
from interlock.identity.tokens import TOKEN_PREFIX, Bearer, Claims, mint, read
from interlock.identity.value import KEY_PREFIX, STREAM, Accepted, Key, Revoked, Scope, Tenant

__all__ = [
    "ACKNOWLEDGED",
    "CONFIG",
    "CREDITS",
    "ENTITLEMENTS",
    "IDENTITY",
    "KEY_PREFIX",
    "SCOPES",
    "STREAM",
    "TOKEN_PREFIX",
    "TOOLS",
    "UNATTRIBUTED",
    "Accepted",
    "Bearer",
    "Claims",
    "Denied",
    "Directory",
    "Following",
    "Generation",
    "Identity",
    "Issued",
    "Key",
    "Listed",
    "Revoked",
    "Scope",
    "SharedDirectory",
    "Tail",
    "Tenant",
    "check_name",
    "check_reason",
    "check_tenant",
    "duration_ns",
    "ensure_admin",
    "mint",
    "read",
]
