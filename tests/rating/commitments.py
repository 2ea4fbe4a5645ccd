"""Worked cases of commitments with an overage factor: by window, or over several billing periods."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from tests.rating.adapter import days_of, modifiers, plan_of, price, price_model
from tests.rating.keys import Answers, Keys, in_cents, listed, number

from interlock.rating import Bucket, Plan, Rated, Usage, rate


def windows(params: Keys, usage: Keys, parts: set[str]) -> tuple[Plan, Usage]:
    """A plan of windows by class, and their usage."""
    classes = {}
    for name in [name for name, value in params.values.items() if isinstance(value, Mapping)]:
        inner = Keys(params.take(name), f"params.{name}")
        classes[re.sub(r"(_of)?_bucket$", "", name)] = window(inner)
        inner.done()
    if not classes:
        classes["all"] = window(params)
    told = usage.take("windows", "buckets", default=[])
    given = [pair for one in told for pair in (one.items() if isinstance(one, Mapping) else [one])]
    given = [one if isinstance(one, list | tuple) else ["all", one] for one in given]
    given += [[name, one] for name in classes if name in usage.values for one in listed(usage.take(name))]
    one = {"id": "windows", "price": {"model": "windowed", "classes": classes}, **modifiers(params)}
    plan = plan_of([one], params, parts, in_cents(params))
    buckets = tuple(Bucket(in_class=name, quantity=number(quantity)) for name, quantity in given)
    return plan, Usage(buckets=buckets, days=days_of(params))


def sums_of(rated: Rated) -> Answers:
    """What a windowed charge came to, by its steps."""

    def part(suffix: str) -> Fraction:
        return sum((Fraction(step.output) for step in rated.steps if step.name.endswith(suffix)), Fraction(0))

    utilized, true_up = part(": within the commitment"), part(": true-up")
    overage = rated.gross - utilized - true_up  # a window that nothing is committed of is all above
    sums = {"utilized": utilized, "overage": overage, "true_up": true_up}
    return {"amount": rated.amount, "charge": rated.amount} | sums


def cumulative(params: Keys, usage: Keys, parts: set[str]) -> Answers:
    """A commitment over more than one billing period: each is what all until then comes to, less what was before."""
    plan = plan_of(
        [{"id": "c", "price": {"model": "windowed", "classes": {"all": window(params)}}}],
        params,
        parts,
        in_cents(params),
    )
    before = number(
        usage.take("previous_cumulative", "previous_cumulative_cost", "previous", "already_used", default="0")
    )
    given = usage.take(
        *("months", "periods", "usage_per_month", "usages", "current"),
        *("usage", "cost", "usage_cost", "quantity", "used"),
    )
    found = []
    periods = listed(given)
    for index, one in enumerate(periods, 1):
        earlier, later = (
            sums_of(rate(plan.charges[0], Usage(buckets=(Bucket(in_class="all", quantity=quantity),))))
            for quantity in (before, before + number(one))
        )
        parts_of = {name: later[name] - earlier[name] for name in ("utilized", "overage")}
        parts_of["true_up"] = (
            later["true_up"] if index == len(periods) else Fraction(0)
        )  # only the last one is topped up
        found.append(parts_of | dict.fromkeys(("charge", "amount"), sum(parts_of.values(), Fraction(0))))
        before += number(one)
    if not isinstance(given, list):
        return found[0]
    lists = {name: [one[name] for one in found] for name in found[0]}
    return lists | {f"{name}s": values for name, values in lists.items()}


def window(params: Keys) -> dict[str, Any]:
    """One class of windows."""
    model = price_model(set(), params)
    priced = {"unit", "unit_price", "price"} & params.values.keys() or model != "per_unit"
    found: dict[str, Any] = {"price": price(model, params, set()) if priced else {"model": "per_unit", "unit": "1"}}
    for name, given in (
        ("commitment", "commitment"),
        ("commitment_units", "commitment_quantity"),
        ("overage_factor", "commitment_overage_factor"),
    ):
        value = params.take(name, given, f"{given}_amount")
        if value is not None:
            found[name] = value
    found["true_up"] = bool(params.take("true_up", "enable_true_up", "true_up_enabled", default=False))
    return found
