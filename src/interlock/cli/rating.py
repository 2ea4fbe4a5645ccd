"""`interlock rate`: usage rated by a plan from files, each charge step by step; no server, nothing written."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.cli.output import Column, say, say_csv, say_json, table
from interlock.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from fractions import Fraction

    from interlock.rating import Days, Plan, Rated, Step, Total

_STEP = ("charge", "step", "input", "rule", "output")
_INVOICE = "invoice"
_DAYS = re.compile(r"(\d{1,9})/(\d{1,9})")


def run(args: Any) -> int:
    """Status 0."""
    from interlock.rating import plan_hash, plan_record, read_plan_file, read_usage_file, total

    plan = read_plan_file(Path(args.plan))
    days = _days(args.days)
    rated = _rate(plan, read_usage_file(Path(args.usage)), days, last=not args.interim)
    paid = {"credits": _amount(args.credits, "--credits")}
    paid["already_billed"] = _amount(args.already_billed, "--already-billed")
    invoice = total(plan, rated, **paid, days=days, last_of_period=not args.interim)
    if args.format == "json":
        named = {"plan": plan.name, "version": plan.version, "hash": plan_hash(plan)}
        charges = [{**plan_record(one), "amount_nano": str(one.amount_nano)} for one in rated]
        say_json({**named, "charges": charges, "total": plan_record(invoice)})
    elif args.format == "csv":
        rows = [row for one in rated for row in _steps(one.charge, one.steps)]
        say_csv(_STEP, rows + _steps("", invoice.steps))
    else:
        say(f"plan {plan.name}, version {plan.version}, {plan.currency}")
        for one in rated:
            say("", f"{one.charge} ({one.model})", *_shown(one.steps))
        say("", _INVOICE, *_shown(invoice.steps), "", *_lines(invoice, rated), "", *_sums(invoice))
    return 0


def _days(text: str | None) -> "Days | None":
    from interlock.rating import Days

    if text is None:
        return None
    found = _DAYS.fullmatch(text)
    if not found:
        raise LocalError(f"--days {text!r}: expected N/M, as 24/31", field="--days")
    return Days(billed=int(found[1]), period=int(found[2]))


def _amount(text: str, option: str) -> "Fraction":
    from interlock.rating import exact

    try:
        return exact(text)
    except ValueError as error:
        raise LocalError(f"{option}: {error}", field=option) from error


def _rate(plan: "Plan", usages: dict[str, Any], days: "Days | None", *, last: bool) -> "list[Rated]":
    """Every charge of the plan; one that nothing is told of was not used."""
    from fractions import Fraction

    from msgspec.structs import replace

    from interlock.rating import Usage, rate

    known = {charge.id for charge in plan.charges}
    for name in usages:
        if name not in known:
            some = ", ".join(sorted(known)[:16]) + (" and more" if len(known) > 16 else "")
            raise LocalError(f"usage of {name[:100]!r}: the plan has {some}", field=name[:100])
    found = []
    for charge in plan.charges:
        usage = usages.get(charge.id, Usage(quantity=Fraction(0)))
        usage = replace(usage, days=usage.days or days, last_of_period=usage.last_of_period and last)
        try:
            found.append(rate(charge, usage))
        except LocalError as error:
            raise LocalError(f"charge {charge.id}: {error.message}", field=f"{charge.id}.{error.field}") from error
    return found


def _steps(charge: str, steps: "Iterable[Step]") -> "list[dict[str, str]]":
    return [
        {"charge": charge, "step": step.name, "input": _given(step), "rule": step.rule, "output": step.output}
        for step in steps
    ]


def _given(step: "Step") -> str:
    return ", ".join(f"{name} = {value}" for name, value in step.input.items())


def _shown(steps: "Iterable[Step]") -> list[str]:
    columns = [Column("step"), Column("rule"), Column("with"), Column("gives", True)]
    return table(columns, [[step.name, step.rule, _given(step), step.output] for step in steps])


def _lines(invoice: "Total", rated: "list[Rated]") -> list[str]:
    from interlock.rating import fixed, text_of

    titles = ("quantity", "exact", "amount", "residue", "discount", "net", "tax")
    columns = [Column("line"), *(Column(title, True) for title in titles)]

    def cells(line: Any) -> list[str]:
        paid = (line.amount, line.discount, line.net, line.tax)
        rounds = invoice.parameters["rounding"]["level"] != "none"
        amount, discount, net, tax = (fixed(one, invoice.places) if rounds else text_of(one) for one in paid)
        exact, residue = text_of(line.exact), text_of(line.residue)
        return [line.charge, text_of(line.quantity), exact, amount, residue, discount, net, tax]

    return table(columns, [cells(line) for line in invoice.lines])


def _sums(invoice: "Total") -> list[str]:
    from interlock.rating import text_of

    sums = [("subtotal", invoice.subtotal)]
    sums += [(f"discount {one.name}", -one.amount) for one in invoice.discounts]
    sums += [("net", invoice.net)]
    sums += [(f"tax {one.name}, {text_of(one.percent)} % of {text_of(one.base)}", one.amount) for one in invoice.taxes]
    sums += [("total", invoice.total)]
    sums += [("due", invoice.due)] if invoice.due != invoice.total else []
    columns = [Column(invoice.currency), Column("amount", True)]
    rows = [[name, _padded(text_of(value), invoice.places)] for name, value in sums]
    return table(columns, [*rows, ["rounded off", text_of(invoice.residue)]])


def _padded(text: str, places: int) -> str:
    """A decimal with at least so many places.

    >>> _padded("10", 2), _padded("-0.5", 2), _padded("1.2345", 2), _padded("1/3", 2), _padded("7", 0)
    ('10.00', '-0.50', '1.2345', '1/3', '7')
    """
    whole, _, part = text.partition(".")
    return text if "/" in text or not places else f"{whole}.{part.ljust(places, '0')}"
