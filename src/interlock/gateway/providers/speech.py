"""Which paths, framing and credentials a deployment's provider wants. The one place that knows providers by name."""

from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from interlock.clock import Clock
from interlock.gateway.policy import Deployment
from interlock.gateway.providers.aws import SigV4
from interlock.gateway.providers.azure import azure_auth, azure_path
from interlock.gateway.providers.bedrock import AnthropicOnBedrock, Converse
from interlock.gateway.providers.gemini import Gemini
from interlock.gateway.providers.google import google_auth
from interlock.gateway.providers.ports import Auth, Dialect
from interlock.gateway.providers.vertex import AnthropicOnVertex, google_prefix
from interlock.ledger import Format

PATHS: dict[Format, str] = {
    "chat": "/chat/completions",
    "responses": "/responses",
    "messages": "/messages",
    "embeddings": "/embeddings",
    "count_tokens": "/messages/count_tokens",
}


_KEY_HEADERS = {"anthropic": "x-api-key: ", "azure": "api-key: ", "gemini": "x-goog-api-key: "}
_BEGINNINGS = {"azure": ("/v1", "/openai"), "gemini": ("/v1beta",), "vertex": ("/v1",)}
"""Last part first. Many write them into the address, as other providers want it."""


class Speech(NamedTuple):
    """How a deployment is spoken to."""

    path: Callable[[Format, bool], str]
    """The request's target, by format and whether it streams."""
    dialect: Dialect | None = None
    """None: it speaks formats of ours as they are."""


def speech_of(deployment: Deployment) -> Speech:
    """The paths and the framing that the deployment's provider wants.

    Raises: LocalError: `api_version` is none of Azure's.
    """
    dialect, prefix = _dialect(deployment), _prefix(deployment)
    if dialect is not None:
        return Speech(lambda format, stream: prefix + dialect.path(stream), dialect)
    if deployment.provider == "azure":
        azure_path("chat", deployment.model, deployment.api_version)
        return Speech(lambda format, stream: prefix + _azure(deployment, format))
    return Speech(lambda format, stream: prefix + PATHS[format])


def _prefix(deployment: Deployment) -> str:
    """The path of the base URL (a proxy's), without what the provider's own paths begin with."""
    prefix = urlsplit(deployment.base_url).path.rstrip("/")
    for ending in _BEGINNINGS.get(deployment.provider, ()):
        prefix = prefix.removesuffix(ending)
    return prefix


def _dialect(deployment: Deployment) -> Dialect | None:
    model, project, region = deployment.model, deployment.project, deployment.region
    match deployment.provider, deployment.api:
        case "bedrock", "anthropic":
            return AnthropicOnBedrock(model)
        case "bedrock", _:
            return Converse(model, anthropic="claude" in f"{deployment.family} {model}".lower())
        case "vertex", "anthropic":
            return AnthropicOnVertex(model, project, region)
        case "vertex", _:
            return Gemini(model, google_prefix(project, region))
        case "gemini", _:
            return Gemini(model)
    return None


def _azure(deployment: Deployment, format: Format) -> str:
    if format == "chat" or format == "embeddings" or format == "responses":
        return azure_path(format, deployment.model, deployment.api_version)
    return PATHS[format]  # Azure has no such endpoint, and says so


def logins_of(deployment: Deployment, secrets: Sequence[str], clock: Clock) -> list[bytes | Auth]:
    """What lets requests in: header lines for each secret, or whoever makes them.

    Raises: LocalError: `credential_missing: …`: an extra is not installed, or a file is wrong.
    """
    if not secrets:
        return _own_login(deployment, clock)
    name = _KEY_HEADERS.get(deployment.provider, "authorization: Bearer ")
    return [f"{name}{secret}\r\n".encode() for secret in secrets]


def _own_login(deployment: Deployment, clock: Clock) -> list[bytes | Auth]:
    """The cloud's own identity of this machine or its user."""
    match deployment.provider:
        case "bedrock":
            return [SigV4(urlsplit(deployment.base_url).netloc, deployment.region)]
        case "vertex":
            return [google_auth(clock)]
        case "azure":
            return [azure_auth(clock)]
    return []
