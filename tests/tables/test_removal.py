"""Retention: rows before a day leave, exactly, and an archive takes each once."""

import random
from datetime import date
from pathlib import Path

import pytest
from tests.tables.samples import (
    FIRST_DAY,
    TABLES,
    Row,
    archive_of,
    check_layout,
    commit,
    day_of,
    expected_events,
    expected_sums,
    random_rows,
    small_parts,
    stored_events,
    stored_sums,
)

from interlock.errors import LocalError
from interlock.tables import Tables


@pytest.mark.parametrize("tenant", [None, "acme"])
def test_rows_before_a_day_are_removed_exactly(
    tmp_path: Path, tenant: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch)
    tables, rows = Tables(tmp_path, TABLES), list[Row]()
    for seq in range(1, 30):
        rows += (new := random_rows(random.Random(seq), 60))
        commit(tables, new, seq)
        while tables.compact():
            pass
    before = date(2026, 10, 31)
    going = [row for row in rows if day_of(row.day) < before and tenant in (None, row.tenant)]
    assert tables.drop("events", before, tenant) == len(going) > 0
    assert tables.drop("events", before, tenant) == 0
    assert stored_events(tables) == expected_events(rows) - expected_events(going)
    assert stored_sums(tables) == expected_sums(rows)
    check_layout(tables)
    tables.close()


def test_an_archive_takes_each_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch)
    tables, rows = Tables(tmp_path / "a", TABLES), list[Row]()
    for seq in range(1, 30):
        rows += (new := random_rows(random.Random(seq), 60))
        commit(tables, new, seq)
        tables.compact()
        if seq in (9, 20):
            tables.archive("events", day_of(FIRST_DAY + seq // 5), tmp_path / "old")
    assert tables.archive("events", day_of(FIRST_DAY + 6), tmp_path / "old") > 0
    old = [row for row in rows if row.day < FIRST_DAY + 6]
    assert archive_of(tmp_path / "old") == expected_events(old)
    assert stored_events(tables) == expected_events(rows) - expected_events(old)
    assert stored_sums(tables) == expected_sums(rows)
    tables.clear()
    with pytest.raises(LocalError, match="empty place"):  # it would hold the same rows again
        tables.archive("events", date(2027, 1, 1), tmp_path / "old")
    with pytest.raises(LocalError, match="where they stand"):
        tables.archive("events", date(2027, 1, 1), tmp_path / "a")
    tables.close()
