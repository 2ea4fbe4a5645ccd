"""Bedrock and Vertex AI in LiteLLM: region, project and API, which stand in parameters and in the model's name. Pure.

Credentials of a cloud are not carried over: where there is no key, its own library finds those of the machine.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from interlock.config.clouds import PROJECT, REGION

_AWS_REGION = re.compile(r"[a-z]{2}(-[a-z]{2,12}){1,3}-[0-9]")
TAKEN = {"aws_region_name", "vertex_location", "vertex_project"}
_LOGIN = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_session_name",
    "aws_profile_name",
    "aws_role_name",
    "aws_web_identity_token",
    "azure_ad_token",
    "azure_username",
    "azure_password",
    "tenant_id",
    "client_id",
    "client_secret",
    "vertex_credentials",
)
REASONS = dict.fromkeys(
    _LOGIN, "the cloud's own library looks for it where it always does; set it there (the value is not shown)"
)


class Cloud(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry says of its place."""

    model: str
    values: dict[str, str] = {}
    """Keys of a deployment here."""
    why: str = ""
    """Why it cannot be carried over."""


def read(provider: str, model: str, params: Mapping[Any, Any]) -> Cloud:
    """An entry's place; for a provider that is no cloud, the model's name alone."""
    if provider == "bedrock":
        return _bedrock(model, params)
    if provider == "vertex":
        return _vertex(model, params)
    return Cloud(model=model)


def _bedrock(model: str, params: Mapping[Any, Any]) -> Cloud:
    """`[converse/|invoke/][REGION/]MODEL`; a model may be an ARN, which has slashes of its own."""
    api, region = "", params.get("aws_region_name")
    head, slash, rest = model.partition("/")
    if slash and head in ("converse", "invoke"):
        api, model = "converse" if head == "converse" else "anthropic", rest
        head, slash, rest = model.partition("/")
    if slash and _AWS_REGION.fullmatch(head):
        region, model = region or head, rest
    if "/" in model and not model.startswith("arn:"):
        return Cloud(model=model, why="this route of bedrock is not known here")
    if api == "anthropic" and "anthropic" not in model:
        return Cloud(model=model, why="of bedrock's `invoke`, only Anthropic's body is spoken here")
    if not isinstance(region, str) or not _AWS_REGION.fullmatch(region):
        return Cloud(model=model, why="it needs `aws_region_name`, written out")
    return Cloud(model=model, values={**({"api": api} if api else {}), "region": region})


def _vertex(model: str, params: Mapping[Any, Any]) -> Cloud:
    if not model.startswith(("gemini", "claude")):
        return Cloud(model=model, why="of Vertex AI, only Gemini and Claude are spoken to here")
    project, region = params.get("vertex_project"), params.get("vertex_location")
    if not (isinstance(project, str) and PROJECT.fullmatch(project)):
        return Cloud(model=model, why="it needs `vertex_project`, written out")
    if not (isinstance(region, str) and REGION.fullmatch(region)):
        return Cloud(model=model, why="it needs `vertex_location`, written out")
    return Cloud(model=model, values={"project": project, "region": region})
