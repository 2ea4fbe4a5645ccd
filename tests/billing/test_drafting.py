"""Any number of invoices over a period come to what one would have: the property, and mistakes that it catches."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.billing.rig import BASE, TOKENS, VAT, Rig, catches, ns

from interlock.billing import Document, drafting, preparing
from interlock.billing.checking import check_booked, check_invoice, check_numbers
from interlock.billing.drafting import LINES_MAX, make_header
from interlock.billing.value import Line, PeriodSum
from interlock.errors import LocalError
from interlock.rating import holds

FEW = settings(max_examples=25, deadline=None)
BY_MODEL = {"source": {"usage": "output", "by": ["model"]}}
PRICES: dict[str, dict[str, Any]] = {
    "graduated": TOKENS["price"],
    "volume": {"model": "volume", "tiers": [{"up_to": "10", "unit": "0.335"}, {"unit": "0.2", "flat": "1"}]},
    "package": {"model": "package", "size": "7", "price": "1.005"},
    "per_unit": {"model": "per_unit", "unit": "0.3333"},
}


class Case(NamedTuple):
    """Usage of November by when it came, and the plan."""

    price: str
    before: Sequence[tuple[str, int]]
    late: Sequence[tuple[str, int]]
    later: Sequence[tuple[str, int]]
    plan: dict[str, Any]


PLANS: list[dict[str, Any]] = [
    {},
    {"taxes": VAT},
    {"taxes": VAT | {"level": "line"}, "discounts": [{"name": "d", "percent": "12.5"}]},
    {"taxes": VAT | {"inclusive": True}, "commitment": {"minimum": "40"}},
    {"rounding": {"level": "invoice"}, "taxes": VAT, "discounts": [{"name": "d", "amount": "3"}]},
]
usage = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=3)
cases = st.builds(Case, st.sampled_from(sorted(PRICES)), usage, usage, usage, st.sampled_from(PLANS))
SAMPLES = [
    Case(price, [("a", 9), ("b", 3)], late, later, plan)
    for price in PRICES
    for plan in PLANS
    for late, later in (([("a", 5)], []), ([], [("b", 12)]), ([("c", 2)], [("a", 1)]))
]


def rig_of(case: Case) -> Rig:
    charge = TOKENS | BY_MODEL | {"price": PRICES[case.price]}
    return Rig().subscribed(BASE, charge, **case.plan)


def used(rig: Rig, some: Sequence[tuple[str, int]]) -> None:
    for model, quantity in some:
        rig.usage.add("2026-11-20", quantity, model=model)


def november(documents: Sequence[Document]) -> dict[str, tuple[Any, ...]]:
    """By key, what they charge for November together."""
    booked = drafting.book("2026-11", [(one.lines, one.header.periods) for one in documents])
    return {
        key: (line.exact, line.quantity, line.amount, line.discount, line.net, line.taxes)
        for key, line in booked.lines.items()
        if drafting._is_something(line)
    }


def many_are_one(case: Case) -> None:
    rig = rig_of(case)
    rig.usage.clock = rig.clock  # an earlier period is counted again only where something came
    used(rig, case.before)
    held = [rig.final("2026-11")]
    for month, moment, some in (("2026-12", "2027-01-02", case.late), ("2027-01", "2027-02-02", case.later)):
        used(rig, some)
        rig.at(moment)
        held.append(rig.final(month))
    once = rig_of(case)
    used(once, [*case.before, *case.late, *case.later])
    assert november([rig.whole(one) for one in held]) == november([once.whole(once.final("2026-11"))])
    for one in held:
        assert check_invoice(one, rig.whole(one).lines) == []
    accounts = rig.accounts
    assert check_numbers(accounts) == [] and check_booked(accounts) == []


@FEW
@given(cases)
def test_many_invoices_come_to_what_one_would(case: Case) -> None:
    many_are_one(case)


def twice(now: Any, booked: Any, plans: Any, *, own: bool) -> Any:
    """Charges the whole period again."""
    return drafting.difference(now, drafting.book(booked.sums.period, []), plans, own=own)


def never(now: Any, booked: Any, plans: Any, *, own: bool) -> Any:
    """Corrects nothing."""
    return drafting.difference(now, booked, plans, own=own) if own else ([], PeriodSum(period=booked.sums.period))


def only_more(now: Any, booked: Any, plans: Any, *, own: bool) -> Any:
    """Gives nothing back, as a commitment that is used up would."""
    lines, sums = drafting.difference(now, booked, plans, own=own)
    return [line for line in lines if line.amount >= 0], sums


def taxed_alone(now: Any, booked: Any, plans: Any, *, own: bool) -> Any:
    """Takes a correction's tax of the correction, rounded again."""
    lines, sums = drafting.difference(now, booked, plans, own=own)
    if own:
        return lines, sums
    made = [
        replace(line, taxes=tuple(replace(one, amount=round(line.net * 19 / 10**9) * 10**7) for one in line.taxes))
        for line in lines
    ]
    return made, sums


