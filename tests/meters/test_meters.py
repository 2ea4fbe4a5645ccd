"""The meters of one data directory against a reckoning that shares nothing with them: over restarts, crashes at each
point of a writing, new versions while others go on, and every aggregation."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, getcontext
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.e2e.server import until
from tests.intake.events import Ledger, event

from interlock.clock import SystemClock
from interlock.errors import TransientError
from interlock.intake import Event, Origin
from interlock.log.sqlite import SqliteLog
from interlock.meters import Meter, Meters, Query, Registry, Version
from interlock.meters import service as service_module
from interlock.meters.definition import AGGREGATIONS

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


def text(value: object) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def reckoned(version: Version, query: Query, sent: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The same answer by plain means: events in lists, UTC windows by cutting the time's text."""
    meter = version.meter
    groups: defaultdict[tuple[Any, ...], list[tuple[str, int, Decimal]]] = defaultdict(list)
    minutes = {one["id"]: int(datetime.fromisoformat(one["time"][:16] + "Z").timestamp()) // 60 for one in sent}
    read = [one for one in sent if one["type"] == meter.event_type]
    read = [one for one in read if not meter.where or one["data"]["deep"]["kind"] in meter.where["$.deep.kind"]]
    named = {one["id"]: names_of(one) for one in read}
    inside = [
        one
        for one in read
        if all(named[one["id"]][name] in values for name, values in query.where.items())
        and (query.since is None or minutes[one["id"]] >= query.since)
        and (query.until is None or minutes[one["id"]] < query.until)
    ]
    if not inside:
        return []
    first, last = min(minutes[one["id"]] for one in inside), max(minutes[one["id"]] for one in inside)
    since = first if query.since is None else query.since
    end = last + 1 if query.until is None else query.until
    for place, one in enumerate(inside):
        names = named[one["id"]]
        start, stop = window(query.size, one["time"]) if query.size else (since, end)
        start = max(start, query.since) if query.since is not None else start
        stop = min(stop, query.until) if query.until is not None else stop
        key = (start, stop, *(names[name] for name in query.by))
        groups[key].append((one["time"].rstrip("Z"), place, Decimal(str(one["data"]["q"]))))
    rows = [(*key, aggregate(meter.aggregation, found)) for key, found in groups.items()]
    return sorted(rows, key=lambda row: tuple((cell is None, cell or 0) for cell in row[:-1]))


def names_of(one: dict[str, Any]) -> dict[str, str | None]:
    data = one["data"]
    return {"subject": one["subject"], "model": text(data.get("model")), "kind": data["deep"]["kind"]}


def window(size: str, time: str) -> tuple[int, int]:
    cut = {"minute": 16, "hour": 13, "day": 10, "month": 7}[size]
    whole = time[:cut] + "2026-01-01T00:00"[cut:]
    start = datetime.fromisoformat(whole + "Z")
    if size == "month":
        after = start.replace(month=start.month + 1)
        return int(start.timestamp()) // 60, int(after.timestamp()) // 60
    minutes = {"minute": 1, "hour": 60, "day": 1440}[size]
    return int(start.timestamp()) // 60, int(start.timestamp()) // 60 + minutes


def aggregate(kind: str, found: list[tuple[str, int, Decimal]]) -> Decimal:
    values = [value for _, _, value in found]
    getcontext().prec = 60
    match kind:
        case "sum":
            return sum(values, Decimal(0))
        case "count":
            return Decimal(len(values))
        case "unique_count":
            return Decimal(len({str(value) for value in values}))
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "avg":
            return (sum(values, Decimal(0)) / len(values)).quantize(Decimal("1e-12"))
    latest = max(time for time, _, _ in found)
    return next(value for time, _, value in reversed(found) if time == latest)


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
