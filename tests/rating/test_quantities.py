"""Levels over time, changes by time, blocks and windows: the parts of the period, and what must be told."""

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace
from tests.rating.properties import plan_with, shown

from interlock.errors import LocalError
from interlock.rating import Bucket, Charge, Event, Usage, rate, text_of, total

BEGIN, END = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)


def charge(price: dict[str, Any], **more: Any) -> Charge:
    return plan_with([{"id": "c", "price": price, **more}]).charges[0]


def change(day: int, value: int, hour: int = 0) -> Event:
    return Event(value=Fraction(value), at=datetime(2026, 4, day, hour, tzinfo=UTC))


def level(*events: Event, opening: int = 0, **more: Any) -> Usage:
    return Usage(events=events, opening=Fraction(opening), **{"begin": BEGIN, "end": END, **more})


def test_a_level_counts_for_the_time_that_it_lasts() -> None:
    seats = charge({"model": "per_unit", "unit": "30"}, aggregate="weighted_sum")
    assert shown(*(rate(seats, usage).amount for usage in (level(opening=2), level(change(16, 2))))) == "60 30"
    out_of_order = level(change(16, 4, 12), change(1, 2), change(16, -4))
    assert rate(seats, out_of_order).amount == 2 * 15 + (2 - 4) * Fraction(1, 2) + 2 * Fraction(29, 2)
    with pytest.raises(LocalError, match="negative"):
        rate(seats, level(change(2, -1)))


@pytest.mark.parametrize(
    "usage",
    [
        level(Event(value=Fraction(1))),
        level(Event(value=Fraction(1), at=END)),
        level(change(2, 1), begin=None),
        level(change(2, 1), begin=END, end=BEGIN),
    ],
)
@pytest.mark.parametrize("model", ["per_unit", "graduated_prorated_per_event"])
def test_changes_need_a_time_within_the_period(usage: Usage, model: str) -> None:
    price = {"model": model, "unit": "1"} if model == "per_unit" else {"model": model, "tiers": [{"unit": "1"}]}
    weighed = {"aggregate": "weighted_sum"} if model == "per_unit" else {}
    with pytest.raises(LocalError):
        rate(charge(price, **weighed), usage)


def test_changes_by_time_are_priced_for_the_days_left() -> None:
    """By time or by what the sender says, the same: half of the month is half of the units."""
    tiers = [{"up_to": "5", "unit": "10", "flat": "100"}, {"unit": "5", "flat": "50"}]
    seats = charge({"model": "graduated_prorated_per_event", "tiers": tiers})
    by_time = rate(seats, level(change(16, 4), change(16, 4, 0), change(28, -6), opening=2))
    told = [(2, "2"), (4, "2"), (4, "2"), (-6, "-0.6")]
    changes = tuple(Event(value=Fraction(value), prorated=Fraction(part)) for value, part in told)
    assert by_time.amount == rate(seats, Usage(events=changes)).amount
    assert by_time.quantity == 4
    flats, lower, upper = 150, (2 + Fraction(3, 2) - Fraction("0.1")) * 10, (Fraction("0.5") + 2 - Fraction("0.5")) * 5
    assert by_time.amount == flats + lower + upper


def test_a_level_may_pick_the_tier_of_its_mean() -> None:
    """Thirty seats for half of the month are fifteen, each at the price of thirty; the fee of their tier is whole."""
    tiers = [{"up_to": "10", "unit": "10"}, {"up_to": "20", "unit": "5"}, {"unit": "2", "flat": "50"}]
    price = {"model": "volume", "tiers": tiers}
    by_mean = charge(price, aggregate="weighted_sum")
    by_level = charge(price | {"tier_by": "level"}, aggregate="weighted_sum")
    half = level(change(16, 30))
    assert shown(*(rate(seats, half).amount for seats in (by_mean, by_level))) == "75 80"
    gone = level(change(28, -25), opening=30)
    assert rate(by_level, gone).amount == (30 - 25 * Fraction(3, 30)) * 10
    told = Usage(events=(Event(value=Fraction(30), prorated=Fraction(15)),))
    assert rate(by_level, told).amount == rate(by_level, half).amount
    mixed = level(change(16, 10), Event(value=Fraction(20), prorated=Fraction(10)))
    assert rate(by_level, mixed).amount == rate(by_level, half).amount
    assert rate(by_level, replace(told, opening=Fraction(1))).amount == 16 * 2 + 50


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"aggregate": "weighted_sum", "free_units": "1"},
        {"aggregate": "weighted_sum", "convert": {"divide_by": "2"}},
    ],
)
def test_only_a_plain_level_picks_a_tier(more: dict[str, Any]) -> None:
    price = {"model": "volume", "tiers": [{"unit": "1"}], "tier_by": "level"}
    with pytest.raises(LocalError, match="tier_by"):
        charge(price, **more)
    with pytest.raises(LocalError, match="tier_by"):
        charge({"model": "windowed", "classes": {"all": {"price": price}}})


BLOCKS = [
    {"block_size": "10", "max_blocks": 2, "price_per_block": "3"},
    {"block_size": "100", "max_blocks": 1, "price_per_block": "7"},
]


