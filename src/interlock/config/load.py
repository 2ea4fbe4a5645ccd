"""From a file to a configuration: read it bounded, decode it, collect every mistake, or return frozen values.

It does not adopt anything, start anything or ask the network. Prices that the file leaves out are filled in by
`resolve_prices`, when a policy is adopted.
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from interlock.config.anomalies import read_anomalies
from interlock.config.builtin import BUILTIN
from interlock.config.caching import read_cache
from interlock.config.checks import check
from interlock.config.credentials import Places
from interlock.config.deployments import read_deployments
from interlock.config.guard import read_guard
from interlock.config.ledger import read_ledger
from interlock.config.lines import Lines
from interlock.config.prices import look_up, read_price
from interlock.config.quotas import read_credits, read_quotas, read_reserve, read_sharing, read_webhook
from interlock.config.reading import NAME, NAME_RULE, Notes, Table, shown
from interlock.config.routes import read_profiles, read_rules, read_tiers
from interlock.config.runtime import read_runtime
from interlock.config.sections import (
    read_affinity,
    read_breaker,
    read_limits,
    read_local,
    read_retries,
    read_server,
    read_timeouts,
)
from interlock.config.tools import read_tools
from interlock.config.value import Config, Loaded, LocalModel, Reference, Server
from interlock.errors import ConfigError
from interlock.gateway import Policy, version_of
from interlock.ledger import Price

FILE_BYTES_MAX = 1 << 20
_UNKNOWN_MODEL = ("route", "refuse")


def load(path: Path | None, *, env: Mapping[str, str] | None = None, data: Path | None = None) -> Loaded:
    """Read a configuration; None: the built-in default.

    Args:
        env: where credentials' variables are looked for (only whether they are set); None: the process's own.
        data: the data directory that no sandbox may be shown; None: it is not known.
    Raises: ConfigError: every mistake in the file, one line each, in its order.
    """
    env = os.environ if env is None else env
    if path is None:
        return parse(BUILTIN, file="built-in", folder=Path(), env=env)
    return parse(_read(path), file=str(path), folder=path.absolute().parent, env=env, source=path.absolute(), data=data)


def builtin() -> Config:
    """What is served with no configuration file: the local model, for every tier."""
    return load(None, env={}).config


def parse(
    text: str,
    *,
    file: str,
    folder: Path,
    env: Mapping[str, str],
    source: Path | None = None,
    data: Path | None = None,
) -> Loaded:
    """`load` for a text at hand; `file` stands in messages, relative paths start at `folder`.

    Raises: ConfigError.
    """
    return read(_decode(text, file), Notes(file, Lines(text)), folder=folder, env=env, source=source, data=data)


def read(
    document: dict[str, Any],
    notes: Notes,
    *,
    folder: Path,
    env: Mapping[str, str],
    source: Path | None = None,
    data: Path | None = None,
) -> Loaded:
    """From a decoded document. Raises: ConfigError."""
    root = Table(document, (), notes)
    local = read_local(root.table("local"), folder)
    baseline = _baseline(root.table("savings"))
    policy = _policy(root, local, folder, env, baseline)
    managed = any(deployment.provider == "local" for deployment in policy.deployments.values())
    if "enabled" not in root.table("local").values:
        local = msgspec.structs.replace(local, enabled=managed)
    config = Config(
        policy=policy,
        reference=baseline if isinstance(baseline, Reference) else None,
        server=_server(root, local, folder, env),
        ledger=read_ledger(root.table("ledger"), Places(folder, env)),
        anomalies=read_anomalies(root.table("anomalies")),
        runtime=read_runtime(root.table("runtime")),
        tools=read_tools(root.table("tools"), Places(folder, env)),
        source_path=source,
    )
    root.done()
    check(config, notes, data)
    if problems := notes.problems():
        raise ConfigError(problems)
    config = msgspec.structs.replace(config, policy=_versioned(policy))
    return Loaded(config=config, file=notes.file, warnings=notes.warnings(), credentials=notes.credentials)


def resolve_prices(loaded: Loaded, *, now_ns: int) -> Loaded:
    """Fill in the prices that the file leaves out, as genai-prices' snapshot has them at `now_ns`.

    What is not found stays None (unpriced) and is warned about. Imports genai-prices only if a price is missing.
    """
    policy, remarks = loaded.policy, []
    deployments = dict(policy.deployments)
    for name, deployment in deployments.items():
        if deployment.price is not None:
            continue
        found = look_up(deployment.provider, deployment.model, now_ns=now_ns)
        deployments[name] = msgspec.structs.replace(deployment, price=found.price)
        if found.price is None:
            remarks.append(
                f'{loaded.file}: deployments.{name}: unpriced: {found.remark}; set `price` (or price = "free")'
            )
        elif found.remark:
            remarks.append(f"{loaded.file}: deployments.{name}: {found.remark}")
    policy = msgspec.structs.replace(policy, deployments=deployments)
    if reference := loaded.config.reference:
        found = look_up(reference.provider, reference.model, now_ns=now_ns)
        named = reference.model if found.price else None
        policy = msgspec.structs.replace(policy, baseline=named, baseline_price=found.price)
        if found.remark:
            lost = "" if found.price else f"no baseline {reference.provider}/{reference.model}: "
            remarks.append(f"{loaded.file}: savings.baseline: {lost}{found.remark}")
    policy = _versioned(policy)
    config = msgspec.structs.replace(loaded.config, policy=policy)
    return msgspec.structs.replace(loaded, config=config, warnings=(*loaded.warnings, *remarks))


def _versioned(policy: Policy) -> Policy:
    return msgspec.structs.replace(policy, version=version_of(policy))


Baseline = str | Reference | tuple[str, Price | None] | None
"""A deployment's name, a model to look up, or a name and a price."""


