"""Tables in an S3-compatible store: rclone's server, a real one that checks signatures, over a directory."""

import random
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from tests.tables.s3 import Store, free_port, serving
from tests.tables.samples import (
    EVENTS,
    TABLES,
    Row,
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
from tests.tables.test_store import Crash

from interlock.errors import InterlockError, LocalError, TransientError
from interlock.tables import Damaged, Tables, open_tables
from interlock.testing.clock import ManualClock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """With one bucket, `bucket`."""
    with serving(tmp_path / "served", free_port()) as found:
        yield found


def test_as_a_list_of_rows_whenever_it_is_killed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch)
    chance, clock, rows, dying = random.Random(1), ManualClock(), dict[int, list[Row]](), [""]

    def reached(point: str) -> None:
        if point == dying[0] and chance.random() < 0.5:
            raise Crash

    def opened(cache: str) -> Tables:
        dying[0] = ""
        return Tables("s3://bucket/a/b", TABLES, options=store.options, cache=tmp_path / cache, clock=clock,
                      grace_s=5.0, reached=reached)  # fmt: skip

    tables = opened("cache0")
    for step in range(60):
        dying[0] = chance.choice(("", "written", "kept", "adopted"))
        clock.advance(10**9)
        try:
            if chance.random() < 0.6:
                rows[tables.through[0] + 1] = new = random_rows(chance, chance.choice((0, 1, 7, 60)))
                commit(tables, new, tables.through[0] + 1)
            else:
                tables.compact()
        except Crash:
            tables.close()
            tables = opened(f"cache{step % 2}")  # now and then on a machine that has no copies, or old ones
            rows = {seq: of for seq, of in rows.items() if seq <= tables.through[0]}
    every = [row for of in rows.values() for row in of]
    assert stored_events(tables) == expected_events(every) and len(every) > 100
    assert stored_sums(tables) == expected_sums(every)
    check_layout(tables)
    before = date(2026, 10, 31)
    old = [row for row in every if day_of(row.day) < before]
    archive = tmp_path / "archive-cache"
    assert tables.archive("events", before, "s3://bucket/old", cache=archive) == len(old)
    assert stored_events(tables) == expected_events(every) - expected_events(old)
    dying[0] = ""
    while tables.compact():
        pass
    clock.advance(10**10)
    tables.compact()
    named = {file.name for file in tables._state.manifest.files}
    there = {path.relative_to(store.bucket / "a/b").as_posix() for path in (store.bucket / "a/b").rglob("*.parquet")}
    assert there == named
    tables.close()
    kept = Tables("s3://bucket/old", [EVENTS], options=store.options, cache=tmp_path / "other-cache")
    assert stored_events(kept) == expected_events(old)
    kept.close()


def test_copies_are_bounded_checked_and_made_again(store: Store, tmp_path: Path) -> None:
    clock, cache = ManualClock(), tmp_path / "cache"
    clock.advance(10**9)
    tables = Tables("s3://bucket", TABLES, options=store.options, cache=cache, cache_bytes_max=20_000, clock=clock,
                    grace_s=5.0)  # fmt: skip
    rows = [random_rows(random.Random(seq), 100) for seq in range(7)]
    for seq, of in enumerate(rows, 1):
        commit(tables, of, seq)
        clock.advance(10**10)
        tables.files("sums")
    held = sum(path.stat().st_size for path in cache.rglob("*.parquet"))
    total = sum(file.bytes for file in tables._state.manifest.files)
    assert held < 30_000 < total
    assert stored_events(tables) == expected_events(row for of in rows for row in of)
    for path in cache.rglob("*.parquet"):
        path.write_bytes(b"x" * path.stat().st_size)
    assert stored_events(tables) == expected_events(row for of in rows for row in of)
    tables.close()


@pytest.mark.parametrize("how", ["cut", "changed", "missing"])
def test_a_damaged_object_is_named(store: Store, tmp_path: Path, how: str) -> None:
    tables = Tables("s3://bucket/p", TABLES, options=store.options, cache=tmp_path / "one")
    commit(tables, random_rows(random.Random(1), 50), 1)
    tables.close()
    [path] = (store.bucket / "p/events").rglob("*.parquet")
    whole = path.read_bytes()
    if how == "missing":
        path.unlink()
        store.process.send_signal(1)  # it forgets the directory that it holds in memory
    else:
        path.write_bytes(whole[:-1] if how == "cut" else bytes([whole[0] ^ 1]) + whole[1:])
    name = path.relative_to(store.bucket / "p").as_posix()
    with pytest.raises(Damaged, match=name):
        tables = Tables("s3://bucket/p", TABLES, options=store.options, cache=tmp_path / "two")
        try:
            tables.files("events")
        finally:
            tables.close()
    again = open_tables("s3://bucket/p", TABLES, anew=True, options=store.options, cache=tmp_path / "two")
    assert again.through == (0, "")
    again.close()


def test_an_error_holds_no_credential_and_changes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.tables.objects.RETRIES_MAX", 1)
    wrong = {**store.options, "secret_access_key": "wrong-secret-0123456789"}
    with pytest.raises(TransientError) as caught:
        Tables("s3://bucket", TABLES, options=wrong, cache=tmp_path / "a")
    assert caught.value.code == "view_unavailable" and "PermissionDenied" in caught.value.message
    tables = Tables("s3://bucket", TABLES, options=store.options, cache=tmp_path / "b")
    commit(tables, random_rows(random.Random(1), 5), 1)
    store.process.kill()
    store.process.wait()
    with pytest.raises(TransientError) as away:
        commit(tables, random_rows(random.Random(2), 5), 2)
    assert tables.through == (1, "c1") and list((tmp_path / "b/scratch").iterdir()) == []
    assert stored_events(tables) == expected_events(random_rows(random.Random(1), 5))  # from the copies
    tables.close()
    for error in (caught.value, away.value):
        assert error.__cause__ is None
        assert not re.search("secret|test-access|127.0.0.1", str(error))


@pytest.mark.parametrize(
    ("place", "options", "field"),
    [("s3://", {}, "place"), ("s3:///x", {}, "place"), ("s3://b", {"secret": "s"}, "secret"), ("s3://b", {}, "cache")],
)
def test_a_bad_place_is_refused(tmp_path: Path, place: str, options: dict[str, str], field: str) -> None:
    with pytest.raises(LocalError) as caught:
        Tables(place, TABLES, options=options, cache=None if field == "cache" else tmp_path)
    assert caught.value.field == field


def test_one_process_has_the_copies(tmp_path: Path, store: Store) -> None:
    tables = Tables("s3://bucket", TABLES, options=store.options, cache=tmp_path / "c")
    with pytest.raises(InterlockError) as caught:
        Tables("s3://bucket", TABLES, options=store.options, cache=tmp_path / "c")
    assert caught.value.code == "conflict"
    tables.close()
