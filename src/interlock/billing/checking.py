"""Whether invoices are what their lines come to, and their numbers have no gap. Pure: it reports, and repairs nothing.

Everything is reckoned again from the records; nothing that a record says of itself is believed. What usage says today
is another question: `Evidence` holds that.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from hashlib import sha256

import msgspec

from interlock.billing import books, crediting
from interlock.billing.drafting import discounts_of, taxes_of
from interlock.billing.periods import due_of
from interlock.billing.state import Accounts, Held
from interlock.billing.value import CreditNote, Line, LineTax
from interlock.errors import LocalError
from interlock.rating import text_of
from interlock.units import NANO


def check_invoice(held: Held, lines: Sequence[Line]) -> list[str]:
    """What does not hold of one invoice and its credit notes, a sentence each; empty: all does."""
    header = held.header
    problems = [*_lines(held, lines), *_sums(held, lines)]
    if held.approved and held.approved.sha256 != header.sha256():
        problems.append("what was approved is not its content")
    if held.final:
        problems += _final(held)
    problems += _notes(held, lines)
    return [f"{header.id}: {problem}" for problem in problems]


def check_numbers(accounts: Accounts) -> list[str]:
    """Whether invoices and credit notes are numbered without a gap, each year from 1 on."""
    invoices = [(held.final.year, held.final.sequence) for held in accounts.invoices.values() if held.final]
    notes = [(note.year, note.sequence) for note in accounts.notes.values()]
    return [*_gaps("invoices", invoices), *_gaps("credit notes", notes)]


def check_booked(accounts: Accounts) -> list[str]:
    """Whether a period of a tenant has more than one invoice that stands."""
    found: dict[tuple[str, str], list[str]] = {}
    for held in accounts.invoices.values():
        if held.standing:
            found.setdefault((held.header.tenant, held.header.period), []).append(held.header.id)
    return [
        f"{tenant} is billed for {period} by more than one invoice: {', '.join(ids)}"
        for (tenant, period), ids in found.items()
        if len(ids) > 1
    ]


def postings(held: Held) -> list[books.Posting]:
    """All that an invoice, its reversal and its credit notes post."""
    if held.final is None:
        return []
    found = books.of_invoice(held.header, held.final)
    reversal = books.reversed_(found) if held.voided else []
    notes = [books.of_credit_note(held.header.tenant, held.header.currency, note) for note in held.notes]
    return [*found, *reversal, *(one for note in notes for one in note)]


def _lines(held: Held, lines: Sequence[Line]) -> Iterable[str]:
    header = held.header
    digest = sha256()
    for line in lines:
        digest.update(msgspec.json.encode(line) + b"\n")
    if digest.hexdigest() != header.lines_sha256 or len(lines) != header.lines:
        yield "its lines are not those that its head names"
    if [line.n for line in lines] != list(range(1, len(lines) + 1)):
        yield "its lines are not numbered from 1 on"
    unit = 10 ** (9 - header.places)
    rounds = {name: _rounds(parameters) for name, parameters in header.parameters.items()}
    for line in lines:
        if rounds.get(f"{line.plan}/{line.version}") and (line.amount % unit or line.net % unit):
            yield f"line {line.n} has more than {header.places} places"
        held_tax = line.amount - line.discount - line.net
        if held_tax and held_tax != sum(one.amount for one in line.taxes):
            yield f"line {line.n}: amount, discount, net and taxes do not fit"
        if line.correction != (line.period != header.period):
            yield f"line {line.n} says wrongly whether it corrects an earlier period"


def _sums(held: Held, lines: Sequence[Line]) -> Iterable[str]:
    header = held.header
    figures = {
        "subtotal": sum(line.amount for line in lines),
        "discount": sum(line.discount for line in lines),
        "net": sum(line.net for line in lines),
        "tax": sum(one.amount for line in lines for one in line.taxes),
    }
    for name, found in figures.items():
        if getattr(header, name) != found:
            yield f"its {name} is {getattr(header, name)}, and its lines come to {found}"
    if header.total != header.net + header.tax:
        yield "its total is not net and tax"
    discounts = discounts_of(header)
    if sum(one.amount for one in discounts) != header.discount:
        yield "its discounts are not what its lines have of them"
    exact = sum((Fraction(line.exact) for line in lines), Fraction(0))
    exact -= sum((Fraction(one.exact) for one in discounts), Fraction(0))
    residue = exact - Fraction(header.subtotal - header.discount, NANO)
    if residue != Fraction(header.residue):
        yield f"what was rounded off is {text_of(residue)}, and it says {header.residue}"
    named: dict[str, int] = {}
    for tax in taxes_of(header):
        named[tax.name] = named.get(tax.name, 0) + tax.amount
    shares = {one.name: one.amount for one in books.total_taxes(line.taxes for line in lines)}
    if _nonzero(named) != _nonzero(shares):
        yield "its taxes are not what its lines have of them"


def _final(held: Held) -> Iterable[str]:
    header, final = held.header, held.final
    assert final is not None
    if final.sha256 != header.sha256():
        yield "what became final is not its content"
    if final.payable != header.total - final.prepaid:
        yield "what is payable is not its total less what was prepaid"
    if final.due != (expected := due_of(header, final.payable, final.issued_ns)):
        yield f"it is due {final.due or 'never'}, and by its terms {expected or 'never'}"
    if not 0 <= final.prepaid_nanousd <= max(header.total, 0):
        yield "more was taken from the prepaid balance than is due"
    if abs(final.prepaid - final.prepaid_nanousd) * 2 > 10 ** (9 - header.places):
        yield "what was prepaid is not what was taken, rounded"
    for currency, amount in books.imbalance(postings(held)).items():
        yield f"its postings do not sum to zero: {text_of(amount)} {currency}"


def _notes(held: Held, lines: Sequence[Line]) -> Iterable[str]:
    before: list[CreditNote] = []
    if held.notes and held.final is None:
        yield "it has credit notes, and was never final"
    for note in held.notes:
        try:
            asked: Mapping[int, int | None] = {line.n: line.amount for line in note.lines}
            wanted = crediting.credit_lines(lines, before, asked, 9)
            if [line.amount for line in wanted] != [line.amount for line in note.lines]:
                yield f"credit note {note.number} gives back other amounts than its lines say"
        except LocalError as error:
            yield f"credit note {note.number}: {error.message}"
        subtotal, taxes, total = crediting.sums(note.lines)
        if (note.subtotal, _by_name(note.taxes), note.total) != (subtotal, _by_name(taxes), total):
            yield f"credit note {note.number} is not what its lines come to"
        before.append(note)
    given = crediting.credited(held.notes)
    for line in lines:
        amount, back = given.get(line.n, (0, {}))
        due = {one.name: one.amount for one in line.taxes}
        if any(abs(tax) > abs(due.get(name, 0)) for name, tax in back.items()):
            yield f"more tax was given back of line {line.n} than it has"
        if amount == line.net and amount and _nonzero(back) != _nonzero(due):
            yield f"line {line.n} was given back whole, and its tax was not"


def _gaps(what: str, numbers: Iterable[tuple[int, int]]) -> Iterable[str]:
    years: dict[int, list[int]] = {}
    for year, sequence in numbers:
        years.setdefault(year, []).append(sequence)
    for year, found in years.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield f"the numbers of {what} of {year} are not 1 to {len(found)}, each once"


def _rounds(parameters: Mapping[str, object]) -> bool:
    rounding = parameters.get("rounding")
    return not (isinstance(rounding, Mapping) and rounding.get("level") == "none")


def _nonzero(amounts: Mapping[str, int]) -> dict[str, int]:
    return {name: amount for name, amount in amounts.items() if amount}


def _by_name(taxes: Iterable[LineTax]) -> dict[str, int]:
    return _nonzero({one.name: one.amount for one in taxes})
