"""When a checkpoint is written, what it says, and what becomes of its key."""

import asyncio
import os
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.journals import open_journal
from tests.proof.places import EVENTS, Place

from interlock.errors import InterlockError, LocalError, LogUnavailable
from interlock.log.sqlite import SqliteLog
from interlock.proof import writing
from interlock.proof.checkpoint import FIRST_PREVIOUS, STREAM
from interlock.proof.ends import Ends
from interlock.proof.keys import is_signed, open_signer, read_public_key
from interlock.proof.writing import Checkpoints, newest
from interlock.testing.log_contract import record


def test_one_is_written_when_a_stream_moved_and_only_then(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with place.writer() as writer:
        assert writer.write() is None
        place.identity()
        first = writer.write()
        assert first and (first.number, first.statement.previous) == (1, FIRST_PREVIOUS)
        size = place.segment(STREAM).stat().st_size
        assert writer.write() is first and place.segment(STREAM).stat().st_size == size
        place.count("acme")
        second = writer.write()
        assert second and (second.number, second.statement.previous) == (2, first.hash)
        assert {name: tip.seq for name, tip in second.streams.items()} == {"identity": 3, EVENTS: 2}
        place.usage()
    third = newest(place.places)  # an orderly end writes the last one
    assert third and (third.number, third.streams["usage/0"].seq) == (3, 4)
    assert all(is_signed(one) for one in (first, second, third))
    assert place.sign() == third and place.problems() == []


def test_many_threads_write_one_line_of_checkpoints(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.identity()
    with place.writer() as writer, closing(SqliteLog(place.places.log)) as log:

        def work(name: str) -> None:
            for n in range(10):
                asyncio.run(log.append(name, [record(f"{name}{n}")]))
                writer.write()

        threads = [threading.Thread(target=work, args=(f"s{k}",)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert place.problems() == []
    last = newest(place.places)
    assert last and {name: tip.seq for name, tip in last.streams.items()} == {f"s{k}": 10 for k in range(4)} | {
        "identity": 3
    }


def test_the_last_one_is_found_behind_owners_that_wrote_none_and_in_older_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "SEGMENT_BYTES", 3000)
    place = Place(tmp_path)
    for _ in range(12):
        place.identity()
        place.sign()
        last = place.sign()  # opens the journal, and writes nothing else
    assert last.number == 12 and last == newest(place.places)
    assert len(list((place.places.journal / STREAM).glob("*.seg"))) > 2
    assert place.problems() == []


def test_every_segment_that_is_attested_was_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that a journal which never syncs has left behind."""
    synced: list[str] = []
    fdatasync = os.fdatasync

    def noted(fd: int) -> None:
        synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        fdatasync(fd)

    place = Place(tmp_path)
    journal = open_journal(tmp_path / "journal" / "usage" / "0", segment_bytes=1000, sync="never")
    watched = Ends(place.places.journal, STREAM)
    for n in range(10):
        journal.stage(f"r{n}", "t", 1, b"1")
        journal.flush()
        if journal._sealer:
            journal._sealer.join()  # so that there are as many segments each time
    monkeypatch.setattr(os, "fdatasync", noted)
    assert watched.on_disk()["usage/0"].seq == journal.seq
    assert len(synced) > 2 and sorted(synced) == sorted(path.name for path in (tmp_path / "journal").rglob("*.seg"))
    synced.clear()
    assert watched.on_disk()["usage/0"].seq == journal.seq and synced == []
    journal.stage("r", "t", 1, b"1")
    journal.flush()
    assert watched.on_disk()["usage/0"].seq == journal.seq and len(synced) <= 2
    journal.close()


def test_an_end_that_is_taken_back_is_not_attested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    place.usage()
    path = place.segment("usage/0")
    size = path.stat().st_size
    monkeypatch.setattr(os, "fdatasync", lambda fd: os.truncate(path, size - 1))
    with pytest.raises(LogUnavailable, match="taken back"):
        Ends(place.places.journal, STREAM).on_disk()


def test_a_disk_that_cannot_sync_attests_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    place.usage()

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with place.writer() as writer:
        monkeypatch.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError):
            writer.write()
        assert "Input/output error" in writer.problem and writer.newest is None
        monkeypatch.undo()
        assert writer.write() and writer.problem == ""


def test_the_key(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.identity()
    signed = place.sign()
    key, pub = place.places.checkpoint_key, place.places.checkpoint_pub
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert pub.read_text() == f"{signed.statement.public_key}\n"
    assert len(bytes.fromhex(key.read_text())) == 32 and key.read_text() != pub.read_text()
    assert sorted(path.name for path in tmp_path.glob(".*")) == []
    pub.unlink()
    assert place.sign() == signed and pub.exists()


def test_a_lost_or_other_key_is_not_replaced(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.identity()
    place.sign()
    secret = place.places.checkpoint_key.read_text()
    place.places.checkpoint_key.unlink()
    place.identity()
    with place.writer() as writer, pytest.raises(LocalError, match="is missing, and checkpoints were signed with it"):
        writer.write()
    assert not place.places.checkpoint_key.exists()
    for text in (secret[:-3], f"x{secret[1:]}", ""):
        place.places.checkpoint_key.write_text(text)
        with place.writer() as writer, pytest.raises(LocalError, match="is not a key") as caught:
            writer.write()
        error: BaseException | None = caught.value
        while error:
            assert secret[5:20] not in str(error)
            error = error.__cause__
    place.places.checkpoint_key.write_text("ab" * 32)
    with place.writer() as writer, pytest.raises(InterlockError, match="signed with another key"):
        writer.write()
    place.places.checkpoint_key.write_text(secret)
    assert place.sign().number == 2 and place.problems() == []


def test_a_key_is_made_once_by_all_who_want_one(tmp_path: Path) -> None:
    place = Place(tmp_path)
    found: list[str] = []

    def work() -> None:
        found.append(open_signer(place.places, may_make=True).public_key)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_public_keys_from_people() -> None:
    assert read_public_key(f" {'AB' * 32}\n", "public_key") == "ab" * 32
    for bad in ("", "ab", "zz" * 32, "ab " * 32):
        with pytest.raises(LocalError, match="64 hex digits"):
            read_public_key(bad, "public_key")


def test_a_second_writer_is_kept_out(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.identity()
    with place.writer() as first, closing(SqliteLog(place.places.log)) as log:
        first.write()
        second = Checkpoints(place.places, log, place.clock)
        with pytest.raises(LocalError, match="another process owns"):
            second.write()
        second.close()
