"""The kinds of worked cases: one charge with its modifiers, an invoice, amounts to be rounded and taxed, a split.

`told` gives everything that came out, under the names that the cases use.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

from msgspec.structs import replace
from tests.rating.adapter import (
    LAST,
    booked_of,
    charge,
    conversion,
    days_of,
    discounts,
    flats,
    plan_of,
    price_model,
    usage_of,
)
from tests.rating.commitments import cumulative, sums_of, windows
from tests.rating.keys import Answers, Keys, in_cents, listed, number
from tests.rating.lines import Lines, line_coupons

from interlock.rating import PLACES, TIE_BREAKS, Booked, Plan, Rated, Total, Usage, rate, round_to, split, total


def told(rated: Rated | None, invoice: Total) -> Answers:
    """What an invoice came to, under the names that cases use."""
    off = sum((one.amount for one in invoice.discounts), Fraction(0))
    committed = sum((line.amount for line in invoice.lines if line.kind == "commitment"), Fraction(0))
    sums = {
        ("subtotal", "fees", "fee"): invoice.subtotal,
        ("tax", "total_tax", "tax_total", "taxes_total"): invoice.tax,
        ("net", "taxable", "total_excluding_tax", "net_total", "before_tax"): invoice.net,
        ("total", "gross_total", "grand_total", "total_with_tax", "total_including_tax", "after_tax"): invoice.total,
        ("due", "amount_due", "total_due", "payable"): invoice.due,
        ("discount", "total_discount", "discount_total", "coupon", "coupon_total"): off,
        ("after_discount", "after_discounts", "discounted"): invoice.subtotal - off,
        ("true_up", "commitment_true_up"): committed,
    }
    found: Answers = {name: value for names, value in sums.items() for name in names}
    found |= {
        "lines": [line.amount for line in invoice.lines if line.kind == "charge"],
        "line_discounts": [line.discount for line in invoice.lines],
        "line_taxes": [line.tax for line in invoice.lines],
        "taxes": [tax.amount for tax in invoice.taxes],
        "tax_amounts": [tax.amount for tax in invoice.taxes],
        "invoice_total": max(invoice.due, Fraction(0)),
        "credit_note": max(-invoice.due, Fraction(0)),
        "residue": invoice.residue,
        "discounts": [one.amount for one in invoice.discounts],
        "unrounded_sum": sum((line.exact for line in invoice.lines), Fraction(0)),
        "credited": invoice.credited,
    }
    if rated is not None:
        found |= {
            "amount": rated.amount,
            "exact": rated.amount,
            "raw": rated.amount,
            "charge": rated.amount,
            "gross": rated.gross,
            "billed_quantity": rated.quantity,
            "quantity": rated.quantity,
            "maximum_discount": rated.discount,
            "minimum_top_up": rated.true_up,
        }
        if rated.quantity:
            found["unit_amount"] = found["effective_unit_cost"] = rated.amount / rated.quantity
        if not invoice.discounts:
            found["discount"] = rated.discount
        if rated.true_up:
            found["true_up"] = rated.true_up
    return found


def priced(params: Keys, usage: Keys, parts: set[str]) -> Answers:
    """A case of one charge, with whatever modifies it."""
    cents = in_cents(params, usage)
    model = price_model(parts, params)
    days = days_of(params)
    lines = parts & {"line", "rounding", "rounded"}
    round_at = (
        None if lines or "divide_by" in params.values else params.take("currency_places", "round_places", "places")
    )
    one = charge("charge", model, params, parts, None if round_at is None else int(round_at))
    interim = model in ("volume", "flat") and "late" not in parts
    if interim:
        one["interim"] = "wait"
    booked = booked_of(params, model)
    runs = usage.take("cumulative_quantity_per_run", "cumulative_per_run", "runs")
    several = usage.take("quantities", "lines")
    plan = plan_of([one], params, parts, cents, discounts=[])
    if runs is not None:
        return per_run(plan, runs, bool(params.take(*LAST, default=True)))
    if several is not None:
        return per_line(plan, several, "progressive" in parts or "lines" in usage.values)
    given = usage_of(usage, model, days, parts, params)
    if booked is not None:
        given = Usage(quantity=given.quantity, days=days, covers="run", last_of_period=given.last_of_period)
    rated = rate(plan.charges[0], given, booked or Booked())
    found = told(rated, total(plan, [rated], days=days, last_of_period=given.last_of_period))
    if lines:
        found["amount"] = found["subtotal"]
    params.take("round")  # where it is no mode, it tells in words what the others say
    packages = [number(step.output) for step in rated.steps if step.name == "packages"]
    return found | {"packages": packages[-1] if packages else None}


def per_run(plan: Plan, runs: list[Any], final: bool) -> Answers:
    """Each run prices all of the period until now and books the difference; the last one is the period's last."""
    booked, quantity = Fraction(0), Fraction(0)
    amounts = []
    for index, run in enumerate(runs, 1):
        given = Usage(quantity=number(run), last_of_period=final and index == len(runs))
        rated = rate(plan.charges[0], given, Booked(amount=booked, quantity=quantity))
        booked, quantity = rated.period_amount, number(run)
        amounts.append(rated.amount)
    return {"booked_per_run": amounts, "amounts": amounts, "total": booked, "booked_total": booked}


