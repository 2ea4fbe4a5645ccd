"""AWS signatures (SigV4) on requests, by botocore: its chain of credentials, its refresh, its signer.

The extra `bedrock` installs botocore; it is imported, and asked, in a thread. A Bedrock API key needs none of this: it
is a bearer token like any other.
"""

import asyncio
from typing import Any, Protocol, cast

from interlock.errors import InterlockError, LocalError, TransientError

SERVICE = "bedrock"
"""The name that requests to `bedrock-runtime` hosts are signed for."""
TIMEOUT_S = 10.0
"""For an answer of whoever gives the credentials: IMDS, a container's agent, STS, a process."""

_NOT_OURS = (
    "ConnectionError",
    "EndpointConnectionError",
    "HTTPClientError",
    "CredentialRetrievalError",
    "MetadataRetrievalError",
    "RuntimeError",  # what botocore raises for credentials that came back expired
)


class Frozen(Protocol):
    """botocore's ReadOnlyCredentials."""

    access_key: str
    secret_key: str
    token: str | None


class SigV4:
    """Header lines for requests to one host. For one event loop."""

    def __init__(self, host: str, region: str, *, profile: str = "", timeout_s: float = TIMEOUT_S) -> None:
        """Args:
        host: as it stands in the requests' `host` header (`bedrock-runtime.eu-central-1.amazonaws.com`).
        profile: of the AWS configuration; empty: as botocore's environment says.
        timeout_s: of a question for credentials; a question that is late goes on, and the next caller joins it.
        """
        self._host = host
        self._region = region
        self._profile = profile
        self._timeout_s = timeout_s
        self._credentials: Any = None
        self._question: asyncio.Future[Frozen | InterlockError] | None = None

    def ready(self, target: str, body: bytes) -> bytes | None:
        """None: a signature covers the body, and hashing one can take milliseconds."""
        return None

    async def fetch(self, target: str, body: bytes) -> bytes:
        """The lines `authorization`, `x-amz-date` and, with temporary credentials, `x-amz-security-token`.

        They cover a POST with `host: <host>` and `content-type: application/json`.
        """
        credentials = await self._asked()
        if isinstance(credentials, InterlockError):
            raise type(credentials)(credentials.message, code=credentials.code, field=credentials.field)
        return await asyncio.to_thread(self._signed, credentials, target, body)

    async def _asked(self) -> Frozen | InterlockError:
        """One question at a time: whoever comes while it is asked waits for the same answer."""
        if self._question is None or self._question.done():
            self._question = asyncio.get_running_loop().run_in_executor(None, self._ask)
        done, _ = await asyncio.wait({self._question}, timeout=self._timeout_s)
        if not done:
            raise TransientError(f"AWS credentials: nobody answered within {self._timeout_s:g} s")
        return self._question.result()

    def _ask(self) -> Frozen | InterlockError:
        """In a thread. Errors say their type only: their text may hold what a credential process printed."""
        try:
            import botocore.session  # type: ignore[import-untyped]  # botocore has no types
        except ImportError:
            return LocalError("credential_missing: install interlock[bedrock]", field="credential")
        try:
            if self._credentials is None:
                self._credentials = botocore.session.Session(profile=self._profile or None).get_credentials()
            if self._credentials is None:
                return LocalError("credential_missing: no AWS credentials were found", field="credential")
            return cast(Frozen, self._credentials.get_frozen_credentials())
        except Exception as error:
            return _fault(error)

    def _signed(self, credentials: Frozen, target: str, body: bytes) -> bytes:
        from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # botocore has no types
        from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # botocore has no types

        headers = {"host": self._host, "content-type": "application/json"}
        request = AWSRequest("POST", f"https://{self._host}{target}", headers=headers, data=body)
        SigV4Auth(credentials, SERVICE, self._region).add_auth(request)
        lines = [f"{name.lower()}: {value}" for name, value in request.headers.items() if name not in headers]
        if any(not line.isascii() or not line.isprintable() for line in lines):
            raise LocalError("credential_missing: the AWS credentials hold characters that no header may have")
        return "".join(f"{line}\r\n" for line in lines).encode()


def _fault(error: Exception) -> InterlockError:
    name = type(error).__name__
    if any(base.__name__ in _NOT_OURS for base in type(error).__mro__):
        return TransientError(f"AWS credentials: {name}")
    return LocalError(f"credential_missing: AWS credentials: {name}", field="credential")
