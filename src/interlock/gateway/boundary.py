"""Data boundaries: does a deployment's declaration satisfy every clause of a profile? Pure; unknown fails closed.

This judges declarations. What was *observed* (peer addresses, returned geography) is recorded when an attempt settles.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from interlock.gateway.places import around, country

if TYPE_CHECKING:
    from interlock.gateway.policy import Deployment, Facts, Profile

SOURCE, COUNTRY, ANYWHERE = "source", "country", "*"
"""What a profile's `sources` may name beside places."""
KINDS_MAX = 64
"""Of calls, by what is looked at beside the deployment. What was found in a call is a part of it."""


def refusal(
    facts: "Facts",
    profiles: Sequence["Profile"],
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


class Refusals:
    """A policy's deployments, judged once for all calls of a kind."""

    def __init__(self, deployments: Mapping[str, "Deployment"], profiles: Mapping[str, "Profile"]) -> None:
        self._deployments = deployments
        self._profiles = profiles
        self._known: dict[tuple[tuple[str, ...], str, tuple[str, ...], tuple[str, ...]], Mapping[str, str]] = {}

    def of(
        self, in_force: tuple[str, ...], source: str, accepted: tuple[str, ...], sensitive: tuple[str, ...]
    ) -> Mapping[str, str]:
        """`refusal` by deployment, under the profiles named. Raises: KeyError: the policy has no such profile."""
        kind = (in_force, source, accepted, sensitive)
        found = self._known.get(kind)
        if found is None:
            if len(self._known) >= KINDS_MAX:
                self._known.clear()
            profiles = [self._profiles[name] for name in in_force]
            found = self._known[kind] = _Judged(self._deployments, profiles, source, accepted, sensitive)
        return found


class _Judged(dict[str, str]):
    """Fills itself."""

    def __init__(
        self,
        deployments: Mapping[str, "Deployment"],
        profiles: Sequence["Profile"],
        source: str,
        accepted: Collection[str],
        sensitive: Collection[str],
    ) -> None:
        super().__init__()
        self._deployments = deployments
        self._by = profiles, source, accepted, sensitive

    def __missing__(self, name: str) -> str:
        why = self[name] = refusal(self._deployments[name].facts, *self._by)
        return why


def _clause(facts: "Facts", profile: "Profile", source: str, sensitive: Collection[str]) -> str:
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


def _outside(facts: "Facts", allowed: Sequence[str]) -> str:
    """Why the deployment's places are not all within the allowed ones."""
    if not facts.geographies:
        # What never leaves the operator's machines is where the operator is; a remote place must be declared.
        return "" if facts.local else "not declared"
    if ANYWHERE in allowed:
        return ""
    outside = [place for place in facts.geographies if not any(one in allowed for one in around(place))]
    return f"{', '.join(outside)} outside {', '.join(allowed) or '(none allowed)'}" if outside else ""


def _elsewhere(facts: "Facts", sources: dict[str, tuple[str, ...]], source: str) -> str:
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
