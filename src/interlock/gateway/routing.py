"""The decision: one pure function from signals, policy and what is ready to one value that says everything.

The value is recorded with the attempt, so that it can be explained, and decided again under another policy. There is no
clock, randomness or I/O here: the same arguments give the same decision.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from operator import attrgetter
from types import MappingProxyType
from typing import Literal, NamedTuple

import msgspec

from interlock.gateway.affinity import Affinity, Held, weigh
from interlock.gateway.policy import Deployment, Policy, Rule, Tier
from interlock.gateway.signals import Signals, names_route, unknown_signals
from interlock.gateway.spread import spread
from interlock.ledger import Format

Stage = Literal["", "boundary", "withdrawn", "shape", "ready"]
"""What refused a candidate: its data boundary, the operator, the shape of the request, or that it cannot serve now."""

_TRANSLATED: frozenset[Format] = frozenset({"chat", "responses", "messages"})
_COUNT: Format = "count_tokens"  # where the deployment cannot count, the gateway estimates
_NEEDS = ("tools", "images", "reasoning", "schema")
"""Signals that ask for a capability of the same name."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A deployment of the tier: where it ranks, or why not."""

    deployment: str
    rank: int = 0
    """1: tried first. 0: refused."""
    stage: Stage = ""
    refused: str = ""
    resting: str = ""
    """Why it ranks behind those that are well: its circuit is open, or it asked for a pause."""


