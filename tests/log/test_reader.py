"""Segments and their readers: rotation, seals, following across files, retention."""

import asyncio
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.journals import STREAM, journal_dir, open_journal, problems, records, write
from tests.log.test_journal import WRITER, Run

from interlock.errors import LocalError
from interlock.log import LogCorrupt, Stored
from interlock.log.lines import parse
from interlock.log.reader import JournalReader, Tail, drop_sealed
from interlock.log.segments import SegmentReader, read_seal, seal_numbers, segment_numbers
from interlock.log.verify import verify
from interlock.testing.log_contract import collect


def test_segments_rotate_and_are_sealed(tmp_path: Path) -> None:
    write(tmp_path, 30, segment_bytes=2000, low_water=3)
    directory = journal_dir(tmp_path)
    assert len(segment_numbers(directory)) > 3
    assert seal_numbers(directory) == segment_numbers(directory)[:-1]
    seal = read_seal(directory, 1, STREAM)
    assert seal
    assert (seal.first_seq, seal.low_water, seal.epoch) == (1, 3, 1)
    assert seal.bytes == (directory / "00000001.seg").stat().st_size
    assert [s.seq for s in records(tmp_path)] == list(range(1, 32))
    assert JournalReader(tmp_path / "journal").low_water(STREAM) == 3
    assert problems(tmp_path) == []


def test_a_crash_before_the_seal_is_made_good(tmp_path: Path) -> None:
    write(tmp_path, 30, segment_bytes=2000)
    directory = journal_dir(tmp_path)
    before = [path.read_bytes() for path in sorted(directory.glob("*.seal"))]
    for path in sorted(directory.glob("*.seal"))[-2:]:
        path.unlink()
    assert [s.seq for s in records(tmp_path)] == list(range(1, 32))
    assert problems(tmp_path) == []
    with closing(open_journal(directory)) as journal:
        assert journal.epoch == 2
    assert [path.read_bytes() for path in sorted(directory.glob("*.seal"))] == before
    assert problems(tmp_path) == []


def test_a_crash_before_the_first_record_of_a_new_segment(tmp_path: Path) -> None:
    write(tmp_path, 30, segment_bytes=2000)
    directory = journal_dir(tmp_path)
    newest = directory / f"{segment_numbers(directory)[-1]:08d}.seg"
    newest.write_bytes(b"")
    left = len(records(tmp_path))
    assert asyncio.run(JournalReader(tmp_path / "journal").head(STREAM)) == left
    newest.unlink()
    assert asyncio.run(JournalReader(tmp_path / "journal").head(STREAM)) == left
    with closing(open_journal(directory)) as journal:
        assert (journal.seq, journal.epoch) == (left + 1, 2)
    assert problems(tmp_path) == []


def test_reading_after_a_seq_skips_sealed_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 30, segment_bytes=2000)
    seal = read_seal(journal_dir(tmp_path), 2, STREAM)
    assert seal
    opened: list[str] = []

    class Spy(SegmentReader):
        def __init__(self, path: Path, *rest: object) -> None:
            opened.append(path.name)
            super().__init__(path, *rest)  # type: ignore[arg-type]  # only passed on

    monkeypatch.setattr("interlock.log.reader.SegmentReader", Spy)
    for after, first in ((0, "00000001.seg"), (seal.last_seq - 1, "00000002.seg"), (seal.last_seq, "00000003.seg")):
        opened.clear()
        assert [s.seq for s in records(tmp_path, after=after)] == list(range(after + 1, 32))
        assert opened[0] == first


