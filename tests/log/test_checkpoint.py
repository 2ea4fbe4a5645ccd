"""Checkpoints of folds."""

import os
from pathlib import Path

import pytest

from interlock.errors import LocalError, LogUnavailable
from interlock.log.checkpoint import Checkpoint, Checkpoints


def test_the_last_one_saved_is_loaded(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "new")
    assert checkpoints.load("ledger") is None
    for n in range(3):
        checkpoints.save("ledger", {"usage/0": n, "config": 7}, b"state\n\x00" * n)
        expected = Checkpoint(name="ledger", positions={"usage/0": n, "config": 7}, state=b"state\n\x00" * n)
        assert checkpoints.load("ledger") == expected
    assert checkpoints.load("other") is None


def test_every_damaged_byte_is_seen_and_the_older_one_taken(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("ledger", {"usage/0": 1}, b"one")
    checkpoints.save("ledger", {"usage/0": 2}, b"two")
    path = tmp_path / "ledger.checkpoint"
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        loaded = checkpoints.load("ledger")
        assert loaded
        assert loaded.state == b"one"
        path.write_bytes(good[:at])
        assert checkpoints.load("ledger") == loaded
    checkpoints.save("ledger", {"usage/0": 3}, b"three")  # over a damaged one: the good previous one is kept
    path.write_bytes(b"")
    assert checkpoints.load("ledger") == loaded
    (tmp_path / "ledger.previous").unlink()
    assert checkpoints.load("ledger") is None


def test_a_crash_between_the_renames(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("ledger", {}, b"one")
    (tmp_path / "ledger.checkpoint").replace(tmp_path / "ledger.previous")
    loaded = checkpoints.load("ledger")
    assert loaded
    assert loaded.state == b"one"


def test_one_name_does_not_pass_for_another(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("a", {}, b"state")
    (tmp_path / "a.checkpoint").rename(tmp_path / "b.checkpoint")
    assert checkpoints.load("b") is None
    for name in ("", "../a", "A", "a.b", "x" * 65):
        with pytest.raises(LocalError):
            checkpoints.load(name)


def test_what_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("a", {}, b"one")

    def fails(fd: int) -> None:
        raise OSError(5, "injected")

    with monkeypatch.context() as patch, pytest.raises(LogUnavailable):
        patch.setattr(os, "fsync", fails)
        checkpoints.save("a", {}, b"two")
    loaded = checkpoints.load("a")
    assert loaded
    assert loaded.state == b"one"
