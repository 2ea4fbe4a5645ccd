"""Limits with real servers: exactly as many as fit, on one worker, on two, on two machines; and after a death."""

import asyncio
import base64
import hmac
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anthropic
import msgspec
import openai
import pytest
from tests.e2e.calls import BROKEN, connected, one
from tests.e2e.configs import scripted
from tests.e2e.server import Server, free_port, running, until
from tests.e2e.upstream import ask, upstream
from tests.gateway.rig import PATHS, Answer, read_answer
from tests.limits.servers import RealServer

from interlock.errors import CODES

CALLS = 200
TEN = {
    "requests": 'measure = "requests"\namount = 10\nwindow = "month"\n',
    # 5 output tokens at 2 dollars a million, input for nothing; as many are reserved as are used
    "usd": 'measure = "usd"\namount = "0.0001"\nwindow = "month"\n',
}
PRICES = 'price = { input = "0", output = "2" }\n'


def quota(more: str, name: str = "ten") -> str:
    return f'[reserve]\ndefault = 5\n[[quotas]]\nname = "{name}"\n{more}'


def limited(path: Path, port: int, *quotas: str, more: str = "") -> Path:
    """`scripted`, with free input."""
    made = scripted(path, port, more="".join(quotas) + more)
    made.write_text(made.read_text().replace('price = { input = "1", output = "2" }\n', PRICES))
    return made


async def at_once(count: int, *servers: tuple[Server, str]) -> list[Answer]:
    """That many calls, spread over the servers, all begun before any is answered."""
    begin = asyncio.Event()

    async def call(n: int) -> Answer:
        server, key = servers[n % len(servers)]
        async with connected(server.port, key) as caller:
            await begin.wait()
            return await caller.call(f"c{n}")

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(call(n)) for n in range(count)]
        await asyncio.sleep(0.5)
        begin.set()
    return [task.result() for task in tasks]


@pytest.mark.parametrize("measure", TEN)
@pytest.mark.parametrize("workers", [1, 2])
def test_exactly_ten(tmp_path: Path, workers: int, measure: str) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port, quota(TEN[measure] + 'per = ["tenant"]\n'))
        with running(tmp_path / "data", config=config, workers=workers) as server:
            _, key = server.issue()
            answers = asyncio.run(at_once(CALLS, (server, key)))
            assert Counter(answer.status for answer in answers) == {200: 10, 429: CALLS - 10}
            assert len(provider.seen()) == 10
            refused = next(answer for answer in answers if answer.status == 429)
            assert refused.json["error"]["code"] == "limit_exceeded"
            assert refused.headers["x-interlock-limit"] == "ten" and int(refused.headers["retry-after"]) >= 1
            (shown,) = server.json("quotas")["quotas"]
            amount = ("10", "0.0001")[measure == "usd"]
            assert (shown["name"], shown["used"], shown["amount"]) == ("ten", amount, amount)
            assert float(shown["held"]) == 0
            assert shown["scope"] == {"tenant": "acme"} and shown["percent"] == 100.0
            assert "ten   tenant=acme" in server.cli("quotas", "--tenant", "acme").stdout
            assert "there is no tenant 'nobody'" in server.cli("quotas", "--tenant", "nobody").stderr
            if measure == "requests":
                assert refused.headers["x-ratelimit-limit-requests"] == "10"
                assert refused.headers["x-ratelimit-remaining-requests"] == "0"
                good = [answer.headers for answer in answers if answer.status == 200]
                left = sorted(int(one["x-ratelimit-remaining-requests"]) for one in good)
                assert left == list(range(10)), "each was told what was left after it"
            assert server.stop() == 0
        with running(tmp_path / "data", config=config, workers=workers) as server:
            assert asyncio.run(one(server.port, key, "again")).status == 429, "a start counts what the log says"
            _, other = server.issue("--principal", "somebody")
            assert asyncio.run(one(server.port, other, "other")).status == 429, "it is the tenant's"