def test_a_reader_that_comes_back_reads_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever polls a stream would otherwise read its newest segment from the start each time."""
    parsed: list[int] = []

    def spy(text: bytes, start: int = 0, end: int | None = None) -> tuple[bytes, bytes, bytes]:
        parsed.append(start)
        return parse(text, start, end)

    monkeypatch.setattr("interlock.log.segments.parse", spy)
    directory, reader = journal_dir(tmp_path), JournalReader(tmp_path / "journal")
    seqs: list[int] = []
    with closing(open_journal(directory, segment_bytes=2000)) as journal:
        for n in range(40):
            journal.stage(f"r{n}", "t", 1, b"1")
            journal.flush()
            after = seqs[-1] if seqs else 0
            seqs += [s.seq for s in asyncio.run(_read(reader, after))]
    assert seqs == list(range(1, 42))
    assert len(segment_numbers(directory)) > 3
    assert len(parsed) < 41 + 2 * 40 + 1  # each record once, and the last line for `head`
    assert [s.seq for s in asyncio.run(_read(reader, 3))] == list(range(4, 42)), "an earlier place is still open to it"
    drop_sealed(directory, STREAM, before_seq=1000)
    assert asyncio.run(_read(reader, 41)) == []


def test_a_record_changed_behind_a_reader_is_found_when_it_goes_on(tmp_path: Path) -> None:
    write(tmp_path, 3)
    reader, segment = JournalReader(tmp_path / "journal"), journal_dir(tmp_path) / "00000001.seg"
    assert len(asyncio.run(_read(reader, 0))) == 4
    write(tmp_path, 3)
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:4], *lines[5:]]))
    with pytest.raises(LogCorrupt, match="seq 5"):
        asyncio.run(_read(reader, 4))


async def _read(reader: JournalReader, after: int) -> list[Stored]:
    return [stored async for stored in reader.read(STREAM, after=after)]


def test_an_unfinished_line_is_waited_for(tmp_path: Path) -> None:
    write(tmp_path, 2)
    segment = journal_dir(tmp_path) / "00000001.seg"
    data = segment.read_bytes()
    with closing(Tail(journal_dir(tmp_path), STREAM, 0)) as tail:
        segment.write_bytes(data[: len(data) - 20])
        assert [s.seq for s in tail.poll()] == [1, 2]
        assert tail.poll() == []
        segment.write_bytes(data)
        assert [s.seq for s in tail.poll()] == [3]


def test_nothing_is_read_past_where_it_was_asked_to_stop(tmp_path: Path) -> None:
    write(tmp_path, 3)
    with closing(Tail(journal_dir(tmp_path), STREAM, 0)) as tail:
        assert [s.seq for s in tail.poll(2)] == [1, 2]
        assert tail.place and tail.place.position.seq == 2
        assert [s.seq for s in tail.poll()] == [3, 4]


def test_part_of_a_line_that_was_taken_back_is_forgotten(tmp_path: Path) -> None:
    """A full disk leaves part of a line; the owner removes it and later writes another line there."""
    write(tmp_path, 2)
    segment = journal_dir(tmp_path) / "00000001.seg"
    with closing(Tail(journal_dir(tmp_path), STREAM, 0)) as tail, closing(open_journal(journal_dir(tmp_path))) as owner:
        with segment.open("ab") as file:
            file.write(b"0000part of a line that")
        assert [s.seq for s in tail.poll()] == [1, 2, 3, 4]
        os.truncate(segment, segment.stat().st_size - 23)
        owner.stage("r", "t", 1, b"1")
        owner.flush()
        assert [s.record.id for s in tail.poll()] == ["r"]


def test_follow_while_another_process_writes_and_rotates(run: Run, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, journal_dir(tmp_path)], stdout=subprocess.DEVNULL) as writer:

        async def main() -> None:
            async with asyncio.timeout(60):
                found = await collect(JournalReader(tmp_path / "journal").follow(STREAM, after=0), 1500)
            assert [s.record.id for s in found[1:]] == [f"r{n}" for n in range(1, 1500)]

        try:
            run(main)
        finally:
            writer.kill()
    assert len(segment_numbers(journal_dir(tmp_path))) > 2


def test_dropped_segments(tmp_path: Path) -> None:
    write(tmp_path, 30, segment_bytes=2000, low_water=2)
    directory, reader = journal_dir(tmp_path), JournalReader(tmp_path / "journal")
    second = read_seal(directory, 2, STREAM)
    assert second
    assert drop_sealed(directory, STREAM, before_seq=second.last_seq) == [1]
    assert drop_sealed(directory, STREAM, before_seq=second.last_seq + 1) == [2]
    first = second.last_seq + 1
    assert (reader.first(STREAM), reader.low_water(STREAM)) == (first, first)
    assert [s.seq for s in records(tmp_path, after=second.last_seq)] == list(range(first, 32))
    with pytest.raises(LocalError, match=f"up to seq {second.last_seq} were dropped") as refused:
        records(tmp_path)
    assert refused.value.code == "not_found"
    [report] = verify(tmp_path)
    assert (report.first, report.head, report.records, report.problems) == (first, 31, 32 - first, [])
    drop_sealed(directory, STREAM, before_seq=1000)
    with closing(open_journal(directory)) as journal:
        assert journal.seq == 32
    assert problems(tmp_path) == []
