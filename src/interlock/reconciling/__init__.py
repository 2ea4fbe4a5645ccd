"""What a provider billed held against what was metered, row by row; the difference booked, so that the books agree."""

from interlock.reconciling.exports import FORMATS, read
from interlock.reconciling.report import Plan, Report, Row, Totals, to_api, totals
from interlock.reconciling.service import STREAM, Booked, Window, book, compare
from interlock.reconciling.statement import Charge, Line, Statement, add_up, checked

__all__ = [
    "FORMATS",
    "STREAM",
    "Booked",
    "Charge",
    "Line",
    "Plan",
    "Report",
    "Row",
    "Statement",
    "Totals",
    "Window",
    "add_up",
    "book",
    "checked",
    "compare",
    "read",
    "to_api",
    "totals",
]
