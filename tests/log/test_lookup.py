"""One record by its seq: as a reader that reads everything finds it, or not at all."""

from pathlib import Path
from random import Random

import msgspec
import pytest
from tests.log.journals import STREAM, journal_dir, open_journal, records, write

from interlock.log import LogCorrupt
from interlock.log.lines import frame, parse
from interlock.log.lookup import record_at
from interlock.log.reader import drop_sealed


@pytest.mark.parametrize("segment_bytes", [600, 5_000, 1 << 26])
def test_as_a_reader_finds_it(tmp_path: Path, segment_bytes: int) -> None:
    chance = Random(segment_bytes)
    journal = open_journal(journal_dir(tmp_path), segment_bytes=segment_bytes)
    for n in range(300):
        size = chance.choice((1, 1, 50, 700, 20_000, 200_000 if segment_bytes > 5_000 else 1))
        journal.stage(f"r{n}", "test.happened", 7, b'{"x":"%b"}' % (b"y" * size))
        journal.flush()
    all_of_them = records(tmp_path)
    assert [record_at(tmp_path / "journal", STREAM, stored.seq) for stored in all_of_them] == all_of_them
    assert [record_at(tmp_path / "journal", STREAM, seq) for seq in (-1, 0, len(all_of_them) + 1)] == [None] * 3
    journal.close()


def test_a_segment_that_waits_for_its_seal(tmp_path: Path) -> None:
    write(tmp_path, 40, segment_bytes=2000)
    all_of_them = records(tmp_path)
    for path in sorted(journal_dir(tmp_path).glob("*.seal"))[-2:]:
        path.unlink()
    assert [record_at(tmp_path / "journal", STREAM, stored.seq) for stored in all_of_them] == all_of_them


def test_what_was_dropped_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, 40, segment_bytes=2000)
    all_of_them = records(tmp_path)
    assert drop_sealed(journal_dir(tmp_path), STREAM, before_seq=20)
    [first, *_] = left = records(tmp_path, after=19)
    assert record_at(tmp_path / "journal", STREAM, 1) is None
    assert [record_at(tmp_path / "journal", STREAM, stored.seq) for stored in left] == left == all_of_them[19:]
    assert first.seq == 20
    assert record_at(tmp_path / "nowhere", STREAM, 1) is None


def test_a_changed_record_is_named_and_an_erased_one_is_empty(tmp_path: Path) -> None:
    write(tmp_path, 10)
    [path] = journal_dir(tmp_path).glob("*.seg")
    lines = path.read_bytes().splitlines(keepends=True)
    chain, head, payload = parse(lines[4])
    path.write_bytes(b"".join([*lines[:4], frame(chain, head, b""), *lines[5:]]))
    erased = record_at(tmp_path / "journal", STREAM, 5)
    assert erased is not None and erased.record.payload == b""
    path.write_bytes(b"".join([*lines[:4], frame(chain, head, b'{"n":7}'), *lines[5:]]))
    with pytest.raises(LogCorrupt, match="seq 5"):
        record_at(tmp_path / "journal", STREAM, 5)
    path.write_bytes(b"".join([*lines[:4], frame(chain, head.replace(b"test", b"tess"), payload), *lines[5:]]))
    with pytest.raises(LogCorrupt, match="seq 5"):
        record_at(tmp_path / "journal", STREAM, 5)
    found = record_at(tmp_path / "journal", STREAM, 4)
    assert found is not None and msgspec.json.decode(found.record.payload) == {"n": 2}
