"""Every step can be computed again from its text, by Python's own evaluator, and the last ones give the result."""

import ast
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.rating.properties import bills, charges, holds, plan_with, runs

from interlock.errors import LocalError
from interlock.rating import Booked, Bucket, Plan, Rated, Step, Usage, Work, rate, round_to, steps, text_of, total
from interlock.rating import holds as step_holds
from interlock.rating.steps import STEPS_MAX


class _Exact(ast.NodeTransformer):
    """Whole numbers of a rule as fractions, so that Python's division is exact."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, int):
            return node
        return ast.copy_location(ast.Call(ast.Name("Fraction", ast.Load()), [node], []), node)


def again(step: Step) -> Fraction:
    """The step's output, by Python."""
    tree = ast.fix_missing_locations(_Exact().visit(ast.parse(step.rule, mode="eval")))
    names = {name: Fraction(text) for name, text in step.input.items()}
    known = {
        "min": min,
        "max": max,
        "Fraction": Fraction,
        "round": lambda value, places, mode: round_to(value, int(places), mode),
    }
    return Fraction(eval(compile(tree, "rule", "eval"), {"__builtins__": {}}, {**known, **names}))  # rules of our own


def follows(rated: Rated) -> None:
    """The steps hold, and end in the amount."""
    for step in rated.steps:
        assert step_holds(step)
        assert text_of(again(step)) == step.output, step
    assert rated.steps[-1].output == text_of(rated.amount)


def test_every_step_of_charges_holds() -> None:
    def body(drawn: tuple[dict[str, Any], list[Fraction]]) -> None:
        charge = plan_with([drawn[0]]).charges[0]
        follows(rate(charge, Usage(quantity=drawn[1][0]), Booked(amount=drawn[1][-1], quantity=drawn[1][-1])))

    holds(st.tuples(charges(), runs), body)


def test_every_step_of_totals_holds() -> None:
    def body(drawn: tuple[Plan, Fraction]) -> None:
        plan, credits = drawn
        bill = total(plan, [rate(charge, Usage()) for charge in plan.charges], credits=credits)
        assert all(step_holds(step) and text_of(again(step)) == step.output for step in bill.steps)
        assert [step.output for step in bill.steps[-2:]] == [text_of(bill.total), text_of(bill.due)]

    holds(bills(), body)


def test_a_step_that_was_altered_is_seen() -> None:
    rated = rate(
        plan_with([{"id": "c", "price": {"model": "per_unit", "unit": "3"}}]).charges[0], Usage(quantity=Fraction(7))
    )
    step = rated.steps[0]
    assert step == Step(name="price of units", input={"units": "7", "unit": "3"}, rule="units * unit", output="21")
    for wrong in (
        replace(step, output="22"),
        replace(step, rule="units + unit"),
        replace(step, input={"units": "8", "unit": "3"}),
    ):
        assert not step_holds(wrong)


@pytest.mark.parametrize(
    "rule",
    [
        "__import__('os')",
        "units.real",
        "units ** units",
        "[units]",
        "lambda: 1",
        "open(units)",
        "1.5",
        "units if units else 1",
        "",
        "min(*units)",
        "round(units, 2, 'sideways')",
        "(" * 300,
    ],
)
def test_only_rules_are_read(rule: str) -> None:
    with pytest.raises(LocalError):
        step_holds(Step(name="x", input={"units": "1"}, rule=rule, output="1"))


def test_many_steps_are_bounded_and_the_amount_is_not() -> None:
    work = Work()
    found = [work.do(f"event {n}", "amount", amount=Fraction(n)) for n in range(STEPS_MAX + 50)]
    assert sum(found) == math.comb(STEPS_MAX + 50, 2)
    taken = work.taken()
    assert (len(taken), taken[-1].name, taken[-1].output) == (STEPS_MAX + 1, "steps not listed", "50")


def test_a_charge_of_too_many_steps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many buckets in each of many tiers: what takes an hour is no question for a server."""
    monkeypatch.setattr(steps, "TAKEN_MAX", 2 * STEPS_MAX)
    tiers = [*({"up_to": str(n), "unit": "1"} for n in range(1, 50)), {"unit": "1"}]
    charge = plan_with([{"id": "c", "bucketed": True, "price": {"model": "graduated", "tiers": tiers}}]).charges[0]
    bucket = Bucket(quantity=Fraction(100))
    assert rate(charge, Usage(buckets=(bucket,) * 10)).amount == 1_000
    with pytest.raises(LocalError, match="takes more than 800 steps") as refused:
        rate(charge, Usage(buckets=(bucket,) * 20))
    assert refused.value.field == "price"
