"""Retention: rows before a day leave, exactly, and an archive takes each once."""

import random
import shutil
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

from interlock.errors import LocalError, TransientError
from interlock.tables import Ahead, Archive, Horizon, Tables, open_tables


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
    for place in (tmp_path / "a", tmp_path / "a/events", tmp_path):
        with pytest.raises(LocalError, match="where the tables stand"):
            tables.archive("events", date(2027, 1, 1), place)
    left = dict(tables.horizons)
    assert left["events"].before == day_of(FIRST_DAY + 6).isoformat() and left["events"].seq == 29
    tables.clear()
    commit(tables, rows, 29)
    with pytest.raises(Ahead, match="empty place"):  # it would hold the same rows again
        tables.archive("events", date(2027, 1, 1), tmp_path / "old")
    tables.close()


def test_tables_that_are_filled_again_without_what_left_go_on_with_their_archive(tmp_path: Path) -> None:
    """Also those that were deleted, whose files have the names of files that the archive has."""
    rows = {seq: random_rows(random.Random(seq), 60) for seq in (1, 2, 3)}
    horizons: dict[str, Horizon] = {}
    for round_ in range(3):
        if round_ == 2:
            shutil.rmtree(tmp_path / "a")
        tables = Tables(tmp_path / "a", TABLES)
        tables.clear(horizons)
        assert tables.horizons == horizons
        for seq in range(1, 4):
            last = FIRST_DAY + 2 * round_ if seq == 1 else 0
            commit(tables, [row for row in rows[seq] if row.day >= (last if horizons else 0)], seq)
            if seq == 1:
                tables.archive("events", day_of(FIRST_DAY + 2 * round_ + 2), tmp_path / "old")
        horizons = dict(tables.horizons)
        tables.close()
    assert archive_of(tmp_path / "old") == expected_events(row for row in rows[1] if row.day < FIRST_DAY + 6)


def test_an_archive_is_never_taken_for_tables(tmp_path: Path) -> None:
    tables = Tables(tmp_path / "a", TABLES)
    commit(tables, random_rows(random.Random(1), 60), 1)
    assert tables.archive("events", date(2027, 1, 1), tmp_path / "old") == 60
    tables.close()
    for opening in (Tables, open_tables):
        with pytest.raises(LocalError, match="an archive stands there"):
            opening(tmp_path / "old", TABLES)
    assert archive_of(tmp_path / "old")


def test_what_leaves_is_agreed_before_it_is_gone(tmp_path: Path) -> None:
    """Where that fails nothing is gone, and the archive has each row once when it is done again."""
    told: list[tuple[Horizon, int]] = []

    def no(horizon: Horizon, rows: int) -> None:
        told.append((horizon, rows))
        raise TransientError("no", code="log_unavailable")

    tables, rows = Tables(tmp_path / "a", TABLES), random_rows(random.Random(1), 60)
    commit(tables, rows, 1)
    before = day_of(FIRST_DAY + 4)
    for to in (None, Archive(str(tmp_path / "old"), {}, None)):
        with pytest.raises(TransientError):
            for _ in tables.leave("events", before, to=to, agreed=no):
                commit(tables, [], tables.through[0] + 1)
        assert stored_events(tables) == expected_events(rows) and not tables.horizons
    old = [row for row in rows if day_of(row.day) < before]
    assert [count for _, count in told] == [len(old), len(old)]
    tables.finish("events", told[-1][0])  # as after a crash between the two
    assert stored_events(tables) == expected_events(rows) - expected_events(old)
    assert tables.archive("events", before, tmp_path / "old") == 0
    assert archive_of(tmp_path / "old") == expected_events(old)
    tables.close()
