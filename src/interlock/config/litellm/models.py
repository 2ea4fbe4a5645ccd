"""`model_list`: each entry becomes a deployment, or is left out with the reason. Pure; no key is kept or shown."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from interlock.config.credentials import CREDENTIALS_MAX
from interlock.config.deployments import wrong_url
from interlock.config.lines import Path
from interlock.config.litellm import clouds
from interlock.config.litellm.providers import PROVIDERS, Provider, address, split
from interlock.config.prices import nanousd
from interlock.config.reading import dotted

ENTRIES_MAX = 256

_VARIABLE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]{0,127})")
_NO_KEY = ("", "none", "null", "empty", "dummy", "no-key", "not-needed")

_PRICES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
}
_STEP = re.compile(r"([a-z_]+?)_above_([1-9][0-9]{0,3})k_tokens")
_CAPABILITIES = {
    "supports_function_calling": "tools",
    "supports_vision": "images",
    "supports_reasoning": "reasoning",
    "supports_response_schema": "schema",
}

_HAVE_ADDRESS = ("openai", "anthropic", "bedrock", "vertex")
_PARAM = "requests pass through as they came: parameters are the client's to set"
_LIMIT = "there are no limits per deployment"
_REASONS = {
    **dict.fromkeys(("rpm", "tpm", "max_parallel_requests", "max_budget", "budget_duration"), _LIMIT),
    **dict.fromkeys(("temperature", "top_p", "max_tokens", "seed", "stop", "drop_params", "extra_body"), _PARAM),
    **dict.fromkeys(("timeout", "stream_timeout"), "timeouts are the same for all upstreams: [timeouts]"),
    **dict.fromkeys(("num_retries", "max_retries"), "a failed attempt goes to the tier's next deployment"),
    **dict.fromkeys(("weight", "tags"), "a tier's deployments are tried in order"),
    **dict.fromkeys(("organization", "extra_headers", "headers"), "no headers are added to a request"),
    "api_version": "the address that is used here has its version in it",
    **clouds.REASONS,
    "base_model": "a price is looked up by provider and model; set `price` if they do not tell",
    "input_cost_per_second": "prices are per token",
}


class Entry(msgspec.Struct, kw_only=True):
    """One deployment to write. `group` is the name that clients use."""

    index: int
    group: str
    provider: str
    model: str
    base_url: str
    formats: tuple[str, ...] = ()
    cloud: dict[str, str] = {}
    """`region`, `project` and the like, where the provider asks for them."""
    variables: list[str] = []
    """Where its keys are."""
    literal: bool = False
    """A key stood in the file: one of `variables` must be set now."""
    context: int | None = None
    max_output: int | None = None
    capabilities: tuple[str, ...] = ()
    assumed: bool = False
    """The file did not say what the model can do."""
    price: dict[str, str] | None = None
    steps: dict[int, dict[str, str]] = {}
    order: int = 1 << 30
    id: str = ""


class LeftOut:
    """What is not carried over, and why."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, path: Path, why: str) -> None:
        self.lines.append(f"{dotted(path)}: {why}")

    def rest(self, path: Path, values: Mapping[Any, Any], taken: set[str], why: Mapping[str, str], other: str) -> None:
        """Every key of `values` that was not taken."""
        for key in values:
            if key not in taken:
                self.add((*path, str(key)), why.get(str(key), other))


def read_entries(document: Mapping[Any, Any], left: LeftOut) -> list[Entry]:
    """The deployments of `model_list`, in its order."""
    listed = document.get("model_list")
    if not isinstance(listed, list):
        return []
    if len(listed) > ENTRIES_MAX:
        left.add(("model_list",), f"only the first {ENTRIES_MAX} entries are read")
    credentials = _credentials(document)
    found = (_entry(index, item, credentials, left) for index, item in enumerate(listed[:ENTRIES_MAX]))
    return _merged([entry for entry in found if entry])


def _merged(entries: list[Entry]) -> list[Entry]:
    """Entries that differ in their key alone are one deployment with several keys."""
    merged: list[Entry] = []
    for entry in entries:
        alike = next((known for known in merged if _twins(known, entry)), None)
        if alike is None:
            merged.append(entry)
        else:
            alike.variables += entry.variables
            alike.literal |= entry.literal
    return merged


def _twins(one: Entry, other: Entry) -> bool:
    if one.id or not one.variables or not other.variables:  # by an id, a fallback may mean one of them
        return False
    keys = [*one.variables, *other.variables]
    own = {"index": other.index, "variables": other.variables, "literal": other.literal}
    return len(set(keys)) == len(keys) <= CREDENTIALS_MAX and msgspec.structs.replace(one, **own) == other


def _credentials(document: Mapping[Any, Any]) -> dict[str, dict[Any, Any]]:
    """`credential_list`, by name."""
    listed = document.get("credential_list")
    items = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    values = ((item.get("credential_name"), item.get("credential_values")) for item in items)
    return {name: value for name, value in values if isinstance(name, str) and isinstance(value, dict)}


