"""Payloads put in the place of others: told by seal and stream, or they are a change like any other."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from tests.log.journals import STREAM, journal_dir, problems, write

from interlock.clock import SystemClock
from interlock.log import verify as verify_module
from interlock.log.check import LogCorrupt
from interlock.log.journal import Journal
from interlock.log.reader import JournalReader, Place, Tail
from interlock.log.redaction import REDACTED, redact
from interlock.log.segments import RedactedSeal, read_seal, segment_numbers, write_seal
from interlock.log.verify import verify

NEW = b'{"text":"gone"}'


def hash_of(payload: bytes) -> str:
    return sha256(payload).hexdigest()


@contextmanager
def opened(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(journal_dir(tmp_path), STREAM, clock=SystemClock(), segment_bytes=2000)
    try:
        yield journal
    finally:
        journal.close()


def tell(tmp_path: Path, *records: tuple[int, str]) -> None:
    with opened(tmp_path) as journal:
        payload = msgspec.json.encode({"erasure": "er_1", "records": records})
        journal.stage("redaction/1", REDACTED, 1, payload)
        journal.flush()


def changed(tmp_path: Path, *seqs: int, to: bytes = NEW) -> int:
    wanted = {seq: hash_of(to) for seq in seqs}
    return sum(
        redact(journal_dir(tmp_path), STREAM, number, wanted, lambda payload: None if payload == to else to)
        for number in segment_numbers(journal_dir(tmp_path))[:-1]
    )


def test_what_was_redacted_is_gone_verifies_and_reads_as_it_stands(tmp_path: Path) -> None:
    write(tmp_path, 12, segment_bytes=2000)
    tell(tmp_path, (2, hash_of(NEW)), (3, hash_of(NEW)))
    before = {stored.seq: stored for stored in JournalReader(tmp_path / "journal").scan(STREAM)}
    assert changed(tmp_path, 2, 3) == 2
    for stored in JournalReader(tmp_path / "journal").scan(STREAM):
        old, here = before[stored.seq], stored.seq in (2, 3)
        assert stored.chain == old.chain
        assert stored.record.payload == (NEW if here else old.record.payload)
        assert stored.payload_sha256 == (hash_of(old.record.payload) if here else "")
        assert JournalReader(tmp_path / "journal").record_at(STREAM, stored.seq) == stored
    [report] = verify(tmp_path)
    assert (report.redacted, report.erased, report.problems) == (2, 0, [])
    for path in journal_dir(tmp_path).iterdir():
        assert before[2].record.payload not in path.read_bytes()


def test_it_may_be_repeated_and_added_to(tmp_path: Path) -> None:
    write(tmp_path, 12, segment_bytes=2000)
    tell(tmp_path, (2, hash_of(NEW)))
    assert changed(tmp_path, 2) == 1
    seal = read_seal(journal_dir(tmp_path), 1, STREAM)
    assert changed(tmp_path, 2) == 0 and read_seal(journal_dir(tmp_path), 1, STREAM) == seal
    tell(tmp_path, (3, hash_of(NEW)))
    assert changed(tmp_path, 3) == 1
    tell(tmp_path, (2, hash_of(b'"less"')))
    assert changed(tmp_path, 2, to=b'"less"') == 1
    [report] = verify(tmp_path)
    assert (report.redacted, report.problems) == (2, [])


def test_a_change_that_no_record_tells_is_named(tmp_path: Path) -> None:
    write(tmp_path, 12, segment_bytes=2000)
    tell(tmp_path, (2, hash_of(NEW)))
    changed(tmp_path, 2, 3)
    assert problems(tmp_path) == [(STREAM, 3)]


def test_another_payload_than_the_one_told_is_named(tmp_path: Path) -> None:
    write(tmp_path, 12, segment_bytes=2000)
    tell(tmp_path, (2, hash_of(b'"other"')))
    changed(tmp_path, 2)
    assert problems(tmp_path) == [(STREAM, 2)]


def test_a_seal_that_does_not_say_so_makes_it_a_change(tmp_path: Path) -> None:
    write(tmp_path, 12, segment_bytes=2000)
    tell(tmp_path, (2, hash_of(NEW)))
    changed(tmp_path, 2)
    seal = read_seal(journal_dir(tmp_path), 1, STREAM)
    assert isinstance(seal, RedactedSeal)
    write_seal(journal_dir(tmp_path), 1, msgspec.structs.replace(seal, redacted={}), durable=False)
    assert problems(tmp_path) == [(STREAM, 2)]
    with pytest.raises(LogCorrupt, match="does not match its hash"):
        list(JournalReader(tmp_path / "journal").scan(STREAM))


def test_a_death_between_seal_and_segment_leaves_both_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 12, segment_bytes=2000)
    tell(tmp_path, (2, hash_of(NEW)))
    path = journal_dir(tmp_path) / "00000001.seg"
    old = path.read_bytes()

    def die(self: Path, target: Path) -> Path:
        if target == path:
            raise OSError("killed")
        return Path(self).rename(target)

    with monkeypatch.context() as patched, pytest.raises(OSError, match="killed"):
        patched.setattr(Path, "replace", die)
        changed(tmp_path, 2)
    assert path.read_bytes() == old and problems(tmp_path) == []
    assert isinstance(read_seal(journal_dir(tmp_path), 1, STREAM), RedactedSeal)
    with opened(tmp_path):
        pass
    assert changed(tmp_path, 2) == 1 and problems(tmp_path) == []
    path.write_bytes(path.read_bytes().replace(b"gone", b"here"))
    assert problems(tmp_path) == [(STREAM, 2)]


def test_what_does_not_become_what_is_wanted_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, 12, segment_bytes=2000)
    with pytest.raises(LogCorrupt, match="does not become"):
        redact(journal_dir(tmp_path), STREAM, 1, {2: hash_of(b"{}")}, lambda payload: NEW)
    assert problems(tmp_path) == [] and not list(journal_dir(tmp_path).glob("*.new"))


def test_an_open_segment_cannot_be_redacted(tmp_path: Path) -> None:
    write(tmp_path, 2)
    with pytest.raises(LogCorrupt, match="not sealed"):
        redact(journal_dir(tmp_path), STREAM, 1, {2: hash_of(NEW)}, lambda payload: NEW)


def test_a_reader_that_comes_back_finds_its_place_again(tmp_path: Path) -> None:
    write(tmp_path, 12, segment_bytes=2000)
    reader = JournalReader(tmp_path / "journal")

    async def rest() -> list[int]:
        return [stored.seq async for stored in reader.read(STREAM, after=4)]

    reader._places[STREAM] = place_of(tmp_path)
    tell(tmp_path, (2, hash_of(NEW)))
    assert changed(tmp_path, 2) == 1
    assert asyncio.run(rest()) == list(range(5, head_of(tmp_path) + 1))


def place_of(tmp_path: Path) -> Place:
    with closing(Tail(journal_dir(tmp_path), STREAM, 0)) as tail:
        tail.poll(4)
        assert tail.place
        return tail.place


def head_of(tmp_path: Path) -> int:
    return asyncio.run(JournalReader(tmp_path / "journal").head(STREAM))


def test_what_is_told_while_it_is_verified_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 12, segment_bytes=2000)
    first = segment_numbers(journal_dir(tmp_path))
    tell(tmp_path, (2, hash_of(NEW)))
    with opened(tmp_path) as journal:
        for n in range(9):
            journal.stage(f"more/{n}", "more", 1, b'"%b"' % (b"x" * 400))
            journal.flush()
    changed(tmp_path, 2)
    listed = first[:-1]
    monkeypatch.setattr(verify_module, "segment_numbers", lambda directory: listed)
    monkeypatch.setattr(verify_module, "seal_numbers", lambda directory: listed)
    assert problems(tmp_path) == []
