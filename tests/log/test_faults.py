"""The faults do what their model says, and a retry with the same ids survives each of them."""

import asyncio

import pytest

from interlock.errors import LogUnavailable, UnknownOutcome
from interlock.log import Appended
from interlock.log.memory import MemoryLog
from interlock.testing.clock import ManualClock
from interlock.testing.faults import Fault, FaultyLog
from interlock.testing.log_contract import record


@pytest.mark.parametrize(
    ("fault", "error", "stands"),
    [
        ("lost", UnknownOutcome, 0),
        ("lost_after_effect", UnknownOutcome, 1),
        ("refused", LogUnavailable, 0),
        ("slow", None, 1),
        ("twice", None, 1),
    ],
)
def test_each_fault(fault: Fault, error: type[Exception] | None, stands: int) -> None:
    async def main() -> None:
        pauses: list[int] = []

        async def pause() -> None:
            pauses.append(await inner.head("s"))

        inner = MemoryLog()
        log = FaultyLog(inner, iter([fault]), pause=pause)
        if error:
            with pytest.raises(error):
                await log.append("s", [record("r")])
        else:
            assert await log.append("s", [record("r")]) == Appended((1,), 1)
        assert await inner.head("s") == stands
        assert pauses == ([0] if fault == "slow" else [])
        assert await log.append("s", [record("r")]) == Appended((1,), 1)

    asyncio.run(main())


def test_the_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(100)
    assert (clock.now_ns(), clock.monotonic_ns()) == (100, 0)
    clock.advance(7)
    assert (clock.now_ns(), clock.monotonic_ns()) == (107, 7)
