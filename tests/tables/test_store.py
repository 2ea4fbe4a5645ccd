"""Tables against a plain list of rows: over commits, merges, restarts and crashes."""

import random
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import pytest
from tests.tables.samples import (
    FIRST_DAY,
    TABLES,
    TENANTS,
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

from interlock.errors import InterlockError
from interlock.tables import Tables, open_tables
from interlock.testing.clock import ManualClock

POINTS = ("written", "kept", "adopted")


class Crash(BaseException):
    """The process dies here: nothing that would be done after an error is done."""


class Ledger:
    """Tables that are killed now and then, and the rows that they must hold."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root, self.chance, self.clock = root, chance, ManualClock()
        self.rows: dict[int, list[Row]] = {}
        self.dropped: list[Row] = []
        self.seq = 0
        self.dying = ""
        self.tables = self.open()

    def open(self) -> Tables:
        return Tables(self.root, TABLES, clock=self.clock, grace_s=5.0, reached=self._reached)

    def _reached(self, point: str) -> None:
        if point == self.dying and self.chance.random() < 0.6:
            raise Crash

    def killed(self) -> None:
        """Begin again from what is on the disk: the log's tail is committed again."""
        self.dying = ""
        self.tables.close()
        self.tables = self.open()
        self.seq = self.tables.through[0]
        assert self.tables.through[1] == (f"c{self.seq}" if self.seq else "")
        self.rows = {seq: rows for seq, rows in self.rows.items() if seq <= self.seq}

    def step(self) -> None:
        self.dying = self.chance.choice(("", "", *POINTS))
        self.clock.advance(self.chance.choice((0, 10**9, 10**10)))
        try:
            if self.chance.random() < 0.6:
                tenants, days = self.chance.choice(((TENANTS, 9), (TENANTS[:2], 2)))  # also days of large tenants
                rows = random_rows(self.chance, self.chance.choice((0, 1, 7, 60)), tenants=tenants, days=days)
                self.rows[self.seq + 1] = rows  # stands if `through` says so
                commit(self.tables, rows, self.seq + 1)
                self.seq += 1
            else:
                self.tables.compact(lambda: self.chance.random() < 0.05)
        except Crash:
            self.killed()

    def check(self) -> None:
        rows = [row for of in self.rows.values() for row in of]
        assert stored_events(self.tables) == expected_events(rows)
        assert stored_sums(self.tables) == expected_sums(rows)
        check_layout(self.tables)


@pytest.mark.parametrize("seed", range(6))
def test_as_a_list_of_rows_whenever_it_is_killed(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch)
    ledger = Ledger(tmp_path, random.Random(seed))
    for _ in range(60):
        ledger.step()
    ledger.check()
    ledger.killed()
    while ledger.tables.compact():
        pass
    ledger.check()
    files = ledger.tables._state.manifest.files
    assert any(file.tenant for file in files) and any(file.part and not file.tenant for file in files)
    ledger.clock.advance(10**10)
    assert not ledger.tables.compact()
    named = {file.name for file in ledger.tables._state.manifest.files}
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet")} == named
    rows = [row for of in ledger.rows.values() for row in of]
    for tenant in TENANTS:
        first, last = day_of(FIRST_DAY + 2), day_of(FIRST_DAY + 5)
        mine = expected_events(r for r in rows if r.tenant == tenant and first <= day_of(r.day) <= last)
        found = stored_events(ledger.tables, tenant, first, last)
        assert not mine - found and not found - expected_events(rows)
    ledger.tables.close()


def test_a_question_reads_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch)
    tables = Tables(tmp_path, TABLES, grace_s=0)
    for seq in range(1, 30):
        commit(tables, random_rows(random.Random(seq), 100, tenants=("acme", "b")), seq)
        while tables.compact():
            pass
    every = tables.files("events")
    day = day_of(FIRST_DAY)
    assert len(tables.files("events", "acme", day, day)) < len(every) / 2
    assert tables.files("events", "zzz") == tables.files("events", None, date(2030, 1, 1)) == []
    assert (tmp_path / "events/tenant=acme" / f"day={day}").is_dir()
    tables.close()


