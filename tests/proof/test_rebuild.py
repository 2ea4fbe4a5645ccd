"""Views compared with what the log makes, changed ones found, and all thrown away."""

import asyncio
import fcntl
import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from tests.e2e.server import until
from tests.intake.events import Ledger as Intake
from tests.intake.events import event
from tests.ledger.logs import MINI, adopted, opened, record, refused, settled
from tests.log.journals import open_journal
from tests.proof.places import EVENTS, Place

from interlock.clock import SystemClock
from interlock.errors import LocalError
from interlock.intake import Origin, index
from interlock.intake.erasing import erasure_of
from interlock.intake.index import Index
from interlock.intake.records import known_of
from interlock.intake.residue import Keep
from interlock.intake.runs import Run
from interlock.ledger import Ledger
from interlock.log.reader import JournalReader
from interlock.log.sqlite import SqliteLog
from interlock.meters import Meters
from interlock.proof.rebuild import ViewReport, check, drop
from interlock.proof.views import VIEWS


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A ledger that stands before the end of its streams, and an index of several runs, merged ones among them."""
    place = Place(tmp_path / "data")
    use(place, 1, 40)
    with closing(SqliteLog(place.places.log)) as log:
        asyncio.run(log.append("config", [adopted("sha256:1", {"sonnet": MINI})]))
        with closing(Ledger(place.places.ledger)) as ledger:
            asyncio.run(ledger.catch_up(JournalReader(place.places.journal), log))
    use(place, 30, 60)  # not folded
    with closing(Intake(place.root, held_max=20, index=place.places.events_index)) as intake:
        for n in range(0, 200, 5):
            intake.commit(*[event(f"e{k}") for k in range(n, n + 5)], event("e0", data={"n": n}))
            if intake.index._merging:
                intake.index._merging.join()
    return place


def use(place: Place, first: int, end: int) -> None:
    journal = open_journal(place.places.journal / "usage" / "0")
    for n in range(first, end):
        for fact in (opened(f"r{n}"), settled(f"r{n}")) if n % 5 else (refused(f"r{n}"), opened(f"r{n}")):
            one = record(fact)
            journal.stage(one.id, one.type, one.at_ns, one.payload)
    journal.flush()
    journal.close()


def checked(place: Place) -> dict[str, ViewReport]:
    return {report.view: report for report in check(place.places)}


def test_views_are_what_the_log_makes_of_them(place: Place) -> None:
    before = sorted(place.root.rglob("*"))
    found = checked(place)
    assert {name: one.state for name, one in found.items()} == {
        "ledger": "equal",
        "events": "equal",
        "tables": "absent",
    }
    del found["tables"]  # tests/meters makes some
    assert found["ledger"].position == {"config": 1, "usage/0": 79} and found["ledger"].rows > 100
    assert 20 < found["events"].position[EVENTS] <= 81 and found["events"].rows > 150
    for one in found.values():
        assert (one.digest, one.rows) == (one.rebuilt_digest, one.rebuilt_rows) and len(one.digest) == 64
    assert sorted(place.root.rglob("*")) == before
    assert len(list(place.places.events_index.glob("*.run"))) > 1


def test_a_dump_does_not_know_how_the_files_came_to_be(place: Place, tmp_path: Path) -> None:
    """Runs cut elsewhere, and a ledger folded in other steps: the digests are the same."""
    before = checked(place)
    with closing(SqliteLog(place.places.log)) as log:
        place.places.ledger.unlink()
        with closing(Ledger(place.places.ledger)) as ledger:
            asyncio.run(ledger.catch_up(JournalReader(place.places.journal), log))
    after = checked(place)
    assert after["ledger"].state == "equal" and after["ledger"].digest != before["ledger"].digest  # folded further
    end, chain = before["events"].position[EVENTS], b""
    shutil.rmtree(place.places.events_index)
    with closing(Index(place.places.events_index, held_max=7)) as made:
        for stored in itertools.islice(JournalReader(place.places.journal).scan(EVENTS), end):
            chain = stored.chain
            made.add(known_of(stored), stored.seq, chain)
        made.settle(end, chain)
    assert checked(place)["events"].digest == before["events"].digest


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("UPDATE entries SET amount_nanousd = amount_nanousd + 1 WHERE request_id = 'r7'", '"r7"'),
        ("DELETE FROM entries WHERE request_id = 'r7'", '"r7"'),
        ("UPDATE records SET payload = '{}' WHERE request_id = 'r8'", '"r8"'),
        ("UPDATE cost SET nanousd = '0'", "cost"),
        ("INSERT INTO waiting VALUES ('x', 1)", "waiting"),
    ],
)
def test_a_changed_ledger_is_found(place: Place, sql: str, what: str) -> None:
    with closing(sqlite3.connect(place.places.ledger, isolation_level=None)) as db:
        db.execute(sql)
    found = checked(place)
    assert (found["ledger"].state, found["events"].state) == ("different", "equal")
    assert what in found["ledger"].problem and found["ledger"].digest != found["ledger"].rebuilt_digest


def test_a_changed_index_is_found(place: Place) -> None:
    [path, *_] = sorted(place.places.events_index.glob("*.run"))
    good = path.read_bytes()
    count = Run(path).count
    for column, what in ((2, "content"), (4, "record")):
        at = 4096 + 8 * count * column
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        found = checked(place)["events"]
        assert found.state == "different" and what in found.problem and "the log makes key" in found.problem
    path.write_bytes(good[:-1])
    assert checked(place)["events"].state == "unreadable"
    path.unlink()
    found = checked(place)["events"]
    assert found.state == "unreadable" and path.name in found.problem


def test_an_index_that_knows_too_little_is_found(place: Place) -> None:
    manifest = place.places.events_index / "index.json"
    text = manifest.read_text()
    runs = index.standing(place.places.events_index)[0].runs
    manifest.write_text(text.replace(f'"{runs[0]}",', ""))
    found = checked(place)["events"]
    assert found.state == "different" and found.rows < found.rebuilt_rows
    manifest.write_text(text.replace('"through_seq":', '"through_seq":1'))
    assert checked(place)["events"].state == "different"


def test_a_log_that_does_not_hold_rebuilds_nothing(place: Place) -> None:
    lines = place.lines("usage/0")
    place.put("usage/0", [*lines[:9], *lines[10:]])
    found = checked(place)
    assert found["ledger"].state == "unreadable" and "usage/0 seq 10" in found["ledger"].problem


def test_a_run_that_was_merged_while_it_was_looked_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest is read again if it changed meanwhile."""
    directory = place.places.events_index
    manifest = index._manifest(directory)
    older = index.Manifest(
        format=1, through_seq=manifest.through_seq, chain=manifest.chain, runs=("00009999.run", *manifest.runs)
    )
    answers: Iterator[index.Manifest] = iter([older, manifest, manifest, manifest])
    monkeypatch.setattr(index, "_manifest", lambda path: next(answers))
    assert index.standing(directory)[0] == manifest


