"""The loop runner: results come back, and a loop that complains fails the test."""

import asyncio
import gc
import socket
import sys
import threading
from collections.abc import Callable

import pytest

from interlock.testing.loops import LOOPS, LoopError, run, run_on


def test_the_result_comes_back_from_each_loop(run: Callable[..., object]) -> None:
    async def main() -> str:
        await asyncio.sleep(0)
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    assert run(main) in {"asyncio", "uvloop"}


def test_run_uses_every_loop() -> None:
    seen: list[str] = []

    async def main() -> None:
        seen.append(type(asyncio.get_running_loop()).__module__.partition(".")[0])

    run(main)
    assert seen == ["asyncio", "uvloop"]


def test_a_blocking_call_fails() -> None:
    async def main() -> None:
        threading.Event().wait(0.02)

    with pytest.raises(LoopError, match="took"):
        run_on("debug", main, blocking_s=0.01)


@pytest.mark.parametrize("kind", LOOPS)
def test_an_exception_that_nobody_took_fails(kind: str) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(0)

    with pytest.raises(LoopError, match="Exception in callback"):
        run_on(kind, main)


@pytest.mark.parametrize("kind", LOOPS)
def test_the_test_s_own_exception_comes_through(kind: str) -> None:
    async def main() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_on(kind, main)


def test_what_arrived_as_the_test_ended_is_not_left_for_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: left.append(str(unraisable.exc_value)))

    def arrive_in_the_last_tick(ticks: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:

            async def main() -> None:
                await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=listening)
                socket.create_connection(listening.getsockname()).close()
                for _ in range(ticks):
                    await asyncio.sleep(0)

            run_on("debug", main)

    for ticks in range(4):
        arrive_in_the_last_tick(ticks)
        gc.collect()
    assert left == []
