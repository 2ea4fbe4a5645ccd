"""An invoice as a page to print: one HTML file, no script, nothing fetched, A4. Every value is escaped."""

from fractions import Fraction
from html import escape
from itertools import groupby

from interlock.billing.drafting import discounts_of, taxes_of
from interlock.billing.exports.document import Document, money
from interlock.billing.exports.style import CSS
from interlock.billing.periods import local_day
from interlock.billing.value import CreditNote, Header, Line, Party
from interlock.rating import round_to, text_of, to_nano

TITLES = {
    "draft": "Draft invoice",
    "in_review": "Invoice in review",
    "approved": "Approved invoice, not issued",
    "returned": "Returned invoice",
    "final": "Invoice",
    "voided": "Voided invoice",
}
WATERMARKS = {
    "draft": "DRAFT",
    "in_review": "IN REVIEW",
    "approved": "NOT ISSUED",
    "returned": "RETURNED",
    "voided": "VOID",
}


PARTS_MAX = 4
_PRODUCTS = {
    "units * unit": ("units", "unit"),
    "units * unit + flat": ("units", "unit"),
    "packages * price": ("packages", "price"),
}
"""Rules of rating's steps that people read as a product."""


def page(document: Document) -> str:
    """The whole page, UTF-8."""
    header, title = document.header, TITLES[document.state]
    named = f"{title} {document.number}".strip()
    mark = WATERMARKS.get(document.state)
    body = [
        f'<div class="mark">{mark}</div>' if mark else "",
        _top(document, title),
        _parties(document),
        _table(document),
        _totals(document),
        _remarks(document),
        *(_note(document, note) for note in (document.held.notes if document.held else ())),
        _left(document),
        _foot(document),
    ]
    return _whole(named, header, body)


def note_page(document: Document, note: CreditNote) -> str:
    """A credit note by itself, of the same look."""
    header = document.header
    facts = [
        ("Number", note.number),
        ("Date of issue", local_day(note.issued_ns, header.zone)),
        ("Of invoice", document.number),
        ("Currency", header.currency),
        ("Your reference", header.reference),
        ("Reason", note.reason),
    ]
    rows, sums = _note_rows(document, note), _note_sums(document, note)
    digest = document.held.sha256 if document.held else header.sha256()
    foot = f'<footer><div class="small">Of invoice {escape(document.number)}, whose content is {digest}.</div></footer>'
    body = [_head("Credit note", facts), _parties(document), rows, sums, foot]
    return _whole(f"Credit note {note.number}", header, body)


def _whole(named: str, header: Header, body: list[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(named)} · {escape(header.issuer.name)}</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, body))
        + "\n</main>\n</body>\n</html>\n"
    )


def grouped(text: str) -> str:
    """A decimal with thousands apart; a fraction as it is.

    >>> grouped("-1234567.50"), grouped("1/3")
    ('-1,234,567.50', '1/3')
    """
    if "/" in text:
        return text
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, point, part = digits.partition(".")
    return f"{sign}{int(whole):,}{point}{part}"


def _amount(nano: int, header: Header) -> str:
    return escape(grouped(money(nano, header.places)).replace("-", "−"))


def _top(document: Document, title: str) -> str:
    header, held = document.header, document.held
    last = local_day(header.until_ns - 1, header.zone)
    final, voided = (held.final, held.voided) if held else (None, None)
    facts = [
        ("Number", document.number or "—"),
        ("Date of issue", local_day(final.issued_ns, header.zone) if final else "—"),
        ("Payment due", held.due if held else ""),
        ("Period", f"{local_day(header.since_ns, header.zone)} – {last}"),
        ("Currency", header.currency),
        ("Your reference", header.reference),
        ("Voided", f"{local_day(voided.at_ns, header.zone)}: {voided.reason}" if voided else ""),
    ]
    return _head(title, facts)


