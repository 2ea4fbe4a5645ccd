"""Any number of invoices over a period come to what one would have: the property, and mistakes that it catches."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.billing.rig import BASE, TOKENS, VAT, Rig, catches, ns
from tests.examples import at_least

from interlock.billing import Document, Wanted, drafting, preparing, pricing, windowing
from interlock.billing.checking import check_booked, check_invoice, check_numbers
from interlock.billing.drafting import LINES_MAX, make_header
from interlock.billing.value import Line, PeriodSum
from interlock.errors import LocalError
from interlock.rating import holds, text_of

FEW = settings(max_examples=at_least(25), deadline=None)
BY_MODEL = {"source": {"usage": "output", "by": ["model"]}}
BOTH = {name: {"usage": name, "by": ["model"]} for name in ("output", "input")}
VOLUME = {"model": "volume", "tiers": [{"up_to": "10", "unit": "0.335"}, {"unit": "0.2", "flat": "1"}]}
PACKAGE = {"model": "package", "size": "7", "price": "1.005"}
BLOCKS = [{"block_size": "5", "max_blocks": 2, "price_per_block": "1.005"}, {"block_size": "9", "price_per_block": "1"}]
PEAK = {"price": {"model": "per_unit", "unit": "0.335"}, "commitment": "0.5", "overage_factor": "1.5", "true_up": True}
OFF = {"price": {"model": "graduated", "tiers": [{"up_to": "4", "unit": "0.1"}, {"unit": "0.0333"}]}}
HOURS = {"size": "hour", "rules": [{"in_class": "peak", "days": ["mon", "tue"], "from_hour": 8}], "otherwise": "off"}
PLAIN: dict[str, dict[str, Any]] = {
    "graduated": {"price": TOKENS["price"]},
    "volume": {"price": VOLUME},
    "package": {"price": PACKAGE},
    "per_unit": {"price": {"model": "per_unit", "unit": "0.3333"}},
}
CHARGES = PLAIN | {
    "windowed": {"price": {"model": "windowed", "classes": {"peak": PEAK, "off": OFF}}, "windows": HOURS},
    "days": {"price": PACKAGE, "free_units": "9", "bucketed": True, "windows": {"size": "day"}},
    "meters": {"price": {"model": "graduated_blocks", "meters": {"input": BLOCKS, "output": BLOCKS[1:]}}},
    "summed": {"price": VOLUME},
}
for _name in ("days", "meters", "summed"):
    CHARGES[_name] |= {"source": None, "sources": BOTH}


class Case(NamedTuple):
    """Usage of November by when it came, and the plan."""

    price: str
    before: Sequence[tuple[str, int]]
    late: Sequence[tuple[str, int]]
    later: Sequence[tuple[str, int]]
    plan: dict[str, Any]
    interim: bool = False
    """Whether November has an invoice in the middle of it, and of an hour."""


PLANS: list[dict[str, Any]] = [
    {},
    {"taxes": VAT},
    {"taxes": VAT | {"level": "line"}, "discounts": [{"name": "d", "percent": "12.5"}]},
    {"taxes": VAT | {"inclusive": True}, "commitment": {"minimum": "40"}},
    {"rounding": {"level": "invoice"}, "taxes": VAT, "discounts": [{"name": "d", "amount": "3"}]},
]
usage = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=3)
cases = st.builds(Case, st.sampled_from(sorted(CHARGES)), usage, usage, usage, st.sampled_from(PLANS), st.booleans())
SAMPLES = [
    Case(price, [("a", 9), ("b", 3)], late, later, plan)
    for price in PLAIN
    for plan in PLANS
    for late, later in (([("a", 5)], []), ([], [("b", 12)]), ([("c", 2)], [("a", 1)]))
]


SPREAD = [
    Case(charge, [("a", 9), ("b", 3)], late, [], {"taxes": VAT, "commitment": {"minimum": "60"}}, True)
    for charge in CHARGES
    for late in ([("a", 5), ("b", 7)], [])
]


def rig_of(case: Case, now: str = "2026-12-03") -> Rig:
    return Rig(now).subscribed(BASE, TOKENS | BY_MODEL | CHARGES[case.price], **case.plan)


def used(rig: Rig, some: Sequence[tuple[str, int]]) -> None:
    """Over the month, its hours, and two measures by the quantity."""
    for model, quantity in some:
        measure = "input" if quantity % 4 == 3 else "output"
        rig.usage.add(f"2026-11-{1 + quantity % 30:02}T{quantity % 24:02}:30", quantity, measure=measure, model=model)


def november(documents: Sequence[Document]) -> dict[str, tuple[Any, ...]]:
    """By key, what they charge for November together."""
    booked = drafting.book("2026-11", [(one.lines, one.header.periods) for one in documents])
    return {
        key: (line.exact, line.quantity, line.amount, line.discount, line.net, line.taxes)
        for key, line in booked.lines.items()
        if drafting._is_something(line)
    }


def many_are_one(case: Case) -> None:
    rig = rig_of(case, "2026-11-14")
    rig.usage.clock = rig.clock  # an earlier period is counted again only where something came
    used(rig, case.before)
    rig.at("2026-11-17T09:40" if case.interim else "2026-12-03")
    held = [rig.final("2026-11", interim=case.interim)]
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


def test_every_kind_of_charge_in_an_interim_invoice_and_after_it() -> None:
    for case in SPREAD:
        many_are_one(case)


def test_what_is_due_once_a_period_has_ended_follows_an_interim_invoice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing came since. It was lost: an earlier period was priced again only if something was recorded."""

    async def as_it_was(drafting: Any, accounts: Any, tenant: str, period: str, parts: Any) -> bool:
        looked_ns = preparing._looked_ns(accounts, tenant, period) - preparing.SLACK_NS
        asked = [(one, part) for part in parts for one in preparing._sources(accounts, [part])]
        of = drafting._counter.changed
        return any([await of(tenant, one, part.since_ns, part.until_ns, looked_ns) for one, part in asked])

    monkeypatch.setattr(preparing.Drafting, "_changed", as_it_was)
    assert catches(many_are_one, [case for case in SPREAD if not case.late])


