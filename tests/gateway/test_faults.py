"""Sixteen faults of an upstream: what the client sees, who is asked next, what is metered (docs/faults.md).


Each is played twice: before one deployment, and before one with a healthy second behind it.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.gateway.answers import CHAT, DONE, EVENTS, ask, chat_delta, data
from tests.gateway.rig import (
    PATHS,
    SSE_HEAD,
    Answer,
    Rig,
    Script,
    Seen,
    Upstream,
    chunk,
    policy,
    raw,
    rig,
    silent,
    streamed,
    whole,
)

from interlock.gateway import Breaker, Policy, Retries, Timeouts
from interlock.ledger import Settled

Run = Callable[..., Any]
FAST = Timeouts(connect_s=0.5, first_byte_s=0.3, first_token_s=0.4, idle_s=0.3, total_s=5, keep_alive_s=0)
ROLE = data(
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant"}}],
    }
)
ERROR = b'{"error":{"message":"no","type":"x","param":null,"code":"content_filter"}}'


class Seens(NamedTuple):
    """What is expected of a fault."""

    script: Script | str
    """A string: the base URL to which no connection can be made."""
    status: int
    code: str
    """Of the answer, or of the error event that ends the stream."""
    outcome: str
    source: str
    spared: bool
    """A second deployment spares the client the fault."""
    stream: bool = True


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
    """Answer with a TCP reset."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def held(*events: bytes) -> Script:
    """Send these events, then nothing more, with the connection open."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(SSE_HEAD + b"".join(map(chunk, events)))
        await reader.read(1)
        raise ConnectionError

    return script


FAULTS = {
    "silent": Seens(silent, 504, "upstream_timeout", "failed", "estimated", True),
    "slow first token": Seens(held(ROLE), 504, "upstream_timeout", "truncated", "estimated", True),
    "cut": Seens(streamed(ROLE, chat_delta("he"), end=False), 200, "upstream_closed", "truncated", "estimated", False),
    "stall": Seens(held(ROLE, chat_delta("he")), 200, "upstream_timeout", "truncated", "estimated", False),
    "malformed chunk": Seens(
        streamed(ROLE, chat_delta("he"), b'data: {"choi\n\n', DONE),
        200,
        "upstream_invalid",
        "truncated",
        "estimated",
        False,
    ),
    "reset": Seens(reset, 502, "upstream_closed", "failed", "estimated", True),
    "429 with Retry-After": Seens(
        whole(ERROR, "429 Too Many Requests", "retry-after: 7\r\n"), 429, "content_filter", "failed", "none", True
    ),
    "429 without Retry-After": Seens(
        whole(ERROR, "429 Too Many Requests"), 429, "content_filter", "failed", "none", True
    ),
    "500": Seens(whole(ERROR, "500 Oops"), 500, "content_filter", "failed", "none", True),
    "529": Seens(whole(ERROR, "529 Overloaded"), 529, "content_filter", "failed", "none", True),
    "refusal": Seens(whole(ERROR, "400 Bad Request"), 400, "content_filter", "failed", "none", False),
    "wrong length, too long": Seens(
        raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n" + CHAT),
        502,
        "upstream_closed",
        "truncated",
        "reported",
        True,
        stream=False,
    ),
    "wrong length, too short": Seens(
        raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n" + CHAT),
        502,
        "upstream_invalid",
        "truncated",
        "estimated",
        True,
        stream=False,
    ),
    "early close": Seens(streamed(ROLE, end=False), 502, "upstream_closed", "truncated", "estimated", True),
    "TLS failure": Seens("https://127.0.0.1:{port}/v1", 502, "upstream_unreachable", "failed", "none", True),
    "DNS failure": Seens("http://no-such-host.invalid/v1", 502, "upstream_unreachable", "failed", "none", True),
}


def elsewhere(made: Policy, base_url: str) -> Policy:
    """The policy with `d0` at another address."""
    moved = msgspec.structs.replace(made.deployments["d0"], base_url=base_url)
    return msgspec.structs.replace(made, deployments={**made.deployments, "d0": moved})


def play(run: Run, tmp_path: Path, test: Any, fault: Seens, *, second: bool, **options: Any) -> None:
    async def main() -> None:
        first = Upstream(raw() if isinstance(fault.script, str) else fault.script)
        healthy = Upstream(streamed(*EVENTS["chat"]) if fault.stream else whole(CHAT))
        ports = [await first.start(), *([await healthy.start()] if second else [])]
        made = policy(ports, timeouts=FAST, **options)
        if isinstance(fault.script, str):
            made = elsewhere(made, fault.script.format(port=ports[0]))
        try:
            async with asyncio.timeout(20), rig(tmp_path / "data", made) as on:
                await test(on, first)
        finally:
            await first.stop()
            if second:
                await healthy.stop()

    run(main, blocking_s=1.0)


def code_of(answer: Answer) -> str:
    """Of the error answer, or of the last event."""
    if answer.status != 200:
        return str(answer.json["error"]["code"])
    last = answer.body.rstrip().rpartition(b"data: ")[2]
    return str(msgspec.json.decode(last)["error"]["code"])


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_client_sees_of_a_fault(run: Run, tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]

    async def test(on: Rig, first: Upstream) -> None:
        answer = await on.call(PATHS["chat"], ask("chat", stream=fault.stream))
        assert (answer.status, code_of(answer)) == (fault.status, fault.code)
        assert b"[DONE]" not in answer.body
        if "with Retry" in name:
            assert answer.headers["retry-after"] == "7"
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.source) == (fault.outcome, fault.source)
        assert not on.gateway.exchanges

    play(run, tmp_path, test, fault, second=False)


@pytest.mark.parametrize("name", FAULTS)
def test_whom_a_second_deployment_spares(run: Run, tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]

    async def test(on: Rig, first: Upstream) -> None:
        answer = await on.call(PATHS["chat"], ask("chat", stream=fault.stream))
        settled = await on.settled(2 if fault.spared else 1)
        if fault.spared:
            assert (answer.status, [s.outcome for s in settled]) == (200, [fault.outcome, "completed"])
            assert answer.headers["x-interlock-deployment"] == "d1"
            assert answer.body.endswith(DONE) if fault.stream else answer.body == CHAT
        else:
            assert (answer.status, code_of(answer)) == (fault.status, fault.code)
            assert len(settled) == 1

    play(run, tmp_path, test, fault, second=True)


def test_flapping(run: Run, tmp_path: Path) -> None:
    """A deployment that fails again and again is left alone: later calls do not meet it at all."""
    fault = FAULTS["500"]
    breaker = Breaker(failures=3, window_s=30, open_s=60, open_s_max=300)

    async def test(on: Rig, first: Upstream) -> None:
        for _ in range(10):
            assert (await on.call(PATHS["chat"], ask("chat", stream=True))).status == 200
        assert len(first.seen) == 3
        opened = [r for r in await on.records() if not isinstance(r, Settled)]
        decision = msgspec.json.decode(opened[-1].decision)
        [rests] = [c for c in decision["candidates"] if c["deployment"] == "d0"]
        assert rests["rank"] == 2
        assert "3 failures (upstream_error)" in rests["resting"]

    play(run, tmp_path, test, fault, second=True, breaker=breaker)


def test_one_alone_is_probed_and_not_hammered(run: Run, tmp_path: Path) -> None:
    breaker = Breaker(failures=2, window_s=30, open_s=0.2, open_s_max=300)

    async def test(on: Rig, first: Upstream) -> None:
        answers = [await on.call(PATHS["chat"], ask("chat")) for _ in range(5)]
        assert [a.status for a in answers] == [500, 500, 503, 503, 503]
        assert "circuit open" in answers[-1].json["error"]["message"]
        assert answers[-1].headers["retry-after"]
        first.scripts = [whole(CHAT)]
        async with asyncio.timeout(10):
            while (await on.call(PATHS["chat"], ask("chat"))).status != 200:
                await asyncio.sleep(0.02)
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 200
        assert len(first.seen) == 4

    play(run, tmp_path, test, FAULTS["500"]._replace(stream=False), second=False, breaker=breaker)


@pytest.mark.parametrize("retry_after", ["", "retry-after-ms: 40\r\n"])
def test_another_round_after_a_wait(run: Run, tmp_path: Path, retry_after: str) -> None:
    async def test(on: Rig, first: Upstream) -> None:
        first.scripts = [whole(ERROR, "429 Too Many Requests", retry_after), whole(CHAT)]
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, len(first.seen)) == (200, 2)
        assert [s.outcome for s in await on.settled(2)] == ["failed", "completed"]

    play(run, tmp_path, test, FAULTS["500"], second=False, retries=Retries(rounds=1, backoff_s=0.05))


def test_a_wait_too_long_is_the_client_s_to_make(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig, first: Upstream) -> None:
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, answer.headers["retry-after"], len(first.seen)) == (429, "7", 1)

    play(run, tmp_path, test, FAULTS["429 with Retry-After"], second=False, retries=Retries(rounds=3, wait_s_max=5))


def test_a_silent_upstream_is_not_a_silent_gateway(run: Run, tmp_path: Path) -> None:
    """Comments keep the connection alive while an upstream thinks; the fail-over behind them is not seen."""
    timeouts = msgspec.structs.replace(FAST, keep_alive_s=0.06)

    async def main() -> None:
        first, second = Upstream(held(ROLE)), Upstream(streamed(*EVENTS["chat"]))
        made = policy([await first.start(), await second.start()], timeouts=timeouts)
        async with asyncio.timeout(10), rig(tmp_path / "data", made) as on:
            answer = await on.call(PATHS["chat"], ask("chat", stream=True))
        await first.stop()
        await second.stop()
        comments, _, rest = answer.body.partition(b"data: ")
        assert comments.count(b": keep-alive\n\n") >= 2
        assert comments.replace(b": keep-alive\n\n", b"") == b""
        assert rest.endswith(DONE)

    run(main, blocking_s=1.0)


def test_a_failure_behind_comments_is_the_stream_s_own_error(run: Run, tmp_path: Path) -> None:
    timeouts = msgspec.structs.replace(FAST, keep_alive_s=0.06)

    async def main() -> None:
        first = Upstream(silent)
        async with asyncio.timeout(10), rig(tmp_path / "data", policy([await first.start()], timeouts=timeouts)) as on:
            answer = await on.call(PATHS["messages"], ask("messages", stream=True))
        await first.stop()
        assert answer.status == 200
        assert answer.complete
        assert b"event: error\n" in answer.body
        assert code_of(answer) == "upstream_timeout"

    run(main, blocking_s=1.0)
