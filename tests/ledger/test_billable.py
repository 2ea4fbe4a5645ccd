"""What is billed is what stood at the cut: later records, and later adjustments, change nothing of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.ledger.logs import MINI, SONNET, RepeatingLog, adopted, log_of, opened, record, run, settled

from interlock.errors import LocalError
from interlock.ledger import MEASURES, Adjusted, Billable, Ledger, Question
from interlock.log import Record

CONFIG = log_of(config=[adopted("sha256:1", {"sonnet": MINI})])
ALL: dict[str, Any] = {"tenant": "acme", "since_ns": 0, "until_ns": 10_000}


def adjustment(seq: int, **fields: Any) -> Record:
    plain: dict[str, Any] = {
        "request_id": "req_1",
        "attempt": 1,
        "statement": "sta_1",
        "row": "2026-11",
        "reason": "lost",
        "period_start_ns": 1_000,
        "period_end_ns": 2_000,
        "usage": {"input": 20, "output": 5},
    }
    payload = msgspec.json.encode(Adjusted(**plain | fields))
    return Record(id=f"adj/{seq}", type="usage.adjusted", at_ns=5_000 + seq, payload=payload)


def both(config: RepeatingLog, *adjustments: Record) -> RepeatingLog:
    """The log of policies with adjustments beside them."""
    log = RepeatingLog()
    log.rows = dict(config.rows)
    log.put("adjustments", *adjustments)
    return log


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = Ledger(tmp_path / "ledger.sqlite")
    yield found
    found.close()


def fold(ledger: Ledger, attempts: int, *adjustments: Record, open: bool = False) -> None:
    events = [
        event for n in range(1, attempts + 1) for event in (record(opened(f"req_{n}"), n), record(settled(f"req_{n}")))
    ]
    if open:
        events.append(record(opened("req_9"), 9))
    run(ledger.catch_up(log_of(usage_0=events), both(CONFIG, *adjustments)))


def ask(ledger: Ledger, measure: str, cut: dict[str, int], **fields: Any) -> list[Billable]:
    with ledger.billable(Question(measure=measure, cut=cut, **ALL | fields)) as rows:
        return list(rows)


def quantities(ledger: Ledger, measure: str, cut: dict[str, int], **fields: Any) -> dict[str, int]:
    return {row.id: row.quantity for row in ask(ledger, measure, cut, **fields)}


def test_an_attempt_counts_once_it_is_settled_within_the_cut(ledger: Ledger) -> None:
    fold(ledger, 2, open=True)
    assert quantities(ledger, "input", {"usage/0": 4}) == {"req_1/1": 10, "req_2/1": 10}
    assert quantities(ledger, "input", {"usage/0": 3}) == {"req_1/1": 10}
    assert quantities(ledger, "input", {}) == {}
    assert quantities(ledger, "tokens", {"usage/0": 2}) == {"req_1/1": 15}
    assert ledger.open_attempts(Question(measure="input", **ALL)) == 1


def test_an_adjusted_attempt_is_what_it_was_at_the_cut(ledger: Ledger) -> None:
    fold(ledger, 2)
    before = {"usage/0": 4}
    earlier = ask(ledger, "output", before), ask(ledger, "cost", before, by=("source",))
    fold(ledger, 2, adjustment(1, usage={"input": 20, "output": 50}), adjustment(2, usage={"input": 20, "output": 7}))
    assert (ask(ledger, "output", before), ask(ledger, "cost", before, by=("source",))) == earlier
    assert quantities(ledger, "output", before | {"adjustments": 1}) == {"req_1/1": 50, "req_2/1": 5}
    assert quantities(ledger, "output", before | {"adjustments": 2}) == {"req_1/1": 7, "req_2/1": 5}
    billed = ask(ledger, "cost", before | {"adjustments": 2}, by=("source",))
    assert [row.group for row in billed] == [("billed",), ("reported",)]
    assert quantities(ledger, "output", before | {"adjustments": 2}, where={"source": ("billed",)}) == {"req_1/1": 7}
    assert quantities(ledger, "output", before, where={"source": ("billed",)}) == {}


def test_an_adjustment_of_its_own_counts_from_its_record_on(ledger: Ledger) -> None:
    own = {"request_id": "adj_1", "tenant": "acme", "deployment": "sonnet", "provider": "anthropic", "model": "m"}
    fold(ledger, 1, adjustment(1, **own, usage={"output": -3}, amount_nanousd=-40))
    settled_only, whole = {"usage/0": 2}, {"usage/0": 2, "adjustments": 1}
    assert quantities(ledger, "output", settled_only) == {"req_1/1": 5}
    assert quantities(ledger, "output", whole) == {"adj_1/1": -3, "req_1/1": 5}
    assert quantities(ledger, "cost", whole)["adj_1/1"] == -40
    assert quantities(ledger, "attempts", whole) == quantities(ledger, "requests", whole) == {"req_1/1": 1}
    assert quantities(ledger, "output", whole, tenant="bolt") == {}
    assert quantities(ledger, "output", whole, until_ns=1_000) == {"req_1/1": 5}  # it is of its period's beginning


def test_what_cannot_be_asked_is_named(ledger: Ledger) -> None:
    for fields, field in (
        ({"measure": "outptu"}, "usage"),
        ({"measure": "output", "by": ("modle",)}, "by"),
        ({"measure": "output", "by": ("model", "model")}, "by"),
        ({"measure": "output", "where": {"model": ()}}, "where"),
    ):
        with pytest.raises(LocalError) as caught, ledger.billable(Question(**ALL | fields)) as rows:
            list(rows)
        assert caught.value.field == field


class World:
    """Streams that grow, and a view of them."""

    def __init__(self, directory: Path) -> None:
        self.usage, self.config = (
            RepeatingLog(),
            log_of(config=[adopted("sha256:1", {"sonnet": SONNET, "mini": MINI, "secret": None})]),
        )
        self.ledger = Ledger(directory / "ledger.sqlite")

    def call(self, n: int, stream: int = 0, at_ns: int = 1_000, settle: bool = True, **fields: Any) -> None:
        self.usage.put(f"usage/{stream}", record(opened(f"req_{n:032}", **fields), at_ns))
        if settle:
            self.settle(n, stream)

    def settle(self, n: int, stream: int = 0, outcome: str = "completed") -> None:
        event = settled(f"req_{n:032}", usage={"input": 10, "output": n}, outcome=outcome)
        self.usage.put(f"usage/{stream}", record(event))

    @property
    def cut(self) -> dict[str, int]:
        run(self.ledger.catch_up(self.usage, self.config))
        return self.ledger.positions()

    def asked(self, measure: str, cut: dict[str, int], **more: Any) -> list[Billable]:
        run(self.ledger.catch_up(self.usage, self.config))
        question = Question(measure=measure, cut=cut, **ALL | more)
        with self.ledger.billable(question) as rows:
            return list(rows)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_it_is_what_usage_says(world: World) -> None:
    for n in range(1, 30):
        world.call(n, n % 3, tenant=("acme", "bolt")[n % 5 == 0], deployment=("sonnet", "mini")[n % 2])
    world.call(40, settle=False)
    cut = world.cut
    [usage] = world.ledger.usage(tenant="acme")
    for measure in ("input", "output", "cache_read", "cache_write", "reasoning"):
        assert sum(one.quantity for one in world.asked(measure, cut)) == getattr(usage, measure)
    assert sum(one.quantity for one in world.asked("cost", cut)) == usage.amount_nanousd
    assert len(world.asked("attempts", cut)) == usage.attempts - usage.open
    by = {row.dimensions["deployment"]: row.output for row in world.ledger.usage(["deployment"], tenant="acme")}
    found: dict[str, int] = {}
    for one in world.asked("output", cut, by=("deployment",)):
        found[one.group[0]] = found.get(one.group[0], 0) + one.quantity
    assert found == by
    mine = world.asked("output", cut, where={"deployment": ("mini",)})
    assert sum(one.quantity for one in mine) == by["mini"]
    ids = [one.id for one in world.asked("output", cut)]
    assert ids == sorted(ids, key=str.encode) and len(set(ids)) == len(ids)


def test_what_comes_later_is_not_in_an_earlier_cut(world: World) -> None:
    for n in range(1, 5):
        world.call(n, n % 2)
    world.call(9, settle=False)
    cut = world.cut
    before = {measure: world.asked(measure, cut) for measure in MEASURES}
    assert {one.id for one in before["output"]} == {f"req_{n:032}/1" for n in range(1, 5)}
    world.settle(9)
    world.call(6, 1)
    world.call(7, 7)  # a stream that was not there
    world.config.put("adjustments", adjustment(1, request_id=f"req_{1:032}", usage={"input": 10, "output": 100}))
    world.config.put(
        "adjustments", adjustment(2, request_id="adj_1", usage={"output": 5}, tenant="acme", amount_nanousd=77)
    )
    assert {measure: world.asked(measure, cut) for measure in MEASURES} == before
    now = {measure: sum(one.quantity for one in world.asked(measure, world.cut)) for measure in MEASURES}
    [usage] = world.ledger.usage(tenant="acme")
    assert now["output"] == usage.output == 100 + 2 + 3 + 4 + 9 + 6 + 7 + 5
    assert now["cost"] == usage.amount_nanousd and now["attempts"] == 7
    assert any(one.id == "adj_1/1" and one.quantity == 77 for one in world.asked("cost", world.cut))


def test_attempts_above_nine_are_in_order_of_their_ids(world: World) -> None:
    for attempt in (1, 2, 10, 11):
        world.usage.put("usage/0", record(opened("req_a", attempt)), record(settled("req_a", attempt)))
    assert [one.id for one in world.asked("output", world.cut)] == ["req_a/1", "req_a/10", "req_a/11", "req_a/2"]


def test_measures_differ(world: World) -> None:
    world.call(1)
    world.call(2, settle=False)
    world.settle(2, outcome="failed")
    world.call(3, deployment="secret")
    assert [one.quantity for one in world.asked("requests", world.cut)] == [1, 1]
    assert len(world.asked("attempts", world.cut)) == 3
    assert [(one.quantity, one.unpriced) for one in world.asked("cost", world.cut)][-1] == (0, True)
    question = Question(measure="output", **ALL)
    assert world.ledger.open_attempts(question) == 0


def test_what_was_recorded_since(world: World) -> None:
    world.call(1, at_ns=500)
    assert world.cut
    assert world.ledger.changed("acme", 0, 1_000, 1_000)  # settled at 1,000
    assert not world.ledger.changed("acme", 0, 1_000, 1_001)
    assert not world.ledger.changed("acme", 501, 1_000, 0) and not world.ledger.changed("bolt", 0, 1_000, 0)
    world.config.put("adjustments", adjustment(1, request_id=f"req_{1:032}"))
    assert world.cut
    assert world.ledger.changed("acme", 0, 1_000, 5_001) and not world.ledger.changed("acme", 0, 1_000, 5_002)
