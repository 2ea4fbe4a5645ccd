"""One deployment as something to send to: its pool, and the head of every request that goes there."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from interlock import __version__
from interlock.clock import Clock
from interlock.credentials import read_credential
from interlock.errors import LocalError
from interlock.gateway.failure import Keys
from interlock.gateway.http import Pool, dialler
from interlock.gateway.policy import Deployment, Policy
from interlock.gateway.providers import Auth, Speech, logins_of, speech_of
from interlock.ledger import Format

ANTHROPIC_VERSION = b"2023-06-01"

_STREAMS = (b"text/event-stream", b"application/vnd.amazon.eventstream")
_PASSED = (b"anthropic-beta", b"anthropic-version", b"openai-beta", b"accept", b"traceparent", b"tracestate")
"""What a client may say to an upstream. Not its key, its organisation or its cookies: those are the gateway's."""


class Upstream:
    """Where a deployment's requests go. Made anew when the policy changes; an unchanged host keeps its pool."""

    def __init__(self, deployment: Deployment, pool: Pool, speech: Speech, logins: Sequence[bytes | Auth]) -> None:
        """`logins`: what lets requests in, one for each credential; empty: nothing is asked."""
        self.deployment = deployment
        self.pool = pool
        self.dialect = speech.dialect
        self.formats: tuple[Format, ...] = (speech.dialect.format,) if speech.dialect else deployment.formats
        self.keys = Keys(max(len(logins), 1))
        self._logins = logins
        self._speech = speech
        url = urlsplit(deployment.base_url)
        # llama.cpp closes after a stream though it says keep-alive; a new connection to a child of ours costs nothing
        last = "connection: close\r\n" if deployment.provider == "local" else ""
        self._heads = {
            (format, stream): (
                f"POST {speech.path(format, stream)} HTTP/1.1\r\n"
                f"host: {url.netloc}\r\nuser-agent: interlock/{__version__}\r\n"
                f"content-type: application/json\r\naccept-encoding: identity\r\n{last}"
            ).encode()
            for format in (*self.formats, "count_tokens")
            for stream in (False, True)
        }

    def encoded(self, body: bytes, client: Mapping[bytes, bytes], stream: bool) -> tuple[bytes, tuple[str, ...]]:
        """(a body of ours as the provider takes it, paths of the hints that it leaves out).

        Raises: LocalError: it cannot be said there; `field` names it.
        """
        if self.dialect is None:
            return body, ()
        betas = [beta.strip() for beta in client.get(b"anthropic-beta", b"").decode("latin-1").split(",")]
        encoded = self.dialect.request(body, stream, [beta for beta in betas if beta])
        return encoded, self.dialect.hints(body)

    def request(self, format: Format, client: Mapping[bytes, bytes], body: bytes, login: bytes, stream: bool) -> bytes:
        """The whole request as bytes."""
        passed = b"".join([b"%b: %b\r\n" % (name, client[name]) for name in _PASSED if name in client])
        if self.dialect is None and format in ("messages", "count_tokens") and b"anthropic-version" not in client:
            passed += b"anthropic-version: %b\r\n" % ANTHROPIC_VERSION
        head = self._heads[format, stream]
        return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (head, login, passed, len(body), body)

    @property
    def counts_tokens(self) -> bool:
        """Whether it can count a Messages request. Of servers that merely speak Messages few can."""
        return self.deployment.provider in ("anthropic", "local") and "messages" in self.formats

    def streams(self, content_type: bytes) -> bool:
        """Whether an answer of this type is a stream."""
        return content_type.startswith(_STREAMS)

    # credentials

    def pick_key(self, now_s: float, besides: Collection[int]) -> int:
        """Which credential the next attempt uses, not one of `besides`; if all are resting, the first."""
        return 0 if len(self._logins) < 2 else self.keys.pick(now_s, besides) or 0

    def has_key(self, now_s: float, besides: Collection[int]) -> bool:
        """Whether a credential is left that is neither resting nor one of `besides`."""
        return len(self._logins) > 1 and bool(self.keys.free(now_s, besides))

    def login(self, key: int, stream: bool, body: bytes) -> bytes | None:
        """The lines that let a request in; None: `fetch_login` has to ask for them."""
        if not self._logins:
            return b""
        login = self._logins[key]
        return login if isinstance(login, bytes) else login.ready(self._target(stream), body)

    async def fetch_login(self, key: int, stream: bool, body: bytes) -> bytes:
        """As `login`, after asking whoever makes them.

        Raises: LocalError: there is no credential; TransientError: nobody answered.
        """
        login = self._logins[key]
        assert not isinstance(login, bytes)
        return await login.fetch(self._target(stream), body)

    def _target(self, stream: bool) -> str:
        return self._speech.path(self.formats[0], stream)


class Place(NamedTuple):
    """What deployments must have in common to share connections."""

    origin: str
    ca_bundle: str
    connect_s: float
    connections: int


def make_upstreams(
    loop: asyncio.AbstractEventLoop, policy: Policy, pools: dict[Place, Pool], clock: Clock
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
            secrets = [read_credential(credential) for credential in deployment.keys]
            speech, logins = speech_of(deployment), logins_of(deployment, secrets, clock)
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
            upstreams[name] = Upstream(deployment, pools[place], speech, logins)
    for place in pools.keys() - needed:
        pools.pop(place).close()
    return upstreams, faults
