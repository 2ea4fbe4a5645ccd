"""Totals: nothing is lost, whatever the plan says; and what order, level and inclusion change."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace
from tests.rating.properties import nothing_is_lost, plan_with, shown

from interlock.errors import LocalError
from interlock.rating import Booked, Days, Plan, Rated, Total, Usage, rate, round_to, total


def real(plan: Plan, rated: Sequence[Rated], credits: Fraction) -> Total:
    return total(plan, rated, credits=credits)


def residue_dropped(plan: Plan, rated: Sequence[Rated], credits: Fraction) -> Total:
    """Wrong: what is rounded off is nobody's."""
    bill = real(plan, rated, credits)
    return replace(bill, lines=tuple(replace(line, residue=Fraction(0)) for line in bill.lines))


def rounded_before_it_came(plan: Plan, rated: Sequence[Rated], credits: Fraction) -> Total:
    """Wrong: amounts are cents before they are lines."""
    return real(plan, [replace(one, amount=round_to(one.amount, 2)) for one in rated[:1]] + list(rated[1:]), credits)


def half_even_lines(plan: Plan, rated: Sequence[Rated], credits: Fraction) -> Total:
    """Wrong: another mode than the plan's."""
    mode = "half_even" if plan.rounding.mode != "half_even" else "half_down"
    return real(replace(plan, rounding=replace(plan.rounding, mode=mode)), rated, credits)


def tax_of_each_line_rounded(plan: Plan, rated: Sequence[Rated], credits: Fraction) -> Total:
    """Wrong: the shares of a tax do not sum to it."""
    bill = real(plan, rated, credits)
    rates = sum((tax.percent for tax in plan.taxes.rates), Fraction(0)) / 100
    lines = tuple(replace(line, tax=round_to(line.net * rates, bill.places)) for line in bill.lines)
    return replace(bill, lines=lines)


def lines_rounded_alone(plan: Plan, rated: Sequence[Rated], credits: Fraction) -> Total:
    """Wrong where the sum is to be rounded: the lines do not sum to it."""
    return real(replace(plan, rounding=replace(plan.rounding, level="line")), rated, credits)


def credit_without_end(plan: Plan, rated: Sequence[Rated], credits: Fraction) -> Total:
    """Wrong: more credit is taken than there is."""
    return real(plan, rated, credits * 2)


WRONG = [
    residue_dropped,
    rounded_before_it_came,
    half_even_lines,
    tax_of_each_line_rounded,
    lines_rounded_alone,
    credit_without_end,
]


def test_nothing_is_lost() -> None:
    nothing_is_lost(real)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_total_is_caught(wrong: Any) -> None:
    with pytest.raises(AssertionError):
        nothing_is_lost(wrong)


def bill_of(
    amounts: Sequence[str],
    *,
    last: bool = True,
    days: Days | None = None,
    taken: str = "0",
    billed: str = "0",
    **plan: Any,
) -> Total:
    charges = [{"id": f"c{i}", "price": {"model": "flat", "amount": text}} for i, text in enumerate(amounts)]
    made = plan_with(charges, **plan)
    rated = [rate(charge, Usage()) for charge in made.charges]
    paid = {"credits": Fraction(taken), "already_billed": Fraction(billed)}
    return total(made, rated, **paid, days=days, last_of_period=last)


VAT = {"rates": [{"name": "vat", "percent": "20"}]}


def test_the_order_of_discount_and_tax_decides() -> None:
    """A fixed coupon before the tax lowers it; after the tax it does not."""
    off = [{"name": "ten", "amount": "10"}]
    before = bill_of(["100"], taxes=VAT, discounts=off, order=["discounts", "taxes"])
    after = bill_of(["100"], taxes=VAT, discounts=off, order=["taxes", "discounts"])
    assert shown(before.tax, before.total) == "18 108"
    assert shown(after.tax, after.total, after.after_tax) == "20 110 10"


def test_discounts_after_taxes_are_each_on_what_is_left() -> None:
    off = [{"name": "half", "percent": "50"}, {"name": "rest", "percent": "50"}, {"name": "more", "amount": "99"}]
    bill = bill_of(["60", "40"], taxes=VAT, discounts=off, taken="20", order=["taxes", "credits", "discounts"])
    assert shown(*(one.amount for one in bill.discounts)) == "50 25 25"
    assert shown(bill.total, bill.credited, bill.due) == "20 20 0"
    assert shown(*(line.net for line in bill.lines)) == "60 40"


def test_the_order_of_credits_and_tax_decides() -> None:
    before = bill_of(["100"], taxes=VAT, taken="30", order=["credits", "taxes"])
    after = bill_of(["100"], taxes=VAT, taken="30", order=["taxes", "credits"])
    assert shown(before.tax, before.total, before.due, before.credited) == "14 84 84 30"
    assert shown(after.tax, after.total, after.due, after.credited) == "20 120 90 30"
    assert bill_of(["100"], taxes=VAT, taken="500").due == 0
    with pytest.raises(LocalError, match="no place for them"):
        bill_of(["100"], taken="30", order=["taxes"])


