"""`verify` finds what was changed, removed or reordered, and names it."""

import asyncio
import itertools
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from tests.log.journals import STREAM, journal_dir, problems, write

from interlock.log.lines import frame, parse
from interlock.log.record import Record, chain_next, chain_start, head_json
from interlock.log.segments import read_seal, segment_numbers, write_seal
from interlock.log.sqlite import SqliteLog
from interlock.log.verify import Problem, verify
from interlock.testing.log_contract import record


def write_sqlite(data_dir: Path, *streams: str, count: int = 5) -> None:
    with closing(SqliteLog(data_dir / "log.sqlite")) as log:
        for stream in streams:
            asyncio.run(log.append(stream, [record(f"r{n}", b'{"text":"marked%d"}' % n) for n in range(1, count + 1)]))


def edit(data_dir: Path, sql: str) -> None:
    with closing(sqlite3.connect(data_dir / "log.sqlite", isolation_level=None)) as db:
        db.execute(sql)


def segment(data_dir: Path, number: int = 1) -> Path:
    return journal_dir(data_dir) / f"{number:08d}.seg"


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_what_was_written_verifies(tmp_path: Path) -> None:
    write(tmp_path, 12, segment_bytes=2000)
    write_sqlite(tmp_path, "config", "identity")
    seen: list[tuple[str, int]] = []
    reports = list(verify(tmp_path, progress=lambda stream, count: seen.append((stream, count))))
    assert [(r.stream, r.records, r.first, r.head, r.erased, r.torn_bytes, r.problems) for r in reports] == [
        ("config", 5, 1, 5, 0, 0, []),
        ("identity", 5, 1, 5, 0, 0, []),
        (STREAM, 13, 1, 13, 0, 0, []),
    ]
    assert seen == [("config", 5), ("identity", 5), (STREAM, 13)]
    last = lines_of(segment(tmp_path, segment_numbers(journal_dir(tmp_path))[-1]))[-1:]
    assert not last or reports[2].chain_hex == parse(last[0])[0].hex()
    assert list(verify(tmp_path / "nothing")) == []


def test_every_changed_byte_of_a_journal_is_found_and_named(tmp_path: Path) -> None:
    write(tmp_path, 2)
    good = segment(tmp_path).read_bytes()
    seqs = [seq for seq, line in enumerate(lines_of(segment(tmp_path)), 1) for _ in line]
    for at, seq in enumerate(seqs):
        for byte in {good[at] ^ 0x01, good[at] ^ 0x20, *b"\n\t"} - {good[at]}:
            segment(tmp_path).write_bytes(good[:at] + bytes([byte]) + good[at + 1 :])
            assert problems(tmp_path) == [(STREAM, seq)], (at, byte)


def test_every_changed_byte_of_a_seal_is_found(tmp_path: Path) -> None:
    write(tmp_path, 30, segment_bytes=2000)
    seal = read_seal(journal_dir(tmp_path), 2, STREAM)
    assert seal
    path = journal_dir(tmp_path) / "00000002.seal"
    good = path.read_bytes()
    for at, flip in itertools.product(range(len(good)), (0x01, 0x20)):
        path.write_bytes(good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :])
        assert problems(tmp_path) == [(STREAM, seal.first_seq)], (at, flip)


def test_removed_and_swapped_lines(tmp_path: Path) -> None:
    write(tmp_path, 5)
    lines = lines_of(segment(tmp_path))
    for k in range(len(lines) - 1):
        segment(tmp_path).write_bytes(b"".join(lines[:k] + lines[k + 1 :]))
        assert problems(tmp_path) == [(STREAM, k + 1)]
        swapped = [*lines[:k], lines[k + 1], lines[k], *lines[k + 2 :]]
        segment(tmp_path).write_bytes(b"".join(swapped))
        assert problems(tmp_path) == [(STREAM, k + 1)]
        segment(tmp_path).write_bytes(b"".join(lines[: k + 1] + lines[k:]))
        assert problems(tmp_path) == [(STREAM, k + 2)]


def test_a_forged_line_with_good_length_and_crc(tmp_path: Path) -> None:
    write(tmp_path, 5)
    lines = lines_of(segment(tmp_path))
    chain, head, payload = parse(lines[2])
    forged = [
        frame(chain, head, payload.replace(b"1", b"9")),
        frame(chain, head.replace(b"happened", b"hippened"), payload),
        frame(bytes(32), head, payload),
        frame(chain, b"{}", payload),
        frame(chain, head.replace(b'"at_ns":"7"', b'"at_ns":"x"'), payload),
    ]
    for line in forged:
        segment(tmp_path).write_bytes(b"".join([*lines[:2], line, *lines[3:]]))
        assert problems(tmp_path) == [(STREAM, 3)]


def test_the_end_of_a_sealed_segment(tmp_path: Path) -> None:
    """There a cut-off tail is found, because the seal says where the end was."""
    write(tmp_path, 30, segment_bytes=2000)
    directory = journal_dir(tmp_path)
    lines = lines_of(segment(tmp_path))
    segment(tmp_path).write_bytes(b"".join(lines[:-1]))
    assert problems(tmp_path) == [(STREAM, len(lines))]
    segment(tmp_path).write_bytes(b"".join(lines) + b"more")
    assert problems(tmp_path) == [(STREAM, len(lines) + 1)]
    (directory / "00000001.seal").unlink()
    assert problems(tmp_path) == [(STREAM, len(lines) + 1)]
    segment(tmp_path).write_bytes(b"".join(lines))
    assert problems(tmp_path) == []
    segment(tmp_path, 2).unlink()
    assert problems(tmp_path) == [(STREAM, len(lines) + 1)]


