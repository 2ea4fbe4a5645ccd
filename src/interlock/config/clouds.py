"""What a cloud asks of a deployment beside what all have: region, project, API, and the address that follows from them.

These providers are spoken to in protocols of their own (gateway.providers), so their formats are not the file's to set.
"""

import re
from collections.abc import Mapping

import msgspec

from interlock.config.reading import Table, shown

REGION = re.compile(r"[a-z]{2,16}(-[a-z0-9]{1,16}){0,4}")
PROJECT = re.compile(r"[a-z0-9]([a-z0-9.:-]{0,61}[a-z0-9])?")
_RULES: Mapping[str, tuple[re.Pattern[str], str]] = {
    "region": (REGION, 'a region as the cloud writes it, e.g. "{}"'),
    "project": (PROJECT, 'the id of a project, e.g. "{}"'),
    "api_version": (re.compile(r"[a-z0-9][a-z0-9.-]{0,31}"), 'an api-version, e.g. "{}"'),
}
"""Regions become part of a host's name, the others of a path: nothing that could change either may be in them."""


class Cloud(msgspec.Struct, frozen=True, kw_only=True):
    """What may and must be said of a deployment there."""

    needs: Mapping[str, str] = {}
    """Keys that must be there, with an example."""
    may: Mapping[str, str] = {}
    """Keys that need not be there, with an example."""
    apis: tuple[str, ...] = ()
    """The first, unless it says otherwise; `anthropic` for its models."""
    address: str = ""
    """The base URL, with `{region}`; empty: it must be set."""
    own_format: bool = True
    """It is reached by translation from Messages, and from nothing else."""
    own_login: bool = False
    """Without a credential, the cloud's own identity of the machine or its user is taken."""


CLOUDS: Mapping[str, Cloud] = {
    "bedrock": Cloud(
        needs={"region": "eu-central-1"},
        apis=("converse", "anthropic"),
        address="https://bedrock-runtime.{region}.amazonaws.com",
        own_login=True,
    ),
    "vertex": Cloud(
        needs={"project": "my-project", "region": "europe-west4"},
        apis=("gemini", "anthropic"),
        address="https://{region}-aiplatform.googleapis.com",
        own_login=True,
    ),
    "gemini": Cloud(address="https://generativelanguage.googleapis.com"),
    "azure": Cloud(may={"api_version": "2024-10-21"}, own_format=False, own_login=True),
}
_NOWHERE = Cloud(own_format=False)
_GLOBAL = {("vertex", "global"): "https://aiplatform.googleapis.com"}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What was read; empty strings where there is nothing."""

    api: str = ""
    region: str = ""
    project: str = ""
    api_version: str = ""
    address: str = ""
    """The base URL that follows."""


def read_place(table: Table, provider: str, model: str) -> Place:
    """`api`, `region`, `project`, `api_version`."""
    cloud = CLOUDS.get(provider, _NOWHERE)
    values = {"api": _api(table, provider, model)}
    for key, (pattern, rule) in _RULES.items():
        example = cloud.needs.get(key) or cloud.may.get(key)
        if example is None:
            _has_none(table, provider, key)
            continue
        values[key] = table.text(key, rule=rule.format(example), check=pattern.fullmatch)
        if key in cloud.needs:
            table.require(key, rule.format(example))
    region = values.get("region", "")
    address = _GLOBAL.get((provider, region)) or cloud.address.format(region=region)
    return Place(**values, address=address)


def _api(table: Table, provider: str, model: str) -> str:
    apis = CLOUDS.get(provider, _NOWHERE).apis
    if not apis:
        _has_none(table, provider, "api")
        return ""
    # Of Claude, only Anthropic's own body carries all that Messages can say.
    return table.choice("api", "anthropic" if "claude" in model.lower() else apis[0], apis)


def _has_none(table: Table, provider: str, key: str) -> None:
    if table.take(key) is None or not provider:  # without a provider nobody can say what it has
        return
    owners = [name for name, c in CLOUDS.items() if key in c.needs or key in c.may or (key == "api" and c.apis)]
    table.problem(key, f"provider {shown(provider)} has none; expected it only with {' or '.join(owners)}")
