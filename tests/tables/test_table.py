"""Tables that cannot be kept, and rows that are not a table's, are refused by name; nothing is written."""

import random
from pathlib import Path

import pytest
from tests.tables.samples import (
    EVENTS,
    TABLES,
    random_rows,
)

from interlock.errors import LocalError
from interlock.tables import Columns, Table, Tables


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": ["abc"]}, "events"),
        ({"amount": ["1" + "0" * 27]}, "events"),
        ({"n": [1.5]}, "n"),
        ({"n": [1 << 63]}, "events"),
        ({"n": ["1"]}, "n"),
        ({"at": ["2026"]}, "at"),
        ({"note": ["\ud800"]}, "events"),
        ({"tenant": [None]}, "tenant"),
        ({"day": [None]}, "day"),
        ({"day": [-1]}, "day"),
        ({"day": [2_932_897]}, "day"),
        ({"note": []}, "events"),
        ({"other": [1]}, "events"),
    ],
)
def test_rows_that_are_not_the_tables_are_refused_and_nothing_is_written(
    tmp_path: Path, change: dict[str, list[object]], field: str
) -> None:
    tables = Tables(tmp_path, TABLES)
    [row] = random_rows(random.Random(1), 1)
    columns: dict[str, list[object]] = {name: [getattr(row, name)] for name, _ in EVENTS.columns}
    with pytest.raises(LocalError) as caught:
        tables.commit({"events": {**columns, **change}}, 1, "c")
    assert caught.value.field == field
    assert tables.through == (0, "") and list(tmp_path.rglob("*.parquet")) == []
    tables.commit({"events": columns}, 1, "c")
    with pytest.raises(LocalError, match="not after"):
        tables.commit({"events": columns}, 1, "c")
    with pytest.raises(LocalError, match="no such table"):
        tables.commit({"other": columns}, 2, "c")
    with pytest.raises(LocalError, match="no such table"):
        tables.files("other")
    tables.close()


def test_a_table_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    columns = (("tenant", "VARCHAR"), ("day", "DATE"))
    for table in (
        Table("Events", columns),
        Table("events", columns[:1]),
        Table("events", (*columns, ("day", "DATE"))),
        Table("events", (*columns, ('a" b', "DATE"))),
        Table("events", (*columns, ("a", "BLOB"))),
        Table("events", (*columns, ("a", "HUGEINT"))),
        Table("events", columns, ("a",)),
    ):
        with pytest.raises(LocalError):
            Tables(tmp_path, [table])


def test_a_sum_that_its_type_does_not_hold_is_refused_by_name(tmp_path: Path) -> None:
    tables = Tables(tmp_path, TABLES)
    for seq in range(1, 9):
        row: Columns = {"tenant": ["a"], "day": [1], "amount": ["1"], "n": [(1 << 63) - 1]}
        tables.commit({"sums": row}, seq, "c")
    with pytest.raises(LocalError) as caught:
        tables.compact()
    assert caught.value.field == "sums" and len(tables.files("sums")) == 8
    tables.close()
