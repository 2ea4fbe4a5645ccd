"""Prices that need more than a quantity: by event, by bucket, by window, of several meters, over the time that a level
lasts; two plans; bounds."""

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.billing.rig import BASE, TOKENS, VAT, Rig, catches
from tests.examples import at_least

from interlock.billing import Wanted, counting, preparing, pricing, windowing
from interlock.billing.checking import check_invoice
from interlock.errors import LocalError
from interlock.rating import holds

BY_MODEL = {"source": {"usage": "output", "by": ["model"]}}


def amounts(rig: Rig) -> list[str]:
    return [line.exact for line in rig.document().lines]


def priced(price: dict[str, Any], **charge: Any) -> Rig:
    return Rig().subscribed(TOKENS | {"price": price} | charge)


def test_event_by_event() -> None:
    rig = priced({"model": "percentage", "rate_percent": "10", "per_event_min": "2", "per_event_max": "5"})
    for amount in (1, 30, 100):
        rig.usage.add("2026-11-05", amount)
    assert amounts(rig) == ["10"]  # 2 and 3 and 5


def test_the_number_of_events() -> None:
    rig = priced({"model": "percentage", "rate_percent": "10", "fixed_per_event": "0.5", "free_events": 1})
    for _ in range(3):
        rig.usage.add("2026-11-05", 10)
    assert amounts(rig) == ["3"]  # a tenth of 20, and two fees


def test_buckets_are_one_line_with_an_evidence_each() -> None:
    rig = priced(
        {"model": "package", "size": "10", "price": "1"},
        source={"usage": "output", "by": ["model"]},
        bucketed=True,
    )
    for model in "abb":
        rig.usage.add("2026-11-05", 6, model=model)
    [line] = rig.document().lines
    assert line.exact == "3" and line.quantity == "18"  # one package of a, two of b
    assert [(one.group, one.count, one.sum) for one in line.evidence] == [
        ({"model": "a"}, 1, "6"),
        ({"model": "b"}, 2, "12"),
    ]


PEAK = {"price": {"model": "per_unit", "unit": "0.5"}, "commitment": "3", "overage_factor": "2", "true_up": True}
OFF = {"price": {"model": "package", "size": "10", "price": "1"}}
WINDOWED: dict[str, Any] = {
    "price": {"model": "windowed", "classes": {"peak": PEAK, "off": OFF}},
    "windows": {
        "size": "hour",
        "rules": [{"in_class": "peak", "days": ["mon"], "from_hour": 8, "to_hour": 10}],
        "otherwise": "off",
    },
}
BERLIN = ZoneInfo("Europe/Berlin")


def in_berlin(charge: dict[str, Any], used: Sequence[tuple[str, int]]) -> Rig:
    """November on acme's clock; the moments are UTC."""
    rig = Rig().subscribed(TOKENS | charge, zone="Europe/Berlin")
    for at, quantity in used:
        rig.usage.add(at, quantity)
    return rig


def windows_are_priced_alone(used: Sequence[tuple[str, int]]) -> None:
    """By hand: five Mondays have two hours each of the peak, which cost three at the least."""
    [line] = in_berlin(WINDOWED, used).document().lines
    hours: dict[datetime, int] = {}
    for at, quantity in used:
        local = datetime.fromisoformat(f"{at}+00:00").astimezone(BERLIN)
        if local.month == 11:
            hour = local.replace(minute=0, second=0)
            hours[hour] = hours.get(hour, 0) + quantity
    expected, peaks = Fraction(0), 5 * 2
    for hour, quantity in hours.items():
        if hour.weekday() == 0 and hour.hour in (8, 9):
            cost = Fraction(quantity, 2)
            peaks -= 1
            expected += max(cost, Fraction(3)) + max(cost - 3, Fraction(0))
        else:
            expected += -(-quantity // 10)
    assert Fraction(line.exact) == expected + 3 * peaks
    assert line.quantity == str(sum(hours.values())) and all(holds(step) for step in line.steps)


moments = st.builds(
    "2026-11-{:02}T{:02}:{}".format,
    st.sampled_from([1, 2, 9, 16, 29, 30]),
    st.sampled_from([6, 7, 8, 9, 12, 22, 23]),
    st.sampled_from(["00", "59:59"]),
)
USED = [("2026-11-02T07:00", 4), ("2026-11-02T07:59:59", 9), ("2026-11-09T08:59:59", 1), ("2026-11-09T09:00", 11),
        ("2026-10-31T23:00", 3), ("2026-11-30T23:00", 50), ("2026-11-30T07:30", 6)]  # fmt: skip


@settings(max_examples=at_least(25), deadline=None)
@given(st.lists(st.tuples(moments, st.integers(0, 30)), max_size=6))
def test_windows_are_priced_alone(used: Sequence[tuple[str, int]]) -> None:
    windows_are_priced_alone([*used, *USED])


def only_used(windows: Any, cut: Any, names: Any, counted: Any, now_ns: int) -> Any:
    """A window in which nothing was used is none."""
    return [one for one in windowing.buckets(windows, cut, names, counted, now_ns) if one.quantity]


def by_utc(windows: Any, cut: Any, names: Any, counted: Any, now_ns: int) -> Any:
    """The class by another clock."""
    return windowing.buckets(windows, cut._replace(zone="UTC"), names, counted, now_ns)


def into_one(windows: Any, cut: Any, names: Any, counted: Any, now_ns: int) -> Any:
    """All of a class together."""
    found: dict[str, Any] = {}
    for one in windowing.buckets(windows, cut, names, counted, now_ns):
        before = found.get(one.in_class)
        found[one.in_class] = replace(one, quantity=one.quantity + before.quantity) if before else one
    return list(found.values())


@pytest.mark.parametrize("mutant", [only_used, by_utc, into_one])
def test_wrong_windows_are_caught(mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "buckets", mutant)
    assert catches(windows_are_priced_alone, [USED])


def holding_its_end(bounds: Sequence[int], at_ns: int) -> int:
    """A window with the moment in which the next one begins."""
    return max(sum(bound < at_ns for bound in bounds), 1)


def test_a_window_that_holds_its_end_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "bisect_right", holding_its_end)
    assert catches(windows_are_priced_alone, [USED])


