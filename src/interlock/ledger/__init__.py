"""The ledger: usage events to priced entries, and the questions asked of them."""

from interlock.ledger.book import Amount, Entry, Line, amount, consistent, entry, partition, price, rates
from interlock.ledger.event import NULL, Format, Opened, Outcome, Refused, Settled, Source
from interlock.ledger.explain import Evidence, ExplainedAttempt, Explanation
from interlock.ledger.past import Past
from interlock.ledger.pricing import KINDS, PARENTS, Price, Step
from interlock.ledger.recovery import attempt_key, lost, lost_record, open_attempts, track
from interlock.ledger.report import DIMENSIONS, Counts, UsageRow, to_api
from interlock.ledger.savings import Baseline, Compared, Savings, TierSavings
from interlock.ledger.store import copy_view, delete_view
from interlock.ledger.view import Ledger, Readable

__all__ = [
    "DIMENSIONS",
    "KINDS",
    "NULL",
    "PARENTS",
    "Amount",
    "Baseline",
    "Compared",
    "Counts",
    "Entry",
    "Evidence",
    "ExplainedAttempt",
    "Explanation",
    "Format",
    "Ledger",
    "Line",
    "Opened",
    "Outcome",
    "Past",
    "Price",
    "Readable",
    "Refused",
    "Savings",
    "Settled",
    "Source",
    "Step",
    "TierSavings",
    "UsageRow",
    "amount",
    "attempt_key",
    "consistent",
    "copy_view",
    "delete_view",
    "entry",
    "lost",
    "lost_record",
    "open_attempts",
    "partition",
    "price",
    "rates",
    "to_api",
    "track",
]
