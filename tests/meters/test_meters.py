"""The meters of one data directory against a reckoning that shares nothing with them: over restarts, crashes at each
point of a writing, new versions while others go on, and every aggregation."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.e2e.server import until
from tests.intake.events import Ledger, correction, event
from tests.meters.reckoning import reckoned

from interlock.clock import SystemClock
from interlock.errors import TransientError
from interlock.intake import Event, Origin
from interlock.log.sqlite import SqliteLog
from interlock.meters import Meter, Meters, Query, Registry, Version
from interlock.meters import service as service_module
from interlock.meters.definition import AGGREGATIONS
from interlock.meters.rebuilding import make_again, standing

ORIGIN = Origin(tenant="acme", principal="meter", key_id="key_1", application="chat")
SIZES = (None, "minute", "hour", "day", "month")
VALUES = ("1", "2", "0.1", "0.000000000001", "999999999999999", "0", "-3", "1e2", "7.50")


class Bench:
    """A ledger, a catalog, and meters that come and go."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ledger = Ledger(root)
        self.log = SqliteLog(root / "log.sqlite")
        self.registry = Registry(self.log, SystemClock())
        self.sent: list[dict[str, Any]] = []
        self.open()

    def open(self) -> None:
        self.meters = Meters(self.root / "journal", self.root / "tables", SystemClock())
        self.meters.adopt(asyncio.run(self.registry.refresh()))
        self.meters.start()

    def define(self, **meter: Any) -> Version:
        version, _ = asyncio.run(self.registry.define("acme", Meter(**meter)))
        self.meters.adopt(self.registry.catalog)
        return version

    def send(self, events: Sequence[dict[str, Any]]) -> None:
        made = [event(**one, origin=ORIGIN) for one in events]
        assert all(isinstance(one, Event) for one in made)
        assert {one.result for one in self.ledger.commit(*made, origin=ORIGIN)} <= {"counted"}
        self.sent += events

    def ask(self, version: Version, query: Query) -> list[tuple[Any, ...]]:
        async def asked() -> Any:
            slug, number = version.meter.slug, version.version
            return await self.meters.ask("acme", slug, number, query, self.ledger.journal.seq)

        def once() -> Any:
            try:
                return asyncio.run(asked())
            except TransientError:
                return None

        found = until(once, "the version is folded").found.rows
        return [(row.window_start, row.window_end, *row.by.values(), Decimal(row.value)) for row in found]

    def close(self) -> None:
        self.meters.close()
        self.log.close()
        self.ledger.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def some(chance: Random, count: int, first: int) -> list[dict[str, Any]]:
    days = [f"2026-0{chance.randrange(1, 4)}-{chance.randrange(1, 29):02}" for _ in range(count)]
    clocks = [f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}" for _ in range(count)]
    times = [f"{day}T{at}{chance.choice(['', '.5', '.123456'])}Z" for day, at in zip(days, clocks, strict=True)]
    return [
        {
            "id": f"e{first + n}",
            "time": times[n],
            "subject": chance.choice([None, "c1", "c2", "c3"]),
            "type": chance.choice(["call", "call", "other"]),
            "data": {
                name: value
                for name, value in (
                    ("q", chance.choice([chance.choice(VALUES), chance.randrange(50)])),
                    ("model", chance.choice([None, "m1", "m2", 5, True])),
                    ("deep", {"kind": chance.choice(["x", "y"])}),
                )
                if value is not None
            },
        }
        for n in range(count)
    ]


def question(chance: Random) -> Query:
    def minute() -> int:
        return int(datetime(2026, chance.randrange(1, 5), chance.randrange(1, 28), tzinfo=UTC).timestamp()) // 60

    since, until_ = sorted([minute(), minute() + 60])
    names = ["subject", "model", "kind"]
    size: Any = chance.choice(SIZES)
    if size == "minute":  # of all time they would be too many
        until_ = min(until_, since + 30_000)
    return Query(
        since=since if chance.random() < 0.5 or size == "minute" else None,
        until=until_ if chance.random() < 0.5 or size == "minute" else None,
        size=size,
        by=tuple(chance.sample(names, chance.randrange(3))),
        where={"subject": ("c1", "c2")} if chance.random() < 0.3 else {},
    )


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


