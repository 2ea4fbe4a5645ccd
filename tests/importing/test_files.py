"""Files of every format as people have them, whole and damaged: what is read, and where it says what is wrong."""

import gzip
import io
import os
import sys
import threading
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import LocalError
from interlock.importing.csvrows import ROW_BYTES_MAX
from interlock.importing.files import format_of, open_source
from interlock.importing.lines import LINE_BYTES_MAX
from interlock.importing.rows import Bad, Ready, Row, Source

EVENT = b'{"specversion":"1.0","id":"a1","data":{"n":0.10}}'


def all_of(columns: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    return columns, columns


def needing(wanted: str, data: str, columns: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    return list(wanted), list(data)


def opened(path: Path, text: bytes, **how: Any) -> Source:
    path.write_bytes(text)
    return open_source(str(path), all_of, **how)


def read(path: Path, text: bytes, **how: Any) -> list[Row | Ready | Bad]:
    source = opened(path, text, **how)
    try:
        return list(source.rows())
    finally:
        source.close()


def damaged(path: Path, text: bytes, **how: Any) -> str:
    """What is said; it names the file."""
    with pytest.raises(LocalError) as caught:
        read(path, text, **how)
    assert path.name in caught.value.message
    return caught.value.message


def table(path: Path, query: str) -> Path:
    """A Parquet file of a query."""
    with duckdb.connect() as db:
        db.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    return path


# lines of JSON


def test_lines_that_are_events_go_as_they_are(tmp_path: Path) -> None:
    found = read(tmp_path / "a.ndjson", b"\xef\xbb\xbf" + EVENT + b"\r\n\n  \n" + EVENT + b"\n" + b'{"n":0.10}')
    assert found == [Ready(1, EVENT), Ready(4, EVENT), Row(5, {"n": Decimal("0.10")})]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", "invalid_json"),
        (b"[]", "invalid_request"),
        (b'{"a":NaN}', "invalid_json"),
        (b'{"a":1,"a":2}', "duplicate_key"),
        (b'{"a":"\xff"}', "invalid_json"),
        (b"[" * 300, "invalid_json"),
        (b'{"a":"' + b"x" * LINE_BYTES_MAX + b'"}', "body_too_large"),
    ],
)
def test_a_bad_line_costs_itself_alone(tmp_path: Path, line: bytes, code: str) -> None:
    first, bad, last = read(tmp_path / "a.jsonl", b"\n".join([EVENT, line, EVENT]))
    assert (first, last) == (Ready(1, EVENT), Ready(3, EVENT))
    assert isinstance(bad, Bad) and (bad.place, bad.code, bad.field) == (2, code, "line")
    assert len(str(bad.row)) <= LINE_BYTES_MAX


# CSV


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    text = b'\xef\xbb\xbfid,"the note",n\r\n1,"a, ""b""\r\nc",0.10\r\n\r\n2,,\r\n'
    source = opened(tmp_path / "a.csv", text)
    assert (source.columns, source.text_cells, source.unit) == (["id", "the note", "n"], True, "line")
    note = 'a, "b"\r\nc'
    assert list(source.rows()) == [
        Row(2, {"id": "1", "the note": note, "n": "0.10"}),
        Row(5, {"id": "2", "the note": "", "n": ""}),
    ]
    source.close()


def test_many_columns(tmp_path: Path) -> None:
    source = opened(tmp_path / "a.csv", ",".join(map(str, range(80_000))).encode())
    assert len(source.columns or ()) == 80_000
    source.close()


