"""One deployment as something to send to: its pool, and the head of every request that goes there."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from interlock import __version__
from interlock.errors import LocalError
from interlock.gateway.http import Pool, dialler
from interlock.gateway.policy import Credential, Deployment, Policy
from interlock.ledger import Format

PATHS: dict[Format, str] = {"chat": "/chat/completions", "responses": "/responses", "messages": "/messages"}
ANTHROPIC_VERSION = b"2023-06-01"
CREDENTIAL_BYTES_MAX = 16 * 1024

_PASSED = (b"anthropic-beta", b"anthropic-version", b"openai-beta", b"accept", b"traceparent", b"tracestate")
"""What a client may say to an upstream. Not its key, its organisation or its cookies: those are the gateway's."""


class Upstream:
    """Where a deployment's requests go. Made anew when the policy changes; an unchanged host keeps its pool."""

    def __init__(self, deployment: Deployment, pool: Pool, secret: str) -> None:
        self.deployment = deployment
        self.pool = pool
        url = urlsplit(deployment.base_url)
        anthropic = deployment.provider == "anthropic"
        # llama.cpp closes after a stream though it says keep-alive; a new connection to a child of ours costs nothing
        last = "connection: close\r\n" if deployment.provider == "local" else ""
        login = "" if not secret else f"x-api-key: {secret}\r\n" if anthropic else f"authorization: Bearer {secret}\r\n"
        self._heads = {
            format: (
                f"POST {url.path.rstrip('/')}{path} HTTP/1.1\r\n"
                f"host: {url.netloc}\r\nuser-agent: interlock/{__version__}\r\n"
                f"content-type: application/json\r\naccept-encoding: identity\r\n{last}{login}"
            ).encode()
            for format, path in PATHS.items()
        }

    def request(self, format: Format, client: Mapping[bytes, bytes], body: bytes) -> bytes:
        """The whole request as bytes."""
        passed = b"".join([b"%b: %b\r\n" % (name, client[name]) for name in _PASSED if name in client])
        if format == "messages" and b"anthropic-version" not in client:
            passed += b"anthropic-version: %b\r\n" % ANTHROPIC_VERSION
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (self._heads[format], passed, len(body), body)


def read_credential(credential: Credential | None) -> str:
    """The upstream key, from where the policy says it is; empty if there is none to send.

    Raises: LocalError: it is not there. The message names the place, never the content.
    """
    if credential is None:
        return ""
    if credential.env:
        secret, place = os.environ.get(credential.env, ""), f"environment variable {credential.env}"
    else:
        place = f"file {credential.file}"
        try:
            with Path(credential.file).open("rb") as file:
                secret = file.read(CREDENTIAL_BYTES_MAX).decode().strip()
        except (OSError, ValueError) as error:
            raise LocalError(f"credential_missing: {place} cannot be read", field="credential") from error
    if not secret:
        raise LocalError(f"credential_missing: {place} is not set", field="credential")
    if not secret.isascii() or not secret.isprintable():
        raise LocalError(f"credential_missing: {place} holds characters that no header may have", field="credential")
    return secret


class Place(NamedTuple):
    """What deployments must have in common to share connections."""

    origin: str
    ca_bundle: str
    connect_s: float
    connections: int


def make_upstreams(
    loop: asyncio.AbstractEventLoop, policy: Policy, pools: dict[Place, Pool]
) -> tuple[dict[str, Upstream], dict[str, str]]:
    """(upstreams by deployment, why some cannot serve).

    Args:
        pools: kept from one policy to the next; new ones are added, those not needed any more are closed and removed.
    """
    upstreams: dict[str, Upstream] = {}
    faults: dict[str, str] = {}
    needed: set[Place] = set()
    for name, deployment in policy.deployments.items():
        url = urlsplit(deployment.base_url)
        timeout_s, size = policy.timeouts.connect_s, policy.limits.upstream_connections
        place = Place(f"{url.scheme}://{url.netloc}", deployment.ca_bundle, timeout_s, size)
        try:
            secret = read_credential(deployment.credential)
            if place not in pools:
                pools[place] = Pool(loop, dialler(loop, url, ca_bundle=place.ca_bundle, timeout_s=timeout_s), size)
        except LocalError as error:
            faults[name] = error.message
        except OSError as error:
            faults[name] = f"ca_bundle: {error.strerror or error}"
        except ValueError as error:  # of the environment's proxy
            faults[name] = f"proxy: {error}"
        else:
            needed.add(place)
            upstreams[name] = Upstream(deployment, pools[place], secret)
    for place in pools.keys() - needed:
        pools.pop(place).close()
    return upstreams, faults
