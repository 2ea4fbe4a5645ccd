"""The cache as users have it: real gateways, a real Redis, the official clients, processes that are killed."""

import asyncio
import contextlib
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import openai
import pytest
from tests.caching.redis import Redis, redis
from tests.e2e.configs import Journals, scripted
from tests.e2e.server import Server, running, until
from tests.e2e.upstream import Upstream, ask, upstream
from tests.gateway.rig import PATHS, Answer, read_answer
from tests.gateway.shared import encoded

from interlock.log.reader import JournalReader

MANY = 1000
LOOKS = 3
"""How often a worker is asked something behind calls that were sent, until it has read them."""
CACHE = "x-interlock-cache"
RULE = '[[rules]]\nname = "all"\ntier = "main"\ncache = { ttl_s = 600, hit_price = "50%" }\n'
ZERO = {"temperature": 0}
"""Anthropic's SDK has no argument for it any more; servers of the format take it."""
SAVINGS = '[savings]\nbaseline = "scripted"\n'


def config(directory: Path, port: int, server: Redis | None = None, **settings: Any) -> Path:
    """One upstream, everything cached. The machine that tests run on may be busy: the server is waited for."""
    more = RULE + SAVINGS
    if server is not None:
        said = {"timeout_ms": 5000, "wait_s": 120, **settings}
        more += f'[cache]\nurl = "{server.url}"\n' + "".join(f"{key} = {value}\n" for key, value in said.items())
    return scripted(directory / "interlock.toml", port, more=more)


def equal(marker: str, *, stream: bool = True) -> dict[str, Any]:
    return {**ask("chat", marker, stream=stream), "temperature": 0}


async def call(server: Server, body: dict[str, Any], key: str, sent: Callable[[], None] = lambda: None) -> Answer:
    content = encoded(body)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST {PATHS['chat']} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}authorization: Bearer {key}\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content)
    try:
        async with asyncio.timeout(100):
            await writer.drain()
            sent()
            return await read_answer(reader, 90)
    finally:
        writer.close()


async def together(server: Server, provider: Upstream, marker: str, key: str, count: int) -> list[Answer]:
    """So many equal calls at once; the upstream goes on once all of them are in."""
    sent = list[bool]()
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(call(server, equal(marker), key, lambda: sent.append(True))) for _ in range(count)]
        async with asyncio.timeout(60):
            while len(sent) < count or connections(server) < count:
                await asyncio.sleep(0.1)
        for _ in range(LOOKS):
            assert await asyncio.to_thread(server.answers, server.port, "/readyz")
        provider.gate.touch()
    return [task.result() for task in made]


def metric(server: Server, name: str) -> dict[str, float]:
    """Series of one metric, by their labels."""
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", server.control_port, timeout=20)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return {labels: float(value) for labels, value in re.findall(rf"^{name}(\{{.*\}})? (\S+)$", text, re.MULTILINE)}


def connections(server: Server) -> float:
    return sum(metric(server, "interlock_connections").values())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_thousand_equal_requests_at_once_are_one_upstream_call(tmp_path: Path, workers: int) -> None:
    with upstream(tmp_path / "upstream", "--events", "20") as provider, redis(tmp_path / "redis") as store:
        path = config(tmp_path, provider.port, store if workers > 1 else None)
        with running(tmp_path / "data", config=path, workers=workers) as server:
            _, acme = server.issue()
            answers = asyncio.run(together(server, provider, "held-1", acme, MANY))
            assert {(answer.status, answer.complete) for answer in answers} == {(200, True)}
            assert len({answer.body for answer in answers}) == 1
            assert b"[DONE]" in answers[0].body
            assert provider.markers() == ["held-1"]
            results = Counter(answer.headers[CACHE] for answer in answers)
            assert results["miss"] == 1 and results.total() == MANY
            assert (results["hit"] > 0) is (workers > 1), "the other worker heard it of the store"
            other = server.json("keys", "issue", "--tenant", "other", "--name", "agent")["secret"]
            assert asyncio.run(call(server, equal("held-2"), other)).headers[CACHE] == "miss"
            assert len(provider.markers()) == 2
            check_reports(server, MANY + 1, 2)
            check_metrics(server, MANY)
            assert server.stop() == 0
    journals = Journals(server.places.journal)
    journals.check()
    assert len(journals.opened) == MANY + 1
    assert Counter(bool(opened.answer_of) for opened in journals.opened.values()) == {True: MANY - 1, False: 2}


