"""What limits cost a call: CPU of reserve and settle together, alone and against another process; and of the rest.

`python bench/limits.py`: no network. Each figure is the least of several turns: a shared machine only adds to it.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from interlock.clock import SystemClock
from interlock.limits import Actual, Claim, Denied, Held, Limit, Limiter, Page, Spent, restore, worker_died

CALLS, TURNS = 2_000, 60
LIMITS = (
    Limit(name="rpm", measure="requests", amount=1 << 60, window="minute", per=("key",)),
    Limit(name="money", measure="nanousd", amount=1 << 60, window="month", per=("tenant",), warn_at=(50, 80, 100)),
    Limit(name="tpm", measure="tokens", amount=1 << 60, window="minute", per=("deployment",)),
    Limit(name="at-once", measure="concurrency", amount=1 << 60, per=("principal",)),
    Limit(name="tpd", measure="output_tokens", amount=1 << 60, window="day", per=("tenant", "model")),
)
ACTUAL = Actual(input_tokens=90, output_tokens=20, nanousd=999)


def claim(number: int = 1) -> Claim:
    return Claim(
        id=f"req_01a204190564a2899ef10d9d09bc0843/{number}",
        key="key_01a2041900fdd49363f95894f594cd9e",
        principal="laptop",
        tenant="acme",
        session="s",
        deployment="sonnet",
        model="claude",
        input_tokens=100,
        output_tokens=50,
        nanousd=1_000,
    )


def once(limiter: Limiter) -> None:
    held = limiter.reserve(claim())
    assert isinstance(held, Held)
    limiter.settle(held, ACTUAL)


def cpu_us(call: Callable[[], object], calls: int = CALLS, turns: int = TURNS) -> float:
    """µs of CPU a call, the least of some turns."""
    best = float("inf")
    for _ in range(turns):
        begun = time.process_time_ns()
        for _ in range(calls):
            call()
        best = min(best, (time.process_time_ns() - begun) / calls / 1_000)
    return best


def compete(path: Path, slot: int, turns: int) -> float:
    limiter = Limiter(Page(path), slot, SystemClock(), LIMITS[:2])
    return cpu_us(lambda: once(limiter), turns=turns)


def show(what: str, figure: float, unit: str = "µs") -> None:
    print(f"{what:<64}{figure:>10.2f} {unit}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limits"
        Page.create(path, slots=2)
        for count in (0, 1, 2, 5):
            limiter = Limiter(Page(path), 0, SystemClock(), LIMITS[:count])
            show(f"claim, reserve and settle, {count} limits", cpu_us(lambda limiter=limiter: once(limiter)))  # type: ignore[misc]  # mypy knows no defaults of a lambda
        full = Limiter(Page(path), 0, SystemClock(), [Limit(name="none", measure="requests", amount=0, window="day")])
        assert isinstance(full.reserve(claim()), Denied)
        show("a call that is refused", cpu_us(lambda: full.reserve(claim())))
        with multiprocessing.get_context("fork").Pool(2) as pool:
            both = pool.starmap(compete, [(path, slot, TURNS) for slot in (0, 1)])
        show("reserve and settle, 2 limits, two processes at it", max(both))
        page = Page(path)
        dead = Limiter(page, 1, SystemClock(), LIMITS)
        for number in range(1_000):
            dead.reserve(claim(number))
        begun = time.process_time_ns()
        ended = worker_died(page, 1, lambda call: ACTUAL)
        show(f"a worker dies with {ended} calls", (time.process_time_ns() - begun) / 1e6, "ms")
        spent = [
            Spent(at_ns=SystemClock().now_ns(), key=f"k{n % 5_000}", tenant="t", requests=1) for n in range(20_000)
        ]
        begun = time.process_time_ns()
        rows = restore(page, LIMITS, spent, SystemClock().now_ns())
        show(f"restore {len(spent)} calls to {rows} counters", (time.process_time_ns() - begun) / 1e6, "ms")
        show("the page of two workers", path.stat().st_size / (1 << 20), "MiB")


if __name__ == "__main__":
    main()
