"""What must hold between the parts: every name refers to something, and nothing written is without effect.

Each part by itself was read before; problems make the file unusable, warnings say what its author may not have meant.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from interlock.config.lines import Path as Place
from interlock.config.reading import Notes, meant, shown, there_are
from interlock.config.value import Config
from interlock.datadir import would_show
from interlock.gateway import Deployment, Policy, Rule, Tier, When
from interlock.log.record import PAYLOAD_BYTES_MAX

POLICY_BYTES_MAX = PAYLOAD_BYTES_MAX // 2
"""A policy is the payload of one record of the log; prices looked up at adoption at most double a deployment."""


def check(config: Config, notes: Notes, data: Path | None = None) -> None:
    """Note every mistake that only the whole shows; `data` is the data directory, if it is known."""
    policy = config.policy
    for tier in policy.tiers.values():
        _tier(tier, policy.deployments, notes)
    _rules(policy.rules, policy.tiers, notes)
    if policy.default_tier:
        _known(notes, ("default_tier",), "tier", policy.default_tier, policy.tiers)
    if policy.boundary is not None:
        _known(notes, ("boundary",), "boundary", policy.boundary, policy.profiles)
    if policy.baseline is not None and policy.baseline_price is None:
        _known(notes, ("savings", "baseline"), "deployment", policy.baseline, policy.deployments)
    if policy.cache.url and not any(rule.cache for rule in policy.rules):
        notes.warning(("cache", "url"), "is used by no rule: one needs `cache`, e.g. cache = { ttl_s = 3600 }")
    _unused(policy, notes)
    for index, quota in enumerate(policy.quotas):
        models = {one.model for one in policy.deployments.values()}
        for key, names, known in (
            ("deployments", quota.deployments, policy.deployments),
            ("models", quota.models, models),
        ):
            for name in names:
                if name not in known:
                    notes.warning(("quotas", index, key), f"{shown(name)} is none of the policy's{meant(name, known)}")
    for name in policy.reserve:
        if name:
            _known(notes, ("reserve", name), "tier", name, policy.tiers)
    _local(config, notes)
    if data is not None:
        _hidden(config, notes, data)
    size = len(msgspec.json.encode(policy))
    if size > POLICY_BYTES_MAX:
        notes.problem(
            (), f"makes a policy of {size} bytes; expected at most {POLICY_BYTES_MAX}: it must fit one log record"
        )


def _known(notes: Notes, path: tuple[str | int, ...], kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        notes.problem(path, f"there is no {kind} {shown(name)}{meant(name, known) or there_are(known)}")


def _tier(tier: Tier, deployments: Mapping[str, Deployment], notes: Notes) -> None:
    for index, name in enumerate(tier.deployments):
        place = ("tiers", tier.name) if tier.spread else ("tiers", tier.name, index)
        _known(notes, place, "deployment", name, deployments)
    if tier.name in deployments and tier.deployments != (tier.name,):
        notes.warning(
            ("tiers", tier.name),
            "is also the name of a deployment; as a model name it means the tier, and hides the deployment",
        )


def _rules(rules: tuple[Rule, ...], tiers: Mapping[str, Tier], notes: Notes) -> None:
    seen: dict[str, int] = {}
    for index, rule in enumerate(rules):
        path: tuple[str | int, ...] = ("rules", index)
        if rule.tier:
            _known(notes, (*path, "tier"), "tier", rule.tier, tiers)
        if rule.name and rule.name in seen:
            notes.problem((*path, "name"), f"{shown(rule.name)} is already the name of rule {seen[rule.name] + 1}")
        seen.setdefault(rule.name, index)
        above = next((early for early in rules[:index] if early.when in (When(), rule.when)), None)
        if above:
            notes.warning(path, f"can never match: rule {shown(above.name)} above it matches whenever this one would")


def _unused(policy: Policy, notes: Notes) -> None:
    in_tiers = {name for tier in policy.tiers.values() for name in tier.deployments}
    for name in policy.deployments:
        if name not in in_tiers and name != policy.baseline:
            notes.warning(("deployments", name), "is in no tier: it serves only calls that name it as their model")


def _local(config: Config, notes: Notes) -> None:
    managed = [name for name, value in config.policy.deployments.items() if value.provider == "local"]
    local = config.server.local
    if managed and not local.enabled:
        notes.warning(("local", "enabled"), f"is false, so deployment {shown(managed[0])} is never ready")
    if local.enabled and not managed:
        notes.warning(("local", "enabled"), 'starts a model that no deployment uses; one needs provider = "local"')
    for name in managed:
        window = config.policy.deployments[name].context_window or 0
        if window > local.context:
            notes.problem(
                ("deployments", name, "context_window"),
                f"found {window}; expected at most {local.context}, the context that the local model is started with",
            )


def _hidden(config: Config, notes: Notes, data: Path) -> None:
    """What sandboxes are shown never shows them our keys."""
    read: list[tuple[Place, Sequence[str]]] = [(("runtime", "read"), config.runtime.read)]
    read += [(("tools", "servers", n, "read"), server.read) for n, server in enumerate(config.tools.servers)]
    for key, paths in read:
        for index, path in enumerate(paths):
            if would_show(path, data):
                notes.problem((*key, index), f"would show the data directory {data}, with its keys, to sandboxes")