def check_reports(server: Server, requests: int, made: int) -> None:
    """What `usage` and `savings` say of so many requests, of which `made` were sent."""
    call_nanousd = 20 * 1_000 + 5 * 2_000  # what the upstream reports, at the configuration's price
    hits = requests - made

    def folded() -> Any:
        [row] = server.json("usage")["rows"]
        return row if (row["requests"], row["open"]) == (requests, 0) else None

    row = until(folded, "all of it is folded", 60)
    assert (row["cache_hits"], row["input"], row["output"]) == (hits, 20 * made, 5 * made)
    assert int(row["amount_nanousd"]) == call_nanousd * made + call_nanousd // 2 * hits
    saved = server.json("savings")
    assert int(saved["baseline_nanousd"]) == call_nanousd * requests
    assert int(saved["saved_nanousd"]) == call_nanousd // 2 * hits
    assert "CACHE HITS" in server.cli("usage").stdout


def check_metrics(server: Server, requests: int) -> None:
    def counted() -> bool:
        found = metric(server, "interlock_cache_answers_total")
        attempts = metric(server, "interlock_attempts_total")  # workers tell theirs each second, and not at once
        answered = sum(found.values()) == requests + 1 and found['{format="chat",result="miss"}'] == 2
        return answered and sum(attempts.values()) == 2

    until(counted, "the metrics agree", 20)
    assert metric(server, "interlock_cache_entries")[""] >= 2


def test_official_clients_get_what_they_got(tmp_path: Path) -> None:
    with (
        contextlib.ExitStack() as stack,
        upstream(tmp_path / "upstream") as provider,
        running(tmp_path / "data", config=config(tmp_path, provider.port)) as server,
    ):
        _, key = server.issue()
        chat = stack.enter_context(openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0))
        claude = stack.enter_context(anthropic.Anthropic(base_url=server.url, api_key=key, max_retries=0))
        said: Any = [{"role": "user", "content": "hello"}]
        found: dict[str, list[tuple[str, Any]]] = {"chat": [], "stream": [], "messages": [], "messages stream": []}
        for _ in range(2):
            raw = chat.chat.completions.with_raw_response.create(model="auto", messages=said, temperature=0)
            found["chat"].append((raw.headers[CACHE], raw.parse().choices[0].message.content))
            streamed = chat.chat.completions.with_raw_response.create(
                model="auto", messages=said, temperature=0, stream=True, stream_options={"include_usage": True}
            )
            chunks = list(streamed.parse())
            words = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert chunks[-1].usage is not None
            found["stream"].append((streamed.headers[CACHE], (words, chunks[-1].usage.total_tokens)))
            message = claude.messages.with_raw_response.create(
                model="auto", messages=said, max_tokens=10, extra_body=ZERO
            )
            found["messages"].append((message.headers[CACHE], message.parse().content))
            with claude.messages.stream(model="auto", messages=said, max_tokens=10, extra_body=ZERO) as stream:
                text = "".join(stream.text_stream)
                found["messages stream"].append((stream.response.headers[CACHE], text))
        for name, (first, second) in found.items():
            assert (first[0], second[0], second[1]) == ("miss", "hit", first[1]), name
        assert len(provider.seen()) == 4
        request_id = raw.headers["x-interlock-request-id"]
        shown = until(lambda: server.explained(request_id) and server.cli("explain", request_id).stdout, "explain")
        assert re.search(r"not sent the answer of req_\w+ was given again, from scripted", shown)
        assert "cache_hit" in shown and "prices   rule all" in shown


