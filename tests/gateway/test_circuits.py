"""Circuits and keys in a running gateway: nothing that can happen to a call leaves one half-open, or lets a herd in."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT, CHAT_USAGE, DONE, EVENTS, ask, chat_delta, data
from tests.gateway.rig import PATHS, Rig, Upstream, policy, raw, read_answer, rig, silent, streamed, whole
from tests.gateway.test_faults import ERROR, FAST, held

from interlock.errors import LocalError, LogUnavailable
from interlock.gateway import Breaker, Limits, Retries, plan
from interlock.gateway.failure import Keys
from interlock.gateway.failure.breaker import PROBE_WAIT_S

Run = Callable[..., Any]
ONE = Breaker(failures=1, window_s=30, open_s=0.05, open_s_max=60)
"""One failure opens it, for a moment."""


def play(run: Run, tmp_path: Path, test: Any, *upstreams: Upstream, **options: Any) -> None:
    async def main() -> None:
        ports = [await upstream.start() for upstream in upstreams]
        made = policy(ports, **{"timeouts": FAST, "breaker": ONE, **options})
        try:
            async with asyncio.timeout(20), rig(tmp_path / "data", made) as on:
                await test(on)
                async with asyncio.timeout(2):
                    while on.gateway.exchanges:
                        await asyncio.sleep(0.01)
        finally:
            for upstream in upstreams:
                await upstream.stop()

    run(main, blocking_s=1.0)


async def opened(on: Rig, first: Upstream) -> None:
    """Open d0's circuit, and wait until it may be tried."""
    first.scripts = [whole(ERROR, "500 Oops")]
    await on.call(PATHS["chat"], ask("chat"))
    circuit = on.gateway.circuits["d0"]
    assert circuit.state == "open"
    while circuit.wait_s(on.gateway.loop.time()) > 0.0:
        await asyncio.sleep(0.01)


async def recovers(on: Rig, first: Upstream) -> None:
    """The next calls reach it, and close its circuit."""
    first.scripts = [whole(CHAT)]
    async with asyncio.timeout(5):
        while on.gateway.circuits["d0"].state != "closed":
            await on.call(PATHS["chat"], ask("chat"))
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("when", ["silent", "head"])
def test_a_probe_whose_client_hangs_up(run: Run, tmp_path: Path, stream: bool, when: str) -> None:
    async def test(on: Rig) -> None:
        await opened(on, first)
        first.scripts = [held() if when == "head" else silent]
        before = len(first.seen)
        _, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat", stream=stream))))
        while len(first.seen) == before:
            await asyncio.sleep(0.005)
        assert on.gateway.circuits["d0"].wait_s(on.gateway.loop.time()) == PROBE_WAIT_S
        writer.close()
        await on.settled(2)
        assert on.gateway.circuits["d0"].state == "open"
        await recovers(on, first)

    first = Upstream(silent)
    play(run, tmp_path, test, first)


