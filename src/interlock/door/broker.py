"""Credentials of upstreams: read where the configuration says they are, attached as a request leaves, told to nobody.

A secret is in this process's memory and in the requests to its own server, and nowhere else: every one that is used is
learnt by the redactor before it is. Tokens are kept in memory, for the caller they were made for, until shortly before
their time is over.
"""

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import quote

import httpx2
import msgspec

from interlock.clock import Clock
from interlock.credentials import Credential, read_credential
from interlock.door.redaction import SECRET_CHARS_MIN, Redactor
from interlock.door.settings import OAuth, ToolServer
from interlock.errors import InterlockError, LocalError, RemoteError
from interlock.identity import Bearer

TOKEN_TIME_S = 20.0
TOKEN_BYTES_MAX = 64 * 1024
EARLY_S = 30.0
"""A token is not used in the last moments of its life: the request takes time, and clocks differ."""
LIFETIME_S_DEFAULT, LIFETIME_S_MAX = 300.0, 3600.0
TOKENS_MAX = 4096
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type (RFC 8693, section 3)


class _Token(msgspec.Struct):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - RFC 6749, section 7.1
    expires_in: float | None = None


class Broker:
    """Every credential of the door."""

    def __init__(self, redactor: Redactor, clock: Clock) -> None:
        self.redactor = redactor
        self._clock = clock
        self._tokens: dict[tuple[str, str, str], tuple[str, int]] = {}
        self._asking: dict[tuple[str, str, str], asyncio.Lock] = {}  # one request for a token at a time

    def auth(self, server: ToolServer, bearer: Bearer) -> "Attached | None":
        """What attaches the credential to requests on the caller's behalf; None: the server asks for none."""
        return Attached(self, server, bearer) if server.credential or server.oauth else None

    def forget(self) -> None:
        """The configuration has changed: ask for tokens anew."""
        self._tokens.clear()

    async def secret(self, server: ToolServer, bearer: Bearer, *, besides: str = "") -> str:
        """The credential for this caller; of tokens, not the one that was refused (`besides`).

        Raises: InterlockError: there is none; the message names its place, never its content.
        """
        if server.oauth is None:
            assert server.credential is not None
            return self._read(server.credential, bearer)
        subject = bearer if server.per_principal else None
        key = (server.name, subject.tenant if subject else "", subject.principal if subject else "")
        async with self._asking.setdefault(key, asyncio.Lock()):
            token, until_ns = self._tokens.get(key, ("", 0))
            if token and token != besides and self._clock.now_ns() < until_ns:
                return token
            if len(self._tokens) >= TOKENS_MAX:
                self._tokens.clear()
                self._asking = {key: self._asking[key]}
            found = await self._fetch(server.oauth, bearer)
            self.redactor.learn(found.access_token)
            life_s = LIFETIME_S_DEFAULT if found.expires_in is None else min(found.expires_in, LIFETIME_S_MAX)
            until_ns = self._clock.now_ns() + int(max(life_s - EARLY_S, 0.0) * 1e9)
            self._tokens[key] = found.access_token, until_ns
            return found.access_token

    def _read(self, place: Credential, bearer: Bearer) -> str:
        """Of the caller, if the file's path has places for that: their names are quoted, so they stay in its folder."""
        if "{" in place.file:
            names = {"{tenant}": bearer.tenant, "{principal}": bearer.principal}
            path = place.file
            for name, value in names.items():
                path = path.replace(name, _quoted(value))
            place = Credential(file=path)
        secret = read_credential(place)
        if len(secret) < SECRET_CHARS_MIN:
            raise LocalError(f"credential_missing: shorter than {SECRET_CHARS_MIN} characters", field="credential")
        self.redactor.learn(secret)
        return secret

    async def _fetch(self, oauth: OAuth, bearer: Bearer) -> _Token:
        form = {"grant_type": oauth.grant, "client_id": oauth.client_id}
        form["client_secret"] = self._read(oauth.client_secret, bearer)
        if oauth.grant == "token_exchange":
            assert oauth.subject is not None
            form |= {"grant_type": _EXCHANGE, "subject_token_type": _ACCESS_TOKEN}
            form["subject_token"] = self._read(oauth.subject, bearer)
        form |= {name: value for name, value in (("audience", oauth.audience), ("scope", oauth.scope)) if value}
        try:
            async with (
                httpx2.AsyncClient(timeout=TOKEN_TIME_S, follow_redirects=False, trust_env=True) as client,
                client.stream("POST", oauth.token_url, data=form) as answer,
            ):
                body = b""
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > TOKEN_BYTES_MAX:
                        raise RemoteError("the token endpoint's answer is too long", code="upstream_invalid")
        except httpx2.HTTPError as error:
            raise RemoteError(f"the token endpoint cannot be asked: {type(error).__name__}") from None
        if answer.status_code != 200:  # its body may repeat what it was sent
            raise RemoteError(f"the token endpoint refuses: {answer.status_code}", code="upstream_auth")
        try:
            token = msgspec.json.decode(body, type=_Token)
        except msgspec.DecodeError:
            raise RemoteError("the token endpoint's answer is no token", code="upstream_invalid") from None
        if len(token.access_token) < SECRET_CHARS_MIN or not token.access_token.isascii():
            raise RemoteError("the token endpoint's answer is no token", code="upstream_invalid")
        return token


class Attached(httpx2.Auth):
    """Attaches one caller's credential for one server. It goes to the origin of the server's URL, and no other."""

    def __init__(self, broker: Broker, server: ToolServer, bearer: Bearer) -> None:
        self._broker = broker
        self._server = server
        self._bearer = bearer
        self._origin = _origin(httpx2.URL(server.url))
        self.refused: InterlockError | None = None
        """Why there was no credential, the last time that one was needed."""

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Attach it; a token that is refused is asked for once more."""
        if _origin(request.url) != self._origin:
            yield request
            return
        secret = await self._secret()
        self._attach(request, secret)
        response = yield request
        if response.status_code == 401 and self._server.oauth is not None:
            self._attach(request, await self._secret(besides=secret))
            yield request

    async def _secret(self, besides: str = "") -> str:
        try:
            secret = await self._broker.secret(self._server, self._bearer, besides=besides)
        except InterlockError as error:
            self.refused = error
            raise httpx2.RequestError("no credential") from None
        self.refused = None
        return secret

    def _attach(self, request: httpx2.Request, secret: str) -> None:
        name, _, before = self._server.header.partition(":")
        before = before.strip()
        request.headers[name.strip()] = f"{before} {secret}" if before else secret


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _quoted(name: str) -> str:
    quoted = quote(name, safe="@+")
    return quoted.replace(".", "%2E") if not quoted.strip(".") else quoted
