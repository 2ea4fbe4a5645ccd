"""Billing: what tenants are charged, on record: plans, subscriptions, invoices, credit notes, and the books of them."""

from interlock.billing.counting import Counted, Counter, Found, Item, NoUsage, Tally
from interlock.billing.credits import Credits, NoCredits
from interlock.billing.entitled import standings
from interlock.billing.exports import (
    Document,
    focus_csv,
    invoice_json,
    line_json,
    lines_csv,
    note_json,
    note_page,
    page,
)
from interlock.billing.metered import Metered
from interlock.billing.reporting import Reports
from interlock.billing.service import Billing
from interlock.billing.state import STREAM, Accounts, Held
from interlock.billing.terms import Wanted
from interlock.billing.value import CreditNote, Evidence, Line, Party, Subscription

__all__ = [
    "STREAM",
    "Accounts",
    "Billing",
    "Counted",
    "Counter",
    "CreditNote",
    "Credits",
    "Document",
    "Evidence",
    "Found",
    "Held",
    "Item",
    "Line",
    "Metered",
    "NoCredits",
    "NoUsage",
    "Party",
    "Reports",
    "Subscription",
    "Tally",
    "Wanted",
    "focus_csv",
    "invoice_json",
    "line_json",
    "lines_csv",
    "note_json",
    "note_page",
    "page",
    "standings",
]