def test_what_is_taken_back_is_gone_from_every_aggregation(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it had never been counted, in the window where it was; its replacement as if it had been sent alone."""
    monkeypatch.setattr(service_module, "ROWS_MAX", 30)
    chance = Random(5)
    versions = [
        bench.define(
            slug=kind,
            event_type="call",
            aggregation=kind,
            value="" if kind == "count" else "$.q",
            group_by={"model": "$.model", "kind": "$.deep.kind"},
            allow_negative=True,
        )
        for kind in AGGREGATIONS
    ]
    bench.send(some(chance, 120, 0))
    for number, place in enumerate(chance.sample(range(120), 60)):
        original = event(**bench.sent[place], origin=ORIGIN)
        [other] = some(chance, 1, 1000 + number)
        replacement = event(**other, origin=ORIGIN) if number % 2 else None
        [outcome] = bench.ledger.correct(correction(original, replacement), origin=ORIGIN)
        assert outcome.result == "counted", outcome
        bench.sent[place] = {**bench.sent[place], "type": "gone"}
        if replacement:
            bench.sent.append(other)
        if number == 30:
            bench.meters.close()
            bench.open()
    for version in versions:
        for query in (Query(), Query(size="day", by=("model",)), *(question(chance) for _ in range(4))):
            assert bench.ask(version, query) == reckoned(version, query, bench.sent), (version, query)
    checked_against_the_log(bench)


def test_what_comes_after_its_period_was_closed_counts_now_and_names_it(bench: Bench) -> None:
    version = bench.define(slug="q", event_type="call", aggregation="sum", value="$.q", group_by={"model": "$.model"})
    now = datetime(2026, 11, 28, 10, tzinfo=UTC)  # the bench's clock

    def sent(id: str, time: str, q: int) -> dict[str, Any]:
        return {"id": id, "time": time, "subject": "c1", "type": "call", "data": {"q": q, "deep": {"kind": "x"}}}

    bench.send([sent("a", "2026-02-10T10:00:00Z", 5), sent("b", "2026-03-10T10:00:00Z", 7)])
    bench.ledger.close_period("2026-02", origin=ORIGIN)
    bench.send([sent("late", "2026-02-11T10:00:00Z", 11), sent("open", "2026-03-11T10:00:00Z", 13)])
    bench.ledger.correct(correction(event(**bench.sent[0], origin=ORIGIN)), origin=ORIGIN)
    assert bench.ledger.clock.now_ns() // 10**9 == int(now.timestamp())
    months = bench.ask(version, Query(size="month", by=("corrects",)))
    start = [int(datetime(2026, month, 1, tzinfo=UTC).timestamp()) // 60 for month in (2, 3, 4, 11, 12)]
    assert months == [
        (start[0], start[1], "", Decimal(5)),  # what was closed stays as it was
        (start[1], start[2], "", Decimal(20)),
        (start[3], start[4], "2026-02", Decimal(6)),  # 11 late, 5 taken back
    ]
    bench.meters.close()
    bench.open()  # the closing is read from the tables
    bench.send([sent("later", "2026-02-12T10:00:00Z", 100)])
    assert bench.ask(version, Query(size="month", by=("corrects",)))[2][-1] == Decimal(106)
    second = bench.define(slug="q", event_type="call", aggregation="count")  # folded again from the first record
    assert [row[2:] for row in bench.ask(second, Query(size="month", by=("corrects",)))] == [
        ("", Decimal(1)),
        ("", Decimal(2)),
        ("2026-02", Decimal(1)),
    ]
    checked_against_the_log(bench)


def checked_against_the_log(bench: Bench) -> None:
    """The tables that stand are, row for row, what the log makes of them; a row that is not is seen."""
    bench.meters.close()
    stands = standing(bench.root / "tables")
    assert stands is not None and stands.versions
    rows = list(stands.rows())
    again = make_again(
        bench.root / "journal",
        bench.root / "log.sqlite",
        bench.root / "again",
        stands.versions,
        stands.manifest.seq,
        lambda stream, seq: None,
    )
    assert list(again.rows()) == rows and len(rows) > 5
    bench.open()


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

        monkeypatch.setattr(service_module, "open_tables", _with(reached))
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
    monkeypatch.setattr(service_module, "open_tables", _with(reached))
    bench.open()
    version = bench.define(slug="q", event_type="call", aggregation="count")
    bench.send(some(Random(1), 200, 0))
    assert bench.ask(version, Query()) == reckoned(version, Query(), bench.sent)
    assert not list((bench.root / "tables").rglob("rollups/**/*.parquet"))
    full[0] = False
    until(lambda: list((bench.root / "tables").rglob("rollups/**/*.parquet")), "the rows are written down")
    assert bench.ask(version, Query()) == reckoned(version, Query(), bench.sent)
    assert bench.meters.problem == ""