def _entry(index: int, item: Any, credentials: Mapping[str, dict[Any, Any]], left: LeftOut) -> Entry | None:
    path: Path = ("model_list", index)
    params = item.get("litellm_params") if isinstance(item, dict) else None
    group = item.get("model_name") if isinstance(item, dict) else None
    if not isinstance(params, dict) or not isinstance(group, str) or not isinstance(params.get("model"), str):
        left.add(path, "not an entry with `model_name` and `litellm_params.model`")
        return None
    shared = params.get("litellm_credential_name")
    params = {**(credentials.get(shared, {}) if isinstance(shared, str) else {}), **params}
    info = item.get("model_info") if isinstance(item.get("model_info"), dict) else {}
    why, provider, model, base_url = _place(group, params, info)
    cloud = None if provider is None else clouds.read(provider.name, model, params)
    if why or provider is None or cloud is None or cloud.why:
        left.add(path, f"{params['model']!r} as a whole: {why or (cloud and cloud.why)}")
        return None
    entry = Entry(index=index, group=group, provider=provider.name, model=cloud.model, base_url=base_url)
    entry.cloud = cloud.values
    entry.id = info["id"] if isinstance(info.get("id"), str) else ""
    if base_url and provider.name == "openai":
        entry.formats = ("chat",)
    _key(entry, params, provider, left)
    _abilities(entry, info)
    _prices(entry, {**info, **params}, left)
    if isinstance(params.get("order"), int):
        entry.order = params["order"]
    _remains(path, item, params, info, left)
    return entry


def _place(group: str, params: Mapping[Any, Any], info: Mapping[Any, Any]) -> tuple[str, Provider | None, str, str]:
    """(why not, provider, model, base URL)"""
    given = params.get("custom_llm_provider")
    prefix, model = split(params["model"], given if isinstance(given, str) else "")
    provider = PROVIDERS.get(prefix)
    base = params.get("api_base") or params.get("base_url") or ""
    if "*" in group or "*" in model:
        return "a wildcard; a deployment has one model here", None, "", ""
    if info.get("mode") not in (None, "chat", "responses", "completion"):
        return "its mode is not one of chat and responses", None, "", ""
    if provider is None:
        who = "names no provider" if not prefix else "this provider's own protocol is not spoken here"
        return who, None, "", ""
    if not model or len(model) > 256 or not model.isprintable():
        return "its model's name is empty, too long or has control characters", None, "", ""
    if isinstance(base, str) and base.startswith("os.environ/"):
        return "its address comes from the environment; write it out as `api_base` and import again", None, "", ""
    base_url = address(provider, base) if isinstance(base, str) and not (base and wrong_url(base)) else "?"
    if (base_url and wrong_url(base_url)) or (not base_url and provider.name not in _HAVE_ADDRESS):
        return "it needs `api_base`, a plain http or https address", None, "", ""
    return "", provider, model, base_url


def _key(entry: Entry, params: Mapping[Any, Any], provider: Provider, left: LeftOut) -> None:
    key = params.get("api_key")
    named = _VARIABLE.fullmatch(key) if isinstance(key, str) else None
    if named:
        entry.variables = [named[1]]
    elif key is None:
        known = provider.key_variable if entry.base_url in ("", provider.base_url) else ""
        entry.variables = [known] if known else []
    elif not isinstance(key, str) or key.lower() not in _NO_KEY:
        slug = re.sub(r"[^A-Z0-9]+", "_", f"{entry.provider}_{entry.index}".upper())
        entry.variables, entry.literal = [f"{slug}_API_KEY"], True
        why = f"a literal key (not shown) is not carried over; set {entry.variables[0]} to it"
        left.add(("model_list", entry.index, "litellm_params", "api_key"), why)


def _abilities(entry: Entry, info: Mapping[Any, Any]) -> None:
    told = {ours: info[theirs] is True for theirs, ours in _CAPABILITIES.items() if theirs in info}
    entry.assumed = not told
    entry.capabilities = tuple(ours for ours in _CAPABILITIES.values() if told.get(ours, entry.assumed))
    entry.context = _tokens(info.get("max_input_tokens"))
    entry.max_output = _tokens(info.get("max_output_tokens"))


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1 << 30 else None


def _prices(entry: Entry, values: Mapping[Any, Any], left: LeftOut) -> None:
    base = {ours: _per_mtok(values[theirs]) for theirs, ours in _PRICES.items() if values.get(theirs) is not None}
    if not base:
        return
    if None in base.values() or "input" not in base or "output" not in base:
        left.add(("model_list", entry.index), "its price: an input and an output price, each a decimal, are needed")
        return
    entry.price = {kind: price for kind, price in base.items() if price is not None}
    steps: dict[int, dict[str, str]] = {}
    for key, value in values.items():
        step = _STEP.fullmatch(key) if isinstance(key, str) else None
        price = _per_mtok(value) if step and step[1] in _PRICES else None
        if step and price is not None:
            steps.setdefault(int(step[2]) * 1000, {})[_PRICES[step[1]]] = price
    entry.steps = dict(sorted(steps.items())[:8])


def _per_mtok(value: object) -> str | None:
    """Dollars per million tokens, exact; None: not a price. To YAML `1e-06` is a string, `1.0e-06` a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    try:
        price = Decimal(value).scaleb(6)
        nanousd(price)
    except (InvalidOperation, ValueError):
        return None
    return f"{price.normalize():f}"


def _remains(
    path: Path, item: Mapping[Any, Any], params: Mapping[Any, Any], info: Mapping[Any, Any], left: LeftOut
) -> None:
    steps = {
        key for key in (*params, *info) if isinstance(key, str) and (m := _STEP.fullmatch(key)) and m[1] in _PRICES
    }
    priced = {*_PRICES, *steps}
    taken = {"model", "custom_llm_provider", "api_key", "api_base", "base_url", "order", "litellm_credential_name"}
    taken |= clouds.TAKEN
    left.rest((*path, "litellm_params"), params, taken | priced, _REASONS, "has no counterpart")
    known = {"id", "mode", "max_input_tokens", "max_output_tokens", *_CAPABILITIES} | priced
    left.rest((*path, "model_info"), info, known, _REASONS, "has no counterpart")
    left.rest(path, item, {"model_name", "litellm_params", "model_info"}, _REASONS, "has no counterpart")
