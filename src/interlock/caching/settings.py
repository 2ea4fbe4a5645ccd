"""What an operator sets: for calls of one rule, and for the store behind all of them. Values, part of the policy.

Nothing is cached unless a rule says so. No secret stands here: the server's password is named, never contained.
"""

from typing import Literal

import msgspec

from interlock.credentials import Credential

_MIB = 1024 * 1024


class Caching(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of a rule: answers to its calls may be given again."""

    ttl_s: int
    """How long, before jitter (`lifetime_ms`)."""
    share: Literal["tenant", "principal"] = "tenant"
    """Who may be given them: everybody of the tenant, or only who asked. Never another tenant."""
    hit_nanousd: int = 0
    """What one answer given again costs."""
    hit_ppm: int = 0
    """The same, as a share of what the first one cost, in millionths. One of the two is 0."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of the store."""

    url: str = ""
    """`redis://[USER@]HOST[:PORT][/DB]`, or `valkey://` (`rediss://`, `valkeys://`: TLS).

    Empty: each worker's memory only."""
    credential: Credential | None = None
    """The server's password; None: it asks for none."""
    ca_bundle: str = ""
    """With TLS: the authorities that its certificate must come from; empty: the system's."""
    timeout_ms: int = 50
    """How long the server is waited for, once."""
    wait_ms: int = 15_000
    """How long equal calls in other workers wait for the one that was sent, before they are sent themselves."""
    memory_bytes: int = 64 * _MIB
    """What a worker holds: answers kept, and those on their way."""
    entry_bytes: int = 4 * _MIB
    """The largest answer that is kept."""