def test_a_probe_on_a_connection_that_was_dead(run: Run, tmp_path: Path) -> None:
    """It is replaced at once; the second attempt is the probe then, not a stray beside one that never ends."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Any) -> None:
        raise ConnectionError

    async def test(on: Rig) -> None:
        await opened(on, first)
        first.scripts = [closing, whole(CHAT)]
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert answer.status == 200
        assert [s.outcome for s in await on.settled(3)] == ["failed", "failed", "completed"]
        assert on.gateway.circuits["d0"].state == "closed"

    first = Upstream(silent)
    play(run, tmp_path, test, first)


@pytest.mark.parametrize("failure", [LocalError("credential_missing: no"), ZeroDivisionError()])
def test_a_login_that_fails(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    monkeypatch.setattr("logging.Logger.exception", lambda *_, **__: None)

    class Auth:
        def ready(self, target: str, body: bytes) -> bytes | None:
            return None

        async def fetch(self, target: str, body: bytes) -> bytes:
            raise failure

    async def test(on: Rig) -> None:
        await opened(on, first)
        logins, on.gateway.upstreams["d0"]._logins = on.gateway.upstreams["d0"]._logins, [Auth()]
        answer = await on.call(PATHS["chat"], ask("chat"))
        code = "upstream_auth" if isinstance(failure, LocalError) else "internal"
        assert answer.json["error"]["code"] == code
        await on.settled(2)
        on.gateway.upstreams["d0"]._logins = logins
        await recovers(on, first)

    first = Upstream(silent)
    play(run, tmp_path, test, first)


def test_a_client_that_hangs_up_while_a_login_is_fetched(run: Run, tmp_path: Path) -> None:
    go = asyncio.Event()
    asked = asyncio.Event()

    class Auth:
        def ready(self, target: str, body: bytes) -> bytes | None:
            return None

        async def fetch(self, target: str, body: bytes) -> bytes:
            asked.set()
            await go.wait()
            return b""

    async def test(on: Rig) -> None:
        go.clear()
        asked.clear()
        on.gateway.upstreams["d0"]._logins = [Auth()]
        _, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))))
        await asked.wait()
        writer.close()
        while not all(exchange.hung_up for exchange in on.gateway.exchanges):
            await asyncio.sleep(0.005)
        go.set()
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.source) == ("cancelled", "none")

    first = Upstream(silent)
    play(run, tmp_path, test, first)
    assert not first.seen


def test_a_record_that_cannot_be_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(on: Rig) -> None:
        await opened(on, first)

        def full(*_: Any, **__: Any) -> None:
            raise LogUnavailable("the disk is full")

        with monkeypatch.context() as broken:
            broken.setattr(on.gateway.metering._journal, "stage", full)
            assert (await on.call(PATHS["chat"], ask("chat"))).status == 503
            assert (await on.call(PATHS["chat"], ask("chat", stream=True))).status == 503
        await recovers(on, first)

    first = Upstream(silent)
    play(run, tmp_path, test, first)


def test_an_error_event_counts_once(run: Run, tmp_path: Path) -> None:
    error = data({"error": {"message": "busy", "type": "server_error"}})

    async def test(on: Rig) -> None:
        for _ in range(2):
            answer = await on.call(PATHS["chat"], ask("chat", stream=True))
            assert answer.body == error
        assert on.gateway.circuits["d0"].state == "closed"

    rules = Breaker(failures=3, window_s=30, open_s=9, open_s_max=60)
    play(run, tmp_path, test, Upstream(streamed(error)), breaker=rules)


def test_rounds_do_not_go_through_an_open_circuit(run: Run, tmp_path: Path) -> None:
    """Calls that failed together wait together: once the circuit is open, their rounds neither probe nor prolong it."""

    async def test(on: Rig) -> None:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(on.call(PATHS["chat"], ask("chat"))) for _ in range(6)]
        assert {call.result().status for call in calls} == {500}
        assert len(first.seen) == 6
        assert on.gateway.circuits["d0"]._open_for_s == 30

    rules = Breaker(failures=3, window_s=30, open_s=30, open_s_max=300)
    first = Upstream(whole(ERROR, "500 Oops"))
    play(run, tmp_path, test, first, breaker=rules, retries=Retries(rounds=3, backoff_s=0.05))


def test_of_those_that_rest_the_one_that_is_due_is_tried(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        now_s = on.gateway.loop.time()
        for name, at_s in (("d0", now_s), ("d1", now_s - 100)):
            circuit = on.gateway.circuits[name]
            circuit.failed(circuit._era, at_s, "upstream_error")
            circuit._open_for_s = 200.0  # both have failed often; d1 is past the first wait
        on.gateway.circuits_moved()
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, answer.headers["x-interlock-deployment"]) == (200, "d1")

    first, second = Upstream(whole(CHAT)), Upstream(whole(CHAT))
    play(run, tmp_path, test, first, second, breaker=Breaker(failures=1, window_s=30, open_s=30, open_s_max=300))
    assert not first.seen


def test_a_call_that_waited_in_vain_for_a_connection_was_not_sent(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        _, one = await on.connect()
        one.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat", stream=True))))
        while not first.seen:
            await asyncio.sleep(0.005)
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert answer.status == 504
        settled = (await on.settled(2))[-1] if not (await on.settled(1))[0].error else (await on.settled(1))[0]
        assert (settled.outcome, settled.source, settled.usage) == ("failed", "none", {})
        one.close()

    async def steady(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Any) -> None:
        await streamed(chat_delta("a"), hold=asyncio.Event())(reader, writer, seen)

    first = Upstream(steady)
    slow = msgspec.structs.replace(FAST, idle_s=5, connect_s=0.1, first_byte_s=0.2)
    play(run, tmp_path, test, first, limits=Limits(upstream_connections=1), timeouts=slow)


def test_a_policy_without_the_next_candidate(run: Run, tmp_path: Path) -> None:
    """What runs goes on under the policy it began with, over rounds and candidates that a newer one has not."""

    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))))
        while not first.seen:
            await asyncio.sleep(0.005)
        old = on.gateway.policy
        tiers = {n: msgspec.structs.replace(t, deployments=("other",)) for n, t in old.tiers.items()}
        other = msgspec.structs.replace(old.deployments["d0"], name="other")
        on.gateway.adopt(msgspec.structs.replace(old, version="v2", deployments={"other": other}, tiers=tiers))
        go.set()
        answer = await read_answer(reader)
        assert (answer.status, answer.headers["x-interlock-deployment"]) == (200, "d1")
        writer.close()

    async def failing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Any) -> None:
        await asyncio.wait_for(go.wait(), 5)
        await whole(ERROR, "500 Oops")(reader, writer, seen)

    go = asyncio.Event()
    first, second = Upstream(failing), Upstream(whole(ERROR, "500 Oops"), whole(CHAT))
    rules = Breaker(failures=9)
    slow = msgspec.structs.replace(FAST, first_byte_s=5)

    async def main_test(on: Rig) -> None:
        go.clear()
        second.scripts = [whole(CHAT)]
        first.seen.clear()
        await test(on)

    play(run, tmp_path, main_test, first, second, breaker=rules, timeouts=slow)


@pytest.mark.parametrize("rounds", [{}, {"retries": Retries(rounds=1, backoff_s=0.0), "breaker": Breaker()}])
def test_an_attempt_that_cannot_be_made_ends_the_call(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: dict[str, Any]
) -> None:
    """A defect of ours in a call's first attempt or a later one: it is answered, and nothing is left over."""
    monkeypatch.setattr("logging.Logger.exception", lambda *_, **__: None)
    made = []

    def once(*given: Any, **named: Any) -> plan.Plan:
        made.append(plan.make_plan(*given, **named))
        assert len(made) % 2, "the second one cannot be made"
        return made[-1]

    async def test(on: Rig) -> None:
        with monkeypatch.context() as broken:
            broken.setattr("interlock.gateway.exchange.make_plan", lambda *_, **__: 1 / 0)
            assert (await on.call(PATHS["chat"], ask("chat"))).json["error"]["code"] == "internal"
        assert not on.gateway.exchanges
        with monkeypatch.context() as broken:
            broken.setattr("interlock.gateway.exchange.make_plan", once)
            assert (await on.call(PATHS["chat"], ask("chat"))).status == 500
        assert not on.gateway.exchanges

    second = [] if rounds else [Upstream(whole(CHAT))]
    play(run, tmp_path, test, Upstream(whole(ERROR, "500 Oops")), *second, **rounds)