def test_a_journal_is_bound_to_its_stream(tmp_path: Path) -> None:
    write(tmp_path, 2)
    shutil.move(journal_dir(tmp_path), tmp_path / "journal" / "usage" / "1")
    assert problems(tmp_path) == [("usage/1", 1)]


def erase_in_journal(data_dir: Path) -> None:
    """What erasing a payload in a sealed segment amounts to: the line without it, and the seal renewed."""
    path, lines = segment(data_dir), lines_of(segment(data_dir))
    chain, head, _ = parse(lines[2])
    data = b"".join([*lines[:2], frame(chain, head, b""), *lines[3:]])
    path.write_bytes(data)
    seal = read_seal(journal_dir(data_dir), 1, STREAM)
    assert seal
    renewed = msgspec.structs.replace(seal, sha256=sha256(data).hexdigest(), bytes=len(data))
    write_seal(journal_dir(data_dir), 1, renewed, durable=False)


def test_an_erased_payload_verifies_and_nothing_else_passes_for_one(tmp_path: Path) -> None:
    write(tmp_path, 12, segment_bytes=2000)
    erase_in_journal(tmp_path)
    write_sqlite(tmp_path, "identity")
    edit(tmp_path, "UPDATE records SET payload = '' WHERE seq = 3")
    reports = list(verify(tmp_path))
    assert [(r.erased, r.problems) for r in reports] == [(1, []), (1, [])]
    edit(tmp_path, "UPDATE records SET payload = 'null' WHERE seq = 3")
    assert problems(tmp_path) == [("identity", 3)]


def test_a_schema_newer_than_known(tmp_path: Path) -> None:
    newer = Record(id="r", type="t", at_ns=1, payload=b"1", schema=2)
    head = head_json(1, newer)
    journal_dir(tmp_path).mkdir(parents=True)
    segment(tmp_path).write_bytes(frame(chain_next(chain_start(STREAM), head), head, b"1"))
    [report] = verify(tmp_path)
    assert report.problems == [Problem(STREAM, 1, "schema 2 is newer than this version reads (1)")]


def test_every_changed_byte_of_a_payload_in_the_database_file_is_found(tmp_path: Path) -> None:
    write_sqlite(tmp_path, "identity")
    path = tmp_path / "log.sqlite"
    good = path.read_bytes()
    start = good.index(b'{"text":"marked3"}')
    assert good.count(b'{"text":"marked3"}') == 1
    for at, flip in itertools.product(range(start, start + 18), (0x01, 0x20, 0x80, 0xFF)):
        path.write_bytes(good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :])
        assert problems(tmp_path) == [("identity", 3)], (at, flip)


@pytest.mark.parametrize(
    ("sql", "seq"),
    [
        ("UPDATE records SET head = replace(head, 'happened', 'hippened') WHERE seq = 2", 2),
        ("UPDATE records SET head = x'ff' WHERE seq = 2", 2),
        ("UPDATE records SET chain = upper(chain) WHERE seq = 2", 2),
        ("UPDATE records SET chain = 'zz' WHERE seq = 2", 2),
        ("UPDATE records SET id = 'other' WHERE seq = 2", 2),
        ("UPDATE records SET payload = x'00' WHERE seq = 5", 5),
        ("DELETE FROM records WHERE seq = 1", 1),
        ("DELETE FROM records WHERE seq = 4", 4),
        ("UPDATE records SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE seq IN (2, 3)", 1),
        ("UPDATE records SET seq = 9 WHERE seq = 2", 2),
    ],
)
def test_edits_in_sqlite(tmp_path: Path, sql: str, seq: int) -> None:
    """And the other stream's report is not kept from us."""
    write_sqlite(tmp_path, "identity")
    edit(tmp_path, sql)
    write_sqlite(tmp_path, "later")
    reports = {report.stream: report for report in verify(tmp_path)}
    assert [(p.stream, p.seq) for p in reports["identity"].problems] == [("identity", seq)]
    assert reports["identity"].records <= 4
    assert reports["later"].problems == []


def test_swapped_rows(tmp_path: Path) -> None:
    write_sqlite(tmp_path, "identity")
    for sql in ("seq = -2 WHERE seq = 2", "seq = 2 WHERE seq = 3", "seq = 3 WHERE seq = -2"):
        edit(tmp_path, f"UPDATE records SET {sql}")
    assert problems(tmp_path) == [("identity", 2)]


def test_a_damaged_database_file_is_named(tmp_path: Path) -> None:
    write_sqlite(tmp_path, "identity")
    path = tmp_path / "log.sqlite"
    path.write_bytes(b"?" * 4096 + path.read_bytes()[4096:])
    assert problems(tmp_path) == [("log.sqlite", 0)]


@pytest.mark.parametrize("keep_open", [True, False])
def test_a_running_directory_is_read_and_a_stopped_one_left_as_it_was(tmp_path: Path, keep_open: bool) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    asyncio.run(log.append("s", [record("r1")]))
    close: Callable[[], None] = log.close
    if not keep_open:
        close()
    before = sorted(path.name for path in tmp_path.iterdir())
    [report] = verify(tmp_path)
    assert (report.head, report.problems) == (1, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    close()
