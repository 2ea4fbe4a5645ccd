"""Data boundaries: does a deployment's declaration satisfy every clause of a profile? Pure; unknown fails closed.

This judges declarations. What was *observed* (peer addresses, returned geography) is recorded when an attempt settles.
"""

from collections.abc import Sequence

from interlock.gateway.policy import Facts, Profile


def refusal(facts: Facts, profiles: Sequence[Profile]) -> str:
    """The first clause that refuses, as `boundary PROFILE: CLAUSE: why`; empty if all are satisfied."""
    for profile in profiles:
        why = _clause(facts, profile)
        if why:
            return f"boundary {profile.name}: {why}"
    return ""


def _clause(facts: Facts, profile: Profile) -> str:
    if profile.local_only and not facts.local:
        return "local_only: the deployment is not declared local"
    if profile.geographies is not None:
        # What never leaves the operator's machines is where the operator is; a remote place must be declared.
        outside = [place for place in facts.geographies if place not in profile.geographies]
        if outside:
            return f"geographies: {', '.join(outside)} outside {', '.join(profile.geographies) or '(none allowed)'}"
        if not facts.geographies and not facts.local:
            return "geographies: not declared"
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
