"""What is taken back, put in its place or comes late, in the meters: against the plain reckoning, and the log."""

from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from tests.intake.events import correction, event
from tests.meters.bench import ORIGIN, Bench, question, some
from tests.meters.reckoning import reckoned

from interlock.intake import Event
from interlock.meters import Query
from interlock.meters import service as service_module
from interlock.meters.definition import AGGREGATIONS
from interlock.meters.rebuilding import make_again, standing


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


def test_what_names_no_time_is_taken_back_where_it_was_counted(bench: Bench) -> None:
    versions = [
        bench.define(slug=kind, event_type="call", aggregation=kind, value="" if kind == "count" else "$.q")
        for kind in ("count", "max", "latest")
    ]
    timeless = event("t", type="call", time=None, data={"q": 5}, origin=ORIGIN)
    bench.ledger.commit(timeless, event("u", type="call", time=None, data={"q": 3}, origin=ORIGIN), origin=ORIGIN)
    bench.ledger.clock.advance(10 * 86_400 * 10**9)
    [outcome] = bench.ledger.correct(correction(timeless), origin=ORIGIN)
    assert outcome.result == "counted"
    for version, value in zip(versions, (1, 3, 3), strict=True):
        assert [row[-1] for row in bench.ask(version, Query(size="day"))] == [value]
    checked_against_the_log(bench)


def test_latest_is_by_the_events_own_time_and_then_by_the_order_of_counting(bench: Bench) -> None:
    version = bench.define(slug="q", event_type="call", aggregation="latest", value="$.q")

    def sent(id: str, time: str, q: int) -> Event:
        return event(id, type="call", time=time, data={"q": q}, origin=ORIGIN)

    def latest() -> Decimal:
        value: Decimal = bench.ask(version, Query())[0][-1]
        return value

    third, fifth = sent("a", "2026-02-03T10:00:00Z", 50), sent("b", "2026-02-05T10:00:00Z", 100)
    bench.ledger.commit(third, fifth, origin=ORIGIN)
    bench.ledger.close_period("2026-02", origin=ORIGIN)
    bench.ledger.commit(sent("late", "2026-02-04T10:00:00Z", 999), origin=ORIGIN)
    assert latest() == 100  # what came later is not later
    bench.ledger.correct(correction(fifth), origin=ORIGIN)
    assert latest() == 999
    for values in ([10, 20, 30], [30, 20, 10], [7, 3, 9, 1]):
        tied = [sent(f"{values}-{n}", "2026-03-01T10:00:00Z", value) for n, value in enumerate(values)]
        bench.ledger.commit(*tied, origin=ORIGIN)
        assert latest() == values[-1]
        bench.ledger.correct(correction(tied[-1]), origin=ORIGIN)
        assert latest() == values[-2]
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
