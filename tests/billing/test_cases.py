"""Worked cases from elsewhere over windows and several meters come out of an invoice as they do of rating."""

from fractions import Fraction
from typing import Any

import pytest
from tests.billing.rig import TOKENS, Rig
from tests.rating import cases, kinds

from interlock.rating import Charge, Rated, Usage, plan_record, rate
from interlock.rating.plan import Windowed

CASES = [case for case in [*cases.load(), *cases.load(cases.FURTHER)] if "amount" in case["expected"]]
KINDS = ("windowed", "two_meters")


def rated(case: cases.Case, monkeypatch: pytest.MonkeyPatch) -> tuple[Charge, Usage]:
    """What rating is given for a case."""
    asked: list[tuple[Charge, Usage]] = []

    def watched(charge: Charge, usage: Usage, *booked: Any) -> Rated:
        asked.append((charge, usage))
        return rate(charge, usage, *booked)

    with monkeypatch.context() as patched:
        patched.setattr(kinds, "rate", watched)
        assert cases.check(case) == []
    [found] = asked
    return found


def invoiced(charge: Charge, usage: Usage) -> Fraction:
    """One day's invoice: the case's windows are its first hours, and the others cost nothing; or its meters."""
    document: dict[str, Any] = plan_record(charge) | {"id": "case", "description": "", "source": None}
    if isinstance(charge.price, Windowed):
        rest = {"price": {"model": "per_unit", "unit": "0"}}
        document["price"]["classes"] = {name or "all": one for name, one in document["price"]["classes"].items()}
        document["price"]["classes"]["rest"] = rest
        rules = [
            {"in_class": one.in_class or "all", "from_hour": hour, "to_hour": hour + 1}
            for hour, one in enumerate(usage.buckets)
        ]
        document["windows"] = {"size": "hour", "rules": rules, "otherwise": "rest"}
        document["source"] = TOKENS["source"]
    else:
        document["sources"] = {name: {"usage": "output", "where": {"model": [name]}} for name in usage.meters}
    rig = Rig().subscribed(document, since="2026-11-30")
    for hour, bucket in enumerate(usage.buckets):
        rig.usage.add(f"2026-11-30T{hour:02}:59:59", int(bucket.quantity))
    for name, quantity in usage.meters.items():
        rig.usage.add("2026-11-30", int(quantity), model=name)
    [line] = rig.document().lines
    return Fraction(line.exact)


def test_worked_cases_come_out_of_an_invoice(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [case for case in CASES if any(kind in case["model"] for kind in KINDS)]
    assert {kind: sum(kind in case["model"] for case in chosen) for kind in KINDS} == {"windowed": 12, "two_meters": 9}
    for case in chosen:
        charge, usage = rated(case, monkeypatch)
        assert invoiced(charge, usage) == Fraction(case["expected"]["amount"]), case["id"]
