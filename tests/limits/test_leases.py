"""Several machines and one authority: never one call too many, and nothing that nobody needs kept from others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interlock.clock import Clock, SystemClock
from interlock.limits import (
    Actual,
    Answer,
    Ask,
    Claim,
    Denied,
    Held,
    Leases,
    Lessee,
    Limit,
    Limiter,
    NeedsLease,
    Page,
    Spent,
    Times,
    leases,
    restore,
    worker_died,
)
from interlock.limits.limiter import FENCE_NS
from interlock.limits.memory_authority import MemoryAuthority, MemoryServer
from interlock.limits.page import GRANTED

TIMES = Times(gather_ns=100_000_000, silent_ns=15_000_000_000, recall_ns=1_000_000_000)
TEN = Limit(name="ten", measure="requests", amount=10, window="month", per=("tenant",))
MONEY = Limit(name="money", measure="nanousd", amount=100, window="month", overdraft=7)
DEADLINE_S = 20.0
Run = Callable[..., object]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An authority in this process is there, however slow the machine that tests run on."""
    monkeypatch.setattr(leases, "ANSWER_S", 5.0)


class Ahead(SystemClock):
    """The machine's clocks, moved on by hand besides."""

    def __init__(self) -> None:
        self.by_ns = 0
        self.monotonic_ns = lambda: SystemClock.monotonic_ns() + self.by_ns
        self.now_ns = lambda: SystemClock.now_ns() + self.by_ns


class Slow(MemoryAuthority):
    """A line on which questions take their time, and so do answers."""

    questions = 0

    async def exchange(self, asks: Sequence[Ask]) -> Answer:
        Slow.questions += any(ask.need for ask in asks)
        await asyncio.sleep(0.01)
        answer = await super().exchange(asks)
        await asyncio.sleep(0.01)
        return answer


class Machine:
    """A page and its workers."""

    def __init__(
        self, folder: Path, server: MemoryServer, limits: tuple[Limit, ...], name: str, slots: int, clock: Clock
    ) -> None:
        self.path = folder / name
        self.server, self.limits, self.name, self.slots, self.clock = server, limits, name, slots, clock
        self.start()

    def start(self, spent: tuple[Spent, ...] = ()) -> None:
        """A new run, with what the log says was spent."""
        Page.create(self.path, slots=self.slots, leased=True, rows=64, tickets=256)
        restore(Page(self.path), self.limits, spent, self.clock.now_ns())
        self.workers = [self.worker(slot) for slot in range(self.slots)]

    def worker(self, slot: int) -> Leases:
        page = Page(self.path)
        line = Slow(self.server, Lessee(machine=self.name, run=str(page.run), slot=slot))
        return Leases(Limiter(page, slot, self.clock, self.limits), line)


class Site:
    """Two machines that beat, and calls on them."""

    def __init__(self, folder: Path, tasks: asyncio.TaskGroup, limits: tuple[Limit, ...], slots: int = 1) -> None:
        self.clock = SystemClock()
        self.server = MemoryServer(self.clock, TIMES)
        self._tasks = tasks
        self._beats: dict[Leases, asyncio.Task[None]] = {}
        self.clocks = [Ahead(), Ahead()]
        self.machines = [
            Machine(folder, self.server, limits, name, slots, clock)
            for name, clock in zip("ab", self.clocks, strict=True)
        ]
        for machine in self.machines:
            for worker in machine.workers:
                self.beat(worker)

    def beat(self, worker: Leases) -> None:
        self._beats[worker] = self._tasks.create_task(worker.run())

    def stop(self, worker: Leases) -> None:
        self._beats.pop(worker).cancel()

    async def settled(self) -> None:
        """The authority gathers no more, and every worker has beaten since."""
        await asyncio.sleep(TIMES.gather_ns / 1e9 + 0.15)

    def __getitem__(self, place: tuple[int, int]) -> Leases:
        machine, slot = place
        return self.machines[machine].workers[slot]

    def end(self) -> None:
        for task in self._beats.values():
            task.cancel()


@asynccontextmanager
async def site(folder: Path, *limits: Limit, slots: int = 1) -> AsyncIterator[Site]:
    folder.mkdir(exist_ok=True)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        made = Site(folder, tasks, limits, slots)
        await made.settled()
        try:
            yield made
        finally:
            made.end()


async def call(worker: Leases, **claim: object) -> Held | Denied:
    limiter = worker._limiter
    outcome = limiter.reserve(Claim(id="c/1", **claim))  # type: ignore[arg-type]  # fields of a Claim
    return await limiter.lease(outcome) if isinstance(outcome, NeedsLease) else outcome


async def calls(count: int, *workers: Leases, **claim: object) -> list[Held]:
    """So many at the same time, in turn on each; those admitted."""
    async with asyncio.TaskGroup() as group:
        every = [group.create_task(call(workers[n % len(workers)], **claim)) for n in range(count)]
    return [one for task in every if isinstance(one := task.result(), Held)]


