"""What plans entitle to, with real servers and official clients: at once, exactly, and after a restart."""

import asyncio
import os
import signal
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from tests.e2e.calls import one
from tests.e2e.server import Server, running, until
from tests.e2e.test_credits import api
from tests.e2e.test_limits import at_once, authority, limited
from tests.e2e.upstream import upstream
from tests.gateway.rig import Answer

CROWD = 50
FIVE = "[reserve]\ndefault = 5\n"
"""As many output tokens are reserved as are used."""


def sent(server: Server, method: str, path: str, body: Any) -> Any:
    """What the control port answers to the admin."""
    connection = HTTPConnection("127.0.0.1", server.control_port, timeout=20)
    try:
        headers = {"authorization": f"Bearer {server.admin}", "content-type": "application/json"}
        connection.request(method, path, msgspec.json.encode(body), headers)
        answer = connection.getresponse()
        told = answer.read()
    finally:
        connection.close()
    assert answer.status in (200, 201), told
    return msgspec.json.decode(told)


def put(server: Server, name: str = "gold", **table: Any) -> None:
    """The plan's next version."""
    charges = [{"id": "base", "price": {"model": "flat", "amount": "10"}}]
    sent(server, "POST", "/v1/plans", {"name": name, "currency": "USD", "charges": charges, "entitlements": table})


def subscribe(server: Server, tenant: str = "acme", plan: str = "gold", since: str = "2026-01-01") -> None:
    sent(server, "PUT", f"/v1/subscriptions/{tenant}", {"plan": plan, "since": since, "buyer": {"name": tenant}})


def limit(measure: str, amount: int, **more: Any) -> dict[str, Any]:
    window = {} if measure == "concurrency" else {"window": "month"}
    return {"name": measure, "measure": measure, "amount": str(amount), **window, **more}


def test_a_plan_s_models_and_features(tmp_path: Path) -> None:
    """A subscription's next call is held to it; an upgrade lets the next one pass; a downgrade does not."""
    with upstream(tmp_path / "upstream") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port, FIVE)
        with running(tmp_path / "data", config=config, workers=2) as server:
            _, key = server.issue("--scope", "inference", "--scope", "usage:read")
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:

                def called() -> str:
                    said: list[Any] = [{"role": "user", "content": "hi"}]
                    return client.chat.completions.create(model="auto", messages=said).model

                model = called()
                names = [one.id for one in client.models.list()]
                put(server, models=["small-*"], features={"sso": False})
                assert called() == model, "a plan that nobody is subscribed to restricts nobody"
                subscribe(server)
                for _ in range(4):  # whichever worker it comes to
                    with pytest.raises(openai.PermissionDeniedError) as refused:
                        called()
                    assert refused.value.code == "not_entitled"
                assert "gold version 1, which entitles to small-*" in refused.value.message
                assert [one.id for one in client.models.list()] == ["auto"]
                assert api(server, key, "/v1/entitlements/sso") == {"feature": "sso", "entitled": False, "value": None}

                put(server, models=["small-*", "*"], features={"sso": True, "support": "business hours"})
                subscribe(server)
                assert {called() for _ in range(4)} == {model}, "at once"
                assert [one.id for one in client.models.list()] == names
                assert api(server, key, "/v1/entitlements/sso")["entitled"] is True
                assert api(server, key, "/v1/entitlements/support")["value"] == "business hours"
            shown = server.cli("entitlements").stdout
            assert "acme    gold        2  2026-01-01T00:00:00.000Z  small-* *  sso, support=business hours" in shown
            subscribe(server, plan="", since="2026-01-02")
            assert server.json("entitlements", "--tenant", "acme")["entitlements"][0]["plan"] is None
            assert server.control("/v1/entitlements") == {"entitlements": [], "more": 0}
            assert asyncio.run(one(server.port, key, "free")).status == 200


def test_a_crowd_uses_exactly_what_the_plans_let_it(tmp_path: Path) -> None:
    """50 at once of each of two tenants, over two workers, of plans for ten calls; a kill, an upgrade, a restart: what
    was used in the window stays used."""
    plans = {"acme": ("gold", "requests", 1), "bolt": ("silver", "output_tokens", 5)}

    def let(server: Server, calls: int) -> None:
        for tenant, (name, measure, each) in plans.items():
            put(server, name, limits=[limit(measure, calls * each)])
            subscribe(server, tenant, name)

    def crowd(server: Server, count: int, passing: int) -> Answer:
        """One that was refused."""
        answers = asyncio.run(at_once(2 * count, *((server, key) for key in keys)))
        for own in (answers[::2], answers[1::2]):
            assert Counter(answer.status for answer in own) == {200: passing, 429: count - passing}
        return next(answer for answer in answers[1::2] if answer.status == 429)

    with upstream(tmp_path / "upstream") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port, FIVE)
        with running(tmp_path / "data", config=config, workers=2) as server:
            scopes = ("--scope", "inference", "--scope", "usage:read")
            keys = [server.issue("--tenant", tenant, *scopes)[1] for tenant in plans]
            let(server, 10)
            refused = crowd(server, CROWD, 10)
            assert len(provider.seen()) == 20
            assert refused.headers["x-interlock-limit"] == "plan/output_tokens"
            assert refused.json["error"]["code"] == "limit_exceeded"
            (told,) = api(server, keys[1], "/v1/entitlements")["limits"]
            figures = {name: told[name] for name in ("name", "amount", "used", "held", "left")}
            assert figures == {"name": "output_tokens", "amount": "50", "used": "50", "held": "0", "left": "0"}
            assert api(server, keys[0], "/v1/balance")["limits"][0]["name"] == "plan/requests"
            quotas = server.control("/v1/quotas?tenant=bolt")["quotas"]
            assert [(one["name"], one["scope"]) for one in quotas] == [("plan/output_tokens", {"tenant": "bolt"})]

            worker = server.pids()["worker-0"]
            os.kill(worker, signal.SIGKILL)
            until(lambda: server.pids().get("worker-0") not in (None, worker), "another worker")
            server.wait_ready()
            let(server, 15)
            crowd(server, 20, 5)
            assert server.stop() == 0
        with running(tmp_path / "data", config=config, workers=2) as server:
            assert asyncio.run(one(server.port, keys[0], "again")).status == 429, "a start counts what the log says"
            (told,) = api(server, keys[1], "/v1/entitlements")["limits"]
            assert told["used"] == told["amount"] == "75"
            let(server, 20)
            crowd(server, 20, 5)


def test_two_machines_have_one_limit(tmp_path: Path) -> None:
    """The same subscription on both; what it allows is divided between them."""
    with upstream(tmp_path / "upstream") as provider, authority(tmp_path / "redis") as redis:
        sharing = f'[server.sharing]\nurl = "{redis.url}"\n'
        config = limited(tmp_path / "interlock.toml", provider.port, FIVE, more=sharing)
        with (
            running(tmp_path / "a", config=config, workers=1) as first,
            running(tmp_path / "b", config=config, workers=1) as second,
        ):
            servers = [(server, server.issue()[1]) for server in (first, second)]
            for server, _ in servers:
                put(server, limits=[limit("requests", 10)])
                subscribe(server)
            answers = asyncio.run(at_once(CROWD, *servers))
            assert Counter(answer.status for answer in answers) == {200: 10, 429: CROWD - 10}
            for server, _ in servers:
                put(server, limits=[limit("requests", 15)])
                subscribe(server)
            answers = asyncio.run(at_once(20, *servers))
            assert Counter(answer.status for answer in answers) == {200: 5, 429: 15}
            assert len(provider.seen()) == 15
