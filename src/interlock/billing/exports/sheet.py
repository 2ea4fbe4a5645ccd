"""CSV that a spreadsheet opens without obeying it."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from interlock.billing.exports.document import Document, line_json, money

LINE_COLUMNS = (
    *("invoice", "number", "tenant", "currency", "n", "kind", "period", "correction", "since", "until"),
    *("description", "plan", "version", "charge", "group", "quantity", "billed", "unit"),
    *("exact", "amount", "rounded_off", "discount", "net", "tax", "events", "sha256"),
    *("sources", "due"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBERS = frozenset({"n", "version", "quantity", "billed", "exact", "amount", "rounded_off", "discount", "net", "tax"})


def cell(text: str) -> str:
    """Text from outside that no spreadsheet takes for a formula: an apostrophe goes before one.

    Source: OWASP, CSV Injection.
    >>> cell("=1+1"), cell("tokens")
    ("'=1+1", 'tokens')
    """
    return f"'{text}" if text.lstrip(" \u00a0\ufeff").startswith(_FORMULA) or text.startswith(_FORMULA) else text


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, str]], numbers: frozenset[str]) -> str:
    """A header and one line a row; all columns but `numbers` are text from outside."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([row.get(name, "") if name in numbers else cell(row.get(name, "")) for name in columns])
    return out.getvalue()


def lines_csv(document: Document) -> str:
    """One row a line; taxes are their sum, groups `name=value` with `;` between."""
    header = document.header
    return to_csv(LINE_COLUMNS, (_row(document, n) for n in range(header.lines)), _NUMBERS)


def _row(document: Document, place: int) -> dict[str, str]:
    header, line = document.header, document.lines[place]
    shown = line_json(line, header.places)
    tax = sum(one.amount for one in line.taxes)
    return {
        **{name: str(shown[name]) for name in LINE_COLUMNS if name in shown},
        "correction": "yes" if line.correction else "",
        "group": ";".join(f"{name}={value}" for name, value in line.group.items()),
        "invoice": header.id,
        "number": document.number,
        "tenant": header.tenant,
        "currency": header.currency,
        "tax": money(tax, header.places),
        "events": str(sum(one.count for one in line.evidence)),
        "sha256": " ".join(one.sha256 for one in line.evidence),
        "sources": " ".join(one.source for one in line.evidence),
        "due": document.held.due if document.held else "",
    }
