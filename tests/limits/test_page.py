"""One page, several processes: exactly as many calls as fit, whoever is killed at whichever instruction."""

import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.limits.hammer import AMOUNT, ESTIMATE, PLENTY, TEN

from interlock.clock import SystemClock
from interlock.errors import LocalError, TransientError
from interlock.limits import Actual, Claim, Denied, Held, Limiter, Page, lock, worker_died
from interlock.limits.page import HELD, USED

HAMMER = Path(__file__).parent / "hammer.py"
Process = subprocess.Popen[str]


@contextmanager
def hammer(mode: str, page: Path, *rest: object) -> Iterator[Process]:
    command = [sys.executable, str(HAMMER), mode, str(page), *map(str, rest)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_exactly_ten_of_two_hundred_parallel_calls_are_admitted(tmp_path: Path, processes: int) -> None:
    path = tmp_path / "limits"
    Page.create(path, slots=processes)
    with ExitStack() as stack:
        workers = [stack.enter_context(hammer("contend", path, slot)) for slot in range(processes)]
        assert [said(worker) for worker in workers] == ["ready"] * processes
        for turn in range(60):
            for worker in workers:
                tell(worker, f"round-{turn} {200 // processes}")
            admitted = [int(said(worker)) for worker in workers]
            assert sum(admitted) == AMOUNT, f"round {turn}: {admitted}"


def test_what_a_killed_worker_held_is_had_by_another(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    Page.create(path, slots=2)
    page = Page(path)
    other = Limiter(page, 1, SystemClock(), TEN)
    dead = Limiter(Page(path), 0, SystemClock(), TEN)
    claim = Claim(id="c/1", key="k", tenant="k", nanousd=7)
    assert all(isinstance(dead.reserve(claim), Held) for _ in range(AMOUNT))
    assert isinstance(other.reserve(claim), Denied)
    assert worker_died(page, 0, {"c/1": None}.get) == AMOUNT
    assert worker_died(page, 0, {"c/1": None}.get) == 0
    assert all(isinstance(other.reserve(claim), Held) for _ in range(AMOUNT))
    assert isinstance(other.reserve(claim), Denied)


def settle_lost(log: Path, slot: int) -> dict[str, Actual]:
    """What the supervisor does in the log for a dead worker; what the log then says of the worker's calls."""
    lines = [line.split() for line in log.read_text().splitlines() if line.split()[1].startswith(f"{slot}-")]
    settled = {call: int(used) for what, call, used in lines if what == "settled"}
    with log.open("a") as file:
        for call in [call for what, call, _ in lines if what == "opened" and call not in settled]:
            file.write(f"settled {call} {ESTIMATE}\n")
            settled[call] = ESTIMATE
    return {call: Actual(input_tokens=0, output_tokens=used) for call, used in settled.items()}


def test_workers_killed_in_a_storm_leave_the_figures_of_the_log(tmp_path: Path) -> None:
    path, log, chance = tmp_path / "limits", tmp_path / "log", random.Random(7)
    log.touch()
    Page.create(path, slots=3)
    page = Page(path)
    with ExitStack() as stack:
        workers = [stack.enter_context(hammer("storm", path, slot, log)) for slot in range(3)]
        for _ in range(45):
            slot = chance.randrange(3)
            for _ in range(chance.randrange(1, 12)):
                assert said(workers[slot])
            workers[slot].kill()
            workers[slot].wait()
            worker_died(page, slot, settle_lost(log, slot).get)
            workers[slot] = stack.enter_context(hammer("storm", path, slot, log))
            assert said(workers[slot])
        for slot, worker in enumerate(workers):
            worker.kill()
            worker.wait()
            worker_died(page, slot, settle_lost(log, slot).get)
    lines = [line.split() for line in log.read_text().splitlines()]
    keys, by_key = {call: key for what, call, key in lines if what == "opened"}, Counter[str]()
    for call, used in [(call, int(used)) for what, call, used in lines if what == "settled"]:
        by_key[keys[call]] += used
    for key in "012":
        assert counters(page, f"k{key}") == {
            "requests": (len(keys), 0),
            "tokens": (by_key[key], 0),
            "at-once": (0, 0),
        }
    assert len(keys) > 1_000


@pytest.mark.parametrize("cold", [False, True])
def test_a_worker_may_be_killed_at_every_instruction(tmp_path: Path, cold: bool) -> None:
    """A call is reserved, logged and settled; killed after each instruction of it, the page says what the log says.

    What is not modelled: half of one store. A word is stored whole; the record of a change counts once it is whole.
    """
    path, log = tmp_path / "limits", tmp_path / "log"
    log.touch()
    Page.create(path, slots=2)
    page = Page(path)
    held = Limiter(page, 1, SystemClock(), PLENTY).reserve(Claim(id="other/1", key="k", output_tokens=5))
    assert isinstance(held, Held)
    calls, used, ended = 0, Counter[str](), "killed"
    with hammer("instant", path, log) as killer:
        for instant in range(10_000):
            key = f"k-{instant}" if cold else "k"  # a key never seen needs a row of its own
            log.write_bytes(b"")
            tell(killer, f"{instant} {key}")
            ended = said(killer)
            settled = log.read_bytes() == b"s"
            actual = Actual(input_tokens=0, output_tokens=3) if settled else None
            worker_died(page, 0, {"call/1": actual}.__getitem__)
            calls += settled
            used[key] += 3 * settled
            assert counters(page, key) == {
                "requests": (calls, 1),
                "tokens": (used[key], 0 if cold else 5),
                "at-once": (0, 1),
            }, f"after {instant} instructions"
            if ended != "killed":
                break
    assert ended == "done 0"
    assert 0 < calls < instant


def counters(page: Page, key: str) -> dict[str, tuple[int, int]]:
    """(used, held) by limit."""
    found = {}
    for target in Limiter(page, 0, SystemClock(), PLENTY).targets(Claim(id="x", key=key)):
        at = page.find(target.key)
        found[target.limit.name] = (page.words[at + USED], page.words[at + HELD]) if at >= 0 else (0, 0)
    return found


def test_a_process_that_stands_still_with_the_lock_holds_others_up_for_a_while_only(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    Page.create(path, slots=2)
    limiter = Limiter(Page(path), 1, SystemClock(), TEN)
    with hammer("stop", path, 0) as stopped:
        assert said(stopped) == "locked"
        with pytest.raises(TransientError) as refused:
            limiter.reserve(Claim(id="c/1", key="k", nanousd=1))
        assert refused.value.code == "limits_unavailable"
        stopped.send_signal(signal.SIGKILL)
        stopped.wait()
        assert isinstance(limiter.reserve(Claim(id="c/1", key="k", nanousd=1)), Held)


def test_every_waiter_has_its_turn(tmp_path: Path) -> None:
    """Two processes that do nothing else both get on."""
    path, log = tmp_path / "limits", tmp_path / "log"
    log.touch()
    Page.create(path, slots=2)
    with hammer("storm", path, 0, log) as one, hammer("storm", path, 1, log) as two:
        for _ in range(50):
            assert said(one)
            assert said(two)


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 8 * 300, b"x" * (1 << 20)])
def test_what_is_no_page_is_not_mapped_as_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "limits").write_bytes(content)
    with pytest.raises(LocalError):
        Page(tmp_path / "limits")


def test_a_page_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    Page.create(path, slots=1, rows=8, tickets=8)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 8)
    with pytest.raises(LocalError):
        Page(path)


def test_a_new_page_does_not_disturb_who_has_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    Page.create(path, slots=1, rows=8, tickets=8)
    old = Page(path)
    Page.create(path, slots=2, rows=8, tickets=8)
    new = Page(path)
    assert (old.slots, new.slots) == (1, 2)
    assert old.run != new.run
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_blocks * 512 >= path.stat().st_size, "a hole would kill who writes to it on a full disk"


def test_the_lock_excludes(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    Page.create(path, slots=1)
    one, two = Page(path), Page(path)
    one.lock()
    with pytest.raises(TransientError):
        two.lock()
    one.unlock()
    two.lock()
    two.unlock()
    assert lock.WAIT_S_MAX <= 2
