"""The journal's line format."""

import subprocess
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.log.journals import STREAM, journal_dir, write

from interlock.errors import LocalError
from interlock.log.check import check_record
from interlock.log.journal import Journal
from interlock.log.lines import LINE_BYTES_MAX, frame, overruns, parse
from interlock.log.record import Record, chain_next, chain_start, head_json
from interlock.testing.clock import ManualClock

accepted_ids = st.text('ab"\\/ é\N{SNOWMAN}\U0001f600\u2028', min_size=1, max_size=20)
ids = st.text(min_size=1, max_size=60) | accepted_ids
types = st.from_regex(r"[a-z0-9_]{1,10}(\.[a-z0-9_]{1,10}){0,3}", fullmatch=True)
payloads = st.recursive(st.none() | st.integers(-(2**60), 2**60) | st.text(max_size=30), st.lists, max_leaves=5)


@example([('"', "t", 0, None), ("\\", "t", 0, None), ("é", "t", 0, None), ("r", "t", 0, "\t\n")])
@example([("\N{SNOWMAN}" * 86, "t", 0, None), ("x" * 257, "t", 0, None), ("\x7f", "t", 0, None), ("r", "T", 0, None)])
@given(st.lists(st.tuples(ids, types, st.integers(0, 2**63 - 1), payloads), min_size=1, max_size=5))
def test_heads_are_byte_equal_to_head_json(rows: list[tuple[str, str, int, object]]) -> None:
    """Staged heads are put together by hand; whatever is accepted must come out as `head_json` says."""
    with tempfile.TemporaryDirectory() as name:
        journal = Journal.open(Path(name), STREAM, clock=ManualClock(), reserve_bytes=0)
        accepted = []
        for id, type, at_ns, value in rows:
            record = Record(id=id, type=type, at_ns=at_ns, payload=msgspec.json.encode(value))
            try:
                check_record(record)
            except LocalError:
                with pytest.raises(LocalError):
                    journal.stage(id, type, at_ns, record.payload)
                continue
            journal.stage(id, type, at_ns, record.payload)
            accepted.append(record)
        journal.close()
        lines = (Path(name) / "00000001.seg").read_bytes().split(b"\n")
        assert lines.pop() == b""
        chain, opened, _ = parse(lines[0] + b"\n")
        assert chain == chain_next(chain_start(STREAM), opened)
        for seq, (line, record) in enumerate(zip(lines[1:], accepted, strict=True), 2):
            chain = chain_next(chain, head_json(seq, record))
            assert parse(line + b"\n") == (chain, head_json(seq, record), record.payload)


@given(st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=9).filter(lambda b: not set(b"\n\t") & {*b}))
def test_a_line_is_read_where_it_stands(before: bytes, after: bytes, payload: bytes) -> None:
    line = frame(b"\xab" * 32, b'{"seq":1}', payload)
    around, end = bytearray(before + line + after), len(before + line)
    assert parse(around, len(before), end) == (b"\xab" * 32, b'{"seq":1}', payload)
    for start, stop in ((len(before) + 1, end), (len(before), end - 1), (len(before), end + 1)):
        if 0 <= start < stop <= len(around):
            with pytest.raises(ValueError, match="line"):
                parse(around, start, stop)


@given(st.binary(max_size=200).filter(lambda b: b"\n" not in b and b"\t" not in b), st.data())
def test_a_line_with_any_byte_changed_is_not_a_line(payload: bytes, data: st.DataObject) -> None:
    line = frame(b"\xab" * 32, b'{"seq":1}', payload)
    at, byte = data.draw(st.integers(0, len(line) - 1)), data.draw(st.integers(0, 255))
    changed = line[:at] + bytes([byte]) + line[at + 1 :]
    if changed == line:
        assert parse(changed) == (b"\xab" * 32, b'{"seq":1}', payload)
    else:
        with pytest.raises(ValueError, match=r"line|chain"):
            parse(changed)


def test_the_longest_line_is_within_the_bound() -> None:
    record = Record(id="\\" * 256, type="t" * 64, at_ns=2**63 - 1, payload=b'"%b"' % (b"x" * ((1 << 20) - 2)))
    check_record(record)
    assert len(frame(b"0" * 32, head_json(2**63, record), record.payload)) < LINE_BYTES_MAX


def test_standard_tools_read_a_journal(tmp_path: Path) -> None:
    write(tmp_path, 3)
    segment = journal_dir(tmp_path) / "00000001.seg"
    cut = subprocess.run(["cut", "-f3", segment], capture_output=True, check=True).stdout
    assert [msgspec.json.decode(line) for line in cut.splitlines()][1:] == [{"n": 0}, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize("line", [frame(b"\xab" * 32, b"{}", b'"a\tb"'), frame(b"\xab" * 32, b"{}", b"1")[:-1] + b"x"])
def test_a_good_length_and_crc_do_not_make_a_line(line: bytes) -> None:
    with pytest.raises(ValueError, match="line"):
        parse(line)


@given(st.binary(max_size=9000))
@example(b"x" * 200)
def test_a_line_that_was_cut_short_is_never_taken_for_a_changed_one(payload: bytes) -> None:
    """Cut within its length too: `00000` and `000001` are numbers that even five or six bytes reach."""
    line = frame(b"\0" * 32, b"{}", payload)
    assert not [size for size in range(min(len(line), 300)) if overruns(line[:size])]
    assert not overruns(line[:-1]) and overruns(line[:-1] + b" ")
