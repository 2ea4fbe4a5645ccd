"""The view's file: who opens it, and who deletes it."""

import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from tests.ledger.logs import log_of, opened, record, run

from interlock.ledger import Ledger, store

USAGE = log_of(**{"usage/0": [record(opened("req_1"))]})


def test_a_view_of_another_version_is_made_anew_by_one_of_those_who_start_at_once(tmp_path: Path) -> None:
    starting = Barrier(2)

    def start(path: Path) -> Ledger:
        starting.wait(20)
        return Ledger(path)

    with ThreadPoolExecutor(2) as threads:
        for number in range(5):
            path = tmp_path / str(number) / "ledger.sqlite"
            Ledger(path).close()
            with closing(sqlite3.connect(path)) as db:
                db.execute("PRAGMA user_version = 1")
            ledgers = list(threads.map(start, [path] * 2))
            assert run(ledgers[0].catch_up(USAGE, log_of())) == 1
            assert ledgers[1].positions() == {"usage/0": 1} and run(ledgers[1].catch_up(USAGE, log_of())) == 0
            for ledger in ledgers:
                ledger.close()


def test_nobody_opens_a_view_while_another_is_opened_or_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def watched(name: str, does: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def do(path: Path) -> Any:
            held = os.open(path.parent, os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(held)
            done.append(name)
            return does(path)

        return do

    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"no database at all, whatever it is")
    for name in ("_current", "_delete", "_connect"):
        monkeypatch.setattr(store, name, watched(name, getattr(store, name)))
    Ledger(path).close()
    assert done == ["_current", "_delete", "_connect"]