@pytest.mark.parametrize("mutant", [twice, never, only_more, taxed_alone])
def test_a_wrong_difference_is_caught(mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "difference", mutant)
    assert catches(many_are_one, SAMPLES)


def test_late_usage_is_a_line_that_says_so() -> None:
    rig = rig_of(Case("per_unit", [], [], [], {"taxes": VAT}))
    rig.usage.add("2026-11-05", 10, model="a")
    first = rig.final("2026-11")
    rig.usage.add("2026-11-30T23:59:59", 5, model="a")
    rig.usage.add("2026-12-01", 1, model="a")
    rig.at("2027-01-02")
    found = rig.whole(rig.final("2026-12"))
    late = [line for line in found.lines if line.correction]
    assert [(line.period, line.quantity, line.exact, line.amount) for line in late] == [
        ("2026-11", "5", "1.6665", 1_670_000_000)  # 5.00 less the 3.33 that were charged
    ]
    assert late[0].evidence[0].count == 2 and late[0].evidence[0].sum == "15"
    assert all(holds(step) for line in found.lines for step in line.steps)
    assert late[0].steps[-1].input == {"now": "4.9995", "invoiced": "3.333"}
    assert [one.period for one in found.header.periods] == ["2026-12", "2026-11"]
    assert rig.whole(first).lines[1].quantity == "10"  # what was billed stays as it was


def test_what_was_taken_back_is_given_back() -> None:
    rig = rig_of(Case("per_unit", [], [], [], {}))
    rig.usage.add("2026-11-05", 10, model="a")
    rig.final("2026-11")
    rig.usage.events[0] = rig.usage.events[0]._replace(measures={"output": Fraction(0)})
    rig.usage.events.append(rig.usage.events[0]._replace(labels={"model": "b"}))
    rig.usage.events[0] = rig.usage.events[0]._replace(tenant="other")
    rig.at("2027-01-02")
    late = [line for line in rig.whole(rig.final("2026-12")).lines if line.correction]
    assert [(line.group, line.quantity, line.amount) for line in late] == [({"model": "a"}, "-10", -3_330_000_000)]


def test_a_charge_that_takes_nothing_back() -> None:
    charge = TOKENS | {"price": {"model": "package", "size": "10", "price": "5"}, "negative_delta": "zero"}
    rig = Rig().subscribed(charge, taxes=VAT)
    rig.usage.add("2026-11-05", 15)
    assert rig.final("2026-11").header.subtotal == 10 * 10**9
    rig.usage.events[0] = rig.usage.events[0]._replace(measures={"output": Fraction(5)})
    rig.at("2027-01-02")
    held = rig.final("2026-12")
    late = [line for line in rig.whole(held).lines if line.correction]
    assert [(line.quantity, line.amount, line.taxes) for line in late] == [("-10", 0, ())]
    assert check_invoice(held, rig.whole(held).lines) == []