def per_line(plan: Plan, quantities: Iterable[Any], cumulative: bool) -> Answers:
    """Several quantities: each alone, or one after the other within a period."""
    found: list[Rated] = []
    before = Fraction(0)
    for one in quantities:
        booked = Booked(quantity=before)
        found.append(
            rate(plan.charges[0], Usage(quantity=number(one), covers="run" if cumulative else "period"), booked)
        )
        before += number(one) if cumulative else 0
    counts = [[number(step.output) for step in one.steps if step.name == "packages"] for one in found]
    packages = [count[-1] if count else None for count in counts]
    amounts = [one.amount for one in found]
    return {
        "billed_quantity": [one.quantity for one in found],
        "packages": packages,
        "amounts": amounts,
        "amount": amounts,
    }


def converted(params: Keys, usage: Keys, parts: set[str]) -> Answers:
    """Units into units, before anything is priced."""
    convert = conversion(params)
    priced = {"price": {"model": "per_unit", "unit": 1}, "negative_quantity": "rate"}
    unrounded = {key: value for key, value in convert.items() if key not in ("round", "places")}
    charges = [{"id": "units", **priced, "convert": convert}, {"id": "exactly", **priced, "convert": unrounded}]
    plan = plan_of(charges, Keys({}, "params"), set(), cents=False)
    many = usage.take("quantities")
    billed, exactly = (
        [rate(charge, Usage(quantity=number(value))).quantity for value in (many or [usage.take("quantity")])]
        for charge in plan.charges
    )
    found = dict.fromkeys(("billed_quantity", "quantity", "invoiced"), billed)
    found |= dict.fromkeys(("converted", "precise"), exactly)
    return found if many else {name: values[0] for name, values in found.items()}


_BILLED = (
    *("lines", "line_items", "taxable", "subtotal", "amount", "gross", "fees", "usage_fee", "usage_fees"),
    *("period_fees", "fee", "net", "amounts", "used", "usage"),
)
"""What amounts that are billed are called."""
_CREDITS = (
    "credits",
    "wallet_credits",
    "wallet_credit",
    "prepaid_credits",
    "wallet",
    "credit",
    "prepaid",
    "credits_applied",
)


def billed(params: Keys, usage: Keys, parts: set[str]) -> Answers:
    """Amounts that are rounded, discounted, topped up, taxed: no price comes before it."""
    cents = in_cents(params, usage)
    days = days_of(params)
    value = usage.money(*_BILLED, default=params.take("lines", "line_items"))
    times = 1
    if "line" in usage.values:  # so many of the same
        value, times = usage.take("line"), int(usage.take("count", "times", default=1))
    if value is None and "order" in parts | {word[:5] for word in parts}:
        value = {name: usage.take(name) for name in list(usage.values)}
    lines = Lines(value)
    subscription = params.money("subscription")
    if subscription is not None:
        lines.add_flat("subscription", subscription)
    whole = bool(params.take("subscription_prorated", default=False))
    least = params.money("minimum", "commitment", "minimum_commitment", "minimum_spend")
    commitment = None if least is None else {"minimum": least}
    already = params.money("already_billed_progressively", "already_billed", default="0")
    paid = sum((number(one) for one in listed(already)), Fraction(0))
    credits = number(params.money(*_CREDITS, default=usage.money(*_CREDITS, default="0")))
    reductions = [{**one, "name": f"line-{n}"} for n, one in enumerate(line_coupons(params, lines))]
    off = params.money("amount", "value") if "discount" in parts else None  # the only amount that is no usage
    reductions += [] if off is None else [{"amount": off, "name": "off"}]
    document = {"discounts": reductions + discounts(params), "commitment": commitment}
    plan = plan_of(lines.charges, params, parts, cents, **document)
    rated = [
        rate(
            one,
            Usage(quantity=lines.quantities.get(one.id), days=days if one.id == "subscription" and not whole else None),
        )
        for one in plan.charges
    ] * times
    invoice = total(plan, rated, days=days, already_billed=paid, credits=credits)
    found = told(None, invoice)
    separately = [sum((line.net + line.tax for line in by_line(plan, rated).lines), Fraction(0))]
    found["naive_sum_of_separately_rounded_lines"] = separately[0]
    found["amount"] = found["rounded"] = invoice.lines[0].amount
    if invoice.discounts or commitment:
        found["net"] = invoice.subtotal - found["discount"]
    found["taxable"] = found["net"]
    return found


