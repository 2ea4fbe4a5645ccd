"""[deployments.NAME]: one model at one place, with the defaults that its provider implies."""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import TypeVar

from interlock.config.addresses import read_address
from interlock.config.clouds import CLOUDS, Place, read_place
from interlock.config.credentials import Places, read_credentials
from interlock.config.prices import FREE, read_price
from interlock.config.reading import NAME, NAME_RULE, PLACE, Table, shown
from interlock.config.sections import is_file
from interlock.config.value import LocalModel
from interlock.gateway import Deployment, Facts
from interlock.ledger import Format

DEPLOYMENTS_MAX = 256
CAPABILITIES = ("tools", "images", "reasoning", "schema", "prefill")
FORMATS: tuple[Format, ...] = ("chat", "responses", "messages", "embeddings")
BASE_URLS: Mapping[str, str] = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com/v1"}

_SPOKEN: Mapping[str, tuple[Format, ...]] = {
    "openai": ("chat", "responses"),
    "anthropic": ("messages",),
    "local": ("chat", "responses", "messages"),
}
_FAMILIES: Mapping[str, str] = {"openai": "gpt", "anthropic": "claude"}
AGREEMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,127}")
_REGION_HEADERS = {"azure": "x-ms-region"}
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_ENDPOINTS = ("/chat/completions", "/responses", "/messages", "/embeddings")
DAYS_MAX = 36_500

T = TypeVar("T", bound=str)


def read_deployments(root: Table, local: LocalModel, folder: Path, env: Mapping[str, str]) -> dict[str, Deployment]:
    """All of them, by name."""
    named = root.named("deployments", DEPLOYMENTS_MAX)
    return {name: _deployment(name, table, local, folder, env) for name, table in named}


def _deployment(name: str, table: Table, local: LocalModel, folder: Path, env: Mapping[str, str]) -> Deployment:
    known = (*BASE_URLS, *CLOUDS, "local")
    provider = table.text("provider", rule=f"a provider's name: {NAME_RULE}", check=NAME.fullmatch)
    table.require("provider", f"who serves the model: {', '.join(known)}, or another name (then with `base_url`)")
    managed = provider == "local"
    default_model = Path(local.model).stem if local.model.endswith(".gguf") else local.model
    model = table.text("model", default_model if managed else name, rule="the model's name as the provider knows it")
    place = read_place(table, provider, model)
    base_url = _base_url(table, provider, place)
    credential, credentials = read_credentials(table, Places(folder, env))
    if managed and credentials:
        table.problem("credentials", 'provider "local" is the managed model, which is given a key of its own')
    value = Deployment(
        name=name,
        provider=provider,
        base_url=base_url,
        model=model,
        family=table.text("family", family_of(provider, base_url, model), rule=NAME_RULE, check=NAME.fullmatch),
        formats=_formats(table, provider),
        facts=read_facts(table.table("boundary"), provider),
        credential=credential,
        credentials=credentials,
        context_window=table.integer("context_window", local.context if managed else None, 1, 1 << 30, "tokens"),
        max_output=table.integer("max_output", None, 1, 1 << 30, "tokens"),
        capabilities=_among(table, "capabilities", CAPABILITIES),
        price=read_price(table, "price") or (FREE if managed else None),
        ca_bundle=read_ca_bundle(table, folder),
        api=place.api,
        region=place.region,
        project=place.project,
        api_version=place.api_version,
    )
    table.done()
    _remark(table, value)
    return value


def family_of(provider: str, base_url: str, model: str) -> str:
    """Which models understand each other's reasoning: `gpt` at OpenAI's own address, `claude` at Anthropic's, otherwise
    the first word of the model's name (at bedrock: without the places and makers before its dots).

    >>> family_of("ollama", "http://127.0.0.1:11434/v1", "library/qwen3:8b")
    'qwen3'
    """
    if provider in _FAMILIES and base_url == BASE_URLS[provider]:
        return _FAMILIES[provider]
    word = re.split(r"[-:@ ]", model.rsplit("/", 1)[-1].lower(), maxsplit=1)[0]
    word = word.rsplit(".", 1)[-1] if provider == "bedrock" else word
    return word if NAME.fullmatch(word) else provider