def test_keys_that_are_free() -> None:
    keys = Keys(3)
    keys.limited(0, 0.0, 0.0)  # Retry-After: 0 rests not at all
    keys.limited(1, 0.0, 60.0)
    assert keys.free(0.0, {0}) == [2]
    keys.limited(2, 0.0, 60.0)
    assert keys.free(0.0) == [0] and keys.free(0.0, {0}) == []
    assert keys.pick(0.0, {0}) is None
    for index in range(3):
        keys.refused(index, float(index))
    assert keys.free(100.0, {0}) == [1, 2], "refused all: the one refused longest ago first"


def test_a_stream_of_nothing(run: Run, tmp_path: Path) -> None:
    """An empty 200 stream, and one that ends in the middle of its first event: the next candidate answers."""
    cut = raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {")

    async def test(on: Rig) -> None:
        for script in (streamed(), cut):
            first.scripts = [script]
            answer = await on.call(PATHS["chat"], ask("chat", stream=True))
            assert (answer.status, answer.headers["x-interlock-deployment"]) == (200, "d1")
            assert answer.body.endswith(b"[DONE]\n\n")

    first = Upstream(silent)
    play(run, tmp_path, test, first, Upstream(streamed(*EVENTS["chat"])), breaker=Breaker(failures=9))


NONSENSE = ('{"command": "echo', "[1, 2]", "{" * 300)


def broken(arguments: str) -> list[bytes]:
    """A chat stream with one tool call whose arguments are these."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "model-0"}
    call = {"index": 0, "id": "c0", "type": "function", "function": {"name": "shell", "arguments": arguments}}
    delta = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    return [data({**head, "choices": [delta]}), data({**head, "choices": [end]}), CHAT_USAGE, DONE]


@pytest.mark.parametrize("arguments", NONSENSE)
def test_nonsense_that_a_model_was_asked_for_closes_its_deployment_to_nobody(
    run: Run, tmp_path: Path, arguments: str
) -> None:
    """A tenant may make a model write what it likes; the circuit is everybody's."""
    first = Upstream(streamed(*broken(arguments)))

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["messages"], ask("messages", stream=True))
        assert b"upstream_invalid" in answer.body or b"of a tool call are not" in answer.body
        assert on.gateway.circuits["d0"].state == "closed"

    play(run, tmp_path, test, first, formats=[("chat",)])


@pytest.mark.parametrize("arguments", NONSENSE)
def test_a_client_that_asks_for_raw_arguments_gets_them(run: Run, tmp_path: Path, arguments: str) -> None:
    first = Upstream(streamed(*broken(arguments)))

    async def test(on: Rig) -> None:
        wanted = ask("messages", stream=True)
        answer = await on.call(PATHS["messages"], wanted, "x-interlock-arguments: raw")
        events = [msgspec.json.decode(line[6:]) for line in answer.body.splitlines() if line.startswith(b"data: ")]
        told = [event["delta"].get("partial_json", "") for event in events if event["type"] == "content_block_delta"]
        assert "".join(told) == arguments and events[-1]["type"] == "message_stop"
        [settled] = await on.settled(1)
        assert settled.outcome == "completed"

    play(run, tmp_path, test, first, formats=[("chat",)])
