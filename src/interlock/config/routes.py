"""[tiers], [[rules]], [boundaries.NAME]: where calls go and what limits them. Names are looked up in checks.py."""

from typing import get_args

from interlock.config.caching import read_caching
from interlock.config.deployments import DAYS_MAX, FORMATS, places
from interlock.config.reading import NAME, NAME_RULE, PLACE, Table, shown
from interlock.gateway import Profile, Rule, Tier, When
from interlock.gateway.boundary import ANYWHERE, COUNTRY, SOURCE
from interlock.gateway.profiles import READY
from interlock.ledger import Format

TIERS_MAX = 64
MEMBERS_MAX = 256
WEIGHT_MAX = 1_000
RULES_MAX = 1024
PROFILES_MAX = 64
LABELS_MAX = 16  # a key has no more
TOKENS_MAX = 1 << 40

FLAGS = ("tools", "tool_result", "images", "reasoning", "schema", "stream", "chore")
_FORMATS: dict[str, Format] = {name: name for name in get_args(Format)}


def read_tiers(root: Table) -> dict[str, Tier]:
    """[tiers]: a name and its deployments, in order of preference."""
    table = root.table("tiers")
    if len(table.values) > TIERS_MAX:
        root.problem("tiers", f"found {len(table.values)} tiers; expected at most {TIERS_MAX}")
    tiers: dict[str, Tier] = {}
    for name in list(table.values)[:TIERS_MAX]:
        if not NAME.fullmatch(name) or name == "auto":
            why = 'means "let the rules choose"' if name == "auto" else "is not a good name"
            table.problem(name, f"{why}; expected {NAME_RULE}{', and not auto' if name == 'auto' else ''}")
        tiers[name] = _tier(name, table)
    return tiers


def _tier(name: str, table: Table) -> Tier:
    value = table.values[name]
    if not isinstance(value, list) or not any(isinstance(item, dict) for item in value):
        members = table.strings(name, rule="the name of a deployment, or a table of names and weights", check=bool)
        return Tier(name=name, deployments=members or ())
    table.take(name)
    names: list[str] = []
    groups: list[dict[str, int]] = []
    for index, item in enumerate(value):
        place = (*table.at(name), index)
        if isinstance(item, dict):
            inner = Table(item, place, table.notes)
            weights = {one: inner.integer(one, 1, 1, WEIGHT_MAX, "its share of the conversations") or 1 for one in item}
            inner.done()
            groups.append(weights)
            names.extend(weights)
        elif isinstance(item, str) and item:
            names.append(item)
        else:
            table.notes.problem(place, f"found {shown(item)}; expected a deployment, or a table of names and weights")
    if len(names) > MEMBERS_MAX or len(names) != len(set(names)):
        table.problem(name, f"expected at most {MEMBERS_MAX} deployments, each once")
    return Tier(name=name, deployments=tuple(names), spread=tuple(group for group in groups if len(group) > 1))


def read_rules(root: Table) -> tuple[Rule, ...]:
    """[[rules]]: the first that matches decides."""
    value = root.take("rules")
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > RULES_MAX:
        root.wrong("rules", f"at most {RULES_MAX} tables, each written as [[rules]]")
        return ()
    if not all(isinstance(item, dict) for item in value):
        root.problem("rules", "found an array with other things; expected tables only, each written as [[rules]]")
        return ()
    return tuple(_rule(Table(item, (*root.at("rules"), index), root.notes)) for index, item in enumerate(value))


def _rule(table: Table) -> Rule:
    name = table.text("name", rule=NAME_RULE, check=NAME.fullmatch)
    tier = table.text("tier", rule="the name of a tier")
    table.require("name", "a name for `interlock explain` to show")
    table.require("tier", "the tier that the rule leads to")
    when = _when(table.table("when"))
    saves = table.choice("switch", "always", ("always", "saving")) == "saving"
    goes_on = table.choice("on_cut", "error", ("error", "continue")) == "continue"
    cache = read_caching(table)
    table.done()
    return Rule(
        name=name,
        when=when,
        tier=tier,
        on_cut="continue" if goes_on else "error",
        switch="saving" if saves else "always",
        cache=cache,
    )