def test_a_look_that_misses_what_came_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "_looked_ns", lambda accounts, tenant, period: 2**62)
    assert catches(many_are_one, SAMPLES)


def test_an_earlier_period_is_counted_again_only_if_something_came() -> None:
    rig = rig_of(Case("per_unit", [], [], [], {}))
    rig.usage.clock = rig.clock
    rig.usage.add("2026-11-05", 10, model="a")
    rig.at("2026-12-06")  # clocks may differ by a day
    rig.final("2026-11")
    counted: list[int] = []
    count = rig.usage.count

    async def watched(tenant: str, source: Any, since_ns: int, *args: Any, **options: Any) -> Any:
        counted.append(since_ns)
        return await count(tenant, source, since_ns, *args, **options)

    rig.usage.count = watched  # type: ignore[method-assign]  # to see what is asked
    rig.at("2027-01-02")
    rig.document("2026-12")
    assert counted == [ns("2026-12-01")]
    rig.usage.add("2026-11-05", 1, model="a")
    rig.at("2027-02-02")
    assert any(line.correction for line in rig.document("2026-12").lines)


def test_what_a_voided_invoice_found_is_found_again() -> None:
    rig = rig_of(Case("per_unit", [], [], [], {}))
    rig.usage.clock = rig.clock
    rig.final("2026-11")
    rig.at("2027-01-02")
    rig.usage.add("2026-11-05", 10, model="a")
    rig.at("2027-01-09")
    december = rig.final("2026-12")
    rig.at("2027-02-02")
    assert not any(line.correction for line in rig.document("2027-01").lines)
    rig.do(rig.billing.void(december.header.id, "wrong", "ann"))
    rig.at("2027-03-02")
    assert [line.amount for line in rig.document("2027-01").lines if line.correction] == [3_330_000_000]


def test_a_period_that_cannot_be_counted_again_is_told() -> None:
    rig = rig_of(Case("per_unit", [], [], [], {}))
    rig.usage.add("2026-11-05", 10, model="a")
    rig.final("2026-11")
    rig.usage.gone.add("2026-11")
    rig.at("2027-01-02")
    assert rig.final("2026-12").header.unseen == ("2026-11",)
    rig.usage.gone.add("2026-12")
    rig.at("2027-02-02")
    with pytest.raises(LocalError, match="have left"):
        rig.document("2026-12")


def line(n: int, description: str = "x") -> Line:
    return Line(
        key=f"k{n}", kind="usage", period="2026-11", since_ns=0, until_ns=1, description=description, exact="0.01",
        amount=10**7, net=10**7,
    )  # fmt: skip


HEADER: dict[str, Any] = {}


def test_many_lines_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    many = 1_500
    monkeypatch.setattr(drafting, "LINES_MAX", many)
    rig = Rig().subscribed(TOKENS | BY_MODEL | {"price": {"model": "per_unit", "unit": "0.01"}})
    for n in range(many):
        rig.usage.add("2026-11-05", 1, model=f"m{n:05}")
    held = rig.final()
    whole = rig.whole(held)
    assert (len(whole.lines), held.header.total) == (many, many * 10**7)
    assert len(held.lines_seqs) > 1  # in several records, each below what one may hold
    assert check_invoice(held, whole.lines) == []
    again = rig.again()
    assert again.whole(again.accounts.find(held.header.id)).lines == whole.lines
    for n in range(many + 1):
        rig.usage.add("2026-12-05", 1, model=f"m{n:05}")
    rig.at("2027-01-02")
    with pytest.raises(LocalError, match="group the plan's charges by less"):
        rig.document("2026-12")
    assert LINES_MAX == 10_000


def test_amounts_and_lines_are_bounded() -> None:
    with pytest.raises(LocalError, match="larger than"):
        make_header(HEADER, [line(1, "x" * 900_000)], [])
    with pytest.raises(LocalError, match="total is at most"):
        make_header(HEADER, [replace(line(1), amount=2**63, net=2**63)], [])
