"""Damaged files, full disks, and a manifest that may or may not stand: an error that names it, never a wrong answer."""

import random
import resource
import shutil
from pathlib import Path

import pytest
from tests.tables.samples import (
    EVENTS,
    SUMS,
    TABLES,
    commit,
    expected_events,
    random_rows,
    stored_events,
)

from interlock.errors import TransientError
from interlock.tables import Damaged, Tables, open_tables
from interlock.testing.clock import ManualClock


@pytest.mark.parametrize("how", ["cut", "changed", "missing"])
def test_a_damaged_file_is_named_and_never_answers(tmp_path: Path, how: str) -> None:
    tables = Tables(tmp_path, TABLES)
    commit(tables, random_rows(random.Random(1), 50), 1)
    [path] = [Path(path) for path in tables.files("events")]
    name, whole = path.relative_to(tmp_path).as_posix(), path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        at = len(whole) // 2
        path.write_bytes(whole[:-1] if how == "cut" else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(Damaged, match=name) as caught:  # while it is open
        tables.files("events")
    assert caught.value.code == "view_corrupt"
    assert tables.files("sums")
    tables.close()
    with pytest.raises(Damaged, match=name):  # and after a start
        tables = Tables(tmp_path, TABLES)
        try:
            tables.files("events")
        finally:
            tables.close()
    tables = open_tables(tmp_path, TABLES)
    if how == "missing":
        assert tables.through == (0, "")
    tables.clear()
    assert tables.through == (0, "") and tables.files("events") == []
    commit(tables, random_rows(random.Random(1), 50), 1)
    assert stored_events(tables) == expected_events(random_rows(random.Random(1), 50))
    tables.close()


@pytest.mark.parametrize("how", ["empty", "cut", "changed", "other columns"])
def test_a_damaged_manifest_is_begun_anew(tmp_path: Path, how: str) -> None:
    tables = Tables(tmp_path, TABLES)
    commit(tables, random_rows(random.Random(1), 5), 1)
    tables.close()
    path = tmp_path / "manifest.json"
    text = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": text[:-20]}.get(how, text.replace(b'"rows":5', b'"rows":6')))
    described = TABLES
    if how == "other columns":
        path.write_bytes(text)
        described = (EVENTS._replace(columns=(*EVENTS.columns, ("more", "VARCHAR"))), SUMS)
    with pytest.raises(Damaged, match=r"manifest\.json"):
        Tables(tmp_path, described)
    again = open_tables(tmp_path, described)
    assert again.through == (0, "") and again.files("events") == []
    assert list(tmp_path.rglob("*.parquet")) == []
    again.close()


def test_a_full_disk_fails_a_commit_whole_and_it_can_be_repeated(tmp_path: Path) -> None:
    """A real limit, of several sizes: what does not fit is the manifest, the second file, the first."""
    rows, more = random_rows(random.Random(1), 3000), random_rows(random.Random(2), 10)
    tables = Tables(tmp_path, TABLES)
    commit(tables, more, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (10, 400, 1100, 5_000, 30_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(TransientError) as caught:
                commit(tables, rows, 2)
            assert caught.value.code == "view_unavailable"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert tables.through == (1, "c1")
        assert stored_events(tables) == expected_events(more)
        assert list((tmp_path / "scratch").rglob("*.parquet")) == []
    commit(tables, rows, 2)
    assert stored_events(tables) == expected_events(more + rows)
    tables.close()


def test_a_full_disk_fails_a_merge_whole(tmp_path: Path) -> None:
    tables = Tables(tmp_path, TABLES)
    for seq in range(1, 9):
        commit(tables, random_rows(random.Random(seq), 300), seq)
    before = tables._state.manifest
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(TransientError):
            tables.compact()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert tables._state.manifest is before
    assert tables.compact()
    assert stored_events(tables) == expected_events(
        row for seq in range(1, 9) for row in random_rows(random.Random(seq), 300)
    )
    tables.close()


def test_a_manifest_that_may_or_may_not_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, and could not be synced: whichever of the two a power loss leaves, its files are there."""
    clock = ManualClock()
    tables = Tables(tmp_path / "a", TABLES, clock=clock, grace_s=5.0)
    commit(tables, random_rows(random.Random(1), 5), 1)
    old = (tmp_path / "a/manifest.json").read_bytes()

    def fail(directory: Path) -> None:
        if directory.name == "a":
            raise OSError(5, "not synced")

    with monkeypatch.context() as patch:
        patch.setattr("interlock.tables.place.sync_directory", lambda path: None)
        patch.setattr("interlock.tables.place.Directory.keep", _keep_unsynced)
        patch.setattr("interlock.tables.place.sync_directory", fail)
        with pytest.raises(TransientError):
            commit(tables, random_rows(random.Random(2), 5), 2)
        clock.advance(10**11)
        tables.compact()
    assert tables.through == (1, "c1")
    new = (tmp_path / "a/manifest.json").read_bytes()
    assert new != old
    for number, content in enumerate((old, new)):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(tmp_path / "a", copy)
        (copy / "manifest.json").write_bytes(content)
        again = Tables(copy, TABLES)
        assert len(again.files("events")) == again.through[0] == number + 1
        again.close()
    commit(tables, random_rows(random.Random(2), 5), 2)
    clock.advance(10**11)
    tables.compact()
    assert len(list((tmp_path / "a").rglob("*.parquet"))) == 4
    tables.close()


def _keep_unsynced(place: object, name: str, made: Path) -> None:
    path = place._root / name  # type: ignore[attr-defined]  # a Directory
    path.parent.mkdir(parents=True, exist_ok=True)
    made.replace(path)