def _when(table: Table) -> When:
    mode = table.strings(
        "mode", rule="a mode in lower case (modes are compared so)", check=lambda text: text == text.lower()
    )
    formats = table.strings(
        "format", rule=f"one of {', '.join(FORMATS)}", check=lambda text: text in FORMATS, close=FORMATS
    )
    low = table.integer("input_tokens_min", None, 0, TOKENS_MAX, "tokens")
    high = table.integer("input_tokens_max", None, 0, TOKENS_MAX, "tokens")
    if low is not None and high is not None and low > high:
        table.problem("input_tokens_min", f"found {low}, above input_tokens_max {high}; nothing could match")
    value = When(
        mode=mode,
        model=table.strings("model", rule='a shell pattern of model names, e.g. "claude-*"', check=bool),
        tenant=table.strings("tenant", rule="a tenant's name", check=bool),
        principal=table.strings("principal", rule="a principal", check=bool),
        format=None if formats is None else tuple(_FORMATS[name] for name in formats if name in _FORMATS),
        labels=_labels(table),
        input_tokens_min=low,
        input_tokens_max=high,
        **{flag: table.flag(flag) for flag in FLAGS},
    )
    table.done()
    return value


def _is_lower(text: str) -> bool:
    return text == text.lower()


def _labels(table: Table) -> dict[str, str] | None:
    if table.take("labels") is None:
        return None
    inner = table.table("labels")
    if len(inner.values) > LABELS_MAX:
        table.problem("labels", f"found {len(inner.values)} labels; expected at most {LABELS_MAX}")
    return {name: inner.text(name, rule="a label's value, a string") for name in list(inner.values)[:LABELS_MAX]}


def read_profiles(root: Table) -> dict[str, Profile]:
    """[boundaries.NAME], and the ready ones."""
    own = {name: _profile(name, table) for name, table in root.named("boundaries", PROFILES_MAX)}
    return {**READY, **own}


def _sources(table: Table) -> dict[str, tuple[str, ...]] | None:
    """`sources`: where calls from a place may go."""
    if table.take("sources") is None:
        return None
    inner = table.table("sources")
    rule = f'a region in lower case, "{SOURCE}", "{COUNTRY}" or "{ANYWHERE}"'
    found: dict[str, tuple[str, ...]] = {}
    for source in list(inner.values):
        if source != ANYWHERE and not PLACE.fullmatch(source):
            inner.problem(source, f'not a good name of a source; expected a region in lower case, or "{ANYWHERE}"')
        to = inner.strings(source, rule=rule, check=lambda text: text == ANYWHERE or PLACE.fullmatch(text))
        found[source] = to or ()
    if not inner.values:
        table.problem("sources", "is empty; expected at least one source and its destinations")
    inner.done()
    return found


def _profile(name: str, table: Table) -> Profile:
    value = Profile(
        name=name,
        geographies=places(table, "geographies"),
        sources=_sources(table),
        sensitive="local" if table.choice("sensitive", "", ("local",)) else None,
        retention_days_max=table.integer("retention_days_max", None, 0, DAYS_MAX, "days; 0: must not be kept"),
        human_review=table.flag("human_review"),
        training=table.flag("training"),
        local_only=table.flag("local_only", False) or False,
    )
    table.done()
    clauses = (
        value.geographies,
        value.sources,
        value.sensitive,
        value.retention_days_max,
        value.human_review is False or None,
        value.training is False or None,
    )
    if not value.local_only and all(clause is None for clause in clauses):
        table.notes.warning(table.path, "has no clause that forbids anything: every deployment is inside it")
    return value
