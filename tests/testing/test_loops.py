"""The loop runner: results come back, and a loop that complains fails the test."""

import asyncio
import gc
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import thread_time

import pytest

from interlock.testing.loops import LOOPS, DebugLoop, LoopError, Pulse, run, run_on, waited_s


def test_the_result_comes_back_from_each_loop(run: Callable[..., object]) -> None:
    async def main() -> str:
        await asyncio.sleep(0)
        return type(asyncio.get_running_loop()).__name__

    assert run(main) in {"DebugLoop", "Loop"}


def test_run_uses_every_loop() -> None:
    seen: list[str] = []

    async def main() -> None:
        seen.append(type(asyncio.get_running_loop()).__name__)

    run(main)
    assert seen == ["DebugLoop", "Loop"]


LONGER_S = (0.1, 0.4, 1.6, 6.4)
"""Where others have the cores, the thread that beats gets little of them; what blocks for longer is seen there, too."""


def test_a_blocking_call_fails() -> None:
    def fails(blocked_s: float) -> bool:
        async def main() -> None:
            threading.Event().wait(blocked_s)

        try:
            run_on("debug", main, blocking_s=0.02)
        except LoopError as error:
            return "took" in str(error)
        return False

    assert any(map(fails, LONGER_S))


def complains(blocking_s: float, work: Callable[[], object], waited_s: Callable[[], float]) -> bool:
    """Run `work` as a callback; whether the loop complains."""

    async def callback() -> None:
        work()

    complaints: list[str] = []
    logger, handler = logging.getLogger("asyncio"), logging.Handler()
    handler.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign]  # a test's ear
    with Pulse() as pulse:
        loop = DebugLoop(blocking_s, pulse, waited_s)
        loop.set_debug(True)
        logger.addHandler(handler)
        try:
            loop.run_until_complete(callback())
        finally:
            logger.removeHandler(handler)
            loop.close()
    return bool(complaints)


def sleep(seconds: float = 0.1) -> None:
    threading.Event().wait(seconds)


def compute(seconds: float) -> None:
    end_s = thread_time() + seconds
    while thread_time() < end_s:
        sum(range(1000))


@pytest.mark.parametrize("work", [sleep, compute])
def test_a_callback_that_sleeps_or_computes_is_slow(work: Callable[[float], object]) -> None:
    assert any(complains(0.03, partial(work, seconds), lambda: 0.0) for seconds in LONGER_S)
    assert not complains(5.0, partial(work, 0.1), lambda: 0.0)


def test_time_without_a_core_is_not_the_callback_s() -> None:
    """Other processes may be busy: a callback is slow by what it does, not by what it waits for."""
    waited_s = iter([1.0, 2.0])
    assert not complains(0.03, sleep, lambda: next(waited_s, 2.0))


def test_time_in_which_the_process_stood_still_is_not_the_callback_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when its host took the cores: nothing beats."""
    monkeypatch.setattr(Pulse, "_beat", lambda self: None)
    assert not complains(0.03, sleep, lambda: 0.0)


def test_the_kernel_counts_the_wait_for_a_core() -> None:
    """Two threads of two processes on one core: each waits for the other."""
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
            try:
                before_s = waited_s()
                for _ in range(5_000):
                    if waited_s() - before_s > 0.01:
                        break
                    sum(range(10_000))
                assert waited_s() - before_s > 0.01
            finally:
                busy.kill()
    finally:
        os.sched_setaffinity(0, cores)


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


def test_what_is_left_open_fails_and_is_not_waited_for(tmp_path: Path) -> None:
    left: list[asyncio.Server] = []

    async def main() -> None:
        left.append(await asyncio.start_unix_server(lambda reader, writer: None, tmp_path / "left.sock"))

    with pytest.raises(LoopError, match="unclosed resource <UnixServer"):
        run_on("uvloop", main)


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