def _policy(root: Table, local: LocalModel, folder: Path, env: Mapping[str, str], baseline: Baseline) -> Policy:
    default_tier = root.text("default_tier", rule="the name of a tier")
    root.require("default_tier", "the tier of calls that no rule matches")
    root.require("deployments", "at least one [deployments.NAME]")
    root.require("tiers", "at least one tier: a name and its deployments")
    name, price = baseline if isinstance(baseline, tuple) else (baseline, None)
    cache, cache_facts = read_cache(root.table("cache"), Places(folder, env))
    return Policy(
        version="",
        deployments=read_deployments(root, local, folder, env),
        tiers=read_tiers(root),
        rules=read_rules(root),
        profiles=read_profiles(root),
        default_tier=default_tier,
        unknown_model="refuse" if root.choice("unknown_model", "route", _UNKNOWN_MODEL) == "refuse" else "route",
        boundary=root.text("boundary", rule="the name of a boundary") or None,
        baseline=name if isinstance(name, str) else None,
        baseline_price=price,
        timeouts=read_timeouts(root.table("timeouts")),
        retries=read_retries(root.table("retries")),
        breaker=read_breaker(root.table("breaker")),
        affinity=read_affinity(root.table("affinity")),
        cache=cache,
        cache_facts=cache_facts,
        guard=read_guard(root.table("guard")),
        limits=read_limits(root.table("limits")),
        quotas=read_quotas(root),
        reserve=read_reserve(root.table("reserve")),
    )


def _server(root: Table, local: LocalModel, folder: Path, env: Mapping[str, str]) -> Server:
    table, below = root.table("server"), read_credits(root.table("credits"))
    sharing = read_sharing(table.table("sharing"), Places(folder, env))
    webhook = read_webhook(table.table("webhook"), Places(folder, env))
    if webhook is not None:
        webhook = msgspec.structs.replace(webhook, below_nanousd=below)
    elif below:
        root.notes.warning(("credits", "warn_below"), "nobody is told: [server.webhook] says whom to tell")
    return msgspec.structs.replace(read_server(table, local, folder), sharing=sharing, webhook=webhook)


def _baseline(table: Table) -> Baseline:
    """A deployment's name; { provider, model } or { name, price } for a model that is not served here."""
    value = table.take("baseline")
    table.done()
    if isinstance(value, dict):
        inner = table.table("baseline")
        if "model" in value or "provider" in value:
            return _reference(inner)
        name = inner.text("name", rule=NAME_RULE, check=NAME.fullmatch)
        price = read_price(inner, "price")
        inner.require("name", "what the comparison is called")
        inner.require("price", "what the model that is not served here costs")
        inner.done()
        return (name, price) if name else None
    if value is not None and not isinstance(value, str):
        right = "a deployment's name, { provider, model }, or { name, price }"
        table.problem("baseline", f"found {shown(value)}; expected {right}")
        return None
    return value


def _reference(table: Table) -> Reference:
    provider = table.text("provider", rule=f"a provider's name: {NAME_RULE}", check=NAME.fullmatch)
    table.require("provider", "the provider whose price for it is looked up")
    model = table.text("model", rule="the model's name as the provider knows it", check=str.isprintable)
    table.require("model", "the model whose price is looked up")
    table.done()
    return Reference(provider=provider, model=model)


def _read(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError([f"{path}: not a regular file"])
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        code = "not_found" if isinstance(error, FileNotFoundError) else None
        raise ConfigError([f"{path}: cannot be read: {reason}"], code=code) from error
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError([f"{path}: more than {FILE_BYTES_MAX} bytes"])
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: not UTF-8"]) from error


def _decode(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except RecursionError as error:
        raise ConfigError([f"{file}: nested too deeply"]) from error
    except (ValueError, ArithmeticError) as error:  # TOMLDecodeError is a ValueError; so is an integer of 5,000 digits
        raise ConfigError([f"{file}: not TOML: {error}"]) from error
