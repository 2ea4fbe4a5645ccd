"""The meters of one data directory against a reckoning that shares nothing with them: over restarts, crashes at each
point of a writing, new versions while others go on, and every aggregation."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from tests.e2e.server import until
from tests.meters.bench import Bench, question, some
from tests.meters.reckoning import reckoned

from interlock.errors import LocalError, TransientError
from interlock.log import Record
from interlock.log.check import LogCorrupt
from interlock.meters import Meter, Query, Version
from interlock.meters import keeper as keeper_module
from interlock.meters import service as service_module
from interlock.meters.definition import AGGREGATIONS
from interlock.meters.rebuilding import make_again
from interlock.tables import Tables


@pytest.mark.parametrize("seed", range(6))
def test_every_answer_is_the_reckoned_one(bench: Bench, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(service_module, "ROWS_MAX", 40)  # so that most of it is in files
    monkeypatch.setattr(service_module, "POLL_S", 0.005)
    chance = Random(seed)
    versions: list[Version] = []
    for kind in AGGREGATIONS:
        where = {"$.deep.kind": ("x",)} if kind in ("sum", "latest") else {}
        value = "" if kind == "count" else "$.q"
        versions.append(
            bench.define(
                slug=kind,
                event_type="call",
                aggregation=kind,
                value=value,
                group_by={"model": "$.model", "kind": "$.deep.kind"},
                where=where,
                allow_negative=True,
            )
        )
    made = 0
    for round_ in range(6):
        count = chance.randrange(1, 60)
        bench.send(some(chance, count, made))
        made += count
        if chance.random() < 0.3:
            bench.meters.close()
            bench.open()
        for version in versions:
            query = question(chance)
            assert bench.ask(version, query) == reckoned(version, query, bench.sent), (round_, version, query)


def test_one_definition_that_cannot_be_read_stops_nobody(bench: Bench) -> None:
    """As one of an older version's rules: it is in the log, and the others go on."""
    for place in ('$["a\nb"]', """$['a"b']""", '$["a\0b"]', '$["a\\\\b"]'):
        with pytest.raises(LocalError):
            bench.define(slug="bad", event_type="call", aggregation="sum", value=place)
    bad = Version(
        tenant="acme",
        version=1,
        meter=Meter(slug="bad", event_type="call", aggregation="sum", value="""$['a"b']"""),
    )
    record = Record(id="bad", type="meter.defined", at_ns=1, payload=msgspec.json.encode(bad))
    asyncio.run(bench.log.append("meters", [record]))
    version = bench.define(slug="q", event_type="call", aggregation="count")
    bench.send(some(Random(1), 30, 0))
    assert bench.ask(version, Query()) == reckoned(version, Query(), bench.sent)
    bench.meters.close()
    bench.open()
    assert bench.ask(version, Query()) == reckoned(version, Query(), bench.sent)


def test_tables_that_are_ahead_of_the_log_are_found(bench: Bench) -> None:
    bench.define(slug="q", event_type="call", aggregation="count")
    bench.send(some(Random(1), 30, 0))
    with pytest.raises(LogCorrupt, match="missing"):
        make_again(
            bench.root / "journal", bench.root / "log.sqlite", bench.root / "again", [], 99, lambda stream, seq: None
        )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("point", ["written", "kept", "adopted"])