def topped_at_once(*args: Any) -> Any:
    """A window that still runs is topped up as well. The next invoice would give it back, so the period comes to the
    same."""
    return [replace(one, ended=True) for one in windowing.buckets(*args)]


def test_a_window_that_runs_is_not_topped_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def charged() -> str:
        rig = Rig("2026-11-17T09:40").subscribed(TOKENS | CHARGES["windowed"])
        rig.usage.add("2026-11-17T09:30", 1)
        [line] = rig.whole(rig.final(interim=True)).lines
        return line.exact

    # Of three Mondays and two Tuesdays the hours from 8 to 24, and of the 17th, a Tuesday, one that has ended.
    ended = 16 * (3 + 2) + 1
    assert Fraction(charged()) == ended * Fraction("0.5") + Fraction("0.335")
    monkeypatch.setattr(pricing, "buckets", topped_at_once)
    assert Fraction(charged()) == (ended + 1) * Fraction("0.5")


def test_other_terms_in_mid_period_cut_no_window_and_keep_what_was_counted() -> None:
    def used_of(rig: Rig) -> None:
        for day in (16, 17):
            rig.usage.add(f"2026-11-{day}T00:00", 7, model="a")
            rig.usage.add(f"2026-11-{day}T23:59:59", 4, model="a", measure="input")

    def subscribed() -> Rig:
        rig = rig_of(Case("windowed", [], [], [], {"taxes": VAT}))
        document = {"name": "silver", "currency": "USD", "charges": [TOKENS | BY_MODEL | CHARGES["meters"]]}
        rig.do(rig.billing.adopt_plan(document | {"taxes": VAT}, "ann"))
        rig.do(rig.billing.subscribe("acme", Wanted(plan="silver", since="2026-11-17"), "ann"))
        used_of(rig)
        return rig

    once, late = subscribed(), subscribed()
    used_of(once)
    first = late.final("2026-11")
    used_of(late)
    late.at("2027-01-02")
    whole = [late.whole(first), late.whole(late.final("2026-12"))]
    assert all(check_invoice(one.held, one.lines) == [] for one in whole if one.held)
    assert all(holds(step) for one in whole for line in one.lines for step in line.steps)
    found = november([once.whole(once.final("2026-11"))])
    assert november(whole) == found
    exact = {key.partition("@")[0]: one[0] for key, one in found.items() if "tokens" in key}
    # Three Mondays and two Tuesdays of 16 hours, and 14 in the first hour of one, no peak; then 14 and 8 in blocks.
    assert exact == {"gold/1": text_of(80 * Fraction("0.5") + Fraction("0.4") + 10 * Fraction("0.0333")),
                     "silver/1": text_of(2 * Fraction("1.005") + 2)}  # fmt: skip


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


def test_what_a_slow_clock_recorded_is_found() -> None:
    """It came after the invoice was made, and says that it was an hour before."""
    rig = rig_of(Case("per_unit", [], [], [], {}))
    rig.usage.clock = rig.clock
    rig.final("2026-11")
    rig.usage.add("2026-11-05", 10, model="a")
    rig.usage.events[0] = rig.usage.events[0]._replace(recorded_ns=rig.clock.now_ns() - 3600 * 10**9)
    rig.at("2027-01-02")
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