def test_windows_of_each_group_are_a_line_or_buckets_of_one() -> None:
    by_model = {"source": {"usage": "output", "by": ["model"]}}
    rig = Rig().subscribed(TOKENS | WINDOWED | by_model)
    rig.usage.add("2026-11-02T08:00", 8, model="a")
    rig.usage.add("2026-11-02T08:00", 1, model="-")
    rig.usage.add("2026-11-03T08:00", 1, model="")  # shown as `-` too, and another group
    lines = {line.group["model"]: line for line in rig.document().lines}
    assert {model: line.exact for model, line in lines.items()} == {"a": "32", "-": "30", "": "31"}
    days = {"size": "day"}
    price = {"model": "per_unit", "unit": "1"}
    bucketed = {"price": price, "windows": days, "bucketed": True, "convert": {"divide_by": "10", "round": "up"}}
    rig = Rig().subscribed(TOKENS | by_model | bucketed)
    for at, model in (("02T01:00", "a"), ("02T23:00", "a"), ("02T23:00", "b"), ("03T00:00", "b")):
        rig.usage.add(f"2026-11-{at}", 4, model=model)
    [line] = rig.document().lines
    assert (line.exact, line.quantity, len(line.evidence)) == ("3", "16", 2)


def test_a_fee_of_each_day_is_due_for_each_day_that_is_billed() -> None:
    """However it is priced. In buckets it was shrunk to the days billed once more: 7.5 for 15 days."""
    fee = {"model": "flat", "amount": "1"}
    for more in (
        {"price": fee, "bucketed": True},
        {"price": {"model": "windowed", "classes": {"": {"price": fee}}}},
    ):
        rig = Rig().subscribed(TOKENS | more | {"windows": {"size": "day"}})
        rig.do(rig.billing.subscribe("acme", Wanted(plan="", since="2026-11-16"), "ann"))
        assert [line.exact for line in rig.document().lines] == ["15"]


MODELS = {name: {"usage": "output", "where": {"model": [name]}} for name in ("big", "small")}


def several(price: dict[str, Any], **more: Any) -> Rig:
    rig = priced(price, source=None, **more)
    rig.usage.add("2026-11-05", 11, model="big")
    rig.usage.add("2026-11-06", 21, model="small")
    rig.usage.add("2026-11-07", 1, model="small", measure="input")
    rig.usage.add("2026-11-07", 500, model="other")
    return rig


def test_several_meters_in_one_set_of_tiers_or_each_in_its_own() -> None:
    tiers = [{"up_to": "30", "unit": "1"}, {"unit": "0.1"}]
    [line] = several({"model": "graduated", "tiers": tiers}, sources=MODELS).document().lines
    assert (line.exact, line.quantity) == ("30.2", "32")
    assert (line.steps[0].rule, line.steps[0].input) == ("part_1 + part_2", {"part_1": "11", "part_2": "21"})
    assert [(one.meter, one.count, one.sum) for one in line.evidence] == [("big", 1, "11"), ("small", 1, "21")]
    big, small = ([{"block_size": size, "price_per_block": "1"}] for size in ("10", "100"))
    price = {"model": "volume_blocks", "meters": {"big": big, "small": small}}
    rig = several(price, sources=MODELS)
    [line] = rig.document().lines
    assert (line.exact, line.quantity, line.billed) == ("3", "32", "32")
    assert check_invoice(rig.final(), rig.whole(rig.accounts.find("acme:2026-11:1")).lines) == []