def test_a_death_while_rows_are_written_counts_each_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The thread stops there for good, as the process would; the next one reads what stands."""
    monkeypatch.setattr(service_module, "ROWS_MAX", 20)
    version = bench.define(slug="q", event_type="call", aggregation="sum", value="$.q", allow_negative=True)
    chance, made = Random(point), 0
    for _ in range(4):
        bench.meters.close()
        deaths = iter([None, point])

        def reached(at: str, deaths: Iterator[str | None] = deaths) -> None:
            if at == point and next(deaths, None):
                raise SystemExit  # only this thread ends

        monkeypatch.setattr(keeper_module, "open_tables", _with(reached))
        bench.open()
        for _ in range(5):
            bench.send(some(chance, 30, made))
            made += 30
        until(lambda: not bench.meters._thread.is_alive(), "it dies")
        monkeypatch.undo()
        monkeypatch.setattr(service_module, "ROWS_MAX", 20)
        bench.open()
        assert bench.ask(version, Query()) == reckoned(version, Query(), bench.sent)


def _with(reached: Any) -> Any:
    from interlock.tables import open_tables

    return lambda *args, **options: open_tables(*args, **options, reached=reached)


def test_a_new_version_is_folded_beside_and_after_a_restart_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "ROWS_MAX", 20)
    first = bench.define(slug="q", event_type="call", aggregation="sum", value="$.q", allow_negative=True)
    chance = Random(7)
    for n in range(10):
        bench.send(some(chance, 30, n * 30))
    assert bench.ask(first, Query()) == reckoned(first, Query(), bench.sent)
    second = bench.define(slug="q", event_type="call", aggregation="count")
    bench.meters.close()
    bench.open()
    bench.send(some(chance, 30, 300))
    for version in (first, second):
        query = Query(size="day", by=("subject",))
        assert bench.ask(version, query) == reckoned(version, query, bench.sent)


def test_tables_of_another_log_are_made_again(bench: Bench, tmp_path: Path) -> None:
    version = bench.define(slug="q", event_type="call", aggregation="count")
    bench.send(some(Random(1), 30, 0))
    bench.ask(version, Query())
    bench.meters.close()
    other = Bench(tmp_path / "other")
    other.meters.close()
    (tmp_path / "tables").rename(tmp_path / "other" / "tables-of-another")
    other.close()
    third = Bench(tmp_path / "third")
    third.meters.close()
    (tmp_path / "other" / "tables-of-another").rename(tmp_path / "third" / "moved")
    (tmp_path / "third" / "tables").rename(tmp_path / "third" / "own")
    (tmp_path / "third" / "moved").rename(tmp_path / "third" / "tables")
    version = third.define(slug="q", event_type="call", aggregation="count")
    third.open()
    third.send(some(Random(2), 10, 0))
    assert third.ask(version, Query()) == reckoned(version, Query(), third.sent)
    third.close()
    bench.open()


def test_a_damaged_file_is_never_a_wrong_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "ROWS_MAX", 20)
    version = bench.define(slug="q", event_type="call", aggregation="count")
    bench.send(some(Random(1), 200, 0))
    bench.ask(version, Query())
    bench.meters.close()
    files = sorted((bench.root / "tables").rglob("*.parquet"))
    assert files
    files[0].write_bytes(files[0].read_bytes()[:-10])
    bench.open()
    assert bench.ask(version, Query()) == reckoned(version, Query(), bench.sent)


def test_a_disk_without_room_for_a_merge_answers_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "ROWS_MAX", 20)

    def full(self: Tables, stopping: object) -> bool:
        raise TransientError("no space left", code="view_unavailable")

    monkeypatch.setattr(Tables, "compact", full)
    version = bench.define(slug="q", event_type="call", aggregation="count")
    for n in range(5):
        bench.send(some(Random(n), 50, n * 50))
        assert bench.ask(version, Query()) == reckoned(version, Query(), bench.sent)
        assert bench.meters.problem == ""


def test_a_full_disk_answers_from_memory_and_writes_when_there_is_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "ROWS_MAX", 20)
    monkeypatch.setattr(service_module, "AGAIN_S", 0.01)
    full = [True]

    def reached(at: str) -> None:
        if full[0] and at == "kept":
            raise TransientError("no space left", code="view_unavailable")

    bench.meters.close()
    monkeypatch.setattr(keeper_module, "open_tables", _with(reached))
    bench.open()
    version = bench.define(slug="q", event_type="call", aggregation="count")
    bench.send(some(Random(1), 200, 0))
    assert bench.ask(version, Query()) == reckoned(version, Query(), bench.sent)
    assert not list((bench.root / "tables").rglob("rollups/**/*.parquet"))
    full[0] = False
    until(lambda: list((bench.root / "tables").rglob("rollups/**/*.parquet")), "the rows are written down")
    assert bench.ask(version, Query()) == reckoned(version, Query(), bench.sent)
    assert bench.meters.problem == ""
