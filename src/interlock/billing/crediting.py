"""Credit notes: what is given back of a final invoice, whole or by line. Never more than the line. Pure.

The tax given back of a line is its share in proportion to all that was given back of it so far, less what the notes
before gave: so whatever the parts, a line given back whole has given back exactly its tax.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from interlock.billing.books import total_taxes
from interlock.billing.value import CreditLine, CreditNote, Line, LineTax
from interlock.errors import LocalError
from interlock.rating import round_to, to_nano
from interlock.units import NANO, usd


def credited(notes: Sequence[CreditNote]) -> dict[int, tuple[int, dict[str, int]]]:
    """By line, what notes have given back: the net amount and the taxes by name."""
    found: dict[int, tuple[int, dict[str, int]]] = {}
    for note in notes:
        for line in note.lines:
            amount, taxes = found.get(line.n, (0, {}))
            taxes = dict(taxes)
            for one in line.taxes:
                taxes[one.name] = taxes.get(one.name, 0) + one.amount
            found[line.n] = (amount + line.amount, taxes)
    return found


def credit_lines(
    lines: Sequence[Line], notes: Sequence[CreditNote], asked: Mapping[int, int | None], places: int
) -> tuple[CreditLine, ...]:
    """What a new note gives back.

    Args:
        asked: by number of the line, a net amount in nano-units; None: all that is left. Empty: all of every line.
    Raises: LocalError: no such line, more than is left, nothing left, or finer than the currency's places.
    """
    before = credited(notes)
    every = not asked
    wanted: Mapping[int, int | None] = asked or {line.n: None for line in lines}
    by_number = {line.n: line for line in lines}
    found = []
    for n, amount in wanted.items():
        line = by_number.get(n)
        if line is None:
            raise LocalError(f"the invoice has no line {n}; it has 1 to {len(lines)}", field="lines")
        given, taxes = before.get(n, (0, {}))
        left = line.net - given
        if every and (line.net <= 0 or left <= 0):
            continue
        _check(n, amount, left, places)
        taken = left if amount is None else amount
        found.append(CreditLine(n=n, amount=taken, taxes=_taxes(line, given + taken, taxes, places)))
    if not found:
        raise LocalError("nothing is left of the invoice that could be given back", field="lines")
    return tuple(found)


def sums(lines: Sequence[CreditLine]) -> tuple[int, tuple[LineTax, ...], int]:
    """A note's net amount, its taxes by name, and its total."""
    subtotal, taxes = sum(line.amount for line in lines), tuple(total_taxes(line.taxes for line in lines))
    return subtotal, taxes, subtotal + sum(one.amount for one in taxes)


def _check(n: int, amount: int | None, left: int, places: int) -> None:
    if left <= 0:
        raise LocalError(f"nothing is left of line {n} that could be given back", field="lines")
    if amount is None:
        return
    if amount <= 0 or amount % 10 ** (9 - places):
        raise LocalError(f"line {n}: an amount is above 0, with at most {places} places", field="lines")
    if amount > left:
        what = f"line {n}: {usd(amount)} is more than the {usd(left)} that are left of it"
        raise LocalError(what, field="lines")


def _taxes(line: Line, given: int, before: Mapping[str, int], places: int) -> tuple[LineTax, ...]:
    found = []
    for one in line.taxes:
        whole = given == line.net  # where a plan rounds nothing, its tax has no places either
        due = one.amount if whole else _share(one.amount, given, line.net, places)
        if amount := due - before.get(one.name, 0):
            found.append(LineTax(name=one.name, amount=amount))
    return tuple(found)


def _share(tax: int, given: int, net: int, places: int) -> int:
    return to_nano(round_to(Fraction(tax * given, net) / NANO, places, "half_away_from_zero"))