def test_several_meters_group_by_group() -> None:
    by = {"output": {"usage": "output", "by": ["model"]}, "input": {"usage": "input", "by": ["model"]}}
    price = {
        "model": "graduated_blocks",
        "meters": {
            name: [{"block_size": "1", "price_per_block": unit}] for name, unit in (("output", "2"), ("input", "1"))
        },
    }
    lines = several(price, sources=by).document().lines
    found = [(line.group["model"], line.exact, [one.meter for one in line.evidence]) for line in lines]
    assert found == [("big", "22", ["output"]), ("other", "1000", ["output"]), ("small", "43", ["output", "input"])]
    [line] = several({"model": "package", "size": "10", "price": "1"}, sources=by, bucketed=True).document().lines
    assert line.exact == "55"  # 2 of big, 50 of others, 3 of small's 22


def test_several_meters_event_by_event() -> None:
    price = {"model": "percentage", "rate_percent": "10", "per_event_min": "2"}
    assert amounts(several(price, sources=MODELS)) == ["4.1"]  # 2 and 2.1


def test_meters_taken_for_another_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "named", lambda found, meter: pricing.named(found, "big"))
    with pytest.raises(AssertionError):
        test_several_meters_in_one_set_of_tiers_or_each_in_its_own()


def test_a_level_over_time() -> None:
    rig = priced({"model": "per_unit", "unit": "30"}, aggregate="weighted_sum")
    rig.usage.add("2026-11-16", 2)  # half of the month
    rig.usage.add("2026-11-28", 1)  # its last tenth
    assert amounts(rig) == ["33"]


def test_nothing_used_is_a_line_of_nothing() -> None:
    rig = priced({"model": "per_unit", "unit": "30"})
    [line] = rig.document().lines
    assert (line.exact, line.quantity, line.evidence[0].count) == ("0", "0", 0)


def test_a_quantity_past_the_last_tier_is_refused() -> None:
    rig = priced({"model": "graduated", "tiers": [{"up_to": "10", "unit": "1"}]})
    rig.usage.add("2026-11-05", 11)
    with pytest.raises(LocalError):
        rig.document()


def test_taxes_of_some_charges_only() -> None:
    two = {"rates": [{"name": "A", "percent": "10"}, {"name": "B", "percent": "1"}]}
    rig = Rig().subscribed(
        BASE | {"taxes": ["A"]}, TOKENS | {"price": {"model": "flat", "amount": "9"}, "source": None}, taxes=two
    )
    held = rig.final()
    lines = rig.whole(held).lines
    assert [[(one.name, one.amount) for one in line.taxes] for line in lines] == [
        [("A", 31 * 10**8)],
        [("A", 9 * 10**8), ("B", 9 * 10**7)],
    ]
    assert check_invoice(held, lines) == []


def test_two_plans_in_one_period() -> None:
    rig = Rig().subscribed(BASE, taxes=VAT, commitment={"minimum": "60"})
    other = {"name": "silver", "currency": "USD", "charges": [BASE | {"price": {"model": "flat", "amount": "10"}}]}
    rig.do(rig.billing.adopt_plan(other | {"taxes": VAT}, "ann"))
    rig.do(rig.billing.subscribe("acme", Wanted(plan="silver", since="2026-11-16"), "ann"))
    held = rig.final()
    lines = rig.whole(held).lines
    assert [(line.plan, line.kind, line.exact) for line in lines] == [
        ("gold", "fixed", "15.5"), ("gold", "commitment", "14.5"), ("silver", "fixed", "5"),
    ]  # fmt: skip
    assert held.header.total == 4165 * 10**7 and check_invoice(held, lines) == []
    assert set(held.header.parameters) == {"gold/1", "silver/1"}


def used(groups: int) -> Rig:
    rig = Rig().subscribed(BASE, TOKENS | BY_MODEL)
    for n in range(groups):
        rig.usage.add("2026-11-20", 5, model=f"m{n}")
    return rig


def test_more_lines_than_can_be_are_not_priced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "PARTS_MAX", 10)
    assert len(used(9).document().lines) == 10
    monkeypatch.setattr(pricing, "rate", None)  # it would be called for the first of them
    with pytest.raises(LocalError, match="more than 10 lines") as refused:
        used(10).document()
    assert refused.value.field == "lines"


def test_more_windows_than_can_be_priced_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all groups, each of which is a line with all windows of the month."""
    rig = Rig().subscribed(TOKENS | WINDOWED | BY_MODEL)
    for model in "ab":
        rig.usage.add("2026-11-20", 5, model=model)
    monkeypatch.setattr(pricing, "WINDOWS_MAX", 2 * 720)
    assert len(rig.document().lines) == 2
    monkeypatch.setattr(pricing, "WINDOWS_MAX", 2 * 720 - 1)
    with pytest.raises(LocalError, match="group by less, or cut into days") as refused:
        rig.document()
    assert refused.value.field == "windows"


def test_more_steps_than_can_be_held_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = sum(len(line.steps) for line in used(9).document().lines)
    monkeypatch.setattr(pricing, "STEPS_MAX", steps)
    assert used(9).document()
    with pytest.raises(LocalError, match="steps to price") as refused:
        used(10).document()
    assert refused.value.field == "tokens.price"