def test_a_killed_worker_s_shares_come_back(tmp_path: Path) -> None:
    """Eight calls at once are allowed; all run in a worker that dies, and eight are allowed again."""
    with upstream(tmp_path / "upstream") as provider:
        at_once_ = 'measure = "concurrency"\namount = 8\n'
        config = limited(tmp_path / "interlock.toml", provider.port, quota(at_once_, "at-once"))
        with running(tmp_path / "data", config=config, workers=1) as server:
            _, key = server.issue()

            async def held() -> None:
                async def call(n: int) -> None:
                    with suppress(*BROKEN):
                        await one(server.port, key, f"held-{n}", stream=True)

                async with asyncio.TaskGroup() as group:
                    for n in range(8):
                        group.create_task(call(n))
                    await asyncio.to_thread(lambda: until(lambda: len(provider.seen()) == 8, "all are held"))
                    ninth = await one(server.port, key, "ninth")
                    assert ninth.status == 429 and ninth.headers["x-interlock-limit"] == "at-once"
                    worker = server.pids()["worker-0"]
                    os.kill(worker, signal.SIGKILL)
                    await asyncio.to_thread(
                        lambda: until(lambda: server.pids().get("worker-0") not in (None, worker), "another worker")
                    )

            asyncio.run(held())
            server.wait_ready()
            answers = asyncio.run(at_once(8, (server, key)))
            assert Counter(answer.status for answer in answers) == {200: 8}


def test_what_has_no_price_is_refused_where_money_is_limited(tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port, quota(TEN["usd"]))
        config.write_text(config.read_text().replace(PRICES, ""))
        with running(tmp_path / "data", config=config, workers=1) as server:
            _, key = server.issue()
            answer = asyncio.run(one(server.port, key, "x"))
            assert answer.status == CODES["unpriced"].status and answer.json["error"]["code"] == "unpriced"
            assert not provider.seen()


def two_places(path: Path, port: int, *more: str) -> Path:
    """The same upstream twice in one tier."""
    made = limited(path, port, *more)
    text = made.read_text()
    first = text[text.index("[deployments.scripted]") : text.index("[tiers]")]
    text = text.replace("[tiers]", first.replace("[deployments.scripted]", "[deployments.second]") + "[tiers]")
    made.write_text(text.replace('main = ["scripted"]', 'main = ["scripted", "second"]'))
    return made


def test_a_second_candidate_is_no_way_around_a_limit(tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = two_places(tmp_path / "interlock.toml", provider.port, quota(TEN["requests"]))
        with running(tmp_path / "data", config=config, workers=1) as server:
            _, key = server.issue()
            answers = asyncio.run(at_once(30, (server, key)))
            assert Counter(answer.status for answer in answers) == {200: 10, 429: 20}
            refused = next(answer for answer in answers if answer.status == 429)
            told = server.json("explain", refused.headers["x-interlock-request-id"])
            assert "limit_exceeded" in str(told), "it is written down, however many candidates there were"


def test_who_takes_what_another_is_limited_for_is_counted(tmp_path: Path) -> None:
    """Also at the next start, by the log."""
    narrow = quota('measure = "requests"\namount = 1\nwindow = "month"\ndeployments = ["scripted"]\n', "narrow")
    wide = '[[quotas]]\nname = "wide"\nmeasure = "requests"\namount = 3\nwindow = "month"\n'
    with upstream(tmp_path / "upstream") as provider:
        config = two_places(tmp_path / "interlock.toml", provider.port, narrow, wide)
        for statuses in ([200, 200], [200, 429]):
            with running(tmp_path / "data", config=config, workers=1) as server:
                _, key = server.issue()
                assert [asyncio.run(one(server.port, key, "x")).status for _ in statuses] == statuses
                assert server.stop() == 0


def test_calls_that_name_no_session_share_one(tmp_path: Path) -> None:
    three = quota('measure = "requests"\namount = 3\nwindow = "month"\nper = ["session"]\n', "three")
    with upstream(tmp_path / "upstream") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port, three)
        for n, statuses in enumerate(([200, 200], [200, 429])):
            with running(tmp_path / "data", config=config, workers=1) as server:
                _, key = server.issue()
                assert [asyncio.run(nameless(server.port, key, f"{n} {m}")) for m in range(2)] == statuses
                assert asyncio.run(one(server.port, key, "named")).status == 200
                assert server.stop() == 0