def ordered(params: Keys, usage: Keys, parts: set[str]) -> Answers:
    """An invoice through all its stages, whose total is what is left to pay."""
    found = billed(params, usage, parts)
    return found | dict.fromkeys(("total", "owed"), found["due"])


def by_line(plan: Plan, rated: list[Rated]) -> Total:
    """The same with each line's tax rounded alone."""
    return total(replace(plan, taxes=replace(plan.taxes, level="line")), rated)


def flat_part(params: Keys, usage: Keys, parts: set[str]) -> Answers:
    """A flat fee for some days of the period: a stub, or what a credit note gives back."""
    cents = in_cents(params, usage)
    days = days_of(params)
    amount = params.money("amount", "flat", "fee", "price")
    plan = plan_of(flats([amount]), params, parts, cents, discounts=discounts(params))
    rated = rate(plan.charges[0], Usage(days=days))
    invoice = total(plan, [rated])
    found = told(None, invoice) | {"amount": invoice.subtotal}
    shown = ("net", "tax", "fee", "fees", "subtotal", "amount", "discount", "taxable") if "note" in parts else ()
    return found | {name: round_to(found[name], invoice.places) for name in shown}


def plan_change(params: Keys, usage: Keys, parts: set[str]) -> Answers:
    """The unused days of one plan or quantity given back, those of another charged; either may be missing."""
    cents = in_cents(params, usage)
    days = days_of(params)
    unit = params.take("unit", "unit_price", default="1")

    def side(name: str) -> Fraction:
        quantity = params.take(f"{name}_quantity", f"{name}_units")
        amount = params.money(name, f"{name}_price", f"{name}_unit", default="0" if quantity is None else unit)
        return number(amount) * number("1" if quantity is None else quantity)

    plan = plan_of(flats([-side("old"), side("new")]), params, parts, cents)
    invoice = total(plan, [rate(one, Usage(days=days)) for one in plan.charges])
    credit, debit = (line.amount for line in invoice.lines)
    found = dict.fromkeys(("net", "proration", "net_amount"), invoice.subtotal)
    return told(None, invoice) | {"credit": credit, "debit": debit, "charge": debit, "amount": invoice.subtotal} | found


def windowed(params: Keys, usage: Keys, parts: set[str]) -> Answers:
    """Windows of time with a commitment each, and what modifies any charge."""
    plan, given = windows(params, usage, parts)
    rated = rate(plan.charges[0], given)
    return told(rated, total(plan, [rated])) | sums_of(rated)


def credit_notes(params: Keys, usage: Keys, parts: set[str]) -> Answers:
    """Credit notes on one invoice, one an item: each is what all items until then come to, less those before."""
    items = listed(usage.money("items", "credit_notes", "fees", "lines"))
    plan = plan_of(flats(items), params, parts, in_cents(params, usage), discounts=discounts(params))
    rated = [rate(charge, Usage()) for charge in plan.charges]
    sums = [total(plan, rated[:count]).total for count in range(len(rated) + 1)]
    notes = [after - before for before, after in itertools.pairwise(sums)]
    lists = dict.fromkeys(("credit_notes", "credit_note_totals", "totals", "notes"), notes)
    return told(None, total(plan, rated)) | lists | {"sum": sums[-1], "sum_of_credit_notes": sums[-1]}


