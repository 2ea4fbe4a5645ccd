"""Two machines, several processes each, one real server: exactly the budget, also when the server is killed."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest
from tests.limits.servers import RealServer, real_server

from interlock.limits import Page

WORKER = Path(__file__).parent / "machine.py"
DEADLINE_S = 90.0


class Process:
    """One worker, told and asked by lines."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, str(WORKER), *map(str, arguments)]
        self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def said(self) -> str:
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline().strip()
        assert line, "the worker died"
        return line


@contextmanager
def machines(folder: Path, server: RealServer, amount: int, workers: int) -> Iterator[list[Process]]:
    """Two, each with a page and so many workers."""
    with ExitStack() as stack:
        made = list[Process]()
        for name in "ab":
            Page.create(folder / name, slots=workers, leased=True)
            for slot in range(workers):
                made.append(Process(folder / name, slot, name, server.url, amount))
                stack.callback(end, made[-1])
        yield made


def end(process: Process) -> None:
    process.popen.kill()
    process.popen.communicate()


def admitted_of(processes: list[Process], scope: str, count: int) -> int:
    for process in processes:
        process.tell(f"calls {scope} {count}")
    return sum(int(process.said()) for process in processes)


def test_two_hundred_parallel_calls_on_two_machines_against_a_budget_for_ten(tmp_path: Path) -> None:
    with real_server(tmp_path) as server, machines(tmp_path, server, 10, 2) as processes:
        for turn in range(15):
            assert admitted_of(processes, f"t{turn}", 50) == 10, f"turn {turn}"
            assert admitted_of(processes, f"t{turn}", 5) == 0, f"turn {turn}"


def test_workers_and_a_machine_that_are_killed_spend_nothing_twice(tmp_path: Path) -> None:
    """A killed worker's page stays; a killed machine starts on a new page: what it had in hand comes back then."""
    with real_server(tmp_path) as server, machines(tmp_path, server, 100, 2) as processes:
        assert admitted_of(processes, "t", 10) == 40
        processes[0].popen.kill()
        processes[0].popen.wait()
        processes[0] = Process(tmp_path / "a", 0, "a", server.url, 100)
        assert admitted_of(processes, "t", 5) == 20
        for process in processes[2:]:
            end(process)
        Page.create(tmp_path / "b", slots=2, leased=True)  # its log is lost with it: it tells that it spent nothing
        processes[2:] = [Process(tmp_path / "b", slot, "b", server.url, 100) for slot in range(2)]
        for process in processes[2:]:
            process.tell("report")
            process.said()
        total = 0
        for _ in range(50):
            total += admitted_of(processes, "t", 50)
        assert total == 100 - 30, "thirty were the first machine's"
        for process in processes:
            end(process)


def seen(processes: list[Process]) -> Counter[str]:
    for process in processes:
        process.tell("report")
    return sum((Counter(msgspec.json.decode(p.said(), type=dict[str, int])) for p in processes), Counter[str]())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_killed_under_load_is_no_outage_and_nothing_is_spent_twice(tmp_path: Path, workers: int) -> None:
    """Killed twice, it comes back empty: what was granted is told anew, and the budget is spent to the end, exactly."""
    amount = 3_000

    async def until(what: str, least: int) -> None:
        while seen(processes)[what] < least:
            await asyncio.sleep(0.05)

    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S):
            for share in (5, 3):
                await until("admitted", amount // share)
                answered = seen(processes).total()
                server.kill()
                away = seen(processes)["away"]
                await until("away", away + 100)  # shares in hand are spent, and calls are still answered
                assert seen(processes).total() > answered
                server.start()
            await until("admitted", amount)
            exceeded = seen(processes)["exceeded"]
            await until("exceeded", exceeded + 200)

    with real_server(tmp_path) as server, machines(tmp_path, server, amount, workers) as processes:
        for process in processes:
            process.tell("load t")
            assert process.said() == "loading"
        asyncio.run(main())
        assert seen(processes)["admitted"] == amount
