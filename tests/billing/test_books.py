"""Double entry: what a record posts sums to zero, and a reversal is the very same the other way round."""

import asyncio
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.billing.rig import BASE, BUYER, ISSUER, TOKENS, VAT, Rig, UsageList, catches, ns
from tests.examples import at_least

from interlock.billing import Billing, Reports, Wanted, books
from interlock.billing.books import Posting, balances, imbalance, reversed_
from interlock.billing.checking import postings
from interlock.billing.state import Held
from interlock.credits import Credits, ForInvoices, Reckoner
from interlock.credits import Wanted as Granted
from interlock.ledger import Ledger
from interlock.log.memory import MemoryLog
from interlock.testing.clock import ManualClock

PRICES = ("0.333", "0.0125", "1.005", "0.00001")
FEW = settings(max_examples=at_least(30), deadline=None)

cases = st.fixed_dictionaries(
    {
        "price": st.sampled_from(PRICES),
        "quantity": st.integers(0, 2000),
        "percent": st.sampled_from(["0", "10", "33.3"]),
        "level": st.sampled_from(["line", "invoice"]),
        "inclusive": st.booleans(),
        "prepaid": st.sampled_from([0, 1_234_567_891, 10**15]),
    }
)


SAMPLES = [
    {"price": price, "quantity": 7, "percent": percent, "level": "line", "inclusive": inclusive, "prepaid": 10**9 + 7}
    for price in PRICES
    for percent in ("0", "33.3")
    for inclusive in (False, True)
]


def invoiced(case: dict[str, Any]) -> tuple[Rig, Held]:
    charge = TOKENS | {"price": {"model": "per_unit", "unit": case["price"]}}
    discounts = [{"name": "d", "percent": case["percent"]}] if case["percent"] != "0" else []
    rig = Rig(acme=case["prepaid"]).subscribed(
        BASE,
        charge,
        taxes=VAT | {"level": case["level"], "inclusive": case["inclusive"]},
        rounding={"level": case["level"]},
        discounts=discounts,
    )
    rig.usage.add("2026-11-05", case["quantity"])
    return rig, rig.final()


def balanced(case: dict[str, Any]) -> None:
    rig, held = invoiced(case)
    assert held.final is not None
    posted = balances(postings(held))
    assert imbalance(postings(held)) == {}
    lines = rig.whole(held).lines
    exact = sum(Fraction(line.exact) for line in lines)
    included = sum(line.amount - line.discount - line.net for line in lines)
    assert -posted["USD", "revenue"] == exact - Fraction(included, 10**9)
    assert posted.get(("USD", "receivable/acme"), 0) == Fraction(held.final.payable, 10**9)
    assert -posted.get(("USD", "tax/VAT"), Fraction(0)) == Fraction(held.header.tax, 10**9)
    assert posted.get(("USD", "prepaid/acme"), 0) == Fraction(held.final.prepaid_nanousd, 10**9)


def restored(case: dict[str, Any]) -> None:
    rig, held = invoiced(case)
    rig.do(rig.billing.void(held.header.id, "wrong", "ann"))
    assert held.final is not None and set(balances(postings(rig.accounts.find(held.header.id))).values()) <= {0}
    assert rig.balances.left["acme"] == case["prepaid"]


@FEW
@given(cases)
def test_an_invoice_posts_what_sums_to_zero_and_says_what_it_is(case: dict[str, Any]) -> None:
    balanced(case)


@FEW
@given(cases)
def test_a_reversal_restores_every_account(case: dict[str, Any]) -> None:
    restored(case)


def test_others_balance_too() -> None:
    for one in (books.of_grant("a", 5), books.of_expiry("a", 5), books.of_burn("a", 5), books.of_cost(5)):
        assert len(one) == 2 and imbalance(one) == {}
    both = [*books.of_grant("a", 5), *books.of_burn("a", 3), *books.of_expiry("a", 2)]
    assert balances(both)["USD", "prepaid/a"] == 0


async def nothing_to_fold() -> None:
    """No calls."""


def test_prepaid_credit_comes_to_what_is_left(tmp_path: Path) -> None:
    """The real credits over the same log: granted, taken by an invoice, given back when it is voided."""

    async def main() -> None:
        log, clock = MemoryLog(), ManualClock(ns("2026-12-03"))
        ledger = Ledger(tmp_path / "ledger.sqlite")
        credits = Credits(log, clock, Reckoner(ledger), nothing_to_fold)
        billing = Billing(log, clock, UsageList(), ForInvoices(credits))
        reports = Reports(billing, log)
        await billing.adopt_plan({"name": "p", "currency": "USD", "charges": [BASE]}, "ann")
        await billing.set_issuer(ISSUER, "ann")
        await billing.subscribe("acme", Wanted(plan="p", since="2026-01-01", buyer=BUYER), "ann")
        await credits.grant(Granted(id="g", tenant="acme", amount="40", applies="invoices"))
        held, _ = await billing.review("acme", "2026-11", "ann")
        await billing.approve(held.header.id, held.sha256, "bob")
        held = await billing.finalize(held.header.id, "bob")
        assert held.final is not None and held.final.prepaid == 31 * 10**9 and held.final.payable == 0
        assert (await reports.books())["accounts"] == [
            {"currency": "USD", "account": "granted", "balance": "40"},
            {"currency": "USD", "account": "prepaid/acme", "balance": "-9"},
            {"currency": "USD", "account": "revenue", "balance": "-31"},
        ]
        await billing.void(held.header.id, "wrong", "ann")
        left = {row["account"]: row["balance"] for row in (await reports.books())["accounts"]}
        assert left == {"granted": "40", "prepaid/acme": "-40", "revenue": "0"}
        ledger.close()

    asyncio.run(main())


def dropping(account: str) -> Callable[[Any], Any]:
    """A book that forgets an account."""
    return lambda made: lambda *args: [one for one in made(*args) if not one.account.startswith(account)]


def rounded(made: Any) -> Any:
    """A book that rounds revenue to cents, so that what was rounded off is nowhere."""

    def wrong(*args: Any) -> list[Posting]:
        cents = Fraction(1, 100)
        return [
            one._replace(amount=round(one.amount / cents) * cents) if one.account == "revenue" else one
            for one in made(*args)
        ]

    return wrong


@pytest.mark.parametrize("mutant", [dropping("rounding"), dropping("tax"), dropping("discounts"), rounded])
def test_a_book_that_forgets_is_caught(mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "of_invoice", mutant(books.of_invoice))
    assert catches(balanced, SAMPLES)


def test_a_reversal_that_reckons_anew_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_cents(posted: list[Posting]) -> list[Posting]:
        return [one._replace(amount=-round(one.amount, 2)) for one in posted]

    assert reversed_([Posting("a", "USD", Fraction(1, 3))]) == [Posting("a", "USD", Fraction(-1, 3))]
    monkeypatch.setattr(books, "reversed_", at_cents)
    assert catches(restored, SAMPLES)
