"""From counters and the ledger to forecasts: which usage counts against which limit, and since when it is known."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.logs import adopted, log_of, opened, record, settled

from interlock.control import budgets
from interlock.control.budgets import balance_foreseen, balance_shown, foreseen, measured, of_one, shown
from interlock.credits import Account, Owner, Reckoned
from interlock.credits.burning import State
from interlock.ledger import Ledger, Price, Spent
from interlock.limits import Counter, Limit, Measure

HOUR_NS = 3_600_000_000_000
NOW_NS = int(datetime(2026, 11, 16, 12, tzinfo=UTC).timestamp()) * 10**9
DAILY = Limit(name="daily", measure="requests", amount=240, window="day", per=("tenant",))
MONTHLY = Limit(name="monthly", measure="nanousd", amount=60_000_000_000, window="month", tenants=("acme",))


def counter(limit: Limit, used: int, others: int = 0) -> Counter:
    scope: Any = (("tenant", "acme"),) if limit.per else ()
    return Counter(limit=limit, scope=scope, used=used, held=3, others=others, ends_ns=0)


def test_both_rates_of_a_day() -> None:
    found = foreseen(counter(DAILY, 100, 20), (30, 30), 0, NOW_NS)
    assert found.average is not None and found.recent is not None
    assert (found.average.per_hour, found.recent.per_hour, found.state) == (10, 30, "uncertain")
    row = shown(counter(DAILY, 100, 20), found, NOW_NS)
    assert (row["used"], row["left"], row["exhausted_at"]) == ("120", "120", "2026-11-16T16:00:00.000Z")
    assert (row["since"], row["ends"]) == ("2026-11-16T00:00:00.000Z", "2026-11-17T00:00:00.000Z")
    assert row["recent"] == {"per_hour": "30", "at_end": "480", "exhausted_at": "2026-11-16T16:00:00.000Z"}


def test_money_is_in_dollars() -> None:
    found = foreseen(counter(MONTHLY, 31_000_000_000), (2_000_000_000, 9), 0, NOW_NS)
    row = shown(counter(MONTHLY, 31_000_000_000), found, NOW_NS)
    assert (row["measure"], row["used"], row["amount"], row["left"]) == ("usd", "31.00", "60.00", "29.00")
    assert row["average"]["per_hour"] == "0.083333333"
    assert (row["average"]["at_end"], row["recent"]["at_end"]) == ("60.00", "60.00")
    assert row["state"] == "enough", "used up at the very end is not before it"


@pytest.mark.parametrize(
    ("known_hours", "average", "recent"),
    [(0, None, None), (0.05, None, None), (0.2, None, 150), (6, 20, 30), (400, 10, 30)],
)
def test_no_rate_is_reckoned_over_a_time_before_usage_is_known(
    known_hours: float, average: int | None, recent: int | None
) -> None:
    found = foreseen(counter(DAILY, 120), (30, 30), NOW_NS - int(known_hours * HOUR_NS), NOW_NS)
    assert (found.average and found.average.per_hour, found.recent and found.recent.per_hour) == (average, recent)
    assert foreseen(counter(DAILY, 120), None, None, NOW_NS).state == "unknown"


def test_what_a_limit_counts() -> None:
    row = Spent(values=(), requests=2, attempts=3, input=10, output=4, amount_nanousd=7)
    wanted: dict[Measure, int] = {
        "requests": 2, "input_tokens": 10, "output_tokens": 4, "tokens": 14, "nanousd": 7, "concurrency": 0,
    }  # fmt: skip
    for measure, figure in wanted.items():
        limit = Limit(name="l", measure=measure, amount=1, window="day")
        assert measured(row, limit, sends=False) == figure
    assert measured(row, DAILY, sends=True) == 3


def test_whose_a_counter_is() -> None:
    assert of_one(counter(DAILY, 1), "acme") and not of_one(counter(DAILY, 1), "bolt")
    assert of_one(counter(MONTHLY, 1), "acme") and not of_one(counter(MONTHLY, 1), "bolt")
    assert not of_one(counter(Limit(name="all", measure="requests", amount=1, window="day"), 1), "acme")


def test_what_was_used_then(tmp_path: Path) -> None:
    """Settled ones in the window; answers given again and open ones are not in it."""
    config = log_of(config=[adopted("sha256:1", {"sonnet": Price(per_mtok={"input": 10**9, "output": 0})})])
    records = []
    for n, (at_ns, source) in enumerate(
        [(9, "reported"), (10, "reported"), (19, "cached"), (19, "reported"), (20, "reported")]
    ):
        records += [record(opened(f"req_{n}"), at_ns), record(settled(f"req_{n}", source=source), at_ns + 100)]
    records += [record(opened("req_open"), 15), record(opened("req_1", 2), 11), record(settled("req_1", 2), 12)]
    with closing(Ledger(tmp_path / "ledger.sqlite")) as ledger:
        assert ledger.first_ns() is None
        asyncio.run(ledger.catch_up(log_of(usage_0=records), config))
        assert ledger.spent(10, 20, ["tenant", "principal"]) == [Spent(("acme", "ada"), 2, 3, 30, 15, 30_000)]
        assert ledger.first_ns() == 9


def test_the_most_urgent_first() -> None:
    limits = [counter(DAILY, used) for used in (0, 120, 230, 240)]
    rows = [foreseen(one, (20, 20), 0, NOW_NS) for one in limits]
    assert [one.state for one in sorted(rows, key=lambda row: budgets._urgency(row, NOW_NS))] == [
        *("exhausted", "short", "uncertain", "enough"),
    ]


def reckoned(cost: int, left: int) -> Reckoned:
    balances, overage = ({"one": left}, 0) if left >= 0 else ({}, -left)
    return Reckoned(State(at_ns=NOW_NS, balances=balances, overage=overage), cost, cost, NOW_NS)


@pytest.mark.parametrize(
    ("left", "hours", "lately", "state", "exhausted_in_hours"),
    [
        (10, 100, (24, 9), "short", 10),
        (800, 100, (24, 9), "uncertain", 800),  # at the rate so far (2 an hour) in 400 hours, lately in 800
        (2_000, 100, (24, 9), "enough", 2_000),
        (10, 100, (0, 0), "uncertain", None),
        (10, 0.5, (24, 9), "short", 10),
        (10, 0.5, (24, 2), "unknown", None),
        (0, 100, (24, 9), "exhausted", 0),
        (-5, 100, (0, 0), "exhausted", 0),
    ],
)
def test_how_long_a_balance_lasts(
    left: int, hours: float, lately: tuple[int, int], state: str, exhausted_in_hours: int | None
) -> None:
    account = Account(Owner("acme", "ada"))
    account.begin_ns = NOW_NS - int(hours * HOUR_NS)
    stands = reckoned(200, left)
    found = balance_foreseen(account.begin_ns, stands, lately, 0, NOW_NS)
    assert (found.state, found.left) == (state, left)
    wanted = None if exhausted_in_hours is None else NOW_NS + exhausted_in_hours * HOUR_NS
    assert found.exhausted_at_ns == wanted
    row = balance_shown(account, stands, found)
    assert (row["name"], row["window"], row["ends"], row["measure"]) == ("credit/acme/ada", None, None, "usd")
    assert row["scope"] == {"tenant": "acme", "principal": "ada"}
    assert row["average"] is None or row["average"]["at_end"] is None
    assert float(row["used"]) + float(row["left"]) == pytest.approx(float(row["amount"]), abs=1e-12)


def test_an_untouched_balance_is_unused() -> None:
    found = balance_foreseen(NOW_NS - 5 * HOUR_NS, reckoned(0, 10), (0, 0), 0, NOW_NS)
    assert (found.state, found.says, found.exhausted_at_ns) == ("unused", "nothing was used", None)
    assert balance_foreseen(NOW_NS - 5 * HOUR_NS, reckoned(0, 10), (0, 0), None, NOW_NS).state == "unknown"
