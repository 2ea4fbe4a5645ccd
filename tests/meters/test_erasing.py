"""Names leave the meters' tables when the fold passes the record that says so, also of versions that are behind."""

import asyncio
from pathlib import Path

import pytest
from tests.e2e.server import until
from tests.meters.bench import ORIGIN, Bench

from interlock.clock import SystemClock
from interlock.intake.erasing import Erasure, Found, erasure_of, look, tell
from interlock.log.reader import JournalReader
from interlock.meters import Meters, Query, what_stays
from interlock.meters.folding import Group

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
