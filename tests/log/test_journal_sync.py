"""When the journal's records reach the disk."""

import asyncio
import errno
import os
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.journals import STREAM, open_journal, until
from tests.log.test_journal import Run

from interlock.errors import LogUnavailable
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