@pytest.mark.parametrize(
    ("work", "point"),
    [
        *((work, point) for work in ("commit", "compact", "drop", "archive") for point in POINTS),
        ("archive", "archived"),
        ("archive", "archive_adopted"),
    ],
)
def test_a_process_killed_at_a_point_has_done_all_or_nothing(tmp_path: Path, work: str, point: str) -> None:
    """With `kill -9`, in a process of its own."""
    program = f"""
import os, random
from datetime import date
from pathlib import Path
from interlock.tables import Tables
from tests.tables.samples import TABLES, commit, random_rows
armed = []
def reached(point):
    if armed and point == {point!r}:
        os.kill(os.getpid(), 9)
tables = Tables(Path({str(tmp_path / "tables")!r}), TABLES, reached=reached)
for seq in range(1, 9):
    commit(tables, random_rows(random.Random(seq), 20), seq)
armed.append(1)
if {work!r} == "commit": commit(tables, random_rows(random.Random(9), 20), 9)
if {work!r} == "compact": tables.compact()
if {work!r} == "drop": tables.drop("events", date(2026, 11, 1))
if {work!r} == "archive": tables.archive("events", date(2026, 11, 1), Path({str(tmp_path / "old")!r}))
raise SystemExit("it lived")
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    tables = Tables(tmp_path / "tables", TABLES)
    seqs = 9 if work == "commit" and point == "adopted" else 8
    assert tables.through == (seqs, f"c{seqs}")
    rows = [row for seq in range(1, seqs + 1) for row in random_rows(random.Random(seq), 20)]
    assert stored_sums(tables) == expected_sums(rows)
    if work in ("drop", "archive"):
        whole = expected_events(rows)
        remaining = expected_events(row for row in rows if day_of(row.day) >= date(2026, 11, 1))
        assert not remaining - stored_events(tables) and not stored_events(tables) - whole
        if work == "archive":
            tables.archive("events", date(2026, 11, 1), tmp_path / "old")
            assert archive_of(tmp_path / "old") == whole - remaining
        else:
            tables.drop("events", date(2026, 11, 1))
        assert stored_events(tables) == remaining
    else:
        assert stored_events(tables) == expected_events(rows)
    tables.close()


def test_questions_go_on_while_files_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader keeps its list of files through many merges, and each list is one state of the tables."""
    small_parts(monkeypatch)
    tables, ended, found = Tables(tmp_path, TABLES), threading.Event(), []
    committed, most = [0], [30]

    def read() -> None:
        while not ended.is_set():
            least = committed[-1]
            rows = sum(stored_events(tables).values())
            if rows % 30 or not least <= rows <= most[-1]:
                found.append((least, rows))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for seq in range(1, 25):
        most.append(seq * 30)
        commit(tables, random_rows(random.Random(seq), 30), seq)
        committed.append(seq * 30)
        while tables.compact():
            pass
    ended.set()
    for reader in readers:
        reader.join()
    assert found == []
    tables.close()


def test_replaced_files_stay_for_the_grace(tmp_path: Path) -> None:
    clock = ManualClock()
    tables = Tables(tmp_path, TABLES, clock=clock, grace_s=5.0)
    for seq in range(1, 9):
        commit(tables, random_rows(random.Random(seq), 5), seq)
    held = tables.files("events")
    assert tables.compact() and tables.compact() and not tables.compact()
    clock.advance(5 * 10**9 - 1)
    assert not tables.compact() and all(Path(path).exists() for path in held)
    clock.advance(1)
    assert not tables.compact() and not any(Path(path).exists() for path in held)
    tables.close()


def test_one_process_has_them(tmp_path: Path) -> None:
    tables = Tables(tmp_path, TABLES)
    with pytest.raises(InterlockError) as caught:
        open_tables(tmp_path, TABLES)
    assert caught.value.code == "conflict"
    tables.close()
    Tables(tmp_path, TABLES).close()


def test_what_is_not_ours_is_let_be(tmp_path: Path) -> None:
    for name in ("mine.parquet", "events/mine.parquet", "events/shared/1-2.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    stranger = tmp_path / "events/shared/day=2026-11-01/1-8.3.parquet"
    stranger.parent.mkdir()
    stranger.write_bytes(b"of a merge that did not come to its end")
    Tables(tmp_path, TABLES).close()
    assert not stranger.exists() and len(list(tmp_path.rglob("*.parquet"))) == 3


def test_naming_them_loads_neither_duckdb_nor_numpy() -> None:
    program = "import sys, interlock.tables; print({'duckdb', 'numpy', 'obstore'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
