"""The journal on a disk that is full: real ones, no fakes."""

import asyncio
import errno
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.log.journals import STREAM, journal_dir, open_journal, problems, records, until, write
from tests.log.test_journal import Run

from interlock.clock import SystemClock
from interlock.errors import LogUnavailable, UnknownOutcome
from interlock.log.journal import Journal
from interlock.log.reader import read_directory
from interlock.testing.clock import ManualClock
from interlock.testing.log_contract import collect, record


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """A real full file, wherever this runs: the kernel takes what fits and refuses the rest (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_fits_stands_and_the_rest_never_happened(tmp_path: Path) -> None:
    write(tmp_path, 2)
    segment = journal_dir(tmp_path) / "00000001.seg"
    clock = ManualClock()
    with closing(open_journal(journal_dir(tmp_path), clock=clock)) as journal:
        answers: list[object] = []
        line = segment.stat().st_size // 4
        with file_size_limit(segment.stat().st_size + 2 * line + line // 2):
            for n in range(8):
                journal.stage(f"late{n}", "test.happened", 7, b"1", answers.append)
            journal.flush()
            stood = answers.count(None)
            assert 0 < stood < 8
            assert all(isinstance(a, LogUnavailable) for a in answers[stood:])
            assert not journal.writable
            assert journal.seq == 4 + stood
            assert segment.read_bytes().count(b"\n") == 4 + stood
            assert segment.read_bytes().endswith(b"\n")
        clock.advance(10**9)
        journal.stage("after", "test.happened", 7, b"1", answers.append)
        journal.flush()
        assert answers[-1] is None
        assert journal.writable
    assert [s.record.id for s in records(tmp_path)][4:] == [f"late{n}" for n in range(stood)] + ["after"]
    assert problems(tmp_path) == []


def test_an_append_of_which_only_a_part_fits_has_an_unknown_outcome(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as journal:
        size = (tmp_path / "00000001.seg").stat().st_size
        with file_size_limit(size + 800), pytest.raises(UnknownOutcome):
            asyncio.run(journal.append(STREAM, [record(f"r{n}") for n in range(9)]))
        with file_size_limit((tmp_path / "00000001.seg").stat().st_size + 5), pytest.raises(LogUnavailable):
            asyncio.run(journal.append(STREAM, [record("r")]))


@contextmanager
def small_disk(tmp_path: Path, size: str) -> Iterator[Path | None]:
    """A real file system of that size; None where mounting is not permitted."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", mounted], capture_output=True)
    if done.returncode:
        yield None
        return
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)


class QuotaJournal(Journal):
    """Where no disk may be mounted: a file-size limit that moves by the reserve's size when the reserve is released."""

    def _degrade(self) -> None:
        if not self._degraded:
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft + 65536, hard))
        super()._degrade()


@pytest.mark.parametrize("kind", ["disk", "limit"])
def test_a_full_disk_refuses_new_work_and_settles_what_is_open(tmp_path: Path, kind: str) -> None:
    with small_disk(tmp_path, "512k") as disk:
        if kind == "disk" and disk:
            fill = disk / "fill"
            journal = open_journal(disk / "j", reserve_bytes=65536)
            with fill.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space") as full:
                while True:
                    file.write(b"x" * 4096)
            assert full.value.errno == errno.ENOSPC
            settle_on_a_full_disk(journal, fill.unlink)
        else:  # also runs a second time where mounting is not permitted
            journal = QuotaJournal.open(tmp_path / "j", STREAM, clock=ManualClock(), reserve_bytes=65536)
            size = (tmp_path / "j" / "00000001.seg").stat().st_size
            with file_size_limit(size + 65536):
                limits = resource.getrlimit(resource.RLIMIT_FSIZE)
                settle_on_a_full_disk(journal, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, limits[1])))


def settle_on_a_full_disk(journal: Journal, make_room: Callable[[], None]) -> None:
    answers: dict[str, LogUnavailable | None] = {}

    def stage(id: str, fill: int = 900, reserved: bool = False) -> None:
        journal.stage(
            id, "t", 1, b'"%b"' % (b"x" * fill), lambda error: answers.__setitem__(id, error), reserved=reserved
        )

    for n in range(2000):
        stage(f"open{n}")
        stage(f"settle{n}", reserved=True)
        journal.flush()
        if not journal.writable:
            break
    assert not journal.writable
    assert [id for id, error in answers.items() if error] == [f"open{n}"] or not answers[f"open{n}"]
    assert all(error is None for id, error in answers.items() if id.startswith("settle"))
    stage("new")
    for k in range(20):
        stage(f"settle-more{k}", reserved=True)
    journal.flush()
    assert answers["new"] is not None
    assert all(answers[f"settle-more{k}"] is None for k in range(20))
    make_room()
    clock = journal._clock
    assert isinstance(clock, ManualClock)
    clock.advance(10**9)
    stage("again")
    journal.flush()
    assert answers["again"] is None
    assert journal.writable
    journal.close()
    directory = journal._directory
    stood = [s.record.id for s in asyncio.run(collect(read_directory(directory, STREAM, 0, until=journal.seq)))]
    assert stood[1:] == [id for id, error in answers.items() if error is None]


def test_part_of_a_line_that_could_not_be_removed_at_once_goes_before_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1)
    segment = journal_dir(tmp_path) / "00000001.seg"

    def fails(fd: int, length: int) -> None:
        raise OSError(errno.EIO, "injected")

    answers: list[LogUnavailable | None] = []
    with closing(open_journal(journal_dir(tmp_path))) as journal:
        size = segment.stat().st_size
        with file_size_limit(size + 20), monkeypatch.context() as patch:
            patch.setattr(os, "ftruncate", fails)
            journal.stage("new", "t", 1, b"1", answers.append)
            journal.flush()
        assert segment.stat().st_size == size + 20
        journal.stage("settle", "t", 1, b"1", answers.append, reserved=True)
        journal.flush()
        assert [error is None for error in answers] == [False, True]
    assert [s.record.id for s in records(tmp_path)][-1] == "settle"
    assert problems(tmp_path) == []


def test_it_becomes_writable_again_by_itself(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        journal = open_journal(Path(tempfile.mkdtemp(dir=tmp_path)), clock=SystemClock())
        with file_size_limit(10):
            with pytest.raises(LogUnavailable):
                await journal.append(STREAM, [record("r")])
            assert not journal.writable
        await until(lambda: journal.writable)
        journal.close()

    run(main)
