"""The shared page: what one process commits, every other knows before anybody is told."""

import asyncio
import fcntl
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import LogUnavailable
from interlock.identity import CONFIG, IDENTITY, Denied, Generation, Identity, Issued, Key, SharedDirectory
from interlock.log import Stored
from interlock.log.sqlite import SqliteLog

WORKER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from interlock.clock import SystemClock
    from interlock.identity import Generation, Key, SharedDirectory
    from interlock.log.sqlite import SqliteLog

    root, clock = Path(sys.argv[1]), SystemClock()
    directory = SharedDirectory(SqliteLog(root / "log.sqlite"), Generation(root))
    print("ready", flush=True)
    for secret in map(str.strip, sys.stdin):  # one key a line: admit it until it is refused
        times, admitted_ns = 0, 0
        while True:
            before_ns = clock.now_ns()  # the last moment at which this admission had certainly not happened yet
            if not isinstance(directory.admit(secret, before_ns, "inference"), Key):
                break
            times, admitted_ns = times + 1, before_ns
            if times == 1:
                print("admitted", flush=True)
        print(times, admitted_ns, flush=True)
    """
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(tmp_path / "log.sqlite")) as opened:
        yield opened


@pytest.fixture
def generation(tmp_path: Path) -> Iterator[Generation]:
    opened = Generation(tmp_path)
    yield opened
    opened.close()


def writer(log: SqliteLog, generation: Generation) -> Identity:
    return Identity(log, SystemClock(), lambda head: generation.raise_to(IDENTITY, head))


def test_no_process_admits_a_key_once_revoke_has_answered(
    log: SqliteLog, generation: Generation, tmp_path: Path
) -> None:
    identity = writer(log, generation)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        assert [said(worker) for worker in workers] == ["ready", "ready"]
        for _ in range(20):
            issued: Issued = asyncio.run(identity.issue(tenant="acme", name="laptop"))
            for worker in workers:
                tell(worker, issued.secret)
            assert [said(worker) for worker in workers] == ["admitted", "admitted"]
            asyncio.run(identity.revoke(issued.key.id))
            answered_ns = SystemClock().now_ns()
            for worker in workers:
                times, admitted_ns = map(int, said(worker).split())
                assert times >= 1
                assert admitted_ns <= answered_ns, f"admitted {admitted_ns - answered_ns} ns after the answer"
    finally:
        for worker in workers:
            worker.communicate(timeout=10)


def said(worker: "subprocess.Popen[str]") -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def tell(worker: "subprocess.Popen[str]", line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(line + "\n")
    worker.stdin.flush()


def test_a_revoked_key_is_refused_at_the_very_next_admission(log: SqliteLog, generation: Generation) -> None:
    identity, directory = writer(log, generation), SharedDirectory(log, generation)
    key, secret = asyncio.run(identity.issue(tenant="acme", name="laptop"))
    assert directory.admit(secret, 0, "inference") == key
    asyncio.run(identity.revoke(key.id))
    assert directory.admit(secret, 0, "inference") == Denied("key_unknown")


class Broken:
    """A log whose tail cannot be read, or stops short of what was promised."""

    def __init__(self, good: SqliteLog) -> None:
        self.good = good
        self.failing: Exception | None = None
        self.limit: int | None = None

    def read_after(self, stream: str, seq: int) -> list[Stored]:
        if self.failing:
            raise self.failing
        return self.good.read_after(stream, seq, limit=self.limit)


@pytest.mark.parametrize("failing", [LogUnavailable("away"), OSError("gone"), None])
def test_a_tail_that_cannot_be_read_closes_the_door_until_it_can(
    log: SqliteLog, generation: Generation, failing: Exception | None
) -> None:
    identity, broken = writer(log, generation), Broken(log)
    key, secret = asyncio.run(identity.issue(tenant="acme", name="laptop"))
    directory = SharedDirectory(broken, generation)
    asyncio.run(identity.issue(tenant="acme", name="another"))
    broken.failing, broken.limit = failing, 0
    for _ in range(3):
        assert directory.admit(secret, 0, "inference") == Denied("directory_unavailable")
    broken.failing = broken.limit = None
    assert directory.admit(secret, 0, "inference") == key


def test_while_it_is_up_to_date_the_log_is_not_read(log: SqliteLog, generation: Generation) -> None:
    broken = Broken(log)
    _, secret = asyncio.run(writer(log, generation).issue(tenant="acme", name="laptop"))
    directory = SharedDirectory(broken, generation)
    broken.failing = OSError("nobody may read")
    assert isinstance(directory.admit(secret, 0, "inference"), Key)


def test_a_slot_never_goes_back_while_somebody_holds_the_page(generation: Generation, tmp_path: Path) -> None:
    generation.raise_to(IDENTITY, 7)
    generation.raise_to(IDENTITY, 5)
    other = Generation(tmp_path)
    other.raise_to(CONFIG, 3)
    assert list(generation.slots)[:2] == list(other.slots)[:2] == [7, 3]
    other.close()


def test_a_leftover_of_an_earlier_run_is_zeroed(tmp_path: Path) -> None:
    first = Generation(tmp_path)
    first.raise_to(IDENTITY, 7)
    first.close()
    second = Generation(tmp_path)
    assert second.slots[IDENTITY] == 0
    second.close()


class Watched:
    """A slot that notes, whenever it is touched, whether somebody else could have the lock."""

    def __init__(self, lock_path: Path) -> None:
        self.lock_path = lock_path
        self.value = 0
        self.exclusive: list[bool] = []

    def __getitem__(self, slot: int) -> int:
        self._look()
        return self.value

    def __setitem__(self, slot: int, value: int) -> None:
        self._look()
        self.value = value

    def _look(self) -> None:
        with self.lock_path.open("rb+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.exclusive.append(False)
            except BlockingIOError:
                self.exclusive.append(True)


def test_a_slot_is_compared_and_stored_under_one_lock(generation: Generation, tmp_path: Path) -> None:
    watched = Watched(tmp_path / "run" / "generation.lock")
    page, generation.slots = generation.slots, watched  # type: ignore[assignment]  # stands in for the memory
    generation.raise_to(IDENTITY, 5)
    generation.slots = page
    assert (watched.value, watched.exclusive) == (5, [True, True])


def test_writers_in_many_processes_never_lower_a_slot(tmp_path: Path, generation: Generation) -> None:
    raising = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from interlock.identity import Generation
        page = Generation(Path(sys.argv[1]))
        for seq in range(int(sys.argv[2]), 20_000, 2):
            page.raise_to(0, seq)
            assert page.slots[0] >= seq
        """
    )
    writers = [subprocess.Popen([sys.executable, "-c", raising, str(tmp_path), str(start)]) for start in (0, 1)]
    seen, last = 0, 0
    while any(one.poll() is None for one in writers):
        seen = generation.slots[IDENTITY]
        assert seen >= last
        last = seen
    assert [one.returncode for one in writers] == [0, 0]
    assert generation.slots[IDENTITY] == 19_999