def test_blocks_of_several_meters_are_priced_alone() -> None:
    price = {"model": "graduated_blocks", "meters": {"in": BLOCKS, "out": BLOCKS}}
    rated = rate(charge(price), Usage(meters={"in": Fraction(11), "out": Fraction(21)}))
    assert shown(rated.amount, rated.quantity) == "19 32"
    assert rate(charge(price), Usage(meters={"in": Fraction(11)})).amount == 6
    with pytest.raises(LocalError, match="no meter 'sideways'; it has in, out"):
        rate(charge(price), Usage(meters={"sideways": Fraction(1)}))


@pytest.mark.parametrize(("model", "amounts"), [("graduated_blocks", "6 13 20"), ("volume_blocks", "6 7 14")])
def test_blocks_past_the_last_tier(model: str, amounts: str) -> None:
    last = charge({"model": model, "tiers": BLOCKS})
    assert shown(*(rate(last, Usage(quantity=Fraction(n))).amount for n in (20, 21, 121))) == amounts
    with pytest.raises(LocalError, match="tiers end at 120"):
        rate(charge({"model": model, "tiers": BLOCKS, "past_last": "refuse"}), Usage(quantity=Fraction(121)))


def test_unlike_denominators_stay_bounded() -> None:
    """The worst that fits: fifty changes of 30 digits before and after the point, through many tiers, in many lines."""
    tiers = [{"up_to": str(n), "unit": "0.1"} for n in range(1, 40)]
    price = {"model": "graduated_prorated_per_event", "tiers": [*tiers, {"unit": "3"}]}
    values = [Fraction(10**29 + 7 * n + 1) + Fraction(10**29 + 11 * n + 3, 10**30) for n in range(50)]
    usage = Usage(events=tuple(Event(value=value, prorated=value / 3 - value / 3 % 1) for value in values))
    rated = rate(charge(price), usage)
    assert any(step.name == "to 40 places" for step in rated.steps)
    assert rated.amount.denominator <= 10**40
    plan = plan_with(
        [
            {"id": f"c{n}", "price": {"model": "per_unit", "unit": "1"}, "convert": {"divide_by": str(10**11 + n)}}
            for n in range(1000)
        ]
    )
    lines = [rate(one, Usage(quantity=Fraction(1))) for one in plan.charges]
    with pytest.raises(LocalError, match=r"more than 4,000 digits: round the charges \(charge.round\)"):
        text_of(total(plan, lines).residue)


def test_several_meters_in_one_set_of_tiers_are_one_quantity() -> None:
    tiers = {"model": "graduated_blocks", "tiers": BLOCKS}
    both = Usage(meters={"in": Fraction(11), "out": Fraction(4)})
    halves = {"convert": {"multiply_by": "1.5", "round": "up"}}
    for more, amount in (({}, 6), ({"free_units": "5"}, 3), (halves, 13)):
        blocks = charge(tiers, **more)
        assert rate(blocks, both).amount == amount == rate(blocks, Usage(quantity=Fraction(15))).amount
    [first, *_] = rate(charge(tiers), both).steps
    assert (first.name, first.rule, first.output) == ("all meters", "part_1 + part_2", "15")


WINDOW = {"price": {"model": "per_unit", "unit": "2"}, "commitment": "3", "true_up": True}
COMMITTED = {"model": "windowed", "classes": {"": WINDOW}}


def test_windows_that_are_alike_are_priced_once() -> None:
    quantities = (1, 0, 0, 1, 0, 9, -4)
    usage = Usage(buckets=tuple(Bucket(quantity=Fraction(n)) for n in quantities))
    rated = rate(charge(COMMITTED, negative_quantity="zero"), usage)
    assert shown(rated.amount, rated.quantity) == "36 11"  # what is below nothing is nothing, and topped up
    together = [step for step in rated.steps if step.rule == "windows * each"]
    assert [(step.name, step.input["windows"]) for step in together] == [
        ("window 1 () and those like it", "2"), ("window 2 () and those like it", "4"),
    ]  # fmt: skip
    with pytest.raises(LocalError, match="negative"):
        rate(charge(COMMITTED), usage)


def test_a_window_that_has_not_ended_is_not_topped_up() -> None:
    both = Usage(buckets=tuple(Bucket(quantity=Fraction(1), ended=ended) for ended in (True, False)))
    assert rate(charge(COMMITTED), both).amount == 5
    for ended, amount in ((True, 3), (False, 2)):
        assert rate(charge(COMMITTED), Usage(buckets=(Bucket(quantity=Fraction(1), ended=ended),))).amount == amount


def test_windows_by_class() -> None:
    unit = {"model": "per_unit", "unit": "2"}
    peak = {"price": unit, "commitment_units": "5", "overage_factor": "1.5", "true_up": True}
    price = {"model": "windowed", "classes": {"peak": peak, "rest": {"price": {"model": "flat", "amount": "4"}}}}
    given = (("peak", 7), ("peak", 1), ("rest", 9))
    windows = tuple(Bucket(in_class=name, quantity=Fraction(n)) for name, n in given)
    rated = rate(charge(price), Usage(buckets=windows))
    assert shown(rated.amount, rated.quantity) == "30 17"  # 10 and 4 × 1.5; 2 and 8 up; 4
    with pytest.raises(LocalError, match="no class 'night' of windows; there are peak, rest") as caught:
        rate(charge(price), Usage(buckets=(Bucket(in_class="night", quantity=Fraction(1)),)))
    assert caught.value.field == "buckets"
