"""FOCUS rows: they sum to what the invoice demands, and only what corrects an invoiced period says so."""

import csv
import io
from decimal import Decimal
from typing import Any

import pytest
from tests.billing.rig import BASE, TOKENS, VAT, Rig

from interlock.billing import focus_csv
from interlock.billing.exports import COLUMNS
from interlock.errors import LocalError

REQUIRED = (
    *("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "BillingCurrency", "BillingPeriodStart"),
    *("BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "ChargeDescription", "InvoiceId"),
    *("BillingAccountId", "InvoiceIssuerName", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName"),
)
"""Never null."""


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def cost(of: list[dict[str, str]], column: str = "BilledCost") -> Decimal:
    return sum((Decimal(row[column]) for row in of), Decimal(0))


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"taxes": VAT},
        {"taxes": VAT | {"inclusive": True}, "discounts": [{"name": "d", "percent": "12.5"}]},
        {"taxes": {"rates": [{"name": "A", "percent": "5"}, {"name": "B", "percent": "9.975"}], "level": "line"}},
        {"rounding": {"level": "invoice"}, "commitment": {"minimum": "500"}, "taxes": VAT},
    ],
)
def test_rows_sum_to_what_is_payable(plan: dict[str, Any]) -> None:
    price = {"price": {"model": "per_unit", "unit": "0.3333"}, "source": {"usage": "output", "by": ["model"]}}
    rig = Rig(acme=1_234_567_890).subscribed(BASE, TOKENS | price, **plan)
    for model in "abc":
        rig.usage.add("2026-11-05", 7, model=model)
    first = rig.final("2026-11")
    rig.usage.add("2026-11-06", 5, model="a")
    rig.at("2027-01-02")
    for held in (first, rig.final("2026-12")):
        found = rows(focus_csv(rig.whole(held)))
        assert held.final is not None
        assert cost(found) == Decimal(held.final.payable) / 10**9
        assert {row["InvoiceId"] for row in found} == {held.final.number}
        assert all(row[name] for row in found for name in REQUIRED)
        assert {row["ChargeCategory"] for row in found} <= {"Usage", "Purchase", "Tax", "Credit"}
        for row in found:
            assert row["ChargeClass"] == ("Correction" if row["x_Period"] != held.header.period else "")
            if row["ChargeCategory"] in ("Tax", "Credit"):
                assert row["PricingQuantity"] == row["ConsumedQuantity"] == row["SkuId"] == ""
        assert any(row["ChargeClass"] for row in found) == (held is not first)


def test_a_credit_note_is_another_document() -> None:
    rig = Rig().subscribed(BASE, taxes=VAT)
    held = rig.final()
    note, _ = rig.do(rig.billing.credit("c1", held.header.id, {}, "goodwill", "ann"))
    found = rows(focus_csv(rig.whole(rig.accounts.find(held.header.id))))
    mine = [row for row in found if row["InvoiceId"] == note.number]
    assert cost(mine) == -Decimal(note.total) / 10**9 and cost(found) == 0
    assert {row["ChargeClass"] for row in mine} == {"Correction"}


def test_units_of_several_sources() -> None:
    def row(**measures: str) -> dict[str, str]:
        sources = {name: {"usage": measure} for name, measure in measures.items()}
        rig = Rig().subscribed(TOKENS | {"source": None, "sources": sources, "unit_name": "", "free_units": "1"})
        rig.usage.add("2026-11-05", 7)
        [found] = rows(focus_csv(rig.whole(rig.final())))
        return found

    both = row(a="output", b="input")
    assert (both["ConsumedUnit"], both["SkuMeter"]) == ("Tokens", "usage/output usage/input")
    assert row(a="output", b="requests")["ConsumedUnit"] == "Units"  # of two kinds there is no unit


def test_only_of_what_is_billed() -> None:
    rig = Rig().subscribed()
    with pytest.raises(LocalError) as caught:
        focus_csv(rig.document())
    assert caught.value.code == "wrong_state"


def test_columns_are_named_once() -> None:
    assert len(set(COLUMNS)) == len(COLUMNS)
    assert list(COLUMNS[:-3]) == sorted(COLUMNS[:-3]) and all(name.startswith("x_") for name in COLUMNS[-3:])