def shares(params: Keys, usage: Keys, parts: set[str]) -> Answers:
    """A split by largest remainder."""
    told_weights = params.take("weights", "amounts", default=usage.take("weights", "lines", default=[]))
    if (items := params.take("items", default=usage.take("items"))) is not None:
        told_weights = {str(one.get("key", one.get("id"))): one.get("weight", one.get("amount")) for one in items}
    named = isinstance(told_weights, Mapping)
    weights = [number(value) for value in (told_weights.values() if named else told_weights)]
    told_tie = str(params.take("tie_break", "tie", default="first"))
    keys = [str(key) for key in params.take("keys", "ids", "names", default=list(told_weights) if named else [])]
    tie = next((name for name in TIE_BREAKS[1:] if name in told_tie), TIE_BREAKS[0])
    params.take("omit_zero", "omit_zeros")  # a share that is nothing may be left out
    places = int(params.take("places", default=PLACES[params.take("currency", default="USD")]))
    found = split(number(usage.take("amount", "credit", "total")), weights, places, tie, keys=keys)
    parts_found: Any = dict(zip(keys, found, strict=True)) if named else found
    answers: Answers = dict.fromkeys(("shares", "parts", "allocations"), parts_found)
    if keys:
        answers["shares_by_key"] = dict(zip(keys, found, strict=True))
    return answers | {"sum": sum(found, Fraction(0))}


def invoice(params: Keys, usage: Keys, parts: set[str]) -> Answers:
    """Several charges on one invoice, final or interim."""
    cents = in_cents(params, usage)
    interim = usage.take("invoice") == "interim"
    lines = [Keys(line, f"params.lines.{line['id']}") for line in params.take("lines", "charges")]
    charges = []
    for line in lines:
        model = str(line.take("model"))
        words = set(re.split(r"[^a-z0-9]+", model))
        line.take("id")
        charges.append(charge(line.values["id"], price_model(words, line), line, words))
    document: dict[str, Any] = {"discounts": discounts(params), "commitment": None}
    least = params.money("minimum_commitment", "commitment")
    if least is not None:
        document["commitment"] = {"minimum": least}
    plan = plan_of(charges, params, parts, cents, **document)
    rated = []
    for line, one in zip(lines, plan.charges, strict=True):
        booked = booked_of(line, "")
        quantity = number(usage.take(one.id, default="0"))
        given = Usage(quantity=quantity, covers="run" if booked else "period", last_of_period=not interim)
        rated.append(rate(one, given, booked or Booked()))
        line.done()
    return told(None, total(plan, rated, last_of_period=not interim))


def already(params: Keys, usage: Keys, parts: set[str]) -> Answers:
    """Periods, each with what is invoiced of it already."""
    booked = [number(value) for value in params.take("already_invoiced", "already_billed")]
    periods = [sum(map(number, listed(values)), Fraction(0)) for values in usage.take("periods", "quantities")]
    plan = plan_of([charge("blocks", price_model(parts, params), params, parts)], params, parts, in_cents(params))
    due = [
        rate(plan.charges[0], Usage(quantity=one), Booked(amount=paid)).amount
        for one, paid in zip(periods, booked, strict=True)
    ]
    return {"due": due, "amounts": due, "total": sum(due, Fraction(0))}


HANDLERS: list[tuple[list[set[str]], Callable[[Keys, Keys, set[str]], Answers]]] = [
    ([{"conversion"}], converted),
    ([{"split"}, {"allocation"}, {"allocate"}, {"remainder"}, {"spread"}], shares),
    ([{"windowed", "commitment"}], windowed),
    ([{"cumulative", "commitment"}, {"commitment", "overage"}, {"commitment", "math"}], cumulative),
    ([{"order"}, {"calculation"}, {"sequence"}, {"pipeline"}], ordered),
    ([{"already", "invoiced"}], already),
    ([{"proration", "change"}, {"plan", "change"}], plan_change),
    ([{"credit", "notes"}], credit_notes),
    ([{"credit", "note"}, {"flat", "prorated"}], flat_part),
    (
        [
            {"currency", "round"},
            {"sum", "rounded"},
            {"coupon"},
            {"discount", "percentage"},
            {"minimum", "spend"},
            {"minimum", "commitment"},
            {"commitment", "true"},
            {"taxes"},
            {"progressive", "billing"},
            {"invoice", "tax"},
        ],
        billed,
    ),
    ([{"tax", "exclusive"}, {"tax", "inclusive"}, {"tax", "compound"}], billed),
    ([{"invoice"}], invoice),
]
"""The first whose names are all among the parts of the model; a charge with its modifiers if there is none."""
