"""What of a route decides whether, where and under which key answers are given again. Pure; once a route.

The key holds who may answer, not who is ready to: a deployment that rests changes no key, one that is withdrawn,
pointed elsewhere or declared otherwise changes that of every answer that it may have given.
"""

from collections.abc import Collection
from hashlib import sha256

import msgspec

from interlock.caching import Caching
from interlock.gateway.boundary import refusal
from interlock.gateway.policy import Policy
from interlock.gateway.routing import Route
from interlock.gateway.signals import Signals

_encode = msgspec.json.Encoder(order="deterministic").encode


class Reuse(msgspec.Struct, frozen=True):
    """How answers to the calls of one route are given again."""

    rule: Caching
    place: bytes
    """Digest of the boundaries in force and of the deployments within them. In no order: that may be of the session."""
    shelved: bool
    """Whether the shared store may hold them: the boundaries allow it, and nothing sensitive was found in the call."""


def reuse_of(route: Route, signals: Signals, policy: Policy, accepted: Collection[str] = ()) -> Reuse | None:
    """How, or None: no rule says so, or nobody may answer.

    Args:
        accepted: agreements that the tenant has accepted.
    """
    rule = policy.indexed.named[route.cache].cache if route.cache in policy.indexed.named else None
    names = sorted(one.deployment for one in route.candidates if one.stage in ("", "ready"))
    if rule is None or not names:
        return None
    profiles = [policy.profiles[name] for name in route.boundary if name in policy.profiles]
    places = [
        msgspec.structs.replace(policy.deployments[name], price=None, credential=None, credentials=()) for name in names
    ]
    return Reuse(
        rule=rule,
        place=sha256(_encode([route.boundary, places])).digest(),
        shelved=not signals.sensitive and not refusal(policy.cache_facts, profiles, signals.source, accepted),
    )
