"""Tenants, principals, keys, scopes: the `identity` stream, the Directory folded from it, and who may change it."""

from interlock.identity.directory import Denied, Directory
from interlock.identity.generation import ACKNOWLEDGED, CONFIG, IDENTITY, Generation, SharedDirectory
from interlock.identity.rules import SCOPES, check_tenant, duration_ns
from interlock.identity.service import Identity, Issued, Listed, ensure_admin
from interlock.identity.value import KEY_PREFIX, STREAM, Accepted, Key, Revoked, Scope, Tenant

__all__ = [
    "ACKNOWLEDGED",
    "CONFIG",
    "IDENTITY",
    "KEY_PREFIX",
    "SCOPES",
    "STREAM",
    "Accepted",
    "Denied",
    "Directory",
    "Generation",
    "Identity",
    "Issued",
    "Key",
    "Listed",
    "Revoked",
    "Scope",
    "SharedDirectory",
    "Tenant",
    "check_tenant",
    "duration_ns",
    "ensure_admin",
]
