"""Names leave the meters' tables when the fold passes the record that says so, also of versions that are behind."""

import asyncio
from collections import Counter
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.server import until
from tests.meters.bench import ORIGIN, Bench
from tests.meters.keeping import Kept
from tests.meters.test_retention import kept, policy

from interlock.clock import SystemClock
from interlock.intake.erasing import Erasure, Found, erasure_of, look, tell
from interlock.log.reader import JournalReader
from interlock.meters import Meters, Query, what_stays
from interlock.meters.folding import TABLES, Group
from interlock.tables import Archive, Tables

__all__ = ["kept"]
"""A fixture."""

METER = {"event_type": "call", "aggregation": "sum", "value": "$.q"}


def test_a_version_that_is_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    try:
        first = bench.define(slug="first", **METER)
        bench.send(
            [{"id": f"e{n}", "type": "call", "subject": ("anna", "otto")[n % 2], "data": {"q": 1}} for n in range(9)]
        )
        erasure = _told(bench)
        bench.meters.close()
        bench.meters = Meters(
            bench.root / "journal", bench.root / "tables", SystemClock(), names={erasure.id: erasure}.get
        )
        bench.meters.adopt(asyncio.run(bench.registry.refresh()))
        bench.meters.start()
        by = Query(by=("subject",))
        assert {row[2] for row in bench.ask(first, by)} == {"otto", *erasure.pseudonyms}
        head = bench.ledger.journal.seq
        until(lambda: bench.meters.written == head, "all of it is on the disk")
        with monkeypatch.context() as patched:
            patched.setattr(Group, "poll", lambda self, until=None: [])
            second = bench.define(slug="second", **METER)
            assert bench.meters.written == 0  # a version that holds names still, or will
        assert {row[2] for row in bench.ask(second, by)} == {"otto", *erasure.pseudonyms}
        until(lambda: bench.meters.written == head, "all of it is on the disk")
    finally:
        bench.close()


def _told(bench: Bench) -> Erasure:
    """The stream tells of an erasure whose segments are not written anew yet."""
    keep, groups = what_stays(bench.registry.catalog.all())
    erasure = erasure_of(ORIGIN, ["anna"], "case 1", keep, groups, 1, 0)
    found = Found()
    assert look(erasure, JournalReader(bench.root / "journal").scan("events/0"), found)
    tell(bench.ledger.committer, erasure, found, last=True)
    return erasure


def test_a_move_to_an_archive_that_is_under_way_comes_to_its_end_before(kept: Kept, tmp_path: Path) -> None:
    """Else rows that the archive has already would be moved there again, under another name."""
    version = kept.define(slug="calls", **METER)
    names, times = ("anna", "otto"), ("2026-01-05T10:00:00Z", "2026-03-28T10:00:00Z")
    made: list[dict[str, Any]] = [
        {
            "id": f"e{n}",
            "type": "call",
            "subject": names[n % 2],
            "time": times[n // 2 % 2],
            "data": {"q": 1},
        }
        for n in range(12)
    ]
    kept.send(made)
    until(kept.written, "all is written")
    kept.meters.close()
    with closing(Tables(tmp_path / "views" / "tables", TABLES)) as tables:
        moving = tables.leave("events", date(2026, 2, 1), to=Archive(str(kept.archive), {}, None))
        while not tables.moving or not list(kept.archive.rglob("*.parquet")):
            next(moving)
        moving.close()
    erasure = _told(kept)
    kept.meters = Meters(
        tmp_path / "journal", tmp_path / "views" / "tables", kept.calendar, kept.log, {erasure.id: erasure}.get
    )
    kept.meters.adopt(asyncio.run(kept.registry.refresh()))
    kept.meters.configure(policy(tmp_path, 40))
    kept.meters.start()
    by = Query(by=("subject",), since=(date(2026, 3, 1) - date(1970, 1, 1)).days * 24 * 60)
    assert {row[2] for row in kept.ask(version, by)} == {"otto", *erasure.pseudonyms}
    kept.looked()
    assert kept.rows(archive=True) == Counter(one["id"] for one in made if one["time"] < "2026-02")
    assert sum(kept.rows().values()) == 6 and sum(n for id, n in kept.rows().items() if id == "") == 3
