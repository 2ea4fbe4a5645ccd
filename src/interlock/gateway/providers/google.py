"""Google's credentials, by google-auth (`interlock[google]`): for Vertex AI.

Application default credentials, or a file of a service account, an authorized user, an external or an impersonated
account. The files are the operator's own: one from elsewhere can name any URL to be asked. A key for the Gemini API is
`tokens.StaticHeader(API_KEY_HEADER, key)`.
"""

import functools
import importlib
import os
import warnings
from datetime import UTC
from typing import Any

from interlock.clock import Clock
from interlock.errors import LocalError, TransientError
from interlock.gateway.providers.tokens import MESSAGE_CHARS_MAX, Token, TokenAuth

API_KEY_HEADER = "x-goog-api-key"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
EXCHANGE_S = 10.0
"""For one exchange with whoever makes tokens."""

_KINDS = ("google.auth.identity_pool", "google.oauth2.credentials", "google.oauth2.service_account")
"""Imported with the rest: a thread that loads them holds everybody up."""


def google_auth(clock: Clock, file: str = "") -> TokenAuth:
    """Tokens for `SCOPE`. Nobody is asked yet. To read a service account's key takes 0.1 s, once.

    Args:
        file: path of the credentials; empty: application default credentials, looked for at the first question.
    Raises: LocalError: `credential_missing: …`: the file is none, or the extra is not installed.
    """
    return TokenAuth(_Google(file).token, clock)


class _Google:
    """Blocks: for a thread, and one question at a time."""

    def __init__(self, file: str) -> None:
        try:
            from google import auth
            from google.auth import exceptions
            from google.auth.transport.requests import Request

            for name in _KINDS:
                importlib.import_module(name)
        except ImportError as error:
            raise LocalError("credential_missing: install interlock[google]", field="credential") from error
        self._auth: Any = auth  # Any: half of it has no types
        self._exceptions = exceptions
        self._request = functools.partial(Request(), timeout=EXCHANGE_S)
        file = file or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")  # the first place where they are looked for
        self._credentials: Any = self._load(file) if file else None

    def token(self) -> Token:
        """A new token.

        Raises: LocalError: there are no credentials, or Google refuses them; TransientError: nobody answered.
        """
        exceptions = self._exceptions
        try:
            if self._credentials is None:
                self._credentials = self._auth.default(scopes=[SCOPE], request=self._request)[0]
            self._credentials.refresh(self._request)
        except exceptions.GoogleAuthError as error:
            if isinstance(error, exceptions.TransportError) or error.retryable:
                raise TransientError(f"Google gives no token: {error}"[:MESSAGE_CHARS_MAX]) from error
            raise _missing(error) from error
        headers: dict[str, str] = {}
        self._credentials.apply(headers)  # and whose quota it is, if the credentials say so
        expires_at = self._credentials.expiry.replace(tzinfo=UTC)
        return Token(headers=headers, expires_at_ns=int(expires_at.timestamp()) * 1_000_000_000)

    def _load(self, file: str) -> Any:
        try:
            with warnings.catch_warnings():  # it warns of files that others supply
                warnings.simplefilter("ignore", DeprecationWarning)
                return self._auth.load_credentials_from_file(file, scopes=[SCOPE], request=self._request)[0]
        except (self._exceptions.GoogleAuthError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise _missing(error) from error  # the last ones: it is read without being checked


def _missing(error: Exception) -> LocalError:
    said = f"credential_missing: Google: {error}"[:MESSAGE_CHARS_MAX]
    return LocalError(said, code="upstream_auth", field="credential")
