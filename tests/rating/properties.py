"""Properties that take the implementation which they hold against: the real one passes, a planted wrong one must not.

Everything is generated with edges on purpose: quantities at the bounds of tiers, amounts that tie at the last place.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, TypeVar

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.rating import (
    MODES,
    Booked,
    Charge,
    Line,
    Plan,
    Rated,
    Reduction,
    TaxLine,
    Total,
    Usage,
    rate,
    read_plan,
    round_to,
    text_of,
)
from interlock.rating.plan import Mode

T = TypeVar("T")
EXAMPLES = 80

Rate = Callable[[Charge, Usage, Booked], Rated]
Split = Callable[[Fraction, Sequence[Fraction], int], list[Fraction]]
Round = Callable[[Fraction, int, Mode], Fraction]


def holds(strategy: st.SearchStrategy[T], body: Callable[[T], None], examples: int = EXAMPLES) -> None:
    """Raises: AssertionError: the body does, for something generated; the least such thing is not looked for."""

    @settings(max_examples=examples, database=None, deadline=None, derandomize=True, phases=[Phase.generate])
    @given(strategy)
    def run(value: T) -> None:
        body(value)

    run()


def decimals(places: int, most: int = 10**6, least: int = 0) -> st.SearchStrategy[Fraction]:
    """Decimals of at most so many places, in [least, most] units of the last place."""
    return st.integers(least, most).map(lambda units: Fraction(units, 10**places))


ties = st.tuples(st.integers(-500, 500), st.integers(0, 3), st.integers(-1, 1), st.integers(3, 12)).map(
    lambda drawn: (
        Fraction(2 * drawn[0] + 1, 2 * 10 ** drawn[1]) + Fraction(drawn[2], 10 ** (drawn[1] + drawn[3])),
        drawn[1],
    )
)
"""(amount, places): a tie at the last place, positive or negative, or as near to one as a thirteenth place is."""


@st.composite
def tiers(draw: st.DrawFn, *, flats: bool = True, falling: bool = True) -> list[dict[str, Any]]:
    """One to five tiers, the last without an end."""
    bounds = sorted(draw(st.sets(st.integers(1, 60), max_size=4)))
    found: list[dict[str, Any]] = []
    for up_to in [*bounds, None]:
        unit, flat = draw(decimals(2, 500)), draw(decimals(1, 300)) if flats else Fraction(0)
        found.append(
            {"unit": str(float(unit)), "flat": str(float(flat)), **({} if up_to is None else {"up_to": str(up_to)})}
        )
    return found


@st.composite
def prices(draw: st.DrawFn) -> dict[str, Any]:
    """Any price of one quantity."""
    model = draw(
        st.sampled_from(["per_unit", "graduated", "volume", "package", "graduated_blocks", "dynamic", "volume_blocks"])
    )
    if model in ("graduated", "volume"):
        return {"model": model, "tiers": draw(tiers())}
    if model == "package":
        return {
            "model": model,
            "size": str(draw(st.integers(1, 12))),
            "price": "7.35",
            "free_units": str(draw(st.integers(0, 9))),
        }
    if model.endswith("_blocks"):
        blocks = [
            {"block_size": "3", "max_blocks": 4, "price_per_block": "2.01"},
            {"block_size": "7", "price_per_block": "3.3"},
        ]
        return {"model": model, "tiers": blocks}
    return {"model": model, "unit": "0.333333"} if model == "per_unit" else {"model": model, "multiplier": "1.33333"}


@st.composite
def charges(draw: st.DrawFn) -> dict[str, Any]:
    """A charge with some of what may modify it."""
    found: dict[str, Any] = {"id": "c", "price": draw(prices())}
    if draw(st.booleans()):
        found["maximum"] = "90.5"
    if draw(st.booleans()):
        found["minimum"] = "12.25"
    if draw(st.booleans()):
        found["free_units"] = "5"
    if draw(st.booleans()):
        found["convert"] = {"divide_by": "3", **draw(st.sampled_from([{}, {"round": "half_up", "places": 1}]))}
    if draw(st.booleans()):
        found["discounts"] = [{"name": "tenth", "percent": "10"}]
    return found


def shown(*values: Fraction) -> str:
    """Amounts in one text, to be compared: `18 108`."""
    return " ".join(map(text_of, values))


def plan_with(charges: list[dict[str, Any]], **more: Any) -> Plan:
    """A plan through the reader."""
    return read_plan({"name": "p", "currency": "EUR", "charges": charges, **more})


quantities = st.one_of(st.integers(0, 80).map(Fraction), decimals(2, 8000))
runs = st.lists(quantities, min_size=1, max_size=6)


def many_runs_are_one(rate: Rate) -> None:
    """Whatever runs there were, with whatever quantities in between, the last leaves what one run would have booked."""

    def body(drawn: tuple[dict[str, Any], list[Fraction]]) -> None:
        charge = plan_with([drawn[0]]).charges[0]
        cumulative = drawn[1]
        booked_nano, quantity = 0, Fraction(0)
        for index, now in enumerate(cumulative):
            usage = Usage(quantity=now, last_of_period=index + 1 == len(cumulative))
            rated = rate(charge, usage, Booked(amount=Fraction(booked_nano, 10**9), quantity=quantity))
            booked_nano, quantity = booked_nano + rated.amount_nano, now
            assert rated.amount == rated.gross - rated.discount + rated.true_up - rated.withheld
        once = rate(charge, Usage(quantity=cumulative[-1]), Booked())
        assert booked_nano == once.amount_nano
        assert of_runs(charge, cumulative) == once.amount
        assert of_runs(replace(charge, interim="wait"), cumulative) == once.amount, "all is left to the last"
        assert sum_of_quantities(rate, charge, cumulative) == once.period_quantity

    def of_runs(charge: Charge, cumulative: Sequence[Fraction]) -> Fraction:
        """The same where each run tells what is new in it."""
        booked = Booked()
        for index, now in enumerate(cumulative):
            last = index + 1 == len(cumulative)
            usage = Usage(quantity=now - booked.quantity, covers="run", last_of_period=last)
            booked = Booked(amount=rate(charge, usage, booked).period_amount, quantity=now)
        return booked.amount or Fraction(0)

    holds(st.tuples(charges(), runs), body)


def sum_of_quantities(rate: Rate, charge: Charge, cumulative: Sequence[Fraction]) -> Fraction:
    """The quantities that runs billed, together."""
    found, before = Fraction(0), Fraction(0)
    for now in cumulative:
        found += rate(charge, Usage(quantity=now), Booked(amount=Fraction(0), quantity=before)).quantity
        before = now
    return found


weights = st.lists(decimals(2, 1000), min_size=1, max_size=8).filter(any)
splits = st.tuples(st.integers(-(10**4), 10**4), weights, st.integers(0, 3))


def split_loses_nothing(split: Split) -> None:
    """Parts sum to the amount, each within a unit of its share; of equal weights the first has more."""

    def body(drawn: tuple[int, list[Fraction], int]) -> None:
        units, given, places = drawn
        unit = Fraction(1, 10**places)
        amount = units * unit
        parts = split(amount, given, places)
        assert sum(parts) == amount
        assert all(part % unit == 0 for part in parts)
        assert all(abs(part - amount * weight / sum(given)) < unit for part, weight in zip(parts, given, strict=True))
        assert parts == split(amount, given, places), "the same again"
        assert [-part for part in parts] == split(-amount, given, places), "a reversal restores each part"
        even = split(amount, [Fraction(1)] * 3, places)
        assert abs(even[0]) >= abs(even[1]) >= abs(even[2]), "ties go to the first"

    holds(splits, body)


def rounds_right(round_to: Round, reference: Callable[[Fraction, int, Mode], Fraction], modes: Sequence[Mode]) -> None:
    """Every mode is what the reference says, on ties above all."""

    def body(drawn: tuple[Fraction, int]) -> None:
        value, places = drawn
        for mode in modes:
            assert round_to(value, places, mode) == reference(value, places, mode), (value, places, mode)

    holds(ties, body, 150)


def graduated_is_monotone_and_continuous(rate: Rate) -> None:
    """More units never cost less, and where there are no flat fees a sliver more costs a sliver more."""

    def body(drawn: tuple[list[dict[str, Any]], Fraction]) -> None:
        listed, quantity = drawn
        charge = plan_with([{"id": "c", "price": {"model": "graduated", "tiers": listed}}]).charges[0]
        steepest = max(Fraction(tier["unit"]) for tier in listed)
        sliver = Fraction(1, 1000)
        for at in (quantity, *(Fraction(tier["up_to"]) for tier in listed if "up_to" in tier)):
            now, more = (rate(charge, Usage(quantity=q), Booked()).amount for q in (at, at + sliver))
            assert 0 <= more - now <= steepest * sliver

    holds(st.tuples(tiers(flats=False), quantities), body)


STAGES = ["discounts", "commitment", "credits", "taxes"]
DISCOUNTS: list[dict[str, Any]] = [
    {"name": "tenth", "percent": "10"},
    {"name": "some", "amount": "3.337"},
    {"name": "one", "percent": "33.3", "charges": ["c0"]},
]


@st.composite
def bills(draw: st.DrawFn) -> tuple[Plan, Fraction]:
    """A plan of flat lines, negative or tied at the last place, with all that a total takes; and credits."""
    places = draw(st.integers(0, 3))
    listed = [
        Fraction(half, 2 * 10**places) for half in draw(st.lists(st.integers(-300, 3000), min_size=1, max_size=6))
    ]
    charges = [{"id": f"c{i}", "price": {"model": "flat", "amount": text_of(value)}} for i, value in enumerate(listed)]
    rates = draw(st.sampled_from([[], ["19"], ["6", "2"], ["8.875"]]))
    taxes = {
        "rates": [{"name": f"t{i}", "percent": percent} for i, percent in enumerate(rates)],
        "inclusive": draw(st.booleans()),
        "compound": draw(st.booleans()),
        "level": draw(st.sampled_from(["line", "invoice"])),
        "round_first": draw(st.sampled_from(["tax", "net"])),
    }
    rounding = {
        "level": draw(st.sampled_from(["line", "invoice", "total", "none"])),
        "mode": draw(st.sampled_from(MODES)),
        "places": places,
    }
    more: dict[str, Any] = {"taxes": taxes, "rounding": rounding, "order": draw(st.permutations(STAGES))}
    more["discounts"] = draw(st.lists(st.sampled_from(DISCOUNTS), max_size=3, unique_by=lambda one: str(one["name"])))
    if draw(st.booleans()):
        more["commitment"] = {"minimum": "55.555"}
    return plan_with(charges, **more), draw(st.sampled_from([Fraction(0), Fraction("7.005"), Fraction(10**6)]))


Add = Callable[[Plan, Sequence[Rated], Fraction], Total]


def nothing_is_lost(add: Add) -> None:
    """Lines and residues are exact, parts sum to what they are parts of, and everything can be paid."""

    def body(drawn: tuple[Plan, Fraction]) -> None:
        plan, credits = drawn
        rated = [rate(charge, Usage()) for charge in plan.charges]
        bill = add(plan, rated, credits)
        before_tax = plan.order.index("credits") < plan.order.index("taxes")
        rounded: list[Line | Reduction | TaxLine] = [*bill.lines, *bill.discounts, *bill.taxes]
        assert all(one.exact == one.amount + one.residue for one in rounded)
        assert [line.exact for line in bill.lines if line.kind == "charge"] == [one.amount for one in rated]
        assert bill.subtotal == sum(line.amount for line in bill.lines)
        assert sum(line.tax for line in bill.lines) == sum(tax.amount for tax in bill.taxes) == bill.tax
        assert sum(line.discount for line in bill.lines) + bill.after_tax == sum(one.amount for one in bill.discounts)
        assert sum(line.credit for line in bill.lines) == (bill.credited if before_tax else 0) <= credits
        held = bill.tax if plan.taxes.inclusive else 0
        assert bill.net == bill.subtotal - sum(line.discount + line.credit for line in bill.lines) - held
        assert bill.total == bill.net + bill.tax - bill.after_tax + bill.rounding
        assert bill.due == bill.total - (0 if before_tax else bill.credited)
        assert bill.due >= 0 or any(line.amount < 0 for line in bill.lines)
        added = Fraction(0) if plan.taxes.inclusive else sum((tax.exact for tax in bill.taxes), Fraction(0))
        exacts = sum(line.exact for line in bill.lines) - sum(one.exact for one in bill.discounts) + added
        assert exacts == bill.total + (bill.credited if before_tax else 0) + bill.residue
        if plan.rounding.level == "none":
            assert bill.residue == 0
            return
        unit = Fraction(1, 10**bill.places)
        if plan.rounding.level == "total":
            assert bill.total == round_to(bill.total - bill.rounding, bill.places, plan.rounding.mode)
            return
        assert bill.rounding == 0
        paid = [value for line in bill.lines for value in (line.amount, line.discount, line.credit, line.tax, line.net)]
        assert all(value % unit == 0 for value in (*paid, bill.total, bill.due, *(tax.amount for tax in bill.taxes)))
        if plan.rounding.level == "invoice":
            charged = [line for line in bill.lines if line.kind == "charge"]
            whole = round_to(sum((one.amount for one in rated), Fraction(0)), bill.places, plan.rounding.mode)
            assert sum(line.amount for line in charged) == whole
            assert all(abs(line.residue) < unit for line in charged)
        else:
            assert all(line.amount == round_to(line.exact, bill.places, plan.rounding.mode) for line in bill.lines)

    holds(bills(), body, 150)