def _base_url(table: Table, provider: str, place: Place) -> str:
    if provider == "local":
        if table.take("base_url") is not None:
            table.problem(
                "base_url",
                'provider "local" is the managed model, whose address is not yours to set; '
                'expected another provider name (e.g. "ollama") for a server you run yourself',
            )
        return ""
    default = BASE_URLS.get(provider, place.address)
    rule = "http:// or https://, a host, and the path up to and with /v1"
    value = table.take("base_url")
    if value is None:
        if provider and not default:
            table.require("base_url", f"the address of provider {shown(provider)}: {rule}")
        return default
    why = wrong_url(value) if isinstance(value, str) else "it is not a string"
    if why:
        table.problem("base_url", f"{why}; expected {rule}")  # the value may hold a password: never shown
        return default
    return str(value).rstrip("/")


def wrong_url(text: str) -> str:
    """Why a text cannot be a base URL; empty if it can."""
    parts, why = read_address(text, ("http", "https"))
    if parts is None:
        return why
    if "@" in parts.netloc:
        return "it holds a user, which belongs into `credential`"
    if "?" in text or "#" in text:
        return "it has a query or fragment"
    ending = next((end for end in _ENDPOINTS if parts.path.rstrip("/").endswith(end)), "")
    return f"it ends in {ending}, which is added for each call" if ending else ""


def _formats(table: Table, provider: str) -> tuple[Format, ...]:
    chosen = _among(table, "formats", FORMATS)
    cloud = CLOUDS.get(provider)
    if cloud is None or not cloud.own_format:
        return chosen or _SPOKEN.get(provider, ("chat",))
    if chosen not in ((), ("messages",)):
        why = f"provider {shown(provider)} has a protocol of its own, into which Messages is translated"
        table.wrong("formats", f'no such key, or ["messages"]: {why}')
    return ("messages",)


def _among(table: Table, key: str, options: tuple[T, ...]) -> tuple[T, ...]:
    rule = "one of " + ", ".join(f'"{option}"' for option in options)
    chosen = table.strings(key, rule=rule, check=lambda item: item in options, close=options) or ()
    return tuple(option for option in options if option in chosen)


def read_facts(table: Table, provider: str) -> Facts:
    """What is declared about a place. Of the managed model (`local`) and of Azure something is known."""
    managed = provider == "local"
    facts = Facts(
        geographies=places(table, "geographies") or (),
        retention_days=table.integer("retention_days", 0 if managed else None, 0, DAYS_MAX, "days; 0: not kept"),
        human_review=table.flag("human_review", False if managed else None),
        training=table.flag("training", False if managed else None),
        local=table.flag("local", managed) or False,
        agreements=table.strings("agreements", rule="the name of terms", check=AGREEMENT.fullmatch) or (),
        region_header=table.text(
            "region_header", _REGION_HEADERS.get(provider, ""), rule="a header's name", check=_HEADER.fullmatch
        ).lower(),
        peers=table.strings("peers", rule="a network, e.g. 10.0.0.0/8 or 2001:db8::/32", check=_is_network) or (),
    )
    table.done()
    return facts


def places(table: Table, key: str) -> tuple[str, ...] | None:
    """An array of regions."""
    return table.strings(key, rule='a region in lower case, e.g. "eu" or "us"', check=PLACE.fullmatch)


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def read_ca_bundle(table: Table, folder: Path) -> str:
    """The absolute path of the authorities' file; empty: the system's are meant."""
    path = table.text("ca_bundle", rule="the path of a PEM file")
    if path and not is_file(folder / path):
        table.problem("ca_bundle", "names a file that is not there; relative paths start at the configuration's folder")
    return str((folder / path).absolute()) if path else ""


def _remark(table: Table, value: Deployment) -> None:
    told = "credential" in table.values or "credentials" in table.values
    cloud = CLOUDS.get(value.provider)
    answers_nobody = value.base_url in BASE_URLS.values() or (cloud and not cloud.own_login)
    if not told and answers_nobody:
        table.notes.credential(table.path, "has no `credential`, and this provider answers nobody without one")
