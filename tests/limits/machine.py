"""A worker of one of several machines, for tests: run as a script, it shares limits by a real server.

    machine.py PAGE SLOT MACHINE URL AMOUNT

It reads commands, a line each, and answers each with a line:

    calls SCOPE COUNT    so many calls at once, all held until each is answered: how many were admitted; then settled
    load SCOPE           from now on calls without end, a few at once
    report               JSON: how many of those were admitted, and how many refused for which reason
"""

import asyncio
import sys
from collections import Counter
from pathlib import Path

import msgspec

from interlock.clock import SystemClock
from interlock.limits import Actual, Claim, Denied, Held, Leases, Lessee, Limit, Limiter, NeedsLease, Page, leases
from interlock.limits.valkey_authority import ValkeyAuthority

leases.ANSWER_S = 5.0  # a server that is there may be slow where tests run; one that is killed refuses at once
AT_ONCE = 4
PAUSE_S = 0.01


class Worker:
    """A limiter with leases, and what calls on it came to."""

    def __init__(self, path: str, slot: int, machine: str, url: str, amount: int) -> None:
        page = Page(Path(path))
        limits = [Limit(name="all", measure="requests", amount=amount, window="month", per=("key",))]
        self.limiter = Limiter(page, slot, SystemClock(), limits)
        self.leases = Leases(self.limiter, ValkeyAuthority(url, Lessee(machine=machine, run=str(page.run), slot=slot)))
        self.seen = Counter[str]()

    async def call(self, scope: str) -> Held | Denied:
        outcome = self.limiter.reserve(Claim(id="c/1", key=scope))
        return await self.limiter.lease(outcome) if isinstance(outcome, NeedsLease) else outcome

    async def calls(self, scope: str, count: int) -> int:
        async with asyncio.TaskGroup() as group:
            every = [group.create_task(self.call(scope)) for _ in range(count)]
        admitted = [one for task in every if isinstance(one := task.result(), Held)]
        for held in admitted:
            self.limiter.settle(held, Actual())
        return len(admitted)

    async def load(self, scope: str) -> None:
        while True:
            outcome = await self.call(scope)
            if isinstance(outcome, Held):
                self.seen["admitted"] += 1
                self.limiter.settle(outcome, Actual())
            else:
                self.seen[outcome.reason] += 1
            await asyncio.sleep(PAUSE_S)

    async def main(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.leases.run())]
            while line := (await reader.readline()).decode().split():
                match line:
                    case ["calls", scope, count]:
                        print(await self.calls(scope, int(count)), flush=True)
                    case ["load", scope]:
                        tasks += [group.create_task(self.load(scope)) for _ in range(AT_ONCE)]
                        print("loading", flush=True)
                    case _:
                        print(msgspec.json.encode(self.seen).decode(), flush=True)
            for task in tasks:
                task.cancel()
        await self.leases.close()


if __name__ == "__main__":
    asyncio.run(Worker(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])).main())
