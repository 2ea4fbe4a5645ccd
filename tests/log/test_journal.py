"""The journal: recovery, ownership, kills; `test_full_disk.py` and `test_reader.py` have the rest."""

import asyncio
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.examples import at_least
from tests.log.journals import STREAM, journal_dir, open_journal, problems, records, write

from interlock.errors import LocalError, LogUnavailable
from interlock.log import LogCorrupt
from interlock.log.segments import seal_numbers, segment_numbers

Run = Callable[[Callable[[], Coroutine[Any, Any, object]]], object]


def test_one_write_a_tick_then_every_done_in_order(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        journal = open_journal(Path(tempfile.mkdtemp(dir=tmp_path)))
        sizes: list[int] = []
        really = os.write

        def count(fd: int, data: bytes) -> int:
            sizes.append(len(data))
            return really(fd, data)

        monkeypatch.setattr(os, "write", count)
        done: list[tuple[int, int]] = []

        def note(n: int, error: LogUnavailable | None) -> None:
            done.append((n, journal.seq))

        for n in range(5):
            journal.stage(f"r{n}", "t", 1, b"1", functools.partial(note, n))
        assert (done, sizes, journal.seq) == ([], [], 1)
        await asyncio.sleep(0)
        assert done == [(n, 6) for n in range(5)]
        assert len(sizes) == 1
        journal.close()

    run(main)


def test_a_second_owner_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from interlock.log.journal import Journal\n"
        "from interlock.clock import SystemClock\n"
        "Journal.open(Path(sys.argv[1]), 'usage/0', clock=SystemClock()); print('mine', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout and owner.stdout.readline() == b"mine\n"
        with pytest.raises(LocalError) as refused:
            open_journal(tmp_path)
        assert refused.value.code == "conflict"
        owner.kill()
    with closing(open_journal(tmp_path)) as journal:
        assert journal.epoch == 2
    with closing(open_journal(tmp_path)) as journal:
        assert (journal.epoch, journal.seq) == (3, 3)


def test_cut_at_every_byte_of_the_last_lines(tmp_path: Path) -> None:
    """Every whole record stays, the torn one goes, and the chain goes on."""
    whole = tmp_path / "whole"
    write(whole, 4)
    data = (journal_dir(whole) / "00000001.seg").read_bytes()
    ends = [at + 1 for at, byte in enumerate(data) if byte == 10]
    for size in range(ends[2], len(data) + 1):
        cut = tmp_path / "cut"
        shutil.copytree(whole, cut)
        os.truncate(journal_dir(cut) / "00000001.seg", size)
        assert problems(cut) == []
        kept = sum(end <= size for end in ends)
        assert len(records(cut)) == kept
        with closing(open_journal(journal_dir(cut))) as journal:
            assert journal.cut_bytes == size - ends[kept - 1]
            assert journal.seq == kept + 1
        assert [s.record.id for s in records(cut)][1:kept] == [f"r{n}" for n in range(1, kept)]
        assert problems(cut) == []
        shutil.rmtree(cut)


def test_bytes_are_counted_over_segments_and_from_each_opening(tmp_path: Path) -> None:
    for _ in range(2):
        with closing(open_journal(journal_dir(tmp_path), segment_bytes=500)) as journal:
            before = sum(path.stat().st_size for path in journal_dir(tmp_path).glob("*.seg")) - journal.written_bytes
            for n in range(9):
                journal.stage(f"r{n}", "t", 1, b"1")
                journal.flush()
            after = sum(path.stat().st_size for path in journal_dir(tmp_path).glob("*.seg"))
            assert journal.written_bytes == after - before > 1000


def test_a_damaged_last_record_is_not_continued(tmp_path: Path) -> None:
    write(tmp_path, 4)
    segment = journal_dir(tmp_path) / "00000001.seg"
    segment.write_bytes(segment.read_bytes().replace(b'{"n":3}', b'{"n":4}'))
    with pytest.raises(LogCorrupt) as found:
        open_journal(journal_dir(tmp_path))
    assert (found.value.stream, found.value.seq) == (STREAM, 5)
    segment.write_bytes(segment.read_bytes().replace(b'{"n":4}', b'{"n":3}'))
    open_journal(journal_dir(tmp_path)).close()  # the refusal let go of the lock


class Crashes(RuleBasedStateMachine):
    """Appends, rotations, crashes that tear the last lines, against a list of what must stand."""

    def __init__(self) -> None:
        super().__init__()
        self.data = Path(tempfile.mkdtemp())
        self.directory = journal_dir(self.data)
        self.model: list[str] = []
        self.count = 0
        self.open()

    def open(self) -> None:
        self.journal = open_journal(self.directory, segment_bytes=2000)
        self.model.append(f"journal/{self.journal.epoch}")

    @rule(size=st.integers(1, 8), fill=st.integers(0, 300))
    def append(self, size: int, fill: int) -> None:
        for _ in range(size):
            self.count += 1
            self.journal.stage(f"r{self.count}", "t", 1, b'"%b"' % (b"x" * fill))
            self.model.append(f"r{self.count}")
        self.journal.flush()

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.open()

    @rule(lost=st.integers(0, 1500), seal=st.booleans())
    def crash(self, lost: int, seal: bool) -> None:
        """The last bytes of the newest segment never arrived, nor perhaps the last seal."""
        self.journal.close()
        newest = self.directory / f"{segment_numbers(self.directory)[-1]:08d}.seg"
        data = newest.read_bytes()
        kept = data[: max(0, len(data) - lost)]
        newest.write_bytes(kept)
        gone = data.count(b"\n") - kept.count(b"\n")
        self.model = self.model[: len(self.model) - gone]
        seals = seal_numbers(self.directory)
        if seal and seals:
            (self.directory / f"{seals[-1]:08d}.seal").unlink()
        self.open()

    @invariant()
    def everything_stands_and_verifies(self) -> None:
        if self.journal._sealer:
            self.journal._sealer.join()
        assert [s.record.id for s in records(self.data)] == self.model
        assert self.journal.seq == len(self.model)
        assert problems(self.data) == []

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.data)


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=at_least(40), stateful_step_count=15, deadline=None)

WRITER = """
import asyncio, sys
from pathlib import Path
from interlock.clock import SystemClock
from interlock.log.journal import Journal

async def main():
    journal = Journal.open(Path(sys.argv[1]), "usage/0", clock=SystemClock(), segment_bytes=200_000)
    n = 0
    while True:
        for _ in range(16):
            n += 1
            journal.stage(f"r{n}", "t", 1, b'"%b"' % (b"x" * 500), lambda error, n=n: print(n, flush=True))
        await asyncio.sleep(0)

asyncio.run(main())
"""


def test_kill_9_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    for _ in range(5):
        data = Path(tempfile.mkdtemp(dir=tmp_path))
        with subprocess.Popen([sys.executable, "-c", WRITER, journal_dir(data)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            for _ in range(2000):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split(b"\n")
        answered = int(rest[-2] if len(rest) > 1 else 2000)
        before = [s.record.id for s in records(data)]
        assert before[1:] == [f"r{n}" for n in range(1, len(before))]
        assert len(before) - 1 >= answered >= 2000
        open_journal(journal_dir(data)).close()
        assert [s.record.id for s in records(data)][:-1] == before
        assert problems(data) == []
