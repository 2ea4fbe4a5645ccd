"""Prepaid balances with real servers: a crowd of spenders, workers that are killed, grants that end, two machines."""

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import openai
import pytest
from tests.e2e.calls import BROKEN, one
from tests.e2e.server import Server, running, until
from tests.e2e.test_limits import Receiver, at_once, authority, limited, quota
from tests.e2e.upstream import upstream

from interlock.clock import SystemClock
from interlock.credits.book import EARLY_NS

FIVE = "[reserve]\ndefault = 5\n"
"""As many output tokens are reserved as are used, at 2 dollars a million: a call costs 0.00001."""
CALL = 10_000
S = 1_000_000_000
SPENDERS = 500


def nano(text: str) -> int:
    """Of USD as answers write them."""
    whole, _, part = text.partition(".")
    return int(whole) * 10**9 + int(part.ljust(9, "0"))


def top_up(server: Server, amount: str, *more: str) -> Any:
    return server.json("credits", "topup", "--tenant", "acme", "--amount", amount, *more)


def balance(server: Server) -> dict[str, int]:
    """Of acme, in nano-USD, once nothing is held."""

    def settled() -> Any:
        (found,) = server.control("/v1/balances?tenant=acme")["balances"]
        return found if found["held"] == "0.00" else None

    found = until(settled, "nothing is held")
    names = ("granted", "used", "forfeited", "forgiven", "overage", "balance", "left")
    return {name: nano(found[name]) for name in names}


def api(server: Server, key: str, path: str) -> Any:
    connection = HTTPConnection("127.0.0.1", server.api_port, timeout=20)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
        return msgspec.json.decode(connection.getresponse().read())
    finally:
        connection.close()


async def crowd(server: Server, key: str, kills: int) -> Counter[int]:
    """That many spenders at once, while workers are killed; 0: the connection, or the answer, broke."""
    seen = Counter[int]()
    chance = random.Random(7)

    async def spend(n: int) -> None:
        with suppress(*BROKEN):
            answer = await one(server.port, key, f"s{n}", stream=True)
            seen[answer.status if answer.complete else 0] += 1
            return
        seen[0] += 1

    async def kill() -> None:
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(0.2, 0.5))
            workers = [pid for name, pid in server.pids().items() if name.startswith("worker-")]
            with suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(kill())
        for n in range(SPENDERS):
            group.create_task(spend(n))
    return seen


def test_a_crowd_of_spenders_never_overspends(tmp_path: Path) -> None:
    """500 at once on one balance for 100 calls, four workers, each of which may die at any moment."""
    with upstream(tmp_path / "upstream", "--pause-ms", "10") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port, FIVE)
        with running(tmp_path / "data", config=config, workers=4) as server:
            _, key = server.issue("--scope", "inference", "--scope", "usage:read")
            top_up(server, "0.001", "--id", "first")
            seen = asyncio.run(crowd(server, key, kills=4))
            server.wait_ready()
            after = balance(server)
            (used,) = server.control("/v1/usage?tenant=acme&by=tenant")["rows"]
            assert int(used["amount_nanousd"]) == after["used"] <= after["granted"] == 100 * CALL
            assert after["balance"] == after["left"] == after["granted"] - after["used"] >= 0
            assert after["overage"] == 0 and seen[200] <= 100 and seen[402] >= SPENDERS - 100 - seen[0], seen
            left = after["left"] // CALL
            answers = asyncio.run(at_once(left + 5, (server, key)))
            assert Counter(answer.status for answer in answers) == {**({200: left} if left else {}), 402: 5}

            assert top_up(server, "0.0001", "--id", "more") == top_up(server, "0.0001", "--id", "more")
            answers = asyncio.run(at_once(20, (server, key)))
            assert Counter(answer.status for answer in answers) == {200: 10, 402: 10}, "at once, and exactly"
            told = api(server, key, "/v1/balance")
            assert told["credit"] == [{"account": "acme", "held": "0.00", "left": "0.00"}] and told["limits"] == []
            before = balance(server)
            assert server.stop() == 0
        with running(tmp_path / "data", config=config, workers=1) as server:
            assert balance(server) == before, "a start counts what the log says"
            assert asyncio.run(one(server.port, key, "again")).status == 402


