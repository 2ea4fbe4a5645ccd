"""Azure OpenAI: where its endpoints are, and Entra tokens by azure-identity (`interlock[azure]`).

Bodies and answers are OpenAI's own and pass as they are. On the paths with a dated api-version the deployment stands in
the path and `model` is not read; on the v1 paths, which want no version, `model` names the deployment. A key is
`tokens.StaticHeader(API_KEY_HEADER, key)`.

Source: Microsoft's "API version lifecycle" (the v1 API is general since August 2025); openai-python's lib/azure.py.
"""

import re
from typing import Any, Literal
from urllib.parse import quote

from interlock.clock import Clock
from interlock.errors import LocalError, TransientError
from interlock.gateway.providers.tokens import MESSAGE_CHARS_MAX, Token, TokenAuth

API_KEY_HEADER = "api-key"
SCOPE = "https://cognitiveservices.azure.com/.default"
EXCHANGE_S = 5
"""To connect, and between two reads, with whoever makes tokens."""

Endpoint = Literal["chat", "embeddings", "responses"]

_NAMES: dict[Endpoint, str] = {"chat": "chat/completions", "embeddings": "embeddings", "responses": "responses"}
_DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")


def azure_path(endpoint: Endpoint, deployment: str, api_version: str = "") -> str:
    """The target on the resource's host.

    Args:
        api_version: a dated one: chat and embeddings go to the deployment's own path (Responses has none, and stays
            with v1); empty, or `preview`: everything goes to v1.
    Raises: LocalError: it is neither.
    """
    name = _NAMES[endpoint]
    if api_version in ("", "preview"):
        return f"/openai/v1/{name}" + ("?api-version=preview" if api_version else "")
    if not _DATED.fullmatch(api_version):
        raise LocalError(f"api_version {api_version!r} is no date, nor preview", field="api_version")
    if endpoint == "responses":
        return f"/openai/v1/{name}"
    return f"/openai/deployments/{quote(deployment, safe='')}/{name}?api-version={api_version}"


def azure_auth(clock: Clock, scope: str = SCOPE) -> TokenAuth:
    """Tokens of DefaultAzureCredential: a client secret or certificate, workload identity or managed identity, by
    Azure's own environment variables, and what a developer signed in to. Nothing is asked yet.

    Raises: LocalError: `credential_missing: …`: the extra is not installed, or a variable is wrong.
    """
    return TokenAuth(_Azure(scope).token, clock)


class _Azure:
    """Blocks: for a thread, and one question at a time."""

    def __init__(self, scope: str) -> None:
        try:
            from azure.core import exceptions
            from azure.identity import DefaultAzureCredential
        except ImportError as error:
            raise LocalError("credential_missing: install interlock[azure]", field="credential") from error
        try:
            self._credential: Any = DefaultAzureCredential(
                connection_timeout=EXCHANGE_S, read_timeout=EXCHANGE_S, retry_total=1
            )
        except ValueError as error:  # of the environment
            raise LocalError(f"credential_missing: Azure: {error}"[:MESSAGE_CHARS_MAX], field="credential") from error
        self._exceptions = exceptions
        self._scope = scope

    def token(self) -> Token:
        """A new token.

        Raises: TransientError: there is none. Which of the credentials nobody answered, and which were refused, only
            the message says: DefaultAzureCredential makes one error of them.
        """
        try:
            token = self._credential.get_token(self._scope)
        except self._exceptions.ClientAuthenticationError as error:
            said = f"credential_missing: Azure: {error}"[:MESSAGE_CHARS_MAX]
            raise TransientError(said, code="upstream_auth", field="credential") from error
        except self._exceptions.AzureError as error:
            raise TransientError(f"Azure gives no token: {error}"[:MESSAGE_CHARS_MAX]) from error
        return Token(headers={"authorization": f"Bearer {token.token}"}, expires_at_ns=token.expires_on * 1_000_000_000)