def _head(title: str, facts: list[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts if value)
    return f'<header><h1>{escape(title)}</h1><dl class="facts">{rows}</dl></header>'


def _parties(document: Document) -> str:
    header = document.header
    return f'<section class="parties">{_party("From", header.issuer)}{_party("To", header.buyer)}</section>'


def _party(title: str, party: Party) -> str:
    lines = [*party.address, *(f"Tax ID {one}" for one in party.tax_ids), party.email]
    rest = "".join(f"<div>{escape(line)}</div>" for line in lines if line)
    return f"<div><h2>{title}</h2><strong>{escape(party.name)}</strong>{rest}</div>"


def _table(document: Document) -> str:
    header = document.header
    parts = [
        "<table><thead><tr><th class='n'>#</th><th>Description</th><th class='r'>Quantity</th><th>Unit</th>"
        "<th class='r'>Amount</th><th class='r'>Tax</th></tr></thead>"
    ]
    for period, lines in groupby(document.lines, key=lambda line: line.period):
        if period != header.period:
            what = f"Corrections of {escape(period)}, found after it was invoiced"
            parts.append(f'<tbody><tr class="group"><td colspan="6">{what}</td></tr></tbody>')
        parts.append("<tbody>" + "".join(_row(line, header) for line in lines) + "</tbody>")
    return "".join(parts) + "</table>"


def _row(line: Line, header: Header) -> str:
    tax = sum(one.amount for one in line.taxes)
    notes = [_price(line)] if not line.correction else []
    if line.billed != line.quantity and line.kind == "usage":
        notes.append(f"{grouped(line.quantity)} counted")
    notes.append(_meters(line))
    whole = (line.since_ns, line.until_ns) == (header.since_ns, header.until_ns)
    if not whole and line.period == header.period:
        first, last = local_day(line.since_ns, header.zone), local_day(line.until_ns - 1, header.zone)
        notes.append(f"{first} – {last}")
    small = f'<div class="small">{escape(text)}</div>' if (text := " · ".join(filter(None, notes))) else ""
    quantity = grouped(line.billed) if line.kind == "usage" else ""  # the unit is that of what is priced
    return (
        f"<tr><td class='n'>{line.n}</td><td>{escape(line.description)}{small}</td>"
        f"<td class='r'>{escape(quantity.replace('-', '−'))}</td><td class='u'>{escape(line.unit)}</td>"
        f"<td class='r'>{_amount(line.amount, header)}</td>"
        f"<td class='r'>{_amount(tax, header) if tax or header.tax else ''}</td></tr>"
    )


def _meters(line: Line) -> str:
    """What each of several sources counted; nothing where the line is only what came since an earlier invoice."""
    sums: dict[str, Fraction] = {}
    for one in line.evidence:
        sums[one.meter] = sums.get(one.meter, Fraction(0)) + Fraction(one.sum)
    if len(sums) < 2 or sum(sums.values()) != Fraction(line.quantity):
        return ""
    return " + ".join(f"{grouped(text_of(quantity))} {name}" for name, quantity in sums.items())


def _price(line: Line) -> str:
    """How the price came about, where that is said in a few products: `1,000 × 0.01 + 500 × 0.005`; else nothing."""
    parts = []
    if any("commitment" in step.input for step in line.steps):
        return ""  # of a window, whose products are not what it comes to
    for step in line.steps:
        names = _PRODUCTS.get(step.rule)
        if names is None:
            continue
        count, each = (step.input[name] for name in names)
        flat = step.input.get("flat", "0")
        what = (" package" if count == "1" else " packages") if "packages" in step.input else ""
        parts.append(f"{grouped(count)}{what} × {grouped(each)}" + (f" + {grouped(flat)}" if flat != "0" else ""))
    return " + ".join(parts) if len(parts) <= PARTS_MAX else ""


def _totals(document: Document) -> str:
    header = document.header
    rows = [("Sum of lines", header.subtotal, "")]
    rows += [(f"Discount {one.name}", -one.amount, "") for one in discounts_of(header)]
    included = header.subtotal - header.discount - header.net
    if included:
        rows.append(("Taxes held in these prices", -included, ""))
    if header.tax:
        rows.append(("Net", header.net, ""))
    for tax in taxes_of(header):
        base = grouped(_shown(tax.base, header)).replace("-", "−")
        rows.append((f"{tax.name} {tax.percent} % of {base}", tax.amount, ""))
    rows.append(("Total", header.total, "total"))
    final = document.held.final if document.held else None
    if final and final.prepaid:
        rows.append(("Paid from the prepaid balance", -final.prepaid, ""))
    if final and document.state == "voided":
        rows.append(("Was due before it was voided", final.payable, "total"))
        rows.append((f"Amount due, {header.currency}", 0, "due"))
    elif final:
        what = "Amount due" if final.payable >= 0 else "Amount in your favour"
        rows.append((f"{what}, {header.currency}", final.payable, "due"))
    return _sums(rows, header)


def _sums(rows: list[tuple[str, int, str]], header: Header) -> str:
    """Names, amounts, and how they look."""
    cells = "".join(
        f'<tr class="{kind}"><td>{escape(name)}</td><td class="r">{_amount(amount, header)}</td></tr>'
        for name, amount, kind in rows
    )
    return f'<table class="totals"><tbody>{cells}</tbody></table>'


def _shown(exact: str, header: Header) -> str:
    """An exact amount, rounded for reading: what is due does not come from it."""
    return money(to_nano(round_to(Fraction(exact), header.places)), header.places)


def _remarks(document: Document) -> str:
    header = document.header
    found = []
    if Fraction(header.residue):
        what, exact = ("added to", header.residue[1:]) if header.residue[0] == "-" else ("took off", header.residue)
        found.append(
            f"Amounts are rounded to {header.places} places. What that {what} these lines together is exactly "
            f"{_signed(exact)} {header.currency}; it is booked, not lost."
        )
    if header.interim:
        found.append("The period had not ended: what is used after this was made follows on the next invoice.")
    if header.open:
        found.append(f"{grouped(str(header.open))} calls had not ended; they follow on the next invoice.")
    if header.unpriced:
        found.append(f"{grouped(str(header.unpriced))} calls without a price are not charged.")
    return "".join(f'<p class="remark">{escape(text)}</p>' for text in found)


def _signed(exact: str) -> str:
    """Exactly, and where that is a fraction also roughly."""
    value = Fraction(exact)
    return text_of(value).replace("-", "−") + (f" (about {float(value):.9f})" if "/" in text_of(value) else "")


def _note(document: Document, note: CreditNote) -> str:
    told = f"{local_day(note.issued_ns, document.header.zone)} · {note.reason}"
    return (
        f'<section class="credit"><h2>Credit note {escape(note.number)}</h2><p>{escape(told)}</p>'
        f"{_note_rows(document, note)}{_note_sums(document, note)}</section>"
    )


def _note_rows(document: Document, note: CreditNote) -> str:
    header = document.header
    by_number = {line.n: line for line in document.lines}
    rows = "".join(
        f"<tr><td class='n'>{one.n}</td><td>{escape(by_number[one.n].description)}</td>"
        f"<td class='a'>{_amount(-one.amount, header)}</td>"
        f"<td class='a'>{_amount(-sum(tax.amount for tax in one.taxes), header)}</td></tr>"
        for one in note.lines
    )
    return (
        "<table><thead><tr><th class='n'>#</th><th>Line of the invoice</th><th class='a'>Net</th>"
        f"<th class='a'>Tax</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _note_sums(document: Document, note: CreditNote) -> str:
    rates = {tax.name: f"{tax.name} {tax.percent} %" for tax in taxes_of(document.header)}
    rows = [("Net", -note.subtotal, "")] if note.taxes else []
    rows += [(rates.get(tax.name, tax.name), -tax.amount, "") for tax in note.taxes]
    return _sums([*rows, (f"Credited, {document.header.currency}", -note.total, "total")], document.header)


def _left(document: Document) -> str:
    """What the invoice and its credit notes come to."""
    held = document.held
    if held is None or held.final is None or not held.notes:
        return ""
    left = held.left or 0
    what = "Due" if left >= 0 else "In your favour"
    return _sums([(f"{what} after credit notes, {document.header.currency}", left, "due")], document.header)


def _foot(document: Document) -> str:
    header = document.header
    notes = "".join(f"<div>{escape(line)}</div>" for line in header.issuer.notes)
    plans = ", ".join(dict.fromkeys(f"{one.plan} version {one.version}" for one in header.segments))
    digest = document.held.sha256 if document.held else header.sha256()
    return (
        f'<footer>{notes}<div class="small">Priced by {escape(plans)}. Content {digest}; each line names the '
        "events that it counts and their hash.</div></footer>"
    )
