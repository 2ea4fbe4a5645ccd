"""Credentials that a cloud makes, through the real gateway: signed, fetched, renewed, refused; and who is asked then.

Who makes them stands on this machine; what a signature must be is judged by AWS's description (providers/sigv4.py).
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT, ask
from tests.gateway.providers import sigv4
from tests.gateway.providers.accounts import azure_token, managed_identity, service_account
from tests.gateway.providers.endpoint import Endpoint, endpoint
from tests.gateway.recorded_providers import PROVIDERS, Provider, placed
from tests.gateway.rig import PATHS, Answer, Rig, Upstream, policy, rig, whole

from interlock.gateway import Policy

Run = Callable[..., object]
ASKED = ask("messages")


def before(provider: Provider, ports: list[int]) -> Policy:
    """The provider's deployment without a credential, and behind it, if there is a second port, one of OpenAI's."""
    made = policy(ports, formats=[("messages",), ("chat",)])
    first = placed(made.deployments["d0"], provider, ports[0])
    return msgspec.structs.replace(made, deployments={**made.deployments, "d0": first})


async def call(on: Rig) -> Answer:
    return await on.call(PATHS["messages"], ASKED)


@pytest.fixture
def tokens() -> Iterator[Endpoint]:
    """Whoever makes tokens."""
    with endpoint({"access_token": "secret-1", "expires_in": 3600, "token_type": "Bearer"}) as made:
        yield made


# AWS


@pytest.mark.parametrize("token", ["", sigv4.TOKEN], ids=["lasting", "temporary"])
@pytest.mark.parametrize("name", ["converse", "claude on bedrock"])
def test_what_arrives_is_signed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, token: str
) -> None:
    sigv4.emptied(monkeypatch, tmp_path)
    sigv4.keys(monkeypatch, token)
    provider = PROVIDERS[name]
    arrived: list[bytes] = []

    async def answer(request: bytes) -> bytes:
        arrived.append(request)
        return provider.answer

    async def main() -> None:
        async with sigv4.serving(answer) as port, rig(tmp_path / "data", before(provider, [port])) as on:
            assert (await call(on)).status == 200
            # what a client says of itself goes on, and must not spoil the signature
            headers = ("anthropic-beta: a,b", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            assert (await on.call(PATHS["messages"], ASKED, *headers)).status == 200
            assert on.secret.encode() not in b"".join(arrived)
            for request in arrived:
                headers_there = sigv4.verified(request, sigv4.SECRET, "eu-central-1")
                assert headers_there["host"] == f"127.0.0.1:{port}"
                assert headers_there.get("x-amz-security-token", "") == token

    run(main, blocking_s=2.0)
    assert len(arrived) == 2


def test_without_aws_credentials(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sigv4.emptied(monkeypatch, tmp_path)
    refused(run, tmp_path, PROVIDERS["converse"], "no AWS credentials were found")


def refused(run: Run, tmp_path: Path, provider: Provider, why: str) -> None:
    """Nothing is sent; alone it is a clear error, otherwise the next candidate answers."""

    async def main() -> None:
        first, second = Upstream(whole(provider.answer)), Upstream(whole(CHAT))
        ports = [await first.start(), await second.start()]
        try:
            async with asyncio.timeout(20), rig(tmp_path / "alone", before(provider, ports[:1])) as on:
                answer = await call(on)
                assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_auth")
                assert why in answer.json["error"]["message"]
                [settled] = await on.settled(1)
                assert (settled.outcome, settled.error, settled.usage) == ("failed", "upstream_auth", {})
                assert not on.gateway.exchanges
            async with asyncio.timeout(20), rig(tmp_path / "two", before(provider, ports)) as on:
                answer = await call(on)
                assert (answer.status, answer.headers["x-interlock-deployment"]) == (200, "d1")
                assert [s.outcome for s in await on.settled(2)] == ["failed", "completed"]
            assert (first.seen, len(second.seen)) == ([], 1)
        finally:
            await first.stop()
            await second.stop()

    run(main, blocking_s=2.0)


# Google, Azure


def cloud(name: str, tokens: Endpoint, directory: Path, environment: pytest.MonkeyPatch) -> Provider:
    """The provider, with a machine's own identity there."""
    if name == "azure":
        managed_identity(environment, tokens.url)
        tokens.answer = azure_token("secret-1")
        provider = PROVIDERS["azure, v1"]
    else:
        environment.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(directory, tokens.url)))
        provider = PROVIDERS[name]
    return provider


each_cloud = pytest.mark.parametrize("name", ["azure", "gemini on vertex", "claude on vertex"])


@each_cloud
def test_a_token_is_fetched_once_and_sent(
    run: Run, tmp_path: Path, tokens: Endpoint, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    provider = cloud(name, tokens, tmp_path, monkeypatch)

    async def main() -> None:
        upstream = Upstream(whole(provider.answer))
        made = before(provider, [await upstream.start()])
        try:
            async with asyncio.timeout(20), rig(tmp_path / "data", made) as on:
                async with asyncio.TaskGroup() as group:
                    calls = [group.create_task(call(on)) for _ in range(4)]
                assert [task.result().status for task in calls] == [200] * 4
                assert (await call(on)).status == 200
                assert [seen.headers["authorization"] for seen in upstream.seen] == ["bearer secret-1"] * 5
                assert not {"api-key", "x-goog-api-key", "x-api-key"} & upstream.seen[0].headers.keys()
        finally:
            await upstream.stop()

    run(main, blocking_s=2.0)
    assert len(tokens.asked) == 1


@each_cloud
def test_a_token_that_is_refused(
    run: Run, tmp_path: Path, tokens: Endpoint, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    provider = cloud(name, tokens, tmp_path, monkeypatch)
    tokens.status, tokens.answer = 400, {"error": "invalid_grant", "error_description": "No such account."}
    refused(run, tmp_path, provider, "credential_missing: ")


def test_a_client_that_hangs_up_while_a_token_is_made(
    run: Run, tmp_path: Path, tokens: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent for it; the token is there for the next."""
    provider = cloud("gemini on vertex", tokens, tmp_path, monkeypatch)
    tokens.gate.clear()

    async def main() -> None:
        upstream = Upstream(whole(provider.answer))
        made = before(provider, [await upstream.start()])
        try:
            async with asyncio.timeout(20), rig(tmp_path / "data", made) as on:
                _, writer = await on.connect()
                writer.write(on.request(PATHS["messages"], msgspec.json.encode(ASKED)))
                while not tokens.asked:
                    await asyncio.sleep(0.005)
                writer.close()
                exchanges: Any = on.gateway.exchanges
                while not all(exchange.hung_up for exchange in exchanges):
                    await asyncio.sleep(0.005)
                tokens.gate.set()
                [settled] = await on.settled(1)
                assert (settled.outcome, settled.usage, upstream.seen) == ("cancelled", {}, [])
                assert (await call(on)).status == 200
        finally:
            await upstream.stop()

    run(main, blocking_s=2.0)
    assert len(tokens.asked) == 1
