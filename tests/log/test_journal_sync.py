"""When the journal's records reach the disk."""

import asyncio
import errno
import os
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.journals import STREAM, open_journal, until
from tests.log.test_full_disk import file_size_limit
from tests.log.test_journal import Run

from interlock.errors import LogUnavailable
from interlock.log.reader import Tail
from interlock.testing.log_contract import record


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The file's size at each `fdatasync`."""
    sizes: list[int] = []
    really = os.fdatasync

    def note(fd: int) -> None:
        really(fd)
        sizes.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "fdatasync", note)
    return sizes


def test_each_tick_before_done(tmp_path: Path, synced: list[int]) -> None:
    with closing(open_journal(tmp_path, sync="tick")) as journal:
        at_done: list[int] = []
        for n in range(3):
            journal.stage(f"r{n}", "t", 1, b"1", lambda error: at_done.append(len(synced)))
        journal.flush()
        assert at_done == [2, 2, 2]  # one for `journal.opened`, one for the three
        assert synced[-1] == (tmp_path / "00000001.seg").stat().st_size


def test_never(tmp_path: Path, synced: list[int]) -> None:
    with closing(open_journal(tmp_path)) as journal:
        asyncio.run(journal.append(STREAM, [record("r")]))
    assert synced == []


def test_within_so_many_milliseconds(run: Run, tmp_path: Path, synced: list[int]) -> None:
    async def main() -> None:
        directory = Path(tempfile.mkdtemp(dir=tmp_path))
        synced.clear()
        journal = open_journal(directory, sync=1)
        await journal.append(STREAM, [record("r1")])
        await until(lambda: (directory / "00000001.seg").stat().st_size in synced)
        journal.close()

    run(main)


def test_a_batch_that_cannot_be_synced_does_not_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(fd: int) -> None:
        raise OSError(errno.EIO, "injected")

    with closing(open_journal(tmp_path, sync="tick")) as journal:
        size = (tmp_path / "00000001.seg").stat().st_size
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fails)
            with pytest.raises(LogUnavailable):
                asyncio.run(journal.append(STREAM, [record("r")]))
        assert (journal.seq, (tmp_path / "00000001.seg").stat().st_size, journal.writable) == (1, size, False)


def test_what_fitted_is_synced_before_it_is_said_to_stand(tmp_path: Path, synced: list[int]) -> None:
    """A write that was cut short by a full disk: its whole lines stand, so they must be on the disk as well."""
    with closing(open_journal(tmp_path, sync="tick")) as journal:
        segment = tmp_path / "00000001.seg"
        answers: list[tuple[bool, int]] = []
        line = segment.stat().st_size
        with file_size_limit(line + line * 3):
            for n in range(20):
                journal.stage(f"r{n}", "t", 1, b"1", lambda error: answers.append((error is None, len(synced))))
            journal.flush()
        stood = [syncs for stands, syncs in answers if stands]
        assert 0 < len(stood) < 20
        assert set(stood) == {2}  # `journal.opened`, and what fitted


def test_a_segment_that_cannot_be_begun_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers take a segment's successor for its end: it must not stay behind where the writer goes on."""
    with closing(open_journal(tmp_path, sync="tick", segment_bytes=500)) as journal:
        tail, seen = Tail(tmp_path, STREAM, 0), list[int]()
        fds = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
        with monkeypatch.context() as patch:
            patch.setattr("interlock.log.appender.sync_directory", _failing)
            for n in range(6):
                journal.stage(f"r{n}", "t", 1, b'"%b"' % (b"x" * 200))
                journal.flush()
                seen += [stored.seq for stored in tail.poll()]
        assert len(os.listdir("/proc/self/fd")) <= fds + 1  # noqa: PTH208 - the reader's own
        for n in range(6, 9):
            journal.stage(f"r{n}", "t", 1, b'"%b"' % (b"x" * 200))
            journal.flush()
            while batch := tail.poll():
                seen += [stored.seq for stored in batch]
        assert seen == list(range(1, 11))
        tail.close()


def _failing(directory: Path) -> None:
    raise OSError(errno.EIO, "input/output error")