def test_answers_given_again_are_not_counted_at_a_start_either(tmp_path: Path) -> None:
    rule = '[[rules]]\nname = "all"\ntier = "main"\ncache = { ttl_s = 600, hit_price = "50%" }\n'
    with upstream(tmp_path / "upstream") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port, quota(TEN["requests"]), more=rule)
        with running(tmp_path / "data", config=config, workers=1) as server:
            _, key = server.issue()
            assert [asyncio.run(nameless(server.port, key, "same")) for _ in range(5)] == [200] * 5
            assert len(provider.seen()) == 1
            assert server.stop() == 0
        with running(tmp_path / "data", config=config, workers=1) as server:
            answer = asyncio.run(one(server.port, key, "new"))
            assert answer.headers["x-ratelimit-remaining-requests"] == "8"


async def nameless(port: int, key: str, marker: str) -> int:
    """The status of a deterministic call that names no session."""
    body = msgspec.json.encode(
        {**ask("chat", marker), "messages": [{"role": "user", "content": marker}], "temperature": 0}
    )
    async with connected(port, key) as caller:
        head = f"POST {PATHS['chat']} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n"
        caller.writer.write(f"{head}authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        return (await read_answer(caller.reader)).status


@contextmanager
def authority(directory: Path) -> Iterator[RealServer]:
    """A real Valkey or Redis."""
    directory.mkdir()
    server = RealServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def machines(tmp_path: Path, port: int, url: str, measure: str) -> Iterator[list[tuple[Server, str]]]:
    """Two data directories that share their limits, two workers each."""
    sharing = f'[server.sharing]\nurl = "{url}"\n'
    config = limited(tmp_path / "interlock.toml", port, quota(TEN[measure]), more=sharing)
    with (
        running(tmp_path / "a", config=config, workers=2) as first,
        running(tmp_path / "b", config=config, workers=2) as second,
    ):
        yield [(server, server.issue()[1]) for server in (first, second)]


@pytest.mark.parametrize("measure", TEN)
def test_two_machines_have_ten_together(tmp_path: Path, measure: str) -> None:
    with (
        upstream(tmp_path / "upstream") as provider,
        authority(tmp_path / "redis") as redis,
        machines(tmp_path, provider.port, redis.url, measure) as servers,
    ):
        answers = asyncio.run(at_once(CALLS, *servers))
        assert Counter(answer.status for answer in answers) == {200: 10, 429: CALLS - 10}
        assert len(provider.seen()) == 10


def test_a_limit_of_one_caller_refuses_nobody_who_waits_for_the_same_answer(tmp_path: Path) -> None:
    """Alice's call waits for the authority, Bob's for hers; she is refused, and he is under no limit."""
    rule = '[[rules]]\nname = "all"\ntier = "main"\ncache = { ttl_s = 600 }\n'
    with upstream(tmp_path / "upstream") as provider, authority(tmp_path / "redis") as redis:
        hers = quota(TEN["requests"] + 'principals = ["alice"]\n')
        sharing = f'[server.sharing]\nurl = "{redis.url}"\n'
        config = limited(tmp_path / "interlock.toml", provider.port, hers, more=rule + sharing)
        with running(tmp_path / "a", config=config, workers=1) as server:
            keys = [server.issue("--principal", name)[1] for name in ("alice", "bob")]

            async def both() -> list[int]:
                async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                    alice = group.create_task(nameless(server.port, keys[0], "same"))
                    await asyncio.sleep(0.1)
                    bob = group.create_task(nameless(server.port, keys[1], "same"))
                return [alice.result(), bob.result()]

            redis.stop()
            assert asyncio.run(both()) == [503, 200]


def test_the_authority_dies_under_load_and_nobody_notices(tmp_path: Path) -> None:
    """A limit that is far from reached stops nobody, whoever counts it."""
    with upstream(tmp_path / "upstream") as provider, authority(tmp_path / "redis") as redis:
        wide = quota('measure = "requests"\namount = 100000\nwindow = "month"\noverdraft = 1000\n')
        config = limited(
            tmp_path / "interlock.toml", provider.port, wide, more=f'[server.sharing]\nurl = "{redis.url}"\n'
        )
        with running(tmp_path / "a", config=config, workers=2) as server:
            _, key = server.issue()

            async def load() -> list[int]:
                statuses: list[int] = []

                async def calls(n: int) -> None:
                    for m in range(25):
                        statuses.append((await one(server.port, key, f"l{n}-{m}")).status)

                async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                    for n in range(8):
                        group.create_task(calls(n))
                    while len(statuses) < 60:
                        await asyncio.sleep(0.01)
                    await asyncio.to_thread(redis.kill)
                return statuses

            assert Counter(asyncio.run(load())) == {200: 200}


class Receiver:
    """A webhook's address, which is not there at first."""

    def __init__(self) -> None:
        self.port = free_port()
        self.got: list[tuple[Message[str, str], bytes]] = []

    def start(self) -> None:
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append((self.headers, self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_a_threshold_is_told_once_and_signed(tmp_path: Path) -> None:
    """The receiver comes up late: no call waits for it, and the warning arrives all the same."""
    receiver = Receiver()
    webhook = f'[server.webhook]\nurl = "http://127.0.0.1:{receiver.port}/hook"\nsecret = {{ env = "HOOK_SECRET" }}\n'
    quotas = quota(TEN["requests"] + 'per = ["tenant"]\nwarn_at = [50]\n')
    with upstream(tmp_path / "upstream") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port, quotas, more=webhook)
        with running(tmp_path / "data", config=config, workers=2, env={"HOOK_SECRET": "a secret"}) as server:
            _, key = server.issue()
            answers = asyncio.run(at_once(8, (server, key)))
            assert Counter(answer.status for answer in answers) == {200: 8}
            receiver.start()
            until(lambda: receiver.got, "the warning")
            assert asyncio.run(one(server.port, key, "ninth")).status == 200
            headers, body = receiver.got[0]
            told = msgspec.json.decode(body)
            assert told["type"] == "limit.threshold" and told["data"]["percent"] == 50
            assert told["data"]["limit"] == "ten" and told["data"]["scope"] == {"tenant": "acme"}
            signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
            mac = base64.b64encode(hmac.digest(b"a secret", signed, "sha256")).decode()
            assert headers["webhook-signature"] == f"v1,{mac}"
            assert len(receiver.got) == 1, "once for all workers"
            assert "a secret" not in server.said
            receiver.server.shutdown()
            receiver.server.server_close()


def test_a_limit_that_is_loaded_holds_the_next_call(tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port)
        with running(tmp_path / "data", config=config, workers=2) as server:
            _, key = server.issue()
            assert Counter(a.status for a in asyncio.run(at_once(12, (server, key)))) == {200: 12}
            config.write_text(config.read_text() + quota(TEN["requests"]))
            assert server.cli("config", "reload").returncode == 0
            assert Counter(a.status for a in asyncio.run(at_once(12, (server, key)))) == {200: 10, 429: 2}
            config.write_text(config.read_text().replace("amount = 10", "amount = 11"))
            assert server.cli("config", "reload").returncode == 0
            assert Counter(a.status for a in asyncio.run(at_once(4, (server, key)))) == {200: 1, 429: 3}


def test_the_official_clients_know_what_it_means(tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = limited(tmp_path / "interlock.toml", provider.port, quota(TEN["requests"].replace("10", "2")))
        with running(tmp_path / "data", config=config, workers=1) as server:
            _, key = server.issue()
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as chat:
                raw = chat.chat.completions.with_raw_response.create(
                    model="auto", messages=[{"role": "user", "content": "hi"}]
                )
                assert raw.headers["x-ratelimit-remaining-requests"] == "1"
                assert raw.headers["x-ratelimit-reset-requests"].endswith("s")
                chat.chat.completions.create(model="auto", messages=[{"role": "user", "content": "hi"}])
                with pytest.raises(openai.RateLimitError) as limit:
                    chat.chat.completions.create(model="auto", messages=[{"role": "user", "content": "hi"}])
                assert limit.value.code == "limit_exceeded" and int(limit.value.response.headers["retry-after"]) > 0
            with anthropic.Anthropic(base_url=server.url, api_key=key, max_retries=0) as messages:
                with pytest.raises(anthropic.RateLimitError) as limited_:
                    messages.messages.create(model="auto", max_tokens=5, messages=[{"role": "user", "content": "hi"}])
                headers = limited_.value.response.headers
                assert headers["anthropic-ratelimit-requests-limit"] == "2"
                assert headers["anthropic-ratelimit-requests-remaining"] == "0"
                assert headers["x-interlock-limit"] == "ten"
