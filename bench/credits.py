"""What a prepaid account adds to a call: CPU of claim, reserve and settle with one, beside none; and a change's cost.

python -m bench.credits
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from interlock.clock import SystemClock
from interlock.credits import Credits, Reckoner, SharedAccounts, Wanted
from interlock.credits.usage import Spending
from interlock.identity import CREDITS, Generation
from interlock.ledger import Ledger
from interlock.limits import Actual, Claim, Held, Limit, Limiter, Page
from interlock.log.sqlite import SqliteLog

QUOTAS = (
    Limit(name="requests", measure="requests", amount=1 << 60, window="minute", per=("key",)),
    Limit(name="money", measure="nanousd", amount=1 << 60, window="month", per=("tenant",)),
)
ROUNDS = 30


def cpu_ns(limiter: Limiter, calls: int) -> int:
    """Of one call, the least of some rounds: a shared machine only adds to it."""
    found = []
    for _ in range(ROUNDS):
        begun_ns = time.process_time_ns()
        for _ in range(calls):
            claim = Claim(id="req_1/1", key="key_1", tenant="acme", principal="p", model="m", nanousd=1_000)
            held = limiter.reserve(claim)
            assert isinstance(held, Held)
            limiter.settle(held, Actual(input_tokens=1, output_tokens=1, nanousd=500))
        found.append((time.process_time_ns() - begun_ns) // calls)
    return min(found)


async def measure(directory: Path, calls: int, tenants: int) -> None:
    """Print a line for each figure."""
    clock = SystemClock()
    log, generation = SqliteLog(directory / "log.sqlite"), Generation(directory)
    spending: Spending = Ledger(directory / "ledger.sqlite")

    async def folded() -> None:
        """Nothing is written to it."""

    credits = Credits(log, clock, Reckoner(spending), folded, lambda head: generation.raise_to(CREDITS, head))
    Page.create(directory / "limits", slots=1)
    for name, quotas in (("no limits", ()), ("two limits", QUOTAS)):
        limiter = Limiter(Page(directory / "limits"), 0, clock, quotas)
        bare_ns = cpu_ns(limiter, calls)
        limiter.funds = SharedAccounts(log, generation)
        await credits.grant(Wanted(tenant=f"other-{len(quotas)}", amount="1"))
        others_ns = cpu_ns(limiter, calls)
        print(f"{name}: {bare_ns} ns of CPU a call; {others_ns} where only other tenants are prepaid")
    await credits.grant(Wanted(tenant="acme", amount="1000000"))
    for name, quotas in (("no limits", ()), ("two limits", QUOTAS)):
        limiter = Limiter(Page(directory / "limits"), 0, clock, quotas)
        limiter.funds = SharedAccounts(log, generation)
        print(f"{name} and a prepaid account: {cpu_ns(limiter, calls)} ns of CPU a call")
    begun_ns = time.perf_counter_ns()
    for n in range(tenants):
        await credits.grant(Wanted(tenant=f"t{n}", amount="1"))
    print(f"a top-up: {(time.perf_counter_ns() - begun_ns) // tenants // 1000} us, two commits each")
    shared = SharedAccounts(log, generation)
    begun_ns = time.perf_counter_ns()
    shared.changed(clock.now_ns())
    print(f"a worker's first look at {tenants} accounts: {(time.perf_counter_ns() - begun_ns) // 1_000_000} ms")
    await credits.grant(Wanted(tenant="t0", amount="1"))
    begun_ns = time.perf_counter_ns()
    shared.changed(clock.now_ns())
    print(f"its look at one change: {(time.perf_counter_ns() - begun_ns) // 1000} us")


def main() -> None:
    """Print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--tenants", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(Path(directory), options.calls, options.tenants))


if __name__ == "__main__":
    main()