def test_a_restarted_server_finds_its_answers_and_a_dead_store_costs_only_hits(tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream") as provider, redis(tmp_path / "redis") as store:
        path = config(tmp_path, provider.port, store)
        with running(tmp_path / "data", config=path) as server:
            _, key = server.issue()
            assert asyncio.run(call(server, equal("a"), key)).headers[CACHE] == "miss"
            [name] = until(lambda: [key for key in store.names() if not key.endswith(":lead")], "the answer is kept")
            assert name.startswith("interlock:cache:1:acme:")
            server.stop()
            server.start()
            assert asyncio.run(call(server, equal("a"), key)).headers[CACHE] == "hit"
            asyncio.run(under_load(server, key, store))
            until(lambda: sum(metric(server, "interlock_cache_server_away").values()) == 1, "it is left alone")
            store.start()
            seen = len(provider.seen())

            def kept() -> bool:
                body = {**equal("back"), "seed": 10_000 + len(provider.seen())}
                assert asyncio.run(call(server, body, key)).status == 200
                return bool(store.names())

            until(kept, "the store is used again", 60)
            assert len(provider.seen()) > seen
            assert server.said.count("is left alone") == 1


async def under_load(server: Server, key: str, store: Redis) -> None:
    """Different calls all the while, and the store killed in the midst of them: none fails."""
    answers: list[Answer] = []

    async def caller(number: int) -> None:
        for turn in range(20):
            answers.append(
                await call(server, {**equal("load", stream=turn % 2 == 0), "seed": number * 100 + turn}, key)
            )

    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(caller(number))
        while len(answers) < 60:
            await asyncio.sleep(0.005)
        store.kill()
    assert len(answers) == 200
    assert {(answer.status, answer.complete, answer.headers[CACHE]) for answer in answers} == {(200, True, "miss")}


def test_a_worker_killed_while_it_leads_is_not_waited_for(tmp_path: Path) -> None:
    with (
        upstream(tmp_path / "upstream") as provider,
        redis(tmp_path / "redis") as store,
        running(tmp_path / "data", config=config(tmp_path, provider.port, store), workers=2) as server,
    ):
        _, key = server.issue()
        asyncio.run(killed_leading(server, provider, key))
        assert provider.markers() == ["held-1", "held-1"]
        server.stop()
    journals = Journals(server.places.journal)
    journals.check()
    lost = [found[0] for found in journals.settled.values() if found[0].outcome == "lost"]
    assert [one.source for one in lost].count("estimated") == 1
    assert {(one.source, bool(one.usage)) for one in lost} == {("estimated", True), ("none", False)}, (
        "guests cost nothing"
    )


async def killed_leading(server: Server, provider: Upstream, key: str) -> None:
    """Calls on both workers; the one that leads is killed: those of the other are answered all the same."""
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(90):
        made: list[asyncio.Task[str]] = []
        while not provider.markers() or min(held := connections_by_worker(server)) < 2 or sum(held) < len(made):
            if sum(connections_by_worker(server)) >= len(made):
                made += [tasks.create_task(outcome(server, key)) for _ in range(20)]
            await asyncio.sleep(0.1)
        peer = provider.seen()[0].peer
        leader = next(name for name, pid in server.pids().items() if name.startswith("worker") and holds(pid, peer))
        while opened(server, leader.removeprefix("worker-")) < 2:  # who is connected may not be read yet
            await asyncio.sleep(0.05)
        os.kill(server.pids()[leader], signal.SIGKILL)
        while len(provider.markers()) < 2:
            await asyncio.sleep(0.05)
        provider.gate.touch()
    found = Counter(task.result() for task in made)
    assert found["answered"] > 0 and found["broken"] > 0 and found.total() == len(made)


def opened(server: Server, slot: str) -> int:
    """How many attempts a worker has written down."""
    records = JournalReader(server.places.journal).scan(f"usage/{slot}")
    return sum(stored.record.type == "usage.opened" for stored in records)


def connections_by_worker(server: Server) -> list[int]:
    """As each of two workers wrote it last."""
    files = [server.places.metrics(slot) for slot in range(2)]
    return [msgspec.json.decode(file.read_bytes())["interlock_connections"] for file in files]


async def outcome(server: Server, key: str) -> str:
    try:
        answer = await call(server, equal("held-1"), key)
    except (OSError, asyncio.IncompleteReadError):
        return "broken"
    return "answered" if answer.status == 200 and answer.complete and b"[DONE]" in answer.body else "broken"


def holds(pid: int, port: int) -> bool:
    """Whether a process has a connection from this port of ours."""
    inodes = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{port:04X}")
    }
    links = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.add(str(link.readlink()))
    return any(f"socket:[{inode}]" in links for inode in inodes)
