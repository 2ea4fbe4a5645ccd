"""`interlock config import litellm FILE`: a LiteLLM configuration as an interlock.toml, and what has no place in it.

Keys and other secrets of the file are never printed, in the result, in `left_out` or in an error. Nothing is guessed
about data boundaries: a translated deployment declares none, so a boundary refuses it until somebody says where its
data goes.
Format: LiteLLM's documentation, "Config.yaml" and "All settings", as of 2026.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from interlock.config.litellm import yamltext
from interlock.config.litellm.groups import Routes, read_routes
from interlock.config.litellm.models import Entry, LeftOut, read_entries
from interlock.config.sections import SECONDS_MAX, SECONDS_MIN
from interlock.errors import ConfigError

_CARRIED = {
    "router_settings": {"model_group_alias", "fallbacks", "context_window_fallbacks", "default_fallbacks", "timeout"},
    "litellm_settings": {"fallbacks", "context_window_fallbacks", "default_fallbacks", "request_timeout"},
}
_REASONS = {
    "master_key": "keys are issued with `interlock keys issue` (the value is not shown)",
    "database_url": "no database is needed: usage, keys and policies are in the data directory",
    "routing_strategy": "a tier's deployments are tried in order",
    "num_retries": "a failed attempt goes to the tier's next deployment",
    "drop_params": "requests pass through as they came",
    "cache": "answers are not cached",
    "cache_params": "answers are not cached",
    "success_callback": "every call is in the usage log; see `interlock usage`",
    "failure_callback": "every call is in the usage log; see `interlock usage`",
    "callbacks": "every call is in the usage log; see `interlock usage`",
    "content_policy_fallbacks": "an answer is never sent again for what it says",
    "set_verbose": "has no counterpart",
}


class Translation(msgspec.Struct, frozen=True):
    """What came of a LiteLLM configuration."""

    toml: str
    """A file that `interlock.config.load` accepts."""
    left_out: list[str]
    """`PATH: why`, for everything that was not carried over."""


def translate(yaml_text: str) -> Translation:
    """Translate a LiteLLM proxy configuration.

    Raises: ConfigError: not YAML within bounds, or no model in it that could be served here.
    """
    document = yamltext.load(yaml_text)
    if not isinstance(document, dict):
        raise ConfigError(["not a LiteLLM configuration: expected a mapping with `model_list`"])
    left = LeftOut()
    entries = read_entries(document, left)
    if not entries:
        raise ConfigError(["no model of `model_list` could be carried over", *left.lines])
    routes = read_routes(entries, document, left)
    _sections(document, left)
    total_s = _total(document, left)
    lines = list(dict.fromkeys(left.lines))
    return Translation(toml="\n".join(_write(routes, total_s, lines)) + "\n", left_out=lines)


def _sections(document: Mapping[Any, Any], left: LeftOut) -> None:
    for section, value in document.items():
        path = (str(section),)
        if section in ("model_list", "credential_list"):
            continue
        if section == "environment_variables" and isinstance(value, dict):
            left.rest(path, value, set(), {}, "set it in the server's environment (the value is not shown)")
        elif section in ("router_settings", "litellm_settings", "general_settings") and isinstance(value, dict):
            taken = _CARRIED.get(str(section), set())
            seen = {"content_policy_fallbacks"} if section != "general_settings" else set()
            left.rest(path, value, taken | seen, _REASONS, "has no counterpart")
        else:
            left.add(path, "has no counterpart")


def _total(document: Mapping[Any, Any], left: LeftOut) -> str:
    """Seconds that a call may take, if the file says."""
    total_s = ""
    for section, key in (("router_settings", "timeout"), ("litellm_settings", "request_timeout")):
        values = document.get(section)
        value = values.get(key) if isinstance(values, dict) else None
        good = isinstance(value, int | Decimal) and not isinstance(value, bool) and SECONDS_MIN <= value <= SECONDS_MAX
        if good and not total_s:
            total_s = f"{value:f}" if isinstance(value, Decimal) else str(value)
        elif value is not None:
            left.add((section, key), "not a time from a millisecond to a day, or the router's own counts")
    return total_s


def _write(routes: Routes, total_s: str, left_out: list[str]) -> Iterator[str]:
    yield "# Translated from a LiteLLM configuration. What was not carried over is listed at the end."
    yield "# Boundaries are not declared there: add `boundary = { ... }` to each deployment that is to be inside one."
    if any(entry.assumed for entry in routes.deployments.values()):
        yield "# Capabilities marked `assumed` were not told (LiteLLM forwards all): strike out what a model lacks."
    yield ""
    yield "# Calls for `auto`, and for a name that nobody configured if those are let in, take this tier."
    yield f"default_tier = {_text(next(iter(routes.tiers)))}"
    yield f'unknown_model = "{"route" if routes.rules else "refuse"}"'
    if routes.rules:
        yield "# LiteLLM refuses unknown names. Some names below cannot be a tier's and need rules, so all are let in."
    if total_s:
        yield f"\n[timeouts]\ntotal_s = {total_s}"
    for name, entry in routes.deployments.items():
        yield from _deployment(name, entry)
    yield "\n# A tier is a name that clients may ask for. Its deployments are tried in order."
    yield "[tiers]"
    for tier, names in routes.tiers.items():
        yield f"{_key(tier)} = {_list(names)}"
    for number, (model, tier) in enumerate(routes.rules, 1):
        pattern = "".join(f"[{char}]" if char in "*?[" else char for char in model)
        yield f'\n[[rules]]\nname = "alias-{number}"\nwhen = {{ model = [{_text(pattern)}] }}\ntier = {_text(tier)}'
    if left_out:
        yield "\n# Not carried over:"
        yield from (f"#   {line}" for line in left_out)


def _deployment(name: str, entry: Entry) -> Iterator[str]:
    yield f"\n[deployments.{_key(name)}]"
    yield f"provider = {_text(entry.provider)}"
    if entry.base_url:
        yield f"base_url = {_text(entry.base_url)}"
    yield f"model = {_text(entry.model)}"
    if entry.formats:
        yield f"formats = {_list(entry.formats)}"
    for key, value in entry.cloud.items():
        yield f"{key} = {_text(value)}"
    if entry.literal:
        yield "# A key that stood in the file is not carried over: set the variable that has its place to it."
    variables = [f"{{ env = {_text(variable)} }}" for variable in entry.variables]
    if len(variables) == 1:
        yield f"credential = {variables[0]}"
    elif variables:
        yield f"credentials = [{', '.join(variables)}]"
    if entry.context:
        yield f"context_window = {entry.context}"
    if entry.max_output:
        yield f"max_output = {entry.max_output}"
    if entry.capabilities:
        assumed = "  # assumed" if entry.assumed else ""
        yield f"capabilities = {_list(entry.capabilities)}{assumed}"
    if entry.price is not None:
        yield f"price = {_price(entry)}"


def _price(entry: Entry) -> str:
    kinds = entry.price or {}
    if not entry.steps and all(Decimal(price) == 0 for price in kinds.values()):
        return '"free"'
    steps = [
        f"{{ input_tokens = {tokens}, {', '.join(f'{kind} = {_text(price)}' for kind, price in prices.items())} }}"
        for tokens, prices in entry.steps.items()
    ]
    parts = [f"{kind} = {_text(price)}" for kind, price in kinds.items()]
    return "{ " + ", ".join([*parts, *([f"above = [{', '.join(steps)}]"] if steps else [])]) + " }"


def _text(value: str) -> str:
    """A TOML string. JSON's is one as long as there are no control characters, and those were refused before."""
    return msgspec.json.encode(value).decode()


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() else _text(name)


def _list(values: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_text, values))}]"
