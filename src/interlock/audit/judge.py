"""One attempt held against the boundary it was under: by what was declared, and by what was observed. Pure.

Declared: the deployment's declaration in the policy that decided, against the profiles in force as that policy had
them. It is judged once more, so that a decision which was wrong is found.
Observed: the address that answered, against the networks that the deployment declares (or, if it is declared local,
against the addresses that only private networks have); and the place that the answer named, against both the places
that the deployment declares and the profiles. Never more than was seen: where nothing was, it says so.
"""

from collections.abc import Collection
from ipaddress import ip_address, ip_network
from typing import Literal

import msgspec

from interlock.gateway import Candidate, Facts, Policy, Profile, Signals
from interlock.gateway.boundary import refusal
from interlock.gateway.places import around
from interlock.ledger import Outcome

Verdict = Literal["inside", "outside", "unbounded", "unsent", "refused"]
"""inside: by its declaration, and nothing that was observed speaks against it. outside: it crossed. unbounded: no
boundary was in force. unsent: no byte of it left the machine, or another's answer was given. refused: nobody within
the boundary could serve it, so nothing was sent."""

_UNSENT = frozenset({"upstream_unreachable", "withdrawn", "upstream_auth"})
"""Errors of attempts of which nothing had been sent, where there is no peer either."""


class Decided(msgspec.Struct, gc=False):
    """What is read of a recorded decision."""

    signals: Signals
    policy: str = ""
    boundary: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()


class Crossing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt, or one refused call, in the audit trail."""

    at_ns: int
    """It was opened, or refused."""
    request_id: str
    attempt: int
    """0: refused."""
    tenant: str
    principal: str
    key_id: str
    deployment: str
    provider: str
    model: str
    policy: str
    source: str
    """The region that it came from; empty: not configured then."""
    boundary: tuple[str, ...]
    """Profiles in force."""
    declared: tuple[str, ...]
    """Places that the deployment declared; `local` stands for the operator's own machines."""
    peer: str
    """The address that answered; empty: none was seen."""
    region: str
    """The place that the answer named; empty: it named none."""
    outcome: Outcome | Literal["", "open"]
    verdict: Verdict
    clause: str
    """What it crossed, or what refused it; empty: nothing."""
    observed: bool
    """Whether anything that was seen could be held against a declaration."""


def outside(
    decided: Decided, policy: Policy | None, deployment: str, accepted: Collection[str], peer: str, region: str
) -> tuple[str, bool]:
    """(what the attempt crossed, whether anything was observed). Empty: nothing."""
    place = policy.deployments.get(deployment) if policy is not None else None
    if policy is None or place is None:
        return f"policy {decided.policy} is not in the log, so nothing is declared", False
    missing = next((name for name in decided.boundary if name not in policy.profiles), "")
    if missing:
        return f"boundary {missing}: no such profile", False
    profiles = [policy.profiles[name] for name in decided.boundary]
    signals, facts = decided.signals, place.facts
    why = refusal(facts, profiles, signals.source, accepted, signals.sensitive)
    if why:
        return f"declared: {why}", False
    seen = [_of_peer(facts, peer), _of_region(facts, profiles, signals.source, region)]
    return next((told for told in seen if told), ""), any(told is not None for told in seen)


def _of_peer(facts: Facts, peer: str) -> str | None:
    """What the address says against the declaration; empty: nothing; None: it says nothing either way."""
    if not peer:
        return None
    address = ip_address(peer.partition("%")[0])
    if facts.peers:
        inside = any(address in ip_network(network) for network in facts.peers)
        return "" if inside else f"observed: {peer} answered, outside of the declared networks {', '.join(facts.peers)}"
    if facts.local:
        inside = address.is_private or address.is_loopback
        return "" if inside else f"observed: {peer} answered, a public address, and the deployment is declared local"
    return None


def _of_region(facts: Facts, profiles: Collection[Profile], source: str, region: str) -> str | None:
    """The same of the place that the answer named."""
    if not region:
        return None
    if facts.geographies and not any(place in facts.geographies for place in around(region)):
        return f"observed: served from {region}, and declared are {', '.join(facts.geographies)}"
    seen = msgspec.structs.replace(facts, geographies=(region,))
    why = refusal(seen, list(profiles), source, facts.agreements)
    return f"observed: served from {region}: {why}" if why else ""


def was_unsent(outcome: str, error: str, peer: str) -> bool:
    """Whether no byte of an attempt left: no connection was made, or it was stopped before."""
    return outcome == "failed" and error in _UNSENT and not peer