def test_nothing_stands_yet(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.identity()
    assert {one.state for one in check(place.places)} == {"absent"}


def test_views_are_thrown_away_and_made_again(place: Place) -> None:
    assert drop(place.places) == [view.name for view in VIEWS] == ["ledger", "events", "tables"]
    assert not place.places.ledger.exists() and not place.places.events_index.exists()
    assert drop(place.places) == ["ledger", "events", "tables"]
    with closing(SqliteLog(place.places.log)) as log, closing(Ledger(place.places.ledger)) as ledger:
        asyncio.run(ledger.catch_up(JournalReader(place.places.journal), log))
    assert checked(place)["ledger"].position == {"config": 1, "usage/0": 140}


def test_beside_a_server_nothing_is_thrown_away(place: Place) -> None:
    fd = os.open(place.places.supervisor_lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(LocalError, match="a server runs on") as caught:
            drop(place.places)
        assert caught.value.code == "conflict" and place.places.ledger.exists()
    finally:
        os.close(fd)


def test_a_view_is_not_compared_while_an_erasure_runs(place: Place) -> None:
    with closing(Meters(place.places.journal, place.places.tables, SystemClock())) as meters:
        meters.start()
        until(lambda: meters.seq, "events are folded")
    assert checked(place)["tables"].state == "equal"
    origin = Origin(tenant="acme", principal="p", key_id="k")
    erasure = erasure_of(origin, ["anna"], "case 1", Keep(), {}, 1, 0)
    place.places.erasures.mkdir()
    (place.places.erasures / f"{erasure.id}.json").write_bytes(msgspec.json.encode(erasure))
    report = checked(place)["tables"]
    assert report.state == "unreadable" and f"erasure {erasure.id} is not done yet" in report.problem