def test_a_grant_that_ends_under_load(tmp_path: Path) -> None:
    """What was admitted before the end burns it; nothing is admitted against it after; the rest goes on at once."""
    clock = SystemClock()
    with upstream(tmp_path / "upstream", "--pause-ms", "5") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port, FIVE)
        with running(tmp_path / "data", config=config, workers=2) as server:
            _, key = server.issue()
            ends_s = clock.now_ns() // S + 4
            ends, ends_ns = datetime.fromtimestamp(ends_s, UTC), ends_s * S
            grant = ("credits", "grant", "--tenant", "acme", "--priority")
            server.json(*grant, "0", "--amount", "1", "--expires", ends.isoformat())
            server.json(*grant, "1", "--amount", "0.0003")
            statuses: list[tuple[int, int, int]] = []

            async def spend(n: int) -> None:
                for m in range(400):
                    begun_ns = clock.now_ns()
                    answer = await one(server.port, key, f"{n}-{m}", stream=True)
                    statuses.append((begun_ns, clock.now_ns(), answer.status))
                    if begun_ns > ends_ns + 3 * S:
                        return

            async def load() -> None:
                async with asyncio.timeout(40), asyncio.TaskGroup() as group:
                    for n in range(6):
                        group.create_task(spend(n))

            asyncio.run(load())
            early = [status for _, answered_ns, status in statuses if answered_ns < ends_ns - EARLY_NS]
            late = Counter(status for begun_ns, _, status in statuses if begun_ns >= ends_ns)
            assert set(early) == {200} and len(early) > 10
            assert 1 <= late[200] <= 30 and late[402], "30 are paid by the other grant"

            def closed() -> Any:
                found = server.control("/v1/credits?tenant=acme")["credits"]
                return next((row for row in found if row["state"] == "expired" and row["forfeited"] != "0.00"), None)

            assert nano(until(closed, "the end is written")["forfeited"]) > 0
            assert asyncio.run(at_once(40, (server, key)))
            stands = until(lambda: (found := balance(server))["balance"] < CALL and found, "the rest is spent")
            assert stands["overage"] == 0 and stands["balance"] == stands["left"] >= 0
            assert stands["granted"] - stands["forfeited"] - stands["used"] == stands["balance"]