def test_another_delimiter(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", b"a;b\n1,5;2\n", delimiter=";") == [Row(2, {"a": "1,5", "b": "2"})]


def test_a_ragged_row_costs_itself_alone(tmp_path: Path) -> None:
    short, long, good = read(tmp_path / "a.csv", b"a,b\n1\n1,2,3\n1,2\n")
    assert isinstance(short, Bad) and (short.place, short.message) == (2, "the row has 1 cells, the header 2")
    assert isinstance(long, Bad) and (long.place, long.message) == (3, "the row has 3 cells, the header 2")
    assert good == Row(4, {"a": "1", "b": "2"})


def test_a_cell_that_is_not_utf8_costs_its_row(tmp_path: Path) -> None:
    bad, good = read(tmp_path / "a.csv", b"a,b\n1,M\xfcller\n1,M\xc3\xbcller\n")
    assert isinstance(bad, Bad) and (bad.place, bad.field) == (2, "b") and "UTF-8" in bad.message
    assert bad.row == {"a": "1", "b": "M\\xfcller"}
    assert good == Row(3, {"a": "1", "b": "Müller"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b,a\n", "'a' twice"),
        (b"a,,b\n", "empty"),
        (b"a,\xff\n", "not UTF-8"),
        (b'a,b\n1,2\n3,"4\n5,6\n', ":3: the row cannot be read: unexpected end of data"),
        (b'a,b\n1,2\n3,"4"x\n5,6\n', ":3: the row cannot be read: ',' expected after '\"'"),
        (b"a,b\n1,2\r3,4\n", ":2: the row cannot be read"),
        (b'a,b\n1,"' + b"x\n" * (1 << 17), "field larger than field limit"),
        (b"a,b\n" + b"x" * (LINE_BYTES_MAX + 1) + b"\n", ":2: the row is longer"),
        (b"a,b\n" + b'"' + b'\n","' * (ROW_BYTES_MAX // 4 + 1), "the row is longer"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_csv_that_cannot_be_read(tmp_path: Path, text: bytes, said: str) -> None:
    assert said in damaged(tmp_path / "a.csv", text)


NAMES = st.lists(st.text("ab,\"'; \n", min_size=1), min_size=1, max_size=4, unique=True)


@given(NAMES, st.data())
def test_any_cells_come_back(tmp_path_factory: pytest.TempPathFactory, names: list[str], data: st.DataObject) -> None:
    """An oracle by another writer: quoted by hand, every cell is read as it was."""
    cell = st.text(st.characters(codec="utf-8"), max_size=20)
    rows = data.draw(st.lists(st.lists(cell, min_size=len(names), max_size=len(names)), max_size=5))

    def line(cells: Sequence[str]) -> bytes:
        return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells).encode() + b"\r\n"

    found = read(tmp_path_factory.mktemp("csv") / "a.csv", b"".join(map(line, [names, *rows])))
    assert [one.cells for one in found if isinstance(one, Row)] == [dict(zip(names, row, strict=True)) for row in rows]


# compressed, from a pipe, by name


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv"])
def test_gzip_is_seen_whatever_the_name(tmp_path: Path, name: str) -> None:
    text = gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n")
    assert [one.place for one in read(tmp_path / name, text)] == [2, 3]


def test_gzip_that_is_cut_short_or_damaged(tmp_path: Path) -> None:
    rows = b"".join(b'{"n":"%x"}\n' % hash(str(n)) for n in range(20_000))
    text = gzip.compress(rows)
    assert "cut short" in damaged(tmp_path / "a.ndjson.gz", text[: len(text) // 2])
    broken = bytearray(text)
    broken[len(text) // 2] ^= 0xFF
    assert "damaged" in damaged(tmp_path / "a.ndjson.gz", bytes(broken))


def test_a_pipe_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(b"a\n1\n"))
    writer.start()
    source = open_source(str(tmp_path / "pipe"), all_of, format="csv")
    assert (list(source.rows()), source.share()) == ([Row(2, {"a": "1"})], None)
    writer.join()
    source.close()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress(EVENT)))))
    source = open_source("-", all_of, format="ndjson")
    assert (source.name, list(source.rows())) == ("standard input", [Ready(1, EVENT)])
    source.close()
    assert not sys.stdin.closed


def test_formats_by_name() -> None:
    names = {"A.CSV": "csv", "b.csv.gz": "csv", "c.ndjson": "ndjson", "d.jsonl.gz": "ndjson", "e.parquet": "parquet"}
    assert {name: format_of(name) for name in names} == names
    for name in ("-", "a.txt", "gz"):
        with pytest.raises(LocalError, match="--format-in"):
            format_of(name)


def test_how_much_was_read(tmp_path: Path) -> None:
    source = opened(tmp_path / "a.csv", b"a\n" + b"1\n" * 100_000)
    rows = source.rows()
    assert (source.share() or 0) < 0.2
    for _ in range(50_000):
        next(rows)
    assert 0.4 < (source.share() or 0) < 0.6
    source.close()


# Parquet


def parquet(path: Path) -> Source:
    return open_source(str(path), all_of)


def test_parquet_values_are_exact(tmp_path: Path) -> None:
    table(tmp_path / "xy.parquet", "SELECT 1 decoy")
    path = table(
        tmp_path / "x*.parquet",  # a name that must not be taken for a pattern
        """SELECT 9223372036854775807 i, 0.10::DECIMAL(18,2) d,
        0.1::DOUBLE f, 'NaN'::DOUBLE nan, true b, 'x' s, NULL::INTEGER n, [1.5, NULL]::DECIMAL(3,1)[] l, {'a': 1} st,
        uuid '2aa98151-950b-4884-91be-7a1764ad2dd7' u, DATE '2026-01-05' AS "day" """,
    )
    source = parquet(path)
    assert source.columns == ["i", "d", "f", "nan", "b", "s", "n", "l", "st", "u", "day"]
    [row] = source.rows()
    assert isinstance(row, Row) and (row.place, source.unit, source.share()) == (1, "row", 1.0)
    nan = row.cells.pop("nan")
    assert nan != nan
    assert str(row.cells.pop("d")) == "0.10"
    assert row.cells == {
        "i": 2**63 - 1,
        "f": 0.1,
        "b": True,
        "s": "x",
        "n": None,
        "l": [Decimal("1.5"), None],
        "st": {"a": 1},
        "u": "2aa98151-950b-4884-91be-7a1764ad2dd7",
        "day": "2026-01-05",
    }
    source.close()


def test_parquet_times_say_whether_they_have_a_zone(tmp_path: Path) -> None:
    path = table(
        tmp_path / "a.parquet",
        """SELECT TIMESTAMPTZ '2026-01-05 10:00:00.5+01' zoned, TIMESTAMP '2026-01-05 10:00:00' plain,
        '2026-01-05 10:00:00.123456789'::TIMESTAMP_NS ns""",
    )
    source = parquet(path)
    [row] = source.rows()
    assert isinstance(row, Row) and list(row.cells.values()) == [
        "2026-01-05 09:00:00.5+00",
        "2026-01-05 10:00:00",
        "2026-01-05 10:00:00.123456789",
    ]
    source.close()


def test_a_column_that_no_event_can_hold_is_named_unless_it_is_left_out(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", "SELECT 1 a, 'x'::BLOB b, [TIMESTAMPTZ '2026-01-05 10:00:00+01'] l")
    for column in "bl":
        with pytest.raises(LocalError, match="--data") as caught:
            open_source(str(path), partial(needing, "abl", column))
        assert caught.value.field == column
    for wanted in ("abl", "a"):  # for an id of the whole row it is read all the same
        source = open_source(str(path), partial(needing, wanted, "a"))
        [row] = source.rows()
        assert isinstance(row, Row) and list(row.cells) == list(wanted) and row.cells["a"] == 1
        source.close()


def test_parquet_that_is_cut_short_or_damaged_or_none(tmp_path: Path) -> None:
    whole = table(tmp_path / "a.parquet", "SELECT i, md5(i::VARCHAR) s FROM range(100000) r(i)").read_bytes()
    for text in (whole[: len(whole) // 2], whole[:3], b"id,n\n1,2\n", gzip.compress(whole)):
        said = damaged(tmp_path / "b.parquet", text)
        assert "cannot be read" in said and "/proc" not in said
    assert "is empty" in damaged(tmp_path / "b.parquet", b"")
    broken = bytearray(whole)
    place = len(whole) * 9 // 10
    broken[place : place + 5000] = b"x" * 5000
    source = opened(tmp_path / "b.parquet", bytes(broken))
    read_rows = 0
    with pytest.raises(LocalError, match=r"b\.parquet cannot be read after row \d+"):
        for _ in source.rows():
            read_rows += 1
    assert 0 < read_rows < 100_000
    source.close()
    with pytest.raises(LocalError, match="standard input"):
        open_source("-", all_of, format="parquet")
    with pytest.raises(OSError):
        parquet(tmp_path / "gone.parquet")


def test_parquet_with_no_rows(tmp_path: Path) -> None:
    source = parquet(table(tmp_path / "a.parquet", "SELECT 1 a WHERE false"))
    assert (list(source.rows()), source.columns, source.share()) == ([], ["a"], None)
    source.close()