async def becomes(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not what():
            await asyncio.sleep(0.02)


def granted(server: MemoryServer) -> int:
    return sum(sum(counter.granted.values()) for counter in server.division._counters.values())


def test_exactly_ten_of_two_hundred_on_two_machines(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, TEN, slots=2) as two:
            for turn in range(10):
                workers = [two[machine, slot] for machine in (0, 1) for slot in (0, 1)]
                admitted = await calls(200, *workers, tenant=f"t{turn}")
                assert len(admitted) == 10
                assert await calls(20, *workers, tenant=f"t{turn}") == []

    run(main)


def test_what_one_machine_does_not_need_another_can_have(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, MONEY) as two:
            held = await call(two[0, 0], nanousd=100)
            assert isinstance(held, Held)
            refused = await call(two[1, 0], nanousd=1)
            assert isinstance(refused, Denied)
            assert (refused.reason, refused.left) == ("exceeded", 0)
            two[0, 0]._limiter.settle(held, Actual(nanousd=40))
            outcome = await call(two[1, 0], nanousd=60)  # recalled from the first: nobody waits for its idle time
            while isinstance(outcome, Denied):  # a refusal is remembered for a moment
                outcome = await call(two[1, 0], nanousd=60)
                await asyncio.sleep(0.02)
            assert isinstance(outcome, Held)
            assert isinstance(await call(two[0, 0], nanousd=1), Denied)

    run(main)


def test_shares_that_nobody_spends_go_back(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, Limit(name="t", measure="tokens", amount=10_000, window="month")) as two:
            worker = two[0, 0]
            held = [await call(worker, input_tokens=10) for _ in range(7)]  # each lease asks for more beyond need
            assert granted(two.server) > 70
            await becomes(lambda: granted(two.server) == 70)
            assert isinstance(held[0], Held)
            worker._limiter.release(held[0])
            await becomes(lambda: granted(two.server) == 60)

    run(main)


def test_most_calls_of_a_busy_counter_wait_for_nobody(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, Limit(name="t", measure="requests", amount=1_000_000, window="month")) as two:
            leased = 0
            for _ in range(2_000):
                outcome = two[0, 0]._limiter.reserve(Claim(id="c/1"))
                if isinstance(outcome, NeedsLease):
                    leased += 1
                    outcome = await two[0, 0].lease(outcome.claim)
                assert isinstance(outcome, Held)
                two[0, 0]._limiter.settle(outcome, Actual())
            assert leased < 30

    run(main)


def test_a_limit_that_is_used_up_refuses_without_waiting_for_others(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, TEN) as two:
            assert len(await calls(10, two[0, 0], tenant="t")) == 10
            await asyncio.sleep(0.3)  # it is told
            asked = Slow.questions
            for _ in range(5):
                assert isinstance(await call(two[1, 0], tenant="t"), Denied)
            assert Slow.questions == asked + 1, "nobody has any left to give back: the second is not asked about"

    run(main)


def test_an_authority_that_is_away_leaves_shares_in_hand_and_the_overdraft(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, MONEY, TEN) as two:
            first = await call(two[0, 0], nanousd=50, tenant="t")
            assert isinstance(first, Held)
            two[0, 0]._limiter.settle(first, Actual(nanousd=20))  # 30 in hand
            two.server.reachable = False
            await becomes(lambda: two[0, 0].away and two[1, 0].away)
            more = await call(two[0, 0], nanousd=30, requests=0, tenant="t")
            assert isinstance(more, Held)
            for amount, fits in ((8, False), (7, True), (1, False)):
                outcome = await call(two[0, 0], nanousd=amount, requests=0, tenant="t")
                assert isinstance(outcome, Held) == fits
            assert isinstance(outcome, Denied)
            assert (outcome.reason, outcome.limit, outcome.code) == ("away", "money", "limits_unavailable")
            refused = await call(two[0, 0], nanousd=0, tenant="t")
            assert isinstance(refused, Denied)
            assert (refused.reason, refused.limit) == ("away", "ten"), "no overdraft there"
            two.server.reachable = True
            await becomes(lambda: granted(two.server) >= 58 and not two[1, 0].away)
            assert isinstance(await call(two[1, 0], nanousd=44, tenant="t"), Denied)
            assert isinstance(await call(two[1, 0], nanousd=43, tenant="t"), Held), "20 + 30 + 7 were spent"

    run(main)


def test_an_authority_that_forgot_is_told_everything(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, TEN, slots=2) as two:
            every = [two[machine, slot] for machine in (0, 1) for slot in (0, 1)]
            admitted = await calls(7, *every, tenant="t")
            assert len(admitted) == 7
            two.server.forget()
            assert len(await calls(50, *every, tenant="t")) == 3
            await two.settled()
            assert await calls(50, *every, tenant="t") == []
            assert granted(two.server) == 10

    run(main)


def test_a_workers_death_strands_nothing(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, TEN, slots=2) as two:
            machine = two.machines[0]
            assert len(await calls(10, machine.workers[0], tenant="t")) == 10
            two.stop(machine.workers[0])
            assert await calls(5, machine.workers[1], two[1, 0], tenant="t") == []
            worker_died(machine.workers[1]._limiter.page, 0, {"c/1": None}.get)
            assert len(await calls(4, machine.workers[1], tenant="t")) == 4, "at once: the share is its machine's"
            machine.workers[0] = machine.worker(0)
            two.beat(machine.workers[0])
            admitted = list[Held]()
            while len(admitted) < 6:
                admitted += await calls(6, two[1, 0], two[1, 1], tenant="t")
                await asyncio.sleep(0.05)
            await two.settled()
            assert await calls(20, *machine.workers, two[1, 0], tenant="t") == []

    run(main)


def test_a_machine_that_starts_again_tells_what_its_log_says(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, TEN, slots=2) as two:
            machine = two.machines[0]
            assert len(await calls(8, *machine.workers, tenant="t")) == 8
            for worker in machine.workers:
                two.stop(worker)
            assert await calls(3, two[1, 0], tenant="t") != []
            assert len(await calls(9, two[1, 0], tenant="t")) == 0, "nobody knows what became of the eight"
            machine.start((Spent(at_ns=machine.clock.now_ns(), tenant="t", requests=3),))
            for worker in machine.workers:
                two.beat(worker)
            await becomes(lambda: granted(two.server) == 5)
            assert len(await calls(50, *machine.workers, two[1, 0], tenant="t")) == 5

    run(main)


def test_calls_at_once_of_a_machine_that_fell_silent_are_had_by_others(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, Limit(name="at-once", measure="concurrency", amount=3)) as two:
            silent, other = two[0, 0], two[1, 0]
            held = await calls(3, silent)
            assert len(held) == 3
            assert await calls(3, other) == []
            two.stop(silent)
            silent._limiter.release(held[0])  # idle in hand, but the authority will have given it away
            two.server.clock = two.clocks[1]
            two.clocks[1].by_ns = TIMES.silent_ns + 1
            await asyncio.sleep(0.3)
            assert len(await calls(5, other)) == 3
            two.clocks[0].by_ns = FENCE_NS + 1
            assert await calls(2, silent) == []
            two.beat(silent)
            await two.settled()
            assert await calls(2, silent, other) == []
            assert silent._limiter.page.words[next(silent._limiter.page.open_rows(0))[1] + GRANTED] == 2

    run(main)


@pytest.mark.parametrize("late_s", [0.0, 0.005, 0.015, 0.025, 0.05])
def test_a_call_that_is_given_up_leaves_nothing_behind(tmp_path: Path, run: Run, late_s: float) -> None:
    async def main() -> None:
        async with site(tmp_path, TEN) as two:
            async with asyncio.TaskGroup() as group:
                waiting = [group.create_task(call(two[0, 0], tenant="t")) for _ in range(10)]
                await asyncio.sleep(late_s)  # before the question, after it, while others wait
                for task in waiting[::2]:
                    task.cancel()
            kept = sum(isinstance(task.result(), Held) for task in waiting if not task.cancelled())
            assert kept >= 5
            admitted = await calls(30, two[0, 0], two[1, 0], tenant="t")
            while len(admitted) + kept < 10:  # what was granted to who gave up is told and comes back
                admitted += await calls(30, two[0, 0], two[1, 0], tenant="t")
            assert len(admitted) + kept == 10

    run(main)


def test_an_orderly_end_gives_back(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, MONEY) as two:
            held = await call(two[0, 0], nanousd=100)
            assert isinstance(held, Held)
            two[0, 0]._limiter.settle(held, Actual(nanousd=30))
            two.stop(two[0, 0])
            await two[0, 0].close()
            assert granted(two.server) == 30
            assert isinstance(await call(two[1, 0], nanousd=70), Held)

    run(main)


def test_more_used_than_reserved_is_told(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, MONEY) as two:
            held = await call(two[0, 0], nanousd=10)
            assert isinstance(held, Held)
            two[0, 0]._limiter.settle(held, Actual(nanousd=90))
            await becomes(lambda: granted(two.server) == 90)
            refused = await call(two[1, 0], nanousd=11)
            assert isinstance(refused, Denied)
            assert refused.left == 10
            assert isinstance(await call(two[1, 0], nanousd=10), Held)

    run(main)


def test_what_others_spent_is_not_left(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        async with site(tmp_path, TEN) as two:
            assert len(await calls(4, two[0, 0], tenant="t")) == 4
            await asyncio.sleep(0.25)
            held = await call(two[1, 0], tenant="t")
            assert isinstance(held, Held)
            assert held.standings[0].left_after == 5

    run(main)
