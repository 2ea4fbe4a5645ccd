"""Prices that need more than a quantity: by event, by bucket, over the time that a level lasts; two plans; bounds."""

from typing import Any

import pytest
from tests.billing.rig import BASE, TOKENS, VAT, Rig

from interlock.billing import Wanted, pricing
from interlock.billing.checking import check_invoice
from interlock.errors import LocalError

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


def test_more_steps_than_can_be_held_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = sum(len(line.steps) for line in used(9).document().lines)
    monkeypatch.setattr(pricing, "STEPS_MAX", steps)
    assert used(9).document()
    with pytest.raises(LocalError, match="steps to price") as refused:
        used(10).document()
    assert refused.value.field == "tokens.price"