def test_a_reset_under_load(tmp_path: Path) -> None:
    """Workers that admit all the time, one of them killed: after the answer only what rolled over is there."""
    with upstream(tmp_path / "upstream", "--pause-ms", "20") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port, FIVE)
        with running(tmp_path / "data", config=config, workers=2) as server:
            _, key = server.issue()
            server.json("credits", "grant", "--tenant", "acme", "--amount", "1", "--rollover-max", "0.0003")
            reset = ("credits", "reset", "--tenant", "acme", "--id", "r", "--anchor", "keep", "--no-keep-overage")
            seen = Counter[int]()

            async def spend(n: int) -> None:
                for m in range(4_000):
                    with suppress(*BROKEN):
                        status = (await one(server.port, key, f"{n}-{m}", stream=True)).status
                        seen[status] += 1
                        if status == 402:
                            return

            async def turn() -> None:
                while seen[200] < 20:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(server.json, *reset)
                workers = [pid for name, pid in server.pids().items() if name.startswith("worker-")]
                os.kill(workers[0], signal.SIGKILL)

            async def load() -> None:
                async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                    group.create_task(turn())
                    for n in range(6):
                        group.create_task(spend(n))

            asyncio.run(load())
            server.wait_ready()
            made = until(lambda: (found := server.json(*reset))["final"] and found, "the period is closed")
            left = until(lambda: balance(server)["left"] // CALL, "what rolled over is there")
            asyncio.run(at_once(left + 40, (server, key)))
            stands = until(lambda: (found := balance(server))["balance"] < CALL and found, "the rest is spent")
            assert stands["overage"] == stands["forgiven"] == 0 and stands["balance"] == stands["left"] >= 0
            assert nano(made["forfeited"]) == stands["forfeited"] > 0
            assert stands["granted"] - stands["forfeited"] - stands["used"] == stands["balance"]


def test_two_machines_have_one_balance(tmp_path: Path) -> None:
    """The same grant on both; what it allows is divided between them."""
    with upstream(tmp_path / "upstream") as provider, authority(tmp_path / "redis") as redis:
        sharing = f'[server.sharing]\nurl = "{redis.url}"\n'
        config = limited(tmp_path / "interlock.toml", provider.port, FIVE, more=sharing)
        with (
            running(tmp_path / "a", config=config, workers=2) as first,
            running(tmp_path / "b", config=config, workers=2) as second,
        ):
            servers = [(server, server.issue()[1]) for server in (first, second)]
            for server, _ in servers:
                top_up(server, "0.0001", "--id", "shared")
            answers = asyncio.run(at_once(200, *servers))
            assert Counter(answer.status for answer in answers) == {200: 10, 402: 190}
            assert len(provider.seen()) == 10


def test_what_a_client_is_told(tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = limited(
            tmp_path / "interlock.toml", provider.port, quota('measure = "usd"\namount = 1\nwindow = "month"\n')
        )
        with running(tmp_path / "data", config=config, workers=1) as server:
            _, key = server.issue("--scope", "inference", "--scope", "usage:read")
            assert "x-interlock-credit-remaining" not in asyncio.run(one(server.port, key, "free")).headers
            top_up(server, "0.000025")
            answer = asyncio.run(one(server.port, key, "one"))
            assert answer.status == 200 and answer.headers["x-interlock-credit-remaining"] == "0.000015"
            assert asyncio.run(one(server.port, key, "two")).status == 200
            told = api(server, key, "/v1/balance")
            assert told["credit"] == [{"account": "acme", "held": "0.00", "left": "0.000005"}]
            (ten,) = told["limits"]
            assert (ten["name"], ten["used"], ten["left"]) == ("ten", "0.00003", "0.99997"), "the free call, too"
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as chat:
                with pytest.raises(openai.APIStatusError) as refused:
                    chat.chat.completions.create(model="auto", messages=[{"role": "user", "content": "hi"}])
                assert refused.value.status_code == 402 and refused.value.code == "credit_exhausted"
                assert "account acme has 0.000005 USD" in refused.value.message
                assert "up to 0.00001 USD" in refused.value.message
                headers = refused.value.response.headers
                assert headers["x-interlock-limit"] == "credit/acme" and "retry-after" not in headers
            with anthropic.Anthropic(base_url=server.url, api_key=key, max_retries=0) as messages:
                with pytest.raises(anthropic.APIStatusError) as billed:
                    messages.messages.create(model="auto", max_tokens=5, messages=[{"role": "user", "content": "hi"}])
                assert billed.value.status_code == 402 and "billing_error" in str(billed.value.body)
            config.write_text(config.read_text().replace('price = { input = "0", output = "2" }\n', ""))
            assert server.cli("config", "reload").returncode == 0
            answer = asyncio.run(one(server.port, key, "unpriced"))
            assert answer.json["error"]["code"] == "unpriced"


def test_who_is_told_of_a_low_balance(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.start()
    more = f'[server.webhook]\nurl = "http://127.0.0.1:{receiver.port}/hook"\nsecret = {{ env = "HOOK_SECRET" }}\n'
    more += '[credits]\nwarn_below = ["0.00005", "0.00002"]\n'
    with upstream(tmp_path / "upstream") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port, FIVE, more=more)
        with running(tmp_path / "data", config=config, workers=2, env={"HOOK_SECRET": "a secret"}) as server:
            _, key = server.issue()
            top_up(server, "0.0001")

            def told(calls: int) -> list[tuple[str, str]]:
                answers = asyncio.run(at_once(calls, (server, key)))
                assert Counter(answer.status for answer in answers) == {200: calls}
                until(lambda: len(receiver.got) >= wanted, "the webhook is told")
                found = [msgspec.json.decode(body) for _, body in receiver.got]
                assert {one["type"] for one in found} <= {"credit.low"}
                return [(one["data"]["below"], one["data"]["left"]) for one in found]

            wanted = 0
            assert told(5) == []
            wanted = 1
            assert told(3) == [("0.00005", "0.00004")]
            top_up(server, "0.0001")
            assert told(3) == [("0.00005", "0.00004")]
            wanted = 3
            assert sorted(told(8)) == [("0.00002", "0.00001"), ("0.00005", "0.00004"), ("0.00005", "0.00004")]
    receiver.server.shutdown()
    receiver.server.server_close()
