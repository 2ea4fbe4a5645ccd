"""Invoices for others to read: JSON, CSV, a page to print, FOCUS. Each takes values and returns text; none asks."""

from interlock.billing.exports.document import Document, invoice_json, line_json, note_json
from interlock.billing.exports.focus import COLUMNS, focus_csv, focus_rows
from interlock.billing.exports.page import note_page, page
from interlock.billing.exports.sheet import lines_csv

__all__ = [
    "COLUMNS",
    "Document",
    "focus_csv",
    "focus_rows",
    "invoice_json",
    "line_json",
    "lines_csv",
    "note_json",
    "note_page",
    "page",
]
