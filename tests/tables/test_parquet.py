"""A column that has one value is written as any other: same types, same cells."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.tables.samples import EVENTS, FIRST_DAY

from interlock.tables.parquet import Writer

CELLS: dict[str, list[Any]] = {
    "tenant": ["acme", "it's", "", "new\nline", "a\x00b", "\\", "NULL", "漢"],
    "at": [None, 0, 2**52],
    "note": [None, "'; --", "a\x00b", "1"],
    "amount": [None, "0.000000000001", "-1.50", "1e3"],
    "n": [None, 0, -(2**63), 2**63 - 1],
    "huge": [None, "9" * 38],
    "ok": [None, True, False],
}
CASES = [(name, cell) for name, cells in CELLS.items() for cell in cells]


def written(directory: Path, columns: dict[str, list[Any]]) -> tuple[Any, Any]:
    writer = Writer(directory)
    made = writer.write(EVENTS, columns)
    writer.close()
    source = f"read_parquet('{made.path}')"
    with duckdb.connect() as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        return described, connection.execute(f"SELECT * FROM {source}").fetchall()


@pytest.mark.parametrize(("name", "cell"), CASES)
def test_a_column_of_one_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, cell: Any) -> None:
    columns: dict[str, list[Any]] = {one: [CELLS[one][-1]] * 3 for one in CELLS} | {"day": [FIRST_DAY] * 3}
    columns[name] = [cell] * 3
    alike = written(tmp_path, columns)
    assert [kind for _, kind, *_ in alike[0]] == [dict(EVENTS.columns)[column] for column, *_ in alike[0]]
    monkeypatch.setattr("interlock.tables.parquet._alike", lambda type, values: "")
    assert alike == written(tmp_path, columns)


def test_ends_that_are_equal_are_not_all(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {one: [CELLS[one][-1]] * 3 for one in CELLS} | {"day": [FIRST_DAY] * 3}
    columns["n"], columns["note"] = [5, 6, 5], ["a", None, "a"]
    described, rows = written(tmp_path, columns)
    places = {name: place for place, (name, *_) in enumerate(described)}
    assert sorted(row[places["n"]] for row in rows) == [5, 5, 6]
    assert [row[places["note"]] for row in rows].count(None) == 1
