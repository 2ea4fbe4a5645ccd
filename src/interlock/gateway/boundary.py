"""Data boundaries: does a deployment's declaration satisfy every clause of a profile? Pure; unknown fails closed.

This judges declarations. What was *observed* (peer addresses, returned geography) is recorded when an attempt settles.
"""

from collections.abc import Collection, Sequence

from interlock.gateway.places import around, country
from interlock.gateway.policy import Facts, Profile

SOURCE, COUNTRY, ANYWHERE = "source", "country", "*"
"""What a profile's `sources` may name beside places."""


def refusal(
    facts: Facts,
    profiles: Sequence[Profile],
    source: str = "",
    accepted: Collection[str] = (),
    sensitive: Collection[str] = (),
) -> str:
    """The first clause that refuses, as `boundary PROFILE: CLAUSE: why`; empty if all are satisfied.

    Args:
        source: the region that the call comes from; empty: not known.
        accepted: agreements that the tenant has accepted.
        sensitive: kinds of what was found in the call.
    """
    for agreement in facts.agreements:
        if agreement not in accepted:
            return f"boundary: agreements: {agreement} is not accepted by the tenant"
    for profile in profiles:
        why = _clause(facts, profile, source, sensitive)
        if why:
            return f"boundary {profile.name}: {why}"
    return ""


def _clause(facts: Facts, profile: Profile, source: str, sensitive: Collection[str]) -> str:
    if profile.local_only and not facts.local:
        return "local_only: the deployment is not declared local"
    if profile.sensitive and sensitive and not facts.local:
        return f"sensitive: holds {', '.join(sorted(sensitive))}, and the deployment is not declared local"
    if profile.geographies is not None and (why := _outside(facts, profile.geographies)):
        return f"geographies: {why}"
    if profile.sources is not None and (why := _elsewhere(facts, profile.sources, source)):
        return f"sources: {why}"
    if profile.retention_days_max is not None:
        if facts.retention_days is None:
            return "retention_days: not declared"
        if facts.retention_days > profile.retention_days_max:
            return f"retention_days: {facts.retention_days} is more than {profile.retention_days_max}"
    for clause, forbidden, declared in (
        ("human_review", profile.human_review is False, facts.human_review),
        ("training", profile.training is False, facts.training),
    ):
        if forbidden and declared is not False:
            return f"{clause}: {'not declared' if declared is None else 'not allowed'}"
    return ""


def _outside(facts: Facts, allowed: Sequence[str]) -> str:
    """Why the deployment's places are not all within the allowed ones."""
    if not facts.geographies:
        # What never leaves the operator's machines is where the operator is; a remote place must be declared.
        return "" if facts.local else "not declared"
    if ANYWHERE in allowed:
        return ""
    outside = [place for place in facts.geographies if not any(one in allowed for one in around(place))]
    return f"{', '.join(outside)} outside {', '.join(allowed) or '(none allowed)'}" if outside else ""


def _elsewhere(facts: Facts, sources: dict[str, tuple[str, ...]], source: str) -> str:
    """Why a call from `source` may not be processed at the deployment's places."""
    if facts.local and not facts.geographies:
        return ""
    if not source:
        return "where this gateway is has not been configured (server.region)"
    named = next((one for one in (*around(source), ANYWHERE) if one in sources), None)
    if named is None:
        return f"{source} is none of the profile's sources"
    words = {SOURCE: source, COUNTRY: country(source)}
    why = _outside(facts, [words.get(one, one) for one in sources[named]])
    return f"from {source}: {why}" if why else ""