def test_the_order_of_discount_and_commitment_decides() -> None:
    off, least = [{"name": "half", "percent": "50"}], {"minimum": "80"}
    first = bill_of(["100"], discounts=off, commitment=least, order=["discounts", "commitment"])
    last = bill_of(["100"], discounts=off, commitment=least, order=["commitment", "discounts"])
    assert shown(*(line.amount for line in first.lines), first.total) == "100 30 80"
    assert shown(*(line.amount for line in last.lines), last.total) == "100 50"


def test_the_level_of_a_tax_decides() -> None:
    fees = ["68.33", "68.33", "57.50", "85.00"]
    assert bill_of(fees, taxes=VAT).total == Fraction("334.99")
    assert bill_of(fees, taxes={**VAT, "level": "line"}).total == Fraction("335.00")


def test_inclusive_prices() -> None:
    held = {"rates": [{"name": "a", "percent": "6"}, {"name": "b", "percent": "2"}], "inclusive": True}
    side = bill_of(["108"], taxes=held)
    top = bill_of(["108.12"], taxes={**held, "compound": True})
    assert shown(side.net, side.total, top.net, top.total) == "100 108 100 108.12"
    assert shown(*(tax.amount for bill in (side, top) for tax in bill.taxes)) == "6 2 6 2.12"


def test_a_charge_names_its_taxes() -> None:
    charges = [
        {"id": i, "price": {"model": "flat", "amount": "100"}, "taxes": names} for i, names in (("a", ["x"]), ("b", []))
    ]
    plan = plan_with(
        [*charges, {"id": "c", "price": {"model": "flat", "amount": "50"}}],
        taxes={"rates": [{"name": "x", "percent": "10"}, {"name": "y", "percent": "5"}]},
    )
    bill = total(plan, [rate(charge, Usage()) for charge in plan.charges])
    assert [line.tax for line in bill.lines] == [10, 0, Fraction("7.5")]
    assert shown(*(value for tax in bill.taxes for value in (tax.base, tax.amount))) == "150 15 50 2.5"


def test_a_commitment_counts_what_was_booked_before_and_waits_for_the_last_invoice() -> None:
    plan = plan_with([{"id": "c", "price": {"model": "per_unit", "unit": "1"}}], commitment={"minimum": "62"})
    rated = rate(plan.charges[0], Usage(quantity=Fraction(30)), Booked(amount=Fraction(20), quantity=Fraction(20)))
    assert total(plan, [rated], last_of_period=False).total == 10
    assert total(plan, [rated]).total == 42
    assert total(plan, [rated], days=Days(billed=15, period=31)).total == 10
    assert total(plan, [rated], days=Days(billed=30, period=31)).total == 40


def test_credit_pays_what_is_left_after_what_was_billed() -> None:
    """No more of it is taken, or the invoice would owe what the tenant has paid for already."""
    assert shown(*_left(taken="50", billed="30")) == "50 20"
    assert shown(*_left(taken="100", billed="30")) == "70 0"
    assert shown(*_left(taken="100", billed="120")) == "0 -20"
    assert shown(*_left(taken="100", billed="30", taxes=VAT)) == "90 0"
    before = {"taxes": VAT, "order": ["credits", "taxes"]}
    assert shown(*_left(taken="100", billed="30", **before)) == "100 -30", "what is billed is known with its taxes only"


@pytest.mark.parametrize("mode", ["half_even", "half_away_from_zero", "up", "down"])
@pytest.mark.parametrize("exact", ["100.004", "100.005", "100.006", "99.995"])
@pytest.mark.parametrize("taxes", [{}, VAT], ids=["", "taxed"])
def test_credit_pays_a_total_that_is_rounded_as_it_is_rounded(mode: str, exact: str, taxes: dict[str, Any]) -> None:
    """It is taken at the currency's places: what nobody can pay is neither owed nor paid too much."""
    for taken, billed in (("999", "0"), ("999", "30.01"), ("50.009", "30"), ("0", "30")):
        rounding = {"level": "total", "mode": mode}
        bill = bill_of([exact], taken=taken, billed=billed, taxes=taxes, rounding=rounding)
        assert bill.credited == min(bill.total - Fraction(billed), Fraction(taken[:5]))
        assert bill.due == bill.total - bill.credited - Fraction(billed) >= 0
        assert bill.residue == sum(line.residue for line in bill.lines) - bill.rounding


def _left(**more: Any) -> tuple[Fraction, Fraction]:
    bill = bill_of(["100"], **more)
    return bill.credited, bill.due


def test_a_total_says_what_decided() -> None:
    bill = bill_of(["1"], version=7)
    assert bill.parameters["rounding"] == {"level": "line", "mode": "half_away_from_zero", "places": None}
    assert bill.parameters["order"] == ["discounts", "commitment", "taxes", "credits"]
    assert (bill.parameters["version"], bill.places) == (7, 2)
    for name in ("credits", "already_billed"):
        with pytest.raises(LocalError, match=name):
            total(plan_with([{"id": "c", "price": {"model": "flat", "amount": "1"}}]), [], **{name: Fraction(-1)})  # type: ignore[arg-type]  # by name