class Route(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where calls of one kind go. `winner` is empty if `code` says why nobody may serve them."""

    policy: str
    rule: str
    """The rule that matched; `default`, or `model` where the model name chose the tier or deployment."""
    tier: str
    """Empty where the client named a deployment."""
    boundary: tuple[str, ...] = ()
    """Profiles in force: the policy's, the tenant's, the key's."""
    candidates: tuple[Candidate, ...] = ()
    winner: str = ""
    code: str = ""
    unknown: tuple[str, ...] = ()
    on_cut: Literal["error", "continue"] = "error"
    """Of the rule."""
    affinity: Affinity | None = None
    """Set where another deployment than the winner held the conversation, or would be the winner if it did not."""
    cache: str = ""
    """The rule by which an answer may be given again; empty: it may not. It is the first that matches, also where the
    model name chose the tier or deployment."""

    @property
    def ranked(self) -> list[str]:
        """Deployments that may serve it, the first to be tried first."""
        ranked = [c for c in self.candidates if c.rank]
        ranked.sort(key=attrgetter("rank"))
        return [c.deployment for c in ranked]


class Decision(Route, frozen=True, kw_only=True, omit_defaults=True):
    """Everything about one call's route, as it stands in the log."""

    signals: Signals
    splices: tuple[str, ...] = ()
    """What was changed in the body for the attempt at hand."""


def decide(
    signals: Signals,
    policy: Policy,
    boundaries: Sequence[str],
    not_ready: Mapping[str, str],
    resting: Mapping[str, str] = MappingProxyType({}),
    accepted: Sequence[str] = (),
    withdrawn: Mapping[str, str] = MappingProxyType({}),
) -> Route:
    """Choose the route; `kept` is the second half, for a conversation that is somewhere already.

    Args:
        boundaries: names of the profiles of tenant and key; one that the policy lacks refuses everybody.
        not_ready: deployments that cannot serve just now, and why.
        resting: deployments that are better left alone just now, and why. They rank last, in order; where nobody else
            is left they are tried: an upstream's refusal is worth more than ours.
        accepted: agreements that the tenant has accepted.
        withdrawn: deployments that the operator lets nobody use, and why.
    """
    first = policy.indexed.first(signals)
    rule, tier, names = _route(signals, policy, first)
    in_force = tuple(dict.fromkeys(name for name in (policy.boundary, *boundaries) if name))
    refused = policy.unknown_model == "refuse" and not names_route(signals.model, policy)
    missing = next((name for name in in_force if name not in policy.profiles), None)
    if refused:
        names = ()
    if missing:
        verdicts = [_Verdict("boundary", f"boundary {missing}: no such profile")] * len(names)
    else:
        refusals = policy.refusals.of(in_force, signals.source, tuple(accepted), signals.sensitive)
        verdicts = [_verdict(name, signals, policy, refusals, not_ready, resting, withdrawn) for name in names]
    candidates = _ranked(names, verdicts)
    winner = next((c.deployment for c in candidates if c.rank == 1), "")
    return Route(
        policy=policy.version,
        rule=rule,
        tier=tier,
        boundary=in_force,
        candidates=candidates,
        winner=winner,
        code="model_unknown" if refused else "" if winner else _code(candidates),
        unknown=unknown_signals(signals, policy),
        on_cut=policy.indexed.named[rule].on_cut if rule in policy.indexed.named else "error",
        cache=first.name if first is not None and first.cache is not None else "",
    )


def _ranked(names: Sequence[str], verdicts: Sequence["_Verdict"]) -> tuple[Candidate, ...]:
    """The well first, then those that rest, both in their order."""
    well = count(1)
    rested = count(1 + sum(not (verdict.why or verdict.resting) for verdict in verdicts))
    return tuple(
        _candidate(name, verdict, 0 if verdict.why else next(rested if verdict.resting else well))
        for name, verdict in zip(names, verdicts, strict=True)
    )


def _candidate(name: str, verdict: "_Verdict", rank: int = 0) -> Candidate:
    return Candidate(deployment=name, rank=rank, stage=verdict.stage, refused=verdict.why, resting=verdict.resting)


def kept(
    route: Route,
    signals: Signals,
    policy: Policy,
    held: Held,
    now_s: int,
    not_ready: Mapping[str, str],
    resting: Mapping[str, str] = MappingProxyType({}),
    accepted: Sequence[str] = (),
    withdrawn: Mapping[str, str] = MappingProxyType({}),
) -> Route:
    """The route of a conversation that `held.deployment` answered last: whether it stays there.

    Args:
        route: as `decide` gave it.
        now_s: Unix seconds.
    """
    name = held.deployment
    if not route.winner or name in ("", route.winner) or not held.cached_tokens or not policy.affinity.cache_s:
        return route
    candidate = next((c for c in route.candidates if c.deployment == name), None)
    if now_s - held.at_s > policy.affinity.cache_s:
        affinity = Affinity(held_by=name, verdict="cold", over=route.winner)
    elif candidate is None and not _may_save(route.rule, policy):
        affinity = Affinity(held_by=name, verdict="rule", over=route.winner)
    else:
        if candidate is None:
            refusals = policy.refusals.of(route.boundary, signals.source, tuple(accepted), signals.sensitive)
            verdict = _verdict(name, signals, policy, refusals, not_ready, resting, withdrawn)
            candidate = _candidate(name, verdict)
            route = msgspec.structs.replace(route, candidates=(*route.candidates, candidate))
        if candidate.refused or candidate.resting:
            affinity = Affinity(held_by=name, verdict="unserved", over=route.winner)
        else:
            affinity = weigh(held, signals.input_tokens, policy.deployments[route.winner], policy)
    if affinity.verdict == "kept":
        route = _first(route, name)
    return msgspec.structs.replace(route, affinity=affinity)


def _may_save(rule: str, policy: Policy) -> bool:
    """Whether a conversation may stay outside of the tier that the rule wants."""
    return rule in policy.indexed.named and policy.indexed.named[rule].switch == "saving"


def _first(route: Route, name: str) -> Route:
    """The route with `name` ranked first, the others in their order."""
    order = [name, *(other for other in route.ranked if other != name)]
    candidates = tuple(
        msgspec.structs.replace(c, rank=order.index(c.deployment) + 1) if c.deployment in order else c
        for c in route.candidates
    )
    return msgspec.structs.replace(route, candidates=candidates, winner=name)


def _route(signals: Signals, policy: Policy, first: Rule | None) -> tuple[str, str, tuple[str, ...]]:
    """(rule, tier, deployments in order)."""
    if signals.model in policy.tiers:
        return "model", signals.model, order(policy.tiers[signals.model], signals)
    if signals.model in policy.deployments:
        return "model", "", (signals.model,)
    rule, tier = ("default", policy.default_tier) if first is None else (first.name, first.tier)
    return rule, tier, order(policy.tiers[tier], signals)


def order(tier: Tier, signals: Signals) -> tuple[str, ...]:
    """A tier's deployments, in the order of the call's conversation."""
    if not tier.spread:
        return tier.deployments
    return spread(tier.deployments, tier.spread, f"{signals.session}/{signals.conversation}")


class _Verdict(NamedTuple):
    """On a deployment that is not ranked yet, as on a candidate."""

    stage: Stage = ""
    why: str = ""
    resting: str = ""


def _verdict(
    name: str,
    signals: Signals,
    policy: Policy,
    refusals: Mapping[str, str],
    not_ready: Mapping[str, str],
    resting: Mapping[str, str],
    withdrawn: Mapping[str, str],
) -> _Verdict:
    stage, why = _judge(policy.deployments[name], signals, refusals[name])
    if name in withdrawn and stage != "boundary":
        stage, why = "withdrawn", withdrawn[name]
    if not why and name in not_ready:
        stage, why = "ready", not_ready[name]
    return _Verdict(stage, why, "" if why else resting.get(name, ""))


def _judge(deployment: Deployment, signals: Signals, refusal: str) -> tuple[Stage, str]:
    """Why a deployment may not serve the call, the boundary first: what must not happen outranks what cannot."""
    if refusal:
        return "boundary", refusal
    if not serves(deployment.formats, signals.format):
        return "shape", f"format: speaks {', '.join(deployment.formats)}, not {signals.format}"
    for need in _NEEDS:
        if getattr(signals, need) and need not in deployment.capabilities:
            return "shape", f"capability: {need}"
    window = deployment.context_window
    # Only the input: an output limit is a ceiling, which clients set high and servers cut to what is left.
    if window is not None and signals.input_tokens >= window:
        return "shape", f"context: the input leaves no room in {window} tokens"
    return "", ""


def serves(formats: Sequence[Format], format: Format) -> bool:
    """Whether a deployment that speaks `formats` can answer a client of `format`, translated if need be."""
    return format in formats or (format in _TRANSLATED and any(f in _TRANSLATED for f in formats)) or format == _COUNT


def _code(candidates: Sequence[Candidate]) -> str:
    """The error nobody could serve: the furthest that any candidate came."""
    stages = {candidate.stage for candidate in candidates}
    if "ready" in stages:
        return "not_ready"
    return "no_candidate" if "shape" in stages else "withdrawn" if "withdrawn" in stages else "boundary_refused"
