"""The managed model under real supervision: loading, ready, killed, restarted, stopped; and its key stays secret."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest
from tests.local.model import cache_directory, model_path
from tests.local.serving import post, status_and_json, until_ready

from interlock.clock import SystemClock
from interlock.errors import LocalError
from interlock.local import KEY_ENV, LocalModel
from interlock.process import Child, Exit

BODY = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 2}


def small_model() -> LocalModel:
    model_path()
    return LocalModel(cache_directory(), context=512, parallel=1)


def test_a_killed_model_comes_back_at_the_same_address_with_the_same_key() -> None:
    async def main() -> None:
        exits: list[Exit] = []
        model = small_model()
        assert await model.health() == "down"

        async def exited(child: Child, end: Exit) -> None:
            assert await model.health() == "down"
            exits.append(end)

        child = Child(model.argv(), env=model.env(), name="local", clock=SystemClock(), on_exit=exited)
        async with asyncio.TaskGroup() as group:
            group.create_task(child.run())
            for _ in range(2):
                await until_ready(model)
                answer = await asyncio.to_thread(post, model, "/v1/chat/completions", BODY)
                assert status_and_json(answer)[0] == 200
                if not exits:
                    assert child.pid is not None
                    os.kill(child.pid, signal.SIGKILL)
                    async with asyncio.timeout(20):
                        while not exits:
                            await asyncio.sleep(0.005)
            child.stop()
        assert [end.reason for end in exits] == ["killed by SIGKILL", "killed by SIGTERM"]
        assert await model.health() == "down"
        model.close()

    asyncio.run(main())


def test_nobody_can_take_the_port_while_the_model_is_down() -> None:
    model = small_model()
    for option in (None, socket.SO_REUSEADDR):
        with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
            if option is not None:
                other.setsockopt(socket.SOL_SOCKET, option, 1)
            other.bind(("127.0.0.1", model.port))
    model.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", model.port))


def test_the_key_is_in_the_environment_only_and_no_provider_key_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    first, second = small_model(), small_model()
    assert first.env()[KEY_ENV] == first.api_key and len(first.api_key) >= 43
    assert first.api_key != second.api_key and first.port != second.port
    assert not any(first.api_key in argument for argument in first.argv())
    assert "sk-secret" not in first.env().values()
    first.close()
    second.close()


def test_a_missing_model_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="interlock local fetch"):
        LocalModel(tmp_path)


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "ready"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "loading"),
        (b"HTTP/1.1 500 Oh\r\n\r\n", "down"),
        (b"", "down"),
        (b"x" * 100_000, "down"),
        (None, "down"),
    ],
)
def test_health_is_what_the_answer_says(answer: bytes | None, health: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None: it listens and says nothing."""

    async def main() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if answer is not None:
                writer.write(answer)
                writer.close()
            await reader.read()
            writer.close()
            handled.set()

        handled = asyncio.Event()
        model = small_model()
        async with await asyncio.start_server(handle, "127.0.0.1", model.port, reuse_port=True):
            assert await model.health() == health
            await handled.wait()
        model.close()

    monkeypatch.setattr("interlock.local.child.HEALTH_S_MAX", 0.3)
    asyncio.run(main())
