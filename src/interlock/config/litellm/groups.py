"""Model groups, aliases and fallbacks of LiteLLM as tiers and rules of ours. Pure.

A group of deployments that clients call by one name is a tier of that name. A fallback is more deployments at the end
of the tier; an alias is a second tier with the same deployments. A name that cannot be a tier's gets a rule instead.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from interlock.config.lines import Path
from interlock.config.litellm.models import Entry, LeftOut
from interlock.config.reading import NAME
from interlock.config.routes import RULES_MAX, TIERS_MAX


class Routes(msgspec.Struct, frozen=True):
    """What is written: deployments by name, tiers, and (model name, tier) rules."""

    deployments: dict[str, Entry]
    tiers: dict[str, tuple[str, ...]]
    rules: list[tuple[str, str]]


def read_routes(entries: Sequence[Entry], document: Mapping[Any, Any], left: LeftOut) -> Routes:
    """Tiers for groups and aliases, with their fallbacks."""
    deployments = _named(entries)
    members: dict[str, list[str]] = {}
    for name, entry in sorted(deployments.items(), key=lambda pair: pair[1].order):  # stable: the file's order within
        members.setdefault(entry.group, []).append(name)
    members = {group: members[group] for group in dict.fromkeys(entry.group for entry in entries)}
    targets = {**{entry.id: [name] for name, entry in deployments.items() if entry.id}, **members}
    aliases = dict(_aliases(document, members, left))
    targets |= {alias: members[group] for alias, group in aliases.items()}
    extended = _fall_back(members, targets, list(_fallbacks(document, left)), left)
    extended |= {alias: extended[group] for alias, group in aliases.items() if alias not in extended}
    return _tiers(deployments, extended, aliases, left)


def _named(entries: Iterable[Entry]) -> dict[str, Entry]:
    """A name for each deployment: provider and model, numbered where they repeat."""
    named: dict[str, Entry] = {}
    groups = {entry.group for entry in entries}
    for entry in entries:
        stem = slug(f"{entry.provider}-{entry.model}")
        names = (stem, *(f"{stem[:60]}-{number}" for number in range(2, 1000)))
        named[next(name for name in names if name not in named and name not in groups)] = entry
    return named


def slug(text: str) -> str:
    """The nearest good name.

    >>> slug("openai/GPT 4o")
    'openai-gpt-4o'
    """
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64] or "model"


def _aliases(document: Mapping[Any, Any], groups: Mapping[str, Any], left: LeftOut) -> Iterator[tuple[str, str]]:
    path: Path = ("router_settings", "model_group_alias")
    for alias, target in _mapping(_mapping(document.get("router_settings")).get("model_group_alias")).items():
        group = target.get("model") if isinstance(target, dict) else target
        if isinstance(alias, str) and isinstance(group, str) and group in groups:
            if alias not in groups:
                yield alias, group
        else:
            left.add((*path, str(alias)), "stands for a model that was not carried over")


def _fallbacks(document: Mapping[Any, Any], left: LeftOut) -> Iterator[tuple[Path, str, list[Any]]]:
    """(where, group or `*`, targets), those for one group before those for all."""
    sections = [(name, _mapping(document.get(name))) for name in ("router_settings", "litellm_settings")]
    for key in ("fallbacks", "context_window_fallbacks"):
        for section, values in sections:
            listed = values.get(key)
            for item in listed if isinstance(listed, list) else []:
                for group, targets in _mapping(item).items():
                    yield (section, key, str(group)), str(group), targets if isinstance(targets, list) else []
    for section, values in sections:
        listed = values.get("default_fallbacks")
        if isinstance(listed, list):
            yield (section, "default_fallbacks"), "*", listed
        if "content_policy_fallbacks" in values:
            left.add((section, "content_policy_fallbacks"), "an answer is never sent again for what it says")


def _fall_back(
    members: Mapping[str, list[str]], targets: Mapping[str, list[str]], fallbacks: list[Any], left: LeftOut
) -> dict[str, list[str]]:
    extended = {group: list(names) for group, names in members.items()}
    for path, group, wanted in sorted(fallbacks, key=lambda item: item[1] == "*"):
        known = [target for target in wanted if isinstance(target, str) and target in targets]
        if len(known) < len(wanted) or (group != "*" and group not in members):
            left.add(path, "names a model that was not carried over, or more than a name")
        for own in members if group == "*" else [group] if group in members else []:
            more = (name for target in known for name in targets[target])
            extended[own] = list(dict.fromkeys([*extended[own], *more]))[:64]
    return extended


def _tiers(
    deployments: dict[str, Entry], extended: Mapping[str, list[str]], aliases: Mapping[str, str], left: LeftOut
) -> Routes:
    tiers: dict[str, tuple[str, ...]] = {}
    rules: list[tuple[str, str]] = []
    named: dict[str, str] = {}
    good = {name for name in extended if NAME.fullmatch(name) and name != "auto"}
    for name in extended:
        odd = name not in good
        if (
            len(tiers) >= TIERS_MAX
            or len(rules) >= RULES_MAX
            or (odd and not (name.isprintable() and 0 < len(name) <= 200))
        ):
            left.add((name,), f"as a name for clients: it is not printable, or there are more than {TIERS_MAX}")
            continue
        tier = named[aliases[name]] if odd and aliases.get(name) in named else name
        if odd and name not in aliases:
            stem = slug(name)
            tier = next(
                t for t in (stem, *(f"{stem[:60]}-{n}" for n in range(2, 1000))) if t not in good | {*tiers, "auto"}
            )
        named[name] = tier
        tiers.setdefault(tier, tuple(extended[name]))
        if odd:
            rules.append((name, tier))
    return Routes(deployments, tiers, rules)


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}
